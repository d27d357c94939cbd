"""RealityCapture's (RealityScan's) XMP files beside the photos → PosedCapture.

``photo.xmp`` for ``photo.jpg`` gives the rotation of cam_from_world, row by row, the camera's centre in the
world, and the lens ("RealityCapture XMP camera math"; "On the Coordinate Systems Employed in the Import,
Estimation, and Export of Camera Geometry by RealityScan", June 2026, appendix B). Values are attributes or
elements of their names. Everything refers to the stored pixels.

Written from the makers' documents, and files of the program that were published with them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from nerfscene.cameras.lens_fit import NOTICEABLE
from nerfscene.capture.folder import find_photos
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import load_xml, numbers, printable
from nerfscene.formats.earth import are_degrees
from nerfscene.formats.listing import PosedFrame, photos_without_pose, rigid, size_of_stored
from nerfscene.formats.photo_search import finish_app_export
from nerfscene.formats.realitycapture_lens import (
    DIVISION,
    FOURTH_TERM,
    TERMS,
    approximated,
    divided,
    lens_in_shares,
)
from nerfscene.types import Intrinsics, LeftOut, PosedCapture

MODELS = ("none", "perspective", "division", "brown3", "brown4", "brown3t2", "brown4t2")
NEEDED = (b"Rotation", b"Position", b"FocalLength35mm")
LONGEST = 1 << 20  # bytes; a sidecar has about a thousand
FEWEST = 2


@dataclass(frozen=True)
class _Sidecar:
    """A photo with the values of its XMP file, by their names without the prefix."""

    photo: Path
    path: Path
    values: dict[str, str]


def find_realitycapture_xmp(root: Path) -> Path | None:
    """``root`` if at least FEWEST of the photos in it have an XMP file with a pose and a lens, else None.

    Judged by the files' text, which may be damaged.
    """
    count = 0
    for path in _files(find_photos(root), root).values() if root.is_dir() else []:
        count += _has_pose(path)
        if count >= FEWEST:
            return root
    return None


def _files(photos: Sequence[Path], root: Path) -> dict[Path, Path]:
    """Photo → its XMP file: beside it, else the only one of its name in ``root`` for the only such photo."""
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.[xX][mM][pP]")):
        if not any(part.startswith(".") for part in path.relative_to(root).parts):
            by_stem.setdefault(path.stem.lower(), []).append(path)
    counts = Counter(photo.stem.lower() for photo in photos)
    found = {}
    for photo in photos if by_stem else ():
        names = (photo.with_suffix(suffix) for suffix in (".xmp", ".XMP", ".Xmp"))
        beside = next((path for path in names if path.is_file()), None)
        others = by_stem.get(photo.stem.lower(), []) if counts[photo.stem.lower()] == 1 else []
        if beside is not None:
            found[photo] = beside
        elif len(others) == 1:
            found[photo] = others[0]
    return found


def _has_pose(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST)
    except OSError:
        return False
    return all(re.search(rb"\bxcr:" + name + rb"\b", text) for name in NEEDED)


def read_realitycapture_xmp(root: Path, images: Path | None = None) -> PosedCapture:
    """Reads the XMP files of the photos in ``images`` or else in ``root``, sub-folders included.

    They lie beside the photos, where the program writes them, or have been moved to a folder of their own.

    World coordinates and units are the program's. Of several components, which don't connect, the one with
    most photos is used, with a warning. Photos without an XMP file, or whose file has no pose, are left out
    with a warning. Lenses of Brown's model with k4 and of the division model are approximated by the nearest
    one without, with a warning if the difference is visible. Skew is not used.
    Raises NerfsceneError when a file is broken, a lens is of another model, or fewer than FEWEST have a pose.
    """
    photos = find_photos(images or root)
    files = _files(photos, images or root)
    sidecars = [_Sidecar(p, path, _values(load_xml(path))) for p, path in files.items() if _has_pose(path)]
    if len(sidecars) < FEWEST:
        raise NerfsceneError(
            f"{root} has fewer than {FEWEST} photos with RealityCapture's XMP files beside them."
        )
    used, others = _largest(sidecars)
    warnings: tuple[str, ...] = ()
    if others:
        warnings = (
            f"the XMP files beside the photos are of components that don't connect: took the largest, with "
            f"{len(used)} of {len(sidecars)} photos.",
        )
    frames = []
    worst = 0.0
    model = ""
    for sidecar in used:
        frame, off = _frame(sidecar)
        frames.append(frame)
        if off > worst:
            worst, model = off, sidecar.values.get("DistortionModel", "")
    if are_degrees(np.stack([frame.world_from_cam[:3, 3] for frame in frames])):
        raise NerfsceneError(
            f"the positions in the XMP files beside the photos in {root} are longitudes and latitudes, in "
            "which their matrices have no meaning: export them in a coordinate system in metres, or remove "
            "them to have the photos posed anew."
        )
    if worst > NOTICEABLE:
        what = DIVISION if model == "division" else FOURTH_TERM
        warnings += (approximated("the XMP files", what, worst),)
    source = root / "*.xmp"
    left_out, no_pose = photos_without_pose(frames, source, [s.photo.name for s in others])
    elsewhere = [LeftOut(s.photo.name, "is in another component than most photos") for s in others]
    left_out = [*elsewhere, *(left for left in left_out if left.name not in {o.name for o in elsewhere})]
    return finish_app_export(source, "realitycapture", frames, warnings + no_pose, left_out)


def _values(document: Element) -> dict[str, str]:
    """The attributes and the elements' texts in RealityCapture's name space, by name."""
    values: dict[str, str] = {}
    for element in document.iter():
        for key, value in [*element.attrib.items(), (element.tag, element.text or "")]:
            space, _, name = str(key).rpartition("}")
            if "capturingreality" in space and value.strip():
                values[name] = value.strip()
    return values


def _largest(sidecars: Sequence[_Sidecar]) -> tuple[list[_Sidecar], list[_Sidecar]]:
    """The photos of the component with most of them, and all others."""
    counts = Counter(sidecar.values.get("ComponentId", "") for sidecar in sidecars)
    largest = max(counts, key=lambda key: counts[key])
    used = [s for s in sidecars if s.values.get("ComponentId", "") == largest]
    return used, [s for s in sidecars if s.values.get("ComponentId", "") != largest]


def _floats(values: dict[str, str], name: str, default: str, where: str) -> list[float]:
    try:
        return [float(word) for word in values.get(name, default).split()]
    except ValueError:
        raise NerfsceneError(f"{where} has no {name} of numbers: export the XMP files again.") from None


def _frame(sidecar: _Sidecar) -> tuple[PosedFrame, float]:
    """The frame of a photo, and by how many pixels its lens differs from the program's at most."""
    where = str(sidecar.path)
    rotation = numbers(_floats(sidecar.values, "Rotation", "", where), (9,), where, "Rotation").reshape(3, 3)
    centre = numbers(_floats(sidecar.values, "Position", "", where), (3,), where, "Position")
    pose = rigid(np.column_stack([rotation.T, centre]), where)
    lens, off = _lens(sidecar, where)
    return PosedFrame(printable(sidecar.photo.name), sidecar.photo, lens, pose), off


def _lens(sidecar: _Sidecar, where: str) -> tuple[Intrinsics, float]:
    """The lens, and by how many pixels it differs from the program's at most."""

    def value(name: str, default: str) -> float:
        return float(numbers(_floats(sidecar.values, name, default, where), (1,), where, name)[0])

    model = sidecar.values.get("DistortionModel", "none")
    if model not in MODELS:
        raise NerfsceneError(
            f"{where} has a lens of the model {printable(model)}, which is not supported: align with the "
            "lens model Brown3, or export undistorted photos."
        )
    given = _floats(sidecar.values, "DistortionCoeficients", "0 0 0 0 0 0", where)
    terms = tuple(numbers(given, (len(TERMS),), where, "DistortionCoeficients"))
    size = size_of_stored(sidecar.photo)
    centre = value("PrincipalPointU", "0"), value("PrincipalPointV", "0")
    bent = terms if model.startswith("brown") else (0.0,) * len(TERMS)
    lens, off = lens_in_shares(value("FocalLength35mm", ""), centre, bent, size, where)
    if model == "division":
        lens, off = divided(lens, terms[0], where)
    return replace(lens, fy=lens.fy * value("AspectRatio", "1")), off

"""Captures that come with cameras → PosedCapture: which kind a folder or file is, and COLMAP models.

``find_posed`` recognises them; each other kind is read in a module of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from nerfscene.capture.folder import VIDEO_SUFFIXES, find_photos, name_some, natural_key, subfolders
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import INNER, load_json
from nerfscene.formats.listing import Listed, finish, locate, with_masks
from nerfscene.formats.metashape import is_metashape, is_posed_metashape, read_metashape
from nerfscene.formats.open_sfm import (
    how_to_convert,
    is_openmvg,
    is_opensfm,
    is_packed_openmvg,
    is_posed_openmvg,
    is_posed_opensfm,
    read_openmvg,
    read_opensfm,
)
from nerfscene.formats.phone_apps import (
    RECORD3D_PHOTOS,
    find_polycam,
    find_record3d,
    is_record3d,
    read_polycam,
    read_record3d,
)
from nerfscene.formats.realitycapture import is_realitycapture, read_realitycapture
from nerfscene.formats.transforms import read_synthetic, read_transforms
from nerfscene.posing.poses import read_model
from nerfscene.posing.sparse import SparseModel
from nerfscene.types import PosedCapture

MODEL_PLACES = ("sparse", "colmap/sparse", ".")
OPENSFM_INNER, OPENMVG_INNER = INNER
Read = Callable[[Path, Path | None], PosedCapture]


def find_posed(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> PosedCapture | None:
    """The capture with its cameras if ``path`` is one of a kind we know, else None.

    Known are, and the first of these wins: a ``transforms.json`` (instant-ngp, nerfstudio) or a folder
    that holds one; a folder with ``transforms_train.json`` (NeRF-synthetic), or that file; a COLMAP
    model folder, or a folder that holds one in ``sparse/0``, ``sparse`` or ``colmap/sparse/0``; and
    what other apps export, a folder that holds it or the file itself: raw data of Polycam;
    ``metadata.json`` beside ``rgb`` or ``metadata`` beside ``rgbd`` (Record3D); an .xml of Metashape; a
    .csv of RealityCapture; ``reconstruction.json``, also in ``opensfm`` (OpenSfM, OpenDroneMap);
    ``sfm_data.json``, also in ``reconstruction_…`` (OpenMVG). Of a folder that holds but one folder, that
    one is meant. Files that merely end so are passed over, and so are exports without cameras in a
    folder. ``images`` is where the photos of COLMAP, Metashape, RealityCapture, OpenSfM or OpenMVG are,
    if not in ``images`` beside it.
    Raises NerfsceneError when it is of such a kind but cannot be used.
    """
    root = Path(path).expanduser()
    photos = None if images is None else Path(images)
    if root.is_file():
        return _read_file(root, photos)
    if (root / "transforms.json").is_file():
        return read_transforms(root / "transforms.json")
    if (root / "transforms_train.json").is_file():
        return read_synthetic(root)
    if find_models(root):
        return read_colmap(root, photos)
    if not root.is_dir():
        return None
    found = _read_export(root, photos)
    alone = None if found is not None else _all_there_is(root)
    return found if alone is None else find_posed(alone, photos)


def _all_there_is(root: Path) -> Path | None:
    """The folder that is all that a folder holds, if it is so and may hold photos."""
    inside = [path for path in root.iterdir() if not path.name.startswith(".")]
    return inside[0] if len(inside) == 1 and inside[0] in subfolders(root, not root.is_symlink()) else None


def unread_cameras(root: Path) -> tuple[str, ...]:
    """A warning where a folder, or all there is in it, has cameras in a form that find_posed can't read."""
    packed = _packed_openmvg(root)
    if not packed:
        alone = _all_there_is(root) if root.is_dir() else None
        return () if alone is None else unread_cameras(alone)
    return (
        f"the cameras in {packed[0].relative_to(root)} are not used, as that file can't be read here: for "
        f"these, {how_to_convert(packed[0])}.",
    )


def _packed_message(path: Path) -> str:
    return f"{path} can't be read here: {how_to_convert(path)}, and give the .json."


def _packed_openmvg(root: Path) -> list[Path]:
    """Files sfm_data.bin of a folder of OpenMVG's."""
    places = [root, *sorted(root.glob(OPENMVG_INNER))] if root.is_dir() else []
    return [path for place in places for path in sorted(place.glob("*.bin")) if is_packed_openmvg(path)]


def _read_file(path: Path, images: Path | None) -> PosedCapture | None:
    """find_posed of one file."""
    suffix = path.suffix.lower()
    if suffix == ".xml" and is_metashape(path):
        return read_metashape(path, images)
    if suffix == ".csv" and is_realitycapture(path):
        return read_realitycapture(path, images)
    if is_packed_openmvg(path):
        raise NerfsceneError(_packed_message(path))
    if path.name in RECORD3D_PHOTOS and is_record3d(path):
        return read_record3d(path)
    if suffix != ".json":
        return None
    if path.name in ("transforms_train.json", "transforms_test.json"):
        return read_synthetic(path.parent)
    if path.name == "transforms.json":
        return read_transforms(path)
    values = load_json(path)
    if is_opensfm(values):
        return read_opensfm(path, images)
    return read_openmvg(path, images) if is_openmvg(values) else read_transforms(path)


def _read_export(root: Path, images: Path | None) -> PosedCapture | None:
    """What another app left in a folder, or None. Raises NerfsceneError where it left two of a kind."""
    if find_polycam(root):
        return read_polycam(root)
    recorded = find_record3d(root)
    if recorded is not None:
        return read_record3d(recorded)
    whole = images or root  # photos of what lies in a folder of its own are anywhere in the project
    kinds: tuple[tuple[str, Callable[[Path], bool], Read, Path | None], ...] = (
        ("*.[xX][mM][lL]", is_posed_metashape, read_metashape, images),
        ("*.[cC][sS][vV]", is_realitycapture, read_realitycapture, images),
        ("reconstruction.json", is_posed_opensfm, read_opensfm, images),
        ("sfm_data.json", is_posed_openmvg, read_openmvg, images),
        (f"{OPENSFM_INNER}/reconstruction.json", is_posed_opensfm, read_opensfm, whole),
        (f"{OPENMVG_INNER}/sfm_data.json", is_posed_openmvg, read_openmvg, whole),
    )
    for pattern, known, read, photos in kinds:
        files = sorted(path for path in root.glob(pattern) if not path.name.startswith("."))
        found = [path for path in files if path.is_file() and known(path)]
        if found:
            return read(_the_one(found, root), photos)
    packed = _packed_openmvg(root)
    if packed and not find_photos(root) and not _has_videos(root):
        raise NerfsceneError(_packed_message(packed[0]))
    return None


def _has_videos(folder: Path) -> bool:
    """Whether there are videos, as intake takes them where there are no photos."""
    files = (p for p in folder.iterdir() if p.name.lower().endswith(VIDEO_SUFFIXES) and p.is_file())
    return any(p.name[0] != "." for p in files) or any(map(_has_videos, subfolders(folder)))


def _the_one(exports: Sequence[Path], root: Path) -> Path:
    if len(exports) > 1:
        names = name_some([str(path.relative_to(root)) for path in exports])
        raise NerfsceneError(
            f"{root} holds {len(exports)} exports of cameras ({names}): give the one to use, or move the "
            "others away."
        )
    return exports[0]


def find_models(root: Path) -> list[Path]:
    """COLMAP model folders of a capture, from the first of the usual places that has any."""
    for place in MODEL_PLACES:
        base = root / place
        if not base.is_dir():
            continue
        numbered = [p for p in base.iterdir() if p.is_dir() and p.name.isdigit()]
        numbered.sort(key=lambda p: natural_key(p.name))
        found = [p for p in [*numbered, base] if _is_model(p)]
        if found:
            return found
    return []


def read_colmap(root: Path, images: Path | None = None) -> PosedCapture:
    """A COLMAP sparse model, text or binary, and its photos; the model with most images wins.

    ``root`` is the capture's folder or the model's own. Images without a pose are left out, and
    listed images that aren't on disk with one warning that counts them.
    Raises NerfsceneError when there is no readable model, or its photos aren't found or don't fit.
    """
    folders = find_models(root)
    if not folders:
        raise NerfsceneError(f"{root} holds no COLMAP model: give the folder that has sparse/0.")
    models = [(folder, read_model(folder)) for folder in folders]
    folder, model = max(models, key=lambda item: len(item[1].names))
    if not model.names:
        raise NerfsceneError(f"{folder} holds a COLMAP model with no posed images: run it again.")
    photos = images or _photo_folder(root, folder, model)
    order = sorted(range(len(model.names)), key=lambda i: natural_key(model.names[i]))
    listed = [
        Listed(
            model.names[i],
            locate(photos, model.names[i]),
            model.intrinsics[i],
            model.world_from_cam[i],
            seen=model.seen[i],
        )
        for i in order
    ]
    listed = with_masks(photos, with_masks(root, listed))
    warnings: tuple[str, ...] = ()
    if len(models) > 1:
        warnings = (
            f"{root} holds {len(models)} COLMAP models that don't connect: took the largest, "
            f"{folder.name}, with {len(model.names)} images.",
        )
    return finish(
        folder,
        root,
        "colmap",
        listed,
        warnings=warnings,
        photos_given=len(find_photos(photos)),
        points=model.points,
        point_colors=model.point_colors,
        reprojection_error=model.reprojection_error,
    )


def _is_model(folder: Path) -> bool:
    return any(
        all((folder / f"{part}{suffix}").is_file() for part in ("cameras", "images", "points3D"))
        for suffix in (".bin", ".txt")
    )


def _photo_folder(root: Path, folder: Path, model: SparseModel) -> Path:
    """Where most of the model's photos are: ``images`` at or above the model, or just there."""
    bases = list(dict.fromkeys([root, folder, *folder.parents[:3]]))
    places = [place for base in bases for place in (base / "images", base)]
    counts = [sum(locate(p, name) is not None for name in model.names) for p in places]
    best = max(range(len(places)), key=lambda i: counts[i])  # the first of equals
    if counts[best] == 0:
        raise NerfsceneError(
            f"none of the {len(model.names)} photos that the COLMAP model {folder} lists (such as "
            f"{model.names[0]}) is there: put them into {root / 'images'}."
        )
    return places[best]

"""BlocksExchange XML of iTwin Capture Modeler (ContextCapture), Metashape, RealityCapture → PosedCapture.

A pose has the rotation of cam_from_world as a matrix and the camera's centre. The camera's axes are those of
its photogroup's CameraOrientation, by default x right, y down. A principal point's origin is the centre of
the first pixel. Lenses follow Brown's model; P1 and P2 are OpenCV's p2 and p1. A fisheye's radius is a
polynomial of the angle, before its focal matrix. (iTwin Capture's "BlocksExchange XML format", versions 2.1
to 3.2, and its camera models.) Longitudes and latitudes become metres, and rotations then refer to east,
north and up. Pixels are the stored ones.

Written from the documentation and public files; not yet tried on a whole export.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from nerfscene.cameras.lens_fit import NOTICEABLE, Projection
from nerfscene.capture.folder import name_some, natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import lens_of, load_xml, nearest_lens, numbers, panorama_lens, printable
from nerfscene.formats.earth import are_degrees, geocentric, local_from_geocentric
from nerfscene.formats.listing import PosedFrame, rigid
from nerfscene.formats.photo_search import finish_app_export, photo_finder
from nerfscene.types import Array, Intrinsics, LeftOut, PosedCapture

HEAD = 1 << 12  # bytes that hold the root element
TAG = re.compile(rb"<BlocksExchange\b")
POSE = re.compile(rb"<M_00>")
DIRECTIONS = {"Right": (1, 0, 0), "Left": (-1, 0, 0), "Down": (0, 1, 0), "Up": (0, -1, 0)}
PER_RADIAN = 2 / np.pi  # fisheyes' angles count quarter turns
ORIENTATION = re.compile(r"X(Right|Left|Down|Up)Y(Right|Left|Down|Up)")


@dataclass(frozen=True)
class _Group:
    """A photogroup's lens, by how many pixels it is off at most, and its axes in terms of ours, (3, 3)."""

    lens: Intrinsics
    off: float
    axes: Array


def is_blocks_exchange(path: Path) -> bool:
    """Whether a file is BlocksExchange XML with at least one pose as a matrix, judged by its text."""
    try:
        with path.open("rb") as file:
            return TAG.search(file.read(HEAD)) is not None and POSE.search(path.read_bytes()) is not None
    except OSError:
        return False


def read_blocks_exchange(path: Path, images: Path | None = None) -> PosedCapture:
    """Reads the XML; its photos are in ``images``, or where photo_search.photo_finder looks.

    World coordinates and units are the file's, but longitudes and latitudes become metres east, north and up
    of their middle, with a warning. Of several blocks, the one with most poses is used, with a warning.
    Photos without a pose as a matrix are left out, with a warning.
    Raises NerfsceneError when the file is broken, a lens is of another model, or photos don't fit.
    """
    blocks = list(load_xml(path).iter("Block"))
    listed = [_photos(block) for block in blocks]
    posed = [[entry for entry in photos if _is_posed(entry[0])] for photos in listed]
    best = max(range(len(blocks)), key=lambda i: len(posed[i]), default=0)
    if not any(posed):
        raise NerfsceneError(
            f"{path} has no photo with a pose as a matrix: export the block after the aerotriangulation."
        )
    warnings = []
    if sum(map(bool, posed)) > 1:
        warnings.append(
            f"{path.name} holds {sum(map(bool, posed))} blocks with poses: took the largest, with "
            f"{len(posed[best])} photos."
        )
    no_pose = [_name(photo) for photo, _ in listed[best] if not _is_posed(photo)]
    if no_pose:
        warnings.append(
            f"{len(no_pose)} of the {len(listed[best])} photos in {path.name} have no pose and were left out "
            f"({name_some(no_pose)})."
        )
    frames, more = _frames(path, images, posed[best])
    left_out = [LeftOut(name, f"has no pose in {path.name}") for name in no_pose]
    return finish_app_export(path, "blocksexchange", frames, (*warnings, *more), left_out)


def _photos(block: Element) -> list[tuple[Element, Element]]:
    """Every photo of a block with its photogroup, which holds it, or whose index a bulk photo names."""
    groups = list(block.iter("Photogroup"))
    found = [(photo, group) for group in groups for photo in group.findall("Photo")]
    for photo in block.findall("BulkPhotos/Photo"):
        index = _text(photo, "PhotogroupIndex")
        if index.isdigit() and int(index) < len(groups):
            found.append((photo, groups[int(index)]))
    return found


def _is_posed(photo: Element) -> bool:
    return photo.find("Pose/Rotation/M_00") is not None and photo.find("Pose/Center/x") is not None


def _text(element: Element, place: str) -> str:
    return (element.findtext(place) or "").strip()


def _name(photo: Element) -> str:
    return printable(_text(photo, "ImagePath").replace("\\", "/").rpartition("/")[2])


def _number(element: Element, place: str, where: str, default: float | None = None) -> float:
    text = _text(element, place)
    if not text and default is not None:
        return default
    try:
        value: object = float(text)
    except ValueError:
        value = None
    return float(numbers(value, (), where, place.rpartition("/")[2]))


def _frames(
    path: Path, images: Path | None, photos: list[tuple[Element, Element]]
) -> tuple[list[PosedFrame], list[str]]:
    """A frame for each photo, in the natural order of names, and warnings."""
    find = photo_finder(path.parent, images, [_text(photo, "ImagePath") for photo, _ in photos], path)
    groups = {id(group): _group(group, path) for _, group in photos}
    ordered = sorted(photos, key=lambda entry: natural_key(_text(entry[0], "ImagePath")))
    centres = np.array(
        [[_number(p, f"Pose/Center/{a}", f"{_name(p)} in {path}") for a in "xyz"] for p, _ in ordered]
    )
    warnings = []
    if are_degrees(centres):
        there = geocentric(centres)
        local = local_from_geocentric(there)
        centres = there @ local[:3, :3].T + local[:3, 3]
        warnings.append(
            f"the positions in {path.name} are longitudes and latitudes: they were turned into metres east, "
            "north and up of their middle."
        )
    off = max(group.off for group in groups.values())
    if off > NOTICEABLE:
        warnings.append(
            f"a fisheye lens in {path.name} is approximated by the nearest of ours, which is off by up to "
            f"{off:.1f} pixels."
        )
    frames = []
    for (photo, element), centre in zip(ordered, centres, strict=True):
        group, where = groups[id(element)], f"{_name(photo)} in {path}"
        matrix = np.array(
            [[_number(photo, f"Pose/Rotation/M_{i}{j}", where) for j in range(3)] for i in range(3)]
        )
        cam_from_world = rigid(np.column_stack([group.axes @ matrix, np.zeros(3)]), where)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = cam_from_world[:3, :3].T, centre
        frames.append(PosedFrame(_name(photo), find(_text(photo, "ImagePath")), group.lens, pose))
    return frames, warnings


def _group(group: Element, path: Path) -> _Group:
    """A photogroup's lens and axes."""
    where = f"photogroup {printable(_text(group, 'Name') or 'without a name')} in {path}"
    orientation = ORIENTATION.fullmatch(_text(group, "CameraOrientation") or "XRightYDown")
    if orientation is None:
        raise NerfsceneError(f"{where} has a CameraOrientation that is not known: export with XRightYDown.")
    x, y = (np.array(DIRECTIONS[name], np.float64) for name in orientation.groups())
    axes = np.stack([x, y, np.cross(x, y)], axis=1)
    if abs(np.linalg.det(axes)) < 0.5:
        raise NerfsceneError(f"{where} has a CameraOrientation that is not known: export with XRightYDown.")
    lens, off = _lens(group, where, axes)
    return _Group(lens, off, axes)


def _lens(group: Element, where: str, axes: Array) -> tuple[Intrinsics, float]:
    """A photogroup's lens, and by how many pixels it is off at most. axes: as in _Group."""
    kind = _text(group, "CameraModelType") or "Perspective"
    width = _number(group, "ImageDimensions/Width", where)
    height = _number(group, "ImageDimensions/Height", where)
    if kind == "Spherical":
        return panorama_lens(width, height, where, "give uncropped panoramas"), 0.0
    if kind not in ("Perspective", "Fisheye"):
        raise NerfsceneError(
            f"{where} has a camera model {printable(kind)}, which is not supported: undistort the photos."
        )
    middle = width / 2, height / 2
    size = _pixel_size(group, max(width, height), where)
    centre = tuple(
        _number(group, f"PrincipalPoint/{axis}", where, middle[i] - 0.5) + 0.5 for i, axis in enumerate("xy")
    )
    if group.find("PrincipalPoint/xmm") is not None and size:
        shift = [_number(group, f"PrincipalPoint/{axis}mm", where, 0.0) / size for axis in "xy"]
        centre = tuple(middle + (axes[:2, :2] @ shift))
    if kind == "Fisheye":
        return _fisheye(group, (width, height), centre, where)
    focal = _number(group, "FocalLengthPixels", where, 0.0)
    if not focal:
        focal = _number(group, "FocalLength", where) / size if size else 0.0
    k1, k2, k3, p1, p2 = (
        _number(group, f"Distortion/{t}", where, 0.0) for t in ("K1", "K2", "K3", "P1", "P2")
    )
    aspect = _number(group, "AspectRatio", where, 1.0)
    return lens_of(width, height, (focal, focal * aspect), centre, where, (k1, k2, p2, p1, k3)), 0.0


def _pixel_size(group: Element, longer: float, where: str) -> float:
    """The size of a pixel in mm; 0 if the file doesn't give it."""
    size = _number(group, "PixelSize", where, 0.0)
    return size or _number(group, "SensorSize", where, 0.0) / max(longer, 1.0)


def _fisheye(
    group: Element, size: tuple[float, float], centre: tuple[float, ...], where: str
) -> tuple[Intrinsics, float]:
    """The nearest of our fisheyes, and by how many pixels it differs at most."""
    matrix = np.array(
        [[_number(group, f"FisheyeFocalMatrix/M_{i}{j}", where) for j in range(2)] for i in range(2)]
    )
    powers = [_number(group, f"FisheyeDistortion/P{i}", where, float(i == 1)) for i in range(5)]
    scale = (powers[1] or 1.0) * PER_RADIAN
    focal = matrix[0, 0] * scale, matrix[1, 1] * scale
    start = lens_of(*size, focal, centre, where, lens="fisheye")

    def project(base: Array) -> Array:
        angle = np.linalg.norm(base, axis=1, keepdims=True)
        radius = sum(p * (PER_RADIAN * angle) ** i for i, p in enumerate(powers))
        direction = base / np.maximum(angle, 1e-12)
        return (direction * radius) @ matrix.T + np.array(centre)

    theirs: Projection = project
    return nearest_lens(start, theirs, where)

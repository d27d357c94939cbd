"""RealityCapture's (RealityScan's) registration as a CSV → PosedCapture.

Two of its exports have all that is needed: "Internal/External camera parameters", with angles, and
"OpenCV-compliant Internal/External camera parameters", with matrices. The columns of the first were called
heading, f, px and py in RealityCapture 1; since RealityScan 2 they are yaw, f_35mm, px_norm and py_norm.

Angles are in degrees. With yaw, pitch and roll 0 a camera looks straight down, and the top of its picture
points towards +y, the world's north. RealityScan defines them as rotations about z, y and x, in that order,
of an aircraft with the camera in its floor, in axes north, east and down ("On the Coordinate Systems Employed
in the Import, Estimation, and Export of Camera Geometry by RealityScan", June 2026, section 5.1; EulerFormat
zyx in the program's calibration.xml). RealityCapture's formula for heading, pitch and roll ("Registration
export and camera orientations") looks different, but it is the same matrix, written in axes east, north and
up. A published row of RealityCapture 1 gives the matrix that the program wrote to the photo's XMP file.

Positions may be in any coordinate system. Longitudes and latitudes, and geocentric positions, are turned into
metres around their middle, because angles refer to north and the vertical there. Everything refers to the
stored pixels, whatever EXIF says about orientation. Lenses are described in realitycapture_lens.

Written from the makers' documents; not yet tried on a whole export of the program.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nerfscene.cameras.lens_fit import NOTICEABLE
from nerfscene.capture.folder import natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import number, printable
from nerfscene.formats.earth import are_degrees, are_geocentric, geocentric, geodetic, local_from_geocentric
from nerfscene.formats.listing import PosedFrame, photos_without_pose, rigid, size_of_stored
from nerfscene.formats.photo_search import finish_app_export, photo_finder
from nerfscene.formats.realitycapture_lens import (
    FOURTH_TERM,
    TERMS,
    approximated,
    lens_in_pixels,
    lens_in_shares,
)
from nerfscene.types import Array, Intrinsics, PosedCapture

# The names since RealityScan 2, and those of other exports with the same values → RealityCapture's.
NAMES = {
    "yaw": "heading",
    "f_35mm": "f",
    "px_norm": "px",
    "py_norm": "py",
    "x/lon": "x",
    "y/lat": "y",
    "z/alt": "alt",
    "z": "alt",
}
ANGLES = ("x", "y", "alt", "heading", "pitch", "roll", "f")  # the columns that are needed, with angles ...
ROTATION = tuple(f"r{row}{column}" for row in range(3) for column in range(3))
MATRICES = ("tx", "ty", "tz", *ROTATION, "f_pix", "px_pix", "py_pix")  # ... or with matrices
OPTIONAL = ("px", "py", *TERMS)
OFF_CENTRE = 0.2  # of the picture's side: farther from its middle, a principal point is of another picture
HEAD = 1 << 12  # bytes that hold the names of the columns


@dataclass(frozen=True)
class _Row:
    """A camera as the file gives it. position: (3,), in the file's coordinate system."""

    name: str
    photo: Path | None
    lens: Intrinsics
    position: Array
    rotation: Array  # (3, 3), world_from_cam, OpenCV axes


def columns(text: str) -> list[str] | None:
    """The names of the columns, in lower case and as NAMES has them, if a text begins like such an export.

    None for any other text. The line above the names may give the number of cameras ("#cameras 20"); what
    follows the names in brackets explains them.
    """
    names = _names(text)
    return names if set(ANGLES) <= set(names) or set(MATRICES) <= set(names) else None


def _names(text: str) -> list[str]:
    """The names of the columns of any CSV that begins with a column ``name``; [] for other texts."""
    lines = [line.strip() for line in text.splitlines()[:2]]
    if lines and lines[0].lower().replace(" ", "").startswith("#cameras"):
        lines = lines[1:]
    header = lines[0].lstrip("#").partition("(")[0].lower() if lines else ""
    names = [name.strip() for name in header.split(_separator(header))]
    return [NAMES.get(name, name) for name in names] if names[0] == "name" and len(names) > 1 else []


def _separator(line: str) -> str:
    """What separates a line's columns: a comma, or what a spreadsheet wrote instead."""
    return max(",;\t", key=line.count)


def is_realitycapture(path: Path) -> bool:
    """Whether a file is such an export, judged by its first lines."""
    return columns(_head(path)) is not None


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(HEAD).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


def read_realitycapture(path: Path, images: Path | None = None) -> PosedCapture:
    """Reads the CSV; its photos are in ``images``, or where photo_search.photo_finder looks.

    World coordinates and units are the export's; longitudes and latitudes, and geocentric positions, become
    metres east, north and up of their middle, and a warning says so. A lens with k4 other than 0 is
    approximated by the nearest lens without it, with a warning if the difference is visible. Columns for the
    lens may be missing. Photos beside those listed that have no row are left out, with a warning.
    Raises NerfsceneError when the file is broken or the photos aren't found.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise NerfsceneError(f"{path} cannot be read ({error}): export it again.") from error
    names = columns(text)
    if names is None:
        raise NerfsceneError(
            f"{path} lacks one of the columns name, {', '.join(ANGLES)}: export the registration from "
            "RealityCapture or RealityScan as Internal/External camera parameters."
        )
    rows, off = _rows(text, names, path, images)
    warnings: tuple[str, ...] = ()
    if off > NOTICEABLE:
        warnings += (approximated(path.name, FOURTH_TERM, off),)
    if any(row.lens.distortion[0] != 0 for row in rows) and all(
        not any(row.lens.distortion[1:]) for row in rows
    ):
        warnings += (
            f"the lenses in {path.name} have the term k1 alone, read by Brown's model; if the photos were "
            "aligned with the division model, align with Brown3 and export again, or export XMP files.",
        )
    poses, moved = _placed(rows, path, "heading" in names)
    frames = [PosedFrame(row.name, row.photo, row.lens, pose) for row, pose in zip(rows, poses, strict=True)]
    left_out, no_pose = photos_without_pose(frames, path)
    return finish_app_export(path, "realitycapture", frames, warnings + moved + no_pose, left_out)


def _rows(text: str, names: list[str], path: Path, images: Path | None) -> tuple[list[_Row], float]:
    """The cameras in the natural order of names; by how many pixels a lens is off at most."""
    try:
        separator = _separator("\n".join(text.splitlines()[:2]))
        table = list(csv.reader(text.splitlines(), delimiter=separator))
    except csv.Error as error:
        raise NerfsceneError(f"{path} is broken ({error}): export it again.") from error
    table = [row for row in table if row and not row[0].startswith("#")]
    table = [row for row in table if row[0].strip().lower() != "name"]  # the names' line, without its #
    if not table:
        raise NerfsceneError(f"{path} lists no cameras: align the photos before you export.")
    find = photo_finder(path.parent, images, [row[0] for row in table], path)
    rows = []
    worst = 0.0
    for given in sorted(table, key=lambda r: natural_key(r[0])):
        where = f"camera {printable(given[0])} in {path}"
        needed = ANGLES if "heading" in names else MATRICES
        values = _values(dict(zip(names, given, strict=False)), needed, where)
        photo = find(given[0])
        lens, off = _lens(values, _stored_size(photo, values), where)
        worst = max(worst, off)
        position, rotation = _pose(values, where)
        rows.append(_Row(printable(given[0]), photo, lens, position, rotation))
    return rows, worst


def _stored_size(photo: Path | None, values: dict[str, float]) -> tuple[int, int]:
    """Width and height of the photo as stored, which the export doesn't give.

    Without a photo any size around the principal point will do, because its lens isn't used.
    """
    if photo is None:
        return max(3, int(2 * values.get("px_pix", 0))), max(2, int(2 * values.get("py_pix", 0)))
    return size_of_stored(photo)


def _values(row: dict[str, str], needed: tuple[str, ...], where: str) -> dict[str, float]:
    """The numbers in a row; OPTIONAL ones are 0 when empty or missing."""

    def value(name: str, must: bool) -> float:
        text = row.get(name, "").strip()
        try:
            given: dict[str, object] = {name: float(text.replace(",", ".")) if text else None}
        except ValueError:
            given = {name: text}
        return number(given, name, where, None if must else 0.0)

    return {name: value(name, name in needed) for name in (*needed, *OPTIONAL)}


def _pose(values: dict[str, float], where: str) -> tuple[Array, Array]:
    """Position (3,) and rotation (3, 3) of world_from_cam, OpenCV axes."""
    if "heading" in values:
        angles = (values[angle] for angle in ("heading", "pitch", "roll"))
        return np.array([values[axis] for axis in ("x", "y", "alt")]), rotation_of_angles(*angles)
    matrix = np.array([values[entry] for entry in ROTATION]).reshape(3, 3)
    translation = np.array([values[axis] for axis in ("tx", "ty", "tz")])
    cam_from_world = rigid(np.column_stack([matrix, translation]), where)
    rotation = cam_from_world[:3, :3].T
    return -rotation @ cam_from_world[:3, 3], rotation


def rotation_of_angles(heading: float, pitch: float, roll: float) -> Array:
    """world_from_cam (3, 3), OpenCV axes, of angles in degrees; the world's axes are east, north and up."""
    cy, cp, cr = (math.cos(math.radians(angle)) for angle in (heading, pitch, roll))
    sy, sp, sr = (math.sin(math.radians(angle)) for angle in (heading, pitch, roll))
    about_up = np.array([[cy, sy, 0], [-sy, cy, 0], [0, 0, 1]])  # clockwise from above
    nose_up = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    right_wing_down = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    return about_up @ nose_up @ right_wing_down @ np.diag([1.0, -1.0, -1.0])


def _lens(values: dict[str, float], size: tuple[int, int], where: str) -> tuple[Intrinsics, float]:
    """The lens of a row, and by how many pixels it differs from the export's at most."""
    terms = tuple(values[term] for term in TERMS)
    if "f" in values:
        return lens_in_shares(values["f"], (values["px"], values["py"]), terms, size, where)
    centre = values["px_pix"], values["py_pix"]
    if max(abs(c / side - 0.5) for c, side in zip(centre, size, strict=True)) > OFF_CENTRE:
        raise NerfsceneError(
            f"{where} has its principal point at {centre[0]:.0f}, {centre[1]:.0f} pixels, but its photo has "
            f"{size[0]}×{size[1]}: use the photos that were aligned, not smaller ones."
        )
    return lens_in_pixels(values["f_pix"], centre, terms, size, where)


def _placed(rows: list[_Row], path: Path, angles: bool) -> tuple[list[Array], tuple[str, ...]]:
    """world_from_cam (4, 4) of each row, and a warning if positions were turned into local metres.

    angles: whether rotations come from angles, which refer to east, north and up whatever positions are.
    """
    positions = np.stack([row.position for row in rows])
    warnings: tuple[str, ...] = ()
    rotations = [row.rotation for row in rows]
    kind = "longitudes and latitudes" if are_degrees(positions) else ""
    if kind and not angles:
        raise NerfsceneError(
            f"the positions in {path} are longitudes and latitudes, in which its matrices have no meaning: "
            "export Internal/External camera parameters, or choose a coordinate system in metres."
        )
    if kind:
        if np.abs(positions[:, 1]).max() > 90:  # no latitude: the two are exchanged
            positions = positions[:, [1, 0, 2]]
        positions = geocentric(positions)
    elif are_geocentric(positions):
        kind = "geocentric"
    if kind:
        longitude, latitude = geodetic(positions.mean(axis=0))
        local = local_from_geocentric(positions)
        positions = positions @ local[:3, :3].T + local[:3, 3]
        if not angles and kind == "geocentric":  # matrices are in the coordinate system of the positions
            rotations = [local[:3, :3] @ rotation for rotation in rotations]
        warnings = (
            f"the positions in {path.name} are {kind}: they were turned into metres east, north and up of "
            f"their middle at {latitude:.5f}, {longitude:.5f}.",
        )
    poses = []
    for rotation, position in zip(rotations, positions, strict=True):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, position
        poses.append(pose)
    return poses, warnings

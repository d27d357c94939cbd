"""RealityCapture's (RealityScan's) "Internal/External camera parameters", a CSV → PosedCapture.

Angles are in degrees. With heading, pitch and roll 0 a camera looks straight down and the top of its
picture points towards +y, the world's north. The formula is in the makers' "Registration export and camera
orientations"; it gives the same matrix that the program writes to XMP files. Lenses follow Brown's model
with OpenCV's signs ("RealityCapture XMP camera math"): f is in mm for film 36 mm wide; px and py are
offsets from the picture's centre, to the right and down, as fractions of its longer side. Everything
refers to the stored pixels, whatever EXIF says about orientation.

Written from the makers' documents; not yet tried on a real export of the program.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from nerfscene.cameras.lens_fit import NOTICEABLE, Projection
from nerfscene.capture.folder import natural_key, stored_size
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import (
    lens_of,
    nearest_lens,
    number,
    printable,
)
from nerfscene.formats.listing import PosedFrame, photos_without_pose
from nerfscene.formats.photo_search import finish_app_export, photo_finder
from nerfscene.types import Array, Intrinsics, PosedCapture

NEEDED = ("x", "y", "alt", "heading", "pitch", "roll", "f")
TERMS = ("px", "py", "k1", "k2", "k3", "k4", "t1", "t2")
FILM_WIDTH = 36.0  # mm
HEAD = 1 << 12  # bytes that hold the names of the columns


def columns(text: str) -> list[str] | None:
    """The names of the columns, in lower case, if the text begins like such an export; else None.

    The line above the names may give the number of cameras ("#cameras 20").
    """
    lines = [line.strip() for line in text.splitlines()[:2]]
    if lines and lines[0].lower().startswith("#cameras"):
        lines = lines[1:]
    if not lines or not lines[0].lower().startswith("#name,"):
        return None
    names = [name.strip().lower() for name in lines[0].lstrip("#").split(",")]
    return names if set(NEEDED) <= set(names) else None


def is_realitycapture(path: Path) -> bool:
    """Whether a file is such an export, judged by its first lines."""
    try:
        with path.open("rb") as file:
            return columns(file.read(HEAD).decode("utf-8-sig", errors="replace")) is not None
    except OSError:
        return False


def read_realitycapture(path: Path, images: Path | None = None) -> PosedCapture:
    """Reads the CSV; its photos are in ``images``, or where photo_search.photo_finder looks.

    World coordinates and units are the export's. A lens with k4 other than 0 is approximated by the
    nearest lens without it, with a warning if the difference is visible. Columns for the lens may be
    missing. Photos beside those listed that have no row are left out, with a warning.
    Raises NerfsceneError when the file is broken or the photos aren't found.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise NerfsceneError(f"{path} cannot be read ({error}): export it again.") from error
    names = columns(text)
    if names is None:
        raise NerfsceneError(
            f"{path} lacks one of the columns #name, {', '.join(NEEDED)}: export the registration from "
            "RealityCapture as Internal/External camera parameters."
        )
    try:
        rows = [row for row in csv.reader(text.splitlines()) if row and not row[0].startswith("#")]
    except csv.Error as error:
        raise NerfsceneError(f"{path} is broken ({error}): export it again.") from error
    if not rows:
        raise NerfsceneError(f"{path} lists no cameras: align the photos before you export.")
    find = photo_finder(path.parent, images, [row[0] for row in rows], path)
    frames = []
    worst = 0.0
    for row in sorted(rows, key=lambda r: natural_key(r[0])):
        where = f"camera {printable(row[0])} in {path}"
        values = _values(dict(zip(names, row, strict=False)), where)
        photo = find(row[0])
        width, height = _stored_size(photo)
        lens, deviation = _lens(values, width, height, where)
        worst = max(worst, deviation)
        frames.append(PosedFrame(printable(row[0]), photo, lens, _pose(values)))
    warnings: tuple[str, ...] = ()
    if worst > NOTICEABLE:
        warnings = (
            f"lenses in {path.name} have the term k4, which is not supported: the nearest lens without it is "
            f"off by up to {worst:.1f} pixels; align with the lens model Brown3 for sharper results.",
        )
    left_out, no_pose = photos_without_pose(frames, path)
    return finish_app_export(path, "realitycapture", frames, warnings + no_pose, left_out)


def _stored_size(photo: Path | None) -> tuple[int, int]:
    """Width and height of the photo as stored, which the export doesn't give.

    Without a photo any size will do, because its lens isn't used.
    """
    if photo is None:
        return 3, 2
    return stored_size(photo)


def _values(row: dict[str, str], where: str) -> dict[str, float]:
    """The numbers in a row; columns that aren't NEEDED are 0 when empty or missing."""

    def value(name: str, needed: bool) -> float:
        text = row.get(name, "").strip()
        try:
            given: dict[str, object] = {name: float(text) if text else None}
        except ValueError:
            given = {name: text}
        return number(given, name, where, None if needed else 0.0)

    return {name: value(name, name in NEEDED) for name in (*NEEDED, *TERMS)}


def _pose(values: dict[str, float]) -> Array:
    """world_from_cam, OpenCV axes."""
    cy, cp, cr = (math.cos(math.radians(values[angle])) for angle in ("heading", "pitch", "roll"))
    sy, sp, sr = (math.sin(math.radians(values[angle])) for angle in ("heading", "pitch", "roll"))
    heading = np.array([[cy, sy, 0], [-sy, cy, 0], [0, 0, 1]])  # clockwise from above
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    matrix = np.eye(4)
    matrix[:3, :3] = heading @ pitch @ roll @ np.diag([1.0, -1.0, -1.0])
    matrix[:3, 3] = values["x"], values["y"], values["alt"]
    return matrix


def _lens(values: dict[str, float], width: int, height: int, where: str) -> tuple[Intrinsics, float]:
    """The lens of a row, and by how many pixels it differs from the export's at most."""
    longer = max(width, height)
    focal = values["f"] / FILM_WIDTH * longer
    centre = width / 2 + values["px"] * longer, height / 2 + values["py"] * longer
    distortion = tuple(values[term] for term in ("k1", "k2", "t1", "t2", "k3"))
    lens = lens_of(width, height, (focal, focal), centre, where, distortion)
    if values["k4"] == 0:
        return lens, 0.0
    return nearest_lens(lens, _projection(lens, values), where)


def _projection(lens: Intrinsics, values: dict[str, float]) -> Projection:
    """RealityCapture's projection, from base coordinates as in lens_fit to pixels."""
    k1, k2, k3, k4, t1, t2 = (values[term] for term in TERMS[2:])

    def project(base: Array) -> Array:
        x, y = base.T
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
        u = x * radial + 2 * t1 * x * y + t2 * (r2 + 2 * x * x)
        v = y * radial + t1 * (r2 + 2 * y * y) + 2 * t2 * x * y
        return np.stack([lens.fx * u + lens.cx, lens.fy * v + lens.cy], axis=1)

    return project

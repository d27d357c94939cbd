"""What the readers of camera paths share: what a file says, before its size and world are decided; checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.cameras.plausible import FARTHEST
from nerfscene.cameras.rigid import nearest_rigid
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import load_json
from nerfscene.types import Array, Lens

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # camera axes of OpenGL, glTF and Blender ↔ OpenCV's
RIGID_TOLERANCE = 1e-2  # how far R·Rᵀ may be from 1: a path's cameras only have to look right
MOST_FRAMES = 100_000
DEFAULT_FPS, DEFAULT_SECONDS = 30.0, 8.0  # of a film along keyframes that a file gives no length


@dataclass(frozen=True)
class FilePath:
    """A camera path as its file gives it, in the file's own coordinates.

    poses: one a frame, (4, 4), OpenCV axes. focals: (n,), in heights of the picture that the file means, or
    in longer sides of the film's, if ``longer_side``. lens: of all cameras, without distortion.
    fps, seconds, loop: as in paths.CameraPath. width, height: pixels, None if the file gives none.
    aspect: width by height, used where a size is missing; None: unknown.
    box: file_from_box (4, 4), which maps [-1, 1]³ to the only part to be shown; None: everything.
    background: the colour around that part, 0…1. notes: sentences on what can't be applied.
    """

    poses: Sequence[Array]
    focals: Array
    fps: float | None = None
    seconds: float | None = None
    loop: bool = False
    width: int | None = None
    height: int | None = None
    aspect: float | None = None
    box: Array | None = None
    background: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = ()
    longer_side: bool = False
    lens: Lens = "perspective"


def load(file: Path, instead: str) -> dict[str, Any]:
    """The file's JSON object; ``instead``: what to do, for the message when there is none.

    Raises NerfsceneError when the file is missing, is not JSON or holds no object.
    """
    if not file.exists():
        raise NerfsceneError(f"{file} doesn't exist; {instead}")
    data = load_json(file)
    if not isinstance(data, dict):
        raise NerfsceneError(f"{file} is not a JSON object; {instead}")
    return data


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if ok else None


def positive(data: dict[str, Any], name: str, file: Path) -> float | None:
    """A number above 0; None if the file doesn't give it. Raises NerfsceneError for anything else."""
    if data.get(name) is None:
        return None
    value = number(data[name])
    if value is None or value <= 0:
        raise NerfsceneError(f"{file} has {name} = {data[name]!r:.80}; it must be a number above 0")
    return value


def vector(values: Any, length: int) -> Array | None:
    """A list of so many finite numbers as an array; None for anything else."""
    if not isinstance(values, list) or len(values) != length:
        return None
    found = [number(v) for v in values]
    return None if None in found else np.array(found, np.float64)


def rigid(matrix: Array, where: str, any_scale: bool) -> Array:
    """The rigid transform (4, 4) nearest to a matrix. Raises NerfsceneError if none is near.

    any_scale: as in ``nearest_rigid``.
    """
    if not np.abs(matrix[:3, 3]).max() <= FARTHEST:
        raise NerfsceneError(f"{where} leads impossibly far away; export it again")
    pose = nearest_rigid(matrix, RIGID_TOLERANCE, any_scale)
    if pose is None:
        what = "stretches" if any_scale else "scales"
        raise NerfsceneError(
            f"{where} is not a rotation and a translation (it {what}, shears or mirrors); export it again"
        )
    return pose


def focal_of(fov: Any, where: str) -> float:
    """The focal length, in heights of the picture, of a vertical field of view in degrees.

    Raises NerfsceneError if it isn't between 0 and 180.
    """
    degrees = number(fov)
    if degrees is None or not 0 < degrees < 180:
        raise NerfsceneError(
            f"{where} has a field of view of {fov!r:.80}; it must be between 0 and 180 degrees"
        )
    return 0.5 / math.tan(math.radians(degrees) / 2)


def frame_count(seconds: float, fps: float, file: Path) -> int:
    """How many frames a film of this length has, at least 2. Raises NerfsceneError for too many."""
    n = seconds * fps
    if n > MOST_FRAMES:
        raise NerfsceneError(f"{file} asks for {n:.0f} frames; reduce its seconds or fps")
    return max(round(n), 2)

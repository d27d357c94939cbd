"""Reads a camera that a few lines of script wrote out of Blender: frames of ``matrix_world`` and a lens.

The documentation has the script. The file holds ``fps``; ``width``, ``height``: pixels; ``loop``; and
``frames``: [{``matrix_world``: 4 rows of 4 numbers, as ``camera.matrix_world``; ``fov``: vertical,
degrees}]. Instead of ``fov``, a frame or the file may have ``lens`` in millimetres, with ``sensor_width``
(36 if missing), ``sensor_height`` (24) and ``sensor_fit`` (AUTO, HORIZONTAL or VERTICAL), as Blender's
cameras do: AUTO means that ``sensor_width`` spans the picture's longer side. A camera looks along its -z,
with +y up, in a world whose +z is up (Blender's manual, "Camera" and "Axes").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.films.path_parts import (
    DEFAULT_FPS,
    FLIP,
    FilePath,
    focal_of,
    frame_count,
    number,
    positive,
    rigid,
    vector,
)
from nerfscene.types import Array

SENSOR_WIDTH, SENSOR_HEIGHT = 36.0, 24.0  # mm, Blender's own
USUAL_ASPECT = 16 / 9  # of Blender's pictures
FITS = ("AUTO", "HORIZONTAL", "VERTICAL")


def is_one(data: dict[str, Any]) -> bool:
    """Whether a JSON object is such a path."""
    frames = data.get("frames")
    first = frames[0] if isinstance(frames, list) and frames else None
    return isinstance(first, dict) and "matrix_world" in first


def read(data: dict[str, Any], file: Path) -> FilePath:
    """The path in such a file, in Blender's coordinates (+z up).

    Raises NerfsceneError, naming the file, for anything that can't be used.
    """
    fps = positive(data, "fps", file) or DEFAULT_FPS
    width, height = (positive(data, side, file) for side in ("width", "height"))
    aspect = width / height if width and height else number(data.get("aspect")) or USUAL_ASPECT
    frame_count(len(data["frames"]) / fps, fps, file)
    poses, focals, shifted = [], [], False
    for i, frame in enumerate(data["frames"]):
        where = f"{file}: frame {i}"
        given = frame if isinstance(frame, dict) else {}
        values = {**{k: v for k, v in data.items() if k != "frames"}, **given}
        poses.append(rigid(_matrix(given.get("matrix_world"), where), where, any_scale=True) @ FLIP)
        focals.append(_focal(values, aspect, where))
        shifted = shifted or bool(number(values.get("shift_x")) or number(values.get("shift_y")))
    notes = (f"{file}: its lens shift is not applied.",) if shifted else ()
    return FilePath(
        poses,
        np.array(focals),
        fps,
        len(poses) / fps,
        data.get("loop") is True,
        None if width is None else round(width),
        None if height is None else round(height),
        aspect,
        notes=notes,
    )


def _matrix(rows: Any, where: str) -> Array:
    """A pose (4, 4) from rows of numbers, or from 16 numbers row by row."""
    if isinstance(rows, list) and len(rows) == 4:
        found = [vector(row, 4) for row in rows]
        if all(row is not None for row in found):
            return np.stack([row for row in found if row is not None])
    flat = vector(rows, 16)
    if flat is None:
        raise NerfsceneError(f"{where} has no matrix_world of 4 rows of 4 numbers; export it again")
    return flat.reshape(4, 4)


def _focal(values: dict[str, Any], aspect: float, where: str) -> float:
    """A frame's focal length, in heights of its picture."""
    if values.get("fov") is not None:
        return focal_of(values["fov"], where)
    if values.get("lens") is None:
        raise NerfsceneError(f"{where} has neither a fov in degrees nor a lens in millimetres; add one")
    lens = number(values["lens"])
    fit = values.get("sensor_fit", FITS[0])
    across, down = (
        number(values.get(n, u))
        for n, u in (("sensor_width", SENSOR_WIDTH), ("sensor_height", SENSOR_HEIGHT))
    )
    if lens is None or across is None or down is None or min(lens, across, down) <= 0 or fit not in FITS:
        raise NerfsceneError(
            f"{where} has a lens or sensor that isn't Blender's, in millimetres; export it again"
        )
    if fit == "VERTICAL":
        return lens / down
    if fit == "AUTO" and aspect < 1:
        return lens / across
    return lens / across * aspect

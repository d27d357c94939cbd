"""Reads instant-ngp's camera paths: base_cam.json.

The format and the formulas are those of instant-ngp's ``src/camera_path.cu`` and ``nerf_loader.h``, read in
its sources of 2022 to 2026; none of its own files was at hand.

- ``path``: a list of {``R``: a quaternion x, y, z, w, of the camera's axes right, down and forward; ``T``:
  its place; ``fov``: vertical, degrees; ``aperture_size`` (in 2022: ``dof``), ``slice`` and ``scale``: the
  focus; ``glow_mode``, ``glow_y_cutoff``: an effect; ``timestamp``}. Both are in instant-ngp's own
  coordinates, see ``own_from_world``.
- ``loop``; ``time``, where the editor's slider stands; ``duration_seconds``; ``spline_order``

These are keyframes. The camera follows a uniform B-spline, which passes near them and not through them. From
March to July 2023 instant-ngp wrote quaternions as w, x, y, z. Nothing in the file says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.films.path_parts import (
    DEFAULT_FPS,
    DEFAULT_SECONDS,
    FilePath,
    focal_of,
    frame_count,
    number,
    vector,
)
from nerfscene.formats.app_files import rotation_of
from nerfscene.types import Array

SCALE, OFFSET = 0.33, 0.5  # from the world to its own coordinates, unless transforms.json has others
SCALE_MITSUBA, OFFSET_MITSUBA = 0.66, 0.25 * 0.66
# Its own x, y, z are the world's y, z, x.
CYCLE = np.array([[0.0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
# What a B-spline of each order takes from which neighbours, by powers of the time since the last keyframe.
NEIGHBOURS: dict[int, tuple[tuple[int, ...], Array]] = {
    1: ((0, 1), np.array([[1, 0], [-1, 1]])),
    2: ((-1, 0, 1), np.array([[1, 1, 0], [-2, 2, 0], [1, -2, 1]]) / 2),
    3: ((-1, 0, 1, 2), np.array([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6),
}


def is_one(data: dict[str, Any]) -> bool:
    """Whether a JSON object is such a path, rather than nerfstudio's."""
    keys = data.get("path")
    return isinstance(keys, list) and "camera_path" not in data and "keyframes" not in data


def read(data: dict[str, Any], file: Path) -> FilePath:
    """The path in a base_cam.json, ``data``, in instant-ngp's own coordinates.

    It is as long as its recording took, or 8 seconds for one made from keyframes.
    Raises NerfsceneError, naming the file, for anything that can't be used.
    """
    keys = [_key(entry, f"{file}: keyframe {i}") for i, entry in enumerate(data["path"])]
    if not keys:
        raise NerfsceneError(f"{file} holds no keyframes; add some in instant-ngp and save the path again")
    order = data.get("spline_order", 3)
    if order not in (0, *NEIGHBOURS) or isinstance(order, bool):
        raise NerfsceneError(f"{file} has spline_order = {order!r:.40}; it must be 0, 1, 2 or 3")
    loop = bool(data.get("loop", False))
    times, recorded = _times(data["path"])
    length = number(data.get("duration_seconds")) if recorded else None
    seconds = length if length and length > 0 else DEFAULT_SECONDS
    n = frame_count(seconds, DEFAULT_FPS, file)
    at = np.linspace(0, 1, n, endpoint=not loop)
    curve = _along(np.stack(keys), times, at, loop, int(order))
    poses, focals = [], []
    for i, values in enumerate(curve):
        where = f"{file}: frame {i}"
        pose = np.eye(4)
        pose[:3, :3] = rotation_of(values[:4], where)
        pose[:3, 3] = values[4:7]
        poses.append(pose)
        focals.append(focal_of(float(values[7]), where))
    return FilePath(poses, np.array(focals), DEFAULT_FPS, seconds, loop, notes=_unused(data, file))


def with_w_first(data: dict[str, Any]) -> dict[str, Any] | None:
    """The same path with its quaternions read as w, x, y, z; None if its version can't have written that."""
    entries = data["path"]
    if any("timestamp" in entry for entry in entries if isinstance(entry, dict)):  # written since 2025
        return None
    return {**data, "path": [{**e, "R": [*e["R"][1:], e["R"][0]]} for e in entries]}


def own_from_world(transforms: dict[str, Any], where: str) -> Array:
    """The similarity (4, 4) from a transforms.json's world to the coordinates that instant-ngp gives it.

    Follows ``load_nerf``: ``aabb`` sets scale and offset, else ``offset`` and ``scale`` do, else
    ``from_mitsuba``, which also leaves the axes as they are, else the usual ones.
    Raises NerfsceneError, beginning with ``where``, if these are not numbers.
    """
    mitsuba = bool(transforms.get("from_mitsuba", "normal_mts_args" in transforms))
    scale, offset = number(transforms.get("scale", SCALE_MITSUBA if mitsuba else SCALE)), None
    given = transforms.get("offset", OFFSET_MITSUBA if mitsuba else OFFSET)
    if isinstance(given, list):
        offset = vector(given, 3)
    elif number(given) is not None:
        offset = np.full(3, float(given))
    if transforms.get("aabb") is not None:
        corners = transforms["aabb"]
        both = corners if isinstance(corners, list) and len(corners) == 2 else [None, None]
        low, high = (vector(corner, 3) for corner in both)
        scale = offset = None
        if low is not None and high is not None:
            scale = 1 / max(1e-6, float(np.abs(high - low).max()))
            offset = 0.5 - scale * (low + high) / 2
    if scale is None or not 1e-12 < scale < 1e12 or offset is None:
        raise NerfsceneError(f"{where} has a scale, offset or aabb that can't be used; export it again")
    m = np.diag([scale, scale, scale, 1.0])
    m[:3, 3] = offset
    return m if mitsuba else np.asarray(CYCLE @ m)


def _key(entry: Any, where: str) -> Array:
    """A keyframe as (8,): the quaternion, the place and the field of view."""
    values = entry if isinstance(entry, dict) else {}
    quaternion, place = vector(values.get("R"), 4), vector(values.get("T"), 3)
    if quaternion is None or place is None or not np.linalg.norm(quaternion) > 1e-6:
        raise NerfsceneError(
            f"{where} is not instant-ngp's R of 4 numbers and T of 3; save the path again in instant-ngp"
        )
    focal_of(values.get("fov"), where)
    return np.concatenate([quaternion / np.linalg.norm(quaternion), place, [float(values["fov"])]])


def _times(entries: list[dict[str, Any]]) -> tuple[Array, bool]:
    """When the step to the next keyframe ends, (n,), and whether these are recorded seconds.

    Without times that grow from above 0, all steps take equally long.
    """
    n = len(entries)
    given = [number(entry.get("timestamp")) for entry in entries]
    if None not in given:
        times = np.array(given, np.float64)
        if (np.diff(times, prepend=0.0) > 0).all():
            return times, bool(times[-1] != 1)  # evenly spaced ones end at 1, which is not a length
    return np.arange(1, n + 1) / n, False


def _along(keys: Array, times: Array, at: Array, loop: bool, order: int) -> Array:
    """The curve's values (m, 8) at shares (m,) of its length, 0…1."""
    n = len(keys)
    if n == 1:
        return np.repeat(keys, len(at), axis=0)
    last = n - 1 if loop else n - 2
    time = at * times[last]
    step = np.clip(np.searchsorted(times, time, side="right"), 0, last)
    begins = np.append(0.0, times)[step]
    part = (time - begins) / (times[step] - begins)
    if order == 0:
        step, part, order = step + np.round(part).astype(int), np.zeros(len(at)), 1
    near, matrix = NEIGHBOURS[order]
    weights = part[:, None] ** np.arange(order + 1) @ matrix
    index = step[:, None] + np.array(near)
    index = index % n if loop else np.clip(index, 0, n - 1)
    total = np.zeros((len(at), 8))
    for j in range(len(near)):
        values = keys[index[:, j]].copy()
        other_side = (values[:, :4] * total[:, :4]).sum(1) < 0
        values[other_side, :4] *= -1  # q and -q are the same rotation
        total += weights[:, j, None] * values
    return total


def _unused(data: dict[str, Any], file: Path) -> tuple[str, ...]:
    """Sentences on what the path asks for and a film here can't show."""
    effects = {
        "its depth of field (aperture_size) is": ("aperture_size", "dof"),
        "its glow (glow_mode) is": ("glow_mode",),
    }
    return tuple(
        f"{file}: {what} not applied."
        for what, names in effects.items()
        if any(number(entry.get(name)) for entry in data["path"] for name in names)
    )

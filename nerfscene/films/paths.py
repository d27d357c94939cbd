"""A camera path as a list of cameras, and smooth curves through keyframes. World coordinates throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nerfscene.equality import equal_fields, hash_fields
from nerfscene.errors import NerfsceneError
from nerfscene.films.tracks import Tracks, stretched
from nerfscene.loading import loading
from nerfscene.types import Array, Camera

LOOP_OVERLAP = 8  # keyframes by which a loop's curve continues beyond both of its ends
TURN_WEIGHT = 0.25  # steps of the camera that a turn by 1 rad counts as


@dataclass(frozen=True)
class CameraPath:
    """One camera per frame, in order, and the film's settings as far as a file gave them.

    cameras: one per frame; their intrinsics hold the size to render at
    fps: frames per second; None if unknown
    seconds: length of the film; None if unknown
    loop: whether the frame after the last one is the first again
    width, height: the film's size in a file, pixels; None if there is none
    crop: world_from_box (4, 4), as in ``scene.Scene``: the only part to be shown; None: as the scene says
    background: 0…1, the colour around the crop; None: as the scene says
    notes: sentences on what a file asks for and can't have, or on doubts about its coordinates
    tracks: what the film pulls by key; its roll and field of view are in the cameras already
    times: (n,), the time of each frame in the film, seconds; None: evenly from its beginning to its end
    """

    cameras: tuple[Camera, ...]
    fps: float | None = None
    seconds: float | None = None
    loop: bool = False
    width: int | None = None
    height: int | None = None
    crop: Array | None = None
    background: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = ()
    tracks: Tracks = Tracks()  # noqa: RUF009 - frozen
    times: Array | None = None

    __eq__ = equal_fields
    __hash__ = hash_fields


def _vector(value: Any, name: str) -> Array:
    """Three finite numbers as an array; raises as ``look_at`` does."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be three numbers") from error
    if array.shape != (3,):
        raise TypeError(f"{name} must be three numbers, not an array of the shape {array.shape}")
    if not np.isfinite(array).all():
        raise NerfsceneError(f"{name} must be three finite numbers")
    return array


def look_at(position: Array, target: Array, up: Array) -> Array:
    """The pose world_from_cam (4, 4), OpenCV axes, of a camera at ``position`` looking at ``target``.

    position, target, up: (3,); ``up`` need not be a unit vector. Raises TypeError for what is no vector, and
    NerfsceneError if position and target are the same or numbers aren't finite.
    """
    position, target, up = (
        _vector(value, name) for value, name in ((position, "position"), (target, "target"), (up, "up"))
    )
    z = target - position
    if not z.any():
        raise NerfsceneError("position and target must differ: a camera can't look at itself")
    z = z / np.linalg.norm(z)
    x = np.cross(z, up)
    norm = np.linalg.norm(x)
    # When the camera looks along ``up``, any horizontal direction serves as x.
    x = x / norm if norm > 1e-6 else np.linalg.svd(z[None])[2][1]
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = position
    return pose


def interpolate(
    keyframes: Sequence[Array],
    focals: Array,
    n_frames: int,
    constant_speed: bool = False,
    loop: bool = False,
    key_times: Array | None = None,
) -> tuple[list[Array], Array]:
    """Poses (4, 4) and focal lengths (n_frames,) along a smooth curve through n keyframes.

    keyframes: poses (4, 4). focals: (n,), pixels. The curve is a cubic spline through positions,
    quaternions and logarithms of focal lengths. Keyframes are equally far apart in time by default.

    constant_speed: the camera moves evenly; turning on the spot counts too, 4 rad as much as the mean
    step between keyframes. The spline is then centripetal, so that it neither loops nor overshoots.
    loop: the frame after the last one is the first keyframe; without it the last frame is the last keyframe.
    key_times: (n_frames,), the time of each frame on a scale where the first keyframe is at 0, the second
    at 1 and so on; overrides even spacing.
    """
    with loading():
        from scipy.interpolate import CubicSpline  # imported here because it takes half a second
        from scipy.spatial.transform import Rotation

    n = len(keyframes)
    if n == 1:
        return [keyframes[0].copy() for _ in range(n_frames)], np.repeat(focals, n_frames)
    # A loop's curve continues beyond both ends. (A periodic spline would not work: after a full turn a
    # quaternion comes back with the other sign.)
    overlap = LOOP_OVERLAP if loop else 0
    indices = np.arange(-overlap, n + overlap + loop) % n
    positions = np.stack([k[:3, 3] for k in keyframes])[indices]
    quaternions = Rotation.from_matrix(np.stack([k[:3, :3] for k in keyframes])).as_quat()[indices]
    same_side = np.sign((quaternions[1:] * quaternions[:-1]).sum(1))
    quaternions[1:] *= np.cumprod(np.where(same_side == 0, 1.0, same_side))[:, None]
    logs = np.log(np.asarray(focals, float))[indices]
    mean_step = float(np.linalg.norm(np.diff(positions, axis=0), axis=1).mean())
    if constant_speed:
        knots = np.append(0.0, np.cumsum(np.sqrt(_travel(positions, quaternions, mean_step)) + 1e-3))
    else:
        knots = np.arange(len(indices), dtype=float)
    curve = CubicSpline(knots, np.column_stack([positions, quaternions, logs]), bc_type="natural")
    begin, end = knots[overlap], knots[-1 - overlap]
    times = np.linspace(begin, end, n_frames, endpoint=not loop)
    if key_times is not None:
        times = np.interp(key_times, np.arange(n + loop), knots[overlap : len(knots) - overlap])
    elif constant_speed:
        fine = np.linspace(begin, end, 64 * n)
        samples = curve(fine)
        samples[:, 3:7] /= np.linalg.norm(samples[:, 3:7], axis=1, keepdims=True)
        travelled = np.append(0.0, np.cumsum(_travel(samples[:, :3], samples[:, 3:7], mean_step)))
        if travelled[-1] > 0:
            evenly = np.linspace(0, travelled[-1], n_frames, endpoint=not loop)
            times = np.interp(evenly, travelled, fine)
    values = curve(times)
    poses = np.tile(np.eye(4), (n_frames, 1, 1))
    poses[:, :3, 3] = values[:, :3]
    poses[:, :3, :3] = Rotation.from_quat(values[:, 3:7]).as_matrix()
    return list(poses), np.exp(values[:, 7])


def _travel(positions: Array, quaternions: Array, step: float) -> Array:
    """The distance from each pose to the next (n - 1,), in units of ``step``; turning counts a little."""
    moved = np.linalg.norm(np.diff(positions, axis=0), axis=1) / (step if step > 0 else 1.0)
    turned = 2 * np.linalg.norm(np.diff(quaternions, axis=0), axis=1)  # radians, for small turns
    return np.hypot(moved, TURN_WEIGHT * turned)


def resample(path: CameraPath, n_frames: int, constant_speed: bool = False) -> CameraPath:
    """The same path with another number of frames at the same fps; focal lengths are interpolated too.

    constant_speed: the camera moves evenly, however the path's frames were spaced.
    Raises NerfsceneError for a path without cameras, or fewer than one frame.
    """
    if not path.cameras or n_frames < 1:
        raise NerfsceneError("a camera path needs at least one frame; give more seconds or frames a second")
    if n_frames == len(path.cameras) and not constant_speed:
        return path
    poses, focals = interpolate(
        [c.world_from_cam for c in path.cameras],
        np.array([c.intrinsics.fy for c in path.cameras]),
        n_frames,
        constant_speed,
        path.loop,
    )
    k = path.cameras[0].intrinsics
    cameras = []
    for pose, f in zip(poses, focals, strict=True):
        cameras.append(Camera(replace(k, fx=float(f) * k.fx / k.fy, fy=float(f)), pose))
    seconds = n_frames / path.fps if path.fps else path.seconds
    tracks = stretched(path.tracks, n_frames / len(path.cameras))
    return replace(path, cameras=tuple(cameras), seconds=seconds, times=None, tracks=tracks)

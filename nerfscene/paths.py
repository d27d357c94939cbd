"""Camera paths: presets made from the photos' own cameras, and splines through keyframes.

Everything is in the capture's world coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, Slerp

from nerfscene.cameras import nearest_point_to_axes, up_direction
from nerfscene.errors import NerfsceneError
from nerfscene.types import Array, Camera, Intrinsics, View

PRESETS = ("orbit", "spiral", "walkthrough")


@dataclass(frozen=True)
class CameraPath:
    """Cameras in order of time, and what a file said about the film (None where it was silent)."""

    cameras: tuple[Camera, ...]
    fps: float | None = None
    seconds: float | None = None
    loop: bool = False


def look_at(position: Array, target: Array, up: Array) -> Array:
    """Pose (4, 4), OpenCV axes, of a camera at ``position`` that looks at ``target``."""
    z = target - position
    z = z / np.linalg.norm(z)
    x = np.cross(z, up)
    norm = np.linalg.norm(x)
    # Looking straight along up: any horizontal direction serves as x.
    x = x / norm if norm > 1e-6 else np.linalg.svd(z[None])[2][1]
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = position
    return pose


def film_intrinsics(views: Sequence[View], width: int, height: int) -> Intrinsics:
    """A lens without distortion that shows, at any aspect, at least the photos' smaller field of view.

    The photos' median angle across their shorter side becomes the angle across the film's shorter
    side, so a landscape film of portrait photos keeps the subject whole.
    """
    angles = []
    for v in views:
        k = v.intrinsics
        side, focal = (k.width, k.fx) if k.width <= k.height else (k.height, k.fy)
        angles.append(2 * np.arctan(0.5 * side / focal))
    focal = 0.5 * min(width, height) / np.tan(0.5 * min(float(np.median(angles)), 2.4))
    return Intrinsics(width, height, focal, focal, width / 2, height / 2)


def preset(name: str, views: Sequence[View], n_frames: int, width: int, height: int) -> CameraPath:
    """``orbit``, ``spiral`` or ``walkthrough`` through the photos' cameras, ``n_frames`` long.

    Raises NerfsceneError for another name or fewer than two views.
    """
    makers = {"orbit": orbit, "spiral": spiral, "walkthrough": walkthrough}
    if name not in makers:
        raise NerfsceneError(
            f"no camera path is called {name!r}; choose {', '.join(PRESETS)}, or give a camera_path.json"
        )
    if len(views) < 2:
        raise NerfsceneError("a camera path needs a scene with at least two posed photos")
    k = film_intrinsics(views, width, height)
    poses, loop = makers[name](views, n_frames)
    return CameraPath(tuple(Camera(k, p) for p in poses), loop=loop)


def _geometry(views: Sequence[View]) -> tuple[Array, Array, Array, Array]:
    centres = np.stack([v.world_from_cam[:3, 3] for v in views])
    axes = np.stack([v.world_from_cam[:3, 2] for v in views])
    return centres, axes, nearest_point_to_axes(centres, axes), up_direction(views)


def orbit(views: Sequence[View], n_frames: int) -> tuple[list[Array], bool]:
    """Around the point that the photos look at, at their typical distance and height.

    A full turn where the photos go all round; otherwise to and fro within the photographed arc, so
    that the camera never shows what no photo saw. Returns poses and whether they close a loop (both
    do: the swing ends where it began).
    """
    centres, _, focus, up = _geometry(views)
    offset = centres - focus
    height = offset @ up
    flat = offset - height[:, None] * up
    e1 = flat[0] / max(np.linalg.norm(flat[0]), 1e-12)
    e2 = np.cross(up, e1)
    angle = np.sort(np.arctan2(flat @ e2, flat @ e1))
    gaps = np.diff(np.concatenate([angle, angle[:1] + 2 * np.pi]))
    widest = int(np.argmax(gaps))
    radius, rise = float(np.median(np.linalg.norm(flat, axis=1))), float(np.median(height))
    t = np.arange(n_frames) / n_frames
    if gaps[widest] < np.radians(60):
        angles = angle[0] + 2 * np.pi * t
    else:
        arc = 2 * np.pi - gaps[widest]
        begin = angle[(widest + 1) % len(angle)]
        # A cosine swing rests at the ends, as a hand does; a tenth is left so it stays inside.
        angles = begin + arc * (0.5 - 0.45 * np.cos(2 * np.pi * t))
    poses = []
    for a in angles:
        position = focus + radius * (np.cos(a) * e1 + np.sin(a) * e2) + rise * up
        poses.append(look_at(position, focus, up))
    return poses, True


def spiral(views: Sequence[View], n_frames: int) -> tuple[list[Array], bool]:
    """Two small turns about the average camera while looking at the focus: for captures from a front."""
    centres, axes, focus, up = _geometry(views)
    # Start from the camera nearest to the average, which for a capture all round would be inside.
    mean_axis = axes.mean(0)
    typical = int(np.argmin(np.linalg.norm(centres - centres.mean(0), axis=1) - axes @ mean_axis))
    centre = centres[typical]
    forward = focus - centre
    distance = float(np.linalg.norm(forward))
    forward = forward / max(distance, 1e-12)
    right = np.cross(forward, up)
    right /= max(np.linalg.norm(right), 1e-12)
    upward = np.cross(right, forward)
    spread = float(np.median(np.linalg.norm(centres - centres.mean(0), axis=1)))
    radius = min(0.5 * spread, 0.25 * distance)
    poses = []
    for t in np.arange(n_frames) / n_frames:
        a = 4 * np.pi * t
        offset = radius * (np.cos(a) * right + 0.6 * np.sin(a) * upward)
        offset += 0.5 * radius * np.sin(a / 2) * forward
        poses.append(look_at(centre + offset, focus, up))
    return poses, True


def walkthrough(views: Sequence[View], n_frames: int) -> tuple[list[Array], bool]:
    """A smooth way through the photos' own cameras in the order of their names, at constant speed.

    Where consecutive names jump about, the nearest unvisited camera comes next instead. At most a
    dozen cameras are passed through, so that a shaky hand does not shake the film.
    """
    poses = [v.world_from_cam for v in views]
    centres = np.stack([p[:3, 3] for p in poses])
    order = list(range(len(poses)))
    by_name = float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum())
    tour = [0]
    while len(tour) < len(poses):
        rest = [i for i in order if i not in tour]
        tour.append(min(rest, key=lambda i: float(np.linalg.norm(centres[i] - centres[tour[-1]]))))
    by_tour = float(np.linalg.norm(np.diff(centres[tour], axis=0), axis=1).sum())
    if by_name > 2 * by_tour:
        order = tour
    picks = np.unique(np.linspace(0, len(order) - 1, min(12, len(order))).round().astype(int))
    return interpolate([poses[order[i]] for i in picks], n_frames, constant_speed=True), False


def interpolate(
    keyframes: Sequence[Array], n_frames: int, constant_speed: bool = False, loop: bool = False
) -> list[Array]:
    """Poses along a smooth curve through keyframes (4, 4).

    Positions by a cubic spline, rotations by spherical interpolation of the same parameter, which is
    the keyframe's number or, with ``constant_speed``, the distance travelled.
    """
    keys = list(keyframes)
    if len(keys) == 1:
        return [keys[0].copy() for _ in range(n_frames)]
    if loop:
        keys.append(keys[0])
    positions = np.stack([k[:3, 3] for k in keys])
    rotations = Rotation.from_matrix(np.stack([k[:3, :3] for k in keys]))
    at = np.arange(len(keys), dtype=float)
    if loop:
        curve = CubicSpline(at, positions, bc_type="periodic")
    else:
        curve = CubicSpline(at, positions, bc_type="natural" if len(keys) > 2 else "not-a-knot")
    times = np.linspace(0, at[-1], n_frames, endpoint=not loop)
    if constant_speed:
        fine = np.linspace(0, at[-1], 64 * len(keys))
        travelled = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve(fine), axis=0), axis=1))])
        if travelled[-1] > 1e-12:
            wanted = np.linspace(0, travelled[-1], n_frames, endpoint=not loop)
            times = np.interp(wanted, travelled, fine)
    out = np.tile(np.eye(4), (n_frames, 1, 1))
    out[:, :3, 3] = curve(times)
    out[:, :3, :3] = Slerp(at, rotations)(times).as_matrix()
    return list(out)


def resample(path: CameraPath, n_frames: int) -> CameraPath:
    """The same way in another number of frames, fields of view interpolated along."""
    if n_frames == len(path.cameras):
        return path
    n = len(path.cameras)
    poses = interpolate([c.world_from_cam for c in path.cameras], n_frames, loop=path.loop)
    focals = np.array([c.intrinsics.fy for c in path.cameras])
    if path.loop:
        focals = np.append(focals, focals[0])
    at = np.linspace(0, len(focals) - 1, n_frames, endpoint=not path.loop) if n > 1 else np.zeros(n_frames)
    k = path.cameras[0].intrinsics
    cameras = []
    for pose, f in zip(poses, np.interp(at, np.arange(len(focals)), focals), strict=True):
        cameras.append(Camera(replace(k, fx=float(f) * k.fx / k.fy, fy=float(f)), pose))
    return replace(path, cameras=tuple(cameras))

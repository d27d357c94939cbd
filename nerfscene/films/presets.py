"""Preset camera paths (orbit, walkthrough, dolly, …), made from the photos' own cameras."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerfscene.cameras.algebra import look_one_way, looked_at, nearest_point_to_axes, walks_ahead
from nerfscene.errors import NerfsceneError
from nerfscene.films.moves import boom, dolly, figure_eight, turntable
from nerfscene.films.orbit import orbit, spiral, subject_of
from nerfscene.films.paths import CameraPath
from nerfscene.films.walkthrough import Clearance, walkthrough
from nerfscene.types import Array, Camera, Intrinsics, View

PRESETS = ("orbit", "spiral", "walkthrough", "dolly", "figure-eight", "turntable", "boom")
OPEN = ("walkthrough", "dolly", "boom")  # the others are closed
WIDEST = 2.4  # radians across a film's shorter side, about 137°


def film_intrinsics(views: Sequence[View], width: int, height: int) -> Intrinsics:
    """A lens without distortion for a film of ``width``×``height`` pixels.

    The angle across the film's shorter side is the median of the photos' angles across their shorter
    sides, at most 137°. So a landscape film of portrait photos keeps the subject whole.
    """
    angles = []
    for view in views:
        k = view.intrinsics
        side, focal = (k.width, k.fx) if k.width <= k.height else (k.height, k.fy)
        # In a fisheye picture the distance from the centre is proportional to the angle.
        angles.append(side / focal if k.lens == "fisheye" else 2 * np.arctan(0.5 * side / focal))
    focal = 0.5 * min(width, height) / np.tan(0.5 * min(float(np.median(angles)), WIDEST))
    return Intrinsics(width, height, focal, focal, width / 2, height / 2)


def preset(
    name: str,
    views: Sequence[View],
    n_frames: int,
    width: int,
    height: int,
    points: Array | None = None,
    up: Array | None = None,
    clearance: Clearance | None = None,
) -> CameraPath:
    """The path of this name, one of PRESETS, with ``n_frames`` cameras, for these photos.

    width, height: the film's size, pixels. points: (n, 3), world units; they give the subject's distance
    if all photos look the same way. up: (3,); estimated from the cameras if not given. clearance: how far
    what there is is from a place (3,), for a walkthrough to keep clear of it.
    Raises NerfsceneError for another name, fewer than two views, no frames, or photos that allow no such
    path.
    """
    if name not in PRESETS:
        raise NerfsceneError(
            f"no camera path is called {name!r}; choose {', '.join(PRESETS)}, or give a camera_path.json"
        )
    if len(views) < 2:
        raise NerfsceneError("a camera path needs a scene with at least two posed photos")
    if n_frames < 1:
        raise NerfsceneError("a camera path needs at least one frame; give more seconds or frames a second")
    if name == "walkthrough":
        poses = walkthrough(views, n_frames, up, clearance)
    else:
        poses = _poses(name, views, n_frames, points, up)
    k = film_intrinsics(views, width, height)
    return CameraPath(tuple(Camera(k, p) for p in poses), loop=name not in OPEN)


def _poses(
    name: str, views: Sequence[View], n_frames: int, points: Array | None, up: Array | None
) -> list[Array]:
    """The poses (4, 4) of a preset, but for the walkthrough; the parameters are those of ``preset``."""
    subject = subject_of(views, points, up)
    if name == "dolly":
        return dolly(subject, n_frames, points)
    moves = {
        "orbit": orbit,
        "spiral": spiral,
        "figure-eight": figure_eight,
        "turntable": turntable,
        "boom": boom,
    }
    return moves[name](subject, n_frames)


def suited(views: Sequence[View]) -> str:
    """The name of the preset that shows what the photos show.

    ``walkthrough`` for photos taken while walking ahead along a street, or looking here and there in a
    room, because neither has a subject to orbit; else ``orbit``.
    """
    poses = np.stack([v.world_from_cam for v in views])
    centres, axes = poses[:, :3, 3], poses[:, :3, 2]
    if look_one_way(axes):
        return "walkthrough" if walks_ahead(centres, axes) else "orbit"
    focus = nearest_point_to_axes(centres, axes)
    around_focus = looked_at(centres, axes, focus) or looked_at(centres, -axes, focus)
    return "orbit" if around_focus else "walkthrough"

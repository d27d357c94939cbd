"""How a camera goes along a way: at constant speed, gently at open ends and in sharp bends; level; aimed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.films.paths import TURN_WEIGHT, look_at
from nerfscene.types import Array

EASING = 1 / 6  # of an open film, at each end, in which the camera gathers speed or comes to rest
SHARPEST_BEND = 16.0  # the acceleration allowed, in units of a whole way a film, a film: see ``slowed``
TURNING_BACK = 0.5  # cosine between one piece and the next, below which the way turns back
SLOWEST = 0.02  # in a bend, as a share of the usual speed
LEVEL, OWN = 0.5, 0.17  # cosines of the pitch: 60°, up to which a camera is levelled, and 80°, where it isn't


def along(n_frames: int, loop: bool) -> Array:
    """The share (0…1) of the way at which each of ``n_frames`` frames is.

    A loop is gone round evenly, and the frame after the last one would be at 1. On an open way the camera
    begins and ends at rest, with an even speed between; the last frame is at 1.
    """
    if loop:
        return np.arange(n_frames) / n_frames
    time = np.linspace(0, 1, 2001)
    ramp = np.clip(np.minimum(time, 1 - time) / EASING, 0, 1)
    speed = ramp**2 * (3 - 2 * ramp)
    way = np.append(0.0, np.cumsum(speed[1:] + speed[:-1]))
    return np.interp(np.linspace(0, 1, n_frames), time, way / way[-1])


def evenly(places: Array, n_frames: int, loop: bool) -> Array:
    """Positions (n_frames, 3) along the line through ``places`` (m, 3), paced as ``along`` says.

    A loop's places end where they begin.
    """
    way = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1)))
    at = along(n_frames, loop) * way[-1]
    return np.stack([np.interp(at, way, places[:, i]) for i in range(3)], axis=1)


def paced(poses: Array, n_frames: int, loop: bool) -> Array:
    """Where each frame is among ``poses`` (m, 4, 4), as a fractional index (n_frames,), at constant speed.

    Turning counts as in ``paths.interpolate``. Where the way bends sharply or turns back, the camera slows
    down, so that nothing jolts. loop: the way goes on from the last pose to the first.
    """
    closed = np.concatenate([poses, poses[:1]]) if loop else poses
    places = closed[:, :3, 3]
    extent = float(np.linalg.norm(places - places.mean(0), axis=1).max())
    # A turn by a radian counts as this much of a step in a space of places and directions.
    spots = np.hstack([places / (extent if extent > 0 else 1.0), TURN_WEIGHT * closed[:, :3, 2]])
    return at_speed(spots, n_frames, loop)


def at_speed(spots: Array, n_frames: int, loop: bool) -> Array:
    """What ``paced`` returns, along ``spots`` (m, k) in any space; a loop's last spot is its first again."""
    steps = np.linalg.norm(np.diff(spots, axis=0), axis=1)
    total = float(steps.sum())
    if total <= 0:
        return np.linspace(0, len(spots) - 1, n_frames, endpoint=not loop)
    steps = steps / total
    speeds = slowed(spots / total, steps, loop)
    taken = steps / (0.5 * (speeds[1:] + speeds[:-1]))
    time = np.append(0.0, np.cumsum(taken))
    return np.interp(along(n_frames, loop) * time[-1], time, np.arange(len(spots)))


def slowed(spots: Array, steps: Array, loop: bool) -> Array:
    """The speed (0…1) at each of ``spots`` (m, k), which form a way of length 1; steps: (m - 1,), its pieces.

    v² · curvature ≤ SHARPEST_BEND, and v² changes by at most 2 · SHARPEST_BEND · distance.
    """
    ahead = np.diff(spots, axis=0) / np.maximum(steps, 1e-12)[:, None]
    if loop:
        ahead = np.concatenate([ahead[-1:], ahead, ahead[:1]])
        around = np.concatenate([steps[-1:], steps, steps[:1]])
    else:
        ahead = np.concatenate([ahead[:1], ahead, ahead[-1:]])
        around = np.concatenate([steps[:1], steps, steps[-1:]])
    bend = np.linalg.norm(np.diff(ahead, axis=0), axis=1) / np.maximum(
        0.5 * (around[1:] + around[:-1]), 1e-12
    )
    squares = np.clip(SHARPEST_BEND / np.maximum(bend, 1e-12), SLOWEST**2, 1.0)
    squares[(ahead[1:] * ahead[:-1]).sum(1) < TURNING_BACK] = SLOWEST**2
    for _ in range(2 if loop else 1):  # twice round, because slowing down may begin before the first spot
        if loop:
            squares[[0, -1]] = squares[[0, -1]].min()
        for i, step in enumerate(steps):
            squares[i + 1] = min(squares[i + 1], squares[i] + 2 * SHARPEST_BEND * step)
        for i in range(len(steps) - 1, -1, -1):
            squares[i] = min(squares[i], squares[i + 1] + 2 * SHARPEST_BEND * steps[i])
    return np.sqrt(squares)


def aimed(places: Array | Sequence[Array], target: Array, up: Array) -> list[Array]:
    """Level poses (4, 4) at ``places`` (n, 3) that look at ``target`` (3,).

    Raises NerfsceneError if the way leads through the target.
    """
    if any(np.array_equal(place, target) for place in places):
        raise NerfsceneError("the path leads through the point that --look-at gives; give another")
    return [look_at(place, target, up) for place in places]


def levelled(poses: Sequence[Array], up: Array) -> list[Array]:
    """The same poses without roll. A camera that looks steeply up or down keeps its own; up: (3,), unit."""
    made = []
    for pose in poses:
        x, z = pose[:3, 0], pose[:3, 2]
        level = np.cross(z, up)
        share = np.clip((np.linalg.norm(level) - OWN) / (LEVEL - OWN), 0, 1)
        roll = float(np.arctan2(np.cross(x, level) @ z, x @ level)) * share**2 * (3 - 2 * share)
        x = np.cos(roll) * x + np.sin(roll) * np.cross(z, x)
        new = pose.copy()
        new[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
        made.append(new)
    return made

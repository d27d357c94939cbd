"""The walkthrough: a smooth camera path through the photos' own cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import up_direction
from nerfscene.capture.folder import natural_key
from nerfscene.films.pacing import at_speed, levelled
from nerfscene.films.panoramas import ahead, all_panoramas
from nerfscene.films.paths import interpolate
from nerfscene.types import Array, View

FAR_APART = np.radians(37)  # viewing directions that differ by more get another keyframe between them
BIG_TURN = np.radians(60)  # from one photo to the next: no photo shows what lies between
MOST_TURN = np.radians(540)  # the whole walkthrough turns by no more
KEYFRAMES = 12
TRIED, CLOSE, ROUNDS = (
    6,
    0.75,
    4,
)  # pieces from camera to camera; share of their distance from walls; refinements
Clearance = Callable[[Array], float]


def walkthrough(
    views: Sequence[View], n_frames: int, up: Array | None = None, clearance: Clearance | None = None
) -> list[Array]:
    """Poses (4, 4) on a smooth, level path through the photos' cameras in the order of their names.

    - If consecutive names jump about, each camera is followed by the one nearest in position and viewing
      direction instead.
    - The path passes through about a dozen cameras, so that a shaky hand doesn't shake the film, and
      through more where the camera turned, because the shortest turn may lead over what no photo shows, and
      where it would come nearer to a wall than the photographer did.
    - If photos are missing between two viewing directions, the path keeps to the longer side of that gap,
      provided that most photos are there.
    - Of a way that keeps turning, only a part is shown, because all of it would whirl.
    - From panoramas, the path looks ahead, because each shows every direction.

    It goes at constant speed, more slowly in sharp bends, and begins and ends at rest; it is not closed.
    up: (3,); estimated from the cameras if not given. clearance: how far what there is is from a place (3,).
    """
    up = up_direction(views) if up is None else up / np.linalg.norm(up)
    if all_panoramas(views):
        views = ahead(views, up)
    ordered = sorted(views, key=lambda v: natural_key(str(v.path)))
    poses = np.stack([v.world_from_cam for v in ordered])
    order = np.arange(len(poses))
    tour = _tour(poses)
    if _effort(poses).sum() > 2 * _effort(poses[tour]).sum():
        order = tour
    way = poses[_without_gaps(order, poses)]
    evenly = np.unique(np.linspace(0, len(way) - 1, min(KEYFRAMES, len(way))).round().astype(int))
    picks = _limit_turn(_refine_turns(evenly.tolist(), way), way)
    keyframes = way[picks if clearance is None else _kept_clear(picks, way, clearance)]
    fine = interpolate(list(keyframes), np.ones(len(keyframes)), 40 * len(keyframes), constant_speed=True)[0]
    # Moving and turning each get half of the film, so that neither is hurried.
    whole, (moved, turned) = np.stack(fine), _steps(np.stack(fine))
    spots = np.hstack([whole[:, :3, 3] / max(moved.sum(), 1e-12), whole[:, :3, 2] / max(turned.sum(), 1e-12)])
    key_times = at_speed(spots, n_frames, False)
    return levelled(interpolate(fine, np.ones(len(fine)), n_frames, key_times=key_times)[0], up)


def _kept_clear(picks: list[int], poses: Array, clearance: Clearance) -> list[int]:
    """The picks, with more between those where the way comes much nearer to something than both cameras."""
    known = {i: clearance(poses[i, :3, 3]) for i in picks}
    for _ in range(ROUNDS):
        keys = list(poses[picks])
        times = np.linspace(0, len(keys) - 1, TRIED * (len(keys) - 1) + 1)
        tried = interpolate(keys, np.ones(len(keys)), len(times), constant_speed=True, key_times=times)[0]
        more = []
        for i, (first, last) in enumerate(pairwise(picks)):
            least = CLOSE * min(known[first], known[last])
            inside = tried[TRIED * i + 1 : TRIED * (i + 1)]
            if last - first > 1 and any(clearance(pose[:3, 3]) < least for pose in inside):
                more.append((first + last) // 2)
        if not more:
            break
        known |= {i: clearance(poses[i, :3, 3]) for i in more}
        picks = sorted({*picks, *more})
    return picks


def _steps(poses: Array) -> tuple[Array, Array]:
    """From each pose to the next: the distance (n - 1,) and the angle between viewing directions (n - 1,)."""
    moved = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    cosine = (poses[1:, :3, 2] * poses[:-1, :3, 2]).sum(1)
    return moved, np.arccos(np.clip(cosine, -1, 1))


def _effort(poses: Array) -> Array:
    """The effort from each camera to the next (n - 1,): the cameras' spread counts as much as 1 rad."""
    moved, turned = _steps(poses)
    return moved / _spread(poses) + turned


def _spread(poses: Array) -> float:
    """Root mean square distance of the cameras from their mean; 1 if they are all at one place."""
    centres = poses[:, :3, 3]
    return float(np.sqrt(((centres - centres.mean(0)) ** 2).sum(1).mean())) or 1.0


def _without_gaps(order: NDArray[np.intp], poses: Array) -> NDArray[np.intp]:
    """The longest stretch of ``order`` without a BIG_TURN, or all of it if that is not more than half."""
    turned = _steps(poses[order])[1]
    longest = max(np.split(order, np.flatnonzero(turned > BIG_TURN) + 1), key=len)
    return longest if 2 * len(longest) > len(order) else order


def _refine_turns(picks: list[int], poses: Array) -> list[int]:
    """Picks (ascending indices) with more halfway between neighbours that look FAR_APART.

    Neighbours also count as far apart if the viewing direction went far between them and came back.
    """
    turned = _steps(poses)[1]
    out = picks[:1]
    for last in picks[1:]:
        stack = [last]
        while stack:
            first, second = out[-1], stack[-1]
            between = (first + second) // 2
            apart = max(_steps(poses[[first, second]])[1][0], 0.4 * turned[first:second].sum())
            if between > first and apart > FAR_APART:
                stack.append(between)
            else:
                out.append(stack.pop())
    return out


def _limit_turn(picks: list[int], poses: Array) -> list[int]:
    """The part of the picks that turns by at most MOST_TURN in all; of all such parts, the longest way."""
    moved, turned = _steps(poses[picks])
    total_turn = np.append(0.0, np.cumsum(turned))
    if total_turn[-1] <= MOST_TURN:
        return picks
    total_way = np.append(0.0, np.cumsum(moved))
    ends = np.searchsorted(total_turn, total_turn + MOST_TURN, side="right") - 1
    first = int((total_way[ends] - total_way + 1e-9 * (ends - np.arange(len(picks)))).argmax())
    return picks[first : max(int(ends[first]), first + 1) + 1]


def _tour(poses: Array) -> NDArray[np.intp]:
    """Indices of the poses (n, 4, 4), from an outermost one always on to the nearest one not visited yet."""
    centres, directions, spread = poses[:, :3, 3], poses[:, :3, 2], _spread(poses)
    current = int(np.linalg.norm(centres - centres.mean(0), axis=1).argmax())
    unvisited = np.ones(len(poses), bool)
    tour = []
    for _ in range(len(poses)):
        tour.append(current)
        unvisited[current] = False
        moved = np.linalg.norm(centres - centres[current], axis=1) / spread
        effort = moved + np.arccos(np.clip(directions @ directions[current], -1, 1))
        current = int(np.where(unvisited, effort, np.inf).argmin())
    return np.array(tour)

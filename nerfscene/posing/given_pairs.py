"""Chooses the pairs of photos that are worth matching when their cameras are known.

Photos taken near to each other that look about the same way show the same things. So no features have to be
compared to choose pairs, where a walk closes a loop is known too, and fewer pairs are enough than without
cameras (``pairs.choose_pairs``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerfscene.capture.folder import MIN_PHOTOS
from nerfscene.posing.pairs import ALL_UP_TO, Pair
from nerfscene.types import PosedCapture, View

SMALLEST_SIDE = 240  # px, longer side of the photos: smaller ones have hardly any features
MOST_PHOTOS = 400  # more would take too long: these already take minutes
# The partners of a photo, by how many of the cameras that look its way are nearer. The nearest surely show
# the same, but in a film they were taken from nearly the same place, which tells no distances.
RANKS = (0, 1, 2, 3, 5, 8, 12, 17)
WIDEST = 60.0  # degrees between viewing directions


def can_have_points(posed: PosedCapture) -> bool:
    """Whether the capture has no sparse points, and its photos allow triangulating some."""
    lenses = [v.intrinsics for v in posed.views]
    return (
        not len(posed.points)
        and not posed.has_alpha
        and MIN_PHOTOS <= len(lenses) <= MOST_PHOTOS
        and min(max(k.width, k.height) for k in lenses) >= SMALLEST_SIDE
        and all(v.path.is_file() for v in posed.views)
    )


def pairs_of_given(views: Sequence[View], shots: Sequence[int]) -> list[Pair]:
    """Pairs (a, b), a < b, of the views to match, sorted; all of up to ALL_UP_TO.

    shots: for each view, the number of its shot (``cameras.cube.shots``). Two views of one shot are no pair.
    """
    count = len(views)
    if count <= ALL_UP_TO:
        return [(a, b) for a in range(count) for b in range(a + 1, count) if shots[a] != shots[b]]
    centres = np.stack([view.world_from_cam[:3, 3] for view in views])
    axes = np.stack([view.world_from_cam[:3, 2] for view in views])
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    candidates = (axes @ axes.T > np.cos(np.radians(WIDEST))) & np.not_equal.outer(shots, shots)
    pairs: set[Pair] = set()
    for a in range(count):
        others = np.flatnonzero(candidates[a])
        nearest = others[np.argsort(apart[a, others], kind="stable")]
        partners = nearest[[rank for rank in RANKS if rank < len(nearest)]].tolist()
        if not partners:  # its camera may be wrong
            partners = [b for b in (a - 2, a - 1, a + 1, a + 2) if 0 <= b < count and shots[a] != shots[b]]
        pairs.update((min(a, b), max(a, b)) for b in partners)
    return sorted(pairs)

"""How far a place is from what a field holds, so that a path can keep clear of it."""

from __future__ import annotations

import math

import numpy as np

from nerfscene.field.rendering import Renderer, render
from nerfscene.films.walkthrough import Clearance
from nerfscene.types import Array, Camera, Intrinsics

ACROSS, DOWN = 24, 12  # pixels of a small picture of all round: 15° each
HIT = 0.5  # accumulation above which a pixel shows something
NEAREST = 2  # percentile of distances that counts; a single ray may hit a speck in the air


def clearance_in(renderer: Renderer) -> Clearance:
    """A function of a place (3,), world units, that says how far what there is, on any side, is from it.

    Infinite where nothing is. It is never less than the distance at which rays start, nearer than which a
    film shows nothing.
    """
    a_radian = ACROSS / (2 * math.pi)
    k = Intrinsics(ACROSS, DOWN, a_radian, a_radian, ACROSS / 2, DOWN / 2, "equirectangular")

    def clearance(place: Array) -> float:
        pose = np.eye(4)
        pose[:3, 3] = place
        frame = render(renderer, Camera(k, pose))
        hit = frame.depth[(frame.accumulation > HIT) & (frame.depth > 0)]
        return float(np.percentile(hit, NEAREST)) if hit.size else math.inf

    return clearance

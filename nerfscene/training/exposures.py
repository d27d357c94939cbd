"""Each photo's exposure: whether it is worth fitting, and what a held-out photo's must have been."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.field.refinement import neighbours, standing
from nerfscene.training.run import Run
from nerfscene.types import Array, View

# Exposures are tried for so much of the training, and given up where they differ by less (root mean square of
# the logarithms): what differs so little the field can tell by itself, and held-out photos fit better so.
EXPOSURE_TRIAL, EXPOSURE_LEAST = 0.15, 0.03


def exposures_matter(run: Run, done: float) -> bool:
    """Whether the photos' exposures are fitted; gives them up after the trial where they hardly differ."""
    if done < EXPOSURE_TRIAL:
        return True
    if not run.tried and float(np.sqrt(np.mean(run.exposures**2))) < EXPOSURE_LEAST:
        run.exposures[:] = 0
        run.exposure_moments[:] = 0
    run.tried = True
    return bool(run.exposures.any())


def exposed_views(run: Run, views: tuple[View, ...], scene_from_world: Array) -> tuple[View, ...]:
    """The views with their exposures; a held-out photo's is between those of its two neighbours.

    In order where exposures drift with time, in place where they follow what is in view: whichever tells
    the trained photos' own exposures better from the others'. In place too where it is at no place in the
    order.
    """
    if not run.exposures.any():
        return views
    train = np.array([i for i, v in enumerate(views) if v.split == "train"])

    def in_order(view: int, others: NDArray[np.intp]) -> Array:
        return np.array([np.interp(view, train[others], run.exposures[others, c]) for c in range(3)])

    places = standing(views, scene_from_world)

    def in_place(view: int, others: NDArray[np.intp]) -> Array:
        near, weights = neighbours(places[view], places[train[others]], 2)
        return np.asarray(weights @ run.exposures[others[near]], np.float64)

    everyone = np.arange(len(train))

    def missed(told: Callable[[int, NDArray[np.intp]], Array]) -> float:
        off = [told(train[i], np.delete(everyone, i)) - run.exposures[i] for i in everyone]
        return float(np.sum(np.square(off)))

    told = min((in_order, in_place), key=missed) if len(train) > 2 else in_order
    own = dict(zip(train.tolist(), run.exposures, strict=True))
    out = []
    for i, view in enumerate(views):
        between = train[0] < i < train[-1]  # which test views that are listed apart are not
        r, g, b = map(float, own[i] if i in own else (told if between else in_place)(i, everyone))
        out.append(replace(view, exposure=(r, g, b)))
    return tuple(out)

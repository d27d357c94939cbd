"""The photos' exposures: whether to fit them at all, and estimates for the held-out photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.cube import shots
from nerfscene.field.refinement import neighbours, standing
from nerfscene.training.run import Run
from nerfscene.types import Array, View

# Exposures are fitted for the first EXPOSURE_TRIAL of the training. If they then differ by less than
# EXPOSURE_LEAST (root mean square of the logarithms), they are given up: the field can represent such small
# differences itself, and held-out photos then fit better.
EXPOSURE_TRIAL, EXPOSURE_LEAST = 0.15, 0.03


def exposures_matter(run: Run, done: float) -> bool:
    """Whether exposures are fitted at this point of the training (``done`` in 0…1).

    At the end of the trial, sets them to zero if they hardly differ.
    """
    if done < EXPOSURE_TRIAL:
        return True
    if not run.exposures_decided and float(np.sqrt(np.mean(run.exposures**2))) < EXPOSURE_LEAST:
        run.exposures[:] = 0
        run.exposure_moments[:] = 0
    run.exposures_decided = True
    return bool(run.exposures.any())


def one_for_each_panorama(run: Run, views: Sequence[View]) -> None:
    """Gives the views of a panorama one exposure, their mean: it was stitched to have one.

    views: those trained on, in the order of ``run.exposures``.
    """
    shot = np.array(shots(views))
    count = np.bincount(shot)
    if (count > 1).any():
        total = np.zeros((len(count), 3), np.float32)
        np.add.at(total, shot, run.exposures)
        run.exposures[:] = (total / count[:, None])[shot]


def exposed_views(run: Run, views: tuple[View, ...], scene_from_world: Array) -> tuple[View, ...]:
    """The views with their exposures; a held-out photo's is interpolated between its two neighbours'.

    The neighbours are those in the order of the photos, if exposures drift with time, or the nearest cameras,
    if exposures depend on what is in view. The one with the smaller leave-one-out error on the
    trained photos is used. Held-out photos before or after all trained ones always use the nearest cameras.
    """
    if not run.exposures.any():
        return views
    train = np.array([i for i, v in enumerate(views) if v.split == "train"])

    def by_order(view: int, others: NDArray[np.intp]) -> Array:
        return np.array([np.interp(view, train[others], run.exposures[others, c]) for c in range(3)])

    places = standing(views, scene_from_world)

    def by_place(view: int, others: NDArray[np.intp]) -> Array:
        near, weights = neighbours(places[view], places[train[others]], 2)
        return np.asarray(weights @ run.exposures[others[near]], np.float64)

    all_trained = np.arange(len(train))

    def error(predict: Callable[[int, NDArray[np.intp]], Array]) -> float:
        off = [predict(train[i], np.delete(all_trained, i)) - run.exposures[i] for i in all_trained]
        return float(np.sum(np.square(off)))

    predict = min((by_order, by_place), key=error) if len(train) > 2 else by_order
    fitted = dict(zip(train.tolist(), run.exposures, strict=True))
    out = []
    for i, view in enumerate(views):
        between = train[0] < i < train[-1]  # not so for test views listed before or after all others
        exposure = fitted[i] if i in fitted else (predict if between else by_place)(i, all_trained)
        r, g, b = map(float, exposure)
        out.append(replace(view, exposure=(r, g, b)))
    return tuple(out)

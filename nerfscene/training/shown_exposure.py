"""At what exposure a scene is shown whose photos differ in it: that of the brightest that is well exposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.measuring.metrics import stops_between
from nerfscene.measuring.verdict import STOPS
from nerfscene.training.dataset import TrainingSet
from nerfscene.types import Array, View

RUNS, RUN = 2048, 128  # runs of pixels that are looked at, and pixels in each
WHITE = 250  # display value from which on a pixel is blown out
BLOWN = 0.03  # share of what the photos show that may be blown out where some photo still has detail


def shown_exposure(exposures: NDArray[np.floating], data: TrainingSet) -> float:
    """The logarithm of the factor that takes the field's colours to the exposure at which it is shown.

    The field has the photos' mean. Where they differ by STOPS or more, people expect the brightest one that
    is well exposed: at whose exposure hardly more of what the photos show is blown out than in the photos.

    exposures: (training photos, 3), logarithms of gains. Only brightness is taken from the photo: its white
    balance may be its own.
    """
    exposures = np.asarray(exposures, np.float64)
    if stops_between(exposures) < STOPS:
        return 0.0
    brightness = exposures.mean(1)
    values, photo = some_pixels(data)
    detail = values < WHITE
    # The exposure from which on each pixel's place in the scene would be blown out.
    limit = np.sort(np.log(WHITE / np.maximum(values[detail], 1.0)) + brightness[photo[detail]])
    choices = np.sort(brightness)
    lost = np.searchsorted(limit, choices) / len(values)  # 0 at the darkest photo's
    return float(choices[lost <= BLOWN][-1])


def some_pixels(data: TrainingSet) -> tuple[Array, NDArray[np.intp]]:
    """Some of the pixels to train on: their middle channel's display value (n,), and their photo (n,).

    They lie in runs, because photos may be in a file. The middle channel, because blue skies are not blown
    out although their blue is.
    """
    count = len(data.pixels) if data.chosen is None else len(data.chosen)
    starts = np.linspace(0, max(count - RUN, 0), RUNS).astype(np.int64)
    places = (starts[:, None] + np.arange(min(RUN, count))).ravel()
    pixels = places if data.chosen is None else data.chosen[places].astype(np.int64)
    ends = np.cumsum([v.intrinsics.width * v.intrinsics.height for v in data.train_views])
    values = np.median(data.pixels[pixels, :3], axis=1)
    return values, np.searchsorted(ends, pixels, "right")


def shown_at(exposure: float, views: Sequence[View]) -> tuple[float, tuple[View, ...]]:
    """The factor of an exposure, and the views with theirs beside it."""
    if exposure == 0:
        return 1.0, tuple(views)
    beside = []
    for view in views:
        r, g, b = (e - exposure for e in view.exposure)
        beside.append(replace(view, exposure=(r, g, b)))
    return float(np.exp(exposure)), tuple(beside)

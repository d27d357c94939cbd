"""Chooses the samples that lie most evenly on a surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerfscene.exporters.samples import Samples, chosen, spaced
from nerfscene.exporters.told import Told
from nerfscene.loading import loading

# Points on a surface of area 1 if no two are closer than 1 and none can be added, chosen among about twice as
# many. (At random places of a plane it would be 0.70: Feder 1980.)
PACKED = 0.62
TRIES = 4  # to find the least distance that leaves as many as are wanted
CLOSE = 0.04  # relative to what is wanted; so many more are dropped at random
FEW = 64


def evenly(samples: Samples, size: NDArray[np.floating], count: int, told: Told) -> Samples:
    """At most ``count`` of the samples: no two closer than a least distance, and hardly a gap left.

    size: (n,), to which the distance is proportional, in steps of √2. A grid of cells alone would leave more
    on surfaces that lie across its axes, and pairs close together. Each time the same samples are chosen.
    """
    if len(samples) <= count:
        return samples
    draws = np.random.default_rng(0)
    share = count / len(samples)
    level = np.round(2 * np.log2(np.maximum(size, 1e-30))).astype(int)
    levels, members_of = np.unique(level), np.argsort(level, kind="stable")
    ends = np.searchsorted(level[members_of], levels, "right")
    keep = np.zeros(len(samples), bool)
    for i, members in enumerate(np.split(members_of, ends[:-1])):
        told.progress("spreading points", (0 if i == 0 else ends[i - 1]) / len(samples))
        wanted = round(share * len(members))
        keep[members[_apart(samples.positions[members], samples.radius[members], wanted, draws)]] = True
    return spaced(chosen(samples, keep))


def _apart(
    positions: NDArray[np.float32], radius: NDArray[np.float32], wanted: int, draws: np.random.Generator
) -> NDArray[np.int64]:
    """Indices of ``wanted`` of the positions (n, 3), or slightly fewer, that keep their distance.

    radius: (n,), of the disc that each stands for.
    """
    with loading():
        from scipy.spatial import cKDTree

    if len(positions) < FEW:
        return np.sort(draws.permutation(len(positions))[:wanted])
    tree = cKDTree(positions)
    area = float(np.pi * np.square(radius.astype(np.float64)).sum())
    distance = float(np.sqrt(PACKED * area / max(wanted, 1)))
    found: NDArray[np.int64] = np.zeros(0, np.int64)
    for _ in range(TRIES):
        pairs = tree.query_pairs(distance, output_type="ndarray")
        found = _independent(len(positions), pairs, draws)
        if wanted <= len(found) <= (1 + CLOSE) * wanted:
            break
        distance *= float(np.sqrt(len(found) / ((1 + CLOSE / 2) * wanted)))
    return np.sort(draws.permutation(found)[:wanted])


def _independent(count: int, pairs: NDArray[np.int64], draws: np.random.Generator) -> NDArray[np.int64]:
    """Indices of a largest set, that can't be added to, of which no two are one of the pairs (m, 2)."""
    order = draws.permutation(count)
    open_, kept = np.ones(count, bool), np.zeros(count, bool)
    while True:
        best = np.full(count, -1)
        np.maximum.at(best, pairs[:, 0], order[pairs[:, 1]])
        np.maximum.at(best, pairs[:, 1], order[pairs[:, 0]])
        first = open_ & (order > best)
        kept |= first
        near = np.zeros(count, bool)
        near[pairs[first[pairs[:, 0]], 1]] = True
        near[pairs[first[pairs[:, 1]], 0]] = True
        open_ &= ~first & ~near
        pairs = pairs[open_[pairs].all(1)]
        if not open_.any():
            return np.flatnonzero(kept)

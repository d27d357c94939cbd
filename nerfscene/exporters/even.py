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
NEIGHBOURS = 7
APART = 3.0  # spacings: what has a wider gap around it is not connected
AT_ONCE = 200_000  # samples looked up between two tellings of progress
STRAYS = 30  # samples: connected ones that are fewer are no surface


def evenly(samples: Samples, size: NDArray[np.floating], count: int, told: Told) -> Samples:
    """At most ``count`` of the samples: no two closer than a least distance, and hardly a gap left.

    size: (n,), to which the distance is proportional, in steps of √2. A grid of cells alone would leave more
    on surfaces that lie across its axes, and pairs close together. Each time the same samples are chosen.
    """
    if len(samples) <= count:
        return samples
    draws = np.random.default_rng(0)
    share = count / len(samples)
    level = _levels(size)
    levels, members_of = np.unique(level), np.argsort(level, kind="stable")
    ends = np.searchsorted(level[members_of], levels, "right")
    keep = np.zeros(len(samples), bool)
    for i, members in enumerate(np.split(members_of, ends[:-1])):
        told.progress("spreading points", (0 if i == 0 else ends[i - 1]) / len(samples))
        wanted = int(share * len(members) + 1e-9)
        keep[members[_apart(samples.positions[members], samples.radius[members], wanted, draws)]] = True
    return spaced(chosen(samples, keep))


def without_strays(samples: Samples, size: NDArray[np.floating], told: Told) -> Samples:
    """The samples without those that hang in the air alone or in small clusters.

    size: (n,), to which their spacing is proportional, in steps of √2.
    """
    with loading():
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components
        from scipy.spatial import cKDTree

    count = len(samples)
    if count <= NEIGHBOURS:
        return samples
    tree = cKDTree(samples.positions)
    distance = np.empty((count, NEIGHBOURS), np.float32)
    near = np.empty((count, NEIGHBOURS), np.int32)
    for first in range(0, count, AT_ONCE):
        told.progress("leaving out strays", first / count)
        some = slice(first, first + AT_ONCE)
        far, index = tree.query(samples.positions[some], NEIGHBOURS + 1, workers=-1)
        distance[some], near[some] = far[:, 1:], index[:, 1:]
    level = _levels(size)
    usual = np.zeros(count)
    for one in np.unique(level):
        members = level == one
        usual[members] = np.median(distance[members, 0])
    linked = distance <= APART * usual[:, None]
    start = np.repeat(np.arange(count, dtype=np.int32), linked.sum(1))
    graph = coo_matrix((np.ones(len(start), bool), (start, near[linked])), (count, count))
    del tree, distance, near, linked
    _, cluster = connected_components(graph, directed=False)
    return chosen(samples, np.bincount(cluster)[cluster] >= min(STRAYS, count // 10))


def _levels(size: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.round(2 * np.log2(np.maximum(size, 1e-30))).astype(np.int64)


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
        distance *= float(np.sqrt(max(len(found), 1) / ((1 + CLOSE / 2) * max(wanted, 1))))
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

"""Which photos are worth comparing feature by feature, and which groups the comparison leaves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.folder import Progress, silent
from nerfscene.types import Array

ALL_UP_TO = 25  # photos; so many are compared all with all in a few seconds on two cores
COARSE_FEATURES = 256  # largest features of a photo, for a first look
COARSE_MATCHES = 4  # what a first look must find, so that a second is taken
BEST_PARTNERS = 20  # photos each photo is compared with, when there are too many to try all
FEWER_FROM = 100  # photos, from which on partners get fewer, so that time grows with the photos' number
FEWEST_PARTNERS = 10
NEARBY = 10  # photos by name: a film's neighbours are all alike, and would take every place
FAR_SHARE = 3  # one in so many places is for photos farther off by name: where a walk comes round again
BRIDGES = 8  # pairs tried between groups that the first look leaves apart
BROADER = 4  # how much further a second try compares all with all: up to 100 photos
MORE_PARTNERS = 2  # how many times as many partners a second try gives to each of more photos
COARSE_BLOCK = 32  # photos a first look takes at once: bounds memory at about 32 MB

Pair = tuple[int, int]
Features = tuple[NDArray[np.float32], Array]  # descriptors (n, 128), sizes in pixels (n,)


def choose_pairs(
    features: list[Features], matcher: str, broad: bool = False, progress: Progress = silent
) -> list[Pair]:
    """Pairs (a, b), a < b, of photos to match, sorted.

    ``auto`` compares all with all up to ALL_UP_TO photos; beyond that each photo with its
    neighbours by name and with those that a first look at the largest features finds most alike
    ("preemptive matching", Wu 2013), which needs no trained vocabulary and no order. Some places
    are kept for photos far off by name, so that a film's walk is closed where it comes round, and
    groups that would be left apart get the most promising pairs between them.
    ``broad`` raises all limits. Only the COARSE_FEATURES largest features of a photo are looked at.
    """
    count = len(features)
    if matcher == "exhaustive" or (count <= ALL_UP_TO * (BROADER if broad else 1) and matcher == "auto"):
        return [(a, b) for a in range(count) for b in range(a + 1, count)]
    if matcher == "sequential" and not broad:
        return sequential_pairs(count)
    alike = coarse_matches(features, progress)
    more = MORE_PARTNERS if broad else 1
    pairs = {(a, a + step) for step in (1, 2) for a in range(count - step)}
    for a in range(count):
        pairs.update((min(a, b), max(a, b)) for b in _partners(a, alike[a], _places(count) * more))
    seen = [pair for pair in pairs if alike[pair] >= COARSE_MATCHES]
    return sorted(pairs | _bridges(alike, groups(count, seen), BRIDGES * more))


def _places(count: int) -> int:
    """Partners of each photo in the first round."""
    return int(np.clip(BEST_PARTNERS * FEWER_FROM / max(count, 1), FEWEST_PARTNERS, BEST_PARTNERS))


def _partners(a: int, alike: NDArray[np.int64], places: int) -> list[int]:
    """The photos most like photo a, a share of them from farther off by name."""
    order = [int(b) for b in np.argsort(-alike, kind="stable") if alike[b] >= COARSE_MATCHES]
    far = [b for b in order if abs(b - a) > NEARBY][: places // FAR_SHARE]
    first = order[: places - len(far)]
    rest = [b for b in order if b not in first and b not in far]
    far = [b for b in far if b not in first]
    return [*first, *far, *rest[: places - len(first) - len(far)]]


def _bridges(alike: NDArray[np.int64], apart: list[list[int]], most: int) -> set[Pair]:
    """The most promising pairs from each group of photos to all the others."""
    found: set[Pair] = set()
    for group in apart[1:]:  # the largest is reached from the others
        outside = np.setdiff1d(np.arange(len(alike)), group)
        table = alike[group][:, outside]
        for place in np.argsort(-table, axis=None, kind="stable")[:most]:
            row, column = divmod(int(place), len(outside))
            if table[row, column] > 0:
                a, b = group[row], int(outside[column])
                found.add((min(a, b), max(a, b)))
    return found


def groups(count: int, pairs: Iterable[Pair]) -> list[list[int]]:
    """The connected components of ``count`` photos under ``pairs``: largest first, then by number."""
    leader = list(range(count))

    def find(a: int) -> int:
        while leader[a] != a:
            leader[a] = leader[leader[a]]
            a = leader[a]
        return a

    for a, b in pairs:
        leader[find(b)] = find(a)
    members: dict[int, list[int]] = {}
    for a in range(count):
        members.setdefault(find(a), []).append(a)
    return sorted(members.values(), key=lambda group: (-len(group), group[0]))


def sequential_pairs(count: int) -> list[Pair]:
    """Each photo with the next ten, and with those 16, 32, 64 … further on."""
    steps = [*range(1, 11), *(1 << k for k in range(4, max(count, 2).bit_length()))]
    return sorted((a, a + step) for step in steps for a in range(count - step))


def coarse_matches(features: list[Features], progress: Progress = silent) -> NDArray[np.int64]:
    """Matches among each two photos' largest features, (n, n), symmetric, 0 on the diagonal.

    A match is mutually nearest and clearly nearer than the runner-up (Lowe's ratio 0.8).
    """
    largest = np.stack([_unit_length(*largest_features(*each)) for each in features])
    count = len(largest)
    alike = np.zeros((count, count), np.int64)
    for a in range(count):
        for start in range(a + 1, count, COARSE_BLOCK):
            block = largest[start : start + COARSE_BLOCK]  # (m, k, 128)
            cosines = np.einsum("kd,mld->mkl", largest[a], block, optimize=True)
            alike[a, start : start + len(block)] = _mutual_count(cosines)
        progress("comparing photos", (a + 1) / count)
    return alike + alike.T


def largest_features(descriptors: NDArray[np.float32], sizes: Array) -> Features:
    """The COARSE_FEATURES largest: all that a first look needs, so that no more has to be kept."""
    chosen = np.argsort(-sizes, kind="stable")[:COARSE_FEATURES]
    return descriptors[chosen], sizes[chosen]


def _unit_length(descriptors: NDArray[np.float32], sizes: Array) -> NDArray[np.float32]:
    """Descriptors (COARSE_FEATURES, 128) of length 1, padded with zeros (which match nothing)."""
    lengths = np.linalg.norm(descriptors, axis=1, keepdims=True)
    padded = np.zeros((COARSE_FEATURES, 128), np.float32)
    padded[: len(descriptors)] = descriptors / np.maximum(lengths, 1e-6)
    return padded


def _mutual_count(cosines: NDArray[np.float32]) -> NDArray[np.int64]:
    """Matches in each of m tables of cosines (m, k, l) between features."""
    best = cosines.argmax(2)  # (m, k)
    back = cosines.argmax(1)  # (m, l)
    first = np.take_along_axis(cosines, best[..., None], 2)[..., 0]
    np.put_along_axis(cosines, best[..., None], -1.0, 2)
    second = cosines.max(2)
    mutual = np.take_along_axis(back, best, 1) == np.arange(cosines.shape[1])
    # Between unit vectors the distance is sqrt(2 - 2 cosine): the ratio test without roots.
    clear = (1 - first) < 0.8**2 * (1 - second)
    return (mutual & clear & (first > 0)).sum(1)

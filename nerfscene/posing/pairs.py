"""Chooses the pairs of photos that are worth matching, and finds the groups that matches connect.

Matching every pair of many photos would take too long, so a coarse comparison of the largest features finds
the photos that look alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.folder import StageListener, silent, worker_count
from nerfscene.posing import nearest
from nerfscene.types import Array

ALL_UP_TO = 25  # photos: every pair is matched, in a few seconds on two cores
COARSE_FEATURES = 256  # number of largest features per photo in the coarse comparison
COARSE_MATCHES = 4  # coarse matches that make a pair worth matching in full
BEST_PARTNERS = 10  # photos with which each photo is matched, if there are too many for every pair
NEARBY = 10  # photos apart in the order of names; neighbours in a film look alike and would fill every place
FAR_SHARE = 3  # one in this many partners is farther away in that order, to find where a walk closes a loop
BRIDGES = 8  # pairs tried from each group that the coarse comparison leaves unconnected
BROADER = 4  # the broad choice matches every pair of this many times more photos (up to 100)
MORE_PARTNERS = 2  # and gives each of more photos this many times more partners
COARSE_BLOCK = 32  # photos compared at once, which bounds memory to about 32 MB

Pair = tuple[int, int]
Features = tuple[NDArray[np.float32], Array]  # descriptors (n, 128), sizes in pixels (n,)


def choose_pairs(
    features: list[Features], matcher: str, broad: bool = False, progress: StageListener = silent
) -> list[Pair]:
    """Pairs (a, b), a < b, of photos to match, sorted. ``features`` of the photos are in the order of names.

    ``matcher`` is as in PoseConfig. ``auto`` takes every pair of up to ALL_UP_TO photos. Of more photos, it
    takes each with its neighbours in the order of names and with those that look most alike in a coarse
    comparison of the COARSE_FEATURES largest features ("preemptive matching", Wu 2013), which needs no
    trained vocabulary. Some partners are chosen far away in that order, to close loops, and groups that would
    stay unconnected get the most promising pairs between them. ``broad`` raises all limits.
    """
    count = len(features)
    if matcher == "exhaustive" or (count <= ALL_UP_TO * (BROADER if broad else 1) and matcher == "auto"):
        return [(a, b) for a in range(count) for b in range(a + 1, count)]
    if matcher == "sequential" and not broad:
        return sequential_pairs(count)
    alike = coarse_matches(features, progress)
    factor = MORE_PARTNERS if broad else 1
    pairs = {(a, a + step) for step in (1, 2) for a in range(count - step)}
    for a in range(count):
        pairs.update((min(a, b), max(a, b)) for b in _partners(a, alike[a], BEST_PARTNERS * factor))
    connected = [pair for pair in pairs if alike[pair] >= COARSE_MATCHES]
    return sorted(pairs | _bridges(alike, groups(count, connected), BRIDGES * factor))


def choose_pairs_of_shots(
    features: list[Features],
    shots: Sequence[int],
    matcher: str,
    broad: bool = False,
    progress: StageListener = silent,
) -> list[Pair]:
    """As ``choose_pairs``, for photos of which several are one shot: the views cut from a panorama.

    shots: for each photo, the number of its shot (``cameras.cube.shots``). Pairs of shots are chosen, and of
    their photos those that look alike in the coarse comparison; with ``broad``, all. Two photos of one shot
    are no pair: taken at one place, they tell nothing about distances.
    """
    members: list[list[int]] = [[] for _ in range(max(shots, default=-1) + 1)]
    for photo, shot in enumerate(shots):
        members[shot].append(photo)
    if len(members) == len(shots):
        return choose_pairs(features, matcher, broad, progress)
    together = [
        largest_features(
            np.concatenate([features[i][0] for i in m]), np.concatenate([features[i][1] for i in m])
        )
        for m in members
    ]
    chosen = choose_pairs(together, matcher, broad, progress)
    largest = [np.concatenate([_unit_length(*largest_features(*features[i])) for i in m]) for m in members]
    pairs = []
    for count, (a, b) in enumerate(chosen, 1):
        both = [(i, j) for i in members[a] for j in members[b]]
        if not broad:
            # One large product takes far less time than many small ones.
            cosines = (largest[a] @ largest[b].T).reshape(
                len(members[a]), COARSE_FEATURES, -1, COARSE_FEATURES
            )
            alike = _mutual_count(cosines.swapaxes(1, 2).reshape(-1, COARSE_FEATURES, COARSE_FEATURES))
            both = [pair for pair, number in zip(both, alike, strict=True) if number >= COARSE_MATCHES]
        pairs += [(min(pair), max(pair)) for pair in both]
        progress("comparing panoramas", count / len(chosen))
    return sorted(pairs)


def _partners(a: int, alike: NDArray[np.int64], most: int) -> list[int]:
    """The photos most like photo ``a``, at most ``most``, some of them far away in the order of names.

    ``alike`` (n,): coarse matches of ``a`` with every photo.
    """
    order = [int(b) for b in np.argsort(-alike, kind="stable") if alike[b] >= COARSE_MATCHES]
    far = [b for b in order if abs(b - a) > NEARBY][: most // FAR_SHARE]
    first = order[: most - len(far)]
    rest = [b for b in order if b not in first and b not in far]
    far = [b for b in far if b not in first]
    return [*first, *far, *rest[: most - len(first) - len(far)]]


def _bridges(alike: NDArray[np.int64], apart: list[list[int]], most: int) -> set[Pair]:
    """The ``most`` most promising pairs from each group but the largest (the first) to photos outside it."""
    found: set[Pair] = set()
    for group in apart[1:]:  # pairs from these also reach the largest
        outside = np.setdiff1d(np.arange(len(alike)), group)
        table = alike[group][:, outside]
        for entry in np.argsort(-table, axis=None, kind="stable")[:most]:
            row, column = divmod(int(entry), len(outside))
            if table[row, column] > 0:
                a, b = group[row], int(outside[column])
                found.add((min(a, b), max(a, b)))
    return found


def groups(count: int, pairs: Iterable[Pair]) -> list[list[int]]:
    """The groups of photos 0 … ``count`` - 1 that ``pairs`` connect, each sorted; the largest group first."""
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
    """Each photo with the next ten, and with those 16, 32, 64 … positions later."""
    steps = [*range(1, 11), *(1 << k for k in range(4, max(count, 2).bit_length()))]
    return sorted((a, a + step) for step in steps for a in range(count - step))


def coarse_matches(features: list[Features], progress: StageListener = silent) -> NDArray[np.int64]:
    """Numbers of matches (n, n) among the largest features of every two photos; symmetric, 0 on the diagonal.

    A match is mutually nearest and clearly nearer than the second nearest (Lowe's ratio test, 0.8).
    """
    largest = np.stack([_unit_length(*largest_features(*each)) for each in features])
    count = len(largest)
    alike = np.zeros((count, count), np.int64)
    if nearest.usable():
        several = nearest.in_bytes(largest)

        def with_later(a: int) -> list[int]:
            return [nearest.mutual_count(several[a], several[b]) for b in range(a + 1, count)]

        with ThreadPoolExecutor(worker_count()) as pool:
            for a, found in enumerate(pool.map(with_later, range(count))):
                alike[a, a + 1 :] = found
                progress("comparing photos", (a + 1) / count)
        return alike + alike.T
    for a in range(count):
        for start in range(a + 1, count, COARSE_BLOCK):
            block = largest[start : start + COARSE_BLOCK]  # (m, k, 128)
            cosines = np.einsum("kd,mld->mkl", largest[a], block, optimize=True)
            alike[a, start : start + len(block)] = _mutual_count(cosines)
        progress("comparing photos", (a + 1) / count)
    return alike + alike.T


def largest_features(descriptors: NDArray[np.float32], sizes: Array) -> Features:
    """The COARSE_FEATURES largest features, which are enough for the coarse comparison."""
    chosen = np.argsort(-sizes, kind="stable")[:COARSE_FEATURES]
    return descriptors[chosen], sizes[chosen]


def _unit_length(descriptors: NDArray[np.float32], sizes: Array) -> NDArray[np.float32]:
    """Descriptors (COARSE_FEATURES, 128) scaled to length 1, padded with zero rows, which match nothing."""
    lengths = np.linalg.norm(descriptors, axis=1, keepdims=True)
    padded = np.zeros((COARSE_FEATURES, 128), np.float32)
    padded[: len(descriptors)] = descriptors / np.maximum(lengths, 1e-6)
    return padded


def _mutual_count(cosines: NDArray[np.float32]) -> NDArray[np.int64]:
    """Numbers of matches (m,) in m tables of cosines (m, k, l) between features; overwrites the tables."""
    best = cosines.argmax(2)  # (m, k)
    back = cosines.argmax(1)  # (m, l)
    first = np.take_along_axis(cosines, best[..., None], 2)[..., 0]
    np.put_along_axis(cosines, best[..., None], -1.0, 2)
    second = cosines.max(2)
    mutual = np.take_along_axis(back, best, 1) == np.arange(cosines.shape[1])
    # Between unit vectors the distance is sqrt(2 - 2 cosine), so the ratio test needs no roots.
    clear = (1 - first) < 0.8**2 * (1 - second)
    return (mutual & clear & (first > 0)).sum(1)

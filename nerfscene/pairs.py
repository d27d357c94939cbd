"""Which photos are worth comparing feature by feature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture import Progress, silent
from nerfscene.types import Array

ALL_UP_TO = 25  # photos; so many are compared all with all in a few seconds on two cores
COARSE_FEATURES = 256  # largest features of a photo, for a first look
COARSE_MATCHES = 4  # what a first look must find, so that a second is taken
BEST_PARTNERS = 20  # photos each photo is compared with, when there are too many to try all
BROADER = 4  # how much further a second try goes: all with all up to 100 photos
COARSE_BLOCK = 32  # photos a first look takes at once: bounds memory at about 32 MB

Pair = tuple[int, int]
Features = tuple[NDArray[np.float32], Array]  # descriptors (n, 128), sizes in pixels (n,)


def choose_pairs(
    features: list[Features], matcher: str, broad: bool = False, progress: Progress = silent
) -> list[Pair]:
    """Pairs (a, b), a < b, of photos to match, sorted.

    ``auto`` compares all with all up to ALL_UP_TO photos; beyond that each photo with its
    neighbours by name and with the BEST_PARTNERS that a first look at the largest features finds
    most alike ("preemptive matching", Wu 2013), which needs no trained vocabulary and no order.
    ``broad`` raises both limits.
    """
    count = len(features)
    widening = BROADER if broad else 1
    if matcher == "exhaustive" or (matcher == "auto" and count <= ALL_UP_TO * widening):
        return [(a, b) for a in range(count) for b in range(a + 1, count)]
    if matcher == "sequential":
        return sequential_pairs(count)
    alike = coarse_matches(features, progress)
    pairs = {(a, a + step) for step in (1, 2) for a in range(count - step)}
    for a in range(count):
        partners = np.argsort(-alike[a], kind="stable")[: BEST_PARTNERS * widening]
        for b in partners[alike[a, partners] >= COARSE_MATCHES]:
            pairs.add((min(a, int(b)), max(a, int(b))))
    return sorted(pairs)


def sequential_pairs(count: int) -> list[Pair]:
    """Each photo with the next ten, and with those 16, 32, 64 … further on."""
    steps = [*range(1, 11), *(1 << k for k in range(4, max(count, 2).bit_length()))]
    return sorted((a, a + step) for step in steps for a in range(count - step))


def coarse_matches(features: list[Features], progress: Progress = silent) -> NDArray[np.int64]:
    """Matches among each two photos' largest features, (n, n), symmetric, 0 on the diagonal.

    A match is mutually nearest and clearly nearer than the runner-up (Lowe's ratio 0.8).
    """
    largest = np.stack([_largest(descriptors, sizes) for descriptors, sizes in features])
    count = len(largest)
    alike = np.zeros((count, count), np.int64)
    for a in range(count):
        for start in range(a + 1, count, COARSE_BLOCK):
            block = largest[start : start + COARSE_BLOCK]  # (m, k, 128)
            cosines = np.einsum("kd,mld->mkl", largest[a], block, optimize=True)
            alike[a, start : start + len(block)] = _mutual_count(cosines)
        progress("comparing photos", (a + 1) / count)
    return alike + alike.T


def _largest(descriptors: NDArray[np.float32], sizes: Array) -> NDArray[np.float32]:
    """The COARSE_FEATURES largest, of unit length, padded with zeros (which match nothing)."""
    chosen = descriptors[np.argsort(-sizes, kind="stable")[:COARSE_FEATURES]]
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
    padded = np.zeros((COARSE_FEATURES, 128), np.float32)
    padded[: len(chosen)] = chosen / np.maximum(lengths, 1e-6)
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

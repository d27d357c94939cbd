"""Random numbers as a function of (seed, counter), identical to those of ``cuda_ext/include/rng.h``.

With the same seed, all backends therefore train on the same rays in the same order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]


def mix32(x: U32) -> U32:
    """A 32-bit integer hash with full avalanche ("lowbias32", C. Wellons, 2018), elementwise."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def random_unit(seed: int, a: U32, b: int) -> NDArray[np.float32]:
    """Uniform random numbers (n,) in [0, 1): one for each counter ``a`` (n,), from stream ``b``."""
    start = mix32(np.array([(seed & 0xFFFFFFFF) ^ 0x9E3779B9], np.uint32))
    bits = mix32(mix32(start + a) ^ np.uint32(b * 0x85EBCA6B & 0xFFFFFFFF))
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(1 / 16777216)


def permute(i: U64, n: int, seed: U32) -> U64:
    """Elements i (m,) of pseudo-random permutations of 0…n-1, one permutation per seed (m,).

    A four-round Feistel network on the next even power of two, applied again until the result is below n
    (cycle walking).
    """
    half = 1
    while (1 << (2 * half)) < n:
        half += 1
    mask = np.uint32((1 << half) - 1)
    out = i.copy()
    pending = np.arange(len(i))
    while len(pending):
        x = out[pending]
        left, right = (x >> np.uint64(half)).astype(np.uint32), x.astype(np.uint32) & mask
        for feistel_round in range(4):
            key = right + seed[pending] + np.uint32(feistel_round * 0x9E3779B9 & 0xFFFFFFFF)
            left, right = right, left ^ (mix32(key) & mask)
        x = (left.astype(np.uint64) << np.uint64(half)) | right.astype(np.uint64)
        out[pending] = x
        pending = pending[x >= n]
    return out

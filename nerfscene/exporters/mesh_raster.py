"""Which texels lie in which triangles of a texture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 1 << 21  # texels looked at together


def raster(
    corners: NDArray[np.float32], side: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The texels (k,) whose centres lie in triangles, the triangles (k,), and weights of its corners (k, 3).

    corners (m, 3, 2): column and row. A texel is row · side + column. One that lies in several triangles, as
    on their common edge, comes several times.
    """
    low = np.floor(corners.min(1) - 0.5).astype(np.int64).clip(0, side - 1)
    high = np.ceil(corners.max(1) - 0.5).astype(np.int64).clip(0, side - 1)
    size = high - low + 1
    # Triangles of like boxes are done together, so that little of the work is outside their own boxes.
    bucket = np.ceil(2 * np.log2(size)).astype(np.int64)
    found = []
    for kind in np.unique(bucket, axis=0):
        some = np.flatnonzero((bucket == kind).all(1))
        w, h = size[some].max(0)
        step = max(AT_ONCE // int(w * h), 1)
        for i in range(0, len(some), step):
            found.append(_boxes(corners, some[i : i + step], low, int(w), int(h), side))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.float32)
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))  # type: ignore[return-value]


def _boxes(
    corners: NDArray[np.float32], some: NDArray[np.int64], low: NDArray[np.int64], w: int, h: int, side: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """``raster`` for triangles whose boxes are at most w × h."""
    base = low[some]
    c = corners[some] - base[:, None].astype(np.float32) - np.float32(0.5)
    (ax, ay), (bx, by), (cx, cy) = ((c[:, i, 0, None, None], c[:, i, 1, None, None]) for i in range(3))
    x, y = np.arange(w, dtype=np.float32)[None, None, :], np.arange(h, dtype=np.float32)[None, :, None]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    with np.errstate(divide="ignore", invalid="ignore"):
        one = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area  # weight of b
        two = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area  # weight of c
        inside = (one >= -1e-5) & (two >= -1e-5) & (one + two <= 1 + 1e-5)
    t, row, column = np.nonzero(inside)
    u, v = one[t, row, column], two[t, row, column]
    at = (row + base[t, 1], column + base[t, 0])
    fits = (at[0] < side) & (at[1] < side)
    weights = np.stack([1 - u - v, u, v], 1)
    return (at[0] * side + at[1])[fits], some[t[fits]], weights[fits]

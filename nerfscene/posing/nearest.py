"""Matches features by our own kernel: every descriptor of one photo with all of another's.

Exact, and several times faster than COLMAP's index, which searches only the likeliest parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray

from nerfscene.capture.folder import worker_count
from nerfscene.ops import backend

# COLMAP's own limits (SiftMatchingOptions), for angles between descriptors.
FARTHEST = 0.7  # radians
CLEARLY = 0.8  # the nearest is nearer than this share of the second nearest's distance (Lowe's ratio test)
UNIT = 512**2  # the product of a descriptor with itself, in COLMAP's bytes

Descriptors = NDArray[np.uint8]  # (n, 128)


def usable() -> bool:
    """Whether the kernels are there."""
    return backend.why_no_cpu() is None


def matches(a: Descriptors, b: Descriptors) -> NDArray[np.uint32]:
    """Pairs of indices (m, 2) into the descriptors ``a`` and ``b`` that are clearly nearest to each other."""
    if not len(a) or not len(b):
        return np.zeros((0, 2), np.uint32)
    to, clear = _nearest(a, b)
    mine = np.flatnonzero(clear)
    theirs, which = np.unique(to[mine], return_inverse=True)
    back, mutual = _nearest(b[theirs], a)
    kept = mutual[which] & (back[which] == mine)
    return np.stack([mine[kept], to[mine[kept]]], axis=1).astype(np.uint32)


def _nearest(a: Descriptors, b: Descriptors) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """For each descriptor of ``a``: the index of the nearest of ``b``, and whether it is clearly nearest."""
    found = np.empty((3, len(a)), np.int32)
    kernels: Any = backend.load("cpu")
    kernels.nearest_descriptors(np.ascontiguousarray(a), np.ascontiguousarray(b), found)
    first, second = np.arccos(np.minimum(found[1:] / UNIT, 1.0))
    return found[0], (first <= FARTHEST) & (first < CLEARLY * second)


def in_bytes(unit: NDArray[np.float32]) -> Descriptors:
    """Descriptors (n, 128) of length 1 as COLMAP keeps them."""
    return np.asarray(np.round(512 * unit).clip(0, 255), np.uint8)


def mutual_count(a: Descriptors, b: Descriptors) -> int:
    """How many descriptors of ``a`` have a clearly nearest one in ``b``, to which they are the nearest.

    Here distances are those between the ends of the vectors.
    """
    found = np.empty((3, len(a)), np.int32)
    kernels: Any = backend.load("cpu")
    kernels.nearest_descriptors(a, b, found)
    to, first, second = found
    clear = np.flatnonzero((UNIT - first < CLEARLY**2 * (UNIT - second)) & (first > 0))
    if not len(clear):
        return 0
    back = np.empty((3, len(clear)), np.int32)
    kernels.nearest_descriptors(b[to[clear]], a, back)
    return int((back[0] == clear).sum())


def write_matches(database: Path, names: Sequence[tuple[str, str]]) -> None:
    """Adds the matches of these pairs of images to the database, except where it has some already."""
    with pycolmap.Database.open(database) as db:
        ids = {image.name: image.image_id for image in db.read_all_images()}
        pairs = [(ids[a], ids[b]) for a, b in names]
        pairs = [pair for pair in pairs if not db.exists_matches(*pair)]
        descriptors = {
            key: np.asarray(db.read_descriptors(key).data)
            for key in sorted({k for pair in pairs for k in pair})
        }

        def match(pair: tuple[int, int]) -> NDArray[np.uint32]:
            return matches(descriptors[pair[0]], descriptors[pair[1]])

        with ThreadPoolExecutor(worker_count()) as pool:
            found = list(pool.map(match, pairs))
        with pycolmap.DatabaseTransaction(db):
            for pair, these in zip(pairs, found, strict=True):
                db.write_matches(*pair, these)

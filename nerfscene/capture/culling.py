"""Which photos of a capture are blurred or there twice, from small grey copies.

Blur is judged by how much finer than coarse detail there is, compared with the photos around: what
is in a photo matters little then, and a capture that is soft throughout keeps all its photos. It is
judged with care, for a soft photo does less harm than a missing one.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.capture.photos import Look
from nerfscene.types import Array, Photo

GREY_SIDE = 800  # px, the longer side of the copies that are judged
COARSE = 5  # px, what counts as coarse detail
BLURRED = 0.62  # share of the usual fine detail; whole captures of good photos stay above 0.79
UNUSUAL = 4.0  # deviations below the usual (by the median deviation), which blur must be too
ENOUGH = 8  # photos that say what is usual
AROUND = 4  # photos before and after, with which each is compared as well
MOST_BLURRED = 0.25  # share of a capture left out as blurred, at most
SMALLEST = 64  # px: blur can't be told on less
THUMB = 96  # px a side, stretched, to compare pictures by
SAME = 2.0  # grey levels that two thumbs of the same picture differ by, on average …
SAME_ANYWHERE = 10.0  # … and at the 0.1 % of pixels where they differ most


@dataclass(frozen=True)
class Traits:
    """What is kept of a photo to judge it by.

    fine, edges: fine against coarse detail all over, and at the strongest edges; NaN where the photo
    is too small; thumb: (THUMB, THUMB) float32
    """

    photo: Photo
    fine: float
    edges: float
    thumb: NDArray[np.float32]


def traits(look: Look) -> Traits:
    """Measures a photo's grey copy, its longer side GREY_SIDE."""
    from scipy.ndimage import uniform_filter1d  # not at the top: it takes half a second

    grey = look.grey.astype(np.float32)
    small = Image.fromarray(grey).resize((THUMB, THUMB), Image.Resampling.BILINEAR)
    thumb = np.asarray(small, np.float32)
    if min(grey.shape) < SMALLEST:
        return Traits(look.photo, np.nan, np.nan, thumb)
    fine, edges = [], []
    for axis in (0, 1):  # a motion blurs along one axis at least
        near = np.abs(np.diff(grey, axis=axis))
        smooth = uniform_filter1d(grey, COARSE, axis=axis)
        after, before = (slice(COARSE, None), slice(None, -COARSE))
        far = np.abs(smooth[after] - smooth[before] if axis == 0 else smooth[:, after] - smooth[:, before])
        fine.append(np.sqrt((near**2).mean() / max((far**2).mean(), 1e-3)))
        strong = [float(np.percentile(d.ravel()[::5], 99.5)) for d in (near, far)]
        edges.append(strong[0] / max(strong[1], 0.5))
    return Traits(look.photo, float(min(fine)), float(min(edges)), thumb)


def find_blurred(given: Sequence[Traits]) -> list[int]:
    """Indices of the photos that are far less sharp than the others, in order."""
    fine = np.log(np.maximum([t.fine for t in given], 1e-6))
    edges = np.log(np.maximum([t.edges for t in given], 1e-6))
    known = np.isfinite(fine)
    if known.sum() < ENOUGH:
        return []
    below = np.minimum(_below(fine, known), _below(edges, known))
    suspects = [int(i) for i in np.argsort(-below, kind="stable") if below[i] > -np.log(BLURRED)]
    return sorted(suspects[: int(known.sum() * MOST_BLURRED)])


def _below(values: Array, known: NDArray[np.bool_]) -> Array:
    """How far each value lies below what is usual, both in the capture and around it (n,).

    0 where it is within the spread of the capture.
    """
    middle = np.median(values[known])
    spread = 1.4826 * np.median(np.abs(values[known] - middle))
    result = np.zeros(len(values))
    for i in map(int, np.flatnonzero(known)):
        near = np.arange(max(i - AROUND, 0), min(i + AROUND + 1, len(values)))
        near = near[known[near] & (near != i)]
        usual = min(middle, np.median(values[near])) if len(near) else middle
        if values[i] < middle - UNUSUAL * spread:
            result[i] = usual - values[i]
    return result


def find_copies(given: Sequence[Traits]) -> dict[int, int]:
    """Index of each photo that is there twice → index of the one to keep.

    The same bytes, or pictures that hardly differ (saved again, or shrunk): the largest is kept,
    the first of equals.
    """
    copies = _same_bytes([t.photo.path for t in given])
    thumbs = np.stack([t.thumb for t in given]) if given else np.zeros((0, THUMB, THUMB), np.float32)
    cells = THUMB // 8
    coarse = thumbs.reshape(-1, 8, cells, 8, cells).mean((2, 4)).reshape(-1, 64)
    ranked = sorted(range(len(given)), key=lambda i: (-given[i].photo.width * given[i].photo.height, i))
    kept: list[int] = []
    for i in ranked:
        if i in copies:
            continue
        near = [k for k in kept if np.abs(coarse[k] - coarse[i]).mean() < SAME]
        same = next((k for k in near if _same_picture(given[k], given[i], thumbs[k] - thumbs[i])), None)
        if same is None:
            kept.append(i)
        else:
            copies[i] = same
    return {i: copies.get(k, k) for i, k in sorted(copies.items())}


def _same_picture(a: Traits, b: Traits, difference: NDArray[np.float32]) -> bool:
    shape = a.photo.width * b.photo.height / (a.photo.height * b.photo.width)
    off = np.abs(difference)
    return 0.99 < shape < 1.01 and off.mean() < SAME and float(np.percentile(off, 99.9)) < SAME_ANYWHERE


def _same_bytes(paths: Sequence[Path]) -> dict[int, int]:
    by_size: dict[int, list[int]] = defaultdict(list)
    copies: dict[int, int] = {}
    first: dict[bytes, int] = {}
    for index, path in enumerate(paths):
        by_size[path.stat().st_size].append(index)
    for members in by_size.values():
        for index in members if len(members) > 1 else ():
            with paths[index].open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            if digest in first:
                copies[index] = first[digest]
            else:
                first[digest] = index
    return copies

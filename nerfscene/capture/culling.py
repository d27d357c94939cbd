"""Finds blurred and duplicate photos in a capture, from small grey copies.

Sharpness is the ratio of fine to coarse detail, compared with that of the other photos. It depends little on
what a photo shows, and a capture that is soft throughout keeps all its photos. The thresholds are cautious,
because a soft photo does less harm than a missing one.
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

from nerfscene.capture.photos import Inspection
from nerfscene.loading import loading
from nerfscene.types import Array, Photo

GREY_SIDE = 800  # px, the longer side of the copies
COARSE = 5  # px, the size of coarse detail
# A blurred photo has less than this fraction of the usual sharpness; good captures stay above 0.79 …
BLURRED = 0.62
UNUSUAL = 4.0  # … and lies this many standard deviations (estimated from the median deviation) below it.
ENOUGH = 8  # fewer photos don't show what is usual
AROUND = 4  # number of photos before and after, with which each is also compared
MOST_BLURRED = 0.25  # at most this fraction of a capture is left out as blurred
SMALLEST = 64  # px, shorter side of the copy: blur can't be judged on smaller ones
THUMB = 96  # px, both sides of the thumbnails by which pictures are compared
SAME = 2.0  # grey levels: mean difference of two thumbnails of the same picture …
SAME_ANYWHERE = 10.0  # … and their difference at the 0.1 % of pixels where they differ most


@dataclass(frozen=True)
class Traits:
    """The measurements of a photo by which it is judged.

    ``fine`` and ``edges``: ratio of fine to coarse detail, overall and at the strongest edges; NaN if the
    photo is too small. ``thumb`` (THUMB, THUMB): a grey thumbnail, 0…255.
    """

    photo: Photo
    fine: float
    edges: float
    thumb: NDArray[np.float32]


def traits(inspected: Inspection) -> Traits:
    """Measures a photo's grey copy, whose longer side should be GREY_SIDE."""
    with loading():
        from scipy.ndimage import uniform_filter1d  # imported here because it takes half a second

    grey = inspected.grey.astype(np.float32)
    small = Image.fromarray(grey).resize((THUMB, THUMB), Image.Resampling.BILINEAR)
    thumb = np.asarray(small, np.float32)
    if min(grey.shape) < SMALLEST:
        return Traits(inspected.photo, np.nan, np.nan, thumb)
    fine, edges = [], []
    for axis in (0, 1):  # motion may blur only one of them
        near = np.abs(np.diff(grey, axis=axis))
        smooth = uniform_filter1d(grey, COARSE, axis=axis)
        after, before = (slice(COARSE, None), slice(None, -COARSE))
        far = np.abs(smooth[after] - smooth[before] if axis == 0 else smooth[:, after] - smooth[:, before])
        fine.append(np.sqrt((near**2).mean() / max((far**2).mean(), 1e-3)))
        strong = [float(np.percentile(d.ravel()[::5], 99.5)) for d in (near, far)]
        edges.append(strong[0] / max(strong[1], 0.5))
    return Traits(inspected.photo, float(min(fine)), float(min(edges)), thumb)


def find_blurred(photos: Sequence[Traits]) -> list[int]:
    """Indices of the photos that are far less sharp than the others, ascending.

    ``photos`` are in the order of their names, so that neighbours are likely to show the same things.
    """
    fine = np.log(np.maximum([t.fine for t in photos], 1e-6))
    edges = np.log(np.maximum([t.edges for t in photos], 1e-6))
    known = np.isfinite(fine)
    if known.sum() < ENOUGH:
        return []
    below = np.minimum(_below(fine, known), _below(edges, known))
    suspects = [int(i) for i in np.argsort(-below, kind="stable") if below[i] > -np.log(BLURRED)]
    return sorted(suspects[: int(known.sum() * MOST_BLURRED)])


def _below(values: Array, known: NDArray[np.bool_]) -> Array:
    """How far each value (n,) lies below the usual value of the capture and of the photos around it.

    0 for values within the capture's spread.
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


def find_copies(photos: Sequence[Traits]) -> dict[int, int]:
    """Maps the index of each duplicate photo to the index of the photo to keep instead.

    Duplicates have the same bytes, or hardly differ (saved again, or shrunk). The largest is kept; of equally
    large ones, the first.
    """
    copies = _same_bytes([t.photo.path for t in photos])
    thumbs = np.stack([t.thumb for t in photos]) if photos else np.zeros((0, THUMB, THUMB), np.float32)
    cells = THUMB // 8
    coarse = thumbs.reshape(-1, 8, cells, 8, cells).mean((2, 4)).reshape(-1, 64)
    ranked = sorted(range(len(photos)), key=lambda i: (-photos[i].photo.width * photos[i].photo.height, i))
    kept: list[int] = []
    for i in ranked:
        if i in copies:
            continue
        near = [k for k in kept if np.abs(coarse[k] - coarse[i]).mean() < SAME]
        same = next((k for k in near if _same_picture(photos[k], photos[i], thumbs[k] - thumbs[i])), None)
        if same is None:
            kept.append(i)
        else:
            copies[i] = same
    return {i: copies.get(k, k) for i, k in sorted(copies.items())}


def _same_picture(a: Traits, b: Traits, difference: NDArray[np.float32]) -> bool:
    """Whether two photos, whose thumbnails differ by ``difference``, are the same picture."""
    aspect = a.photo.width * b.photo.height / (a.photo.height * b.photo.width)
    off = np.abs(difference)
    return 0.99 < aspect < 1.01 and off.mean() < SAME and float(np.percentile(off, 99.9)) < SAME_ANYWHERE


def _same_bytes(paths: Sequence[Path]) -> dict[int, int]:
    """Maps the index of each file that repeats an earlier one byte by byte to the index of the first."""
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

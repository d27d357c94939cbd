"""Depths for captures of few photos: how far away things are by what neighbouring photos show of them.

Few photos can be learned by heart with surfaces in wrong places, and the sparse points hold only 2 % of the
rays. So the photos are compared patch by patch: for a series of distances, each patch is looked up where its
neighbours would show it (a plane sweep, Collins 1996), and the distance at which they look most alike is kept
if another photo's own best distance agrees with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.cameras.algebra import scaled
from nerfscene.cameras.lens_fit import Projection, projection, unprojected
from nerfscene.capture.folder import StageListener, silent, worker_count
from nerfscene.loading import loading
from nerfscene.training.depths import CELL
from nerfscene.types import Array, View

LONGEST = 192  # pixels along the longer side of the copies that are compared
WINDOW = 7  # pixels along a side of a patch
DISTANCES = 80  # as many are tried, at even steps of their inverse
NEIGHBOURS = 4  # photos that each is compared with
LEAST_ANGLE = np.radians(2.0)  # between two photos' rays to a point: below, nothing shows its distance
LEAST_SHARED = 8  # points that neighbours share
LEAST_POINTS = 20  # of a photo, to tell at which distances to look
ALIKE = 0.7  # the least correlation of patches; 1 is the highest
TEXTURE = 4.0  # the least variance of a patch, squared levels of 255
AGREEING = 0.02  # the largest difference of two photos' log distances

Reached = Callable[[Array], NDArray[np.bool_]]  # of world points (n, 3): which can hold anything
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Copy:
    """A small grey copy of a photo, (h, w), its camera, and its pixels' rays (h, w, 3) in the world."""

    grey: Floats
    project: Projection
    centre: Array
    turn: Array  # world_from_cam's rotation
    rays: Array
    mean: Floats  # of the patch around each pixel
    variance: Floats


def agreed_depths(
    views: Sequence[View],
    pixels: NDArray[np.uint8],
    points: Array,
    reached: Reached,
    progress: StageListener = silent,
) -> list[Array]:
    """Distances (rows, columns) along the rays of each view's cells, world units; 0: unknown.

    views: at their size in training, with perspective lenses; pixels (all, 3 or more), of one view after
    another; points (n, 3), world units: the views' ``seen`` are indices into them. Depths are found for
    textured parts that two photos or more show from different directions.
    """
    ends = np.cumsum([v.intrinsics.width * v.intrinsics.height for v in views])
    with ThreadPoolExecutor(worker_count()) as pool:
        copies = list(pool.map(_copy, views, np.split(pixels, ends[:-1])))
        near_by = _neighbours(views, points)
        found = []
        seen = (points[v.seen] for v in views)
        for distances in pool.map(_swept, repeat(copies), range(len(views)), near_by, seen):
            found.append(distances)
            progress("finding distances", len(found) / len(views))
        return list(pool.map(lambda i: _cells(copies, found, i, views[i], reached), range(len(views))))


def _copy(view: View, pixels: NDArray[np.uint8]) -> _Copy:
    k = view.intrinsics
    factor = max(max(k.width, k.height) / LONGEST, 1.0)
    lens = scaled(k, max(round(k.width / factor), 1), max(round(k.height / factor), 1))
    photo = Image.fromarray(np.ascontiguousarray(pixels[:, :3]).reshape(k.height, k.width, 3)).convert("L")
    grey = np.asarray(photo.resize((lens.width, lens.height), Image.Resampling.BOX), np.float32)
    y, x = np.mgrid[: lens.height, : lens.width] + 0.5
    base, inverted = unprojected(lens, np.stack([x.ravel(), y.ravel()], 1))
    local = np.concatenate([base, np.ones((len(base), 1))], 1)
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    local[~inverted] = np.nan
    turn = view.world_from_cam[:3, :3]
    rays = (local @ turn.T).reshape(*grey.shape, 3)
    mean = _mean(grey)
    variance = _mean(grey * grey) - mean * mean
    return _Copy(grey, projection(lens), view.world_from_cam[:3, 3], turn, rays, mean, variance)


def _mean(picture: Floats) -> Floats:
    """The mean of the patch around each pixel."""
    with loading():
        from scipy.ndimage import uniform_filter  # not at the top: importing it takes half a second
    return np.asarray(uniform_filter(picture, WINDOW), np.float32)


def _neighbours(views: Sequence[View], points: Array) -> list[list[int]]:
    """For each view the NEIGHBOURS others that share most points with it, seen from other directions."""
    seen = np.zeros((len(views), len(points)), bool)
    rays = np.empty((len(views), len(points), 3))
    for i, view in enumerate(views):
        seen[i, view.seen] = True
        rays[i] = points - view.world_from_cam[:3, 3]
    rays /= np.maximum(np.linalg.norm(rays, axis=2, keepdims=True), 1e-12)
    out = []
    for i in range(len(views)):
        apart = (rays * rays[i]).sum(2) < np.cos(LEAST_ANGLE)
        shared = np.count_nonzero(seen & seen[i] & apart, axis=1)
        best = np.argsort(-shared, kind="stable")[:NEIGHBOURS]
        out.append([int(j) for j in best if j != i and shared[j] >= LEAST_SHARED])
    return out


def _swept(copies: Sequence[_Copy], index: int, near_by: Sequence[int], points: Array) -> Array:
    """The distances (h, w) at which a copy's pixels look most like their neighbours; NaN where none do."""
    copy = copies[index]
    nothing = np.full(copy.grey.shape, np.nan)
    if len(points) < LEAST_POINTS or not near_by:
        return nothing
    away = np.linalg.norm(points - copy.centre, axis=1)
    near, far = np.percentile(away, [1, 99]) * (0.8, 1.6)
    inverse = np.linspace(1 / near, 1 / far, DISTANCES)
    scores = np.empty((DISTANCES, *copy.grey.shape), np.float32)
    others = [copies[j] for j in near_by]
    # In each neighbour's axes and float32: this is where the time goes.
    rays = [(copy.rays.reshape(-1, 3) @ other.turn).astype(np.float32) for other in others]
    offsets = [((copy.centre - other.centre) @ other.turn).astype(np.float32) for other in others]
    for score, q in zip(scores, inverse.astype(np.float32), strict=True):
        # In projective coordinates: with points divided by their distance.
        local = [offset * q + ray for offset, ray in zip(offsets, rays, strict=True)]
        alike = np.sort([_alike(copy, *pair) for pair in zip(others, local, strict=True)], axis=0)
        score[...] = alike[-2:].mean(0)  # the best two: something may stand before the others
    best = np.clip(scores.argmax(0), 1, DISTANCES - 2)
    before, top, after = (np.take_along_axis(scores, best[None] + e, 0)[0] for e in (-1, 0, 1))
    bend = np.minimum(before - 2 * top + after, -1e-6)
    # A parabola through the best correlation and the two beside it.
    shift = np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    distance = 1 / (inverse[0] + (best + shift) * (inverse[1] - inverse[0]))
    peak = (top >= before) & (top >= after) & (top > ALIKE) & (copy.variance > TEXTURE)
    return np.where(peak & np.isfinite(copy.rays[..., 0]), distance, np.nan)


def _alike(copy: _Copy, other: _Copy, local: Floats) -> Floats:
    """The correlation (h, w), -1…1, of patches with another copy's, at points (h · w, 3) in its camera."""
    h, w = other.grey.shape
    x, y, inside = _places(other, local)  # type: ignore[arg-type]  # float32 will do
    with loading():
        from scipy.ndimage import map_coordinates  # not at the top: importing it takes half a second
    at = [np.clip(y - 0.5, 0, h - 1), np.clip(x - 0.5, 0, w - 1)]
    shown = map_coordinates(other.grey, at, order=1, mode="nearest").reshape(copy.grey.shape)
    mean = _mean(shown)
    variance = _mean(shown * shown) - mean * mean
    joint = _mean(shown * copy.grey) - mean * copy.mean
    out = joint / np.sqrt(np.maximum(variance, 1) * np.maximum(copy.variance, 1))
    return np.asarray(np.where(inside.reshape(out.shape), out, -1), np.float32)


def _places(copy: _Copy, local: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Where points (n, 3) in a copy's camera are in its picture, x and y (n,), and which are inside it."""
    h, w = copy.grey.shape
    with np.errstate(all="ignore"):
        x, y = copy.project(local[:, :2] / np.maximum(local[:, 2:], 1e-6)).T
        inside = (local[:, 2] > 1e-6) & (x > 0) & (y > 0) & (x < w) & (y < h)
    return np.where(inside, x, 0.5), np.where(inside, y, 0.5), inside


def _cells(
    copies: Sequence[_Copy], found: Sequence[Array], index: int, view: View, reached: Reached
) -> Array:
    """The distances at the centres of a view's cells with which another photo's agree; 0: there are none."""
    copy, (h, w) = copies[index], found[index].shape
    height, width = view.intrinsics.height, view.intrinsics.width
    rows = ((np.arange(0, height, CELL) + CELL / 2) * h / height).astype(int).clip(0, h - 1)
    columns = ((np.arange(0, width, CELL) + CELL / 2) * w / width).astype(int).clip(0, w - 1)
    distance = found[index][rows][:, columns]
    known = np.flatnonzero(np.isfinite(distance))
    points = copy.centre + copy.rays[rows][:, columns].reshape(-1, 3)[known] * distance.ravel()[known, None]
    agreed = np.zeros(len(known), bool)
    for j, other in enumerate(copies):
        if j != index:
            local = (points - other.centre) @ other.turn
            x, y, inside = _places(other, local)
            theirs = found[j][y.astype(int), x.astype(int)]  # NaN, which agrees with nothing, if unknown
            away = np.log(theirs / np.maximum(np.linalg.norm(local, axis=1), 1e-12))
            agreed |= inside & (np.abs(away) < AGREEING)
    out = np.zeros(distance.size)
    kept = known[agreed & reached(points)]
    out[kept] = distance.ravel()[kept]
    return out.reshape(distance.shape)

"""Fuses depth pictures into distances to the surface, on cells that grow with the distance from the subject.

The cells fill a cube in ``Warp``'s coordinates, and are kept in blocks of 8³ only where a picture saw a
surface. Each holds the mean of its signed distances along the pictures' rays, cut off a few cells before and
behind the surface (Curless and Levoy, "A volumetric method for building complex models from range images",
1996). A cell that some pictures see through is thereby carved away, whatever others put there.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from nerfscene.exporters.mesh_depths import DepthPicture, points_of, ray_lengths, times
from nerfscene.exporters.told import Told
from nerfscene.types import Array

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
GROWTH = 1.5
BLOCK = 8  # cells along a block's side
CUT = 3.0  # cells from the surface at which distances are cut off
APART = 2  # pixels between the depths of which it is looked in which blocks they lie
LEAST_HITS = 1  # of these in a block, from all pictures, for it to be kept
POOLS = (1, 2, 4, 8, 16, 32)  # pixels around a block's centre in which depths are bounded
FREE = 0.3  # weight of seeing through, against 1 for seeing a surface face-on
AT_ONCE = 1 << 9  # blocks that one thread works on


@dataclass(frozen=True)
class Warp:
    """World coordinates to those of the cells, and back.

    In [-1, 1]³ of the scene a cell is a cube of side ``cell``. Outside, its side away from the middle grows
    with the largest coordinate m to the power of GROWTH, and those across grow less. The cells reach to
    m = ``reach``.

    scene_from_world: (4, 4), a similarity
    cell: side of the innermost cells, scene units
    reach: largest coordinate, scene units, at least 1
    """

    scene_from_world: Array
    cell: float
    reach: float

    @property
    def blocks(self) -> int:
        """Blocks along a side of the cube of cells."""
        return int(np.ceil(2 * float(_squeezed(np.float64(self.reach))) / self.cell / BLOCK)) + 2

    @property
    def middle(self) -> float:
        """The coordinate of the scene's origin, in cells."""
        return self.blocks * BLOCK / 2

    def to_cells(self, world: Floats) -> Floats:
        """World points (n, 3) in cells; the corner of cell i lies at i."""
        m = self.scene_from_world.astype(np.float32)
        p = times(world, m[:3, :3].T) + m[:3, 3]
        far = np.maximum(np.abs(p).max(-1, keepdims=True), 1)
        cells: Floats = p * (_squeezed(far) / far / np.float32(self.cell)) + np.float32(self.middle)
        return cells

    def to_world(self, cells: Floats) -> Floats:
        """The inverse of ``to_cells``."""
        p = (cells - np.float32(self.middle)) * np.float32(self.cell)
        near = np.maximum(np.abs(p).max(-1, keepdims=True), 1)
        p *= _unsqueezed(near) / near
        m = np.linalg.inv(self.scene_from_world).astype(np.float32)
        world: Floats = (times(p, m[:3, :3].T) + m[:3, 3]).astype(np.float32)
        return world

    def sides(self, world: Floats) -> Floats:
        """The cells' longest sides (n,) at world points, world units."""
        m = self.scene_from_world.astype(np.float32)
        p = times(world, m[:3, :3].T) + m[:3, 3]
        scale = np.cbrt(np.linalg.det(self.scene_from_world[:3, :3]))
        sides: Floats = np.maximum(np.abs(p).max(-1), 1) ** np.float32(GROWTH) * np.float32(self.cell / scale)
        return sides.astype(np.float32)


def _squeezed(m: Any) -> Any:
    """The integral of t to the power of -GROWTH from 0 to m, with 1 up to t = 1."""
    return 1 + (1 - m ** (1 - GROWTH)) / (GROWTH - 1)


def _unsqueezed(c: Any) -> Any:
    """The inverse of ``_squeezed``; far away instead of infinite."""
    return np.maximum(1 - (c - 1) * (GROWTH - 1), 1e-4) ** (1 / (1 - GROWTH))


@dataclass(frozen=True)
class Volume:
    """Distances on the cells' corners, in blocks.

    blocks: (n, 3), block coordinates. distance: (n, 8, 8, 8), in cut-offs, -1…1, positive where it is free;
    axes x, y, z. weight: as distance; 0 where no picture saw the corner.
    """

    warp: Warp
    blocks: Ints
    distance: Floats
    weight: Floats


def fuse(pictures: Sequence[DepthPicture], warp: Warp, threads: int, told: Told) -> Volume:
    """The pictures' distances. Raises what ``told.progress`` raises."""
    blocks = seen_blocks(pictures, warp, told)
    shape = (len(blocks), BLOCK, BLOCK, BLOCK)
    sums, weights = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    ready = [Prepared(p, ray_lengths(p.camera.intrinsics).ravel(), bounded(p.depth)) for p in pictures]

    def fuse_part(part: slice) -> None:
        _fuse_part(ready, warp, blocks[part], sums[part], weights[part])

    parts = [slice(i, i + AT_ONCE) for i in range(0, len(blocks), AT_ONCE)]
    pool = ThreadPoolExecutor(threads)
    try:
        for i, _ in enumerate(pool.map(fuse_part, parts)):
            told.progress("fusing depths", i / len(parts))
    finally:
        pool.shutdown(cancel_futures=True)
    np.divide(sums, weights, out=sums, where=weights > 0)
    return Volume(warp, blocks, sums, weights)


@dataclass(frozen=True)
class Prepared:
    """A picture, the lengths of its rays per unit of z, by pixel, and what ``bounded`` returns for it."""

    picture: DepthPicture
    lengths: Floats
    bounds: list[tuple[Floats, Floats]]


def _fuse_part(ready: Sequence[Prepared], warp: Warp, blocks: Ints, sums: Floats, weights: Floats) -> None:
    """Adds all pictures' distances to some blocks' ``sums`` and ``weights``, in place."""
    centres = warp.to_world((blocks * BLOCK + BLOCK / 2).astype(np.float32))
    sides = warp.sides(centres)
    local = np.stack(np.meshgrid(*[np.arange(BLOCK)] * 3, indexing="ij"), -1).reshape(1, -1, 3)
    corners = warp.to_world((blocks[:, None] * BLOCK + local).astype(np.float32).reshape(-1, 3))
    corners = corners.reshape(len(blocks), -1, 3)
    through = np.zeros(len(blocks), np.float32)  # weights of pictures that see through the whole block
    for r in ready:
        free, near = _sorted_out(r, centres, sides)
        distance = np.linalg.norm(centres - r.picture.camera.world_from_cam[:3, 3].astype(np.float32), axis=1)
        nearness = _nearness(distance, sides)
        through[free] += np.float32(FREE) * nearness[free]
        if len(near):
            _add_corners(r, near, corners, sides, nearness, sums, weights)
    sums += through[:, None, None, None]
    weights += through[:, None, None, None]


def seen_blocks(pictures: Sequence[DepthPicture], warp: Warp, told: Told) -> Ints:
    """Block coordinates (n, 3) of the blocks near which pictures saw a surface."""
    n = warp.blocks
    hits = np.zeros(n**3, np.int32)
    for i, picture in enumerate(pictures):
        told.progress("finding surfaces", i / len(pictures))
        some = np.s_[::APART, ::APART]
        points = points_of(picture)[some][picture.weight[some] > 0]
        if not len(points):
            continue
        eye = picture.camera.world_from_cam[:3, 3].astype(np.float32)
        along = (points - eye) / np.linalg.norm(points - eye, axis=1, keepdims=True)
        margin = (CUT * warp.sides(points))[:, None]
        for shift in (-1.0, 0.0, 1.0):
            at = np.floor(warp.to_cells(points + np.float32(shift) * margin * along) / BLOCK).astype(np.int64)
            at = at[((at >= 1) & (at < n - 1)).all(1)]
            hits += np.bincount((at[:, 0] * n + at[:, 1]) * n + at[:, 2], minlength=n**3).astype(np.int32)
    kept = np.flatnonzero(hits >= LEAST_HITS)
    return np.stack([kept // (n * n), kept // n % n, kept % n], 1)


def bounded(depth: Floats) -> list[tuple[Floats, Floats]]:
    """The nearest and the farthest sure depth around each pixel, within each of POOLS."""
    unsure = np.isnan(depth)
    nearest, farthest = np.where(unsure, np.inf, depth), np.where(unsure, -np.inf, depth)
    return [(minimum_filter(nearest, 2 * r + 1), maximum_filter(farthest, 2 * r + 1)) for r in POOLS]


def _sorted_out(r: Prepared, centres: Floats, sides: Floats) -> tuple[Ints, Ints]:
    """The blocks that a picture sees through, and those near to the surface that it sees."""
    k = r.picture.camera.intrinsics
    pose = r.picture.camera.world_from_cam.astype(np.float32)
    cam = times(centres - pose[:3, 3], pose[:3, :3])
    distance, z = np.linalg.norm(cam, axis=1), np.maximum(cam[:, 2], 1e-9)
    radius = sides * np.float32(BLOCK * np.sqrt(3) / 2)
    pixels = k.fx * radius / np.maximum(z - radius, 1e-9) + 1
    u, v = cam[:, 0] / z * k.fx + k.cx, cam[:, 1] / z * k.fy + k.cy
    inside = (cam[:, 2] > -radius) & (u > -pixels) & (u < k.width + pixels)
    inside &= (v > -pixels) & (v < k.height + pixels)
    some = np.flatnonzero(inside | (distance < 2 * radius))
    u, v, p, distance = u[some], v[some], pixels[some], distance[some]
    level = np.searchsorted(POOLS, p)
    column = np.clip(u, 0, k.width - 1).astype(np.int64)
    row = np.clip(v, 0, k.height - 1).astype(np.int64)
    nearest, farthest = np.full(len(some), -np.inf, np.float32), np.full(len(some), np.inf, np.float32)
    for i, (low, high) in enumerate(r.bounds):
        of = level == i
        nearest[of], farthest[of] = low[row[of], column[of]], high[row[of], column[of]]
    reach = radius[some] + np.float32(CUT) * sides[some]
    hidden = distance - reach > farthest
    whole = (u > p) & (u < k.width - p) & (v > p) & (v < k.height - p)
    free = whole & (distance + reach < nearest)
    return some[free], some[~hidden & ~free]


def _nearness(distance: Floats, sides: Floats) -> Floats:
    """How much pictures count by how near they were taken: the inverse square of distance in cells."""
    weight: Floats = np.clip(200 * sides / np.maximum(distance, 1e-9), 0.05, 2).astype(np.float32) ** 2
    return weight


def _add_corners(
    r: Prepared, some: Ints, corners: Floats, sides: Floats, nearness: Floats, sums: Floats, weights: Floats
) -> None:
    """Adds one picture's distances to ``some`` blocks, corner by corner."""
    k = r.picture.camera.intrinsics
    pose = r.picture.camera.world_from_cam.astype(np.float32)
    cam = times(corners[some].reshape(-1, 3) - pose[:3, 3], pose[:3, :3])
    z = np.maximum(cam[:, 2], np.float32(1e-9))
    u, v = cam[:, 0] * np.float32(k.fx) / z, cam[:, 1] * np.float32(k.fy) / z
    u += np.float32(k.cx)
    v += np.float32(k.cy)
    seen = np.flatnonzero((cam[:, 2] > 0) & (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height))
    pixel = v[seen].astype(np.int32) * k.width + u[seen].astype(np.int32)
    block = seen // BLOCK**3
    cut = (np.float32(CUT) * sides[some])[block]
    with np.errstate(invalid="ignore"):
        signed = (r.picture.depth.ravel()[pixel] - z[seen] * r.lengths[pixel]) / cut
        trusted = r.picture.weight.ravel()[pixel]
        # Free space counts also where the surface behind it is seen at an edge or too obliquely.
        weight = np.where((signed >= 1) & (trusted < FREE), np.float32(FREE), trusted)
        weight[~(signed > -1)] = 0
    weight *= nearness[some][block]
    signed = np.where(weight > 0, np.minimum(signed, 1), 0)
    added, counted = np.zeros(len(cam), np.float32), np.zeros(len(cam), np.float32)
    added[seen], counted[seen] = signed * weight, weight
    sums[some] += added.reshape(-1, BLOCK, BLOCK, BLOCK)
    weights[some] += counted.reshape(-1, BLOCK, BLOCK, BLOCK)

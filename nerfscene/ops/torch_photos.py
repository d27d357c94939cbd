"""Training photos in torch, and the rays drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerfscene.ops import draws
from nerfscene.ops import reference as ref
from nerfscene.ops.torch_arrays import borrow, require

DEPTH_CELL = 4  # pixels along a side of the cells that known depths are given for
CELL_NUMBERS = 5  # see Photos.cells
# A pixel may show sky if the eight pixels PLAIN_REACH away differ from it by at most PLAIN_RANGE (of 255).
PLAIN_REACH, PLAIN_RANGE = 4, 6

Ints = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rays:
    """Rays and the colours that they should have.

    origins, directions, targets, backgrounds (n, 3), colours 0…1; jitter (n,), see ``reference.march``
    photos (n,): the photo whose exposure applies, below 0 for none
    sky (n,): whether the ray may see sky
    known (n,): distance of the surface that the ray sees, scene units; 0 if unknown
    pixels (n, 2): coordinates in the photos, if the rays were drawn from photos
    left_out (n,): whether the ray counts in no loss; None: all count
    cell (n,): the photos' cells that the rays go through, if there are cells
    """

    origins: Tensor
    directions: Tensor
    jitter: Tensor
    targets: Tensor
    backgrounds: Tensor
    photos: Tensor
    sky: Tensor
    known: Tensor
    pixels: Tensor | None = None
    left_out: Tensor | None = None
    cell: Tensor | None = None


RAY_ARRAYS = ("origins", "directions", "jitter", "targets", "backgrounds", "photos", "sky", "known")


def part_of(rays: Rays, some: slice) -> Rays:
    """A slice of the rays, without their pixels and cells."""
    left_out = None if rays.left_out is None else rays.left_out[some]
    return replace(Rays(*(getattr(rays, name)[some] for name in RAY_ARRAYS)), left_out=left_out)


@dataclass(frozen=True)
class Photos:
    """Training photos: their cameras, and the pixels of all photos one after another.

    intrinsics (cameras, 9), lens (cameras,), pose (cameras, 12), see ``reference.pixel_rays``
    width (cameras,), first_pixel (cameras + 1,): pixels
    pixels (all, channels): uint8
    background (3,): 0…1; None: a random one for each ray
    chosen: indices of the pixels to train on; None: all
    depths: distance of the surface seen in each cell of DEPTH_CELL² pixels, photo after photo, scene units,
        0 if unknown; None: unknown everywhere
    parts: where the parts to draw from begin among the pixels to train on; None: all of them are drawn from
    part_size: how many pixels each of these parts has
    cells (cells, 5): of cells of cell_side² pixels, photo after photo, each row by row: the sums of rays'
        errors in three channels, the number of these rays, and whether the cell is left out of the loss
        (above 0); None: there are no cells
    cell_side: pixels
    """

    intrinsics: Tensor
    lens: Tensor
    pose: Tensor
    width: Ints
    first_pixel: Ints
    pixels: Ints
    background: Tensor | None
    chosen: Ints | None = None
    depths: Ints | None = None
    parts: Ints | None = None
    part_size: int = 0
    cells: Tensor | None = None
    cell_side: int = 0


def camera_tensors(cameras: Sequence[tuple[Any, ...]]) -> tuple[Tensor, Tensor, Tensor]:
    """Cameras as in ``Photos``: intrinsics (n, 9), lens (n,), pose (n, 12)."""
    return (
        torch.tensor([list(c[0]) for c in cameras]),
        torch.tensor([int(c[1]) for c in cameras]),
        torch.tensor([list(c[4]) for c in cameras]),
    )


def borrow_photos(
    cameras: Sequence[tuple[Any, ...]],
    pixels: Any,
    channels: int,
    background: Tensor | None,
    chosen: Any,
    depths: Any,
) -> Photos:
    """Photos from the arrays that ``Trainer`` takes. Raises ValueError or TypeError if they don't fit."""
    require(channels in (3, 4), "photos must have 3 or 4 channels")
    counts = [c[2] * c[3] for c in cameras]
    borrow(pixels, np.uint8)
    fits = bool(cameras) and pixels.size == sum(counts) * channels
    require(fits, "pixels must have the size of all photos together")
    photos = Photos(
        *camera_tensors(cameras),
        np.array([c[2] for c in cameras]),
        np.cumsum([0, *counts]),
        pixels.reshape(-1, channels),
        background,
        chosen,
        depths,
    )
    if depths is not None:
        borrow(depths)
        fits = bool(depths.size == cells_in(photos, DEPTH_CELL).sum())
        require(fits, "there must be one depth for each 4×4 pixels of each photo")
    if chosen is not None:
        borrow(chosen, np.uint32, np.int32)
        require(chosen.size > 0, "there must be at least one pixel to train on")
        require(int(chosen.max()) < sum(counts), "chosen pixels must be indices of the photos' pixels")
    return photos


def with_cells(photos: Photos, cells: Any, side: int) -> Photos:
    """The photos with cells, which are borrowed. Raises ValueError or TypeError if they don't fit."""
    require(side > 0, "a cell's side must be one pixel or more")
    count = int(cells_in(photos, side).sum())
    numbers = borrow(cells)
    require(numbers.numel() == CELL_NUMBERS * count, "photo_cells must be (cells of all photos, 5)")
    return replace(photos, cells=numbers.reshape(-1, CELL_NUMBERS), cell_side=side)


def trained_pixels(photos: Photos) -> int:
    """The number of pixels to train on."""
    return int(photos.first_pixel[-1]) if photos.chosen is None else len(photos.chosen)


def draw_rays(photos: Photos, first_ray: int, n: int, seed: int, find_sky: bool) -> Rays:
    """The next ``n`` rays: pixels in a random order that visits each once per epoch.

    ``find_sky``: whether to find out which rays may see sky; without it, none may.
    """
    total = trained_pixels(photos) if photos.parts is None else len(photos.parts) * photos.part_size
    drawn = np.uint64(first_ray) + np.arange(n, dtype=np.uint64)
    epoch, ids = (drawn // np.uint64(total)).astype(np.uint32), drawn.astype(np.uint32)
    order = draws.mix32(np.uint32(seed) + epoch)
    pixel = draws.permute(drawn % np.uint64(total), total, order).astype(np.int64)
    if photos.parts is not None:
        pixel = photos.parts[pixel // photos.part_size].astype(np.int64) + pixel % photos.part_size
    if photos.chosen is not None:
        pixel = photos.chosen[pixel].astype(np.int64)
    camera = np.searchsorted(photos.first_pixel, pixel, side="right") - 1
    inside = pixel - photos.first_pixel[camera]
    column, row = inside % photos.width[camera], inside // photos.width[camera]
    xy = torch.from_numpy(np.stack([column, row], -1)).float() + 0.5
    photo = torch.from_numpy(camera)
    origins, directions = camera_rays(photos, photo, xy)
    if photos.background is None:
        b = torch.from_numpy(np.stack([draws.random_unit(seed, ids, 2 + c) for c in range(3)], 1))
    else:
        b = photos.background.expand(n, 3)
    texels = torch.from_numpy(photos.pixels[pixel]).float() / 255
    alpha = texels[:, 3:] if texels.shape[1] == 4 else torch.ones(n, 1)
    jitter = torch.from_numpy(draws.random_unit(seed, ids, 1))
    sky = torch.zeros(n, dtype=torch.bool)
    if find_sky:
        up = np.flatnonzero(directions[:, 2].numpy() > 0)
        sky[torch.from_numpy(up)] = torch.from_numpy(is_plain(photos, camera[up], column[up], row[up]))
    known = torch.zeros(n)
    if photos.depths is not None:
        known = torch.from_numpy(known_depths(photos, camera, column, row))
    targets = texels[:, :3] * alpha + (1 - alpha) * b
    rays = Rays(origins, directions, jitter, targets, b, photo, sky, known, xy)
    if photos.cells is None:
        return rays
    cell = torch.from_numpy(cells_of(photos, photos.cell_side, camera, column, row))
    return replace(rays, cell=cell, left_out=photos.cells[cell, -1] > 0)


def camera_rays(photos: Photos, photo: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
    """Origins and directions (n, 3) of the rays through pixel coordinates xy (n, 2) of photos (n,)."""
    origins, directions = torch.empty(len(xy), 3), torch.empty(len(xy), 3)
    for lens in photos.lens.unique().tolist():
        rows = torch.nonzero(photos.lens[photo] == lens)[:, 0]
        k, pose = photos.intrinsics[photo[rows]], photos.pose[photo[rows]]
        origins[rows], directions[rows] = ref.pixel_rays(xy[rows], k, lens, pose)
    return origins, directions


def heights(photos: Photos) -> Ints:
    """The heights (cameras,) of all photos, pixels."""
    return np.diff(photos.first_pixel) // photos.width


def cells_in(photos: Photos, side: int) -> Ints:
    """How many cells of side² pixels each photo has, (cameras,)."""
    return -(-photos.width // side) * -(-heights(photos) // side)


def cells_of(photos: Photos, side: int, camera: Ints, column: Ints, row: Ints) -> Ints:
    """The cells of side² pixels, counted over all photos, that these pixels (n,) lie in."""
    first = np.cumsum([0, *cells_in(photos, side)[:-1]])
    across = -(-photos.width[camera] // side)
    return np.asarray(first[camera] + row // side * across + column // side)


def known_depths(photos: Photos, camera: Ints, column: Ints, row: Ints) -> Ints:
    """The distance of the surface that each of these pixels (n,) sees, scene units; 0 if unknown."""
    assert photos.depths is not None
    return photos.depths[cells_of(photos, DEPTH_CELL, camera, column, row)]


def is_plain(photos: Photos, camera: Ints, column: Ints, row: Ints) -> Ints:
    """Whether photos have about the same colour all around each of these pixels (n,).

    Such pixels contain nothing from which a distance could be learned.
    """
    width, first = photos.width[camera], photos.first_pixel[camera]
    height = heights(photos)[camera]
    here = photos.pixels[first + row * width + column, :3].astype(np.int64)
    plain = np.ones(len(camera), bool)
    for dy in (-PLAIN_REACH, 0, PLAIN_REACH):
        for dx in (-PLAIN_REACH, 0, PLAIN_REACH):
            u, v = column + dx, row + dy
            inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
            neighbour = photos.pixels[np.where(inside, first + v * width + u, first), :3].astype(np.int64)
            plain &= ~inside | (np.abs(neighbour - here).max(1) <= PLAIN_RANGE)
    return plain

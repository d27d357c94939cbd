"""Makes posed photos ready for training: pixels at training size, the scene's extent, known depths.

``prepare`` does all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.ahead import laid_ahead
from nerfscene.cameras.algebra import Placement, place, scaled
from nerfscene.cameras.cube import shots
from nerfscene.capture.folder import StageListener, read_mask, silent, worker_count
from nerfscene.errors import NerfsceneError
from nerfscene.field.hash_grid import Space, make_space, occupancy_bits
from nerfscene.measuring.metrics import holdout
from nerfscene.training import carving
from nerfscene.training.depths import known_depths
from nerfscene.training.photo_pixels import join_photos
from nerfscene.training.pixel_file import PixelFile
from nerfscene.training.stereo import agreed_depths
from nerfscene.types import Array, PosedCapture, View

WHITE = (1.0, 1.0, 1.0)
MOST_MASKED = 1 << 32  # pixels of all training photos, if some have masks: indices have 32 bits
# Up to FEW training photos, all is done against learning them by heart; from ENOUGH on, nothing.
FEW, ENOUGH = 24, 40
SMALLEST = 16  # pixels along a side: structural similarity, for one, has a window of 11

Masks = Sequence[NDArray[np.bool_] | None]  # for each photo, the pixels that its mask keeps; None: all


@dataclass(frozen=True)
class TrainingSet:
    """What the trainer reads.

    views: all views at training size, with their final split
    pixels: the training photos' pixels one after another, (all, channels) uint8
    placement, space: where the scene lies in the field, and the steps along rays
    allowed: (cells / 32,) uint32, occupancy bits of the cells that can hold anything
    background: 0…1, the colour behind the scene
    downscale: factor by which photos were downscaled
    chosen: indices of the pixels to train on if masks exclude some; None: all
    depths: distances of the surfaces in the training photos (``depths.known_depths``); None: unknown
    agreed: the share of those that few photos agree on which ``depths`` has too (``few_photos_depths``), 0…1
    file: what ``pixels`` lie in if they are too many to be in memory; None: they are in memory
    """

    views: tuple[View, ...]
    pixels: NDArray[np.uint8]
    channels: int
    placement: Placement
    space: Space
    allowed: NDArray[np.uint32]
    background: tuple[float, float, float]
    downscale: float
    chosen: NDArray[np.uint32] | None = None
    depths: NDArray[np.float32] | None = None
    agreed: float = 0.0
    file: PixelFile | None = None

    @property
    def train_views(self) -> tuple[View, ...]:
        return tuple(v for v in self.views if v.split == "train")

    @property
    def few(self) -> float:
        """How few the training photos are: 1 where they are learned by heart, 0 where they are enough.

        0 also for cut-outs: their silhouettes leave little to guess.
        """
        return few_photos(len(self.train_views)) if self.space.unbounded else 0.0

    @property
    def photo_side(self) -> float:
        """√(pixels) of a training photo, by the median number of pixels."""
        counts = [v.intrinsics.width * v.intrinsics.height for v in self.train_views]
        return float(np.sqrt(np.median(counts)))


def few_photos(count: int) -> float:
    """How few so many training photos are: 1 for up to FEW, falling to 0 for ENOUGH."""
    return float(np.clip((ENOUGH - count) / (ENOUGH - FEW), 0.0, 1.0))


def resized(views: Sequence[View], factor: float) -> tuple[View, ...]:
    """The views with their photos' sizes divided by ``factor`` (at least 1), rounded to whole pixels."""
    out = []
    for v in views:
        k = v.intrinsics
        width, height = max(round(k.width / factor), 1), max(round(k.height / factor), 1)
        out.append(replace(v, intrinsics=scaled(k, width, height)))
    return tuple(out)


def split_views(posed: PosedCapture, every: int) -> tuple[View, ...]:
    """Decides which views are held out: by the capture's own split, or every n-th one in their order.

    The views cut from a panorama are held out together: each would otherwise be trained on by its neighbours.
    ``every``: n; 0: none are, and views that the capture's own split holds out are dropped. If fewer than two
    views would be left to train on, none are held out.
    """
    views = posed.views
    if posed.given_split:
        return views if every else tuple(replace(v, split="train") for v in views if v.split == "train")
    taken = shots(views)
    count = len(set(taken))
    test = set(holdout(count, every)) if every else set()
    if count - len(test) < 2:
        test = set()
    return tuple(
        replace(v, split="test" if shot in test else "train") for v, shot in zip(views, taken, strict=True)
    )


def prepare(
    posed: PosedCapture,
    downscale: float,
    every: int,
    occupancy_resolution: int,
    progress: StageListener = silent,
    folder: Path | None = None,
    like: Space | None = None,
) -> TrainingSet:
    """Reads the training photos and places the scene in the field's coordinates.

    downscale: factor (at least 1) by which photos are downscaled; every: see ``split_views``;
    occupancy_resolution: cells along a side; folder: see ``join_photos``; like: see ``photographed_extent``.
    Raises NerfsceneError if a photo can't be read or is too small, or if the photos don't fit in memory.
    """
    views, share = resized(split_views(posed, every), downscale), 0.0
    check_sizes(views)
    train = [v for v in views if v.split == "train"]
    joined = join_photos(train, 4 if posed.has_alpha else 3, folder, progress)
    pixels = joined.pixels
    masks = read_masks(train)
    if posed.has_alpha:
        extent = cut_out_extent(replace(posed, views=tuple(train)), pixels, occupancy_resolution)
        depths = None  # the silhouettes tell more than the points would
    else:
        extent = photographed_extent(replace(posed, views=views), train, masks, occupancy_resolution, like)
        seeing = reachable(train, posed.points, extent)
        agreed, share = few_photos_depths(seeing, pixels, posed.points, extent, progress)
        depths = known_depths(seeing, posed.points, extent.placement, agreed)
    return TrainingSet(
        views=views,
        pixels=pixels,
        channels=pixels.shape[1],
        placement=extent.placement,
        space=extent.space,
        allowed=occupancy_bits(extent.allowed),
        # The mean colour is the least conspicuous one where no photo looked.
        background=WHITE if posed.has_alpha else joined.mean,
        downscale=downscale,
        chosen=chosen_pixels(train, masks),
        depths=depths,
        agreed=share,
        file=joined.file,
    )


def check_sizes(views: Sequence[View]) -> None:
    """Raises NerfsceneError, naming the photo, if one is smaller than SMALLEST at its training size."""
    for v in views:
        k = v.intrinsics
        if min(k.width, k.height) < SMALLEST:
            raise NerfsceneError(
                f"{v.path} has only {k.width}×{k.height} pixels at its size in training, but each side needs "
                f"{SMALLEST} or more; use larger photos or a smaller --downscale"
            )


@dataclass(frozen=True)
class Extent:
    """Where the scene lies in the field, and the occupancy cells (cells,) bool that can hold anything."""

    placement: Placement
    space: Space
    allowed: NDArray[np.bool_]


def cut_out_extent(posed: PosedCapture, pixels: NDArray[np.uint8], occupancy_resolution: int) -> Extent:
    """The extent of a cut-out subject, from its silhouettes: a bounded scene.

    ``posed`` has the training views alone, whose pixels (all, 4) are given. Raises NerfsceneError if all of
    them are transparent.
    """
    if not pixels[:, 3].any():
        raise NerfsceneError(
            f"the photos of {posed.views[0].path.parent} are transparent everywhere, which leaves nothing to "
            "train on: make what is to be the scene opaque, or save the photos without transparency"
        )
    alphas = alpha_channels(posed.views, pixels)
    placement = place(posed, carving.subject_radius(posed, alphas))
    space = make_space(False, placement.near, occupancy_resolution)
    return Extent(placement, space, carving.cut_out_cells(posed.views, alphas, placement, space))


def alpha_channels(views: Sequence[View], pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Each view's alpha channel (height, width), from the pixels (all, 4) of all of them, as views."""
    sizes = [(v.intrinsics.height, v.intrinsics.width) for v in views]
    ends = np.cumsum([height * width for height, width in sizes])
    return [a.reshape(size) for a, size in zip(np.split(pixels[:, 3], ends[:-1]), sizes, strict=True)]


def photographed_extent(
    posed: PosedCapture,
    train: Sequence[View],
    masks: Masks | None,
    occupancy_resolution: int,
    like: Space | None = None,
) -> Extent:
    """The extent of an ordinary, unbounded scene: all cells that cameras frame and masks keep.

    Its space is laid out as the capture's kind asks for, or as ``like``: training goes on in the layout
    that it was begun in.
    """
    placement = place(posed)
    space = make_space(True, placement.near, occupancy_resolution)
    ahead = laid_ahead(train, posed.points, placement) if like is None else None
    if like is not None:
        space = replace(space, view=like.view, share=like.share)
    elif ahead is not None:
        space = replace(space, view=ahead.view, share=ahead.share)
    allowed = carving.framed_cells(train, placement, space) & carving.within_reach(space)
    if masks is not None:
        allowed &= carving.unmasked_cells(train, masks, placement, space)
    return Extent(placement, space, allowed)


def reachable(train: Sequence[View], points: Array, extent: Extent) -> list[View]:
    """The views without their points (n, 3) outside the allowed cells.

    The depth loss would otherwise pull the surface into the nearest allowed cell.
    """
    reached = in_reach(points, extent)
    return [replace(v, seen=v.seen[reached[v.seen]]) for v in train]


def in_reach(points: Array, extent: Extent) -> NDArray[np.bool_]:
    """Which world points (n, 3) lie in allowed cells."""
    m = extent.placement.scene_from_world
    return np.asarray(extent.allowed[carving.cell_of(points @ m[:3, :3].T + m[:3, 3], extent.space)])


def few_photos_depths(
    train: Sequence[View],
    pixels: NDArray[np.uint8],
    points: Array,
    extent: Extent,
    progress: StageListener = silent,
) -> tuple[list[Array] | None, float]:
    """The distances that photos agree on, where these are few, and the share of them that is used (0…1).

    Others are 0. See ``stereo.agreed_depths``. None, and 0, of many photos, without points, and where lenses
    are fisheyes.
    """
    share = few_photos(len(train))
    if share == 0 or not len(points) or any(v.intrinsics.lens != "perspective" for v in train):
        return None, 0.0
    rng = np.random.default_rng(0)
    found = agreed_depths(train, pixels, points, lambda at: in_reach(at, extent), progress)
    return [np.where(rng.random(cells.shape) < share, cells, 0.0) for cells in found], share


def read_masks(train: Sequence[View]) -> Masks | None:
    """Each photo's mask (height, width), true where the photo is used; None for a photo without one.

    None if no photo has a mask. Raises NerfsceneError for a mask that can't be read.
    """
    if all(v.mask is None for v in train):
        return None

    def read(v: View) -> NDArray[np.bool_] | None:
        k = v.intrinsics
        return None if v.mask is None else read_mask(v.mask, k.width, k.height, v.mask_turns)

    with ThreadPoolExecutor(worker_count()) as pool:
        return list(pool.map(read, train))


def chosen_pixels(train: Sequence[View], masks: Masks | None) -> NDArray[np.uint32] | None:
    """Indices of the pixels that masks keep, among the pixels of all photos; None without masks.

    Raises NerfsceneError if the masks keep no pixel, or if there are more than the indices can tell apart.
    """
    if masks is None:
        return None
    if sum(v.intrinsics.width * v.intrinsics.height for v in train) > MOST_MASKED:
        raise NerfsceneError(
            f"{len(train)} photos of this size are too many for masks; downscale them with --downscale 2"
        )
    parts, start = [], 0
    for v, used in zip(train, masks, strict=True):
        count = v.intrinsics.width * v.intrinsics.height
        inside = np.arange(count) if used is None else np.flatnonzero(used)
        parts.append((start + inside).astype(np.uint32))
        start += count
    chosen = np.concatenate(parts)
    if not len(chosen):
        raise NerfsceneError(
            f"the masks of {train[0].path.parent} leave nothing to train on: make the pixels to use white in "
            "the masks, and those to ignore black"
        )
    return chosen

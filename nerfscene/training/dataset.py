"""Posed photos made ready to train on: pixels at training size, scene coordinates, what can be empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import Placement, place, scaled
from nerfscene.capture.folder import Progress, read_all, read_mask, silent
from nerfscene.errors import NerfsceneError
from nerfscene.field.hash_grid import Space, make_space
from nerfscene.measure.metrics import holdout
from nerfscene.training import occupancy
from nerfscene.training.depths import known_depths
from nerfscene.types import PosedCapture, View

WHITE = (1.0, 1.0, 1.0)
SMALLEST = 16  # pixels: structural similarity, for one, has a window of 11


@dataclass(frozen=True)
class TrainingSet:
    """What the trainer reads.

    views: every view, at training size, with its split decided
    pixels: the training photos' bytes one after another, (…, channels) uint8
    allowed: occupancy bits of the cells that can hold anything
    chosen: running numbers of the pixels to train on, where masks leave some out; None: all
    depths: how far away what the training photos show is (``depths.known_depths``); None: not known
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

    @property
    def train_views(self) -> tuple[View, ...]:
        return tuple(v for v in self.views if v.split == "train")

    @property
    def photo_side(self) -> float:
        """√(pixels) of a typical training photo."""
        counts = [v.intrinsics.width * v.intrinsics.height for v in self.train_views]
        return float(np.sqrt(np.median(counts)))


def resized(views: Sequence[View], factor: float) -> tuple[View, ...]:
    """The same cameras on photos shrunk by ``factor`` (at least 1), to whole pixels."""
    out = []
    for v in views:
        k = v.intrinsics
        width, height = max(round(k.width / factor), 1), max(round(k.height / factor), 1)
        out.append(replace(v, intrinsics=scaled(k, width, height)))
    return tuple(out)


def split_views(posed: PosedCapture, every: int) -> tuple[View, ...]:
    """Decides what is held out: the capture's own split, or every n-th view in order of names."""
    views = posed.views
    if posed.given_split:
        return views if every else tuple(replace(v, split="train") for v in views if v.split == "train")
    test = set(holdout(len(views), every)) if every else set()
    if len(views) - len(test) < 2:
        test = set()
    return tuple(replace(v, split="test" if i in test else "train") for i, v in enumerate(views))


def prepare(
    posed: PosedCapture,
    downscale: float,
    every: int,
    occupancy_resolution: int,
    progress: Progress = silent,
    on_gpu: bool = False,
) -> TrainingSet:
    """Reads the training photos and lays out the scene, with steps as short as what trains has time for.

    Raises NerfsceneError when a photo can't be read or the photos don't fit in memory.
    """
    views = resized(split_views(posed, every), downscale)
    for v in views:
        if min(v.intrinsics.width, v.intrinsics.height) < SMALLEST:
            raise NerfsceneError(
                f"{v.path} would be trained on at {v.intrinsics.width}×{v.intrinsics.height} pixels, and "
                f"{SMALLEST} a side are the least; use larger photos or a smaller --downscale"
            )
    train = [v for v in views if v.split == "train"]
    sizes = [(v.path, v.intrinsics.width, v.intrinsics.height) for v in train]
    try:
        photos = read_all(sizes, progress)
        channels = 4 if posed.has_alpha else 3
        pixels = np.empty((sum(p.shape[0] * p.shape[1] for p in photos), channels), np.uint8)
    except MemoryError as error:
        raise NerfsceneError(
            f"{len(train)} photos of this size don't fit in memory; shrink them with --downscale 2"
        ) from error
    at, alphas = 0, []
    photos.reverse()
    while photos:  # each is let go once it is copied: together they are as large as what they go into
        photo = photos.pop()
        n = photo.shape[0] * photo.shape[1]
        rows = photo.reshape(n, photo.shape[2])
        pixels[at : at + n, :3] = rows[:, :3]
        if channels == 4:
            pixels[at : at + n, 3] = rows[:, 3] if photo.shape[2] == 4 else 255
            alphas.append(pixels[at : at + n, 3].reshape(photo.shape[:2]))
        at += n
    masks = read_masks(train)
    if posed.has_alpha:
        shrunk = replace(posed, views=tuple(train))
        placement = place(shrunk, occupancy.subject_radius(shrunk, alphas))
        space = make_space(False, placement.near, occupancy_resolution, on_gpu)
        allowed = occupancy.cut_out_cells(train, alphas, placement, space)
        reachable = []  # their silhouettes tell more
    else:
        placement = place(replace(posed, views=views))
        space = make_space(True, placement.near, occupancy_resolution)
        allowed = occupancy.framed_cells(train, placement, space)
        if masks is not None:
            allowed &= occupancy.unmasked_cells(train, masks, placement, space)
        # A ray that is pulled to where nothing may be would find the nearest place where something may.
        m = placement.scene_from_world
        there = occupancy.cell_of(posed.points @ m[:3, :3].T + m[:3, 3], occupancy_resolution, True)
        reachable = [replace(v, seen=v.seen[allowed[there[v.seen]]]) for v in train]
    return TrainingSet(
        views=views,
        pixels=pixels,
        channels=channels,
        placement=placement,
        space=space,
        allowed=occupancy.pack(allowed),
        background=WHITE if posed.has_alpha else mean_colour(pixels),
        downscale=downscale,
        chosen=chosen_pixels(train, masks),
        depths=known_depths(reachable, posed.points, placement),
    )


def mean_colour(pixels: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Of pixels (…, 3), in 0…1: what is seen where no photo looked stands out least in it."""
    sums = pixels.reshape(-1, 3).sum(0, dtype=np.int64)
    red, green, blue = (float(c) for c in sums / (255 * max(len(pixels), 1)))
    return red, green, blue


Masks = Sequence[NDArray[np.bool_] | None]


def read_masks(train: Sequence[View]) -> Masks | None:
    """What each photo's mask leaves, (height, width), None where it has none; None where none has.

    Raises NerfsceneError for a mask that can't be read.
    """
    if all(v.mask is None for v in train):
        return None
    return [
        None if v.mask is None else read_mask(v.mask, v.intrinsics.width, v.intrinsics.height) for v in train
    ]


def chosen_pixels(train: Sequence[View], masks: Masks | None) -> NDArray[np.uint32] | None:
    """Running numbers of the pixels that the photos' masks leave, photo after photo; None without masks.

    Raises NerfsceneError where nothing is left.
    """
    if masks is None:
        return None
    parts, at = [], 0
    for v, used in zip(train, masks, strict=True):
        count = v.intrinsics.width * v.intrinsics.height
        inside = np.arange(count) if used is None else np.flatnonzero(used)
        parts.append((at + inside).astype(np.uint32))
        at += count
    chosen = np.concatenate(parts)
    if not len(chosen):
        raise NerfsceneError(
            f"the masks of {train[0].path.parent} leave nothing to train on: in a mask, white is what to use "
            "and black what to ignore"
        )
    return chosen

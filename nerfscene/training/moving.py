"""What moved between the photos, as people do who walk through, is found in training and left out of it.

A thing that stands elsewhere in each photo can't be in the scene. Where a photo shows it, the scene's colour
stays off to one side over a whole patch, while detail that is still missing is off to both sides and cancels
out. So the kernels add up each ray's error, with its sign, in cells of the photos (``Cells``). From time to
time ``leave_out`` looks for cells whose mean error is far above what is usual in the capture, and above what
other photos have where they show the same place. These are left out of the loss from then on, and looked at
again the next time. The idea is RobustNeRF's (Sabour et al., 2023), where residuals above a quantile,
smoothed over their neighbours, are left out. Here it is their mean, and the same place in other photos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.lens_fit import projection
from nerfscene.loading import loading
from nerfscene.types import Array, Intrinsics, View

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

CELLS_ALONG = 40  # cells along a photo's longer side, at most; things smaller than a cell are not found
SMALLEST_CELL = 8  # pixels
MOST_CELLS = 1 << 18  # of all photos: the cells are copied to a GPU and back a few times a second
NUMBERS = 5  # of a cell: errors of three channels added up, their number, and whether it is left out (1)
ERRORS_EVERY = 4  # one ray in so many adds its error, so that adding costs next to nothing
# Errors are added up while FROM … UNTIL of the training are done. Before, little has formed. When a cell has
# had ENOUGH errors on average, the cells are looked at, and all begin again.
FROM, UNTIL, ENOUGH = 0.2, 0.85, 12
LOOKS_APART = 0.05  # of the training, at least, between two looks
# A cell is left out if the mean error of it and its eight neighbours is larger than each of: STRONG (0…1);
# UNUSUAL times the capture's own, by its SPREAD quantile; ALONE times that of the same place in other photos.
STRONG, UNUSUAL, SPREAD, ALONE = 0.12, 4.0, 0.8, 2.5
KEPT_OUT = 0.6  # a cell that was left out stays so above this part of the first two
CORE = 9  # cells together that are needed: fewer are a leaf's tip or an edge that has not formed yet
# Of a photo's cells: if more would be left out, its exposure or its camera is off, and nothing moved.
WHOLE = 0.5
OTHERS = 2  # other photos that must show a place before it can be said that one of them disagrees
NOTEWORTHY = 0.004  # of a photo: less than this is not told


@dataclass(frozen=True)
class Cells:
    """The cells of the training photos, and what the kernels write into them.

    side: pixels along a side
    first (photos + 1,): the index of each photo's first cell; across (photos,): cells in a row
    numbers (cells, NUMBERS): see NUMBERS. The kernels add to the first four while training, and read the last
    """

    side: int
    first: NDArray[np.int64]
    across: NDArray[np.int64]
    numbers: Floats

    def of(self, photo: int) -> Floats:
        """A photo's numbers (rows, columns, NUMBERS), as a view."""
        part = self.numbers[self.first[photo] : self.first[photo + 1]]
        return part.reshape(-1, int(self.across[photo]), NUMBERS)


def new_cells(views: Sequence[View]) -> Cells:
    """Empty cells for the training views."""
    sizes = [(v.intrinsics.width, v.intrinsics.height) for v in views]
    side = max(max(max(size) for size in sizes) // CELLS_ALONG, SMALLEST_CELL)
    while True:
        across = np.array([-(-width // side) for width, _ in sizes], np.int64)
        rows = np.array([-(-height // side) for _, height in sizes], np.int64)
        first = np.concatenate([[0], np.cumsum(across * rows)])
        if first[-1] <= MOST_CELLS or side >= max(max(size) for size in sizes):
            return Cells(side, first, across, np.zeros((int(first[-1]), NUMBERS), np.float32))
        side += max(side // 4, 1)


def adds_errors(done: float) -> bool:
    """Whether the rays' errors are added up at this point of the training (``done`` in 0…1)."""
    return FROM <= done < UNTIL


def enough(cells: Cells) -> bool:
    """Whether the cells have errors enough to be looked at."""
    return float(cells.numbers[:, 3].mean()) >= ENOUGH


# For a photo's index: the distance (rows, columns) from its camera to what each cell shows, scene units.
Distances = Callable[[int], Array]


def leave_out(cells: Cells, views: Sequence[View], poses: Array, distances: Distances) -> int:
    """Decides anew which cells are left out, and empties the sums; returns how many are left out.

    views, poses (photos, 4, 4): the training photos, and scene_from_cam of their cameras. ``distances`` is
    called only for photos in which something may have moved.
    """
    means = [mean_errors(cells.of(i)) for i in range(len(views))]
    usual = max(float(np.quantile(np.concatenate([m.ravel() for m in means]), SPREAD)), 1e-6)
    least = max(STRONG, UNUSUAL * usual)
    for i, mean in enumerate(means):
        before = cells.of(i)[..., 4] > 0
        suspect = (mean > least) | (before & (mean > KEPT_OUT * least))
        if suspect.mean() > WHOLE:
            suspect[:] = False
        if suspect.any():
            suspect &= ~others_too(i, suspect, means, views, poses, cells.side, distances(i))
        cells.of(i)[..., 4] = widened(suspect)
    cells.numbers[:, :4] = 0
    return int(np.count_nonzero(cells.numbers[:, 4]))


def mean_errors(numbers: Floats) -> Array:
    """The size (rows, columns) of the mean error of each cell with its neighbours, from a photo's numbers.

    The photo's own median error is taken off before, which is its exposure's.
    """
    with loading():
        from scipy import ndimage

    sums = ndimage.uniform_filter(numbers[..., :4].astype(np.float64), (3, 3, 0), mode="constant") * 9
    mean = sums[..., :3] / np.maximum(sums[..., 3:], 1)
    known = sums[..., 3] > 0
    if known.any():
        mean -= np.median(mean[known], axis=0)
    mean[~known] = 0
    return np.asarray(np.sqrt((mean**2).mean(2)))


def others_too(
    photo: int,
    suspect: Flags,
    means: Sequence[Array],
    views: Sequence[View],
    poses: Array,
    side: int,
    distance: Array,
) -> Flags:
    """Which suspect cells of a photo (rows, columns) show a place that is about as wrong in other photos.

    So are also those whose place fewer than OTHERS other photos show. distance: see ``Distances``.
    """
    row, column = np.nonzero(suspect)
    pixels = np.asarray((np.stack([column, row], 1) + 0.5) * side, np.float64)
    points = (
        poses[photo][:3, 3]
        + _directions(views[photo].intrinsics, pixels)
        @ poses[photo][:3, :3].T
        * (distance[row, column][:, None])
    )
    seen: list[Array] = []
    for other, (mean, view) in enumerate(zip(means, views, strict=True)):
        if other != photo:
            seen.append(_looked_up(mean, view.intrinsics, poses[other], points, side))
    found = np.stack(seen) if seen else np.full((1, len(row)), np.nan)
    count = np.isfinite(found).sum(0)
    median = np.zeros(len(row))
    some = count > 0
    median[some] = np.nanmedian(found[:, some], axis=0)
    same = (count < OTHERS) | (means[photo][row, column] < ALONE * median)
    out = np.zeros_like(suspect)
    out[row[same], column[same]] = True
    return out


def _directions(k: Intrinsics, pixels: Array) -> Array:
    """Unit directions (n, 3), camera's axes, of pixels (n, 2), without distortion: cells are coarse."""
    x = np.stack([(pixels[:, 0] - k.cx) / k.fx, (pixels[:, 1] - k.cy) / k.fy, np.ones(len(pixels))], 1)
    if k.lens == "fisheye":
        angle = np.linalg.norm(x[:, :2], axis=1)
        x[:, :2] *= (np.sin(angle) / np.maximum(angle, 1e-12))[:, None]
        x[:, 2] = np.cos(angle)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def _looked_up(mean: Array, k: Intrinsics, scene_from_cam: Array, points: Array, side: int) -> Array:
    """The mean errors (n,) of the cells of a photo that scene points (n, 3) project to; NaN outside it."""
    local = (points - scene_from_cam[:3, 3]) @ scene_from_cam[:3, :3]
    z = np.maximum(local[:, 2], 1e-9)
    base = local[:, :2] / z[:, None]
    if k.lens == "fisheye":
        across = np.linalg.norm(local[:, :2], axis=1, keepdims=True)
        base = local[:, :2] * np.arctan2(across, local[:, 2:]) / np.maximum(across, 1e-12)
    with np.errstate(over="ignore", invalid="ignore"):
        at = projection(k)(base)
    inside = (local[:, 2] > 1e-6) & (at >= 0).all(1) & (at[:, 0] < k.width) & (at[:, 1] < k.height)
    out = np.full(len(points), np.nan)
    column, row = (at[inside] // side).astype(np.int64).T
    out[inside] = mean[row, column]
    return out


def widened(suspect: Flags) -> Flags:
    """Suspect cells (rows, columns) without those that are too few together, and with those around."""
    with loading():
        from scipy import ndimage

    labels, _ = ndimage.label(suspect, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_dilation(sizes[labels] >= CORE, np.ones((3, 3))))


def moved_parts(cells: Cells, views: Sequence[View]) -> tuple[dict[str, Any], ...]:
    """The photos of which more than NOTEWORTHY is left out: name, share (0…1) and boxes, largest share first.

    boxes: left, top, right, bottom of each part, as fractions of the photo's width and height.
    """
    with loading():
        from scipy import ndimage

    out = []
    for i, view in enumerate(views):
        flags = cells.of(i)[..., 4] > 0
        share = float(flags.mean())
        if share <= NOTEWORTHY:
            continue
        labels, _ = ndimage.label(flags, np.ones((3, 3)))
        k, boxes = view.intrinsics, []
        for rows, columns in ndimage.find_objects(labels):
            across, down = np.array([columns.start, columns.stop]), np.array([rows.start, rows.stop])
            x, y = np.minimum(across * cells.side / k.width, 1), np.minimum(down * cells.side / k.height, 1)
            boxes.append([round(float(n), 4) for n in (x[0], y[0], x[1], y[1])])
        out.append({"photo": view.path.name, "share": round(share, 4), "boxes": boxes})
    return tuple(sorted(out, key=lambda part: -part["share"]))

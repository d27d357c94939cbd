"""Where a scene can have anything at all, known from the cameras before training starts.

The training itself learns which cells are empty; this is what no training is needed for. Cells that
fewer than ``MIN_VIEWS`` cameras frame can never be told from floaters, unless they are far away; with
cut-out photos, a cell that any photo shows as background is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import CAMERA_DISTANCE, Placement, nearest_point_to_axes, pose_in_scene
from nerfscene.capture.folder import worker_count
from nerfscene.field.hash_grid import Space
from nerfscene.types import Array, Intrinsics, PosedCapture, View

MIN_VIEWS = 3
FAR_BEHIND = 2 * CAMERA_DISTANCE  # scene units from a camera: as far behind the subject as it is before it
VIEWS_AT_ONCE = 16
MASKS_LOOKED_AT = 32  # of so many photos at first
MASK_MARGIN = 0.01  # of a photo's longer side, by which what a mask leaves is taken to be wider
MASKED_IN = 0.75  # of the photos that frame a cell
CELLS_AT_ONCE = 1 << 14  # with the views above, what a processor keeps at hand
Bits = NDArray[np.uint32]


def cell_centres(resolution: int, unbounded: bool) -> NDArray[np.float32]:
    """Scene coordinates (cells, 3) of the occupancy cells' centres, x fastest."""
    c = ((np.arange(resolution) + 0.5) / resolution).astype(np.float32)
    z, y, x = np.meshgrid(c, c, c, indexing="ij")
    unit = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    if not unbounded:
        return unit * 2 - 1
    p = unit * 4 - 2
    m = np.abs(p).max(axis=1, keepdims=True)
    return np.where(m > 1, p / (m * np.maximum(2 - m, 1e-6)), p).astype(np.float32)


def cell_of(points: NDArray[np.float64], resolution: int, unbounded: bool) -> NDArray[np.int64]:
    """The numbers (n,) of the cells that scene points (n, 3) lie in, as ``cell_centres`` counts them."""
    if unbounded:
        m = np.maximum(np.abs(points).max(axis=1, keepdims=True), 1)
        unit = (points / m * (2 - 1 / m) + 2) / 4
    else:
        unit = (points + 1) / 2
    x, y, z = np.clip(np.floor(unit * resolution).astype(np.int64), 0, resolution - 1).T
    return np.asarray((z * resolution + y) * resolution + x)


def pack(cells: NDArray[np.bool_]) -> Bits:
    """One bit a cell, cell 0 the lowest bit of word 0."""
    return np.packbits(cells.reshape(-1, 32), axis=1, bitorder="little").view("<u4").astype(np.uint32).ravel()


def project(
    points: NDArray[np.float32], intrinsics: Intrinsics, scene_from_cam: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Pixel coordinates u, v (n,) and depth z (n,) of scene points, the lens taken as ideal.

    Ideal, because a cell is far wider than the bend of any lens near the picture's middle, and the
    callers leave a margin at its border.
    """
    pose = scene_from_cam.astype(np.float32)
    cam = (points - pose[:3, 3]) @ pose[:3, :3]
    z = cam[:, 2]
    safe = np.where(z > 1e-6, z, 1e-6)
    u = cam[:, 0] / safe * np.float32(intrinsics.fx) + np.float32(intrinsics.cx)
    v = cam[:, 1] / safe * np.float32(intrinsics.fy) + np.float32(intrinsics.cy)
    return u.astype(np.float32), v.astype(np.float32), z.astype(np.float32)


def framed_cells(views: Sequence[View], placement: Placement, space: Space) -> NDArray[np.bool_]:
    """Cells (cells,) that at least ``MIN_VIEWS`` cameras (or all, if fewer) have in their picture, and
    those far behind the subject that one has.

    These let every ray end where it does no harm: what one photo alone shows would otherwise have to be
    close to the camera, and hang in the air of all other pictures.
    """
    points = cell_centres(space.occupancy_resolution, space.unbounded)
    planes = np.stack([_frame_planes(view, placement, space) for view in views]).astype(np.float32)
    needed = min(MIN_VIEWS, len(views))
    # First those far apart: most cells are settled by a few views, and are looked at no further.
    stride = max(len(views) // VIEWS_AT_ONCE, 1)
    ordered = np.concatenate([planes[k::stride] for k in range(stride)])

    def settle(start: int) -> NDArray[np.bool_]:
        block = points[start : start + CELLS_AT_ONCE]
        rows = np.concatenate([block.T, np.ones((1, len(block)), np.float32)])  # (4, n)
        count = np.zeros(len(block), np.int32)
        left = np.arange(len(block))
        for k in range(0, len(ordered), VIEWS_AT_ONCE):
            some = ordered[k : k + VIEWS_AT_ONCE]
            sides = (some.transpose(1, 0, 2).reshape(-1, 4) @ rows[:, left]).reshape(6, len(some), -1)
            inside = sides[:5].min(0) > 0
            count[left] += inside.sum(0) + needed * (inside & (sides[5] > 0)).any(0)
            left = left[count[left] < needed]
            if not len(left):
                break
        return count >= needed

    with ThreadPoolExecutor(worker_count()) as pool:
        return np.concatenate(list(pool.map(settle, range(0, len(points), CELLS_AT_ONCE))))


def unmasked_cells(
    views: Sequence[View], used: Sequence[NDArray[np.bool_] | None], placement: Placement, space: Space
) -> NDArray[np.bool_]:
    """Cells (cells,) but those that masks leave out of nearly all photos that frame them.

    ``used``: what each view's mask leaves, (height, width); None: all. What masks leave out is not trained
    on, so whatever came to hang there would stay: round a subject that was masked all the way, or where
    the sky was. Loose masks leave the air around the subject in more photos, and it stays.
    """
    from scipy.ndimage import maximum_filter  # not at the top: it takes half a second

    points = cell_centres(space.occupancy_resolution, space.unbounded)
    framed, masked = np.zeros((2, len(points)), np.int32)

    def look(index: int, cells: NDArray[np.intp]) -> tuple[Any, Any]:
        """Which of the cells a photo frames, and which of these its mask leaves out."""
        view, left = views[index], used[index]
        k = view.intrinsics
        u, v, z = project(points[cells], k, pose_in_scene(placement.scene_from_world, view.world_from_cam))
        seen = (z > 0.5 * space.near) & (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height)
        if left is None:
            return cells[seen], np.zeros(int(seen.sum()), bool)
        reach = int(np.ceil(MASK_MARGIN * max(k.width, k.height)))
        wide = maximum_filter(left, size=2 * reach + 1)
        return cells[seen], ~wide[v[seen].astype(np.intp), u[seen].astype(np.intp)]

    # Bent as their pictures are, fisheyes have no say: cells are projected as by an ideal lens.
    straight = np.array([i for i, view in enumerate(views) if view.intrinsics.lens != "fisheye"], np.intp)
    stride = max(len(straight) // MASKS_LOOKED_AT, 1)
    left = np.arange(len(points))
    with ThreadPoolExecutor(worker_count()) as pool:
        # A few photos first: most cells are settled by these, and the others look at no more of them.
        for some in (straight[::stride], np.delete(straight, np.s_[::stride])):
            for cells, out in pool.map(look, some, repeat(left)):
                framed[cells] += 1
                masked[cells] += out
            left = np.flatnonzero(masked > MASKED_IN * framed)
    return masked <= MASKED_IN * framed


def _frame_planes(view: View, placement: Placement, space: Space) -> Array:
    """(6, 4), to multiply a scene point (x, y, z, 1) with: it is in the view's picture where the first five
    products are positive (near, left, right, top, bottom), and far behind the subject where the last is."""
    k = view.intrinsics
    pose = pose_in_scene(placement.scene_from_world, view.world_from_cam)
    cam_from_scene = np.linalg.inv(pose)[:3]
    mx, my = 0.05 * k.width, 0.05 * k.height  # bent lenses see a little farther
    lens = np.array(
        [
            [0, 0, 1],
            [k.fx, 0, k.cx + mx],
            [-k.fx, 0, k.width + mx - k.cx],
            [0, k.fy, k.cy + my],
            [0, -k.fy, k.height + my - k.cy],
            [0, 0, 1],
        ]
    )
    planes: Array = lens @ cam_from_scene
    planes[0, 3] -= 0.5 * space.near
    planes[5, 3] -= FAR_BEHIND
    return planes


def cut_out_cells(
    views: Sequence[View],
    alphas: Sequence[NDArray[np.uint8]],
    placement: Placement,
    space: Space,
) -> NDArray[np.bool_]:
    """Cells (cells,) of a bounded scene that no photo shows as wholly background.

    ``alphas``: each view's alpha channel (height, width). A cell's shadow in a photo is taken as a
    square of pixels around its centre, large enough to contain it: what is carved away is truly empty.
    """
    from scipy.ndimage import maximum_filter  # not at the top: it takes half a second

    resolution = space.occupancy_resolution
    points = cell_centres(resolution, space.unbounded)
    radius = np.sqrt(3.0) / resolution
    keep = np.ones(len(points), bool)
    for view, alpha in zip(views, alphas, strict=True):
        k = view.intrinsics
        pose = pose_in_scene(placement.scene_from_world, view.world_from_cam)
        left = np.flatnonzero(keep)
        u, v, z = project(points[left], k, pose)
        nearest = max(float(np.linalg.norm(pose[:3, 3])) - np.sqrt(3.0), 0.2)
        reach = int(np.ceil(radius * max(k.fx, k.fy) / nearest)) + 1
        shadow = maximum_filter(alpha > 0, size=2 * reach + 1)
        # Beyond the picture nothing is known, so cells there stay.
        x, y = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
        inside = (z > 0) & (x >= 0) & (x < k.width) & (y >= 0) & (y < k.height)
        empty = np.zeros(len(left), bool)
        empty[inside] = ~shadow[y[inside], x[inside]]
        keep[left[empty]] = False
    return keep


def subject_radius(posed: PosedCapture, alphas: Sequence[NDArray[np.uint8]]) -> float:
    """World-unit radius, around the point the cameras look at, that holds all that is not cut out.

    From each photo's alpha: its farthest opaque pixel from the projected centre, at the centre's
    depth; the largest over the photos, since a photo sees only what faces it, and a tenth more.
    """
    views = [v for v in posed.views if v.split == "train"]
    centres = np.stack([v.world_from_cam[:3, 3] for v in views])
    axes = np.stack([v.world_from_cam[:3, 2] for v in views])
    focus = nearest_point_to_axes(centres, axes)
    radii = []
    for view, alpha in zip(views, alphas, strict=True):
        rows, cols = np.nonzero(alpha > 0)
        if len(rows) == 0:
            continue
        k = view.intrinsics
        u, v, z = project(focus[None].astype(np.float32), k, view.world_from_cam)
        # per axis: the scene is a cube, and corners of the subject's box reach farther than its sides
        dx = np.abs(cols + 0.5 - u[0]).max() / k.fx
        dy = np.abs(rows + 0.5 - v[0]).max() / k.fy
        radii.append(float(max(dx, dy) * z[0]))
    if not radii:
        return float(np.median(np.linalg.norm(centres - focus, axis=1)))
    return 1.1 * max(radii)

"""Carves space before training: finds the occupancy cells that cameras and masks rule out.

Training itself learns which of the other cells are empty. Ruled out are cells in the pictures of fewer than
MIN_VIEWS cameras, unless they are far away, because nothing there can be distinguished from floaters; cells
that masks exclude; and with cut-outs (photos with a transparent background), cells that any photo shows as
background.
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
from nerfscene.loading import loading
from nerfscene.types import Array, Intrinsics, PosedCapture, View

MIN_VIEWS = 3
FAR_BEHIND = 2 * CAMERA_DISTANCE  # scene units: as far behind the subject as the camera is in front of it
MASKS_LOOKED_AT = 32  # photos whose masks are projected on all cells; the others only on undecided ones
MASK_MARGIN = 0.01  # of a photo's longer side: masks are widened by this
MASKED_IN = 0.75  # a cell is ruled out if more than this share of the photos framing it mask it out
BRICK = 8  # cells along a side of the bricks that are looked at as a whole; divides every resolution


def cell_centres(space: Space) -> NDArray[np.float32]:
    """Scene coordinates (cells, 3) of the occupancy cells' centres, x fastest."""
    resolution = space.occupancy_resolution
    side = ((np.arange(resolution) + 0.5) / resolution).astype(np.float32)
    centres = np.empty((resolution, resolution, resolution, 3), np.float32)
    if space.view is not None:
        c = 1 / np.maximum(1 - side / np.float32(space.share), np.float32(1e-6))
        across = 2 * side - 1
        centres[..., 0], centres[..., 1] = across * c[:, None, None], across[:, None] * c[:, None, None]
        centres[..., 2] = c[:, None, None]
        view_from_scene = np.array(space.view).reshape(3, 4)
        turn = np.linalg.inv(view_from_scene[:, :3])
        return (centres.reshape(-1, 3) @ turn.T - turn @ view_from_scene[:, 3]).astype(np.float32)
    c = side * 4 - 2 if space.unbounded else side * 2 - 1
    centres[..., 0], centres[..., 1], centres[..., 2] = c, c[:, None], c[:, None, None]
    if space.unbounded:
        m = np.maximum(np.maximum(np.abs(c), np.abs(c)[:, None]), np.abs(c)[:, None, None])
        centres /= np.where(m > 1, m * np.maximum(2 - m, np.float32(1e-6)), np.float32(1))[..., None]
    return centres.reshape(-1, 3)


def cell_of(points: NDArray[np.float64], space: Space) -> NDArray[np.int64]:
    """Indices (n,) of the cells that scene points (n, 3) lie in, in the order of ``cell_centres``."""
    resolution = space.occupancy_resolution
    if space.view is not None:
        view_from_scene = np.array(space.view).reshape(3, 4)
        seen = points @ view_from_scene[:, :3].T + view_from_scene[:, 3]
        c = np.maximum(seen[:, 2:], 1)
        unit = np.concatenate([seen[:, :2] / c / 2 + 0.5, space.share * (1 - 1 / c)], axis=1)
    elif space.unbounded:
        m = np.maximum(np.abs(points).max(axis=1, keepdims=True), 1)
        unit = (points / m * (2 - 1 / m) + 2) / 4
    else:
        unit = (points + 1) / 2
    x, y, z = np.clip(np.floor(unit * resolution).astype(np.int64), 0, resolution - 1).T
    return np.asarray((z * resolution + y) * resolution + x)


def within_reach(space: Space) -> NDArray[np.bool_]:
    """Flags (cells,) of the cells that rays can get to: all but those beyond infinity (``Space.share``)."""
    resolution = space.occupancy_resolution
    layers = (np.arange(resolution) + 0.5) / resolution < space.share
    return np.repeat(layers, resolution**2)


def project(
    points: NDArray[np.float32], intrinsics: Intrinsics, scene_from_cam: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Pixel coordinates u, v (n,) and depth z (n,) of scene points (n, 3), ignoring lens distortion.

    A cell is far larger than the distortion of any lens near the picture's centre, and callers leave a margin
    at its border.
    """
    pose = scene_from_cam.astype(np.float32)
    cam = (points - pose[:3, 3]) @ pose[:3, :3]
    z = cam[:, 2]
    safe = np.where(z > 1e-6, z, 1e-6)
    u = cam[:, 0] / safe * np.float32(intrinsics.fx) + np.float32(intrinsics.cx)
    v = cam[:, 1] / safe * np.float32(intrinsics.fy) + np.float32(intrinsics.cy)
    return u.astype(np.float32), v.astype(np.float32), z.astype(np.float32)


def framed_cells(views: Sequence[View], placement: Placement, space: Space) -> NDArray[np.bool_]:
    """Flags (cells,) of cells in the pictures of enough cameras, or far behind the subject in one.

    Enough are ``MIN_VIEWS`` cameras, or all if there are fewer. The far cells give every ray a place to end.
    Otherwise, surfaces that only one photo shows would have to form close to its camera, and float in the air
    in all other pictures.
    """
    bricks = _bricks(space)
    planes = np.stack([_frame_planes(view, placement, space) for view in views]).astype(np.float32)
    needed = min(MIN_VIEWS, len(views))
    # Most bricks lie wholly in or out of most pictures, which their corners tell.
    low, high = bricks.min(2), bricks.max(2)
    flat = planes.reshape(-1, 4)
    middle = (low + high) / 2 @ flat[:, :3].T + flat[:, 3]
    reach = (high - low) / 2 @ np.abs(flat[:, :3]).T
    shape = (len(bricks), len(planes), 6)
    least, most = (middle - reach).reshape(shape) > 0, (middle + reach).reshape(shape) > 0
    within, touched = least[..., :5].all(2), most[..., :5].all(2)
    within_far, touched_far = within & least[..., 5], touched & most[..., 5]
    flags = np.zeros((len(bricks), BRICK**3), bool)
    flags[within.sum(1) + needed * within_far.any(1) >= needed] = True
    unclear = ~flags[:, 0] & (touched.sum(1) + needed * touched_far.any(1) >= needed)
    clear = (within == touched) & (within_far == touched_far)
    for i in np.flatnonzero(unclear):
        some = planes[~clear[i]].transpose(1, 0, 2).reshape(-1, 4)
        sides = (some[:, :3] @ bricks[i] + some[:, 3:]).reshape(6, -1, BRICK**3)
        framed = sides[:5].min(0) > 0
        count = np.count_nonzero(within[i] & clear[i]) + framed.sum(0, dtype=np.int32)
        flags[i] = count + needed * (framed & (sides[5] > 0)).any(0) >= needed
    return _unbricked(flags, space)


def _bricks(space: Space) -> NDArray[np.float32]:
    """The cells' centres by bricks of BRICK³ neighbours: (bricks, 3, cells)."""
    across = space.occupancy_resolution // BRICK
    centres = cell_centres(space)
    split = centres.reshape(across, BRICK, across, BRICK, across, BRICK, 3)
    return split.transpose(0, 2, 4, 6, 1, 3, 5).reshape(across**3, 3, BRICK**3)


def _unbricked(flags: NDArray[np.bool_], space: Space) -> NDArray[np.bool_]:
    """Flags by bricks, as ``_bricks`` has them, in the order of the cells."""
    across = space.occupancy_resolution // BRICK
    split = flags.reshape(across, across, across, BRICK, BRICK, BRICK)
    return split.transpose(0, 3, 1, 4, 2, 5).reshape(-1)


def unmasked_cells(
    views: Sequence[View], used: Sequence[NDArray[np.bool_] | None], placement: Placement, space: Space
) -> NDArray[np.bool_]:
    """Flags (cells,) of all cells except those that are masked out in most of the photos framing them.

    ``used``: each view's mask (height, width), true where the photo is used; None: everywhere. Masked-out
    pixels are not trained on, so floaters there would never be removed (around a subject that is masked in
    every photo, or in the sky). If masks are loose, the air around the subject is visible in more photos, and
    its cells stay.
    """
    with loading():
        from scipy.ndimage import maximum_filter  # not at the top: importing it takes half a second

    points = cell_centres(space)
    framed, masked = np.zeros((2, len(points)), np.int32)

    def look(index: int, cells: NDArray[np.intp]) -> tuple[Any, Any]:
        """The cells that a photo frames, and for each of them whether it is masked out."""
        view, mask = views[index], used[index]
        k = view.intrinsics
        u, v, z = project(points[cells], k, pose_in_scene(placement.scene_from_world, view.world_from_cam))
        seen = (z > 0.5 * space.near) & (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height)
        if mask is None:
            return cells[seen], np.zeros(int(seen.sum()), bool)
        margin = int(np.ceil(MASK_MARGIN * max(k.width, k.height)))
        wide = maximum_filter(mask, size=2 * margin + 1)
        return cells[seen], ~wide[v[seen].astype(np.intp), u[seen].astype(np.intp)]

    # Fisheye photos are skipped: ``project`` ignores their strong distortion.
    straight = np.array([i for i, view in enumerate(views) if view.intrinsics.lens != "fisheye"], np.intp)
    stride = max(len(straight) // MASKS_LOOKED_AT, 1)
    candidates = np.arange(len(points))
    with ThreadPoolExecutor(worker_count()) as pool:
        # A few photos first: they decide most cells, and the others only check those that may be excluded.
        for some in (straight[::stride], np.delete(straight, np.s_[::stride])):
            for cells, left_out in pool.map(look, some, repeat(candidates)):
                framed[cells] += 1
                masked[cells] += left_out
            candidates = np.flatnonzero(masked > MASKED_IN * framed)
    return masked <= MASKED_IN * framed


def _frame_planes(view: View, placement: Placement, space: Space) -> Array:
    """Planes (6, 4) to multiply a scene point (x, y, z, 1) with.

    The point is in the view's picture if the first five products (near, left, right, top, bottom) are
    positive, and far behind the subject if the last one is.
    """
    k = view.intrinsics
    pose = pose_in_scene(placement.scene_from_world, view.world_from_cam)
    cam_from_scene = np.linalg.inv(pose)[:3]
    mx, my = 0.05 * k.width, 0.05 * k.height  # lenses with distortion see a little farther
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
    """Flags (cells,) of the cells of a bounded scene that no photo shows as background alone.

    ``alphas``: each view's alpha channel (height, width). A cell's projection into a photo is taken as a
    square of pixels around its centre that is large enough to contain it, so excluded cells are truly empty.
    """
    with loading():
        from scipy.ndimage import maximum_filter  # not at the top: importing it takes half a second

    resolution = space.occupancy_resolution
    points = cell_centres(space)
    radius = np.sqrt(3.0) / resolution
    keep = np.ones(len(points), bool)
    for view, alpha in zip(views, alphas, strict=True):
        k = view.intrinsics
        pose = pose_in_scene(placement.scene_from_world, view.world_from_cam)
        kept = np.flatnonzero(keep)
        u, v, z = project(points[kept], k, pose)
        nearest = max(float(np.linalg.norm(pose[:3, 3])) - np.sqrt(3.0), 0.2)
        reach = int(np.ceil(radius * max(k.fx, k.fy) / nearest)) + 1
        opaque = maximum_filter(alpha > 0, size=2 * reach + 1)
        # Cells outside the picture stay, as the photo says nothing about them.
        x, y = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
        inside = (z > 0) & (x >= 0) & (x < k.width) & (y >= 0) & (y < k.height)
        empty = np.zeros(len(kept), bool)
        empty[inside] = ~opaque[y[inside], x[inside]]
        keep[kept[empty]] = False
    return keep


def subject_radius(posed: PosedCapture, alphas: Sequence[NDArray[np.uint8]]) -> float:
    """Radius of the subject around the point that the cameras look at, world units.

    ``alphas``: each training view's alpha channel (height, width). Each photo gives the distance of its
    farthest opaque pixel from the projected point, at the point's depth. The radius is the largest of all
    photos, as each only shows the side that faces it, plus a tenth. If no photo has an opaque pixel, it is
    the cameras' median distance from the point.
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
        # Per axis, because the scene is a cube: the corners of the subject's box are farther than its sides.
        dx = np.abs(cols + 0.5 - u[0]).max() / k.fx
        dy = np.abs(rows + 0.5 - v[0]).max() / k.fy
        radii.append(float(max(dx, dy) * z[0]))
    if not radii:
        return float(np.median(np.linalg.norm(centres - focus, axis=1)))
    return 1.1 * max(radii)

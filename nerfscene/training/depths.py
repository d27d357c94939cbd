"""Known depths: how far away surfaces in the photos are, from the sparse points that the photos show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import Placement, similarity_scale
from nerfscene.cameras.lens_fit import projection
from nerfscene.types import Array, View

CELL = 4  # pixels along a side, the kernels' value too: small, so that most cells show a single surface


def known_depths(
    views: Sequence[View], points: Array, placement: Placement, more: Sequence[Array] | None = None
) -> NDArray[np.float32] | None:
    """Distances along rays, scene units, for each cell of CELL² pixels, row by row, view after view.

    points (n, 3): world units; the views' ``seen`` are indices into them. A cell with several points has the
    distance of the nearest, one without points has that of ``more``: for each view (rows, columns), world
    units, 0 where there is none; None: 0 everywhere. None if no cell has a distance.
    """
    scale = similarity_scale(placement.scene_from_world)
    known = np.zeros(sum(rows * columns for rows, columns in map(_cells, views)), np.float32)
    start = 0
    for i, view in enumerate(views):
        distances = _of_view(view, points)
        if more is not None:
            distances = np.where(distances > 0, distances, more[i])
        distances = scale * distances.reshape(-1)
        known[start : start + len(distances)] = distances
        start += len(distances)
    return known if known.any() else None


def _cells(view: View) -> tuple[int, int]:
    """How many rows and columns of cells the view has."""
    return -(-view.intrinsics.height // CELL), -(-view.intrinsics.width // CELL)


def _of_view(view: View, points: Array) -> Array:
    """Distances (rows, columns) of cells, world units; 0 for a cell without points."""
    k = view.intrinsics
    shape = _cells(view)
    nearest = np.full(shape, np.inf)
    local = (points[view.seen] - view.world_from_cam[:3, 3]) @ view.world_from_cam[:3, :3]
    local = local[local[:, 2] > 0]
    if len(local):
        distance = np.linalg.norm(local, axis=1)
        base = local[:, :2] / local[:, 2:]
        if k.lens == "fisheye":
            across = np.linalg.norm(local[:, :2], axis=1, keepdims=True)
            base = local[:, :2] * np.arctan2(across, local[:, 2:]) / np.maximum(across, 1e-12)
        column, row = np.floor(projection(k)(base) / CELL).astype(int).T
        inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
        np.minimum.at(nearest, (row[inside], column[inside]), distance[inside])
    return np.where(np.isfinite(nearest), nearest, 0.0)

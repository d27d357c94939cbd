"""Guesses a backdrop: what is shown behind the scene in directions that no photo saw.

When a film's camera looks up a little higher than the photos did, a single colour there would meet the sky in
a ragged edge. So the colours of the farthest surfaces are collected by direction and extrapolated, more and
more smoothly, to the directions that no photo saw. The backdrop only shows behind the scene, which stays
unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene, scaled, similarity_scale
from nerfscene.field.rendering import BACKDROP_ROWS, Renderer, cell_directions, ray_directions, render
from nerfscene.types import Array, Camera, View

MOST_VIEWS, LONGEST = 32, 24  # views that are rendered, and pixels along the longer side of each rendering
FARTHEST = 10.0  # scene units: surfaces beyond get no more weight than one there
SEEN = 0.5  # accumulation of a ray that hit a surface


def guessed(renderer: Renderer, views: Sequence[View]) -> NDArray[np.float32]:
    """A backdrop (rows, 2 · rows, 3) in 0…1, for ``Renderer.backdrop``, from renderings of these views.

    Raises NerfsceneError if the GPU fails.
    """
    directions, colors, weights = [], [], []
    for i in np.unique(np.linspace(0, len(views) - 1, min(MOST_VIEWS, len(views))).round().astype(int)):
        k, pose = views[i].intrinsics, views[i].world_from_cam
        shrink = LONGEST / max(k.width, k.height)
        small = scaled(k, max(round(k.width * shrink), 1), max(round(k.height * shrink), 1))
        frame = render(renderer, Camera(small, pose))
        in_scene = pose_in_scene(renderer.scene_from_world, pose)
        toward = ray_directions(renderer, small, in_scene, np.ones((small.height, small.width), bool))
        seen = frame.accumulation.ravel() > SEEN
        distance = frame.depth.ravel()[seen] * similarity_scale(renderer.scene_from_world)
        far = np.linalg.norm(in_scene[:3, 3] + distance[:, None] * toward[seen], axis=1)
        directions.append(toward[seen])
        colors.append(np.clip(frame.rgb.reshape(-1, 3)[seen], 0, 1))
        weights.append(np.clip(far, 0.1, FARTHEST) ** 4)  # favours the wall behind the subject
    d, c, w = (np.concatenate(parts) for parts in (directions, colors, weights))
    return spread(d, c, w, renderer.background)


def spread(
    directions: Array, colors: Array, weights: Array, default: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Colours (n, 3) seen in unit directions (n, 3) → colours (rows, 2 · rows, 3) of all directions.

    Each is a mean of all colours seen, whose weights (n,) fall with the sixth power of the angle to them
    (Shepard's interpolation, 1968). If no colour was seen, all are ``default``.
    """
    centres = cell_directions()
    rows, columns = centres.shape[:2]
    latitude, longitude = _cells_of(directions)
    cell = latitude * columns + longitude
    total = np.bincount(cell, weights, rows * columns)
    known = np.flatnonzero(total)
    if not len(known):
        return np.broadcast_to(np.asarray(default, np.float32), (rows, columns, 3)).copy()
    sums = np.stack([np.bincount(cell, weights * colors[:, c], rows * columns) for c in range(3)], 1)
    means = sums[known] / total[known, None]
    flat = centres.reshape(-1, 3)
    angle = np.arccos(np.clip(flat @ flat[known].T, -1, 1))
    near = (angle**2 + (0.5 * np.pi / rows) ** 2) ** -3.0
    # Cells near a pole are small and many: each counts by its area.
    near *= np.linalg.norm(flat[known, :2], axis=1)
    made = (near @ means / near.sum(1, keepdims=True)).astype(np.float32)
    return made.reshape(rows, columns, 3)


def _cells_of(directions: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows (n,) and columns (n,) of the cells that unit directions (n, 3) fall into."""
    rows, columns = BACKDROP_ROWS, 2 * BACKDROP_ROWS
    latitude = np.arccos(np.clip(directions[:, 2], -1, 1)) / np.pi * rows
    longitude = (np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi) % 1.0) * columns
    return np.minimum(latitude.astype(np.intp), rows - 1), np.minimum(longitude.astype(np.intp), columns - 1)

"""What is shown behind the scene where no photo looked: guessed from what was seen around there.

A film's camera looks up a little higher than the photos did, and one plain colour there would end in a ragged
edge against the sky. So the colours of what lies farthest are gathered by direction and carried on, ever
smoother, to the directions that no photo saw. A guess, and only behind: what was seen is not changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene, scaled, similarity_scale
from nerfscene.field.rendering import BACKDROP_ROWS, Renderer, cell_directions, ray_directions, render
from nerfscene.types import Array, Camera, View

MOST_VIEWS, LONGEST = 32, 24  # small pictures of so many photos' views are looked at
FARTHEST = 10.0  # scene units from which on farther counts no more
SEEN = 0.5  # of a ray that met something


def guessed(renderer: Renderer, views: Sequence[View]) -> NDArray[np.float32]:
    """A backdrop (rows, 2 · rows, 3) in 0…1, for ``Renderer.backdrop``, from what these views see."""
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
        weights.append(np.clip(far, 0.1, FARTHEST) ** 4)  # the wall behind the subject, not the subject
    d, c, w = (np.concatenate(parts) for parts in (directions, colors, weights))
    return spread(d, c, w, renderer.background)


def spread(
    directions: Array, colors: Array, weights: Array, nothing: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Colours (n, 3) seen in unit directions (n, 3) → colours (rows, 2 · rows, 3) of all directions.

    Each is a mean of all that was seen, whose weight falls with the sixth power of the angle to it
    (Shepard's interpolation, 1968); ``nothing`` where nothing was.
    """
    centres = cell_directions()
    rows, columns = centres.shape[:2]
    latitude, longitude = _cells_of(directions)
    cell = latitude * columns + longitude
    total = np.bincount(cell, weights, rows * columns)
    known = np.flatnonzero(total)
    if not len(known):
        return np.broadcast_to(np.asarray(nothing, np.float32), (rows, columns, 3)).copy()
    sums = np.stack([np.bincount(cell, weights * colors[:, c], rows * columns) for c in range(3)], 1)
    means = sums[known] / total[known, None]
    flat = centres.reshape(-1, 3)
    angle = np.arccos(np.clip(flat @ flat[known].T, -1, 1))
    near = (angle**2 + (0.5 * np.pi / rows) ** 2) ** -3.0
    # A cell near a pole is small, and what was seen but at its rim tells less: many cells, one say.
    near *= np.linalg.norm(flat[known, :2], axis=1)
    made = (near @ means / near.sum(1, keepdims=True)).astype(np.float32)
    return made.reshape(rows, columns, 3)


def _cells_of(directions: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The row and column of the cell that each direction falls into."""
    rows, columns = BACKDROP_ROWS, 2 * BACKDROP_ROWS
    latitude = np.arccos(np.clip(directions[:, 2], -1, 1)) / np.pi * rows
    longitude = (np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi) % 1.0) * columns
    return np.minimum(latitude.astype(np.intp), rows - 1), np.minimum(longitude.astype(np.intp), columns - 1)

"""Which points of a COLMAP model are known well, per image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerfscene.posing.mapping import Model

# A point is well determined if at least this many photos observe it, from directions that span at least this
# angle (degrees), with at most this reprojection error (pixels).
KNOWN_BY, KNOWN_ANGLE, KNOWN_ERROR = 3, 1.5, 2.0


def posed_ids(rec: Model) -> list[int]:
    """The ids of the images with poses; stale frames may list others that don't exist."""
    return sorted(i for i in rec.reg_image_ids() if i in rec.images)


def well_determined(rec: Model) -> dict[int, NDArray[np.int64]]:
    """Per image id: the well-determined points that it observes, by their position in ``rec.points3D``."""
    centres = {i: rec.images[i].projection_center() for i in posed_ids(rec)}
    # One entry per observation; the observations of a point follow each other.
    images: list[int] = []
    points: list[int] = []
    rays: list[NDArray[np.float64]] = []
    for index, point in enumerate(rec.points3D.values()):
        observers = {e.image_id for e in point.track.elements} & centres.keys()
        if len(observers) >= KNOWN_BY and point.error <= KNOWN_ERROR:
            images += observers
            points += [index] * len(observers)
            rays += [centres[i] - point.xyz for i in observers]
    if not points:
        return {}
    image, point_of, ray = np.array(images), np.array(points), np.array(rays)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    start = np.flatnonzero(np.diff(point_of, prepend=-1))  # where each point's observations begin
    segment = np.repeat(np.arange(len(start)), np.diff(np.append(start, len(point_of))))
    # The angle that a point's rays span: between the ray farthest from the first one, and the ray farthest
    # from that.
    reference = start[segment]
    for _ in range(2):
        distance = np.linalg.norm(ray - ray[reference], axis=1)
        farthest = np.lexsort((distance, segment))[np.append(start[1:], len(point_of)) - 1]
        reference = farthest[segment]
    angle = 2 * np.arcsin(np.clip(distance[farthest] / 2, 0, 1))
    known = angle[segment] >= np.radians(KNOWN_ANGLE)
    return {int(i): np.sort(point_of[known & (image == i)]) for i in np.unique(image)}

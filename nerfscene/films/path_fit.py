"""Whether a camera path leads through a scene where its photos were taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerfscene.types import Array, View

# How far from the photos a film still goes: a share of the cameras' median distance from their middle or,
# if that is more, of half the side of the subject's box, because people turn on the spot.
REACH, REACH_IN_BOX = 0.6, 0.3
LEAST_COSINE = 0.0  # of the angle between a film's camera and a photo that shows some of the same


def cameras_in_place(poses: Sequence[Array], views: Sequence[View], box: float) -> int:
    """How many of a path's cameras stand near a photo that looks roughly the same way.

    poses: (4, 4), OpenCV axes, in the views' world. box: half the side of the subject's box, world units.
    """
    photos = np.stack([view.world_from_cam for view in views])
    places, axes = photos[:, :3, 3], photos[:, :3, 2]
    spread = float(np.median(np.linalg.norm(places - np.median(places, axis=0), axis=1)))
    reach = max(REACH * spread, REACH_IN_BOX * box)
    n = 0
    for pose in poses:
        near = np.linalg.norm(places - pose[:3, 3], axis=1) <= reach
        n += bool((axes[near] @ pose[:3, 2] > LEAST_COSINE).any())
    return n


def turned_from_photos(poses: Sequence[Array], views: Sequence[View]) -> float:
    """By how many degrees the median of a path's cameras is turned from the photo held most alike.

    poses: (4, 4), OpenCV axes, in the views' world. Films are held level, as photos are, so this is small.
    """
    photos = np.stack([view.world_from_cam[:3, :3] for view in views]).reshape(-1, 9)
    cameras = np.stack([pose[:3, :3] for pose in poses]).reshape(-1, 9)
    trace = (cameras @ photos.T).max(axis=1)
    return float(np.median(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))))

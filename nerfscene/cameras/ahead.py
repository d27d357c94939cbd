"""Captures taken from one side: whether a capture is one, and how its space is laid out along the view.

Such captures (LLFF's, a shelf, a shop window, a view from a balcony) have no subject in the middle: what they
show begins somewhere in front of the cameras and may go on to the horizon. Laid out along the view, by
disparity and by the place in the picture, the field has as many cells for each pixel everywhere (NDC in
Mildenhall et al., NeRF, 2020, appendix C). ``march.h`` in ``cuda_ext/include`` defines the layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nerfscene.cameras.algebra import Placement, look_one_way, pose_in_scene
from nerfscene.types import Array, View

# Least cosine between a camera's optical axis and the mean of all.
WITHIN = np.cos(np.radians(35))
# The apex lies so far behind the cameras that its frustum holds all of theirs. It may be at most this
# fraction of the depth of what they see (the sparse points' median): beyond, they are too far apart for one
# picture.
FARTHEST_APEX = 0.6
WIDEST = 2.5  # largest slope of a ray against the mean view: beyond, a picture's rim gets most of the cells
MARGIN = 0.05  # of a photo's sides: lenses with distortion see a little farther
LEAST_SHARE = 0.25
NEARER = 0.8  # rays begin at the near plane's distance: those at a picture's corner at a smaller depth


@dataclass(frozen=True)
class Ahead:
    """A space laid out along the view: ``Space.view`` and ``Space.share`` for the kernels."""

    view: tuple[float, ...]
    share: float


def laid_ahead(views: Sequence[View], points: Array, placement: Placement) -> Ahead | None:
    """How the space of a capture taken from one side is laid out; None for any other capture.

    points (n, 3): the sparse points, world units. A capture was taken from one side if the cameras look the
    same way (WITHIN), stand close together against the depth of what they see (FARTHEST_APEX), and don't see
    too wide (WIDEST).
    """
    if not len(points) or any(v.intrinsics.lens == "fisheye" for v in views):
        return None
    poses = np.stack([pose_in_scene(placement.scene_from_world, v.world_from_cam) for v in views])
    if not look_one_way(poses[:, :3, 2]):
        return None
    turn = _mean_view(poses)
    if (poses[:, :3, 2] @ turn[2]).min() < WITHIN:
        return None
    middle = np.median(poses[:, :3, 3], axis=0)
    centres = (poses[:, :3, 3] - middle) @ turn.T
    rim = np.stack([turn @ pose[:3, :3] @ _corners(v) for v, pose in zip(views, poses, strict=True)])
    if rim[:, 2].min() <= 0:
        return None
    slopes = rim[:, :2] / rim[:, 2:]  # (n, 2, 4)
    low, high = slopes.min((0, 2)), slopes.max((0, 2))
    if max(high.max(), -low.min()) > WIDEST or low.max() >= 0 or high.min() <= 0:
        return None
    starts = centres[:, :2, None] - slopes * centres[:, 2:, None]  # where rays cross the plane of ``middle``
    back = max(0.0, float((starts.max((0, 2)) / high).max()), float((starts.min((0, 2)) / low).max()))
    m = placement.scene_from_world
    depth = float(np.median((points @ m[:3, :3].T + m[:3, 3] - middle) @ turn[2]))
    near = float(centres[:, 2].min()) + NEARER * placement.near
    if back > FARTHEST_APEX * depth or near <= 0:
        return None
    return _layout(turn, middle, back, near, low, high)


def _layout(turn: Array, middle: Array, back: float, near: float, low: Array, high: Array) -> Ahead:
    """The layout whose apex is ``back`` behind ``middle``, with c = 1 at depth ``near`` before it.

    low, high (2,): the slopes, against the view, of the apex's frustum.
    A cell is as deep as moves the picture by one cell between the cameras that are farthest apart: their
    disparity at the near plane takes back / (near + back) of the picture, of which ``share`` is made.
    """
    rows = np.concatenate([turn, -(turn @ middle)[:, None]], axis=1)
    rows[2, 3] += back
    across = (2 * rows[:2] - (low + high)[:, None] * rows[2]) / (high - low)[:, None]
    view = np.concatenate([across, rows[2:]]) / (near + back)
    share = float(np.clip(back / (near + back), LEAST_SHARE, 1.0))
    return Ahead(tuple(float(x) for x in view.ravel()), share)


def _mean_view(poses: Array) -> Array:
    """Rows right, down and ahead (3, 3) of the mean camera, from poses (n, 4, 4) in the scene."""
    ahead = poses[:, :3, 2].mean(0)
    ahead /= np.linalg.norm(ahead)
    right = poses[:, :3, 0].mean(0)
    right -= ahead * (right @ ahead)
    if np.linalg.norm(right) < 1e-3:  # a camera that was turned on its side, and others that weren't
        right = np.cross(ahead, np.eye(3)[np.argmin(np.abs(ahead))])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(ahead, right), ahead])


def _corners(view: View) -> Array:
    """Directions (3, 4) in the camera's axes, z = 1, through the corners of a slightly larger picture."""
    k = view.intrinsics
    x, y = MARGIN * k.width, MARGIN * k.height
    u = np.array([-x, k.width + x, -x, k.width + x])
    v = np.array([-y, -y, k.height + y, k.height + y])
    return np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones(4)])

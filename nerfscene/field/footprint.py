"""How many rays a pixel of a picture needs: about as many as pixels of the photos would fit into it.

The field resolves as much detail as the photos. If a picture's pixels cover more of the scene than theirs,
because it is smaller or taken from farther away, one ray per pixel would sample the detail too sparsely, and
the picture would shimmer in a film.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene, scaled, similarity_scale
from nerfscene.field.rendering import Renderer, rays_through, render
from nerfscene.types import Array, Camera, View

MOST = 4  # most rays along a pixel's side; more gain little
PROBE = 32  # pixels along the longer side of the small picture that distances are measured in
MARGIN = 1.2  # a photo counts as showing all points within a frame this many times as large as its own


@dataclass(frozen=True)
class Photos:
    """The photos' cameras.

    cam_from_world: (n, 4, 4); focal: (n,), pixels; half: (n, 2), half the width and height, pixels.
    """

    cam_from_world: Array
    focal: Array
    half: Array


def photos_of(views: Sequence[View]) -> Photos:
    """The cameras of the views that were trained on, at their size in training; of all views if none was."""
    used = [v for v in views if v.split == "train"] or list(views)
    return Photos(
        np.stack([np.linalg.inv(v.world_from_cam) for v in used]),
        np.array([(v.intrinsics.fx + v.intrinsics.fy) / 2 for v in used]),
        np.array([(v.intrinsics.width / 2, v.intrinsics.height / 2) for v in used]),
    )


def pixel_samples(photos: Photos, renderer: Renderer, camera: Camera, most: int = MOST) -> int:
    """Rays along a pixel's side (1 … ``most``) for the picture that ``camera`` takes.

    This is the ratio of a pixel's footprint to that of the photo that shows the same point in most detail,
    as the median over the picture. Raises NerfsceneError if the GPU fails.
    """
    k = camera.intrinsics
    shrink = PROBE / max(k.width, k.height)
    small = scaled(k, max(round(k.width * shrink), 1), max(round(k.height * shrink), 1))
    frame = render(renderer, Camera(small, camera.world_from_cam))
    hit = (frame.accumulation > 0.5) & (frame.depth > 0)
    if not hit.any():
        return 1
    in_scene = pose_in_scene(renderer.scene_from_world, camera.world_from_cam)
    origins, directions = rays_through(renderer, small, in_scene, hit)
    distance = frame.depth[hit].astype(np.float64)
    points = origins + directions * (distance * similarity_scale(renderer.scene_from_world))[:, None]
    world_from_scene = np.linalg.inv(renderer.scene_from_world)
    world = points @ world_from_scene[:3, :3].T + world_from_scene[:3, 3]
    seen = world @ photos.cam_from_world[:, :3, :3].transpose(0, 2, 1) + photos.cam_from_world[:, None, :3, 3]
    depth = seen[..., 2]  # (photos, points)
    off_centre = np.abs(seen[..., :2]) * photos.focal[:, None, None] / np.maximum(depth, 1e-9)[..., None]
    shows = (depth > 0) & (off_centre < MARGIN * photos.half[:, None, :]).all(-1)
    finest = np.where(shows, np.linalg.norm(seen, axis=-1) / photos.focal[:, None], np.inf).min(0)
    known = np.isfinite(finest)
    if not known.any():
        return 1
    # What a pixel of an orthographic picture covers doesn't grow with the distance.
    footprint = (np.ones_like(distance) if k.lens == "orthographic" else distance) / ((k.fx + k.fy) / 2)
    return int(np.clip(round(float(np.median(footprint[known] / finest[known]))), 1, most))

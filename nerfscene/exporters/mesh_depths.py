"""Depth pictures from the photos' cameras, from which a mesh's surface is fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from nerfscene.cameras.algebra import scaled
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import Renderer, render_heard
from nerfscene.types import Camera, Intrinsics, View

Floats = NDArray[np.float32]
RAYS = 6_000_000  # in all depth pictures together
MOST_VIEWS = 150  # more add little
WIDEST = np.tan(np.radians(55.0))  # of half a pinhole's picture; what a fisheye sees beyond is left out
EMPTY = 0.1  # accumulation below which a ray is taken to meet nothing
SOLID = 0.7  # and above which its depth counts
STEP = 0.06  # relative change of depth to the next pixel, across a surface seen face-on, that is an edge
LEAST_COSINE = 0.08
ROWS = 1 << 14  # of a product with a (3, 3) matrix, well under OpenBLAS's limit of 262144 multiplications
BESIDE_EDGE = 0.3  # what depths within two pixels of an edge are worth


@dataclass(frozen=True)
class DepthPicture:
    """What one camera sees, through a pinhole.

    camera: its pinhole and pose, world coordinates
    depth: (height, width), distance along the ray, world units; infinite where the ray meets nothing, NaN
        where that is unsure
    weight: (height, width), 0…1, how far the depth is to be trusted; 0 where it is not finite
    """

    camera: Camera
    depth: Floats
    weight: Floats


def chosen_views(views: Sequence[View]) -> list[View]:
    """The views that were trained on, or all if none was; at most MOST_VIEWS, evenly from the sequence."""
    used = [v for v in views if v.split == "train"] or list(views)
    if len(used) > MOST_VIEWS:
        used = [used[round(i)] for i in np.linspace(0, len(used) - 1, MOST_VIEWS)]
    return used


def pinhole(k: Intrinsics, pixels: float) -> Intrinsics:
    """A lens's view without distortion, with about this many pixels and square ones; fisheyes are cut."""
    half_x = min(k.width / 2 / k.fx, WIDEST)
    half_y = min(k.height / 2 / k.fy, WIDEST)
    focal = min(float(np.sqrt(pixels / (4 * half_x * half_y))), (k.fx + k.fy) / 2)
    width, height = max(round(2 * focal * half_x), 8), max(round(2 * focal * half_y), 8)
    inside = k.lens == "perspective" and max(k.width / 2 / k.fx, k.height / 2 / k.fy) <= WIDEST
    if inside:
        lens = scaled(k, width, height)
        return replace(lens, distortion=(0.0, 0.0, 0.0, 0.0, 0.0))
    return Intrinsics(width, height, focal, focal, width / 2, height / 2)


def depth_pictures(renderer: Renderer, views: Sequence[View], told: Told) -> list[DepthPicture]:
    """Depths from each view. Raises NerfsceneError as ``render`` does, and what ``told.progress`` raises."""
    pictures: list[DepthPicture] = []

    def heard(done: float) -> None:
        told.progress("looking at the scene", (len(pictures) + done) / len(views))

    for view in views:
        lens = pinhole(view.intrinsics, RAYS / max(len(views), 15))
        camera = Camera(lens, view.world_from_cam)
        frame = render_heard(renderer, camera, heard)
        depth = np.where(frame.accumulation >= SOLID, frame.depth, np.float32(np.nan))
        depth[frame.accumulation < EMPTY] = np.inf
        pictures.append(DepthPicture(camera, depth, trust(lens, depth)))
    return pictures


def times(points: Floats, matrix: NDArray[np.float32]) -> Floats:
    """points (..., 3) @ matrix (3, 3), in parts for which OpenBLAS starts no threads.

    Those would stand in our own threads' way: on a busy machine their waiting cost three times the work.
    """
    flat = points.reshape(-1, 3)
    out = np.empty_like(flat)
    for i in range(0, len(flat), ROWS):
        np.matmul(flat[i : i + ROWS], matrix, out=out[i : i + ROWS])
    return out.reshape(points.shape)


def ray_lengths(k: Intrinsics) -> Floats:
    """(height, width): length of the ray through each pixel of a pinhole whose z is 1."""
    x = (np.arange(k.width) + 0.5 - k.cx) / k.fx
    y = (np.arange(k.height) + 0.5 - k.cy) / k.fy
    lengths: Floats = np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2).astype(np.float32)
    return lengths


def points_of(picture: DepthPicture) -> Floats:
    """World points (height, width, 3) of a depth picture; not finite where its depth isn't."""
    k = picture.camera.intrinsics
    z = picture.depth / ray_lengths(k)
    x = ((np.arange(k.width) + 0.5 - k.cx) / k.fx).astype(np.float32)
    y = ((np.arange(k.height) + 0.5 - k.cy) / k.fy).astype(np.float32)
    with np.errstate(invalid="ignore"):
        cam = np.stack([x[None, :] * z, y[:, None] * z, z], -1).astype(np.float32)
        pose = picture.camera.world_from_cam.astype(np.float32)
        points: Floats = times(cam, pose[:3, :3].T) + pose[:3, 3]
    return points


def trust(k: Intrinsics, depth: Floats) -> Floats:
    """Weights (height, width) of a pinhole's depths: the cosine to the surface, 0 at edges."""
    plain = DepthPicture(Camera(k, np.eye(4)), depth, depth)
    p = points_of(plain)
    padded = np.pad(p, ((1, 1), (1, 1), (0, 0)), mode="edge")
    with np.errstate(invalid="ignore", divide="ignore"):
        dx = padded[1:-1, 2:] - padded[1:-1, :-2]
        dy = padded[2:, 1:-1] - padded[:-2, 1:-1]
        normal = np.cross(dx, dy)
        across = np.linalg.norm(normal, axis=-1) * np.linalg.norm(p, axis=-1)
        cosine = np.abs((normal * p).sum(-1)) / across
        length = ray_lengths(k)
        z = np.pad(depth / length, 1, mode="edge")
        middle = z[1:-1, 1:-1]
        # A plane's inverse depth is linear in the picture: what departs from that is an edge.
        bend = np.zeros_like(middle)
        for one, other in ((z[1:-1, 2:], z[1:-1, :-2]), (z[2:, 1:-1], z[:-2, 1:-1])):
            bend = np.maximum(bend, np.abs(middle * (1 / one + 1 / other) - 2))
        known = np.isfinite(cosine) & np.isfinite(bend) & (cosine > LEAST_COSINE) & (bend < STEP)
    weight: Floats = np.where(known, cosine, 0).astype(np.float32)
    # Beside an edge, depths lie between those of its two sides.
    beside = maximum_filter(~(bend < STEP), 5)
    return np.where(beside, np.float32(BESIDE_EDGE) * weight, weight)

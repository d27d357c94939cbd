"""Pictures of splats through the photos' own lenses, and how close they come to held-out photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.photos import read_mask, read_pixels
from nerfscene.exporters.splat_targets import over, pinhole_in_scene
from nerfscene.exporters.undistorted import WIDEST, plane_points
from nerfscene.loading import loading
from nerfscene.measuring.flip import flip_map
from nerfscene.ops.splatting import Gaussians, Rasteriser
from nerfscene.scene.scene import Scene
from nerfscene.types import Camera, Intrinsics, View

Floats = NDArray[np.float32]
BORDER = 2  # pixels around, for the cubic interpolation


def photographed(
    gaussians: Gaussians, scene: Scene, view: View, rasteriser: Rasteriser
) -> tuple[Floats, NDArray[np.bool_]]:
    """What a view's photo should show of splats in the field's coordinates: (h, w, 3) in 0…1, and where.

    Of a lens that sees more than a plain picture can hold, (h, w) is false beyond that.
    """
    lens, gains = view.intrinsics, np.exp(np.asarray(view.exposure, np.float32))
    if lens.lens == "perspective" and not any(lens.distortion):
        camera = pinhole_in_scene(Camera(lens, view.world_from_cam), scene.scene_from_world)
        rgb = rasteriser.draw(gaussians, camera, scene.background).rgb
        return np.clip(rgb * gains, 0, 1), np.ones(rgb.shape[:2], bool)
    columns, rows = np.meshgrid(np.arange(lens.width) + 0.5, np.arange(lens.height) + 0.5)
    plane = plane_points(lens, np.stack([columns.ravel(), rows.ravel()], 1))
    there = (np.abs(plane) < np.tan(np.radians(WIDEST))).all(1)
    wide = _around(lens, plane[there])
    camera = pinhole_in_scene(Camera(wide, view.world_from_cam), scene.scene_from_world)
    drawn = rasteriser.draw(gaussians, camera, scene.background).rgb
    at = np.where(there[:, None], plane, 0) * [wide.fx, wide.fy] + [wide.cx, wide.cy]
    rgb = _cubic(drawn, at.reshape(lens.height, lens.width, 2))
    return np.clip(rgb * gains, 0, 1), there.reshape(lens.height, lens.width)


def _around(lens: Intrinsics, plane: NDArray[np.float64]) -> Intrinsics:
    """A lens without distortion, at the scale of the middle of ``lens``, that sees these points (n, 2) of the
    plane z = 1."""
    low, high = plane.min(0), plane.max(0)
    left, top = (int(np.ceil(-a * f)) + BORDER for a, f in zip(low, (lens.fx, lens.fy), strict=True))
    right, bottom = (int(np.ceil(a * f)) + BORDER for a, f in zip(high, (lens.fx, lens.fy), strict=True))
    return Intrinsics(left + right, top + bottom, lens.fx, lens.fy, float(left), float(top))


def _cubic(picture: Floats, at: NDArray[np.float64]) -> Floats:
    """A picture's colours (h, w, 3) at places (h, w, 2) in its pixels."""
    with loading():
        import torch
        from torch.nn.functional import grid_sample

    size = np.array([picture.shape[1], picture.shape[0]])
    grid = torch.from_numpy((at / size * 2 - 1).astype(np.float32))
    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
    found = grid_sample(planes[None], grid[None], "bicubic", "border", align_corners=False)[0]
    return np.ascontiguousarray(found.numpy().transpose(1, 2, 0))


def held_out(
    gaussians: Gaussians, scene: Scene, rasteriser: Rasteriser, most: int | None = None
) -> list[dict[str, float]]:
    """How close splats come to each held-out photo, where its mask keeps it: "psnr" (dB) and "flip".

    most: as many photos at most, evenly. Raises NerfsceneError if a photo is gone.
    """
    views: Sequence[View] = [v for v in scene.views if v.split == "test"]
    if most is not None and len(views) > most:
        views = [views[i] for i in np.linspace(0, len(views) - 1, most).round().astype(int)]
    out = []
    for view in views:
        k = view.intrinsics
        photo = over(read_pixels(view.path, k.width, k.height), scene.background) / np.float32(255)
        rgb, there = photographed(gaussians, scene, view, rasteriser)
        if view.mask is not None:
            masked = there & read_mask(view.mask, k.width, k.height, view.mask_turns)
            there = masked if masked.any() else there
        error = float(np.mean((rgb[there].astype(np.float64) - photo[there]) ** 2))
        shown = np.where(there[..., None], rgb, photo).astype(np.float32)
        looks = flip_map(photo.astype(np.float32), shown)[there]
        out.append({"psnr": -10 * float(np.log10(max(error, 1e-10))), "flip": float(looks.mean())})
    return out

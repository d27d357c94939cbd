"""A scene against its held-out photos: PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture import read_pixels
from nerfscene.metrics import psnr, ssim
from nerfscene.rendering import render
from nerfscene.scene import Scene
from nerfscene.types import Camera, Frame, View


def photo_over(view: View, background: tuple[float, float, float]) -> NDArray[np.float32]:
    """A view's photo at the view's size, 0…1 (height, width, 3); cut-outs laid on the background."""
    pixels = read_pixels(view.path, view.intrinsics.width, view.intrinsics.height)
    rgb = pixels[..., :3].astype(np.float32) / 255
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.float32) / 255
        rgb = rgb * alpha + (1 - alpha) * np.asarray(background, np.float32)
    return rgb


def compare(
    scene: Scene, backend: str = "auto", threads: int = 0
) -> Iterator[tuple[View, NDArray[np.float32], Frame]]:
    """Every held-out view with its photo and what the scene renders there."""
    renderer = scene.renderer(backend, threads)
    for view in scene.views:
        if view.split == "test":
            frame = render(renderer, Camera(view.intrinsics, view.world_from_cam))
            yield view, photo_over(view, scene.background), frame


def measure(
    scene: Scene,
    backend: str = "auto",
    threads: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Any]:
    """Mean PSNR and SSIM over the held-out views, and each view's: fields of ``scene.Figures``.

    Renders are clipped to 0…1 and not rounded. Raises NerfsceneError where a photo is gone.
    """
    total = sum(v.split == "test" for v in scene.views)
    per_view = []
    for view, photo, frame in compare(scene, backend, threads):
        rgb = np.clip(frame.rgb, 0, 1)
        per_view.append({"photo": view.path.name, "psnr": psnr(rgb, photo), "ssim": ssim(rgb, photo)})
        progress(len(per_view) / total)
    return {
        "psnr": float(np.mean([v["psnr"] for v in per_view])) if per_view else None,
        "ssim": float(np.mean([v["ssim"] for v in per_view])) if per_view else None,
        "views": len(per_view),
        "per_view": tuple(per_view),
    }

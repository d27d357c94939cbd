"""A scene against its held-out photos: PSNR and SSIM."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.folder import read_mask, read_pixels, short_names, worker_count
from nerfscene.field.alignment import aligned
from nerfscene.field.rendering import Renderer, render
from nerfscene.measure.metrics import exposure_matched, psnr, ssim
from nerfscene.scene.folder import Scene
from nerfscene.types import Camera, Frame, View

IN_FLIGHT = 8  # views rendered and not yet scored
Seen = Callable[[dict[str, Any], NDArray[np.float32], NDArray[np.float32]], None]


def unseen(figures: dict[str, Any], photo: NDArray[np.float32], render: NDArray[np.float32]) -> None:
    """The Seen that keeps nothing."""


def photo_over(view: View, background: tuple[float, float, float]) -> NDArray[np.float32]:
    """A view's photo at the view's size, 0…1 (height, width, 3); cut-outs laid on the background."""
    pixels = read_pixels(view.path, view.intrinsics.width, view.intrinsics.height)
    rgb = pixels[..., :3].astype(np.float32) / 255
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.float32) / 255
        rgb = rgb * alpha + (1 - alpha) * np.asarray(background, np.float32)
    return np.asarray(rgb, np.float32)


def used_pixels(view: View) -> NDArray[np.bool_] | None:
    """Which pixels (height, width) of a view's photo count; None: all of them."""
    if view.mask is None:
        return None
    return read_mask(view.mask, view.intrinsics.width, view.intrinsics.height)


def photographed(renderer: Renderer, view: View) -> Frame:
    """What a view's photo should show: the scene from there, with the photo's exposure."""
    frame = render(renderer, Camera(view.intrinsics, view.world_from_cam))
    if not any(view.exposure):
        return frame
    return replace(frame, rgb=frame.rgb * np.exp(np.asarray(view.exposure, np.float32)))


def compare(
    scene: Scene, backend: str = "auto", threads: int = 0
) -> Iterator[tuple[View, NDArray[np.float32], Frame]]:
    """Every held-out view with its photo and what the scene renders there."""
    renderer = scene.photo_renderer(backend, threads)
    for view in scene.views:
        if view.split == "test":
            yield view, photo_over(view, scene.background), photographed(renderer, view)


def measure(
    scene: Scene,
    backend: str = "auto",
    threads: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
    seen: Seen = unseen,
) -> dict[str, Any]:
    """Mean PSNR and SSIM over the held-out views, and each view's: fields of ``scene.Figures``.

    Renders are clipped to 0…1 and not rounded. A held-out photo has no say in the exposure or the camera
    that it is rendered with; ``psnr_matched`` is after metrics.exposure_matched and, where training moved
    its photos' cameras, after ``alignment.aligned``. Raises NerfsceneError where a photo is gone. ``seen``
    is called with every view's figures, photo and render, from several threads.
    """
    held_out = [v for v in scene.views if v.split == "test"]
    paths = [v.path for v in scene.views]
    names = dict(zip(paths, short_names(paths), strict=True))
    renderer = scene.photo_renderer(backend, threads)

    def score(
        view: View,
        photo: NDArray[np.float32],
        used: NDArray[np.bool_] | None,
        rgb: NDArray[np.float32],
        best: NDArray[np.float32],
    ) -> dict[str, Any]:
        if used is None or not used.any():
            used = np.ones(photo.shape[:2], bool)
        # What is masked counts as right, and then is not counted.
        rgb, matched = (np.where(used[..., None], x, photo) for x in (rgb, exposure_matched(best, photo)))
        more = 10 * float(np.log10(used.mean()))
        figures = {
            "psnr": psnr(rgb, photo) + more,
            "ssim": ssim(rgb, photo),
            "psnr_matched": psnr(matched, photo) + more,
        }
        told = {"photo": names[view.path], **figures}
        seen(told, photo, rgb)
        return told

    per_view: list[dict[str, Any]] = []
    # Rendering uses every thread there is, but not all of the time; scoring fills the gaps. A few views
    # are on their way at once, not all: they are large.
    with ThreadPoolExecutor(worker_count()) as pool:
        waiting: deque[Future[dict[str, Any]]] = deque()
        for i, view in enumerate(held_out):
            photo, used = photo_over(view, scene.background), used_pixels(view)
            rgb = best = np.clip(photographed(renderer, view).rgb, 0, 1)
            if scene.figures.cameras_moved:
                fitted = aligned(renderer, view, photo, used)
                best = np.clip(photographed(renderer, fitted).rgb, 0, 1)
            waiting.append(pool.submit(score, view, photo, used, rgb, best))
            while waiting and (len(waiting) > IN_FLIGHT or i == len(held_out) - 1):
                per_view.append(waiting.popleft().result())
                progress(len(per_view) / len(held_out))
    means = {
        name: float(np.mean([v[name] for v in per_view])) if per_view else None
        for name in ("psnr", "ssim", "psnr_matched")
    }
    return {
        **means,
        "views": len(per_view),
        "per_view": tuple(per_view),
    }

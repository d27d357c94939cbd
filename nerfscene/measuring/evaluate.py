"""Measures a scene against its held-out photos: PSNR, SSIM and FLIP."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.folder import read_mask, read_pixels, short_names, worker_count
from nerfscene.capture.same_photo import size_now
from nerfscene.field.alignment import aligned
from nerfscene.field.rendering import Renderer, render
from nerfscene.given import instance_given
from nerfscene.measuring.flip import flip_map
from nerfscene.measuring.metrics import exposure_matched, psnr, ssim
from nerfscene.scene.folder import Scene
from nerfscene.scene.scene import WORTH_MENTIONING
from nerfscene.types import Camera, Frame, View

MEASURED = ("psnr", "ssim", "flip", "psnr_matched", "flip_matched")
IN_FLIGHT = 8  # views rendered and not yet scored: each holds several full pictures
DIMMED = 0.5  # what a mask covers is shown with this share of its brightness
HATCHING = 40  # lines across a picture's width, over what a mask covers
# Called with a held-out view's figures (photo, and those that MEASURED names), its photo and the render from
# there, both (height, width, 3) in 0…1.
Seen = Callable[[dict[str, Any], NDArray[np.float32], NDArray[np.float32]], None]
# The same, with pictures to look at, and how far they differ where that is measured, (height, width) in 0…1.
Shown = Callable[[dict[str, Any], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], None]


def unseen(figures: dict[str, Any], photo: NDArray[np.float32], render: NDArray[np.float32]) -> None:
    """A ``Seen`` that does nothing."""


def unshown(
    figures: dict[str, Any],
    photo: NDArray[np.float32],
    render: NDArray[np.float32],
    error: NDArray[np.float32],
) -> None:
    """A ``Shown`` that does nothing."""


def photo_over(view: View, background: tuple[float, float, float]) -> NDArray[np.float32]:
    """A view's photo at the view's size, (height, width, 3) in 0…1; a cut-out is put on the background.

    Raises NerfsceneError if the photo is gone, can't be read, or isn't the one that was trained on.
    """
    size_now(view)
    pixels = read_pixels(view.path, view.intrinsics.width, view.intrinsics.height)
    rgb = pixels[..., :3].astype(np.float32) / 255
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.float32) / 255
        rgb = rgb * alpha + (1 - alpha) * np.asarray(background, np.float32)
    return np.asarray(rgb, np.float32)


def used_pixels(view: View) -> NDArray[np.bool_] | None:
    """The mask (height, width) of the pixels of a view's photo that count; None: all of them."""
    if view.mask is None:
        return None
    return read_mask(view.mask, view.intrinsics.width, view.intrinsics.height, view.mask_turns)


def veiled(pixels: NDArray[np.float32], used: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The picture (height, width, 3) in 0…1, dimmed and hatched where ``used`` (height, width) is false."""
    height, width = used.shape
    period = max(width / HATCHING, 4.0)
    lines = (np.arange(height)[:, None] + np.arange(width)) % period < period / 4
    veil = DIMMED * pixels + np.where(lines, 0.2, 0.0).astype(np.float32)[..., None]
    return np.where(used[..., None], pixels, veil)


def photographed(renderer: Renderer, view: View) -> Frame:
    """The scene rendered from a view's camera with its photo's exposure: what the photo should show."""
    frame = render(renderer, Camera(view.intrinsics, view.world_from_cam))
    if not any(view.exposure):
        return frame
    return replace(frame, rgb=frame.rgb * np.exp(np.asarray(view.exposure, np.float32)))


def compare(
    scene: Scene, backend: str = "auto", threads: int = 0
) -> Iterator[tuple[View, NDArray[np.float32], Frame]]:
    """Yields each held-out view with its photo (height, width, 3) in 0…1 and the frame rendered there.

    Raises NerfsceneError when a photo is gone.
    """
    renderer = scene.photo_renderer(backend, threads)
    for view in scene.views:
        if view.split == "test":
            yield view, photo_over(view, scene.background), photographed(renderer, view)


@dataclass(frozen=True)
class _Rendered:
    """A held-out view's photo and renders, ready to be compared; pictures are (height, width, 3) in 0…1."""

    photo: NDArray[np.float32]
    used: NDArray[np.bool_] | None  # (height, width), the pixels that count; None: all
    rgb: NDArray[np.float32]
    aligned_rgb: NDArray[np.float32]  # from the camera moved to where the photo fits best


def _rendered(scene: Scene, renderer: Renderer, view: View) -> _Rendered:
    photo, used = photo_over(view, scene.background), used_pixels(view)
    rgb = aligned_rgb = np.clip(photographed(renderer, view).rgb, 0, 1)
    if scene.figures.cameras_moved:
        moved = aligned(renderer, view, photo, used)
        aligned_rgb = np.clip(photographed(renderer, moved).rgb, 0, 1)
    return _Rendered(photo, used, rgb, aligned_rgb)


def _score(name: str, rendered: _Rendered, seen: Seen, shown: Shown) -> dict[str, Any]:
    photo, used = rendered.photo, rendered.used
    if used is None or not used.any():
        used = np.ones(photo.shape[:2], bool)
    matched = exposure_matched(rendered.aligned_rgb, photo, used)
    # Masked pixels are made equal to the photo's, and the mean error is then scaled to the other pixels.
    rgb, matched = (np.where(used[..., None], x, photo) for x in (rendered.rgb, matched))
    correction = 10 * float(np.log10(used.mean()))
    figures: dict[str, Any] = {
        "photo": name,
        "psnr": psnr(rgb, photo) + correction,
        "ssim": ssim(rgb, photo),
        "flip": float(flip_map(photo, rgb)[used].mean()),
        "psnr_matched": psnr(matched, photo) + correction,
    }
    # Where matching changes nothing that can be seen, its FLIP would be the same.
    worth = figures["psnr_matched"] > figures["psnr"] + WORTH_MENTIONING
    figures["flip_matched"] = float(flip_map(photo, matched)[used].mean()) if worth else figures["flip"]
    seen(figures, photo, rgb)
    shown(figures, veiled(photo, used), veiled(rendered.rgb, used), np.abs(photo - rgb).mean(-1))
    return figures


def measure(
    scene: Scene,
    backend: str = "auto",
    threads: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
    seen: Seen = unseen,
    shown: Shown = unshown,
) -> dict[str, Any]:
    """Compares the scene with its held-out photos.

    Returns a dictionary: psnr (dB), ssim, flip, psnr_matched and flip_matched are means over the held-out
    views, None if there are none; views is their number; per_view holds the same figures for each photo.
    Renders are clipped to 0…1 and not rounded. A held-out photo has no influence on the exposure and the
    camera that it is rendered with; the matched figures tell how much that costs: they are measured after
    metrics.exposure_matched and, if training moved its photos' cameras, after alignment.aligned.

    scene: a trained scene. backend: one of ``ops.backend.BACKENDS``. threads: CPU threads to use, 0 for all.
    progress: called with the fraction done.
    seen: called with every view's figures, photo and render, from several threads. These are the pictures
    that are measured: where a mask covers the photo, the render has the photo's colours.
    shown: called likewise with pictures to look at: the render is the scene's everywhere, and what a mask
    covers is dimmed and hatched in both. Its fourth argument is their mean difference (height, width) where
    it is measured, and 0 elsewhere.
    Raises NerfsceneError when a photo is gone.
    """
    instance_given(scene, Scene, "scene", ", as nerfscene.load returns")
    held_out = [v for v in scene.views if v.split == "test"]
    paths = [v.path for v in scene.views]
    names = dict(zip(paths, short_names(paths), strict=True))
    renderer = scene.photo_renderer(backend, threads)
    per_view: list[dict[str, Any]] = []
    # Rendering uses every thread, but not all of the time; scoring in the background fills the gaps.
    with ThreadPoolExecutor(worker_count()) as pool:
        waiting: deque[Future[dict[str, Any]]] = deque()
        for i, view in enumerate(held_out):
            waiting.append(
                pool.submit(_score, names[view.path], _rendered(scene, renderer, view), seen, shown)
            )
            while waiting and (len(waiting) > IN_FLIGHT or i == len(held_out) - 1):
                per_view.append(waiting.popleft().result())
                progress(len(per_view) / len(held_out))
    means = {name: float(np.mean([v[name] for v in per_view])) if per_view else None for name in MEASURED}
    return {**means, "views": len(per_view), "per_view": tuple(per_view)}

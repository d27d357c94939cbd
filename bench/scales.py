"""Pictures smaller than the photos: one ray per pixel, compared with as many as its area has photo pixels.

Held-out photos are averaged down to 1/2, 1/4 and 1/8 of the training size and compared with renders of that
size.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import captures
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.field.footprint import photos_of, pixel_samples
from nerfscene.field.rendering import render
from nerfscene.measuring.evaluate import photo_over
from nerfscene.measuring.metrics import psnr
from nerfscene.training.loop import train_posed
from nerfscene.types import Camera, PosedCapture

STEPS = 4000
VIEWS = 8


def averaged(picture: Any, n: int) -> Any:
    """Means over squares of n×n pixels; leftover pixels at the edges are cut off."""
    height, width = picture.shape[0] // n, picture.shape[1] // n
    parts = picture[: height * n, : width * n].reshape(height, n, width, n, -1)
    return parts.mean((1, 3)).astype(np.float32)


def measure(posed: PosedCapture, downscale: float, steps: int) -> None:
    """Trains on a capture and prints a row for each size."""
    with tempfile.TemporaryDirectory() as folder:
        scene = train_posed(posed, Path(folder), TrainConfig(steps=steps, downscale=downscale), FieldConfig())
    renderer, photos = scene.photo_renderer(), photos_of(scene.views)
    views = [v for v in scene.views if v.split == "test"][:VIEWS]
    for n in (1, 2, 4, 8):
        found: dict[str, list[tuple[float, float]]] = {"one": [], "asked": []}
        rays = []
        for view in views:
            photo = averaged(photo_over(view, scene.background), n)
            k = view.intrinsics
            lens = replace(
                k, fx=k.fx / n, fy=k.fy / n, cx=k.cx / n, cy=k.cy / n,
                width=photo.shape[1], height=photo.shape[0],
            )  # fmt: skip
            camera = Camera(lens, view.world_from_cam)
            wanted = pixel_samples(photos, renderer, camera)
            rays.append(wanted)
            for name, samples in (("one", 1), ("asked", wanted)):
                began = time.perf_counter()
                picture = render(renderer, camera, samples).rgb
                seconds = time.perf_counter() - began
                found[name].append((psnr(np.clip(picture, 0, 1), photo), seconds))
        one, asked = (np.mean(found[name], 0) for name in ("one", "asked"))
        size = f"{photo.shape[1]}×{photo.shape[0]}"
        print(
            f"| {size} | {one[0]:.2f} | {one[1]:.3f} | {np.mean(rays):.1f}² | **{asked[0]:.2f}** | "
            f"{asked[1]:.3f} |",
            flush=True,
        )


def table(steps: int = STEPS) -> None:
    """Prints a table for each capture that is here."""
    for name, posed, downscale in (
        ("fox", captures.fox(), 4),
        ("demo", captures.demo(), 1),
        ("chair", captures.chair(20), 2),
    ):
        if posed is None:
            print(f"\n{name}: not here")
            continue
        print(f"\n| {name}, {steps} steps | one ray: PSNR | s | rays | PSNR | s |\n|---|---|---|---|---|---|")
        measure(posed, downscale, steps)

"""What leaving out what moved is worth: the demo with somebody pasted into many of its photos.

    python -m bench.moving [STEPS]

A textured figure, made by code, stands at another place in two of three photos that are trained on. Those
held out are clean. Trained on the clean photos, on those with the figure, and on these with nothing left out.
Prints PSNR and SSIM of the photos held out, and what shares of the figure and of all else were left out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench import captures
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.posing.triangulation import with_points
from nerfscene.scene.folder import Scene
from nerfscene.training import loop
from nerfscene.types import PosedCapture

STEPS, HOLDOUT = 4000, 8
Covered = dict[str, NDArray[np.bool_]]  # by a photo's name, the pixels (height, width) that the figure covers


def figure(height: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A head and a coat, (height, width, 3), and the pixels (height, width) that they cover."""
    width = int(0.42 * height)
    y, x = np.mgrid[:height, :width] / height
    middle = 0.21
    head = ((x - middle) / 0.075) ** 2 + ((y - 0.1) / 0.095) ** 2 < 1
    coat = ((x - middle) / (0.1 + 0.11 * y)) ** 2 + ((y - 0.6) / 0.42) ** 2 < 1
    colour = np.where(head[..., None], [205, 150, 120], rng.integers(20, 235, 3))
    stripes = 35 * np.sign(np.sin(60 * (y + 0.4 * x)))[..., None] * coat[..., None]
    pixels = np.clip(colour + stripes + rng.normal(0, 10, (height, width, 1)), 0, 255)
    return pixels.astype(np.uint8), head | coat


def walked_through(posed: PosedCapture, folder: Path) -> tuple[PosedCapture, Covered]:
    """The capture with the figure in two of three training photos, whose copies go to ``folder``."""
    rng = np.random.default_rng(5)
    views, covered = [], {}
    for i, view in enumerate(posed.views):
        if i % HOLDOUT == 0 or i % 3 == 0:
            views.append(view)
            continue
        with Image.open(view.path) as photo:
            pixels = np.asarray(photo.convert("RGB")).copy()
        height, width = pixels.shape[:2]
        shape, inside = figure(int(height * rng.uniform(0.35, 0.55)), rng)
        top = int(rng.uniform(0.1, 0.95) * (height - len(shape)))
        left = int(rng.uniform(0, 1) * (width - shape.shape[1]))
        part = np.s_[top : top + shape.shape[0], left : left + shape.shape[1]]
        pixels[part][inside] = shape[inside]
        covered[view.path.name] = np.zeros((height, width), bool)
        covered[view.path.name][part] = inside
        path = folder / view.path.with_suffix(".png").name
        Image.fromarray(pixels).save(path)
        views.append(replace(view, path=path))
    return replace(posed, views=tuple(views)), covered


@contextmanager
def nothing_left_out() -> Iterator[None]:
    """Training leaves out nothing inside this context."""
    before = loop.adds_errors
    loop.adds_errors = lambda done: False
    try:
        yield
    finally:
        loop.adds_errors = before


def found(scene: Scene, covered: Covered) -> tuple[float, float]:
    """The shares of the figure's pixels, and of all other pixels trained on, that lie in boxes left out."""
    by_name: dict[str, Any] = {Path(part["photo"]).stem: part["boxes"] for part in scene.figures.moved}
    hit = figures = missed = others = 0
    for view in scene.views:
        if view.split != "train":
            continue
        k = view.intrinsics
        out = np.zeros((k.height, k.width), bool)
        for left, top, right, bottom in by_name.get(view.path.stem, []):
            out[
                round(top * k.height) : round(bottom * k.height),
                round(left * k.width) : round(right * k.width),
            ] = 1
        there = covered.get(view.path.with_suffix(".jpg").name, np.zeros_like(out))
        hit, figures = hit + int((out & there).sum()), figures + int(there.sum())
        missed, others = missed + int((out & ~there).sum()), others + int((~there).sum())
    return hit / max(figures, 1), missed / max(others, 1)


def table(steps: int = STEPS) -> None:
    """Trains three times and prints each result at once."""
    print("| photos | PSNR | SSIM | of the figure left out | of the rest |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as kept:
        clean = captures.demo()
        assert clean is not None, "the demo is in every clone"
        clean = with_points(clean, Path(kept))
        walked, covered = walked_through(clean, Path(kept))
        for name, posed, off in (
            ("clean", clean, False),
            ("somebody walks through", walked, False),
            ("the same, nothing left out", walked, True),
        ):
            with tempfile.TemporaryDirectory() as folder:
                config = TrainConfig(steps=steps, quality="1min", holdout=HOLDOUT)
                if off:
                    with nothing_left_out():
                        scene = loop.train_posed(posed, Path(folder), config, FieldConfig())
                else:
                    scene = loop.train_posed(posed, Path(folder), config, FieldConfig())
            f, (hit, missed) = scene.figures, found(scene, covered)
            print(
                f"| {name} | {f.psnr:.2f} | {f.ssim:.3f} | {100 * hit:.0f} % | {100 * missed:.1f} % |",
                flush=True,
            )


if __name__ == "__main__":
    table(*map(int, sys.argv[1:]))

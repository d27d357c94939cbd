"""How fast Gaussians are drawn and fitted, beside marched pictures of the same scene.

    python -m bench.splats SCENE [--count 200000] [--size 640 480] [--degree 1] [--threads 2]

Makes the scene's splats as its exports do, and draws one of its views both ways. For each it prints the
seconds of all cores together, the least of several, and how alike the two pictures are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from nerfscene.exporters.splat_making import made_splats
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import render
from nerfscene.measuring.metrics import psnr
from nerfscene.ops.splatting import Gaussians, Pinhole, Rasteriser, Rates, improve, no_moments, photo_loss
from nerfscene.scene import folder as scenes
from nerfscene.splatting.gaussians import Splats, in_space, picked
from nerfscene.types import Camera, Intrinsics

TIMES = 7


def as_fitted(splats: Splats) -> Gaussians:
    """The numbers that are fitted, of splats as they are shown."""
    opacity = splats.opacities.clip(1e-4, 1 - 1e-4)
    return Gaussians(
        np.ascontiguousarray(splats.positions, np.float32),
        np.log(splats.scales.clip(1e-9)).astype(np.float32),
        np.ascontiguousarray(splats.quaternions, np.float32),
        np.log(opacity / (1 - opacity)).astype(np.float32),
        np.ascontiguousarray(splats.sh, np.float32),
    )


def least(work: Callable[[], object], times: int = TIMES) -> float:
    """Seconds of the process's CPU time, the least of several."""
    found = []
    for _ in range(times):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--degree", type=int, default=1)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480))
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    scene = scenes.load(asked.scene)
    renderer = replace(scene.renderer("cpu"), threads=asked.threads)
    made = made_splats(scene, renderer, asked.count, asked.degree, Told())
    gaussians = as_fitted(picked(made, in_space(made.positions)))
    width, height = asked.size
    view = scene.views[len(scene.views) // 2]
    focal = view.intrinsics.fx * width / view.intrinsics.width
    lens = Intrinsics(width, height, focal, focal, width / 2, height / 2)
    camera = Camera(lens, view.world_from_cam)
    pose = np.linalg.inv(view.world_from_cam)[:3]
    k = Pinhole(pose, focal, focal, width / 2, height / 2, width, height)
    rasteriser = Rasteriser("cpu", asked.threads)
    marched = render(renderer, camera)
    drawn = rasteriser.draw(gaussians, k, (1.0, 1.0, 1.0))
    loss = photo_loss(
        drawn.rgb, np.ascontiguousarray(marched.rgb, np.float32), name="cpu", threads=asked.threads
    )
    gradients = rasteriser.backward(loss.d_rgb)
    moments = no_moments(gaussians)
    seen = int((gradients.pixels > 0).sum())
    alike = psnr(drawn.rgb.clip(0, 1), marched.rgb)
    print(
        f"{len(gaussians)} Gaussians, {seen} of them in the picture of {width}x{height}; PSNR {alike:.1f} dB"
    )
    march = least(lambda: render(renderer, camera), 3)
    rows = {
        "marched": march,
        "drawn": least(lambda: rasteriser.colours(gaussians, k, (1.0, 1.0, 1.0))),
        "drawn, to go back": least(lambda: rasteriser.draw(gaussians, k, (1.0, 1.0, 1.0))),
        "loss": least(lambda: photo_loss(drawn.rgb, marched.rgb, name="cpu", threads=asked.threads)),
        "backward": least(lambda: rasteriser.backward(loss.d_rgb)),
        "Adam": least(
            lambda: improve(gaussians, gradients, moments, Rates(0.0), name="cpu", threads=asked.threads)
        ),
    }
    print("| | CPU s | of marched |\n|---|---|---|")
    for what, seconds in rows.items():
        print(f"| {what} | {seconds:.4f} | 1/{march / seconds:.1f} |")


if __name__ == "__main__":
    main()

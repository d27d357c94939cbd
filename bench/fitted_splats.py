"""Fitted splats beside their field: ``python -m bench.fitted_splats SCENE [SECONDS [COUNT]]``.

Prints the held-out PSNR of the scene's field, of splats made of its surfaces, and of the same after a fit
(60 seconds where none are given); how many there are, the sizes of their files, and how long a picture takes:
drawn as splats and marched through the field, in turn, the least of several. The scene's folder stays as it
is.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nerfscene.config import ExportConfig
from nerfscene.exporters.splat_fitting import Budget, with_fitted_splats
from nerfscene.exporters.splat_targets import pinhole_in_scene
from nerfscene.exporters.splats import write_splats
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import render
from nerfscene.measuring.evaluate import measure
from nerfscene.ops.splatting import Rasteriser
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.splatting.fitting import gaussians_of
from nerfscene.splatting.gaussians import in_space, picked
from nerfscene.types import Camera, Intrinsics

TRIES = 5
LENS = Intrinsics(640, 480, 577.0, 577.0, 320.0, 240.0)


def least(work: Callable[[], object]) -> float:
    """Milliseconds of the quickest of TRIES calls."""
    best = float("inf")
    for _ in range(TRIES):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return 1e3 * best


def pictures(scene: Scene) -> tuple[float, float]:
    """Milliseconds of a picture of 640×480: of the splats, and marched."""
    assert scene.splats is not None
    splats = picked(scene.splats, in_space(scene.splats.positions))
    gaussians, rasteriser, renderer = gaussians_of(splats), Rasteriser(), scene.renderer()
    drawn = marched = 0.0
    views = scene.views[:: max(len(scene.views) // 4, 1)]
    for view in views:
        camera = Camera(LENS, view.world_from_cam)
        pinhole = pinhole_in_scene(camera, scene.scene_from_world)
        drawn += least(lambda p=pinhole: rasteriser.colours(gaussians, p, scene.background))  # type: ignore[misc]
        marched += least(lambda c=camera: render(renderer, c))  # type: ignore[misc]
    return drawn / len(views), marched / len(views)


def main() -> None:
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    scene = replace(scenes.load(Path(sys.argv[1])), splats=None)
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    count = int(sys.argv[3]) if len(sys.argv) > 3 else None
    field = measure(scene)
    began = time.perf_counter()
    made = with_fitted_splats(scene, Budget(seconds), Told(), count)
    whole = time.perf_counter() - began
    figures = made.figures.splats
    assert figures is not None
    print(f"field {field['psnr']:.2f} dB; splats {figures['psnr_before']:.2f} dB before the fit,", end=" ")
    print(f"{figures['psnr']:.2f} dB after {figures['seconds']:.0f} s ({whole:.0f} s in all)")
    with tempfile.TemporaryDirectory() as folder:
        for ending in (".sog", ".spz", ".ply"):
            written = write_splats(made, Path(folder) / f"a{ending}", ExportConfig(), Told())
            print(f"{ending} {written['bytes'] / 1e6:.1f} MB, {written['splats']:,} splats")
    drawn, marched = pictures(made)
    print(f"640×480: {drawn:.0f} ms drawn, {marched:.0f} ms marched ({marched / drawn:.1f} times)")


if __name__ == "__main__":
    main()

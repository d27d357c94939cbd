"""Splats from a capture within a time: ``python -m bench.splats_in_time chair|fox DOWNSCALE FIELD FIT``.

Trains a field for FIELD seconds, fits splats to it for FIT seconds, and prints the PSNR of both in the
held-out photos (chair's: every eighth test view, on white), and the seconds that all of it took: training,
and the fit with the making of the splats that it begins with. Finding cameras, reading photos and measuring
the field don't count, as in all the benchmarks.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from bench import captures
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.exporters.splat_fitting import Budget, with_fitted_splats
from nerfscene.exporters.told import Told
from nerfscene.training.loop import train_posed

CAPTURES = {"chair": captures.short_chair, "fox": captures.fox}


def main() -> None:
    if len(sys.argv) != 5 or sys.argv[1] not in CAPTURES:
        sys.exit(__doc__)
    name = sys.argv[1]
    downscale, field, fit = map(float, sys.argv[2:])
    posed = CAPTURES[name]()
    if posed is None:
        sys.exit(f"{name} is not in NERFSCENE_DATA")
    with tempfile.TemporaryDirectory() as folder:
        scene = train_posed(posed, Path(folder), TrainConfig(time=field, downscale=downscale), FieldConfig())
        began = time.perf_counter()
        made = with_fitted_splats(scene, Budget(fit), Told())
        fitted = time.perf_counter() - began
    k, figures = scene.views[0].intrinsics, made.figures.splats
    assert figures is not None
    print(f"{name} {k.width}×{k.height}, {scene.figures.steps} steps: field {scene.figures.psnr:.2f} dB")
    print(f"{figures['count']:,} splats {figures['psnr_before']:.2f} dB as made,", end=" ")
    print(f"{figures['psnr']:.2f} dB fitted")
    print(f"{scene.figures.train_seconds + fitted:.0f} s: {scene.figures.train_seconds:.0f} and {fitted:.0f}")


if __name__ == "__main__":
    main()

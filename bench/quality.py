"""Quality over time: PSNR of held-out views after a given number of seconds of training.

Each row is a training run of its own with the default settings, because the learning rate falls over the
whole time. The time does not include reading photos, carving empty space and finding points for fox's
cameras.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import captures
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.field.rendering import render
from nerfscene.posing.triangulation import with_points
from nerfscene.training.loop import train_posed
from nerfscene.types import Camera, PosedCapture


@dataclass(frozen=True)
class Row:
    """A training run: capture, downscale, seconds, and the PSNR required (floor) and aimed for (aim)."""

    name: str
    downscale: float
    seconds: float
    floor: float
    aim: float


ROWS = (
    Row("chair", 1, 30, 29.5, 31.0),
    Row("chair", 1, 120, 31.3, 33.0),
    Row("chair", 1, 300, 32.0, 34.5),
    Row("chair", 2, 10, 30.0, 32.0),
    Row("chair", 2, 60, 33.2, 34.5),
    Row("fox", 4, 30, 27.0, 28.5),
    Row("fox", 4, 60, 28.4, 30.0),
    Row("fox", 4, 300, 30.2, 31.5),
)


def measure_row(row: Row, posed: PosedCapture, backend: str = "auto") -> dict[str, float | str]:
    """Trains once; measures PSNR, SSIM, FLIP, rendering time (the median of 20 test views) and rates."""
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(time=row.seconds, downscale=row.downscale, backend=backend)  # type: ignore[arg-type]
        scene = train_posed(posed, Path(folder), config, FieldConfig())
        renderer = scene.renderer(backend)
        times = []
        for view in [v for v in scene.views if v.split == "test"][:20]:
            began = time.perf_counter()
            render(renderer, Camera(view.intrinsics, view.world_from_cam))
            times.append(time.perf_counter() - began)
    k = scene.views[0].intrinsics
    f = scene.figures
    return {
        "capture": f"{row.name} {k.width}×{k.height}",
        "seconds": f.train_seconds,
        "psnr": f.psnr or float("nan"),
        "ssim": f.ssim or float("nan"),
        "flip": float("nan") if f.flip is None else f.flip,
        "views": f.views,
        "floor": row.floor,
        "aim": row.aim,
        "render_seconds": float(np.median(times)),
        "m_samples_per_s": f.samples / f.train_seconds / 1e6,
        "steps": f.steps,
    }


def table(rows: tuple[Row, ...] = ROWS, every: int = 1) -> list[dict[str, float | str]]:
    """Trains all rows whose capture is here and prints each result at once."""
    out = []
    with tempfile.TemporaryDirectory() as kept:
        fox = captures.fox()
        fox = fox and with_points(fox, Path(kept))  # as nerfscene train does; moves none here
    print(
        "| capture | seconds | PSNR | required / goal | SSIM | FLIP | test views | render s | M samples/s "
        "| steps |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        posed = captures.chair(every) if row.name == "chair" else fox
        if posed is None:
            print(f"| {row.name} | — | capture not here | | | | | | | |")
            continue
        r = measure_row(row, posed)
        print(
            f"| {r['capture']} | {r['seconds']:.0f} | **{r['psnr']:.2f}** | {r['floor']} / {r['aim']} | "
            f"{r['ssim']:.4f} | {r['flip']:.4f} | {r['views']} | {r['render_seconds']:.3f} | "
            f"{r['m_samples_per_s']:.2f} | {r['steps']} |",
            flush=True,
        )
        out.append(r)
    return out

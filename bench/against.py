"""Ours on a folder that bench.shared_capture wrote, with the clock and the views of bench/nerfacto.py.

    python -m bench.against FOLDER --at 30 60 300
    python -m bench.against FOLDER --at 300 --backend torch
    python -m bench.against FOLDER --at 60 --stay        # cameras stay where they are
    python -m bench.against FOLDER --at 60 --as-given    # and no points are found before training

Before training, and outside its clock, sparse points are found and cameras that are off moved to fit them, as
``nerfscene train`` does; how long that took is said.
Every time is a training of its own, whose rates fall over that budget. PSNR is over all pixels of held-out
photos; "matched" after each one's gains and camera were fitted to the finished scene. Whichever backend has
trained a scene, it is measured through our kernels: the others agree with them, and take minutes a picture.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.formats.readers import find_posed
from nerfscene.measure.evaluate import measure
from nerfscene.posing.triangulation import with_points
from nerfscene.scene.folder import Scene
from nerfscene.training import loop as training


def measure_quickly(scene: Scene, _backend: str, *more: Any) -> dict[str, Any]:
    """evaluate.measure, through our kernels."""
    return measure(scene, "auto", *more)


def main() -> None:
    """Prints a row for every time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at", type=float, nargs="+", default=[30, 60, 300], help="seconds of training")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--stay", action="store_true", help="don't refine cameras")
    parser.add_argument("--as-given", action="store_true", help="find no points before training")
    parser.add_argument("--keep", type=Path, help="leave the scenes here")
    parser.add_argument("--json", type=Path, help="append a line for each row here")
    asked = parser.parse_args()
    training.measure = measure_quickly
    posed = find_posed(asked.folder)
    if posed is None:
        raise SystemExit(f"{asked.folder} holds no transforms.json: write it with bench.shared_capture")
    print(f"{asked.folder}, {asked.backend}{', cameras stay' if asked.stay else ''}")
    if not asked.as_given:
        began, cpu = time.perf_counter(), time.process_time()
        with tempfile.TemporaryDirectory() as kept:
            posed = with_points(posed, Path(kept), move=not asked.stay)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(f"{len(posed.points)} points in {took:.0f} s, {cpu:.0f} of one core", *posed.warnings, sep="; ")
    print("| s | CPU s | steps | PSNR | matched | SSIM |\n|---|---|---|---|---|---|", flush=True)
    for seconds in asked.at:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if asked.keep:
                folder = asked.keep / f"{asked.folder.name}-{asked.backend}-{seconds:.0f}"
                folder.mkdir(parents=True, exist_ok=True)
            config = TrainConfig(time=seconds, backend=asked.backend, refine_cameras=not asked.stay)
            began = time.process_time()
            f = training.train_posed(posed, folder, config, FieldConfig()).figures
            cpu = time.process_time() - began
        print(
            f"| {f.train_seconds:.0f} | {cpu:.0f} | {f.steps} | {f.psnr:.2f} | {f.psnr_matched:.2f} | "
            f"{f.ssim:.3f} |",
            flush=True,
        )
        if asked.json:
            row = {
                "seconds": f.train_seconds, "cpu": cpu, "steps": f.steps, "psnr": f.psnr,
                "matched": f.psnr_matched, "ssim": f.ssim, "backend": asked.backend, "stay": asked.stay,
            }  # fmt: skip
            with asked.json.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

"""nerfscene on a capture that other programs can read: PSNR over time, to compare with bench/nerfacto.py.

bench.shared_capture writes ``FOLDER``. Timing and held-out photos are the same as in bench/nerfacto.py.

    python -m bench.against FOLDER --at 30 60 300
    python -m bench.against FOLDER --at 300 --backend torch
    python -m bench.against FOLDER --at 60 --stay        # don't refine cameras
    python -m bench.against FOLDER --at 60 --as-given    # don't find points before training

As in ``nerfscene train``, sparse points are found before training, and cameras that are off are moved to fit
them. The training time does not include this; how long it took is printed. Each time is a training run of its
own, because learning rates fall over the whole time. PSNR is over all pixels of held-out photos; "matched" is
PSNR after each photo's gains and camera were fitted to the finished scene. Scenes of every backend are
measured with our kernels: the other backends give the same pictures but take minutes for one.
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
from nerfscene.measuring.evaluate import measure
from nerfscene.posing.triangulation import with_points
from nerfscene.scene.folder import Scene
from nerfscene.training import loop as training


def measure_quickly(scene: Scene, _backend: str, *more: Any) -> dict[str, Any]:
    """``evaluate.measure`` with our kernels, whichever backend trained the scene."""
    return measure(scene, "auto", *more)


def main() -> None:
    """Trains for each of ``--at`` and prints a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at", type=float, nargs="+", default=[30, 60, 300], help="seconds of training")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--stay", action="store_true", help="don't refine cameras")
    parser.add_argument("--as-given", action="store_true", help="don't find points before training")
    parser.add_argument("--keep", type=Path, help="leave the scenes here")
    parser.add_argument("--json", type=Path, help="append a line for each row here")
    asked = parser.parse_args()
    training.measure = measure_quickly  # type: ignore[assignment]
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

"""What a GPU does: steps, quality against time, pictures a second; plain torch and tiny-cuda-nn beside it.

``python -m bench.gpu`` prints the tables; ``python -m bench.gpu steps 20`` takes just 20 steps, for a
profiler. ``bench/gpu.sh`` builds, tests and calls this where there are only Python, torch, nvcc and a GPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import numpy as np
import torch

from bench import captures
from bench.speed import NGP
from nerfscene.cameras import pose_in_scene
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.dataset import TrainingSet, prepare
from nerfscene.ops import backend, torch_trainer
from nerfscene.rendering import MIN_WEIGHT, STOP_TRANSMITTANCE, Renderer, kernel_camera, render
from nerfscene.scene import Scene
from nerfscene.training import Run, advance, new_run, start, train_posed
from nerfscene.types import Camera, PosedCapture

Peer = Literal["torch", "tcnn"]
WIDE = FieldConfig(levels=8, features=4, log2_table=19)
FIELDS = {
    "default": FieldConfig(),
    "8×4, 2^19, harmonics": WIDE,
    "instant-ngp's networks, 8×4, 2^19": FieldConfig(**{**NGP.__dict__, "log2_table": 19}),
}


def capture() -> tuple[PosedCapture, str]:
    """Chair where it is here, else the demo capture."""
    chair = captures.chair(8)
    if chair is not None:
        return chair, "chair 800×800"
    demo = captures.demo()
    assert demo is not None
    return demo, "demo 640×480"


def begin(data: TrainingSet, field: FieldConfig, config: TrainConfig) -> Run:
    """A run about to take its first step."""
    run = new_run(data, field, config.seed, config.backend)
    start(run, data, config)
    return run


def rate(data: TrainingSet, field: FieldConfig, warm: float, seconds: float) -> dict[str, float]:
    """Whole steps after ``warm`` seconds of training: millions of samples a second, and the rest."""
    config = TrainConfig(time=4 * (warm + seconds), backend="cuda")
    run = begin(data, field, config)
    while run.seconds < warm:
        advance(run, data, config)
    samples = candidates = rays = steps = 0
    began = run.seconds
    while run.seconds < began + seconds:
        report = advance(run, data, config)
        samples += report["survivors"]
        candidates += report["candidates"]
        rays += report["rays"]
        steps += report["steps"]
    took = run.seconds - began
    return {
        "samples": samples / took / 1e6,
        "candidates": candidates / took / 1e6,
        "rays": rays / took / 1e6,
        "step_ms": 1000 * took / steps,
        "samples_a_step": samples / steps,
    }


def pictures(scene: Scene) -> tuple[float, float]:
    """Frames a second of a held-out view: pictures left on the card, and pictures handed to numpy."""
    view = next(v for v in scene.views if v.split == "test")
    renderer = Renderer(scene.field, scene.scene_from_world, scene.background, "cuda")
    camera = Camera(view.intrinsics, view.world_from_cam)
    render(renderer, camera)  # brings the field to the card
    pose = pose_in_scene(scene.scene_from_world, view.world_from_cam)
    k, lens, width, height, flat = kernel_camera(view.intrinsics, pose)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    out = [torch.empty(height, width, *n, device=device) for n in ((3,), (), ())]
    arguments = (k, lens, width, height, flat, list(scene.background), MIN_WEIGHT, STOP_TRANSMITTANCE, 0,
                 (0, height, 0, width), *out)  # fmt: skip
    times: list[list[float]] = [[], []]
    for _ in range(50):
        began = time.perf_counter()
        renderer.native.render(*arguments)
        times[0].append(time.perf_counter() - began)
        began = time.perf_counter()
        render(renderer, camera)
        times[1].append(time.perf_counter() - began)
    return 1 / float(np.median(times[0])), 1 / float(np.median(times[1]))


@contextmanager
def torch_on(device: str) -> Iterator[None]:
    """Lets the torch backend's arrays and factories live on a device, for this measurement alone."""
    plain = torch.from_numpy
    torch.from_numpy = lambda array: plain(array).to(device)  # type: ignore[assignment]
    try:
        with torch.device(device):
            yield
    finally:
        torch.from_numpy = plain


def torch_steps(data: TrainingSet, steps: int, target: int, device: str, name: Peer) -> float:
    """Seconds a step takes with all of the torch (or tcnn) backend on a device, for as many samples."""
    config = TrainConfig(steps=steps, backend=name)
    run = new_run(data, FieldConfig(), 0, name)
    with torch_on(device):
        start(run, data, config)
        trainer = run.trainer
        options = options_like_cuda(target)
        old = torch_trainer.RAYS_AT_ONCE
        torch_trainer.RAYS_AT_ONCE = 1 << 16
        try:
            trainer.run(options, 3, 600.0)
            began = time.perf_counter()
            report = trainer.run(options, steps, 600.0)
            if device == "cuda":
                torch.cuda.synchronize()
            took = time.perf_counter() - began
        finally:
            torch_trainer.RAYS_AT_ONCE = old
    print(f"{name} on {device}: {1000 * took / steps:.1f} ms a step, "
          f"{report['survivors'] / took / 1e6:.2f} M samples/s", flush=True)  # fmt: skip
    return took / steps


def options_like_cuda(target: int) -> Any:
    """The options of a step early in training, on the torch backend, with a GPU's number of samples."""
    from nerfscene.training import options_at

    o = options_at(0.0, False, backend.load("torch"))
    o.target_samples = target
    return o


def beside(data: TrainingSet, ours: float, name: Peer) -> None:
    """Prints how a peer's steps compare with ours, seconds each; or why they could not be measured."""
    reason = backend.why_no_tcnn() if name == "tcnn" else None
    if reason:
        print(f"tcnn was skipped: {reason}", flush=True)
        return
    try:
        theirs = torch_steps(data, 20, 1 << 16, "cuda", name)
        print(f"{name}: {1000 * theirs:.1f} ms a step, {theirs / ours:.1f} times ours", flush=True)
    except Exception as error:  # one peer that fails must not keep the other from being measured
        print(f"{name} on the GPU was not measured: {type(error).__name__}: {error}", flush=True)


def few_steps(steps: int) -> None:
    """Steps for a profiler to look at, after a second of training."""
    posed, _ = capture()
    data = prepare(posed, 1.0, 8, FieldConfig().occupancy_resolution)
    config = TrainConfig(time=60, backend="cuda")
    run = begin(data, FieldConfig(), config)
    while run.seconds < 1:
        advance(run, data, config)
    from nerfscene.training import options_at

    run.trainer.run(options_at(0.1, False, backend.load("cuda")), steps, 60.0)


def main() -> None:
    """Prints everything."""
    posed, name = capture()
    print(f"{backend.describe('cuda')}; {name}\n", flush=True)
    data = prepare(posed, 1.0, 8, FieldConfig().occupancy_resolution)
    print("| field | M samples/s | evaluated M/s | M rays/s | ms a step | samples a step |")
    print("|---|---|---|---|---|---|")
    rates = {}
    for title, field in FIELDS.items():
        r = rates[title] = rate(data, field, 3.0, 3.0)
        print(f"| {title} | {r['samples']:.0f} | {r['candidates']:.0f} | {r['rays']:.1f} | "
              f"{r['step_ms']:.2f} | {r['samples_a_step']:.0f} |", flush=True)  # fmt: skip
    print("\n| field | seconds | PSNR | SSIM | frames/s on the card | frames/s to numpy | samples |")
    print("|---|---|---|---|---|---|---|")
    for title, field in FIELDS.items():
        for seconds in (5.0, 60.0):
            with TemporaryDirectory() as folder:
                config = TrainConfig(time=seconds, backend="cuda", downscale=1.0)
                scene = train_posed(posed, Path(folder), config, field)
                f = scene.figures
                card, host = pictures(scene)
                print(f"| {title} | {f.train_seconds:.1f} | {f.psnr:.2f} | {f.ssim:.4f} | {card:.0f} | "
                      f"{host:.0f} | {f.samples:.3g} |", flush=True)  # fmt: skip
    try:
        early = begin(data, FieldConfig(), TrainConfig(steps=100, backend="cuda"))
        module = backend.load("cuda")
        from nerfscene.training import options_at

        o = options_at(0.0, False, module)
        o.target_samples = 1 << 16
        early.trainer.run(o, 3, 60.0)
        began = time.perf_counter()
        early.trainer.run(o, 20, 60.0)
        ours = (time.perf_counter() - began) / 20
        print(f"\nthe same 20 steps of 2^16 samples: ours {1000 * ours:.2f} ms a step", flush=True)
        for name in get_args(Peer):
            beside(data, ours, name)
    except Exception as error:  # what fails here must not lose the rest of a lent GPU's minutes
        print(f"\nthe peers were not measured: {type(error).__name__}: {error}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["steps"]:
        few_steps(int(sys.argv[2]))
    else:
        main()

"""Speed and quality on a GPU, compared with plain torch and tiny-cuda-nn.

``bench/gpu.sh`` builds, tests and then runs this, one part at a time. It needs Python, torch, nvcc and a GPU:

python -m bench.gpu memory         what kind of memory training uses, how much, and how long its copies take
python -m bench.gpu rates          training steps a second, for three fields
python -m bench.gpu scene 60       trains the default field for 60 seconds: quality, and pictures a second
python -m bench.gpu kernels        where a step's time goes
python -m bench.gpu steps 16       runs 16 training steps, for ncu to profile
python -m bench.gpu ncu FILE       prints ncu's CSV as a table
python -m bench.gpu peers          plain torch and tiny-cuda-nn on the same GPU
python -m bench.gpu features       features of the demo's photos, if pycolmap was built with CUDA

Without arguments it does everything except the two parts for ncu.
"""

from __future__ import annotations

import csv
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import numpy as np
import torch

from bench import captures
from bench.cuda_resources import short
from bench.speed import NGP
from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.field.rendering import MIN_WEIGHT, STOP_TRANSMITTANCE, Renderer, kernel_camera, render
from nerfscene.ops import backend, torch_trainer
from nerfscene.scene.folder import Scene
from nerfscene.training.dataset import TrainingSet, prepare
from nerfscene.training.loop import train_posed
from nerfscene.training.run import KEPT, Run, new_run, start
from nerfscene.training.schedule import options_at
from nerfscene.types import Camera, PosedCapture

Peer = Literal["torch", "tcnn"]
AIM_RATE, AIM_PSNR = 600, 35.5  # M samples a second of the default field; dB on chair after 60 s
WIDE = FieldConfig(levels=8, features=4, log2_table=19)
FIELDS = {
    "default": FieldConfig(),
    "8×4, 2^19, harmonics": WIDE,
    "instant-ngp's networks, 8×4, 2^19": FieldConfig(**{**NGP.__dict__, "log2_table": 19}),
}


def capture() -> tuple[PosedCapture, str]:
    """chair if it is here, otherwise the demo; and a description of the photos used."""
    posed = captures.short_chair()
    name = "chair 800×800" if posed else "demo 640×480"
    posed = posed or captures.demo()
    assert posed is not None
    photos = {split: [v.path.name for v in posed.views if v.split == split] for split in ("train", "test")}
    test = f"tested on {names(photos['test'])}" if photos["test"] else "tested on every eighth of them"
    return posed, f"{name}: trained on {names(photos['train'])}; {test}"


def names(photos: list[str]) -> str:
    """The number of photos and their names."""
    shown = photos if len(photos) < 5 else [*photos[:3], "…", photos[-1]]
    return f"{len(photos)} photos ({', '.join(shown)})"


def prepared(posed: PosedCapture) -> TrainingSet:
    """The capture at its photos' full size."""
    return prepare(posed, 1.0, 8, FieldConfig().occupancy_resolution)


def settled(data: TrainingSet, field: FieldConfig, seconds: float) -> tuple[Run, Any]:
    """A run that has trained until its step time is stable, and the options to continue with.

    Cameras are not refined.
    """
    config = TrainConfig(time=60, backend="cuda")
    run = new_run(data, field, config.seed, config.backend, refine=False)
    start(run, data, config)
    module = backend.load("cuda")
    for done in (0.0, 0.1, 0.25, 0.5):
        options = options_at(done, data.space.unbounded, module)
        run.trainer.run(options, 1 << 40, seconds / 4)
    run.trainer.run(options, 100, 60.0)
    return run, options


def rate(data: TrainingSet, field: FieldConfig, warm: float, seconds: float) -> dict[str, float]:
    """Times settled steps for some seconds: millions of samples a second, and other columns of ``rates``."""
    run, options = settled(data, field, warm)
    began = time.perf_counter()
    report = run.trainer.run(options, 1 << 40, seconds)  # returns when the device is done
    took = time.perf_counter() - began
    return {
        "samples": report["survivors"] / took / 1e6,
        "candidates": report["candidates"] / took / 1e6,
        "rays": report["rays"] / took / 1e6,
        "step_ms": 1000 * took / report["steps"],
        "samples_a_step": report["survivors"] / report["steps"],
        "steps": report["steps"],
    }


def pictures(scene: Scene) -> tuple[float, float]:
    """Frames a second of a held-out view: with pictures left on the GPU, and with copies to numpy."""
    view = next(v for v in scene.views if v.split == "test")
    renderer = Renderer(scene.field, scene.scene_from_world, scene.background, "cuda")
    camera = Camera(view.intrinsics, view.world_from_cam)
    render(renderer, camera)  # copies the field to the GPU
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
    """Puts the torch backend's arrays on a device inside the context; outside, the backend uses the CPU."""
    plain = torch.from_numpy
    torch.from_numpy = lambda array: plain(array).to(device)  # type: ignore[assignment]
    try:
        with torch.device(device):
            yield
    finally:
        torch.from_numpy = plain


def torch_steps(data: TrainingSet, steps: int, target: int, device: str, name: Peer) -> float:
    """Seconds for a step of ``target`` samples, with the whole torch (or tcnn) backend on a device."""
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
    """The torch backend's options early in training, with as many samples a step as on a GPU."""
    o = options_at(0.0, False, backend.load("torch"))
    o.target_samples = target
    return o


def beside(data: TrainingSet, ours: float, name: Peer) -> None:
    """Prints how a peer's step time compares with ``ours`` (seconds), or why it could not be measured."""
    reason = backend.why_no_tcnn() if name == "tcnn" else None
    if reason:
        print(f"tcnn was skipped: {reason}", flush=True)
        return
    try:
        theirs = torch_steps(data, 20, 1 << 16, "cuda", name)
        print(f"{name}: {1000 * theirs:.1f} ms a step, {theirs / ours:.1f} times ours", flush=True)
    except Exception as error:  # if one peer fails, the other must still be measured
        print(f"{name} on the GPU was not measured: {type(error).__name__}: {error}", flush=True)


def few_steps(steps: int) -> None:
    """Runs settled steps and marks their beginning and end for ncu."""
    run, options = settled(prepared(capture()[0]), FieldConfig(), 3.0)
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStart()
    run.trainer.run(options, steps, 60.0)
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStop()


def kernel_times(steps: int = 64) -> None:
    """Prints the time of each kernel in a step, as measured by torch's profiler."""
    run, options = settled(prepared(capture()[0]), FieldConfig(), 3.0)
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        run.trainer.run(options, steps, 60.0)
        torch.cuda.synchronize()
    began = time.perf_counter()
    run.trainer.run(options, steps, 60.0)
    step = 1e6 * (time.perf_counter() - began) / steps
    rows = [(short(e.key), e.count, e.self_device_time_total) for e in seen.key_averages()]
    rows = [row for row in rows if row[2] > 0]
    print("| kernel | launches a step | µs each | µs a step |")
    print("|---|--:|--:|--:|")
    for name, count, total in sorted(rows, key=lambda row: -row[2]):
        print(f"| `{name}` | {count / steps:.2f} | {total / count:.1f} | {total / steps:.1f} |")
    print(
        f"\nTogether {sum(row[2] for row in rows) / steps:.0f} µs; "
        f"a step takes {step:.0f} µs without the profiler.",
        flush=True,
    )


def ncu_table(lines: Iterable[str]) -> str:
    """ncu's CSV as a table: how often each kernel was launched, and the means of its metrics."""
    rows = list(csv.reader(line for line in lines if line.startswith('"')))
    if len(rows) < 2:
        return "ncu wrote no numbers; its log says why."
    head = rows[0]
    name, metric, value, unit = (
        head.index(x) for x in ("Kernel Name", "Metric Name", "Metric Value", "Metric Unit")
    )
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows[1:]:
        try:
            found[short(row[name])][f"{row[metric]} ({row[unit]})"].append(float(row[value].replace(",", "")))
        except (IndexError, ValueError):  # a metric that this GPU doesn't have
            continue
    metrics = sorted({m for each in found.values() for m in each})
    table = [f"| kernel | launches | {' | '.join(metrics)} |", "|---" + "|--:" * (1 + len(metrics)) + "|"]
    for kernel, each in sorted(found.items()):
        means = [f"{np.mean(each[m]):.4g}" if each[m] else "" for m in metrics]
        table.append(f"| `{kernel}` | {max(map(len, each.values()))} | {' | '.join(means)} |")
    return "\n".join(table)


def milliseconds(work: Callable[[], object], times: int = 3) -> float:
    """The shortest of several runs."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return 1000 * min(took)


def memory() -> None:
    """Prints the kind of the GPU's memory, how much a training takes, and how long copies take."""
    data = prepared(capture()[0])
    config = TrainConfig(time=60, backend="cuda")
    run = new_run(data, FieldConfig(), config.seed, config.backend)
    before = free_gigabytes()
    began = time.perf_counter()
    start(run, data, config)
    started = 1000 * (time.perf_counter() - began)
    run.trainer.run(options_at(0.0, data.space.unbounded, backend.load("cuda")), 100, 60.0)
    kind = "memory pools" if backend.load("cuda").devices()[0]["memory_pools"] else "cudaMalloc"
    arrays = [*(getattr(run, name) for name in KEPT), run.field.table]
    print(f"The GPU's own memory, by {kind}; nothing is shared with the processor.\n")
    print("| free before, GB | taken by training, GB | photos, GB | ms to begin | "
          "arrays of a save, GB | ms to fetch them |")  # fmt: skip
    print("|--:|--:|--:|--:|--:|--:|")
    taken, saved = before - free_gigabytes(), sum(a.nbytes for a in arrays) / 1e9
    print(f"| {before:.2f} | {taken:.2f} | {data.pixels.nbytes / 1e9:.2f} | {started:.0f} | {saved:.3f} | "
          f"{milliseconds(run.trainer.fetch):.1f} |", flush=True)  # fmt: skip


def free_gigabytes() -> float:
    """The GPU's free memory, by torch; NaN if torch was built without CUDA."""
    return torch.cuda.mem_get_info()[0] / 1e9 if torch.cuda.is_available() else math.nan


def features() -> None:
    """Times COLMAP's features on the processor and on the GPU; says why not if pycolmap has no CUDA."""
    import pycolmap  # not at the top, because Pillow must be imported before it

    if getattr(pycolmap, "has_cuda", False) is not True:
        print("This pycolmap is missing or was built without CUDA, so features are found on the processor.")
        return
    photos = sorted((captures.DEMO / "images").glob("*.jpg"))
    took = [features_on(device, photos) for device in (pycolmap.Device.cpu, pycolmap.Device.cuda)]
    print(f"Features of the demo's {len(photos)} photos: {took[0]:.1f} s on the processor, {took[1]:.1f} s "
          "on the GPU.", flush=True)  # fmt: skip


def features_on(device: Any, photos: Sequence[Path]) -> float:
    """Seconds that the features of photos in one folder take on one of pycolmap's devices."""
    import pycolmap

    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu = device == pycolmap.Device.cuda
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        pycolmap.extract_features(Path(folder) / "database.db", photos[0].parent,
                                  image_names=[photo.name for photo in photos], extraction_options=options,
                                  device=device)  # fmt: skip
        return time.perf_counter() - began


def rates() -> None:
    """Prints the rates of each field's settled steps."""
    posed, name = capture()
    print(f"{backend.describe('cuda')}; {name}\n")
    data = prepared(posed)
    print("| field | M samples/s | evaluated M/s | M rays/s | ms a step | samples a step | steps |")
    print("|---|--:|--:|--:|--:|--:|--:|", flush=True)
    for title, field in FIELDS.items():
        r = rate(data, field, 4.0, 3.0)
        print(f"| {title} | {r['samples']:.0f} | {r['candidates']:.0f} | {r['rays']:.1f} | "
              f"{r['step_ms']:.3f} | {r['samples_a_step']:.0f} | {r['steps']:.0f} |", flush=True)  # fmt: skip
    print(f"\nThe aim is {AIM_RATE} M samples/s for the default field.", flush=True)


def trained(seconds: float) -> None:
    """Trains the default field for some seconds; prints quality on held-out views and rendering speed."""
    posed, name = capture()
    with TemporaryDirectory() as folder:
        config = TrainConfig(time=seconds, backend="cuda", downscale=1.0)
        scene = train_posed(posed, Path(folder), config, FieldConfig())
        f = scene.figures
        card, host = pictures(scene)
    print(f"{name}\n")
    print("| seconds | PSNR | SSIM | steps | samples | frames/s on the GPU | frames/s to numpy |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    print(f"| {f.train_seconds:.1f} | {f.psnr:.2f} | {f.ssim:.4f} | {f.steps} | {f.samples:.3g} | "
          f"{card:.0f} | {host:.0f} |", flush=True)  # fmt: skip
    print(f"\nThe aim for chair is {AIM_PSNR} dB after 60 s.", flush=True)


def peers() -> None:
    """Times 20 early steps of 2^16 samples with our kernels, plain torch and tiny-cuda-nn."""
    data = prepared(capture()[0])
    config = TrainConfig(steps=100, backend="cuda")
    run = new_run(data, FieldConfig(), config.seed, config.backend, refine=False)
    start(run, data, config)
    o = options_at(0.0, False, backend.load("cuda"))
    o.target_samples = 1 << 16
    run.trainer.run(o, 3, 60.0)
    began = time.perf_counter()
    run.trainer.run(o, 20, 60.0)
    ours = (time.perf_counter() - began) / 20
    print(f"20 steps of 2^16 samples: ours {1000 * ours:.2f} ms a step", flush=True)
    for name in get_args(Peer):
        beside(data, ours, name)


def main(words: list[str]) -> None:
    """Runs the named part, or everything."""
    match words:
        case ["memory"]:
            memory()
        case ["rates"]:
            rates()
        case ["scene", seconds]:
            trained(float(seconds))
        case ["kernels"]:
            kernel_times()
        case ["steps", steps]:
            few_steps(int(steps))
        case ["ncu", path]:
            print(ncu_table(Path(path).read_text().splitlines()))
        case ["peers"]:
            peers()
        case ["features"]:
            features()
        case []:
            every = ("memory", "rates", "scene 5", "scene 60", "kernels", "peers", "features")
            for part in every:
                main(part.split())
                print(flush=True)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

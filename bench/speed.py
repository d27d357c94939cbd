"""Where the time of a training step goes: each stage separately, compared with the machine's limits.

Stages are timed with one thread, to compare with the peak of one core. Then whole steps are timed on all
threads, with networks of instant-ngp's size and with the default field, and compared with the torch backend.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from bench import captures
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.field.hash_grid import grid_of, kernel_field, make_space, new_field, occupancy_bits, resolve
from nerfscene.ops import backend
from nerfscene.training import loop, schedule
from nerfscene.training.carving import cell_centres
from nerfscene.training.dataset import prepare
from nerfscene.training.loop import advance
from nerfscene.training.run import new_run, start

NGP = FieldConfig(levels=8, features=4, hidden=64, color="network", color_hidden=64, color_layers=2)
POINTS = 1 << 15


def best(call: Callable[[], object], repeats: int = 5) -> float:
    """Seconds of the fastest of a few calls."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def peak_gflops() -> float:
    """GFLOP/s of a large single-threaded float32 product on this machine: the practical peak."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a = torch.randn(1024, 1024)
    seconds = best(lambda: a @ a)
    torch.set_num_threads(threads)
    return 2 * 1024**3 / seconds / 1e9


def gather_ns(bytes_in_table: int) -> float:
    """Nanoseconds for a random read of 64 bytes from a table of this size; reads may overlap."""
    rows = np.random.default_rng(0).integers(0, bytes_in_table // 64, 1 << 18)
    table = np.zeros((bytes_in_table // 64, 16), np.float32)
    return best(lambda: np.take(table, rows, axis=0)) / len(rows) * 1e9


def mac_count(config: FieldConfig) -> tuple[int, int]:
    """Multiply-adds of one sample's forward pass: in the density network, and in all networks."""
    e = grid_of(config).encoding
    if config.color == "harmonics":
        return e * config.hidden, e * config.hidden + config.hidden * 32
    c = config.color_hidden
    rest = config.hidden * 16 + 32 * c + (c * c if config.color_layers == 2 else 0) + c * 16
    return e * config.hidden, e * config.hidden + rest


def stages(config: FieldConfig, title: str) -> None:
    """Times the field's stages on random points in a bounded cube and prints a table."""
    module = backend.load("cpu")
    config = resolve(config, 400.0, False)
    field, _ = new_field(config, make_space(False, 0.05, 128), 0)
    native = kernel_field(field, module)
    rng = np.random.default_rng(1)
    # Neighbouring samples of a real ray lie close together, so points come in short lines of 8.
    seeds = rng.random((POINTS // 8, 1, 3)) * 0.9
    points = (seeds + np.linspace(0, 0.05, 8)[None, :, None]).reshape(-1, 3).astype(np.float32)
    directions = rng.standard_normal((POINTS, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    width = field.layout.encoding
    encoded = np.empty((POINTS, width), np.float32)
    density, rgb = np.empty(POINTS, np.float32), np.empty((POINTS, 3), np.float32)
    d_encoded, d_weights = np.empty_like(encoded), np.empty_like(field.weights)
    d_table = np.zeros(field.table.shape, np.float32)
    d_density, d_rgb = np.ones(POINTS, np.float32), np.ones((POINTS, 3), np.float32)
    ns = 1e9 / POINTS
    t_encode = best(lambda: native.encode(points, encoded)) * ns
    t_density = best(lambda: native.density(points, density)) * ns
    t_field = best(lambda: native.evaluate(points, directions, density, rgb)) * ns
    t_back = (
        best(lambda: native.evaluate_backward(points, directions, d_density, d_rgb, d_encoded, d_weights))
        * ns
    )
    t_scatter = best(lambda: native.encode_backward(points, d_encoded, d_table)) * ns
    density_macs, all_macs = mac_count(config)
    rows = [
        ("encoding (gather)", t_encode, 0),
        ("density network", t_density - t_encode, density_macs),
        ("colour, forward", t_field - t_density, all_macs - density_macs),
        ("networks, backward", t_back - t_field, 2 * all_macs),
        ("table gradient (scatter)", t_scatter, 0),
    ]
    hit, miss = march_ns(native, field.occupancy)
    row = adam_ns(module, field.layout.features)
    peak = peak_gflops()
    print(f"\n{title}: {config.levels}×{config.features}, 2^{config.log2_table}; one thread; "
          f"practical peak {peak:.0f} GFLOP/s (a 1024³ product)\n")  # fmt: skip
    print("| stage | ns a sample | GFLOP/s | of peak |")
    print("|---|---|---|---|")
    for name, t, macs in rows:
        rate = 2 * macs / t if macs else 0
        print(f"| {name} | {t:.0f} | {f'{rate:.0f}' if macs else '—'} | "
              f"{f'{100 * rate / peak:.0f} %' if macs else 'memory-bound'} |")  # fmt: skip
    print(f"\nmarching: {hit:.0f} ns a ray through a hollow sphere, {miss:.0f} ns through nothing; "
          f"optimiser: {row:.1f} ns a row of the table, rows in order")  # fmt: skip


def march_ns(native: Any, occupancy: NDArray[np.uint32]) -> tuple[float, float]:
    """Nanoseconds for a ray to find its samples in a thin hollow sphere, and for one that finds none."""
    distance = np.linalg.norm(cell_centres(make_space(False, 0.05, 128)), axis=1)
    rays = 4096
    origins = np.tile(np.array([0.1, -2.5, 0.2], np.float32), (rays, 1))
    aims = np.random.default_rng(2).uniform(-0.6, 0.6, (rays, 3)).astype(np.float32)
    directions = aims - origins
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    jitter, counts = np.full(rays, 0.5, np.float32), np.empty(rays, np.int32)
    t, length = np.empty((rays, 64), np.float32), np.empty((rays, 64), np.float32)
    points = np.empty((rays, 64, 3), np.float32)
    out: list[float] = []
    for shell in (np.abs(distance - 0.7) < 0.02, np.zeros(len(distance), bool)):
        occupancy[:] = occupancy_bits(shell)
        seconds = best(lambda: native.march(origins, directions, jitter, 1.0, counts, t, length, points))
        out.append(seconds / rays * 1e9)
    return out[0], out[1]


def adam_ns(module: Any, features: int) -> float:
    """Nanoseconds that Adam takes per row of the table, with all rows in order."""
    gradient, parameters = np.ones(1 << 20, np.float32), np.zeros(1 << 20, np.float32)
    moments = np.zeros(1 << 21, np.float32)
    seconds = best(lambda: module.adam(gradient, parameters, moments, 1e-2, 0.9, 0.99, 1e-15))
    return seconds / (len(gradient) / features) * 1e9


def all_samples(*given: Any) -> Any:
    """The usual options of a step, but every sample that a ray meets is trained: none is thinned out."""
    options = schedule.options_at(*given)
    options.thinning, options.target_samples = 0.0, 8192
    return options


def training(config: FieldConfig, title: str, seconds: float = 10.0) -> float:
    """Prints trained samples a second in whole steps, on chair at 400×400 or, if it is not here, the demo."""
    posed, downscale = captures.chair(200), 2.0
    if posed is None:
        posed, downscale = captures.demo(), 2.0
    assert posed is not None
    data = prepare(posed, downscale, 8, config.occupancy_resolution)
    train_config = TrainConfig(time=seconds * 1.5)
    run = new_run(data, config, 0)
    start(run, data, train_config)
    spent = dict.fromkeys(("seconds_trace", "seconds_table", "seconds_occupancy"), 0.0)
    samples = candidates = steps = 0
    warm = 0.5 * seconds
    began = 0.0
    while run.seconds < 1.5 * seconds - 0.01:
        before = run.seconds
        report = advance(run, data, train_config)
        if before < warm:
            began = run.seconds
            continue
        samples += report["survivors"]
        candidates += report["candidates"]
        steps += report["steps"]
        for key in spent:
            spent[key] += report[key]
    took = run.seconds - began
    rate = samples / took / 1e6
    parts = " / ".join(f"{100 * v / took:.0f} %" for v in spent.values())
    print(
        f"| {title} | {rate:.3f} | {candidates / took / 1e6:.2f} | {steps / took:.1f} | {parts} |", flush=True
    )
    return rate


def same_steps(which: str, steps: int = 500, warm: int = 100) -> float:
    """Seconds for steps ``warm`` to ``warm + steps`` of a training run: the same work on any backend."""
    posed, downscale = captures.chair(200), 2.0
    if posed is None:
        posed = captures.demo()
    assert posed is not None
    config = FieldConfig()
    data = prepare(posed, downscale, 8, config.occupancy_resolution)
    train_config = TrainConfig(steps=warm + steps, backend=which)  # type: ignore[arg-type]
    run = new_run(data, config, 0)
    start(run, data, train_config)
    began = 0.0
    while run.steps < warm + steps:
        advance(run, data, train_config)
        if run.steps <= warm:
            began = run.seconds
    took = run.seconds - began
    print(
        f"| {which} | {took:.2f} | {1000 * took / steps:.2f} | {run.samples / run.seconds / 1e6:.3f} |",
        flush=True,
    )
    return took


def compare() -> None:
    """Times whole steps with instant-ngp's networks and with the default field, then compares with torch."""
    print("\n| field and backend | trained M samples/s | evaluated M/s | steps/s | "
          "trace and networks / table / occupancy |")  # fmt: skip
    print("|---|---|---|---|---|")
    training(NGP, "instant-ngp's networks, 8×4, our kernels")
    with mock.patch.object(loop, "options_at", all_samples):
        training(NGP, "the same, no sample thinned out")
    training(FieldConfig(), "default, our kernels")
    torch_ratio()


def torch_ratio() -> None:
    """Compares the torch backend with the kernels over the same 500 early steps, which take the most work."""
    print("\n| backend, the same 500 steps | seconds | ms a step | M samples/s |")
    print("|---|---|---|---|")
    native = same_steps("cpu")
    slow = same_steps("torch")
    print(f"\ntorch backend, same model, same machine, same steps: {slow / native:.0f}× slower")


def main() -> None:
    """Prints everything."""
    sets = backend.load("cpu").instruction_sets()
    print(f"\ninstruction set {sets[0]} (also built: {', '.join(sets[1:])}); random 64-byte reads: "
          + ", ".join(f"{gather_ns(n << 20):.1f} ns from {n} MiB" for n in (1, 4, 16, 64)))  # fmt: skip
    stages(FieldConfig(), "default field")
    stages(NGP, "instant-ngp's networks")
    compare()


if __name__ == "__main__":
    main()

"""The CUDA kernels, on a GPU where there is one and always on the emulated one: networks in halves.

Sums are in float32, but weights, activations and their gradients are rounded to 11 bits on the way, so
agreement with the oracle is to a few thousandths of the largest number; what falls on the other side of a
ReLU's bend by that rounding is rare, and unbiased.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray_cases
import torch
import training_steps as steps
from half_checks import HALF, check_evaluate, check_evaluate_backward, check_step_gradients
from kernel_cases import (
    assert_close,
    assert_close_but_for_flips,
    make_case,
    on_device,
    random_directions,
    random_points,
    traced,
)
from network_cases import NETWORKS, evaluate
from training_steps import small_steps

from nerfscene import api
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.field.rendering import render
from nerfscene.ops import _cpu as cpu
from nerfscene.ops import backend
from nerfscene.types import Camera

pytest_plugins = ["kernel_cases"]


@pytest.mark.parametrize("shape", NETWORKS)
def test_evaluate_matches_oracle(device: Any, shape: tuple[int, ...]) -> None:
    check_evaluate(device, shape)


@pytest.mark.parametrize("n", (0, 1, 15, 16, 17, 31, 33, 129))
@pytest.mark.parametrize("color_layers", (0, 1, 2))
def test_any_number_of_samples(device: Any, n: int, color_layers: int) -> None:
    case = make_case(color_layers=color_layers)
    points, directions = random_points(200, 3), random_directions(200, 4)
    some = evaluate(device, case, points[:n], directions[:n])
    every = evaluate(device, case, points, directions)
    assert np.array_equal(some[0], every[0][:n]) and np.array_equal(some[1], every[1][:n])


@pytest.mark.parametrize("shape", NETWORKS)
@pytest.mark.parametrize("n", (1, 129))
def test_evaluate_backward_matches_oracle(device: Any, shape: tuple[int, ...], n: int) -> None:
    check_evaluate_backward(device, shape, n, 0.9995)


@pytest.mark.parametrize("name", ray_cases.CASES)
@pytest.mark.parametrize("skipping", (False, True))
def test_trace_matches_oracle(device: Any, name: str, skipping: bool) -> None:
    limits = (1e-4, 3e-3) if skipping else (0.0, 0.0)
    case, rays, behind, seen = ray_cases.expected(name, *limits, 1.0, 0.4)
    rgb, depth, accumulation = traced(device, case, rays, behind, *limits)
    assert_close_but_for_flips(rgb, seen.rgb, 16 * HALF, 0.02)
    assert_close_but_for_flips(accumulation, seen.accumulation, 16 * HALF, 0.02)
    assert_close_but_for_flips(depth, seen.depth, 16 * HALF * float(seen.depth.max()), 0.02)


@pytest.mark.parametrize("kind", steps.SETTINGS)
@pytest.mark.parametrize("name", steps.CASES)
def test_step_gradients_match_oracle(device: Any, name: str, kind: str) -> None:
    report = check_step_gradients(device, name, kind, target_samples=16384)
    assert report["dropped"] == 0


def test_rays_without_room_sit_out(device: Any) -> None:
    case, rays, targets, behind = steps.given(steps.CASES["bounded"], 1.0)
    trained = steps.start(device, case)
    o = steps.options(device, steps.SETTINGS["plain"])
    o.target_samples = 256  # room for 1024 samples, far fewer than these rays have
    d_table, d_weights, report = steps.gradients(trained, o, rays, targets, behind)
    assert 0 < report["dropped"] <= report["rays"] == steps.RAYS
    assert report["survivors"] == 1024
    assert np.isfinite(d_table).all() and np.isfinite(d_weights).all()
    o.target_samples = 16384
    _, _, whole = steps.gradients(trained, o, rays, targets, behind)
    assert whole["dropped"] == 0 and whole["survivors"] > 1024


@pytest.mark.parametrize("growth", (0.0, 0.75))
def test_the_pull_matches_oracle(device: Any, growth: float) -> None:
    steps.check_pull(device, growth)


@pytest.mark.parametrize("name", ("bounded, network", "unbounded"))
def test_steps_agree_with_the_processor(device: Any, name: str) -> None:
    case, *_ = steps.given(steps.CASES[name], 0.6)
    allowed = np.random.default_rng(1).integers(0, 2**32, 32**3 // 32, dtype=np.uint32)
    after = []
    for module in (cpu, device):
        depths = np.resize(steps.known_depths(), 48)  # of four photos of 4×3 cells
        trained = steps.start(module, case, allowed=allowed, depths=depths)
        o = steps.options(module, steps.SETTINGS["as in training"])
        trained.trainer.survivors_per_ray = 20.0  # both draw the same rays in the first step
        report = trained.run(o, 4, 60.0)
        assert report["steps"] == 4 and trained.trainer.step == 4
        after.append((trained, report))
    (a, said_a), (b, said_b) = after
    assert abs(said_a["survivors"] - said_b["survivors"]) < 0.05 * said_a["survivors"]
    per_ray = [r["squared_error"] / r["rays"] for r in (said_a, said_b)]
    assert_close(np.array(per_ray[1]), per_ray[0], 0, rtol=0.02)
    moved_a, moved_b = a.table - case.master, b.table - case.master
    both = (moved_a != 0) & (moved_b != 0)
    assert both.mean() > 0.95 * (moved_a != 0).mean()
    assert np.corrcoef(moved_a[both], moved_b[both])[0, 1] > 0.9
    assert np.corrcoef(a.case.weights - case.weights, b.case.weights - case.weights)[0, 1] > 0.9
    # The halves that the kernels read are the trained table, rounded.
    assert np.array_equal(b.case.table.view(np.float16), b.table.astype(np.float16))
    # Both occupancy grids agree, have decayed equally often and obey the mask.
    assert np.corrcoef(a.occupancy_values, b.occupancy_values)[0, 1] > 0.999
    assert_close(np.array(b.trainer.occupancy_mean), a.trainer.occupancy_mean, 0, rtol=0.02)
    bits = [np.unpackbits(s.case.occupancy.view(np.uint8)) for s in (a, b)]
    assert (bits[0] != bits[1]).mean() < 0.01
    assert not (b.case.occupancy & ~allowed).any()


def test_a_trainer_goes_on_where_it_stopped(device: Any) -> None:
    case, *_ = steps.given(steps.CASES["bounded"], 0.6)
    o = steps.options(device, steps.SETTINGS["plain"])
    # Room for all samples, else a GPU drops different rays each time. And an ε far above the gradients, else
    # Adam takes whole steps even along gradients that are mere rounding from the order of a sum.
    o.target_samples, o.epsilon, o.table_rate, o.weight_rate = 2560, 1.0, 100.0, 10.0

    def trained(*pieces: int) -> Any:
        run = steps.start(device, case)
        for n in pieces:
            assert run.run(o, n, 60.0)["dropped"] == 0
        assert run.trainer.step == sum(pieces) and run.trainer.rays_drawn == 64 * sum(pieces)
        return run.table

    whole = trained(4)
    moved = 1e-3 * np.abs(whole - case.master).max()
    assert_close_but_for_flips(trained(1, 3), whole, moved, 0.01)
    assert (np.abs(trained(3) - whole) > moved).mean() > 0.1  # the last step makes a difference


def test_occupancy_updates_can_be_switched_off(device: Any) -> None:
    case, *_ = steps.given(steps.CASES["bounded"], 0.6)
    trained = steps.start(device, case)
    o = steps.options(device, steps.SETTINGS["as in training"])
    trained.run(o, 2, 60.0)
    o.occupancy_every = 0
    before = trained.case.occupancy.copy()
    assert trained.run(o, 2, 60.0)["steps"] == 2
    assert np.array_equal(trained.case.occupancy, before)


@pytest.mark.parametrize("name", (pytest.param("bounded, network", marks=pytest.mark.long), "unbounded"))
def test_threads_may_run_in_any_order(device: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if device.device_name() != "emulated GPU":
        pytest.skip("a card's threads run as they like")
    case, rays, targets, behind = steps.given(steps.CASES[name], 0.6)
    o = steps.options(device, steps.SETTINGS["as in training"])
    o.target_samples = 16384
    points, directions = random_points(70, 1), random_directions(70, 2)

    def everything() -> list[Any]:
        d_table, d_weights, report = steps.gradients(steps.start(device, case), o, rays, targets, behind)
        trained = steps.start(device, case)
        trained.run(o, 2, 60.0)
        pixels = traced(device, case, rays, behind, 1e-4, 3e-3)
        seen = evaluate(device, case, points, directions)
        moved = trained.table - case.master
        return [d_table, d_weights, moved, trained.case.occupancy, *pixels, *seen, report["survivors"]]

    forward = everything()
    monkeypatch.setenv("NERFSCENE_EMULATED_BACKWARDS", "1")
    for a, b in zip(everything(), forward, strict=True):
        # Sums have another order, and Adam takes whole steps by the signs of the smallest gradients.
        scale = float(np.abs(np.asarray(b, np.float64)).max())
        assert_close_but_for_flips(np.asarray(a, np.float64), b, 1e-3 * scale, 0.005)


def test_small_shared_memory_changes_nothing(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if device.device_name() != "emulated GPU":
        pytest.skip("a card's shared memory is what it is")
    case = make_case(3, levels=8, features=4, hidden=64, color_hidden=64, color_layers=2)
    points, directions = random_points(70, 1), random_directions(70, 2)
    d = np.random.default_rng(7).normal(size=(4, 70)).astype(np.float32) * 0.1

    def both() -> tuple[Any, Any]:
        out = np.empty((70, case.grid.encoding), np.float32), np.empty(len(case.weights), np.float32)
        case.field(device).evaluate_backward(points, directions, d[0], d[1:].T.copy(), *out)
        return out

    whole = both()
    for size in (99 * 1024, 64 * 1024):  # of small cards of the Ampere and Turing generations
        monkeypatch.setenv("NERFSCENE_EMULATED_SHARED", str(size))
        for a, b in zip(both(), whole, strict=True):
            assert_close(a, b, 1e-5 * np.abs(b).max())
    monkeypatch.setenv("NERFSCENE_EMULATED_SHARED", str(8 * 1024))
    with pytest.raises(RuntimeError, match="choose narrower"):
        both()


def test_arrays_in_place_must_be_aligned(device: Any) -> None:
    case = make_case(4)
    arguments = case.arguments()
    spacious = on_device(np.concatenate([case.weights, case.weights[:4]]), device)
    arguments["weights"] = spacious[1:-3]
    with pytest.raises(ValueError, match="multiple of 16 bytes"):
        device.Field(**arguments)
    arguments["weights"] = spacious[4:]
    device.Field(**arguments)
    points = random_points(3)
    d_out = np.zeros((3, case.grid.encoding), np.float32)
    d_table = on_device(np.zeros(case.master.size + 4, np.float32), device)
    with pytest.raises(ValueError, match="multiple of 16 bytes"):
        case.field(device).encode_backward(points, d_out, d_table[1:-3])


def test_arrays_to_inspect_must_be_on_the_host(device: Any) -> None:
    if device.device_name() == "emulated GPU":
        pytest.skip("the emulated GPU's memory is the host's")
    case, rays, targets, behind = steps.given(steps.CASES["bounded"], 0.6)
    trained = steps.start(device, case)
    out = np.empty(case.master.size, np.float32), np.empty(len(case.weights), np.float32)
    of = torch.zeros(len(rays[2]), dtype=torch.int32, device="cuda")
    with pytest.raises(ValueError, match="on the host"):
        trained.trainer.gradients(
            steps.options(device, steps.SETTINGS["plain"]),
            *rays,
            targets,
            behind,
            *out,
            of,
            np.zeros(3, np.float32),
        )


@pytest.mark.parametrize("where", ("table", "weights"))
def test_training_that_diverges_is_told(device: Any, where: str) -> None:
    case, *_ = steps.given(steps.CASES["bounded"], 1.0)
    trained = steps.start(device, case)
    o = steps.options(device, steps.SETTINGS["plain"])
    assert np.isfinite(trained.run(o, 2, 60.0)["squared_error"])
    if where == "table":
        trained.table[:] = np.nan
        trained.case.table.view(np.float16)[:] = np.nan
    else:
        trained.case.weights[5] = np.inf
    trained.trainer.refresh()
    assert not np.isfinite(trained.run(o, 2, 60.0)["squared_error"])


def test_halves_saturate_and_keep_what_is_no_number(device: Any) -> None:
    values = np.array([1e9, -1e9, 65504, 65519, 65521, np.inf, -np.inf, np.nan, 1.0], np.float32)
    out = np.zeros(9, np.uint16)
    device.to_half(values, out)
    largest = 65504.0
    expected = [largest, -largest, largest, largest, largest, largest, -largest, np.nan, 1.0]
    assert np.array_equal(out.view(np.float16).astype(np.float64), expected, equal_nan=True)


def test_arrays_on_the_device_are_used_in_place_and_others_copied(device: Any) -> None:
    case = make_case(4)
    points = random_points(50)
    arguments = case.arguments()
    copied = device.Field(**arguments)
    for name in ("table", "weights", "weights_t", "occupancy"):
        arguments[name] = on_device(arguments[name], device)
    borrowed = device.Field(**arguments)
    out = np.empty((3, 50, case.grid.encoding), np.float32)
    arguments["table"][:] = on_device(np.zeros_like(case.table), device)
    borrowed.encode(points, out[0])
    copied.encode(points, out[1])
    case.field(device).encode(points, out[2])
    assert not out[0].any() and out[1].any()
    assert np.array_equal(out[1], out[2])


def render_arguments(width: int, height: int) -> tuple[Any, ...]:
    numbers = [float(width), float(width), width / 2, height / 2, 0.05, 0.01, 0.001, 0.0, 0.0]
    pose = [1.0, 0.0, 0.0, 0.1, 0.0, 1.0, 0.0, 0.2, 0.0, 0.0, 1.0, -2.5]
    return numbers, 0, width, height, pose, [0.2, 0.4, 0.6], 1e-3, 3e-3, 1


@pytest.mark.parametrize("rect", ((0, 37, 0, 45), (3, 20, 7, 31), (5, 6, 0, 45), (4, 4, 0, 9)))
def test_pictures_agree_with_the_processor(device: Any, rect: tuple[int, int, int, int]) -> None:
    case = make_case(11, color_layers=2, gain=3.0, occupied=0.5)
    n = (rect[1] - rect[0], rect[3] - rect[2])
    seen = []
    for module in (cpu, device):
        out = [
            np.full((*n, 3), np.nan, np.float32),
            np.full(n, np.nan, np.float32),
            np.full(n, np.nan, np.float32),
        ]
        case.field(module).render(*render_arguments(45, 37), rect, *out)
        seen.append(out)
    for a, b in zip(*seen, strict=True):
        if a.size:
            assert_close_but_for_flips(b, a, 16 * HALF * max(1.0, np.abs(a).max()), 0.02)
    assert not seen[0][2].size or seen[0][2].max() > 0.5


def test_a_cancelled_picture_stops(device: Any) -> None:
    field = make_case(11, gain=3.0).field(device)
    cancel = device.Cancel()
    out = [
        np.full((37, 45, 3), 7, np.float32),
        np.full((37, 45), 7, np.float32),
        np.full((37, 45), 7, np.float32),
    ]
    cancel.set()
    field.render(*render_arguments(45, 37), (0, 37, 0, 45), *out, cancel)
    assert all((x == 7).all() for x in out)
    cancel.clear()
    field.render(*render_arguments(45, 37), (0, 37, 0, 45), *out, cancel)
    assert not any((x == 7).any() for x in out)


def test_threads_may_share_a_module(device: Any) -> None:
    if device.device_name() == "emulated GPU":
        pytest.skip("the emulated GPU is one thread's")
    field = make_case(11, gain=3.0).field(device)
    pictures: list[Any] = [np.empty((37, 45, 3), np.float32) for _ in range(4)]

    def work(i: int) -> None:
        rest = np.empty((37, 45), np.float32), np.empty((37, 45), np.float32)
        field.render(*render_arguments(45, 37), (0, 37, 0, 45), pictures[i], *rest)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert all(np.array_equal(p, pictures[0]) for p in pictures)


@pytest.mark.long
def test_a_scene_trained_on_the_device_renders_on_the_processor(
    device: Any, cut_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nerfscene.ops

    monkeypatch.setitem(sys.modules, "nerfscene.ops._cuda", device)
    monkeypatch.setattr(nerfscene.ops, "_cuda", device, raising=False)
    assert backend.load("auto") is device and device.device_name() in backend.describe()
    small_steps(monkeypatch)
    # More steps on a real GPU: it adds up in any order, which shows after a few steps only.
    small_field = FieldConfig(4, 8, log2_table=15, finest_resolution=64, occupancy_resolution=32)
    n = 30 if device.device_name() == "emulated GPU" else 300
    scene = api.train(
        cut_out, tmp_path / "scene", TrainConfig(steps=n, downscale=4, backend="cuda"), small_field
    )
    print("PSNR", scene.figures.psnr)
    assert scene.figures.psnr is not None and scene.figures.psnr > 16
    view = next(v for v in scene.views if v.split == "test")
    camera = Camera(view.intrinsics, view.world_from_cam)
    pictures = [render(scene.renderer(which), camera).rgb for which in ("cuda", "cpu")]
    assert_close_but_for_flips(pictures[0], pictures[1], 16 * HALF, 0.02)
    # The processor resumes the training.
    more = api.train(
        cut_out,
        tmp_path / "scene",
        TrainConfig(steps=n + 30, downscale=4, backend="cpu"),
        small_field,
        resume=True,
    )
    assert more.figures.steps == n + 30 and more.figures.psnr is not None
    print("PSNR", more.figures.psnr)
    assert more.figures.psnr > scene.figures.psnr - 0.5

"""The torch backend agrees with the kernels: the same calls, the same numbers, the same training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from kernel_cases import (
    assert_close,
    assert_close_but_for_flips,
    make_case,
    random_bits,
    random_directions,
    random_points,
    random_rays,
    traced,
)
from lens_cases import LENSES, native_rays, random_pose, some_pixels
from training_steps import CASES, SETTINGS, Start, given, gradients, known_depths, options, start

from nerfscene.ops import draws, torch_backend

pytest_plugins = ["kernel_cases"]


def public(thing: Any) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_torch_has_the_names_of_the_kernels(native: Any) -> None:
    # Of the CPU's kernels alone: what makes pictures faster, and features and their matching.
    alone = {"live_steps", "use_beams", "use_bfloat16", "finer_occupancy", "settle"}
    alone |= {"nearest_descriptors", "sift"}
    assert public(native) - alone <= set(torch_backend.__all__)
    assert public(native.Field) <= public(torch_backend.Field)
    trained = start(torch_backend, make_case()).trainer
    assert public(native.Trainer) <= public(trained)
    assert public(native.TrainOptions) == public(torch_backend.TrainOptions())
    assert torch_backend.instruction_set() in torch_backend.instruction_sets()
    with pytest.raises(ValueError):
        torch_backend.use_instruction_set("avx1024")


@pytest.mark.parametrize("name", CASES)
def test_points_give_the_same(native: Any, name: str) -> None:
    case = CASES[name]
    points, directions = random_points(129, 1), random_directions(129, 2)
    rng = np.random.default_rng(3)
    d_density, d_rgb = rng.normal(size=129).astype(np.float32), rng.random((129, 3), np.float32)
    width = case.grid.encoding
    d_out = rng.normal(size=(129, width)).astype(np.float32)
    outputs = []
    for module in (native, torch_backend):
        field = case.field(module)
        encoding, d_encoding = np.zeros((129, width), np.float32), np.zeros((129, width), np.float32)
        density, alone = np.zeros(129, np.float32), np.zeros(129, np.float32)
        rgb, d_table = np.zeros((129, 3), np.float32), np.ones_like(case.master)
        d_weights = np.zeros_like(case.weights)
        field.encode(points, encoding)
        field.encode_backward(points, d_out, d_table)
        field.density(points, alone)
        field.evaluate(points, directions, density, rgb)
        field.evaluate_backward(points, directions, d_density, d_rgb, d_encoding, d_weights)
        outputs.append((encoding, d_table, alone, density, rgb, d_encoding, d_weights))
    for a, b in zip(*outputs, strict=True):
        assert a.std() > 0
        assert_close_but_for_flips(b, a, 2e-5 * max(1.0, np.abs(a).max()), 0.001)


@pytest.mark.parametrize("name", CASES)
def test_rays_give_the_same(native: Any, name: str) -> None:
    case = replace(CASES[name], occupancy=random_bits(np.random.default_rng(4), 32, 0.6))
    rays, behind = random_rays(100, 5), np.random.default_rng(6).random((100, 3), np.float32)
    marched = []
    for module in (native, torch_backend):
        counts = np.zeros(100, np.int32)
        t, length = np.zeros((100, 50), np.float32), np.zeros((100, 50), np.float32)
        points = np.zeros((100, 50, 3), np.float32)
        case.field(module).march(*rays, 1.5, counts, t, length, points)
        marched.append((counts, t, length, points))
    for a, b in zip(*marched, strict=True):
        assert_close_but_for_flips(b.astype(np.float32), a, 1e-5 * (1 + np.abs(a).max()), 0.01)
    one = traced(native, case, rays, behind, 1e-4, 3e-3, 1.5)
    other = traced(torch_backend, case, rays, behind, 1e-4, 3e-3, 1.5)
    for a, b in zip(one, other, strict=True):
        assert_close_but_for_flips(b, a, 1e-4, 0.03)


def test_pictures_are_the_same(native: Any) -> None:
    k, pose = [20.0, 21.0, 10.0, 8.0, 0.05, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, -2]
    pictures = []
    for module in (native, torch_backend):
        out = [np.zeros((14, 17, 3), np.float32), *np.zeros((2, 14, 17), np.float32)]
        CASES["bounded"].field(module).render(
            k, 0, 20, 16, pose, [0.1, 0.2, 0.3], 1e-3, 3e-3, 1, (1, 15, 2, 19), *out
        )
        pictures.append(out)
    for a, b in zip(*pictures, strict=True):
        assert_close_but_for_flips(b, a, 1e-4, 0.02)
    assert pictures[0][0].std() > 0.01


@pytest.mark.parametrize(("k", "kind"), LENSES)
def test_lenses_are_the_same(native: Any, k: list[float], kind: int) -> None:
    pose, pixels = random_pose(1), some_pixels(100)
    a = native_rays(native, k, kind, pose, pixels)
    b = native_rays(torch_backend, k, kind, pose, pixels)
    assert_close(b[0], a[0], 0)
    assert_close(b[1], a[1], 2e-6)


def test_adam_and_halves_are_the_same(native: Any) -> None:
    rng = np.random.default_rng(0)
    g = rng.normal(size=(4, 160)).astype(np.float32)
    results = []
    for module in (native, torch_backend):
        p, moments = np.zeros(160, np.float32), np.zeros(320, np.float32)
        for row in g:
            module.adam(row, p, moments, 1e-2, 0.9, 0.99, 1e-15)
        halves = np.zeros(160, np.uint16)
        module.to_half(g[0] * 1e5, halves)
        results.append((p, moments, halves))
    for a, b in zip(*results, strict=True):
        assert_close(b, a, 1e-6)


@pytest.mark.parametrize("kind", ("plain", "as in training"))
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_the_same(native: Any, name: str, kind: str) -> None:
    case, rays, targets, behind = given(CASES[name], SETTINGS[kind].occupied)
    one, other = (
        gradients(start(m, case), options(m, SETTINGS[kind]), rays, targets, behind, known=known_depths())
        for m in (native, torch_backend)
    )
    for a, b in zip(one[:2], other[:2], strict=True):
        assert_close_but_for_flips(b, a, 2e-4 * np.abs(a).max(), 0.03)
    for key in ("rays", "survivors", "squared_error"):
        assert_close(other[2][key], one[2][key], 0.5, rtol=2e-3)


def steps(module: Any, name: str, channels: int, n: int, allowed: Any = None) -> tuple[Start, Any]:
    trained = start(module, CASES[name], 7, channels, channels == 3, allowed)
    o = options(module, SETTINGS["as in training"])
    o.occupancy_every = 1
    return trained, [trained.run(o, 1, 1e9) for _ in range(n)]


@pytest.mark.parametrize("channels", (3, 4))
@pytest.mark.parametrize("name", ("bounded", "unbounded, network"))
def test_a_step_is_the_same(native: Any, name: str, channels: int) -> None:
    """One step from the same start: the same rays are drawn, and all arrays end up the same."""
    allowed = random_bits(np.random.default_rng(8), 32, 0.8)
    a, one = steps(native, name, channels, 1, allowed)
    b, other = steps(torch_backend, name, channels, 1, allowed)
    for key in ("rays", "survivors", "squared_error", "occupied_fraction"):
        assert_close(np.float64(other[0][key]), one[0][key], 0, rtol=2e-3)
    for array in ("table_moments", "weight_moments"):
        want = getattr(a, array)
        first = want[:, 0] if want.ndim == 3 else want[: len(want) // 2]
        tolerance = (2e-4 if array == "weight_moments" else 5e-3) * np.abs(first).max()
        assert_close_but_for_flips(getattr(b, array), want, tolerance, 0.03)
    # Unless the gradient is nearly zero its sign is the same, and with it Adam's first step.
    m = np.abs(a.table_moments[:, 0])
    sure = m > 1e-2 * m.max()
    assert sure.sum() > 50
    assert_close_but_for_flips(b.table[sure], a.table[sure], 1e-4, 0.01)
    changed = np.unpackbits((a.case.occupancy ^ b.case.occupancy).view(np.uint8)).mean()
    assert changed < 0.002
    assert_close_but_for_flips(b.occupancy_values, a.occupancy_values, 1e-3, 0.002)
    assert_close(b.trainer.occupancy_mean, a.trainer.occupancy_mean, 0, rtol=1e-3)
    assert b.trainer.rays_drawn == a.trainer.rays_drawn and b.trainer.step == a.trainer.step == 1
    assert_close(b.trainer.survivors_per_ray, a.trainer.survivors_per_ray, 0, rtol=2e-3)


@pytest.mark.parametrize("name", ("bounded", "unbounded"))
def test_training_goes_the_same_way(native: Any, name: str) -> None:
    _, one = steps(native, name, 3, 12)
    _, other = steps(torch_backend, name, 3, 12)
    for i in (0, 3, 6, 11):
        assert abs(other[i]["rays"] - one[i]["rays"]) <= 0.05 * one[i]["rays"]
        errors = [r[i]["squared_error"] / r[i]["rays"] for r in (one, other)]
        assert_close(errors[1], errors[0], 0, rtol=0.1)


def test_training_learns_and_repeats_itself() -> None:
    runs = []
    for _ in range(2):
        trained = start(torch_backend, CASES["bounded"], 3, 4, False)
        o = options(torch_backend, SETTINGS["as in training"])
        reports = [trained.run(o, 15, 1e9) for _ in range(4)]
        runs.append(trained.table.tobytes())
        losses = [r["squared_error"] / r["rays"] for r in reports]
        assert losses[-1] < 0.8 * losses[0]
    assert runs[0] == runs[1]
    assert trained.run(o, 5, 0.0)["steps"] == 0  # no time, no steps


def test_only_touched_rows_change() -> None:
    case = make_case(25, levels=3, log2_table=16, base=16, finest=300, gain=3.0)
    trained = start(torch_backend, case)
    before, halves = trained.table.copy(), trained.case.table.copy()
    trained.run(options(torch_backend, SETTINGS["as in training"]), 2, 1e9)
    touched = trained.table_moments.any((1, 2))
    assert 0.005 < touched.mean() < 0.9
    assert np.array_equal(trained.table[~touched], before[~touched])
    assert np.array_equal(trained.case.table[~touched], halves[~touched])
    expected = trained.table.astype(np.float16).view(np.uint16)
    assert np.array_equal(trained.case.table, expected)


def test_wrong_arrays_are_refused() -> None:
    case = make_case()
    field, points = case.field(torch_backend), random_points(9)
    out = np.zeros((9, 16), np.float32)
    for a, b in (
        (points.astype(np.float64), out),
        (points[::2], out[:5]),
        (points, out[:8]),
        (points * 2, out),
        (points * np.float32(np.nan), out),
    ):
        with pytest.raises((TypeError, ValueError)):
            field.encode(a, b)
    rays, behind = random_rays(9), np.zeros((9, 3), np.float32)
    rays[1][3, 1] = np.inf
    with pytest.raises(ValueError):
        traced(torch_backend, case, rays, behind)


# --- the random numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", (1, 2, 5, 64, 1000, 4097))
def test_permutations_visit_everything_once(n: int) -> None:
    i = np.arange(n, dtype=np.uint64)
    first = draws.permute(i, n, np.zeros(n, np.uint32))
    other = draws.permute(i, n, np.ones(n, np.uint32))
    assert np.array_equal(np.sort(first), i) and np.array_equal(np.sort(other), i)
    if n >= 64:
        assert (first != other).mean() > 0.9 and abs(np.corrcoef(first, i)[0, 1]) < 0.3


def test_random_numbers_are_uniform_and_unlike_each_other() -> None:
    a = np.arange(100_000, dtype=np.uint32)
    x, y, z = (draws.random_unit(s, a, b) for s, b in ((0, 1), (0, 2), (1, 1)))
    assert x.min() >= 0 and x.max() < 1
    counts, _ = np.histogram(x, 100, (0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 150  # χ² of 99 degrees
    for other in (y, z, np.roll(x, 1)):
        assert abs(np.corrcoef(x, other)[0, 1]) < 0.015

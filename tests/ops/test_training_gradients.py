"""The whole gradient of a training step, and what a step may and may not change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import (
    assert_close,
    assert_close_but_for_flips,
    double,
    make_case,
    random_bits,
)
from training_steps import (
    CASES,
    MOMENTS,
    RAYS,
    SETTINGS,
    Start,
    check_pull,
    expected,
    given,
    gradients,
    known_depths,
    options,
    start,
)

from nerfscene.ops import backend

pytest_plugins = ["kernel_cases"]


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("name", CASES)
def test_gradients_match_oracle(native: Any, name: str, kind: str) -> None:
    case, rays, targets, behind = given(CASES[name], SETTINGS[kind].occupied)
    trained = start(native, case)
    got_table, got_weights, report = gradients(
        trained, options(native, SETTINGS[kind]), rays, targets, behind, known=known_depths()
    )
    table, weights, squared_error, survivors = expected(name, kind)
    skips = kind == "as in training"
    assert report["rays"] == RAYS and report["dropped"] == 0
    assert abs(report["survivors"] - survivors) <= (0.002 * survivors if skips else 2)
    assert_close(report["squared_error"], squared_error, 0, rtol=1e-3 if skips else 1e-4)
    # Rounding takes one sample in thousands across a ReLU's bend or a cell's border.
    for got, want in ((got_table, table), (got_weights, weights)):
        assert_close_but_for_flips(got, want, 2e-4 * np.abs(want).max(), 0.03 if skips else 0.002)
        assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > (0.999 if skips else 0.99999)
    # Asking for gradients updates nothing except occupancy.
    assert np.array_equal(trained.table, case.master)
    assert np.array_equal(trained.case.weights, case.weights)
    assert not trained.table_moments.any() and not trained.weight_moments.any()


@pytest.mark.parametrize("name", CASES)
def test_products_in_bfloat16_give_nearly_the_same(native: Any, name: str) -> None:
    case, rays, targets, behind = given(CASES[name], 1.0)
    exact, rough, off = [], [], options(native, SETTINGS["as in training"])
    on = options(native, SETTINGS["as in training"])
    on.bfloat16 = 1
    for o, out in ((off, exact), (on, rough)):
        out += gradients(start(native, case), o, rays, targets, behind)
    assert abs(rough[2]["survivors"] - exact[2]["survivors"]) <= 0.002 * exact[2]["survivors"]
    for got, want in zip(rough[:2], exact[:2], strict=True):
        assert_close_but_for_flips(got, want, 2.0**-5 * np.abs(want).max(), 0.005)
        assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.999
        # A processor without bfloat16 computes in float.
        assert np.array_equal(got, want) != native.use_bfloat16(True)


def test_the_settings_differ() -> None:
    plain = expected("unbounded", "plain")[0]
    for kind in ("quadratic", "against fog", "far", "sky", "known depths", "as in training"):
        other = expected("unbounded", kind)[0]
        assert np.abs(other - plain).max() > 0.01 * np.abs(plain).max(), kind


@pytest.mark.parametrize("n", (0, 1, 15, 16, 17, 129))
def test_any_number_of_rays(native: Any, n: int) -> None:
    case, rays, targets, behind = given(CASES["bounded"], 1.0, 129)
    o = options(native, SETTINGS["plain"])
    o.distortion = 0.1
    trained = start(native, case)
    some = tuple(x[:n] for x in rays)
    together = gradients(trained, o, some, targets[:n], behind[:n])
    assert np.isfinite(together[0]).all() and together[2]["rays"] == n
    # The gradient is the mean of each ray's own gradient.
    total = np.zeros_like(together[1])
    for i in range(n):
        one = tuple(x[i : i + 1] for x in rays)
        total += gradients(trained, o, one, targets[i : i + 1], behind[i : i + 1])[1] / n
    assert_close(together[1], total, 1e-5 * max(np.abs(total).max(), 1e-9))


def test_rays_that_see_nothing_have_no_gradient(native: Any) -> None:
    case, (o, d, jitter), targets, behind = given(CASES["bounded"], 0.0)
    d_table, d_weights, report = gradients(
        start(native, case), options(native, SETTINGS["plain"]), (o, d, jitter), targets, behind
    )
    assert not d_table.any() and not d_weights.any() and report["survivors"] == 0
    assert_close(report["squared_error"], ((behind - targets).astype(np.float64) ** 2).sum(), 0, rtol=1e-5)


def test_threads_share_the_work_and_nothing_else(native: Any) -> None:
    case, rays, targets, behind = given(CASES["bounded, network"], 0.7)
    o = options(native, SETTINGS["as in training"])
    one = gradients(start(native, case), o, rays, targets, behind)
    three = gradients(start(native, case, threads=3), o, rays, targets, behind)
    for a, b in zip(one[:2], three[:2], strict=True):
        assert_close(a, b, 1e-5 * np.abs(a).max())
    assert one[2]["survivors"] == three[2]["survivors"]


@pytest.mark.parametrize("bad", (np.nan, np.inf))
@pytest.mark.parametrize("which", range(5))
def test_rays_that_are_not_finite_are_refused(native: Any, bad: float, which: int) -> None:
    case, rays, targets, behind = given(CASES["bounded"], 1.0)
    arrays = [*rays, targets, behind]
    arrays[which] = arrays[which].copy()
    arrays[which].reshape(-1)[-1] = bad
    trained = start(native, case)
    with pytest.raises(ValueError):
        gradients(trained, options(native, SETTINGS["plain"]), arrays[:3], arrays[3], arrays[4])


def test_wrong_arrays_are_refused(native: Any) -> None:
    case, rays, targets, behind = given(CASES["bounded"], 1.0)
    trained, o = start(native, case), options(native, SETTINGS["plain"])
    d_table, d_weights = np.zeros_like(trained.table), np.zeros_like(case.weights)
    for arrays in (
        (*rays, targets[:-1], behind, d_table, d_weights),
        (*rays, targets, behind, d_table[:-1], d_weights),
        (*rays, targets, behind, d_table, d_weights[:-1]),
        (*rays, targets.astype(np.float64), behind, d_table, d_weights),
        (*rays, targets, behind[:, ::-1], d_table, d_weights),
    ):
        with pytest.raises((TypeError, ValueError)):
            trained.trainer.gradients(o, *arrays)
    field, photo = case.field(native), np.zeros(16 * 12 * 3, np.uint8)
    camera = ([18.0, 19.0, 8.0, 6.0, 0, 0, 0, 0, 0], 0, 16, 12, [1.0, 0, 0, 0] * 3)
    good: dict[str, Any] = dict(
        field=field, table=trained.table, table_moments=trained.table_moments,
        weight_moments=trained.weight_moments, occupancy_values=trained.occupancy_values,
        allowed=None, cameras=[camera], pixels=photo, channels=3, random_background=True,
        background=[0.0, 0, 0], seed=0, threads=1,
    )  # fmt: skip
    native.Trainer(**good)
    for change in (
        {"table": trained.table[:-1]},
        {"table": trained.table.astype(np.float64)},
        {"table_moments": trained.table},
        {"weight_moments": trained.weight_moments[:-1]},
        {"occupancy_values": trained.occupancy_values[:-1]},
        {"allowed": np.zeros(3, np.uint32)},
        {"allowed": np.zeros(1024, np.int64)},
        {"cameras": []},
        {"pixels": photo[:-1]},
        {"pixels": photo.astype(np.float32)},
        {"channels": 2},
        {"background": [0.0]},
    ):
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            native.Trainer(**(good | change))


# --- steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("bounded", "unbounded, network"))
def test_one_thread_and_a_seed_give_the_same_bits(native: Any, name: str) -> None:
    def trained(seed: int, turns: tuple[int, ...]) -> Start:
        s = start(native, CASES[name], seed)
        for steps in turns:
            s.run(options(native, SETTINGS["as in training"]), steps, 1e9)
        return s

    a, b, c = trained(5, (12,)), trained(5, (1, 4, 7)), trained(6, (12,))
    assert a.trainer.step == b.trainer.step == 12
    assert a.trainer.rays_drawn == b.trainer.rays_drawn > 0
    for array in ("table", "table_moments", "weight_moments", "occupancy_values"):
        assert getattr(a, array).tobytes() == getattr(b, array).tobytes()
    assert a.case.occupancy.tobytes() == b.case.occupancy.tobytes()
    assert a.case.table.tobytes() == b.case.table.tobytes()
    assert a.table.tobytes() != c.table.tobytes()


@pytest.mark.parametrize("threads", (1, 3))
def test_only_touched_rows_change(native: Any, threads: int) -> None:
    case = make_case(25, levels=3, log2_table=16, base=16, finest=300, gain=3.0)
    trained = start(native, case, threads=threads)
    before = trained.table.copy()
    report = trained.run(options(native, SETTINGS["as in training"]), 3, 1e9)
    assert report["steps"] == 3 and report["rays"] >= 3 * 64
    touched = trained.table_moments.any((1, 2))
    assert 0.005 < touched.mean() < 0.9
    assert np.array_equal(trained.table[~touched], before[~touched])
    changed = (trained.table != before).any(1)
    assert changed[touched].mean() > 0.99
    # The half-precision table follows the float32 table; untouched rows keep their bits.
    halves = np.empty_like(trained.case.table)
    native.to_half(trained.table, halves)
    assert np.array_equal(trained.case.table, halves)
    # The transposed weights follow the weights.
    assert np.array_equal(trained.case.weights_t, replace(trained.case).weights_t)
    assert not np.array_equal(trained.case.weights, case.weights)


@pytest.mark.parametrize("levels", (1, 4))
def test_threads_take_the_same_step(native: Any, levels: int) -> None:
    case = make_case(26, levels=levels, features=8, log2_table=13, finest=64, gain=2.0)
    one, four = (start(native, case, threads=threads) for threads in (1, 4))
    o = options(native, SETTINGS["as in training"])
    o.occupancy_every = 1
    for trained in (one, four):  # with one level, threads share its rows
        trained.run(o, 1, 1e9)
    for array in ("table_moments", "weight_moments", "occupancy_values"):
        want = getattr(one, array)
        assert want.std() > 0
        rtol = MOMENTS if array == "table_moments" else 0.0
        assert_close(getattr(four, array), want, 1e-5 * np.abs(want).max(), rtol=rtol)
    assert np.array_equal(one.case.occupancy, four.case.occupancy)


@pytest.mark.parametrize("growth", (0.0, 0.75))
def test_the_pull_is_towards_zero_where_there_is_a_gradient(native: Any, growth: float) -> None:
    check_pull(native, growth)


def test_a_step_is_adam_on_the_gradient(native: Any) -> None:
    trained = start(native, CASES["bounded"])
    o = options(native, SETTINGS["plain"])
    before, weights = trained.table.copy(), trained.case.weights.copy()
    trained.run(o, 1, 1e9)
    m, v = double(trained.table_moments)[0].unbind(1)
    g = m / (1 - o.beta1)
    assert torch.allclose(v, (1 - o.beta2) * g * g, rtol=2 * MOMENTS, atol=1e-20)
    moved = double(before)[0] - o.table_rate * m.sign()  # Adam's first step is as long as the rate
    big = (g.abs() > 1e-10).numpy()
    assert big.any()
    assert_close(trained.table[big], moved[big], 2e-6)
    m, v = double(trained.weight_moments)[0].reshape(2, -1)
    moved = double(weights)[0] - o.weight_rate * m / (v.sqrt() + o.epsilon)
    assert_close(trained.case.weights, moved, 2e-6)


def test_training_lowers_the_loss(native: Any) -> None:
    trained = start(native, CASES["bounded, network"], channels=4, random_background=False)
    o = options(native, SETTINGS["as in training"])
    o.target_samples = 8192
    o.coarseness = 1.0
    losses = []
    for _ in range(8):
        report = trained.run(o, 25, 1e9)
        losses.append(report["squared_error"] / report["rays"])
    assert losses[-1] < 0.6 * losses[0]  # it learns four photos of noise by heart


def test_occupancy_is_learned_and_respects_what_is_allowed(native: Any) -> None:
    allowed = random_bits(np.random.default_rng(3), 32, 0.5)
    case = replace(CASES["bounded"], occupancy=allowed.copy())
    trained = start(native, case, allowed=allowed)
    o = options(native, SETTINGS["plain"])
    o.occupancy_every, o.occupancy_decay, o.occupancy_threshold = 1, 0.5, 1e-2
    trained.run(o, 1, 1e9)
    values = trained.occupancy_values
    assert (values >= 0.02 - 1e-7).all() and (values > 0.02).any()  # half of 0.04, or thicker
    report = trained.run(o, 5, 1e9)
    bits = np.unpackbits(trained.case.occupancy.view(np.uint8), bitorder="little")
    inside = np.unpackbits(allowed.view(np.uint8), bitorder="little")
    assert not bits[inside == 0].any()
    assert abs(report["occupied_fraction"] - bits.mean()) < 1e-9
    assert_close(trained.trainer.occupancy_mean, values.mean(), 1e-5)
    assert 0.001 < bits.mean() < 0.45


@pytest.mark.parametrize("plain", (True, False))
def test_only_plain_parts_of_photos_are_pulled_like_sky(native: Any, plain: bool) -> None:
    rng = np.random.default_rng(3)
    size = 4 * 16 * 12 * 3
    pixels = np.full(size, 180, np.uint8) if plain else rng.integers(0, 256, size, np.uint8)
    tables = []
    for pull in (0.0, 0.3):
        o = options(native, SETTINGS["plain"])
        o.sky_pull, o.sky_distance = pull, 3.0
        trained = start(native, CASES["unbounded"], pixels=pixels)
        trained.run(o, 1, 60.0)
        tables.append(np.array(trained.table))
    apart = np.abs(tables[1] - tables[0]).max()
    assert apart > 1e-3 if plain else apart < 1e-3, apart


def test_known_depths_are_those_of_the_drawn_pixels(native: Any) -> None:
    """When a trainer draws its own rays, it uses the known depths of the pixels that they belong to."""
    rng = np.random.default_rng(8)
    sizes = ((17, 13), (16, 12), (22, 9), (3, 30))  # sides that are no multiples of a cell's
    depths = rng.uniform(0.5, 3.0, 5 * 4 + 4 * 3 + 6 * 3 + 1 * 8).astype(np.float32)
    depths[rng.random(len(depths)) < 0.5] = 0
    tables = []
    for module in (native, backend.load("torch")):
        for known in (depths, None, depths[::-1].copy()):
            o_here = options(module, SETTINGS["known depths"])
            o_here.occupancy_every = 0
            trained = start(module, CASES["unbounded"], depths=known, sizes=sizes)
            trained.run(o_here, 1, 60.0)
            tables.append(np.array(trained.table))
    ours, plain, other, theirs = *tables[:3], tables[3]
    assert np.abs(ours - plain).max() > 1e-3 and np.abs(ours - other).max() > 1e-3
    # Adam's first step depends only on the gradient's sign, which rounding may flip near 0.
    assert np.mean(np.abs(ours - theirs) > 1e-3) < 0.02 * np.mean(np.abs(ours - plain) > 1e-3) + 0.002


def test_depths_of_another_number_of_cells_are_refused(native: Any) -> None:
    with pytest.raises(ValueError):
        start(native, CASES["unbounded"], depths=np.zeros(47, np.float32))


@pytest.mark.parametrize("kind", ("known depths", "as in training"))
def test_cameras_follow_colours_alone(native: Any, kind: str) -> None:
    """Where gradients of the rays are asked for, known depths have no effect on any gradient."""
    case, rays, targets, behind = given(CASES["unbounded"], SETTINGS[kind].occupied)
    got = []
    for known in (known_depths(), None):
        d_rays = np.zeros((RAYS, 6), np.float32)
        trained = start(native, case, camera_gradients=np.zeros((4, 15), np.float32))
        o = options(native, SETTINGS[kind])
        d_table, d_weights, _ = gradients(trained, o, rays, targets, behind, known=known, d_rays=d_rays)
        got.append((d_table, d_weights, d_rays))
    for pulled, plain in zip(*got, strict=True):
        assert plain.any()
        assert_close(pulled, plain, 1e-5 * np.abs(plain).max())

"""From samples to pixels: kernels against the oracle, and properties that hold for any field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import (
    SETS,
    Case,
    assert_close,
    assert_close_but_for_flips,
    double,
    make_case,
    oracle_pixels,
    random_bits,
    random_directions,
    random_rays,
    traced,
)
from ray_cases import CASES, backgrounds, expected

from nerfscene.ops import reference as ref

pytest_plugins = ["kernel_cases"]


def grey(case: Case, density: float, color_layers: int = 0) -> Case:
    """A field with one density everywhere and colour ½: all weights are zero except the density's."""
    weights = np.zeros_like(case.weights)
    first, second = case.shapes[:2]
    hidden = weights[: first[0] * first[1]].reshape(first)
    hidden[0, 0] = 1
    out = weights[first[0] * first[1] :][: second[0] * second[1]].reshape(second)
    out[0, 0] = np.log(density) + 1
    table = np.ones(case.table.shape, np.float16).view(np.uint16)
    assert out[0, 0] != 0 and color_layers == case.color_layers
    return replace(case, table=table, weights=weights)


@pytest.mark.parametrize("coarseness", (1.0, 3.0))
@pytest.mark.parametrize("name", CASES)
def test_trace_matches_oracle(native: Any, name: str, coarseness: float) -> None:
    case, rays, b, seen = expected(name, 0.0, 0.0, coarseness, 1.0)
    rgb, depth, accumulation = traced(native, case, rays, b, coarseness=coarseness)
    # Without occupancy and thresholds only a ray's last step can flip, for one ray in thousands.
    assert_close_but_for_flips(rgb, seen.rgb, 1e-5, 0.01)
    assert_close_but_for_flips(accumulation, seen.accumulation, 1e-5, 0.01)
    assert_close_but_for_flips(depth, seen.depth, 1e-4, 0.01)
    assert seen.accumulation.max() > 0.9 and seen.rgb.std() > 0.05


@pytest.mark.parametrize("name", CASES)
def test_trace_matches_oracle_where_it_is_allowed_to_skip(native: Any, name: str) -> None:
    case, rays, b, seen = expected(name, 1e-3, 1e-2, 1.0, 0.5)
    rgb, depth, accumulation = traced(native, case, rays, b, 1e-3, 1e-2)
    assert_close_but_for_flips(rgb, seen.rgb, 2e-5, 0.02)
    assert_close_but_for_flips(accumulation, seen.accumulation, 2e-5, 0.02)
    assert_close_but_for_flips(depth, seen.depth, 2e-4, 0.02)
    # Skipping and stopping do change the pixels here.
    plain = expected(name, 0.0, 0.0, 1.0, 0.5)[-1]
    assert ((seen.rgb - plain.rgb).abs() > 1e-4).double().mean() > 0.2


@pytest.mark.parametrize("name", CASES)
def test_culled_samples_still_attenuate(native: Any, name: str) -> None:
    case, rays, b = CASES[name], random_rays(100, 4), backgrounds(100)
    everything = traced(native, case, rays, b)
    culled = traced(native, case, rays, b, min_weight=5e-3)
    assert_close(culled[2], everything[2], 1e-6)
    assert (culled[0] <= everything[0] + 1e-6).all() and (culled[0] < everything[0] - 1e-3).any()


@pytest.mark.parametrize("n", (0, 1, 15, 16, 17, 129))
def test_any_number_of_rays(native: Any, n: int) -> None:
    case, rays, b = CASES["bounded"], random_rays(129, 5), backgrounds(129)
    some = traced(native, case, tuple(x[:n] for x in rays), b[:n])  # type: ignore[arg-type]
    for part, whole in zip(some, traced(native, case, rays, b), strict=True):
        assert_close(part, whole[:n], 2e-6)


@pytest.mark.parametrize("name", CASES)
def test_weights_and_transmittance_sum_to_one(native: Any, name: str) -> None:
    base = CASES[name]
    second = base.shapes[0][0] * base.shapes[0][1]
    weights = base.weights.copy()  # keeps the density and zeroes all other outputs, so every colour is ½
    out = weights[second : second + base.shapes[1][0] * base.shapes[1][1]].reshape(base.shapes[1])
    out[:, 1:] = 0
    if base.color_layers:
        weights[-base.shapes[-1][0] * base.shapes[-1][1] :] = 0
    case, rays = replace(base, weights=weights), random_rays(200, 6)
    half = np.full((200, 3), 0.5, np.float32)
    rgb, _, accumulation = traced(native, case, rays, half)
    assert_close(rgb, 0.5, 2e-6)  # ½ Σ w + ½ T
    assert accumulation.mean() > 0.1
    _, rays, _, seen = expected(name, 0.0, 0.0, 1.0, 1.0)
    total = torch.zeros(200).double()
    s = ref.march(*double(*rays), base.bits(), base.space)
    total = total.index_add(0, s.ray, seen.weights) + seen.transmittance
    assert (total - 1).abs().max() < 1e-12


def test_a_uniform_medium_follows_beers_law(native: Any) -> None:
    for density, coarseness in ((0.3, 1.0), (0.3, 2.0), (2.0, 4.0)):
        case = grey(make_case(step=0.02), density)
        o = np.array([[-3, 0.1, 0.2]], np.float32)
        rays = (o, np.array([[1, 0, 0]], np.float32), np.full(1, 0.5, np.float32))
        _, depth, accumulation = traced(
            native, case, rays, np.zeros((1, 3), np.float32), coarseness=coarseness
        )
        # the ray crosses 2 units of the medium, however they are cut into steps
        assert_close(accumulation, 1 - np.exp(-2 * density), 2e-5)
        step = 0.02 * coarseness
        t = 2 + step * (np.arange(round(2 / step)) + 0.5)
        w = np.exp(-density * (t - step / 2)) * (1 - np.exp(-density * step))
        assert_close(depth, (w * t).sum() / w.sum(), 1e-4)


def packed(lengths: list[float], counts: list[int]) -> ref.Samples:
    n = sum(counts)
    number = torch.tensor(counts)
    ray = torch.repeat_interleave(torch.arange(len(counts)), number)
    length = torch.tensor(lengths, dtype=torch.float64)
    t = torch.arange(1, n + 1).double() * 0.1
    none = torch.zeros(n, 3).double()
    return ref.Samples(number.cumsum(0) - number, number, ray, t, length, none, none)


def test_splitting_a_segment_changes_nothing() -> None:
    whole, parts = packed([0.5, 0.3], [2]), packed([0.2, 0.1, 0.2, 0.3], [4])
    rng = torch.Generator().manual_seed(4)
    density, rgb = torch.tensor([1.5, 4.0]).double(), torch.rand(2, 3, generator=rng).double()
    b = torch.rand(1, 3, generator=rng).double()
    cut = torch.tensor([0, 0, 0, 1])
    yes = torch.ones(4, dtype=torch.bool)
    a = ref.composite(whole, density, rgb, b, yes[:2], yes[:2])
    c = ref.composite(parts, density[cut], rgb[cut], b, yes, yes)
    assert (a.rgb - c.rgb).abs().max() < 1e-14
    assert (a.transmittance - c.transmittance).abs().max() < 1e-14


# --- edges ----------------------------------------------------------------------------------------


def test_rays_that_see_nothing_see_the_background(native: Any) -> None:
    b = backgrounds(50)
    empty = replace(CASES["bounded"], occupancy=np.zeros(1024, np.uint32))
    o, d, jitter = random_rays(50, 7)
    for case, rays in ((empty, (o, d, jitter)), (CASES["bounded"], (o + 20 * d, d, jitter))):
        rgb, depth, accumulation = traced(native, case, rays, b)
        assert np.array_equal(rgb, b) and not depth.any() and not accumulation.any()


def test_an_opaque_first_sample_hides_the_rest(native: Any) -> None:
    case, rays = grey(make_case(), 1e5), random_rays(50, 8, distance=0.5)
    rgb, depth, accumulation = traced(native, case, rays, backgrounds(50), 1e-4, 1e-3)
    assert_close(accumulation, 1, 1e-6)
    assert_close(rgb, 0.5, 1e-6)
    assert_close(depth, 0.05 + 0.03 * rays[2], 1e-6)  # at near, inside the first step


def test_one_sample(native: Any) -> None:
    bits = np.zeros(1024, np.uint32)
    bits[16 + 16 * 32] = 1 << 16  # the cell at the origin's upper side
    case = replace(grey(make_case(step=0.0625), 3.0), occupancy=bits)
    o, d = np.array([[-2, 0.03, 0.03]], np.float32), np.array([[1, 0, 0]], np.float32)
    rgb, depth, accumulation = traced(
        native, case, (o, d, np.full(1, 0.5, np.float32)), np.ones((1, 3), np.float32)
    )
    alpha = 1 - np.exp(-3.0 * 0.0625)
    assert_close(accumulation, alpha, 1e-6)
    assert_close(rgb, 1 - 0.5 * alpha, 1e-6)
    assert_close(depth, 2 + 0.0625 / 2, 1e-5)


def test_fog_fills_a_tile_and_is_still_right(native: Any) -> None:
    # 64 rays of 600 survivors each overflow a tile's memory many times over
    case, rays = grey(make_case(step=0.004), 0.05), random_rays(64, 9, distance=0.2)
    rgb, _, accumulation = traced(native, case, rays, backgrounds(64))
    seen = oracle_pixels(case, rays, backgrounds(64))
    assert_close_but_for_flips(rgb, seen.rgb, 2e-5, 0.05)
    assert_close_but_for_flips(accumulation, seen.accumulation, 2e-5, 0.05)


@pytest.mark.parametrize("bad", (np.nan, np.inf))
@pytest.mark.parametrize("which", (0, 1, 2, 3))
def test_rays_that_are_not_finite_are_refused(native: Any, bad: float, which: int) -> None:
    rays = (*random_rays(20, 6), backgrounds(20))
    rays[which].reshape(-1)[-1] = bad
    with pytest.raises(ValueError):
        traced(native, CASES["bounded"], rays[:3], rays[3])


def test_wrong_arrays_are_refused_not_copied(native: Any) -> None:
    o, d, jitter = random_rays(20, 6)
    b = backgrounds(20)
    for rays, behind in (
        ((o[:19], d, jitter), b),
        ((o, d.astype(np.float64), jitter), b),
        ((o, d, jitter), b[:, ::-1]),
        ((o, d, jitter), b[:10]),
    ):
        with pytest.raises((TypeError, ValueError)):
            traced(native, CASES["bounded"], rays, behind)


# --- pictures -------------------------------------------------------------------------------------

CAMERA = ([30.0, 31.0, 16.0, 12.0, 0.05, 0, 0, 0, 0], 0, 32, 24)
POSE = [1.0, 0, 0, 0.1, 0, 1, 0, -0.1, 0, 0, 1, -2.2]


def rendered(module: Any, case: Case, rect: Any = (0, 24, 0, 32), threads: int = 1) -> Any:
    shape = (rect[1] - rect[0], rect[3] - rect[2])
    rgb = np.zeros((*shape, 3), np.float32)
    depth, accumulation = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    case.field(module).render(
        *CAMERA, POSE, [0.2, 0.4, 0.6], 1e-3, 3e-3, threads, rect, rgb, depth, accumulation
    )
    return rgb, depth, accumulation


@pytest.mark.parametrize("name", CASES)
def test_render_is_trace_of_the_pixels_rays(native: Any, name: str) -> None:
    y, x = np.mgrid[0:24, 0:32]
    pixels = (np.stack([x, y], -1).reshape(-1, 2) + 0.5).astype(np.float32)
    o, d = np.zeros((768, 3), np.float32), np.zeros((768, 3), np.float32)
    native.pixel_rays(*CAMERA, POSE, pixels, o, d)
    jitter = np.full(768, 0.5, np.float32)
    b = np.tile(np.array([0.2, 0.4, 0.6], np.float32), (768, 1))
    picture = rendered(native, CASES[name])
    rays = traced(native, CASES[name], (o, d, jitter), b, 1e-3, 3e-3)
    for a, c in zip(picture, rays, strict=True):
        assert_close(a, c.reshape(a.shape), 2e-6)
    for a, c in zip(picture, rendered(native, CASES[name], threads=3), strict=True):
        assert np.array_equal(a, c)  # whatever the threads
    part = rendered(native, CASES[name], rect=(5, 20, 3, 30))
    for a, c in zip(picture, part, strict=True):
        assert_close(c, a[5:20, 3:30], 2e-6)


@pytest.mark.parametrize("rect", ((-1, 10, 0, 32), (0, 25, 0, 32), (0, 24, 0, 33), (9, 8, 0, 32)))
def test_rectangles_outside_the_picture_are_refused(native: Any, rect: Any) -> None:
    n = abs((rect[1] - rect[0]) * (rect[3] - rect[2]))
    out = [np.zeros(3 * n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.float32)]
    field = CASES["bounded"].field(native)
    with pytest.raises(ValueError):
        field.render(*CAMERA, POSE, [0.0, 0, 0], 1e-3, 3e-3, 1, rect, *out)


@pytest.mark.skipif(len(SETS) < 2, reason="this machine runs only one of the instruction sets")
@pytest.mark.parametrize("name", CASES)
def test_instruction_sets_render_the_same(native: Any, name: str) -> None:
    here = rendered(native, CASES[name])
    before = native.instruction_set()
    for other in SETS:
        native.use_instruction_set(other)
        for a, c in zip(here, rendered(native, CASES[name]), strict=True):
            assert_close_but_for_flips(a, c, 1e-4, 0.02)
    native.use_instruction_set(before)


# --- the oracle against differences ---------------------------------------------------------------


@pytest.mark.parametrize("stop", (0.0, 0.7))
def test_oracle_gradients_are_differences(stop: float) -> None:
    s = packed([0.3, 0.2, 0.4, 0.1, 0.5, 0.2], [3, 0, 1, 2])
    rng = torch.Generator().manual_seed(0)
    density = (torch.rand(6, generator=rng).double() * 4 + 0.5).requires_grad_()
    rgb = torch.rand(6, 3, generator=rng).double().requires_grad_()
    b = torch.rand(4, 3, generator=rng).double().requires_grad_()
    alive, kept = ref.survivors(s, density.detach(), 0.0, stop)
    assert alive.all() == (stop == 0.0)

    def pixels(sigma: torch.Tensor, c: torch.Tensor, behind: torch.Tensor) -> Any:
        p = ref.composite(s, sigma, c, behind, alive, kept)
        return p.rgb, p.transmittance, p.weights, p.depth

    assert torch.autograd.gradcheck(pixels, (density, rgb, b))


def test_oracle_losses_gradients_are_differences() -> None:
    rng = torch.Generator().manual_seed(1)
    error = (torch.rand(20, generator=rng).double() - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: ref.huber(e, 0.1), (error,))
    w = torch.rand(3, 6, generator=rng).double().requires_grad_()
    t = torch.rand(3, 6, generator=rng).double().cumsum(1) + 0.2
    assert torch.autograd.gradcheck(lambda x: ref.distortion_loss(x, t, 0.1 * t), (w,))


def test_distortion_in_linear_time_is_the_definition() -> None:
    case, rays = CASES["unbounded"], random_rays(30, 3)
    s = ref.march(*double(*rays), case.bits(), case.space, 4.0)
    weights = torch.rand(len(s.t), generator=torch.Generator().manual_seed(2)).double()
    index = torch.nonzero(weights > 0.3)[:, 0]
    fast = ref.distortion_of(s, weights, index)
    chosen = torch.where(weights > 0.3, weights, 0.0)
    slow = torch.stack([
        ref.distortion_loss(chosen[None, r], s.t[None, r], s.length[None, r])[0]
        for r in (s.ray == ray for ray in range(30))
    ])  # fmt: skip
    assert (fast - slow).abs().max() < 1e-9 * slow.max()


def test_survivors_follow_the_thresholds_by_hand() -> None:
    s = packed([1.0] * 5, [5])
    density = torch.tensor([0.5, 1e-4, 1.0, 5.0, 1.0], dtype=torch.float64)
    # transmittance before each: 1, .607, .606, .223, .0015
    alive, kept = ref.survivors(s, density, 1e-3, 0.01)
    assert alive.tolist() == [True, True, True, True, False]
    assert kept.tolist() == [True, False, True, True, False]
    white = torch.ones(5, 3).double()
    p = ref.composite(s, density, white, torch.zeros(1, 3).double(), alive, kept)
    end = np.exp(-(0.5 + 1e-4 + 1.0 + 5.0))
    assert_close(p.transmittance.numpy(), end, 1e-12)
    assert_close(p.rgb.numpy(), 1 - end - np.exp(-0.5) * (1 - np.exp(-1e-4)), 1e-12)


def test_directions_matter() -> None:
    outputs = torch.randn(4, 32, generator=torch.Generator().manual_seed(0)).double()
    a, b = (double(random_directions(4, i))[0] for i in (1, 2))
    layers = [torch.zeros(1), torch.zeros(1)]
    assert (ref.color(outputs, a, layers) - ref.color(outputs, b, layers)).abs().max() > 0.01


BOX = np.array([[0.9, -0.5, 0.1, 0.1], [0.4, 1.1, 0.3, -0.2], [-0.2, 0.1, 1.4, 0.3]])  # box_from_scene
# Everything except the far end of the scene.
WIDE = np.array([[1e-3, 0, 0, 0], [0, 1e-3, 0, 0], [0, 0, 1e-3, 0]])


@pytest.mark.parametrize("name", ("bounded", "unbounded, network"))
def test_a_crop_shows_what_is_in_its_box_alone(kernels: Any, name: str) -> None:
    case = replace(CASES[name], occupancy=random_bits(np.random.default_rng(3), 32, 0.5))
    numbers = [30.0, 30.0, 20.0, 15.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    pose = [1.0, 0.0, 0.0, 0.1, 0.0, 1.0, 0.0, 0.2, 0.0, 0.0, 1.0, -2.5]
    pictures = []
    for crop in ([], BOX.ravel().tolist(), WIDE.ravel().tolist()):
        out = [np.full((30, 40, *n), np.nan, np.float32) for n in ((3,), (), ())]
        rect = (0, 30, 0, 40)
        case.field(kernels).render(
            numbers, 0, 40, 30, pose, [0.2, 0.4, 0.6], 0.0, 0.0, 1, rect, *out, crop=crop
        )
        pictures.append(out)
    whole, some, everything = pictures
    for a, b in zip(whole, everything, strict=True):
        assert_close(a, b, 1e-6 * max(1.0, float(np.abs(b).max())))
    rows, columns = np.mgrid[:30, :40]
    pixels = np.stack([columns, rows], -1).reshape(-1, 2).astype(np.float32) + 0.5
    o, d = ref.pixel_rays(double(pixels)[0], torch.tensor(numbers).double(), 0, torch.tensor(pose).double())
    table, weights = (x.detach() for x in case.tensors())
    layers = ref.split_weights(weights, case.shapes)
    s = ref.march(o, d, torch.full((1200,), 0.5).double(), case.bits(), case.space, 1.0)
    s = ref.cropped(s, torch.from_numpy(BOX))
    outputs = ref.network_outputs(ref.hash_encode(s.unit, table, case.grid), layers)
    sigma, rgb = ref.density_activation(outputs[:, 0]), ref.color(outputs, d[s.ray], layers)
    alive, kept = ref.survivors(s, sigma, 0.0, 0.0)
    behind = torch.tensor([[0.2, 0.4, 0.6]]).double().expand(1200, 3)
    seen = ref.composite(s, sigma, rgb, behind, alive, kept)
    tolerance = 0.008 if hasattr(kernels, "devices") else 1e-5
    assert_close_but_for_flips(some[0].reshape(-1, 3), seen.rgb, tolerance, 0.02)
    assert_close_but_for_flips(some[2].ravel(), seen.accumulation, tolerance, 0.02)
    assert np.abs(some[0] - whole[0]).mean() > 0.01 and some[2].max() > 0.1
    # Rays that are given see the same part as a camera's.
    rays = [np.ascontiguousarray(x, np.float32) for x in (o, d)]
    alone = [np.full((1200, *n), np.nan, np.float32) for n in ((3,), (), ())]
    jitter, plain = np.full(1200, 0.5, np.float32), np.tile(np.float32([0.2, 0.4, 0.6]), (1200, 1))
    case.field(kernels).trace(*rays, jitter, plain, 0.0, 0.0, 1.0, *alone, crop=BOX.ravel().tolist())
    for a, b in zip(alone, some, strict=True):
        assert_close_but_for_flips(a.ravel(), b.ravel(), max(tolerance, 1e-4), 0.02)


def test_wrong_crops_are_refused(kernels: Any) -> None:
    out = [np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)]
    numbers, pose = [2.0, 2.0, 1.0, 1.0, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    field = CASES["bounded"].field(kernels)
    for crop in ([1.0] * 11, [1.0] * 16, [float("nan")] * 12):
        with pytest.raises(ValueError):
            field.render(numbers, 0, 2, 2, pose, [0.0] * 3, 0.0, 0.0, 1, (0, 2, 0, 2), *out, crop=crop)

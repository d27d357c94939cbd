"""Where rays are sampled: kernels against the oracle step by step, and properties that always hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import Case, assert_close, double, make_case, random_bits, random_rays

from nerfscene.ops import reference as ref
from nerfscene.ops.layout import Space
from nerfscene.ops.reference_rays import depth_ahead

pytest_plugins = ["kernel_cases"]

SPACES = {
    "bounded": make_case(step=0.03),
    "bounded, growing": make_case(step=0.01, cone=0.02),
    "unbounded": make_case(unbounded=True, near=0.2, far=300.0, step=0.02, cone=0.04),
    "unbounded, constant": make_case(unbounded=True, near=0.3, far=4.0, step=0.03, cone=0.0),
    "ahead": make_case(unbounded=True, near=0.2, far=300.0, step=0.02, cone=0.04, ahead=True),
    "long steps first": make_case(unbounded=True, near=0.3, far=50.0, step=0.1, cone=0.02),
}


def with_occupancy(case: Case, bits: Any) -> Case:
    return replace(case, occupancy=np.ascontiguousarray(bits))


def marched(
    module: Any, case: Case, rays: Any, coarseness: float = 1.0, capacity: int = 1024
) -> tuple[Any, Any, Any, Any]:
    """``Field.march`` → counts (n,), t and length (n, capacity), points (n, capacity, 3)."""
    n = len(rays[2])
    counts = np.full(n, -1, np.int32)
    t, length = (np.full((n, capacity), np.nan, np.float32) for _ in range(2))
    points = np.full((n, capacity, 3), np.nan, np.float32)
    case.field(module).march(*rays, coarseness, counts, t, length, points)
    return counts, t, length, points


def stepped(space: Space, coarseness: float) -> Space:
    return replace(space, step=space.step * coarseness, cone=space.cone * coarseness)


def one_ray(o: Any, d: Any, jitter: float = 0.5) -> tuple[Any, Any, Any]:
    d = np.array([d], np.float32)
    d /= np.linalg.norm(d)
    return np.array([o], np.float32), d, np.array([jitter], np.float32)


@pytest.mark.parametrize("coarseness", (1.0, 2.5))
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("fraction", (0.4, 1.0))
def test_march_matches_oracle(kernels: Any, name: str, fraction: float, coarseness: float) -> None:
    case = with_occupancy(SPACES[name], random_bits(np.random.default_rng(1), 32, fraction))
    rays = random_rays(150, 2)
    n = 150
    counts, t, length, points = marched(kernels, case, rays, coarseness)
    assert counts.max() < 1024
    # Every step of every ray, whatever the occupancy, from the oracle.
    everywhere = torch.full((32**3 // 32,), -1, dtype=torch.int32)
    o, d, jitter = double(*rays)
    steps = ref.march(o, d, jitter, everywhere, case.space, coarseness)
    law, end, _ = ref.ray_steps(o, d, stepped(case.space, coarseness))
    most = int(steps.counts.max()) + 2
    k = torch.arange(len(steps.ray)) - steps.offsets[steps.ray]
    wanted = torch.zeros(n, most, dtype=torch.bool)
    wanted[steps.ray, k] = ref.occupied(case.bits(), ref.occupancy_cell(steps.unit, 32))
    # A step is certain if rounding can't move it to another cell or past the ray's end.
    apart = (steps.unit * 32 - (steps.unit * 32).round()).abs()
    apart[(steps.unit <= 0) | (steps.unit >= 1)] = 1  # moved into the cube, by the kernel too
    border = apart.amin(1) > 1e-4
    certain = torch.zeros(n, most, dtype=torch.bool)
    certain[steps.ray, k] = border & (steps.t < end[steps.ray] * (1 - 1e-5))
    # Each of the kernel's samples belongs to the oracle's nearest step.
    rows, columns = np.nonzero(np.arange(1024) < counts[:, None])
    distance = ref.step_distance(law, torch.arange(most).double()[None] + jitter[:, None])
    gap = np.abs(t[rows, columns][:, None] - distance.numpy()[rows])
    index = gap.argmin(1)
    found = np.zeros((n, most), bool)
    found[rows, index] = True
    assert found.sum() == len(rows)  # no step twice
    assert (found == wanted.numpy())[certain.numpy()].all()
    assert certain.sum() > 0.9 * len(steps.ray) and wanted.sum() > 1000
    flips = found.sum() - int(wanted.sum())
    assert abs(flips) <= 3 * np.sqrt((~certain)[steps.ray, k].sum().item()) + 2  # unbiased
    # Their values.
    assert (gap.min(1) <= 1e-5 * (1 + t[rows, columns])).all()
    exact_t = distance.numpy()[rows, index]
    space = stepped(case.space, coarseness)
    assert_close(length[rows, columns], np.maximum(space.step, space.cone * exact_t), 0, rtol=2e-5)
    at = torch.from_numpy(exact_t)[:, None] * d[rows] + o[rows]
    assert_close(points[rows, columns], ref.to_unit(at, case.space), 4e-6)
    assert (np.diff(columns)[np.diff(rows) == 0] == 1).all()
    for ray in range(n):
        assert (np.diff(t[ray, : counts[ray]]) > 0).all()
    assert np.isnan(t[rows.max(), counts[rows.max()] :]).all()  # nothing is written beyond


@pytest.mark.parametrize("n", (0, 1, 15, 16, 17, 129))
def test_any_number_of_rays(kernels: Any, n: int) -> None:
    case = SPACES["bounded"]
    rays = random_rays(129, 3)
    counts, *_ = marched(kernels, case, tuple(x[:n] for x in rays))
    everything, *_ = marched(kernels, case, rays)
    assert (counts == everything[:n]).all()


@pytest.mark.parametrize("capacity", (1, 2, 7, 8, 9, 40))
def test_capacity_keeps_the_nearest(kernels: Any, capacity: int) -> None:
    case = with_occupancy(SPACES["bounded"], random_bits(np.random.default_rng(2), 32, 0.5))
    rays = random_rays(40, 4)
    counts, t, *_ = marched(kernels, case, rays)
    some, near_t, *_ = marched(kernels, case, rays, capacity=capacity)
    assert (some == np.minimum(counts, capacity)).all()
    for ray in range(40):
        assert np.array_equal(near_t[ray, : some[ray]], t[ray, : some[ray]])


# --- edges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("o", "d"),
    [
        ([-3, 0, 0], [-1, 0, 0]),  # the box is behind
        ([-3, 1.5, 0], [1, 0, 0]),  # beside it, axis-parallel
        ([-3, 0, 0], [1, 1.2, 0]),  # past a corner
        ([0, 0, 2], [1, 0, 0]),
        ([-3, 1.0001, 1.0001], [1, 0, 0]),
        ([-3, -3, -3], [1, 1, 0]),
    ],
)
def test_rays_that_miss_have_no_samples(kernels: Any, o: Any, d: Any) -> None:
    assert marched(kernels, SPACES["bounded"], one_ray(o, d))[0][0] == 0


@pytest.mark.parametrize("axis", (0, 1, 2))
@pytest.mark.parametrize("sign", (-1, 1))
@pytest.mark.parametrize("zero", (0.0, -0.0))
def test_axis_parallel_rays(kernels: Any, axis: int, sign: int, zero: float) -> None:
    o, d = np.full(3, 0.123), np.full(3, zero)
    o[axis], d[axis] = -3 * sign, sign
    counts, t, length, points = marched(kernels, SPACES["bounded"], one_ray(o, d))
    assert counts[0] == 67  # 2 / 0.03 = 66.7 steps, sampled at half a step
    assert_close(t[0, :67], 2 + 0.03 * (np.arange(67) + 0.5), 2e-6)
    assert_close(length[0, :67], 0.03, 1e-7)
    others = [a for a in range(3) if a != axis]
    assert_close(points[0, :67][:, others], (0.123 + 1) / 2, 1e-6)


def test_a_ray_from_inside_starts_at_near(kernels: Any) -> None:
    counts, t, *_ = marched(kernels, SPACES["bounded"], one_ray([0.5, 0, 0], [-1, 0, 0], 0.25))
    assert_close(t[0, 0], 0.05 + 0.25 * 0.03, 1e-7)
    assert counts[0] == 49  # the largest k with 0.05 + (k + 0.25) 0.03 < 1.5 is 48


@pytest.mark.parametrize(
    ("o", "d"), [([-2, 1, 0], [1, 0, 0]), ([-2, -1, -1], [1, 0, 0]), ([-2, 0, -2], [1, 0, 1])]
)
def test_grazing_a_face_or_an_edge_stays_in_the_cube(kernels: Any, o: Any, d: Any) -> None:
    counts, t, _, points = marched(kernels, SPACES["bounded"], one_ray(o, d))
    some = points[0, : counts[0]]
    assert counts[0] >= 66 and np.isfinite(t[0, : counts[0]]).all()
    assert (some >= -1e-6).all() and (some <= 1 + 1e-6).all()


@pytest.mark.parametrize("name", SPACES)
def test_nothing_occupied_nothing_sampled(kernels: Any, name: str) -> None:
    case = with_occupancy(SPACES[name], np.zeros(1024, np.uint32))
    assert not marched(kernels, case, random_rays(50, 5))[0].any()


def test_one_occupied_cell_is_where_the_samples_are(kernels: Any) -> None:
    for x, y, z in ((3, 17, 30), (0, 0, 0), (31, 31, 31), (31, 0, 16)):
        cell = x + (y + z * 32) * 32
        bits = np.zeros(1024, np.uint32)
        bits[cell // 32] = np.uint32(1) << np.uint32(cell % 32)
        case = with_occupancy(SPACES["bounded"], bits)
        centre = (np.array([x, y, z]) + 0.5) / 16 - 1
        o = centre * 2 + np.array([0.4, 2.0, 0.3])
        counts, _, _, points = marched(kernels, case, one_ray(o, centre - o))
        some = points[0, : counts[0]]
        assert counts[0] >= 2
        assert (np.floor(some * 32) == [x, y, z]).all()


@pytest.mark.parametrize("bad", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("which", (0, 1, 2))
def test_rays_that_are_not_finite_are_refused(kernels: Any, bad: float, which: int) -> None:
    rays = random_rays(20, 6)
    rays[which].reshape(-1)[-1] = bad
    with pytest.raises(ValueError):
        marched(kernels, SPACES["bounded"], rays)


def test_wrong_arrays_are_refused_not_copied(kernels: Any) -> None:
    o, d, jitter = random_rays(20, 6)
    for rays in (
        (o[:19], d, jitter),
        (o.astype(np.float64), d, jitter),
        (o, d[:, ::-1], jitter),
        (o, d, np.repeat(jitter, 2)[::2]),
    ):
        with pytest.raises((TypeError, ValueError)):
            marched(kernels, SPACES["bounded"], rays)
    counts = np.zeros(20, np.int64)
    t = np.zeros((20, 4), np.float32)
    with pytest.raises((TypeError, ValueError)):
        SPACES["bounded"].field(kernels).march(
            o, d, jitter, 1.0, counts, t, t.copy(), np.zeros((20, 4, 3), np.float32)
        )


# --- the oracle's geometry ------------------------------------------------------------------------


BOUNDED = Space(False, 0.05, 30.0, 0.03, 0.0, 32)
AROUND = replace(BOUNDED, unbounded=True)


@pytest.mark.parametrize("space", (BOUNDED, AROUND))
def test_contraction_inverts(space: Space) -> None:
    rng = np.random.default_rng(0)
    reach = 10.0 ** rng.uniform(-3, 4, (2000, 1)) if space.unbounded else 1.0
    points = torch.from_numpy(rng.uniform(-1, 1, (2000, 3)) * reach)
    unit = ref.to_unit(points, space)
    assert (unit >= 0).all() and (unit <= 1).all()
    back = ref.from_unit(unit, space)
    scale = points.abs().amax(1, keepdim=True).clamp(min=1)
    assert ((back - points).abs() / scale**2).max() < 1e-11
    assert torch.isfinite(ref.from_unit(torch.tensor([[0.0, 0, 1], [0.5, 0.5, 0.5]]), space)).all()


def test_contraction_is_smooth_where_it_begins() -> None:
    points = torch.tensor([[1.0, 0.3, -0.2]]).double()
    outside = (points * (1 + 1e-7)).requires_grad_()
    inside = (points * (1 - 1e-7)).requires_grad_()
    a = torch.autograd.functional.jacobian(lambda p: ref.to_unit(p, AROUND), outside)
    b = torch.autograd.functional.jacobian(lambda p: ref.to_unit(p, AROUND), inside)
    assert (a - b).abs().max() < 1e-6
    assert torch.autograd.gradcheck(
        lambda p: ref.to_unit(p, AROUND),
        (torch.tensor([[3.0, 1, -2], [0.2, 0.3, 0.4]]).double().requires_grad_(),),
    )


def test_space_along_the_view_inverts_and_is_disparity() -> None:
    space = SPACES["ahead"].space
    rng = np.random.default_rng(0)
    unit = torch.from_numpy(rng.uniform(0, 1, (2000, 3)) * [1, 1, 0.999 * space.share])
    back = ref.to_unit(ref.from_unit(unit, space), space)
    assert (back - unit).abs().max() < 1e-9
    seen = ref.from_unit(unit, space)
    depth = depth_ahead(seen, space)
    assert ((1 - unit[:, 2] / space.share) * depth - 1).abs().max() < 1e-9
    # What lies nearer than rays begin, or outside the frustum, is moved into the cube.
    anywhere = torch.from_numpy(rng.normal(0, 10, (2000, 3)))
    cube = ref.to_unit(anywhere, space)
    assert (cube >= 0).all() and (cube <= 1).all() and (cube[:, 2] <= space.share).all()


@pytest.mark.parametrize("name", SPACES)
def test_steps_fit_together(name: str) -> None:
    space = SPACES[name].space
    first = torch.tensor([0.2, 0.9, 7.0]).double()
    law = ref.step_law(first, space.step, space.cone)
    k = torch.arange(200).double().expand(3, 200)
    t = ref.step_distance(law, k)
    assert (t[:, 0] == first).all()
    gap = t[:, 1:] - t[:, :-1]
    expected = (space.cone * t[:, :-1]).clamp(min=space.step)
    whole = (t[:, :-1] >= law.bend[:, None]) | (t[:, 1:] <= law.bend[:, None])
    assert ((gap - expected).abs() / expected)[whole].max() < 1e-9
    from nerfscene.ops.reference_rays import step_index

    for column in (0, 1, 17, 199):
        assert (step_index(law, t[:, column]) - column).abs().max() < 1e-8

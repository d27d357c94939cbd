"""The hash grid: kernels against the oracle, the oracle against finite differences, and half precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from grid_cases import GRIDS, encode, position_error
from kernel_cases import EPS, assert_close, double, make_case, random_points

from nerfscene.ops import reference as ref
from nerfscene.ops.layout import grid_layout, network_shapes

pytest_plugins = ["kernel_cases"]

SIZES = (0, 1, 15, 16, 17, 129, 1000)


@pytest.mark.parametrize("shape", GRIDS)
def test_encode_matches_oracle(kernels: Any, shape: tuple[int, ...]) -> None:
    case = make_case(1, *shape)
    points = random_points(1000, 2)
    out = encode(kernels, case, points)
    expected = ref.hash_encode(*double(points, case.master), case.grid).numpy()
    # Rows lie in ±1, so an encoding's slope along each of three axes is at most 2.
    tolerance = 6 * position_error(case) + 24 * EPS
    assert (np.abs(out - expected) <= tolerance).all()


@pytest.mark.parametrize("n", SIZES)
def test_encode_any_number_of_points(kernels: Any, n: int) -> None:
    case = make_case(3)
    points = random_points(1000, 4)
    assert_close(encode(kernels, case, points[:n]), encode(kernels, case, points)[:n], 0)


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("n", (0, 17, 1000))
def test_encode_backward_matches_oracle(kernels: Any, shape: tuple[int, ...], n: int) -> None:
    case = make_case(5, *shape)
    rng = np.random.default_rng(6)
    points = random_points(n, 7)
    d_out = rng.normal(size=(n, case.grid.encoding)).astype(np.float32)
    start = rng.normal(size=case.master.shape).astype(np.float32)
    d_table = start.copy()
    case.field(kernels).encode_backward(points, d_out, d_table)
    table, _ = case.tensors()
    ref.hash_encode(double(points)[0], table, case.grid).backward(double(d_out)[0])
    assert table.grad is not None
    # A row's error grows with the number of points that share it: at most all of them.
    most = 1
    for level in range(case.grid.levels if n else 0):
        rows, _ = ref.hash_rows(double(points)[0], case.grid, level)
        most = max(most, int(torch.bincount(rows.reshape(-1)).max()))
    slope = 3 * position_error(case).max() + 8 * EPS
    tolerance = np.abs(d_out).max(initial=1) * most * slope * 2 + 8 * EPS
    assert_close(d_table - start, table.grad, tolerance)  # the call adds to it


@pytest.mark.parametrize("log2_table", (8, 14))
def test_oracle_gradients_are_differences(log2_table: int) -> None:
    grid = grid_layout(3, 2, log2_table, 4, 19)
    rng = torch.Generator().manual_seed(0)
    table = torch.rand(grid.rows, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    points = torch.rand(6, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    for resolution in grid.resolution:  # away from the cells' borders
        p = points.detach() * resolution + 0.5
        assert ((p - p.round()).abs() > 1e-4).all()

    def of_few(rows: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return ref.hash_encode(x, torch.cat([rows, table.detach()[40:]]), grid)

    few = table.detach()[:40].clone().requires_grad_()
    assert torch.autograd.gradcheck(of_few, (few, points))


def test_encoding_is_continuous_across_cells() -> None:
    grid = grid_layout(3, 2, 10, 4, 40)
    table = torch.rand(grid.rows, 2, generator=torch.Generator().manual_seed(1)).double()
    borders = torch.cat([(torch.arange(1, r) - 0.5) / r for r in grid.resolution]).double()
    for axis in range(3):
        at = torch.full((len(borders), 3), 0.3217, dtype=torch.float64)
        at[:, axis] = borders
        step = torch.zeros(3, dtype=torch.float64)
        step[axis] = 1e-9
        jump = ref.hash_encode(at + step, table, grid) - ref.hash_encode(at - step, table, grid)
        assert jump.abs().max() < 1e-6


def test_dense_rows_are_unique_and_hashes_collide_fairly() -> None:
    grid = grid_layout(2, 2, 15, 20, 200)
    assert grid.hashed == (False, True)
    centres = torch.cartesian_prod(*[torch.arange(20)] * 3).double() / 20
    dense, weights = ref.hash_rows(centres, grid, 0)
    assert torch.allclose(weights.sum(1), torch.ones(len(weights), dtype=torch.float64))
    assert dense.min() >= 0 and dense.max() < grid.size[0]
    assert len(dense[:, 0].unique()) == len(centres)
    anywhere = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(4)).double()
    hashed, _ = ref.hash_rows(anywhere, grid, 1)
    assert hashed.min() >= grid.offset[1] and hashed.max() < grid.rows
    count = torch.bincount(hashed[:, 0] - grid.offset[1], minlength=grid.size[1]).double()
    assert count.var() < 1.2 * count.mean()  # no worse than random rows


def test_layout() -> None:
    grid = grid_layout(4, 8, 17, 32, 512)
    assert grid.resolution == (32, 80, 203, 512)
    assert grid.hashed == (False, True, True, True)
    assert grid.size[0] == 39360 and grid.size[1] == 2**17  # 34³ = 39304, rounded up to 64s
    assert grid.offset == (0, 39360, 39360 + 2**17, 39360 + 2**18)
    assert grid.rows == 39360 + 3 * 2**17 and grid.encoding == 32
    assert grid_layout(1, 2, 14, 16, 16).encoding == 16
    for levels in range(2, 17):  # rounding never makes the finest level coarser than asked for
        assert grid_layout(levels, 2, 14, 16, 2048).resolution[-1] == 2048
    assert network_shapes(24, 32, 64, 0) == [(32, 32), (32, 32)]
    assert network_shapes(32, 48, 64, 1) == [(32, 48), (48, 16), (32, 64), (64, 16)]
    assert network_shapes(32, 16, 64, 2)[2:] == [(32, 64), (64, 64), (64, 16)]
    for bad in ((0, 2, 14, 16, 32), (4, 3, 14, 16, 32), (4, 2, 14, 64, 32), (4, 2, 30, 16, 32)):
        with pytest.raises(ValueError):
            grid_layout(*bad)


# --- half precision -------------------------------------------------------------------------------


def test_every_half_is_read_exactly(kernels: Any) -> None:
    halves = np.arange(65536, dtype=np.uint16)
    halves = halves[np.isfinite(halves.view(np.float16))]
    for features in (2, 4, 8):
        values = np.resize(halves, (-(-len(halves) // (16 * features)), 16, features))
        case = make_case(levels=16, features=features, log2_table=6, base=1, finest=1)
        point = np.full((1, 3), 0.5, np.float32)  # lattice point (1, 1, 1) itself, in every level
        row = 1 + (1 + 1 * 3) * 3
        out = np.zeros((1, 16 * features), np.float32)
        rows = case.table.reshape(16, 64, features)
        rows[...] = 0
        for some in values:
            rows[:, row] = some
            case.field(kernels).encode(point, out)  # a new field each time: on a GPU it copies the table
            expected = some.view(np.float16).astype(np.float32).ravel()
            assert np.array_equal(out[0], expected)


def to_half(module: Any, x: Any) -> Any:
    out = np.zeros(len(x), np.uint16)
    module.to_half(np.ascontiguousarray(x, np.float32), out)
    return out


@pytest.mark.parametrize("size", (65536, 7))  # whole vectors, and a remainder
def test_halves_survive_the_round_trip(kernels: Any, size: int) -> None:
    halves = np.arange(65536, dtype=np.uint16)
    halves = halves[np.isfinite(halves.view(np.float16))]
    for i in range(0, len(halves), size * (1 if size > 7 else 97)):
        some = halves[i : i + size]
        assert np.array_equal(to_half(kernels, some.view(np.float16).astype(np.float32)), some)


@pytest.mark.parametrize("size", (8, 7))
def test_rounding_to_half_is_numpys(kernels: Any, size: int) -> None:
    rng = np.random.default_rng(0)
    n = 4096 * size
    spread = rng.normal(size=n) * 10.0 ** rng.uniform(-9, 5, n)
    between = (np.arange(2048) + 0.5) * 2.0**-24  # ties among subnormals and small normals
    x = np.concatenate([spread, between, -between, [65504, 65519.9, 1.0 + 2.0**-11]])
    x = np.resize(x, len(x) // size * size).astype(np.float32)
    expected = np.clip(x, -65504, 65504).astype(np.float16).view(np.uint16)
    if size == 8:
        assert np.array_equal(to_half(kernels, x), expected)
    else:
        for i in range(0, len(x), size * 31):
            assert np.array_equal(to_half(kernels, x[i : i + 7]), expected[i : i + 7])


@pytest.mark.parametrize("size", (8, 3))
def test_halves_saturate(kernels: Any, size: int) -> None:
    x = np.array([65504, 65520, 7e4, 1e9, np.inf, -65520, -1e30, -np.inf], np.float32)[-size:]
    expected = np.where(x > 0, np.float16(65504), np.float16(-65504)).view(np.uint16)
    assert np.array_equal(to_half(kernels, x), expected)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", (np.nan, np.inf, -np.inf, -1e-3, 1.001))
def test_points_outside_the_cube_are_refused(kernels: Any, bad: float) -> None:
    field = make_case().field(kernels)
    points = random_points(20)
    points[19, 2] = bad
    with pytest.raises(ValueError):
        field.encode(points, np.zeros((20, 16), np.float32))
    with pytest.raises(ValueError):
        field.encode_backward(points, np.zeros((20, 16), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ValueError):
        field.density(points, np.zeros(20, np.float32))


def test_wrong_arrays_are_refused_not_copied(kernels: Any) -> None:
    case = make_case()
    field, good = case.field(kernels), random_points(20)
    out = np.zeros((20, 16), np.float32)
    refused = (TypeError, ValueError)
    for points in (good.astype(np.float64), good.T.copy().T, good[::2], good.ravel(), good[:, :2]):
        with pytest.raises(refused):
            field.encode(points, out[: len(points)])
    for wrong in (out.astype(np.float64), np.zeros((16, 20), np.float32).T, out[:19], out[:, :8]):
        with pytest.raises(refused):
            field.encode(good, wrong)
    read_only = out.copy()
    read_only.flags.writeable = False
    with pytest.raises(refused):
        field.encode(good, read_only)
    for change in (
        {"table": case.table.view(np.float16)},
        {"table": case.table[:-1]},
        {"table": np.asfortranarray(case.table)},
        {"weights": case.weights.astype(np.float64)},
        {"weights": case.weights[:-1]},
        {"weights": np.repeat(case.weights, 2)[::2]},
        {"occupancy": case.occupancy.view(np.int32)},
        {"occupancy": case.occupancy[:-1]},
    ):
        with pytest.raises(refused):
            kernels.Field(**(case.arguments() | change))
    assert not out.any()

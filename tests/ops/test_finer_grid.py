"""The finer grid of occupied cells: which cells it has, and that pictures with it are nearly the same."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import SETS, Case, make_case, processor, random_bits

from nerfscene.ops import reference as ref

pytest_plugins = ["kernel_cases"]

CASES = {
    "bounded": make_case(41, gain=3.0, step=0.02),
    "ahead": make_case(43, unbounded=True, near=0.05, step=0.005, cone=0.01, gain=3.0, ahead=True),
    "unbounded": make_case(42, unbounded=True, near=0.05, step=0.005, cone=0.01, far=1e4, gain=3.0),
}
LOOKS = torch.tensor(
    [[0.25, 0.25, 0.25], [0.75, 0.75, 0.25], [0.75, 0.25, 0.75], [0.25, 0.75, 0.75]]
).double()


@pytest.fixture(params=SETS)
def cpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    with processor(request.param) as module:
        yield module


def as_cells(bits: Any, r: int) -> Any:
    """Bits as (z, y, x) bool."""
    return np.unpackbits(bits.view(np.uint8), bitorder="little").astype(bool).reshape(r, r, r)


def finer(module: Any, case: Case, threshold: float, threads: int = 1) -> Any:
    r = 2 * case.space.occupancy_resolution
    out = np.full(r**3 // 32, 0xFFFFFFFF, np.uint32)
    module.finer_occupancy(case.field(module), threshold, threads, out)
    return out


@functools.cache
def thickest(name: str) -> Any:
    """Of each smaller cell (z, y, x), the greatest thickness at the four places that are looked at."""
    case = CASES[name]
    r = 2 * case.space.occupancy_resolution
    z, y, x = torch.meshgrid(*[torch.arange(r).double()] * 3, indexing="ij")
    corner = torch.stack([x, y, z], -1).reshape(-1, 3)
    table, weights = (t.detach() for t in case.tensors())
    layers = ref.split_weights(weights, case.shapes)
    found = []
    for look in LOOKS:
        unit = (corner + look) / r
        sigma = ref.density(ref.hash_encode(unit, table, case.grid), layers)
        found.append(sigma * ref.reference_step(ref.from_unit(unit, case.space), case.space))
    return torch.stack(found).amax(0).reshape(r, r, r).numpy()


def surrounded(cells: Any) -> Any:
    padded = np.pad(cells, 1, constant_values=True)
    inside = cells.copy()
    for axis in range(3):
        for shift in (-1, 1):
            inside &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1]
    return inside


@pytest.mark.parametrize("fraction", (0.05, 0.95))
@pytest.mark.parametrize("name", CASES)
def test_the_cells_are_the_oracles(cpu: Any, name: str, fraction: float) -> None:
    case = CASES[name]
    r = case.space.occupancy_resolution
    case = replace(case, occupancy=random_bits(np.random.default_rng(5), r, fraction))
    thick = thickest(name)
    threshold = float(np.median(thick))
    got = as_cells(finer(cpu, case, threshold), 2 * r)
    cells = as_cells(case.occupancy, r)
    whole, there = (np.kron(c, np.ones((2, 2, 2))).astype(bool) for c in (cells & surrounded(cells), cells))
    right = whole | (there & (thick > threshold))
    clear = np.abs(thick / threshold - 1) > 1e-3  # nearer to the threshold, rounding decides
    assert (got == right)[clear].all() and clear.mean() > 0.9
    assert 0.1 < got[there].mean() < 1 and whole.any() == (fraction > 0.5)
    assert np.array_equal(finer(cpu, case, threshold, 3), finer(cpu, case, threshold))


@pytest.mark.parametrize("name", CASES)
def test_pictures_are_nearly_the_same(cpu: Any, name: str) -> None:
    case = CASES[name]
    r = case.space.occupancy_resolution
    fine = replace(
        case, occupancy=finer(cpu, case, 1e-3), space=replace(case.space, occupancy_resolution=2 * r)
    )
    view = [30.0, 31.0, 16.0, 12.0, 0, 0, 0, 0, 0], 0, 32, 24, [1.0, 0, 0, 0.1, 0, 1, 0, -0.1, 0, 0, 1, -2.2]
    pictures = []
    for some, settled in ((case, False), (fine, False), (fine, True)):
        field = some.field(cpu)
        if settled:
            cpu.settle(field)
        out = [np.full((24, 32, *n), np.nan, np.float32) for n in ((3,), (), ())]
        field.render(*view, [0.2, 0.4, 0.6], 1e-3, 3e-3, 1, (0, 24, 0, 32), *out)
        pictures.append(out)
    plain, finer_one, settled_one = pictures
    error = float(((plain[0] - finer_one[0]) ** 2).mean())
    assert error < 1e-4 and plain[2].max() > 0.5
    for a, b in zip(finer_one, settled_one, strict=True):
        assert np.array_equal(a, b)  # what is prepared once changes nothing


def test_wrong_sizes_are_refused(cpu: Any) -> None:
    field = CASES["bounded"].field(cpu)
    with pytest.raises(ValueError, match="bits"):
        cpu.finer_occupancy(field, 1e-3, 1, np.zeros(10, np.uint32))

"""Cells beside occupied ones are occupied too where something shows in them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from nerfscene.config import FieldConfig
from nerfscene.field.finer import with_edges
from nerfscene.field.hash_grid import RadianceField, evaluate, make_space, new_field, resolve
from nerfscene.field.rendering import MIN_WEIGHT
from nerfscene.ops import reference as ref

R = 32
LOOKS = np.array([[0.25, 0.25, 0.25], [0.75, 0.75, 0.25], [0.75, 0.25, 0.75], [0.25, 0.75, 0.75]])


def cells_of(bits: Any) -> Any:
    return np.unpackbits(bits.view(np.uint8), bitorder="little").astype(bool).reshape(R, R, R)


def bits_of(cells: Any) -> Any:
    return np.packbits(cells.ravel(), bitorder="little").view(np.uint32)


def clouds(unbounded: bool, occupied: Any) -> RadianceField:
    """A field whose density differs from place to place by a lot, with these cells (z, y, x) occupied."""
    config = FieldConfig(occupancy_resolution=R, log2_table=10, finest_resolution=64)
    field, master = new_field(resolve(config, 100.0, unbounded), make_space(unbounded, 0.1, R), 4)
    table = np.ascontiguousarray((master * 6e4).astype(np.float16)).view(np.uint16)
    return replace(field, table=table, occupancy=bits_of(occupied))


def thickest(field: RadianceField) -> Any:
    """The greatest thickness (z, y, x) at the places in each cell that are looked at."""
    z, y, x = np.meshgrid(*[np.arange(R)] * 3, indexing="ij")
    corner = np.stack([x, y, z], -1).reshape(-1, 3)
    most = np.zeros(len(corner))
    for child, look in product(np.ndindex(2, 2, 2), LOOKS):
        unit = ((2 * corner + np.array(child) + look) / (2 * R)).astype(np.float32)
        density, _ = evaluate(field, unit, np.tile(np.float32([0, 0, 1]), (len(unit), 1)), "cpu")
        step = ref.reference_step(ref.from_unit(torch.from_numpy(unit).double(), field.space), field.space)
        most = np.maximum(most, density * step.numpy())
    return most.reshape(R, R, R)


def by_neighbours(cells: Any, combine: Any, outside: bool) -> Any:
    """Combines each cell with its six neighbours; those beyond the grid count as ``outside``."""
    padded = np.pad(cells, 1, constant_values=outside)
    out = cells.copy()
    for axis, shift in product(range(3), (-1, 1)):
        out = combine(out, np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1])
    return out


@pytest.mark.parametrize("unbounded", (True, False))
def test_cells_in_which_something_shows_join_those_beside_them(unbounded: bool) -> None:
    rng = np.random.default_rng(6)
    occupied, allowed = rng.random((R, R, R)) < 0.04, rng.random((R, R, R)) < 0.9
    field = clouds(unbounded, occupied)
    thick = thickest(field)
    got = cells_of(with_edges(field, bits_of(allowed), "cpu", 1).occupancy)
    beside = by_neighbours(occupied, np.logical_or, False) & allowed
    inside = by_neighbours(beside, np.logical_and, True)  # those aren't looked into
    right = occupied | (beside & (inside | (thick > MIN_WEIGHT)))
    clear = np.abs(thick / MIN_WEIGHT - 1) > 1e-2  # nearer to the threshold, rounding decides
    assert (got == right)[clear].all() and clear.mean() > 0.9
    joined = got & ~occupied
    assert 100 < joined.sum() < (beside & ~occupied).sum()
    assert np.array_equal(cells_of(field.occupancy), occupied)  # training goes on with its own


def test_nothing_joins_nothing() -> None:
    nothing, everything = np.zeros((R, R, R), bool), np.ones((R, R, R), bool)
    field = clouds(True, nothing)
    assert not with_edges(field, bits_of(everything), "cpu", 1).occupancy.any()
    field = clouds(True, everything)
    assert cells_of(with_edges(field, bits_of(everything), "cpu", 2).occupancy).all()

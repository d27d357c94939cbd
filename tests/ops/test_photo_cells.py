"""Rays' errors are added up in cells of the photos, and cells that are left out have no say in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import assert_close
from training_steps import CASES, SETTINGS, Start, options, start

from nerfscene.ops import backend

pytest_plugins = ["kernel_cases"]

SIZES = ((17, 13), (16, 12), (22, 9), (3, 30))
SIDE = 5
PIXELS = sum(width * height for width, height in SIZES)
CELLS = sum(-(-width // SIDE) * -(-height // SIDE) for width, height in SIZES)
CASE = CASES["unbounded"]


def cell_of_each_pixel() -> Any:
    """The cell (PIXELS,) of every pixel of the four photos."""
    out, first = [], 0
    for width, height in SIZES:
        row, column = np.divmod(np.arange(width * height), width)
        across = -(-width // SIDE)
        out.append(first + row // SIDE * across + column // SIDE)
        first += across * -(-height // SIDE)
    return np.concatenate(out)


def trained(
    module: Any, left_out: Any = (), pixels: Any = None, every: int = 1, n: int = 3
) -> tuple[Start, Any]:
    """A trainer after a few steps with all losses, and its cells."""
    cells = np.zeros((CELLS, 5), np.float32)
    cells[list(left_out), 4] = 1
    depths = np.full(sum(-(-w // 4) * -(-h // 4) for w, h in SIZES), 1.5, np.float32)
    begun = start(module, CASE, sizes=SIZES, pixels=pixels, photo_cells=cells, cell_side=SIDE, depths=depths)
    o = options(module, SETTINGS["as in training"])
    o.errors_every, o.exposure_rate, o.exposure_pull = every, 1e-3, 0.1
    begun.run(o, n)
    return begun, cells


def noise(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (PIXELS, 3), np.uint8)


def test_each_ray_adds_its_error_to_its_cell(native: Any) -> None:
    ours, theirs = (trained(m, every=2, n=1)[1] for m in (native, backend.load("torch")))
    np.testing.assert_array_equal(ours[:, 3], theirs[:, 3])
    assert ours[:, 3].sum() > 0 and not ours[:, 4].any()
    assert_close(ours[:, :3], theirs[:, :3], 2e-2)


def test_white_photos_have_errors_of_one_sign(native: Any) -> None:
    _, cells = trained(native, pixels=np.full((PIXELS, 3), 255, np.uint8).ravel(), n=2)
    seen = cells[:, 3] > 0
    assert (cells[seen, :3] < 0).all()
    assert (cells[seen, :3] >= -cells[seen, 3:4]).all()


def test_no_errors_are_added_where_none_are_wanted(native: Any) -> None:
    assert not trained(native, every=0)[1].any()


@pytest.mark.parametrize("name", ("native", "torch"))
def test_what_is_left_out_is_not_learnt(native: Any, name: str) -> None:
    module = native if name == "native" else backend.load("torch")
    gone = range(0, CELLS, 3)
    pixels, others = noise(1), noise(2)
    outside = np.isin(cell_of_each_pixel(), list(gone))
    mixed = np.where(outside[:, None], others, pixels)
    tables = []
    for photos in (pixels, mixed, others):
        begun, cells = trained(module, gone, photos.ravel())
        tables.append(np.array(begun.table))
        assert cells[list(gone), 3].sum() > 0  # they are looked at all the same, and may count again
    assert np.abs(tables[0] - tables[1]).max() <= 1e-6 * np.abs(tables[0]).max()
    assert np.abs(tables[0] - tables[2]).max() > 1e-3


def test_a_photo_that_is_all_left_out_teaches_nothing(native: Any) -> None:
    for module in (native, backend.load("torch")):
        begun, _ = trained(module, range(CELLS))
        report = begun.run(options(module, SETTINGS["plain"]), 1)
        assert report["squared_error"] == 0
        np.testing.assert_allclose(np.array(begun.table), CASE.master, atol=1e-6)


def test_cells_must_fit_the_photos(native: Any) -> None:
    for module in (native, backend.load("torch")):
        for count, side in ((CELLS + 1, SIDE), (CELLS, SIDE + 3), (CELLS, 0)):
            with pytest.raises(ValueError):
                start(module, CASE, sizes=SIZES, photo_cells=np.zeros((count, 5), np.float32), cell_side=side)

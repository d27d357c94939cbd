"""A trainer can be told to draw its pixels from parts of the photos only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from training_steps import CASES, SETTINGS, options, start

from nerfscene.ops import backend

pytest_plugins = ["kernel_cases"]

SIZES = ((17, 13), (16, 12), (22, 9), (3, 30))
PIXELS = sum(width * height for width, height in SIZES)
PARTS = np.array([10, 250, PIXELS - 40], np.uint64)
SIZE = 40


@pytest.fixture
def drawing(native: Any) -> Any:
    """The native backend, if its pixels need not all be in memory."""
    if not hasattr(native.Trainer, "draw_from"):
        pytest.skip("a GPU has all pixels")
    return native


def table_after(module: Any, parts: Any, pixels: Any = None, steps: int = 1, **more: Any) -> Any:
    """The table after a few steps on pixels from these parts."""
    trained = start(module, CASES["bounded"], sizes=SIZES, pixels=pixels, **more)
    if parts is not None:
        trained.trainer.draw_from(parts, SIZE)
    trained.run(options(module, SETTINGS["plain"]), steps)
    return np.array(trained.table)


@pytest.mark.parametrize("some", (False, True))
def test_pixels_outside_the_parts_are_not_looked_at(drawing: Any, some: bool) -> None:
    rng = np.random.default_rng(1)
    pixels, others = rng.integers(0, 256, (2, 3 * PIXELS), np.uint8)
    chosen = np.arange(0, PIXELS, 2, dtype=np.uint32) if some else None
    parts = np.minimum(PARTS, PIXELS // 2 - SIZE).astype(np.uint64) if some else PARTS
    drawn = np.concatenate([np.arange(at, at + SIZE) for at in parts.astype(int)])
    drawn = drawn if chosen is None else chosen[drawn].astype(int)
    mixed = others.reshape(-1, 3).copy()
    mixed[drawn] = pixels.reshape(-1, 3)[drawn]
    tables = [table_after(drawing, parts, p, 3, chosen=chosen) for p in (pixels, mixed.reshape(-1), others)]
    np.testing.assert_array_equal(tables[0], tables[1])
    assert np.abs(tables[0] - tables[2]).max() > 1e-3


def test_parts_are_those_of_the_oracle(drawing: Any) -> None:
    ours, whole = table_after(drawing, PARTS), table_after(drawing, None)
    theirs = table_after(backend.load("torch"), PARTS)
    # Adam's first step depends only on the gradient's sign, which rounding may flip near 0.
    assert np.mean(np.abs(ours - theirs) > 1e-3) < 0.02 * np.mean(np.abs(ours - whole) > 1e-3) + 0.002


def test_no_parts_are_all_pixels_again(drawing: Any) -> None:
    for module in (drawing, backend.load("torch")):
        again = start(module, CASES["bounded"], sizes=SIZES)
        again.trainer.draw_from(PARTS, SIZE)
        again.trainer.draw_from(PARTS[:0], SIZE)
        again.run(options(module, SETTINGS["plain"]), 1)
        np.testing.assert_array_equal(np.array(again.table), table_after(module, None))


def test_parts_that_lie_elsewhere_are_refused(drawing: Any) -> None:
    for module in (drawing, backend.load("torch")):
        trainer = start(module, CASES["bounded"], sizes=SIZES).trainer
        for parts, size in ((PARTS + np.uint64(1), SIZE), (PARTS, 0), (PARTS, PIXELS + 1)):
            with pytest.raises(ValueError):
                trainer.draw_from(parts, size)

"""Splats that stick out over the outline of what they lie on are trimmed; others are left as they are."""

from __future__ import annotations

import numpy as np
import pytest

from nerfscene.exporters.looks import Look
from nerfscene.exporters.outlines import within_outlines
from nerfscene.exporters.told import Told
from nerfscene.splatting.gaussians import Splats
from nerfscene.types import Camera, Intrinsics

LENS = Intrinsics(80, 60, 80.0, 80.0, 40.0, 30.0)


def board(behind: float) -> Look:
    """A board at z = 2 that ends at x = 0, before a wall, or before nothing where ``behind`` is 0."""
    z = np.full((60, 80), 2.0, np.float32)
    z[:, 40:] = behind
    ahead = np.tile(np.float32([0, 0, -1]), (60, 80, 1))
    return Look(Camera(LENS, np.eye(4)), np.zeros((60, 80, 3), np.float32), z, ahead,
                (z > 0).astype(np.float32), np.ones((60, 80), np.float32))  # fmt: skip


def discs(*x: float, width: float = 0.1) -> Splats:
    """Facing the camera, on the board's plane, at these x."""
    n = len(x)
    positions = np.stack([x, np.zeros(n), np.full(n, 2.0)], 1)
    quaternions, scales = np.tile([1, 0, 0, 0], (n, 1)), np.tile([width, width, 0.01], (n, 1))
    parts = positions, quaternions, scales, np.ones(n), np.zeros((n, 1, 3))
    return Splats(*(p.astype(np.float32) for p in parts))


@pytest.mark.parametrize("behind", [0.0, 5.0])
def test_a_disc_over_the_edge_is_narrower_across_it_and_moves_inward(behind: float) -> None:
    before = discs(-0.5, -0.05)
    after, keep = within_outlines(before, [board(behind)] * 2, Told(), 1)
    assert keep.all()
    assert np.array_equal(after.positions[0], before.positions[0])
    assert np.array_equal(after.scales[0], before.scales[0])
    assert after.positions[1, 0] < before.positions[1, 0]
    assert after.positions[1, 1:] == pytest.approx(before.positions[1, 1:])
    assert after.scales[1, 0] < 0.8 * before.scales[1, 0]
    assert after.scales[1, 1:] == pytest.approx(before.scales[1, 1:])
    reach = after.positions[1, 0] + 1.5 * after.scales[1, 0]
    assert reach < before.positions[1, 0] + 1.5 * before.scales[1, 0] - 0.04


def test_a_disc_out_of_the_surface_at_both_ends_stays_and_is_small() -> None:
    look = board(0.0)
    look.z[:, :38] = 0  # a thin pole is left
    look.accumulation[:, :38] = 0
    before = discs(-0.025)
    after, keep = within_outlines(before, [look], Told(), 1)
    assert keep.all()
    assert np.allclose(after.positions, before.positions)
    assert after.scales[0, 0] < 0.5 * before.scales[0, 0]
    assert after.scales[0, 1] == before.scales[0, 1]


def test_what_no_picture_shows_is_left() -> None:
    before = discs(-40.0, 60.0)
    after, keep = within_outlines(before, [board(5.0)], Told(), 1)
    assert keep.all()
    assert np.array_equal(after.positions, before.positions)
    assert np.array_equal(after.scales, before.scales)


def test_a_disc_that_hangs_beside_everything_is_dropped() -> None:
    _, keep = within_outlines(discs(-0.5, 0.5), [board(5.0)] * 2, Told(), 1)
    assert keep.tolist() == [True, False]

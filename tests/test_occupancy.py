"""Cells that can hold something, against every cell projected into every picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from footage_cases import DEMO

from nerfscene import occupancy
from nerfscene.cameras import place, pose_in_scene
from nerfscene.field import make_space
from nerfscene.readers import find_posed


def test_cells_are_allowed_that_three_photos_frame_or_one_far_behind_the_subject() -> None:
    posed = find_posed(DEMO.parent)
    assert posed is not None
    posed = replace(posed, views=posed.views[:37:2])  # more than are looked at together, and a broken rest
    placement = place(posed)
    space = make_space(True, placement.near, 32)
    points = occupancy.cell_centres(32, True)
    framed, alone = np.zeros(len(points), int), np.zeros(len(points), bool)
    for view in posed.views:
        k = view.intrinsics
        pose = pose_in_scene(placement.scene_from_world, view.world_from_cam)
        u, v, z = occupancy.project(points, k, pose)
        across = (u > -0.05 * k.width) & (u < 1.05 * k.width)
        inside = across & (v > -0.05 * k.height) & (v < 1.05 * k.height) & (z > 0.5 * space.near)
        framed += inside
        alone |= inside & (z > occupancy.FAR_BEHIND)
    allowed = occupancy.framed_cells(posed.views, placement, space)
    assert (allowed != ((framed >= occupancy.MIN_VIEWS) | alone)).sum() <= 3  # on a picture's very edge
    assert 0.1 < allowed.mean() < 0.9 and (alone & (framed < occupancy.MIN_VIEWS)).any()


@pytest.mark.parametrize("unbounded", (False, True))
def test_cells_centres_lie_in_their_cells(unbounded: bool) -> None:
    centres = occupancy.cell_centres(32, unbounded).astype(np.float64)
    assert np.array_equal(occupancy.cell_of(centres, 32, unbounded), np.arange(32**3))
    far = occupancy.cell_of(np.array([[1e9, 0, 0], [0, 0, -1e9]]), 32, unbounded)
    assert ((far >= 0) & (far < 32**3)).all()

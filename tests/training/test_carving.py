"""Cells that can be occupied, checked by projecting every cell into every picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from footage_cases import DEMO

from nerfscene.cameras.algebra import place, pose_in_scene
from nerfscene.field.hash_grid import make_space
from nerfscene.formats.readers import find_posed
from nerfscene.training import carving


def test_cells_are_allowed_that_three_photos_frame_or_one_far_behind_the_subject() -> None:
    posed = find_posed(DEMO.parent)
    assert posed is not None
    posed = replace(posed, views=posed.views[:37:2])  # more cells than one batch, and no multiple of it
    placement = place(posed)
    space = make_space(True, placement.near, 32)
    points = carving.cell_centres(space)
    framed, alone = np.zeros(len(points), int), np.zeros(len(points), bool)
    for view in posed.views:
        k = view.intrinsics
        pose = pose_in_scene(placement.scene_from_world, view.world_from_cam)
        u, v, z = carving.project(points, k, pose)
        across = (u > -0.05 * k.width) & (u < 1.05 * k.width)
        inside = across & (v > -0.05 * k.height) & (v < 1.05 * k.height) & (z > 0.5 * space.near)
        framed += inside
        alone |= inside & (z > carving.FAR_BEHIND)
    allowed = carving.framed_cells(posed.views, placement, space)
    assert (allowed != ((framed >= carving.MIN_VIEWS) | alone)).sum() <= 3  # on a picture's very edge
    assert 0.1 < allowed.mean() < 0.9 and (alone & (framed < carving.MIN_VIEWS)).any()


def test_nothing_may_hang_where_nearly_all_masks_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    posed = find_posed(DEMO.parent)
    assert posed is not None
    views = posed.views[::4]
    placement = place(replace(posed, views=views))
    space = make_space(True, placement.near, 32)
    points = carving.cell_centres(space)
    subject = np.abs(points).max(1) < 0.1
    away = np.linalg.norm(points, axis=1)
    around = (away > 0.5) & (away < 0.9)
    close, wide = [], []  # a mask around the subject alone, and one that keeps half of the picture
    for view in views:
        k = view.intrinsics
        pose = pose_in_scene(placement.scene_from_world, view.world_from_cam)
        u, v, _ = carving.project(np.zeros((1, 3), np.float32), k, pose)
        y, x = np.mgrid[: k.height, : k.width]
        close.append(np.hypot(x - u, y - v) < 0.12 * k.width)
        wide.append(np.abs(x - u) < 0.25 * k.width)
    kept = carving.unmasked_cells(views, close, placement, space)
    assert kept[subject].all() and kept[around].mean() < 0.3
    assert (kept <= carving.unmasked_cells(views, wide, placement, space)).mean() > 0.99
    assert carving.unmasked_cells(views, [None] * len(views), placement, space).all()
    # A bystander masked in a third of the photos removes no cell.
    some = [np.zeros_like(m) if i % 3 == 0 else None for i, m in enumerate(close)]
    assert carving.unmasked_cells(views, some, placement, space)[subject].all()
    # Nor does one who covers the subject in the first photos, if later photos show it.
    first = [np.zeros_like(m) if i % 2 == 0 else None for i, m in enumerate(close)]
    monkeypatch.setattr(carving, "MASKS_LOOKED_AT", len(views) // 2)
    assert carving.unmasked_cells(views, first, placement, space)[subject].all()
    assert (carving.unmasked_cells(views, close, placement, space) >= kept).all()  # if in doubt, kept
    # Fisheye pictures don't decide about cells as others do.
    bent = [replace(v, intrinsics=replace(v.intrinsics, lens="fisheye")) for v in views]
    assert carving.unmasked_cells(bent, close, placement, space).all()
    # Masks say nothing about cells that no photo frames.
    beyond = np.ones(len(points), bool)
    for view in views:
        k = view.intrinsics
        u, v, z = carving.project(points, k, pose_in_scene(placement.scene_from_world, view.world_from_cam))
        beyond &= ~((z > 0) & (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height))
    assert beyond.any() and kept[beyond].all()


@pytest.mark.parametrize("kind", ("bounded", "around", "ahead"))
def test_cells_centres_lie_in_their_cells(kind: str) -> None:
    space = make_space(kind != "bounded", 0.5, 32)
    if kind == "ahead":
        space = replace(space, view=(1.5, 0.1, 0, 0, 0, 0.06, -2.4, 0.1, -0.1, 1.5, 0, 2.6), share=0.5)
    centres = carving.cell_centres(space).astype(np.float64)
    reached = carving.within_reach(space)
    assert reached.mean() == (0.5 if kind == "ahead" else 1)
    assert np.array_equal(carving.cell_of(centres[reached], space), np.flatnonzero(reached))
    far = carving.cell_of(np.array([[1e9, 0, 0], [0, 0, -1e9]]), space)
    assert ((far >= 0) & (far < 32**3)).all()

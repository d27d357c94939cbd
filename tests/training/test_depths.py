"""Depths of cells of the photos, from the sparse points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from nerfscene.cameras.algebra import Placement
from nerfscene.cameras.lens_fit import projection
from nerfscene.films.paths import look_at
from nerfscene.posing.known_points import well_determined
from nerfscene.training.depths import CELL, known_depths
from nerfscene.types import Intrinsics, View


def view(lens: str = "perspective", width: int = 61, height: int = 46, seen: object = ()) -> View:
    distortion = (0.05, -0.01, 0.001, -0.002, 0.0) if lens == "perspective" else (0.02, 0.0, 0.0, 0.0, 0.0)
    k = Intrinsics(width, height, 50.0, 52.0, 30.0, 24.0, lens, distortion)  # type: ignore[arg-type]
    pose = look_at(np.array([1.0, -2.0, 0.5]), np.zeros(3), np.array([0.0, 0.0, 1.0]))
    return View(Path("a.jpg"), k, pose, seen=np.array(seen, np.int64))


def placement(scale: float) -> Placement:
    m = np.eye(4)
    m[:3, :3] = scale * np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    m[:3, 3] = 3, 4, 5
    return Placement(m, True, 0.1)


@pytest.mark.parametrize("lens", ("perspective", "fisheye"))
def test_a_cell_knows_how_far_its_point_is(lens: str) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (40, 3))
    v = view(lens, seen=range(0, 40, 2))
    known = known_depths([v, replace(v, seen=np.zeros(0, np.int64))], points, placement(2.5))
    assert known is not None and known.dtype == np.float32
    rows, columns = -(-46 // CELL), -(-61 // CELL)
    assert known.shape == (2 * rows * columns,) and not known[rows * columns :].any()
    grid = known[: rows * columns].reshape(rows, columns)
    local = (points[v.seen] - v.world_from_cam[:3, 3]) @ v.world_from_cam[:3, :3]
    expected = np.zeros_like(grid)
    for p in local:
        base = p[:2] / p[2]
        if lens == "fisheye":
            r = np.linalg.norm(base)
            base = base * np.arctan(r) / r
        x, y = projection(v.intrinsics)(base[None])[0]
        cell, distance = (int(y) // CELL, int(x) // CELL), 2.5 * np.linalg.norm(p)
        expected[cell] = min(expected[cell] or np.inf, distance)
    np.testing.assert_allclose(grid, expected, rtol=1e-6)
    assert 10 < (grid > 0).sum() <= 20


def test_points_behind_or_beside_the_photo_say_nothing() -> None:
    v = view(seen=(0, 1))
    behind = v.world_from_cam[:3, 3] - v.world_from_cam[:3, 2]
    beside = v.world_from_cam[:3, 3] + v.world_from_cam[:3, 2] + 9 * v.world_from_cam[:3, 0]
    assert known_depths([v], np.stack([behind, beside]), placement(1.0)) is None
    assert known_depths([replace(v, seen=np.zeros(0, np.int64))], np.zeros((0, 3)), placement(1.0)) is None


def test_only_points_seen_well_by_several_photos_are_well_known() -> None:
    options = pycolmap.SyntheticDatasetOptions(
        num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=6, num_points3D=60
    )
    model = pycolmap.synthesize_dataset(options)
    numbers = list(model.points3D)
    few, wrong = numbers[3], numbers[7]
    observed = [(e.image_id, e.point2D_idx) for e in model.points3D[few].track.elements]
    for image, index in observed[2:]:
        model.delete_observation(image, index)
    model.points3D[wrong].error = 9.0
    seen = well_determined(model)
    order = list(model.points3D)
    everywhere = set(np.concatenate(list(seen.values())).tolist())
    assert order.index(few) not in everywhere and order.index(wrong) not in everywhere
    assert len(everywhere) > 40
    for i, listed in seen.items():
        shown = {order.index(p.point3D_id) for p in model.images[i].points2D if p.has_point3D()}
        assert set(listed.tolist()) <= shown and (np.diff(listed) > 0).all()


def test_points_seen_from_one_direction_alone_are_not_well_known() -> None:
    options = pycolmap.SyntheticDatasetOptions(
        num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=6, num_points3D=60
    )
    model = pycolmap.synthesize_dataset(options)
    for key in model.points3D:
        model.points3D[key].xyz = model.points3D[key].xyz * 1e5  # as if everything were at the horizon
    assert not any(len(listed) for listed in well_determined(model).values())

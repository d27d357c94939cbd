"""Captures taken from one side are told from others; their space's frustum holds what the photos see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfscene.cameras.ahead import laid_ahead
from nerfscene.cameras.algebra import place, pose_in_scene
from nerfscene.types import Intrinsics, PosedCapture, View

LENS = Intrinsics(400, 300, 330.0, 330.0, 200.0, 150.0)


def capture(
    apart: float = 0.3, depth: float = 4.0, turned: float = 4.0, world: Rotation | None = None
) -> PosedCapture:
    """20 photos from a window of ``apart`` × half of it, turned at random, of points from ``depth`` on."""
    rng = np.random.default_rng(3)
    world = world or Rotation.from_euler("xyz", [-80, 10, 30], degrees=True)
    views = []
    for i in range(20):
        pose = np.eye(4)
        turn = Rotation.from_rotvec(np.radians(turned) * rng.normal(0, 0.5, 3))
        pose[:3, :3] = (world * turn).as_matrix()
        pose[:3, 3] = world.apply(rng.uniform(-apart, apart, 3) * [1, 0.5, 0.1])
        views.append(View(Path(f"{i}.jpg"), LENS, pose))
    z = depth / rng.uniform(0.2, 1, 2000)
    seen = np.stack([z * rng.uniform(-0.55, 0.55, 2000), z * rng.uniform(-0.4, 0.4, 2000), z], 1)
    return PosedCapture(Path("."), "photos", tuple(views), 20, points=world.apply(seen))


@pytest.mark.parametrize("scale", (1.0, 1e-3, 1e3))
def test_photos_from_one_side_are_laid_out_along_the_view(scale: float) -> None:
    posed = capture()
    views = []
    for v in posed.views:
        pose = v.world_from_cam.copy()
        pose[:3, 3] *= scale
        views.append(replace(v, world_from_cam=pose))
    posed = replace(posed, views=tuple(views), points=posed.points * scale)
    placement = place(posed)
    ahead = laid_ahead(posed.views, posed.points, placement)
    assert ahead is not None and 0.25 <= ahead.share <= 1
    view = np.array(ahead.view).reshape(3, 4)
    for v in posed.views:
        pose = pose_in_scene(placement.scene_from_world, v.world_from_cam)
        for u, w in ((0, 0), (400, 0), (0, 300), (400, 300), (200, 150)):
            d = pose[:3, :3] @ [(u - 200) / 330, (w - 150) / 330, 1]
            for t in (placement.near, 1.0, 3.0, 1e4):
                a, b, c = view[:, :3] @ (pose[:3, 3] + t * d) + view[:, 3]
                assert c > 1 - 1e-6 and abs(a) <= c and abs(b) <= c


def test_others_are_not() -> None:
    def ahead(posed: PosedCapture) -> bool:
        return laid_ahead(posed.views, posed.points, place(posed)) is not None

    assert ahead(capture())
    assert not ahead(capture(apart=6.0))  # a walk along a front
    assert not ahead(capture(turned=60.0))  # a room from its middle
    assert not ahead(replace(capture(), points=np.zeros((0, 3))))
    around = capture()
    views = []
    for i, v in enumerate(around.views):  # round a subject
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec([0, 0.3 * i, 0]).as_matrix()
        shift = np.eye(4)
        shift[2, 3] = -4
        pose = v.world_from_cam.copy()
        pose[:3, 3] = 0
        views.append(replace(v, world_from_cam=pose @ turn @ shift))
    assert not ahead(replace(around, views=tuple(views)))

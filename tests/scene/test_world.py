"""Scenes moved into another world stay the same scene; clicked floors, origins and scales are honoured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import analytic
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfscene import api
from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.config import RenderConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import render
from nerfscene.films.filming import film_path
from nerfscene.scene import folder as scenes
from nerfscene.scene.atomic import write_json
from nerfscene.scene.world import at_origin, in_world, kept, on_floor, save_world, to_scale
from nerfscene.types import Camera

SHIFTED = np.eye(4)
SHIFTED[:3, :3] = 2.5 * Rotation.from_euler("xyz", [20, -35, 70], degrees=True).as_matrix()
SHIFTED[:3, 3] = [3.0, -1.0, 0.5]


def copied(trained: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "scene"
    folder.mkdir()
    scenes.save(scenes.load(trained), folder)
    return folder


def test_a_scene_in_another_world_shows_the_same_pictures(trained: Path) -> None:
    scene = scenes.load(trained)
    box = np.diag([1.0, 1.0, 1.0, 1.0])
    box[:3, 3] = scene.views[0].world_from_cam[:3, 3] + 2 * scene.views[0].world_from_cam[:3, 2]
    scene = replace(scene, crop=box)
    moved = in_world(scene, SHIFTED)
    here = Camera(scene.views[0].intrinsics, scene.views[0].world_from_cam)
    there = Camera(moved.views[0].intrinsics, moved.views[0].world_from_cam)
    assert np.allclose(there.world_from_cam, pose_in_scene(SHIFTED, here.world_from_cam))
    before, after = render(scene.renderer(), here), render(moved.renderer(), there)
    assert np.abs(before.rgb - after.rgb).mean() < 1e-3
    seen = before.accumulation > 0.5
    assert seen.any()
    assert np.median(after.depth[seen] / before.depth[seen]) == pytest.approx(2.5, rel=1e-3)


def test_a_world_that_was_set_survives_saving_loading_and_resuming(small_room: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    api.train(small_room, folder, TrainConfig(steps=20), analytic.SMALL)
    before = scenes.load(folder)
    save_world(folder, SHIFTED, np.array([0.0, 0.0, 1.0]))
    scenes.save_crop(folder, 3 * np.eye(4))
    on = api.train(small_room, folder, TrainConfig(steps=30), analytic.SMALL, resume=True)
    again = scenes.load(folder)
    for scene in (on, again):
        assert scene.figures.steps == 30
        assert np.allclose(
            scene.views[2].world_from_cam, pose_in_scene(SHIFTED, before.views[2].world_from_cam)
        )
        assert scene.world_from_capture is not None and np.allclose(scene.world_from_capture, SHIFTED)
        assert scene.up is not None and np.allclose(scene.up, [0, 0, 1])
        assert scene.crop is not None and np.allclose(scene.crop, 3 * np.eye(4))
    assert kept(folder).crop is not None
    assert kept(tmp_path / "nothing") == type(kept(folder))()
    back = np.asarray(np.linalg.inv(SHIFTED))
    save_world(folder, back, back[:3, :3] @ [0, 0, 1])
    assert np.allclose(scenes.load(folder).views[2].world_from_cam, before.views[2].world_from_cam)


def test_films_turn_about_the_up_that_was_set(trained: Path) -> None:
    scene = scenes.load(trained)
    tilted = np.array([0.5, 0.0, np.sqrt(0.75)])
    path, _ = film_path(replace(scene, up=tilted), RenderConfig(path="orbit", seconds=1))
    centres = np.stack([c.world_from_cam[:3, 3] for c in path.cameras])
    assert np.ptp(centres @ tilted) < 1e-6 * np.ptp(centres)
    level = np.stack([c.world_from_cam[:3, 0] for c in path.cameras])
    assert np.abs(level @ tilted).max() < 1e-6


def test_a_floor_through_three_points() -> None:
    floor = np.array([[1.0, 0, 2], [4, 0, 2.5], [1, 2, 3]])
    normal = np.cross(floor[1] - floor[0], floor[2] - floor[0])
    for side in (1, -1):
        m = on_floor(floor, floor[0] + side * normal)
        at = floor @ m[:3, :3].T + m[:3, 3]
        assert np.allclose(at[:, 2], 0) and np.allclose(at[0], 0)
        assert (m[:3, :3] @ (side * normal))[2] > 0
        assert np.isclose(np.linalg.det(m[:3, :3]), 1)
    with pytest.raises(NerfsceneError, match="in a line"):
        on_floor(np.array([[0.0, 0, 0], [1, 1, 1], [2, 2, 2.001]]), np.zeros(3))


def test_an_origin_and_a_scale() -> None:
    up = np.array([0.0, 3.0, 4.0])
    point = np.array([1.0, 2.0, 3.0])
    m = at_origin(point, up)
    assert np.allclose(m @ [*point, 1], [0, 0, 0, 1])
    assert np.allclose(m[:3, :3] @ up, [0, 0, 5])
    two = np.array([[0.0, 0, 0], [3, 4, 0]])
    m = to_scale(two, 0.5, up)
    at = two @ m[:3, :3].T + m[:3, 3]
    assert np.linalg.norm(at[1] - at[0]) == pytest.approx(0.5)
    assert np.allclose(m[:3, 3], 0)
    for points, distance in ((two, 0.0), (two, np.inf), (two[:1].repeat(2, 0), 1.0)):
        with pytest.raises(NerfsceneError, match="scale"):
            to_scale(points, distance, up)


def test_a_damaged_world_is_named(trained: Path, tmp_path: Path) -> None:
    folder = copied(trained, tmp_path)
    for bad in ({"up": [0, 0, 0]}, {"world_from_capture": [[1, 2], [3, 4]]}):
        data = {**scenes.read_manifest(trained), "up": None, "world_from_capture": None, **bad}
        write_json(data, folder / scenes.SCENE_JSON)
        with pytest.raises(NerfsceneError, match=next(iter(bad))):
            scenes.load(folder)
        with pytest.raises(NerfsceneError, match="damaged"):
            kept(folder)

"""What the page of a scene in training saves with it is kept, whatever scene is in the folder by then."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pytest
from numpy.testing import assert_allclose

from nerfscene import api
from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.config import TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.scene.world import save_world
from nerfscene.training.progress import Control, Progress
from nerfscene.viewer import path_files
from nerfscene.viewer.keyframes import Keyframe, Plan
from nerfscene.viewer.stage import Stage, Training, keep, set_world, stage_of

NEW = np.array([[2.0, 0, 0, 0.5], [0, 0, -2.0, 0], [0, 2.0, 0, 0.3], [0, 0, 0, 1]])  # new_from_world
UP = np.array([0.0, 0.0, 1.0])
BOX = 0.5 * np.eye(4) + 0.5 * np.diag([0.0, 0, 0, 1])
CONFIG = TrainConfig(steps=20, holdout=0, threads=1)


class Page:
    """Does what a visitor does in the page of a training: before its first step, and after the first save."""

    def __init__(self, folder: Path, early: Any = None, late: Any = None) -> None:
        self.folder, self.early, self.late = folder, early, late
        self.control = Control(started=self.started)
        self.stage: Stage | None = None

    def started(self, scene: Scene) -> None:
        control = self.control
        training = Training(
            dict, lambda on: setattr(control, "pause", on), lambda: None, lambda: None, control.keep
        )
        self.stage = stage_of(scene, self.folder, "cpu", training)
        if self.early:
            self.early(self.stage)

    def progress(self, p: Progress) -> None:
        if self.late and self.control.in_folder:
            late, self.late = self.late, None
            thread = threading.Thread(target=late, args=(self.stage,))  # as viser's callbacks are
            thread.start()
            thread.join(60)


def turn(stage: Stage) -> None:
    """Sets a new world from the page, and then a crop in it."""
    new_from_page = NEW @ stage.world.world_from_page
    up = np.linalg.inv(new_from_page)[:3, :3] @ UP
    set_world(stage, new_from_page, up / np.linalg.norm(up))
    crop(stage)


def crop(stage: Stage) -> None:
    folder = stage.folder
    assert folder is not None
    keep(stage, lambda given: type(given)(given.world_from_capture, given.up, BOX),
         lambda: scenes.save_crop(folder, BOX))  # fmt: skip


def trained(room: Path, page: Page, **options: Any) -> Scene:
    api.train(
        room, page.folder, CONFIG, analytic.SMALL, control=page.control, listener=page.progress, **options
    )
    return scenes.load(page.folder)


@pytest.mark.parametrize(
    ("before", "when"),
    [
        ("nothing", "early"),
        pytest.param("another scene", "early", marks=pytest.mark.long),
        ("another scene", "late"),
    ],
)
def test_what_is_set_while_training_is_kept(before: str, when: str, small_room: Path, tmp_path: Path) -> None:
    plain = api.train(small_room, tmp_path / "plain", CONFIG, analytic.SMALL)
    folder = tmp_path / "scene"
    if before == "another scene":
        api.train(small_room, folder, TrainConfig(steps=5, holdout=0), analytic.SMALL)
        save_world(folder, np.diag([7.0, 7, 7, 1]), np.array([1.0, 0, 0]))  # none of it stays
    page = Page(folder, **{when: turn})
    if when == "late":
        page.early = lambda stage: page.control.__setattr__("save", True)
    made = trained(small_room, page, overwrite=before != "nothing")
    assert made.figures.steps == 20
    assert_allclose(made.world_from_capture, NEW, atol=1e-9)
    assert_allclose(made.up, UP, atol=1e-6)
    assert_allclose(made.crop, BOX)
    for ours, theirs in zip(made.views, plain.views, strict=True):
        assert_allclose(ours.world_from_cam, pose_in_scene(NEW, theirs.world_from_cam), atol=0.05)


def test_the_scene_that_is_being_replaced_is_left_alone(small_room: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    api.train(small_room, folder, TrainConfig(steps=5, holdout=0), analytic.SMALL)
    before = (folder / scenes.SCENE_JSON).read_bytes()

    def set_and_fail(stage: Stage) -> None:
        turn(stage)
        assert (folder / scenes.SCENE_JSON).read_bytes() == before
        raise NerfsceneError("the machine broke")

    with pytest.raises(NerfsceneError, match="broke"):
        trained(small_room, Page(folder, set_and_fail), overwrite=True)
    assert (folder / scenes.SCENE_JSON).read_bytes() == before


def test_resuming_keeps_what_was_set_before(small_room: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    api.train(small_room, folder, TrainConfig(steps=5, holdout=0), analytic.SMALL)
    save_world(folder, NEW, UP)
    made = trained(small_room, Page(folder, crop), resume=True)
    assert_allclose(made.world_from_capture, NEW)
    assert_allclose(made.crop, BOX)


def test_a_damaged_path_is_found_before_the_world_changes(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "scene"))
    stage = stage_of(scenes.load(folder), folder, "cpu", None)
    path_files.save(Plan((Keyframe(np.eye(4)),), seconds=0.1), folder / "camera_path.json")
    text = (folder / "camera_path.json").read_text()
    (folder / "camera_path.json").write_text(text.replace('"fov": 50.0', '"fov": "wide"'))
    before = (folder / scenes.SCENE_JSON).read_bytes()
    with pytest.raises(NerfsceneError, match=r"camera_path\.json"):
        set_world(stage, NEW @ stage.world.world_from_page, UP)
    assert (folder / scenes.SCENE_JSON).read_bytes() == before

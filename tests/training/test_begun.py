"""Resuming goes on with the cameras that the training was begun with, whichever are found now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import analytic
import numpy as np
import pytest

from nerfscene import api
from nerfscene.config import TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder as scenes
from nerfscene.training.begun import VIEWS, as_begun
from nerfscene.training.loop import train_posed
from nerfscene.types import PosedCapture

SHIFT = np.array([[1.1, 0, 0, 0.3], [0, 0, -1.1, 0.2], [0, 1.1, 0, 0.1], [0, 0, 0, 1]])  # another world


def found_again(posed: PosedCapture) -> PosedCapture:
    """The capture as COLMAP may find it the next time: in another world, with one photo less."""
    views = []
    for view in posed.views[:-1]:
        pose = SHIFT @ view.world_from_cam
        pose[:3, :3] /= 1.1
        views.append(replace(view, world_from_cam=pose))
    return replace(posed, views=tuple(views))


def test_resuming_keeps_the_cameras(small_room: Path, tmp_path: Path) -> None:
    posed = api.posed_capture(small_room, tmp_path / "work", given="read")
    (tmp_path / "scene").mkdir()
    config = TrainConfig(steps=5, holdout=0)
    begun = train_posed(posed, tmp_path / "scene", config, analytic.SMALL)
    kept = as_begun(found_again(posed), tmp_path / "scene")
    assert len(kept.views) == len(posed.views) and "not exactly those" in kept.warnings[-1]
    assert as_begun(posed, tmp_path / "scene").warnings == posed.warnings
    again = replace(config, steps=8)
    on = train_posed(found_again(posed), tmp_path / "scene", again, analytic.SMALL, resume=True)
    assert on.figures.steps == 8 and np.array_equal(on.scene_from_world, begun.scene_from_world)
    for ours, theirs in zip(on.views, begun.views, strict=True):
        np.testing.assert_array_equal(ours.world_from_cam, theirs.world_from_cam)
    renamed = [replace(v, path=v.path.with_name(f"x{v.path.name}")) for v in posed.views]
    others = replace(posed, views=tuple(renamed))
    with pytest.raises(NerfsceneError, match="other photos"):
        as_begun(others, tmp_path / "scene")


def test_a_scene_that_kept_no_cameras_is_resumed_only_with_the_same(
    small_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerfscene.training.record.begun_notes", lambda posed: {})  # as older versions saved
    posed = api.posed_capture(small_room, tmp_path / "work", given="read")
    (tmp_path / "scene").mkdir()
    config = TrainConfig(steps=5, holdout=0)
    train_posed(posed, tmp_path / "scene", config, analytic.SMALL)
    assert VIEWS not in scenes.read_notes(tmp_path / "scene")
    again = replace(config, steps=8)
    steps = [0.05 * i * np.eye(4, k=3) for i in range(len(posed.views))]
    views = [replace(v, world_from_cam=v.world_from_cam + s) for v, s in zip(posed.views, steps, strict=True)]
    moved = replace(posed, views=tuple(views))
    with pytest.raises(NerfsceneError, match="not those that"):
        train_posed(moved, tmp_path / "scene", again, analytic.SMALL, resume=True)
    assert train_posed(posed, tmp_path / "scene", again, analytic.SMALL, resume=True).figures.steps == 8

"""The folder that a scene is written to: what is removed before training starts again, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from nerfscene.errors import NerfsceneError
from nerfscene.scene.folder import is_scene
from nerfscene.scene.output_folder import (
    CAMERA_PATH_FILE,
    MADE,
    POSES,
    open_output,
    refuse_other_photos,
    remember_photos,
    remove_trained,
)


def test_poses_and_camera_path_outlive_the_training_and_the_folder_stays_usable(tmp_path: Path) -> None:
    (tmp_path / POSES).mkdir()
    for name in (*MADE, CAMERA_PATH_FILE, ".field.safetensors.1.tmp", "film.mp4"):
        (tmp_path / name).write_text("")
    remove_trained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {POSES, CAMERA_PATH_FILE, "film.mp4"}
    (tmp_path / "film.mp4").unlink()
    open_output(tmp_path, resume=False)
    assert not is_scene(tmp_path) and {p.name for p in tmp_path.iterdir()} == {POSES, CAMERA_PATH_FILE}


def test_other_photos_are_noticed(tmp_path: Path) -> None:
    refuse_other_photos(tmp_path, [["a.jpg", 1]])  # nothing is known yet
    remember_photos(tmp_path, [["a.jpg", 1]])
    refuse_other_photos(tmp_path, [["a.jpg", 1]])
    with pytest.raises(NerfsceneError, match="other photos"):
        refuse_other_photos(tmp_path, [["a.jpg", 2]])

"""The folder that a scene is written to: which may be used, what killed processes left, and other photos."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nerfscene.errors import NerfsceneError
from nerfscene.scene.folder import FIELD_FILE, SCENE_JSON, is_scene
from nerfscene.scene.output_folder import (
    CAMERA_PATH_FILE,
    POSES,
    open_output,
    refuse_other_photos,
    remember_photos,
)


def test_what_a_killed_process_left_is_no_obstacle_and_goes(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / POSES).mkdir()
    kept = (FIELD_FILE, CAMERA_PATH_FILE, f".{SCENE_JSON}.{os.getpid()}.tmp")  # this process may be at it
    for name in (*kept, f".{FIELD_FILE}.{gone.pid}.tmp", f".{SCENE_JSON}.{10**30}.tmp"):
        (tmp_path / name).write_text("")
    open_output(tmp_path, resume=False)
    assert not is_scene(tmp_path) and {p.name for p in tmp_path.iterdir()} == {POSES, *kept}
    (tmp_path / "film.mp4").write_text("")
    with pytest.raises(NerfsceneError, match="not a scene"):
        open_output(tmp_path, resume=False)


def test_other_photos_are_noticed(tmp_path: Path) -> None:
    refuse_other_photos(tmp_path, [["a.jpg", 1]])  # nothing is known yet
    remember_photos(tmp_path, [["a.jpg", 1]])
    refuse_other_photos(tmp_path, [["a.jpg", 1]])
    with pytest.raises(NerfsceneError, match="other photos"):
        refuse_other_photos(tmp_path, [["a.jpg", 2]])

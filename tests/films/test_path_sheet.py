"""The contact sheet of camera paths."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerfscene import cli
from nerfscene.errors import NerfsceneError
from nerfscene.films import path_sheet
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.films.path_sheet import LABEL, MAP, WAY, preset_rows
from nerfscene.films.presets import PRESETS
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scenes.load(trained)


def test_the_command_writes_a_row_of_frames_and_a_plan_for_every_preset(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path_sheet, "FRAMES", 2)
    file = tmp_path / "new/paths.png"
    cli.main(["paths", str(trained), "-o", str(file), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["sheet"] == str(file) and told["auto"] in told["paths"]
    assert {*told["paths"], *told["not_possible"]} == set(PRESETS)
    made = len(told["paths"])
    sheet = np.asarray(Image.open(file))
    assert sheet.shape[1] > 2 * 160 + MAP and sheet.shape[0] > made * (LABEL + 120)
    assert (sheet[:, -MAP:] == WAY).all(-1).sum() > 30 * made, "each path is drawn"
    assert sheet[:, : 2 * 160].astype(float).std() > 20, "frames show something"
    assert [p.name for p in file.parent.iterdir()] == ["paths.png"]


def test_a_preset_without_room_says_why(loaded: Scene) -> None:
    rows = {row.name: row for row in preset_rows(replace(loaded, views=loaded.views[:3]))}
    assert list(rows) == list(PRESETS)
    assert rows["turntable"].path is None and "choose" in rows["turntable"].refusal
    with pytest.raises(NerfsceneError, match="two posed photos"):
        preset_rows(replace(loaded, views=loaded.views[:1]))


@pytest.mark.parametrize("wrong", ["paths.gif", "."])
def test_a_sheet_that_cannot_be_written_is_refused_at_once(trained: Path, tmp_path: Path, wrong: str) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["paths", str(trained), "-o", str(tmp_path / wrong)])
    assert left.value.code == 2


def test_the_command_writes_a_path_instead(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "camera.glb"
    shape = ["--path", "spiral", "--seconds", "1", "--fps", "12", "--width", "64", "--height", "48"]
    cli.main(["paths", str(trained), "--write", str(file), *shape, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["program"], told["frames"], told["fps"]) == (str(file), "blender", 12, 12)
    assert "sheet" not in told and [p.name for p in file.parent.iterdir()] == ["camera.glb"]
    path = read_camera_path(file, scene=scenes.load(trained))
    assert (len(path.cameras), path.fps, path.width, path.height) == (12, 12, 64, 48)


def test_settings_of_a_path_are_for_write(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["paths", str(trained), "--path", "orbit"])
    assert left.value.code == 2 and "--write" in capsys.readouterr().err

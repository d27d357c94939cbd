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
from nerfscene.films.path_sheet import FRAMES, LABEL, MAP, WAY, path_sheet, preset_rows
from nerfscene.films.presets import PRESETS
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scenes.load(trained)


def test_a_sheet_has_a_row_of_frames_and_a_plan_for_every_preset(loaded: Scene, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    rows = path_sheet(loaded, tmp_path / "new/paths.png", progress=lambda *done: told.append(done))
    assert [row.name for row in rows] == list(PRESETS)
    made = [row for row in rows if row.path is not None]
    assert told[-1] == (FRAMES * len(made), FRAMES * len(made)) and len(told) == FRAMES * len(made)
    sheet = np.asarray(Image.open(tmp_path / "new/paths.png"))
    assert sheet.shape[1] > FRAMES * 160 + MAP and sheet.shape[0] > len(made) * (LABEL + 120)
    plans = sheet[:, -MAP:]
    assert (plans == WAY).all(-1).sum() > 30 * len(made), "each path is drawn"
    frames = sheet[:, : FRAMES * 160].astype(float)
    assert frames.std() > 20, "frames show something"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["paths.png"]


def test_a_preset_without_room_says_why(loaded: Scene, tmp_path: Path) -> None:
    few = replace(loaded, views=loaded.views[:3])
    rows = {row.name: row for row in preset_rows(few)}
    assert rows["turntable"].path is None and "choose" in rows["turntable"].refusal
    path_sheet(few, tmp_path / "paths.jpg")
    with pytest.raises(NerfsceneError, match="two posed photos"):
        preset_rows(replace(loaded, views=loaded.views[:1]))


def test_the_command_writes_the_sheet_and_tells_of_each_preset(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["paths", str(trained), "-o", str(tmp_path / "paths.jpg"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["sheet"] == str(tmp_path / "paths.jpg") and told["auto"] in told["paths"]
    assert {*told["paths"], *told["not_possible"]} == set(PRESETS)
    assert Image.open(tmp_path / "paths.jpg").format == "JPEG"
    for wrong in ("paths.gif", "."):
        with pytest.raises(SystemExit) as left:
            cli.main(["paths", str(trained), "-o", str(tmp_path / wrong)])
        assert left.value.code == 2

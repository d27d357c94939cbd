"""A damaged training.safetensors is refused with one sentence, and the scene beside it stays whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from nerfscene import api
from nerfscene.config import TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder as scenes

Arrays = dict[str, np.ndarray[Any, Any]]
Notes = dict[str, str]


@pytest.fixture(scope="module")
def begun(small_room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene whose cameras are refined, after a few steps."""
    folder = tmp_path_factory.mktemp("begun") / "scene"
    api.train(small_room, folder, TrainConfig(steps=5, holdout=0), analytic.SMALL)
    return folder


def number(name: str, value: float, at: int = -1) -> Callable[[Arrays, Notes], None]:
    def change(arrays: Arrays, notes: Notes) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name].reshape(-1)[at] = value

    return change


def array(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays, Notes], None]:
    return lambda arrays, notes: arrays.update({name: np.ascontiguousarray(change(arrays[name]))})


def note(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays, Notes], None]:
    return lambda arrays, notes: notes.update({name: json.dumps(change(json.loads(notes[name])))})


def entry(**values: Any) -> Callable[[Arrays, Notes], None]:
    return note("views", lambda views: [views[0] | values, *views[1:]])


DAMAGED: dict[str, Callable[[Arrays, Notes], None]] = {
    "NaN in the table": number("master", np.nan),
    "too large for binary16": number("master", 1e5),
    "infinite weights": number("weights", np.inf),
    "a negative mean of squares": number("weight_moments", -1.0),
    "infinite exposures": number("exposures", np.inf),
    "cameras far away": number("camera_poses", 1e30),
    "a lens that is none": number("camera_lenses", 9.0, 0),
    "integers": array("table_moments", lambda a: a.astype(np.int32)),
    "a missing row": array("master", lambda a: a[1:]),
    "transposed": array("table_moments", lambda a: a.transpose(0, 2, 1)[:, :, :1]),
    "no weights": lambda arrays, notes: arrays.__delitem__("weights"),
    "a state of three": array("state", lambda a: a[:3]),
    "steps that are no number": number("state", np.nan, 2),
    "endless steps": number("state", 1e300, 2),
    "a pose that is none": number("begun_cameras", 7.0),
    "points in no place": array("begun_points", lambda a: np.full((1, 3), np.inf)),
    "a point that is none": array("begun_seen", lambda a: np.array([10**9])),
    "counts that don't add up": array("begun_seen_counts", lambda a: a + 1),
    "photos that are no list": note("views", lambda views: {"a": views}),
    "too few photos": note("views", lambda views: views[1:]),
    "a photo without a name": entry(name=7),
    "a path that can't be one": entry(path="a\0b"),
    "a lens without numbers": note(
        "views", lambda views: [v | {"intrinsics": v["intrinsics"] | {"fx": "7"}} for v in views]
    ),
    "a focal length that can't be": note(
        "views", lambda views: [v | {"intrinsics": v["intrinsics"] | {"fx": 1e-30}} for v in views]
    ),
    "brackets": lambda arrays, notes: notes.update(views="[" * 100_000),
    "progress that is a list": note("progress", lambda p: [p]),
    "a history of words": note("progress", lambda p: p | {"steps": 9, "history": ["x"]}),
    "progress without steps": lambda arrays, notes: notes.update(progress='{"rays": 1}'),
    "words for steps": lambda arrays, notes: notes.update(steps="many"),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_training_is_refused(how: str, begun: Path, small_room: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(begun, tmp_path / "scene")
    file = folder / scenes.TRAINING_FILE
    with safe_open(file, framework="np") as handle:
        notes = dict(handle.metadata())
    arrays = load_file(file)
    DAMAGED[how](arrays, notes)
    save_file(arrays, file, metadata=notes)
    before = (folder / scenes.FIELD_FILE).read_bytes()
    with pytest.raises(NerfsceneError, match="damaged") as told:
        api.train(small_room, folder, TrainConfig(steps=8, holdout=0), analytic.SMALL, resume=True)
    assert "--overwrite" in str(told.value) and "\n" not in str(told.value)
    assert (folder / scenes.FIELD_FILE).read_bytes() == before


@pytest.mark.parametrize("size", [0, 7, 100, 5000, -100])
def test_a_training_file_that_is_cut_off_is_refused(
    size: int, begun: Path, small_room: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(begun, tmp_path / "scene")
    file = folder / scenes.TRAINING_FILE
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(NerfsceneError, match="missing or damaged"):
        api.train(small_room, folder, TrainConfig(steps=8, holdout=0), analytic.SMALL, resume=True)

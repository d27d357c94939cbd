"""The scene on disk: whole or not at all, nothing executed on loading."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pytest
from safetensors.numpy import load_file

from nerfscene import api
from nerfscene.cameras.algebra import scaled
from nerfscene.config import TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import render
from nerfscene.measuring import evaluate
from nerfscene.scene import folder as scene
from nerfscene.scene.atomic import write_json
from nerfscene.types import Camera


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_saving_what_was_loaded_changes_no_bit(trained: Path, tmp_path: Path) -> None:
    loaded = scene.load(trained)
    scene.save(loaded, tmp_path)
    again = scene.load(tmp_path)
    a, b = load_file(trained / scene.FIELD_FILE), load_file(tmp_path / scene.FIELD_FILE)
    assert a.keys() == b.keys()
    assert all(a[k].tobytes() == b[k].tobytes() and a[k].dtype == b[k].dtype for k in a)
    assert (trained / scene.SCENE_JSON).read_text() == (tmp_path / scene.SCENE_JSON).read_text()
    assert again.figures == loaded.figures and again.field.space == loaded.field.space
    assert np.array_equal(again.field.weights_t, loaded.field.weights_t)


def test_a_loaded_scene_renders_as_the_trained_one(small_room: Path, tmp_path: Path) -> None:
    made = api.train(small_room, tmp_path / "scene", TrainConfig(steps=20), analytic.SMALL)
    view = made.views[1]
    camera = Camera(view.intrinsics, view.world_from_cam)
    before = render(made.renderer(), camera)
    after = render(scene.load(tmp_path / "scene").renderer(), camera)
    assert np.array_equal(before.rgb, after.rgb) and np.array_equal(before.depth, after.depth)


def test_nothing_is_unpickled(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was read")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    scene.load(trained)
    assert {p.suffix for p in trained.rglob("*") if p.is_file()} == {".json", ".safetensors", ".html"}


def test_others_may_read_a_scene(trained: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    for file in trained.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask, file


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failure_while_saving_keeps_a_scene_that_loads(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, error: BaseException
) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")
    old = scene.load(folder)
    newer = scene.with_figures(old, steps=old.figures.steps + 1)
    replace, calls = os.replace, 0

    def fails(a: Path, b: Path) -> None:
        nonlocal calls
        calls += 1
        if calls > failing:
            raise error
        replace(a, b)

    monkeypatch.setattr(scene.os, "replace", fails)
    with pytest.raises(NerfsceneError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        scene.save(newer, folder, {"weights": old.field.weights})
    monkeypatch.undo()
    if isinstance(error, OSError):
        assert "disk is full" in str(caught.value)
    assert scene.load(folder).figures.steps == old.figures.steps
    assert {p.name for p in folder.iterdir()} == {p.name for p in trained.iterdir()}


def test_a_failure_before_anything_is_replaced_changes_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")

    def half(arrays: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scene, "save_file", half)
    with pytest.raises(NerfsceneError, match=r"disk is full while writing .*field"):
        scene.save(scene.load(folder), folder)
    assert contents(folder) == contents(trained)


def test_numbers_that_json_lacks_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json({"a": 1}, file)
    with pytest.raises(ValueError):
        write_json({"a": float("nan")}, file)
    assert json.loads(file.read_text()) == {"a": 1} and [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up(small_room: Path, small_disk: Path) -> None:
    folder = small_disk / "scene"
    with pytest.raises(NerfsceneError, match="disk is full while writing") as caught:
        api.train(small_room, folder, TrainConfig(steps=5), analytic.SMALL)
    assert "\n" not in str(caught.value)
    assert not folder.exists()


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_versions_are_refused(trained: Path, tmp_path: Path, version: Any) -> None:
    data = json.loads((trained / scene.SCENE_JSON).read_text())
    assert data["version"] == scene.VERSION == 1
    (tmp_path / scene.SCENE_JSON).write_text(json.dumps({**data, "version": version}))
    with pytest.raises(NerfsceneError, match="another version"):
        scene.load(tmp_path)


def test_the_torch_backend_renders_a_scene_alike(trained: Path) -> None:
    pytest.importorskip("nerfscene.ops.torch_backend")
    loaded = scene.load(trained)
    view = loaded.views[0]
    camera = Camera(scaled(view.intrinsics, 12, 9), view.world_from_cam)
    ours, plain = (render(loaded.renderer(b), camera) for b in ("cpu", "torch"))
    difference = np.abs(ours.rgb - plain.rgb)
    assert difference.mean() < 2e-3 and np.quantile(difference, 0.999) < 0.02
    assert np.abs(ours.accumulation - plain.accumulation).mean() < 2e-3


def test_a_scene_finds_its_photos_from_anywhere(
    small_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_room.parent)
    made = api.train(Path(small_room.name), tmp_path / "scene", TrainConfig(steps=5), analytic.SMALL)
    monkeypatch.chdir(tmp_path)
    assert evaluate.measure(scene.load("scene"))["psnr"] == pytest.approx(made.figures.psnr, abs=1e-6)


def test_resuming_a_training_older_than_its_scene_is_refused(
    room: Path, trained: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")
    loaded = scene.load(folder)
    scene.save(scene.with_figures(loaded, steps=1000), folder)
    config = TrainConfig(steps=1100)
    with pytest.raises(NerfsceneError, match="older than the scene"):
        api.train(room, folder, config, analytic.SMALL, resume=True)
    (folder / scene.TRAINING_FILE).unlink()
    with pytest.raises(NerfsceneError, match="missing or damaged"):
        api.train(room, folder, config, analytic.SMALL, resume=True)
    assert scene.load(folder).figures.steps == 1000


def test_resuming_with_another_field_is_refused(room: Path, trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")
    with pytest.raises(NerfsceneError, match="other settings"):
        api.train(room, folder, TrainConfig(steps=300), resume=True)
    assert contents(folder) == contents(trained)


def test_a_crop_is_kept_and_shown_everywhere(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    shutil.copytree(trained, folder)
    whole = scene.load(folder)
    assert whole.crop is None
    view = whole.views[0]
    camera = Camera(view.intrinsics, view.world_from_cam)
    everything = render(whole.renderer(), camera)
    box = np.eye(4)
    box[:3, :3] *= 0.5
    box[:3, 3] = view.world_from_cam[:3, 3] + 2 * view.world_from_cam[:3, 2]
    scene.save_crop(folder, box)
    part = scene.load(folder)
    assert part.crop is not None and np.allclose(part.crop, box)
    cropped = render(part.renderer(), camera)
    assert np.abs(cropped.rgb - everything.rgb).mean() > 0.01
    depth = cropped.depth[cropped.accumulation > 0.2]  # the depth of thinner things means little
    assert depth.size and depth.min() > 1.0 and depth.max() < 3.5
    measured = [evaluate.measure(s)["psnr"] for s in (part, whole)]
    assert measured[0] == pytest.approx(measured[1])  # a crop changes what is shown, not what is measured
    scene.save_crop(folder, None)
    assert scene.load(folder).crop is None
    scene.save_crop(folder, np.zeros((4, 4)))
    with pytest.raises(NerfsceneError, match="crop"):
        scene.load(folder)

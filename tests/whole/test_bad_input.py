"""Bad files and options are refused with one sentence and exit code 2, and nothing is half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pytest
from conftest import Command
from PIL import Image
from refusals import Refused, check_refusal, nothing_in
from safetensors.numpy import load_file, save_file

from nerfscene import api, cli
from nerfscene.config import TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder as scene


def photos(folder: Path, count: int, seed: int = 0) -> Path:
    """Writes pictures of noise, each different."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def changed(room: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copies a capture and changes values in its transforms.json."""
    shutil.copytree(room, to)
    values = json.loads((to / "transforms.json").read_text())
    change(values)
    (to / "transforms.json").write_text(json.dumps(values))
    return to


def test_no_folder(refused: Refused, tmp_path: Path) -> None:
    said = refused("train", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert "nowhere" in said and nothing_in(tmp_path / "out")


def test_a_file_instead_of_a_folder(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    said = refused("train", tmp_path / "photo.jpg", "-o", tmp_path / "out")
    assert "is a file" in said and nothing_in(tmp_path / "out")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_photos(refused: Refused, tmp_path: Path, count: int) -> None:
    folder = photos(tmp_path / "photos", count)
    (folder / "notes.txt").write_text("hello")
    said = refused("train", folder, "-o", tmp_path / "out")
    assert ("no photos" if count == 0 else f"{count} readable photo") in said
    assert nothing_in(tmp_path / "out")


def test_only_unreadable_photos(refused: Refused, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 4)
    for i, photo in enumerate(sorted(folder.iterdir())):
        photo.write_bytes(photo.read_bytes()[:1000] if i % 2 else b"not a picture")
    said = refused("train", folder, "-o", tmp_path / "out")
    assert "0 readable photos" in said and "0.png" in said and nothing_in(tmp_path / "out")


def test_photos_that_share_nothing(refused: Refused, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 5)
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes()[:2000])
    said = refused("train", folder, "-o", tmp_path / "out", quiet=False)
    assert "could be posed" in said and "0.png" in said
    assert nothing_in(tmp_path / "out")


def test_an_unreadable_photo_amid_posed_ones_is_a_warning(
    capfd: pytest.CaptureFixture[str], small_room: Path, tmp_path: Path
) -> None:
    capture = shutil.copytree(small_room, tmp_path / "room")
    photo = capture / "images/003.png"
    photo.write_bytes(photo.read_bytes()[:500])
    out = str(tmp_path / "out")
    cli.main(["train", str(capture), "-o", out, "--steps", "5", "--field.occupancy-resolution", "32"])
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("warning:") and "003.png" in line]
    assert len(scene.load(tmp_path / "out").views) == 8


def test_a_missing_photo_amid_posed_ones_is_a_warning(
    capfd: pytest.CaptureFixture[str], small_room: Path, tmp_path: Path
) -> None:
    capture = shutil.copytree(small_room, tmp_path / "room")
    (capture / "images/003.png").unlink()
    out = str(tmp_path / "out")
    cli.main(["train", str(capture), "-o", out, "--steps", "5", "--field.occupancy-resolution", "32"])
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("warning:") and "003.png" in line]
    assert len(scene.load(tmp_path / "out").views) == 8


def test_poses_of_other_photos(refused: Refused, room: Path, tmp_path: Path) -> None:
    capture = changed(room, tmp_path / "room", lambda values: values.update(w=100, h=40))
    said = refused("train", capture, "-o", tmp_path / "out")
    assert "don't fit the photos" in said and "64×48" in said and nothing_in(tmp_path / "out")


@pytest.mark.parametrize("where", ["pose", "lens"])
def test_nan_in_poses_and_lenses_is_refused(refused: Refused, room: Path, tmp_path: Path, where: str) -> None:
    def spoil(values: dict[str, Any]) -> None:
        if where == "lens":
            values["fl_x"] = float("nan")
        else:
            values["frames"][7]["transform_matrix"][1][3] = float("nan")

    capture = changed(room, tmp_path / "room", spoil)
    said = refused("train", capture, "-o", tmp_path / "out")
    assert "transforms.json" in said and nothing_in(tmp_path / "out")


def test_broken_json(refused: Refused, room: Path, tmp_path: Path) -> None:
    capture = shutil.copytree(room, tmp_path / "room")
    text = (capture / "transforms.json").read_text()
    (capture / "transforms.json").write_text(text[: len(text) // 2])
    said = refused("train", capture, "-o", tmp_path / "out")
    assert "transforms.json is not valid JSON (line 1" in said and nothing_in(tmp_path / "out")


def test_an_output_that_holds_other_things(refused: Refused, room: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    for extra in ((), ("--overwrite",)):
        assert "is not a scene" in refused("train", room, "-o", out, *extra)
    assert [p.name for p in out.iterdir()] == ["letter.txt"]


def test_an_output_that_is_a_file(refused: Refused, room: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("dear")
    assert "is a file" in refused("train", room, "-o", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "dear"


@pytest.mark.parametrize("place", ["file/scene", "/proc/scene"])
def test_an_output_that_cannot_be_written(refused: Refused, room: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    assert "can't be written" in refused("train", room, "-o", tmp_path / place)


def test_nothing_to_resume(refused: Refused, room: Path, tmp_path: Path) -> None:
    said = refused("train", room, "-o", tmp_path / "out", "--resume")
    assert "leave out --resume" in said and nothing_in(tmp_path / "out")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--time", "0"),
        ("--time", "-5"),
        ("--time", "nan"),
        ("--steps", "0"),
        ("--downscale", "0"),
        ("--downscale", "0.5"),
        ("--downscale", "10"),
        ("--threads", "-1"),
        ("--holdout", "-1"),
        ("--seed", "-1"),
        ("--field.levels", "17"),
        ("--field.log2-table", "40"),
        ("--field.base-resolution", "0"),
        ("--field.occupancy-resolution", "31"),
    ],
)
def test_settings_that_make_no_sense(
    refused: Refused, room: Path, tmp_path: Path, option: str, value: str
) -> None:
    said = refused("train", room, "-o", tmp_path / "out", option, value)
    assert option in said
    assert nothing_in(tmp_path / "out")


def test_a_backend_that_does_not_exist(
    capfd: pytest.CaptureFixture[str], trained: Path, tmp_path: Path, room: Path
) -> None:
    for command in (["eval", str(trained)], ["train", str(room), "-o", str(tmp_path / "out")]):
        with pytest.raises(SystemExit) as left:  # tyro knows the choices, and says them
            cli.main([*command, "--backend", "abacus"])
        said = capfd.readouterr().err
        assert left.value.code == 2 and "abacus" in said and "tcnn" in said
    with pytest.raises(NerfsceneError, match="'abacus'"):
        api.report(trained, "abacus")
    assert nothing_in(tmp_path / "out")


@pytest.mark.parametrize("verb", ["info", "eval", "render"])
def test_what_is_no_scene_is_refused(refused: Refused, tmp_path: Path, verb: str) -> None:
    extra = ("-o", tmp_path / "film.mp4") if verb == "render" else ()
    assert "doesn't exist" in refused(verb, tmp_path / "nowhere", *extra)
    (tmp_path / "folder").mkdir()
    assert "is not a scene" in refused(verb, tmp_path / "folder", *extra)
    assert not (tmp_path / "film.mp4").exists()


def test_a_scene_from_a_newer_version(refused: Refused, trained: Path, tmp_path: Path, room: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")
    values = json.loads((folder / scene.SCENE_JSON).read_text()) | {"version": 99}
    (folder / scene.SCENE_JSON).write_text(json.dumps(values))
    for arguments in (("info", folder), ("train", room, "-o", folder)):
        said = refused(*arguments)
        assert "version 99" in said and "--overwrite" in said


def _cut(folder: Path) -> None:
    file = folder / scene.FIELD_FILE
    file.write_bytes(file.read_bytes()[:-1000])


def _not_finite(folder: Path) -> None:
    arrays = load_file(folder / scene.FIELD_FILE)
    arrays["weights"] = np.full_like(arrays["weights"], np.nan)
    save_file(arrays, folder / scene.FIELD_FILE)


def _other_sizes(folder: Path) -> None:
    arrays = load_file(folder / scene.FIELD_FILE)
    arrays["table"] = arrays["table"][1:]
    save_file(arrays, folder / scene.FIELD_FILE)


def _edit(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        values = json.loads((folder / scene.SCENE_JSON).read_text()) | changes
        (folder / scene.SCENE_JSON).write_text(json.dumps(values))

    return edit


def _within(part: str, **changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        values = json.loads((folder / scene.SCENE_JSON).read_text())
        values[part] |= changes
        (folder / scene.SCENE_JSON).write_text(json.dumps(values))

    return edit


def _view(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        values = json.loads((folder / scene.SCENE_JSON).read_text())
        values["views"][-1] |= changes
        (folder / scene.SCENE_JSON).write_text(json.dumps(values))

    return edit


def _lens(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        values = json.loads((folder / scene.SCENE_JSON).read_text())
        values["views"][-1]["intrinsics"] |= changes
        (folder / scene.SCENE_JSON).write_text(json.dumps(values))

    return edit


def _array(name: str, values: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        arrays = load_file(folder / scene.FIELD_FILE)
        arrays[name] = values if isinstance(values, np.ndarray) else np.full_like(arrays[name], values)
        save_file(arrays, folder / scene.FIELD_FILE)

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _not_finite,
        _other_sizes,
        lambda folder: (folder / scene.FIELD_FILE).unlink(),
        lambda folder: (folder / scene.SCENE_JSON).write_text("{"),
        lambda folder: (folder / scene.SCENE_JSON).write_text("[]"),
        lambda folder: (folder / scene.SCENE_JSON).write_bytes(b"\xff\xfe\xff"),
        _edit(views=[]),
        _edit(views=[{}]),
        _edit(figures=[]),
        _edit(figures=None),
        _edit(background=[1]),
        _edit(scene_from_world=[[1.0]]),
        _edit(scene_from_world=[[float("nan")] * 4] * 4),
        _edit(field={"levels": 4}),
        _edit(field={"levels": "four"}),
        _edit(space=None),
        _edit(has_alpha="no"),
        _edit(background=[0, "0", 0]),
        _edit(up=[0, 0, 0]),
        _edit(crop=[[1e300, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        _edit(scene_from_world=[["1", 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        _edit(scene_from_world=[[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        _within("space", cone="0.006"),
        _within("space", step=1e-30),
        _within("space", far=0.1),
        _within("space", near=None),
        _within("space", colour=1),
        _within("field", levels=4.0),
        _within("field", occupancy_resolution=64),
        _within("figures", steps="5"),
        _within("figures", per_view=[{"photo": "a.png"}]),
        _within("figures", history=[1]),
        _within("figures", warnings="none"),
        _within("figures", settings={"train": 1}),
        _view(photo=1),
        _view(photo="a\0b"),
        _view(split="both"),
        _view(mask_turns=4),
        _view(exposure=[1e3, 0, 0]),
        _view(exposure=[0, 0]),
        _view(world_from_cam=[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [-1e308, 0, 0, 1]]),
        _view(world_from_cam=[[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        _view(intrinsics={"width": 64, "height": 48}),
        _lens(fx=1e-310),
        _lens(fx="55"),
        _lens(width=64.5),
        _lens(lens="equirectangular"),
        _lens(distortion=[0, 0, 0, 0, float("nan")]),
        _array("points", np.full((5, 2), 1, np.float32)),
        _array("points", np.full((5, 3), np.inf, np.float32)),
        _array("weights", 1e20),
        _array("occupancy", np.zeros(1024, np.float32)),
        _array("backdrop", np.zeros((3, 4), np.float32)),
    ],
)
def test_a_damaged_scene(trained: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")
    damage(folder)
    with pytest.raises(scene.NerfsceneError, match="scene") as caught:
        scene.load(folder)
    assert "\n" not in str(caught.value) and "__init__" not in str(caught.value)


def test_a_damaged_scene_told_by_the_command(refused: Refused, trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")
    _cut(folder)
    said = refused("render", folder, "-o", tmp_path / "film.mp4")
    assert "is damaged" in said and not (tmp_path / "film.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--path", "loop-the-loop"), "no camera path is called 'loop-the-loop'"),
        (("--path", "nowhere.json"), "nowhere.json doesn't exist"),
        (("--path", "bad.json"), "bad.json is not valid JSON (line 1"),
        (("--path", "empty.json"), "empty.json holds no cameras"),
        (("--seconds", "-1"), "--seconds must be"),
        (("--seconds", "nan"), "--seconds must be"),
        (("--fps", "0"), "--fps must be above 0 and at most 3600, not 0"),
        (("--fps", "4000"), "--fps must be above 0 and at most 3600, not 4000"),
        (("--width", "4"), "--width must be 16 to 8192 pixels, not 4"),
        (("--threads", "-1"), "--threads must be"),
        (("--motion-blur", "400"), "--motion-blur must be 0 to 360 degrees, not 400"),
        (("--aperture", "0"), "--aperture must be an f-number"),
        (("--exposure", "nan"), "--exposure must be -10 to 10 stops"),
        (("--focus", "subject"), "give --aperture too"),
        (("--aperture", "2.8", "--focus", "nobody"), "no posed photo called 'nobody'"),
        (("--background", "sky"), "--background takes a colour such as white"),
        (("--background", "transparent"), ".mp4 keeps no transparency; name the film"),
        (("--passes", "depth"), "give --frames FOLDER as well"),
        (("--passes", "z"), "--passes takes some of depth,normal,accumulation"),
    ],
)
def test_render_options_that_make_no_sense(
    refused: Refused, trained: Path, tmp_path: Path, arguments: tuple[str, str], told: str
) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "empty.json").write_text('{"camera_path": []}')
    options = [str(tmp_path / a) if a.endswith(".json") else a for a in arguments]
    said = refused("render", trained, "-o", tmp_path / "films/film.mp4", *options)
    assert told in said.replace(f"{tmp_path}/", "")
    assert not list(tmp_path.glob("films/*"))


@pytest.mark.parametrize("name", ["film.avi", "film", "file/film.mp4", "folder.mp4"])
def test_impossible_names_of_films_are_refused(
    refused: Refused, trained: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    said = refused("render", trained, "-o", tmp_path / name, "--seconds", 0.1, "--width", 32)
    assert name.rsplit("/")[0] in said


def test_render_without_an_output_says_what_to_give(refused: Refused, trained: Path) -> None:
    assert "-o film.mp4" in refused("render", trained)


def test_a_held_out_photo_that_is_gone(refused: Refused, small_room: Path, tmp_path: Path) -> None:
    capture = shutil.copytree(small_room, tmp_path / "room")
    out = tmp_path / "out"
    api.train(capture, out, TrainConfig(steps=5), analytic.SMALL)
    (capture / "images/004.png").unlink()
    said = refused("eval", out)
    assert "004.png does not exist" in said
    assert api.info(out)["test_views"] == 1, "info needs no photos"


def test_refusals_as_a_shell_sees_them(command: Command, tmp_path: Path) -> None:
    for arguments in (("train", tmp_path / "nowhere", "-o", tmp_path / "out"), ("info", tmp_path / "out")):
        done = command(*arguments)
        check_refusal(done.returncode, done.stdout, done.stderr, quiet=True)

"""What Python callers give and get: wrong types and values, warnings, progress, comparing, names."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pytest
from conftest import ROOT

import nerfscene as ns
from nerfscene.terminal import Live
from nerfscene.types import Intrinsics

CONFIGS = (
    ns.PoseConfig,
    ns.FootageConfig,
    ns.FieldConfig,
    ns.TrainConfig,
    ns.RenderConfig,
    ns.CredentialsConfig,
)
FIELDS = [(config, field) for config in CONFIGS for field in dataclasses.fields(config)]


@pytest.mark.parametrize(("config", "field"), FIELDS, ids=lambda x: getattr(x, "name", None))
def test_every_setting_says_when_it_is_of_the_wrong_type(config: type, field: Any) -> None:
    kind = str(field.type)
    wrong: list[Any] = [object(), [1], {"a": 1}, b"bytes", 1j]
    if "bool" not in kind:
        wrong += [True, np.True_]
    else:
        wrong += [1, 0.0, None]
    if (
        "str" not in kind
        and "Literal" not in kind
        and "Backend" not in kind
        and "Lens" not in kind
        and "Path" not in kind
        and "Source" not in kind
    ):
        wrong += ["many", "3", Path("3")]
    if kind.startswith("int"):
        wrong += [3.5, 100.0, math.nan, np.float32(3)]
    if "None" not in kind:
        wrong.append(None)
    for value in wrong:
        with pytest.raises(TypeError, match=rf"^{config.__name__}\.{field.name} must be"):
            config(**{field.name: value})


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (ns.TrainConfig, {"time": -1}),
        (ns.TrainConfig, {"time": math.nan}),
        (ns.TrainConfig, {"time": math.inf}),
        (ns.TrainConfig, {"time": 10**400}),
        (ns.TrainConfig, {"steps": 0}),
        (ns.TrainConfig, {"quality": "finest"}),
        (ns.TrainConfig, {"backend": "abacus"}),
        (ns.TrainConfig, {"downscale": math.nan}),
        (ns.TrainConfig, {"seed": -1}),
        (ns.PoseConfig, {"max_image_size": 0}),
        (ns.PoseConfig, {"max_features": -4}),
        (ns.PoseConfig, {"matcher": "fast"}),
        (ns.FootageConfig, {"frames": 2}),
        (ns.FieldConfig, {"color": "blue"}),
        (ns.RenderConfig, {"width": 8}),
        (ns.RenderConfig, {"fps": 0.0}),
        (ns.RenderConfig, {"fps": math.nan}),
        (ns.RenderConfig, {"seconds": -1}),
        (ns.RenderConfig, {"samples": 9}),
        (ns.RenderConfig, {"width": 10**5000}),
        (ns.RenderConfig, {"codec": "h264 " * 10**5}),
        (ns.RenderConfig, {"preset": Path("hd720")}),
        (ns.CredentialsConfig, {"source_type": "real"}),
    ],
)
def test_values_out_of_range_are_refused_by_name(config: type, settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ns.NerfsceneError, match=rf"^{config.__name__}\.{name} must be") as told:
        config(**settings)
    assert len(str(told.value)) < 250
    with pytest.raises(ns.NerfsceneError, match=name):
        dataclasses.replace(config(), **settings)


def test_numbers_of_other_kinds_become_python_s_own() -> None:
    made = ns.TrainConfig(time=np.float32(2), steps=np.int64(5), downscale=Fraction(3, 2), seed=np.uint8(7))
    assert (made.time, made.steps, made.downscale, made.seed) == (2.0, 5, 1.5, 7)
    assert [type(x) for x in (made.time, made.steps, made.downscale)] == [float, int, float]
    assert (
        ns.TrainConfig(time=3).time == 3.0
        and ns.TrainConfig(refine_cameras=np.False_).refine_cameras is False
    )
    assert ns.RenderConfig(path=Path("a/b.json")).path == "a/b.json"  # type: ignore[arg-type]
    assert ns.RenderConfig(path_transform="t.json").path_transform == Path("t.json")  # type: ignore[arg-type]


def test_arguments_of_the_wrong_type_are_named(tmp_path: Path, trained: Path) -> None:
    loaded, out = ns.load(trained), tmp_path / "out"
    camera = ns.Camera(loaded.views[0].intrinsics, loaded.views[0].world_from_cam)
    calls: list[tuple[str, Any]] = [
        ("source", lambda: ns.train(None, out)),
        ("output", lambda: ns.train("photos", 5)),
        ("config", lambda: ns.train("photos", out, {"time": 3})),
        ("field", lambda: ns.train("photos", out, field=ns.TrainConfig())),
        ("poses", lambda: ns.train("photos", out, poses="fast")),
        ("footage", lambda: ns.train("photos", out, footage=3)),
        ("resume", lambda: ns.train("photos", out, resume="yes")),
        ("overwrite", lambda: ns.train("photos", out, overwrite=1)),
        ("progress", lambda: ns.train("photos", out, progress="print")),
        ("control", lambda: ns.train("photos", out, control=object())),
        ("source", lambda: ns.posed_capture(3, tmp_path)),
        ("workdir", lambda: ns.posed_capture("photos", None)),
        ("path", lambda: ns.open_capture(b"photos")),
        ("folder", lambda: ns.load(None)),
        ("folder", lambda: ns.info(3.5)),
        ("folder", lambda: ns.report(loaded)),
        ("scene", lambda: ns.film(str(trained), out / "film.mp4")),
        ("file", lambda: ns.film(loaded, 3)),
        ("config", lambda: ns.film(loaded, out / "film.mp4", 30)),
        ("frames", lambda: ns.film(loaded, out / "film.mp4", frames=True)),
        ("scene", lambda: ns.measure(trained)),
        ("scene", lambda: ns.view(5)),
        ("renderer", lambda: ns.render(loaded, loaded.views[0])),
        ("camera", lambda: ns.render(loaded.renderer(), loaded.views[0])),
        ("samples", lambda: ns.render(loaded.renderer(), camera, samples="2")),
        ("listener", lambda: ns.train("photos", out, listener=3)),
        ("warn", lambda: ns.train("photos", out, warn="print")),
        ("note", lambda: ns.train("photos", out, note=None)),
        ("control", lambda: ns.train("photos", out, control=0)),
        ("warn", lambda: ns.posed_capture("photos", out, warn=1)),
        ("listener", lambda: ns.posed_capture("photos", out, listener=None)),
        ("progress", lambda: ns.open_capture("photos", 3)),
        ("warn", lambda: ns.film(loaded, out / "film.mp4", warn=3)),
        ("path", lambda: ns.write_camera_path([camera], out)),
        ("threads", lambda: ns.view(trained, threads=1.0)),
        ("target", lambda: ns.look_at([1, 2, 3], "the middle", [0, 0, 1])),
        ("up", lambda: ns.look_at([1, 2, 3], [0, 0, 0], 2)),
    ]
    for name, call in calls:
        with pytest.raises(TypeError, match=f"^{name} must be"):
            call()
    for empty in ("", "a\0b"):
        with pytest.raises(ns.NerfsceneError, match="folder must be"):
            ns.load(empty)
    assert not list(tmp_path.iterdir())


def test_cameras_that_take_no_picture_are_refused(trained: Path) -> None:
    loaded = ns.load(trained)
    lens, pose = loaded.views[0].intrinsics, loaded.views[0].world_from_cam
    cameras = [ns.Camera(lens, wrong) for wrong in (np.eye(3), pose[:3], pose * np.nan, "here", None)]
    changes = (
        {"width": 0},
        {"height": 10**9},
        {"fx": 1e-310},
        {"fy": math.nan},
        {"lens": "round"},
        {"cx": 1e40},
    )
    cameras += [ns.Camera(dataclasses.replace(lens, **change), pose) for change in changes]
    for camera in cameras:
        with pytest.raises(ns.NerfsceneError, match="camera"):
            ns.render(loaded.renderer(), camera)
    with pytest.raises(TypeError, match="camera"):
        ns.render(loaded.renderer(), ns.Camera(dataclasses.replace(lens, width=32.5), pose))
    for samples in (0, -1, 10**6):
        with pytest.raises(ns.NerfsceneError, match="samples must be"):
            ns.render(loaded.renderer(), ns.Camera(lens, pose), samples)
    with pytest.raises(ns.NerfsceneError, match="threads must be"):
        ns.view(trained, threads=-1)


def test_a_camera_looks_at_a_point_given_as_a_list() -> None:
    pose = ns.look_at([1, 2, 3], (1, 2, 5), [0, 1, 0])
    assert np.allclose(pose[:3, 2], [0, 0, 1]) and np.allclose(pose[:3, 3], [1, 2, 3])
    with pytest.raises(ns.NerfsceneError, match="must differ"):
        ns.look_at([1, 2, 3], [1, 2, 3], [0, 0, 1])
    with pytest.raises(ns.NerfsceneError, match="up must be"):
        ns.look_at([1, 2, 3], [1, 2, 4], [0, math.nan, 1])


def test_a_tilde_is_expanded_in_every_path(
    trained: Path, small_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "scene").symlink_to(trained)
    (tmp_path / "photos").symlink_to(small_room)
    scene = ns.load("~/scene")
    camera = ns.Camera(scene.views[0].intrinsics, scene.views[0].world_from_cam)
    ns.write_camera_path(ns.CameraPath((camera,) * 2), "~/path.json")
    short = ns.RenderConfig(path="~/path.json", width=32, fps=2, seconds=1)
    ns.film(scene, "~/film.mp4", short, frames="~/frames")
    names = {path.name for path in tmp_path.iterdir()}
    assert {"path.json", "film.mp4", "frames"} <= names and "~" not in names
    with pytest.raises(ns.NerfsceneError, match=str(tmp_path / "none.json")):
        ns.film(scene, "~/film.mp4", dataclasses.replace(short, path="~/none.json"))
    with pytest.raises(ns.NerfsceneError, match="~nobody-of-this-name/scene doesn't exist"):
        ns.load("~nobody-of-this-name/scene")


# --- warnings and progress ------------------------------------------------------------------------


def test_warnings_reach_a_caller_who_gives_no_warn(small_room: Path, tmp_path: Path) -> None:
    room = analytic.write_room(tmp_path / "room", 9, (32, 24))
    (room / "images/003.png").unlink()
    config = ns.TrainConfig(steps=3, holdout=0)
    with pytest.warns(ns.NerfsceneWarning, match=r"003\.png") as caught:
        ns.train(room, tmp_path / "scene", config, analytic.SMALL)
    assert [w.filename for w in caught] == [__file__] * len(caught)
    messages = [str(w.message) for w in caught]
    assert len(messages) == len(set(messages))
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ns.train(room, tmp_path / "again", config, analytic.SMALL, warn=told.append)
    assert told == messages
    with pytest.warns(ns.NerfsceneWarning, match=r"003\.png") as caught:
        posed = ns.posed_capture(room, tmp_path / "work", given="read")
    assert {w.filename for w in caught} == {__file__} and len(caught) == len(posed.warnings)


def test_the_command_prints_its_warnings_once(tmp_path: Path, command: Any) -> None:
    room = analytic.write_room(tmp_path / "room", 9, (32, 24))
    (room / "images/003.png").unlink()
    options = ("--steps", 3, "--holdout", 0, "--field.occupancy-resolution", 32)
    done = command("train", room, "-o", tmp_path / "scene", *options)
    assert done.returncode == 0 and "NerfsceneWarning" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if "003.png" in line]) == 1


def test_progress_is_printed_when_asked_for(
    small_room: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []
    config = ns.TrainConfig(steps=3, holdout=0)
    quiet, loud = tmp_path / "quiet", tmp_path / "loud"
    ns.train(small_room, quiet, config, analytic.SMALL)
    assert capfd.readouterr() == ("", "")
    ns.train(
        small_room, loud, config, analytic.SMALL, progress=True, listener=lambda p: heard.append(p.stage)
    )
    out, err = capfd.readouterr()
    assert not out and "training: 100 % step 3" in err and "training" in heard
    ns.film(ns.load(loud), tmp_path / "film.mp4", ns.RenderConfig(width=32, seconds=0.1), progress=True)
    assert "rendering: 100 %" in capfd.readouterr().err


def test_every_stage_says_how_long_it_still_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("nerfscene.terminal.time.monotonic", lambda: now[0])
    said: list[str] = []
    live = Live(quiet=True)
    monkeypatch.setattr(live, "say", said.append)
    for seconds, fraction in ((0, 0.0), (6, 0.1), (6, 0.3), (6, 0.2), (6, 0.4), (6, 1.0)):
        now[0] += seconds
        live.training(ns.Progress("matching photos", fraction))
    assert said == [
        "matching photos: 0 %",
        "matching photos: 10 % 0:54 left",
        "matching photos: 30 % 0:28 left",
        "matching photos: 20 %",  # begins again
        "matching photos: 40 % 0:18 left",
        "matching photos: 100 %",
    ]


# --- figures, comparing, names --------------------------------------------------------------------


def test_figures_are_a_sentence_also_without_held_out_photos(small_room: Path, tmp_path: Path) -> None:
    made = ns.train(small_room, tmp_path / "scene", ns.TrainConfig(steps=3, holdout=0), analytic.SMALL)
    assert made.figures.psnr is None
    assert str(made.figures) == "no photos were held out, so nothing was measured"
    measured = dataclasses.replace(made.figures, psnr=20.0, ssim=0.5, views=2, train_seconds=9.6)
    assert str(measured) == "2 held-out photos: PSNR 20.00 dB, SSIM 0.500 after 10 s of training"


def test_scenes_compare(trained: Path) -> None:
    one, two = ns.load(trained), ns.load(trained)
    assert one == two and hash(one) == hash(two) and one != None and one != "scene"  # noqa: E711
    assert len({one, two}) == 1 and one in [two] and one.views.index(two.views[3]) == 3
    assert len(set(one.views)) == len(one.views) and one.renderer() == two.renderer()
    assert one.figures == two.figures and hash(one.figures) == hash(two.figures)
    table = one.field.table.copy()
    table[0, 0] ^= 1
    assert dataclasses.replace(one, field=dataclasses.replace(one.field, table=table)) != two
    moved = one.views[0].world_from_cam.copy()
    moved[0, 3] += 1e-9
    views = (dataclasses.replace(one.views[0], world_from_cam=moved), *one.views[1:])
    assert dataclasses.replace(one, views=views) != two
    assert dataclasses.replace(one, crop=np.eye(4)) != two
    assert dataclasses.replace(one, crop=np.eye(4)) == dataclasses.replace(two, crop=np.eye(4))


def test_captures_cameras_and_pictures_compare(small_room: Path, tmp_path: Path) -> None:
    one, two = (ns.posed_capture(small_room, tmp_path, given="read") for _ in range(2))
    assert one == two and hash(one) == hash(two)
    assert one != dataclasses.replace(two, points=np.zeros((1, 3)))
    lens = Intrinsics(4, 3, 4.0, 4.0, 2.0, 1.5)
    assert ns.Camera(lens, np.eye(4)) == ns.Camera(lens, np.eye(4)) != ns.Camera(lens, 2 * np.eye(4))
    path = ns.CameraPath((ns.Camera(lens, np.eye(4)),))
    assert path == ns.CameraPath((ns.Camera(lens, np.eye(4)),)) and hash(path) == hash(
        dataclasses.replace(path)
    )
    black = np.zeros((3, 4, 3), np.float32)
    assert ns.Frame(black, black[..., 0], black[..., 0]) == ns.Frame(
        black.copy(), black[..., 0], black[..., 1]
    )
    assert ns.Frame(black, black[..., 0], black[..., 0]) != ns.Frame(black[:2], black[..., 0], black[..., 0])


def test_the_package_lists_its_api_and_nothing_else() -> None:
    listed = [name for name in dir(ns) if not name.startswith("__")]
    assert listed == sorted(ns.__all__)
    assert {"__version__", "__doc__", "__file__"} <= set(dir(ns))
    assert (ROOT / "nerfscene/py.typed").is_file()


def test_completion_lists_the_api() -> None:
    code = (
        "import rlcompleter, nerfscene as ns\n"
        "found = rlcompleter.Completer({'ns': ns})\n"
        "print(*iter(lambda n=iter(range(999)): found.complete('ns.', next(n)), None), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=600, check=True
    )
    listed = {line.removeprefix("ns.").rstrip("()") for line in done.stdout.split()}
    assert set(ns.__all__) <= listed

"""The command's manners: Ctrl-C and `kill` at any moment, outputs checked first, one training a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import analytic
import pytest
from conftest import ROOT

import nerfscene as ns
from nerfscene import api, cli
from nerfscene.loading import INTERRUPTED, loading
from nerfscene.measuring import evaluate
from nerfscene.measuring.report import write_report
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import with_figures

# Sends the command a signal at a given moment: when a module is about to be loaded.
AT_MODULE = """
import os, signal, sys
number, name = int(sys.argv[1]), sys.argv[2]
class Sender:
    def find_spec(self, module, path=None, target=None):
        if module == name:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), number)
        return None
sys.meta_path.insert(0, Sender())
from nerfscene.cli import main
main(sys.argv[3:])
"""
EARLY = (
    "tyro",
    "numpy",
    "rich.progress",
    "nerfscene.commands",
    "nerfscene.api",
    "pillow_heif",
    "safetensors",
)


def started(*words: object, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


AT_START = """
import os, signal, sys
class Sender:
    def find_spec(self, module, path=None, target=None):
        if module == os.environ["AT_MODULE"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
        return None
sys.meta_path.insert(0, Sender())
"""


@pytest.mark.parametrize("module", ["nerfscene.loading", "PIL._imaging", "nerfscene.cli", "nerfscene.errors"])
def test_ctrl_c_before_the_command_s_first_line(tmp_path: Path, module: str) -> None:
    """Python runs sitecustomize.py when it starts, before it looks for the command."""
    (tmp_path / "sitecustomize.py").write_text(AT_START)
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "AT_MODULE": module}
    words = [sys.executable, "-m", "nerfscene", "--version"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "nerfscene: interrupted\n")


@pytest.mark.parametrize(
    ("number", "module"),
    [
        *((signal.SIGINT, module) for module in EARLY),
        *(
            pytest.param(signal.SIGTERM, module, marks=[pytest.mark.long] * (i > 1))
            for i, module in enumerate(EARLY)
        ),
    ],
)
def test_a_command_that_only_loads_modules_ends_at_once(
    trained: Path, module: str, number: signal.Signals
) -> None:
    with started("-c", AT_MODULE, int(number), module, "info", trained) as child:
        out, err = child.communicate(timeout=600)
    assert (child.returncode, err) == (INTERRUPTED, "nerfscene: interrupted\n") and not out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_stopped_while_it_loads_colmap(tmp_path: Path, number: signal.Signals) -> None:
    words = ("-c", AT_MODULE, int(number), "pycolmap", "train", ROOT / "data/demo", "-o", tmp_path / "scene")
    with started(*words) as child:
        _, err = child.communicate(timeout=600)
    assert child.returncode == INTERRUPTED and err.endswith("nerfscene: interrupted\n"), err
    assert "Traceback" not in err and "***" not in err, "pycolmap's own handler of kill prints a stack trace"
    assert not (tmp_path / "scene").exists()


def test_handlers_from_before_loading_come_back() -> None:
    code = (
        "import signal\n"
        "from nerfscene.loading import killed_as_interrupted, loading\n"
        "with killed_as_interrupted():\n"
        "    with loading(): import pycolmap\n"
        "    try: signal.raise_signal(signal.SIGTERM)\n"
        "    except KeyboardInterrupt: print('raised')\n"
    )
    with started("-c", code) as child:
        out, err = child.communicate(timeout=600)
    assert (child.returncode, out, err) == (0, "raised\n", "")


@pytest.mark.parametrize("module", ["numpy", "nerfscene.api", "pillow_heif", "safetensors"])
def test_ctrl_c_while_the_package_loads_is_raised_and_leaves_it_whole(module: str) -> None:
    code = AT_MODULE.split("from nerfscene.cli")[0] + (
        "import nerfscene as ns\n"
        "try: ns.train\n"
        "except KeyboardInterrupt: print('raised')\n"
        "print(ns.train.__name__, ns.TrainConfig().holdout)\n"
    )
    with started("-c", code, int(signal.SIGINT), module) as child:
        out, err = child.communicate(timeout=600)
    assert (child.returncode, out, err) == (0, "raised\ntrain 8\n", "")


def test_a_module_that_passes_over_ctrl_c_does_not_swallow_it() -> None:
    with pytest.raises(KeyboardInterrupt), loading():
        signal.raise_signal(signal.SIGINT)
        try:
            pass
        finally:
            raise ImportError("as compiled modules say instead")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_program_s_own_handler_is_left_alone() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with loading():
            signal.raise_signal(signal.SIGINT)
            assert seen == [signal.SIGINT]
        with loading():
            pass
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_film_that_is_stopped_leaves_nothing(trained: Path, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "temporary").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    words = ("-m", "nerfscene.cli", "render", trained, "-o", out / "film.mp4", "--seconds", 600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path / "temporary"))
        child = started(*words)
    with child:
        assert child.stderr is not None and "rendering" in child.stderr.readline()
        child.send_signal(number)
        _, err = child.communicate(timeout=600)
    assert child.returncode == INTERRUPTED and err.endswith("nerfscene: interrupted\n")
    assert not list(out.iterdir()) and not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    ("sheet", "told"),
    [
        ("sheet.gif", "doesn't end in .png, .jpg, .jpeg"),
        ("sheet", "doesn't end in"),
        ("folder.png", "is a folder"),
        ("file/sheet.png", "is a file"),
    ],
)
def test_a_sheet_is_refused_before_anything_is_measured(
    refused: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sheet: str, told: str
) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("measured in spite of the sheet's name")

    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(evaluate, "measure", measured)
    assert told in refused("eval", trained, "--sheet", tmp_path / sheet)


def test_a_sheet_needs_held_out_photos(refused: Any, small_room: Path, tmp_path: Path) -> None:
    api.train(small_room, tmp_path / "scene", ns.TrainConfig(steps=3, holdout=0), analytic.SMALL)
    said = refused("eval", tmp_path / "scene", "--sheet", tmp_path / "sheet.png")
    assert "no held-out photos" in said and not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-o", "film.avi"), "doesn't end in .mp4"),
        (("-o", "file/film.mp4"), "is a file"),
        (("-o", "folder.mp4"), "is a folder"),
        (("--frames", "file"), "is not an empty folder"),
        (("--frames", "file/frames"), "is a file"),
        (("-o", "new/film.mp4", "--frames", "file"), "is not an empty folder"),
        ((), "nothing to write"),
    ],
)
def test_a_film_s_names_are_checked_before_the_scene_is_read(
    refused: Any, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    named = [word if word.startswith("-") else tmp_path / word for word in words]
    assert told in refused("render", tmp_path / "no-scene", *named)
    assert not (tmp_path / "new").exists()


def test_a_tilde_that_the_shell_leaves_is_expanded(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scene").symlink_to(trained)
    short = ("--width", "32", "--seconds", "0.1")
    cli.main(["render", "~/scene", "--output=~/films/film.mp4", "--frames=~/frames", *short])
    cli.main(["eval", "~/scene", "--sheet=~/sheets/sheet.jpg"])
    cli.main(["info", "~/scene"])
    assert (tmp_path / "films/film.mp4").is_file() and (tmp_path / "frames/00000.png").is_file()
    assert (tmp_path / "sheets/sheet.jpg").is_file() and not (tmp_path / "~").exists()


@pytest.fixture
def training(room: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that trains in ``tmp_path``/scene and has begun."""
    words = ("train", room, "-o", tmp_path / "scene", "--steps", 10**7, "--field.occupancy-resolution", 32)
    with started("-m", "nerfscene.cli", *words) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("training"):
                break
        yield child
        child.kill()
        child.communicate()


def test_a_second_training_in_a_folder_is_told_at_once(
    refused: Any, training: subprocess.Popen[str], room: Path, tmp_path: Path
) -> None:
    for more in ((), ("--overwrite",)):
        said = refused("train", room, "-o", tmp_path / "scene", "--steps", 5, *more)
        assert f"process {training.pid} is training in {tmp_path / 'scene'}" in said
    assert training.poll() is None
    training.send_signal(signal.SIGKILL)
    training.wait()
    made = ns.train(room, tmp_path / "scene", ns.TrainConfig(steps=5), analytic.SMALL, overwrite=True)
    assert made.figures.steps == 5
    assert not [path for path in (tmp_path / "scene").iterdir() if "lock" in path.name]


def test_the_reprojection_error_is_told_with_its_size(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene = with_figures(ns.load(trained), reprojection_error=0.584, reprojection_size=1000, downscale=62.5)
    for size, told, side in ((1000, "0.58 px at 1,000 px", 1000), (None, "0.58 px at 4,000 px", 4000)):
        (tmp_path / str(size)).mkdir()
        made = replace(scene, figures=replace(scene.figures, reprojection_size=size))
        scenes.save(made, tmp_path / str(size))
        facts = ns.info(tmp_path / str(size))
        assert (facts["reprojection_error"], facts["reprojection_size"]) == (0.584, side)
        assert told in write_report(made, tmp_path / str(size)).read_text(encoding="utf-8")

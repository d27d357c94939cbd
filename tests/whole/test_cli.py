"""The command line: text for people, one JSON object for programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, TRAINED_STEPS, Run
from splat_cases import some_splats

import nerfscene
from nerfscene import cli
from nerfscene.films import taking
from nerfscene.films.video import film_facts
from nerfscene.scene import folder as scene
from nerfscene.scene.arrays import SPLATS_FILE
from nerfscene.scene.fitted import save_splats
from nerfscene.scene.scene import WORTH_MENTIONING
from nerfscene.terminal import clock

VERBS = ("train", "render", "export", "share", "eval", "info", "doctor")


def one_object(out: str) -> dict[str, Any]:
    assert out.endswith("\n") and out.count("\n") == 1
    values = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert isinstance(values, dict)
    return values


def test_help_says_what_a_flag_does_that_turns_something_off(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    words = " ".join(re.sub(r"[│╭╰─╮╯]", " ", capfd.readouterr().out).split())
    assert "--no-refine-cameras leaves all cameras as they are" in words


def test_info_in_words(run: Run, trained: Path) -> None:
    out, _ = run("info", trained)
    f = scene.load(trained).figures
    assert "24 posed photos of 24" in out and "21 trained on, 3 held out, 64×48" in out
    assert (
        f"PSNR {f.psnr:.2f} dB" in out
        and f"{TRAINED_STEPS} steps" in out
        and "finished" in out
        and "unbounded" in out
    )


def test_info_as_json(run: Run, trained: Path) -> None:
    out, err = run("info", trained, "--json")
    d, f = one_object(out), scene.load(trained).figures
    assert not err
    assert (d["photos"], d["photos_posed"], d["train_views"], d["test_views"]) == (24, 24, 21, 3)
    assert (d["psnr"], d["ssim"], d["views"], d["steps"]) == (f.psnr, f.ssim, 3, TRAINED_STEPS)
    assert d["train_seconds"] == f.train_seconds > 0
    assert (d["width"], d["height"], d["unbounded"], d["finished"]) == (64, 48, True, True)
    assert d["bytes"] == sum(p.stat().st_size for p in trained.iterdir())
    assert d["field"]["occupancy_resolution"] == 32
    # The cameras stand 2.4 from the middle, which is 1.5 in a scene whose box is 2 wide.
    assert d["box_side_world"] == pytest.approx(2 * 2.4 / 1.5, rel=0.05)


def test_eval_measures_again(run: Run, trained: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.jpg"
    out, err = run("eval", trained, "--json", "--sheet", sheet)
    d, f = one_object(out), scene.load(trained).figures
    assert not err and sheet.stat().st_size > 2000
    assert d.keys() >= {"psnr", "ssim", "views", "train_seconds", "per_view"}
    assert d["psnr"] == pytest.approx(f.psnr, abs=1e-6) and d["ssim"] == pytest.approx(f.ssim, abs=1e-6)
    assert d["views"] == 3 and d["train_seconds"] == f.train_seconds
    assert [v["photo"] for v in d["per_view"]] == ["000.png", "008.png", "016.png"]
    assert d["psnr"] == pytest.approx(sum(v["psnr"] for v in d["per_view"]) / 3)


def test_eval_in_words(run: Run, trained: Path) -> None:
    out, _ = run("eval", trained)
    lines = out.splitlines()
    assert re.fullmatch(
        r"3 held-out photos: PSNR \d+\.\d\d dB"
        r"( \(\d+\.\d\d dB corrected for these photos' exposure and camera\))?"
        r", SSIM 0\.\d{3}, FLIP 0\.\d{3} after \d+ s of training",
        lines[0],
    )
    d = one_object(run("eval", trained, "--json")[0])
    assert ("exposure" in lines[0]) == (d["psnr_matched"] > d["psnr"] + WORTH_MENTIONING)
    assert len(lines) == 4 and re.fullmatch(r"  008\.png: \d+\.\d\d dB, 0\.\d{3}, FLIP 0\.\d{3}", lines[2])


def test_eval_without_held_out_photos(run: Run, small_room: Path, tmp_path: Path) -> None:
    small = ("--field.occupancy-resolution", 32)
    run("train", small_room, "-o", tmp_path / "scene", "--steps", 3, "--holdout", 0, *small)
    out, _ = run("eval", tmp_path / "scene", "--json")
    d = one_object(out)
    assert d["psnr"] is None and d["ssim"] is None and d["views"] == 0 and d["per_view"] == []
    assert "nothing was measured" in run("info", tmp_path / "scene")[0]
    with pytest.raises(SystemExit, match="2"):
        run("eval", tmp_path / "scene", "--sheet", tmp_path / "sheet.jpg")


def test_doctor(run: Run) -> None:
    d = one_object(run("doctor", "--json")[0])
    assert d.keys() >= {"python", "cores", "kernels", "gpu", "packages", "will_use", "memory_gib"}
    assert d["cores"] >= 1 and d["packages"]["numpy"]
    out, _ = run("doctor")
    assert "kernels" in out and "GPU" in out and "Python" in out and f"{d['cores']} cores" in out


def test_train_prints_json_alone(run: Run, cut_out: Path, tmp_path: Path) -> None:
    arguments = ("train", cut_out, "-o", tmp_path / "scene", "--steps", 10, "--json")
    out, err = run(*arguments, "--field.occupancy-resolution", 32)
    d = one_object(out)
    assert not err
    assert d["steps"] == 10 and d["views"] == 3 and d["psnr"] > 5 and d["poses_from"] == "synthetic"
    again, _ = run(*arguments, "--field.occupancy-resolution", 32)
    assert one_object(again) == d, "a finished training is not done again"


def test_train_says_what_it_did_and_what_comes_next(
    run: Run, cut_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, err = run("train", cut_out, "--steps", 10, "--field.occupancy-resolution", 32)
    made = f"{cut_out.name}-scene"
    assert not out and scene.is_scene(tmp_path / made)
    assert "21 of 21 photos posed" in err and "PSNR" in err and f"nerfscene render {made} -o film.mp4" in err


def test_render(run: Run, trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    flags = ("--width", 64, "--seconds", 0.2, "--fps", 10)
    d = one_object(run("render", trained, "-o", file, *flags, "--json")[0])
    assert film_facts(file) == {"frames": 2, "fps": 10.0, "width": 64, "height": 48}
    assert (d["frames"], d["fps"], d["width"], d["height"], d["film"]) == (2, 10.0, 64, 48, str(file))
    out, err = run("render", trained, "--frames", tmp_path / "frames", *flags)
    assert not out and "2 frames of 64×48" in err
    assert sorted(p.name for p in (tmp_path / "frames").iterdir()) == ["00000.png", "00001.png"]


def test_interrupted_render(
    run: Run,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(taking, "taken", interrupted)
    with pytest.raises(SystemExit) as left:
        run("render", trained, "-o", tmp_path / "film.mp4")
    assert left.value.code == 130 and capfd.readouterr().err.endswith("nerfscene: interrupted\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", VERBS)
def test_help(run: Run, verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([verb, "--help"])
    out = capfd.readouterr().out
    assert left.value.code == 0 and f"nerfscene {verb}" in out and "--json" in out


def test_version() -> None:
    code = (
        "import sys\nfrom nerfscene import cli\ncli.main(['--version'])\n"
        "print('loaded:', [m for m in ('torch', 'scipy', 'pycolmap', 'av', 'viser') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=600, check=True
    )
    assert done.stdout.splitlines() == [f"nerfscene {nerfscene.__version__}", "loaded: []"]


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nerfscene", "--version"],
        capture_output=True, text=True, cwd=ROOT, timeout=600, check=True,
    )  # fmt: skip
    assert done.stdout == f"nerfscene {nerfscene.__version__}\n"


def test_warnings_of_the_program_are_plain_lines(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = shutil.copytree(trained, tmp_path / "scene")
    figures = {"count": 600, "degree": 0, "seconds": 1.0, "psnr": None, "psnr_before": None}
    save_splats(place, some_splats(0), figures)
    (place / SPLATS_FILE).unlink()
    cli.main(["info", str(place)])
    assert f"\nwarning: {place / SPLATS_FILE} is gone" in "\n" + capfd.readouterr().err


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert versions[0] == nerfscene.__version__ and len(set(versions)) == len(versions)


def test_help_loads_nothing_slow() -> None:
    code = (
        "import sys\nfrom nerfscene import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit as left: assert left.code == 0\n"
        "print('loaded:', [m for m in ('torch', 'pycolmap', 'av', 'viser') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=600, check=True
    )
    assert all(verb in done.stdout for verb in VERBS)
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("arguments", [("train", "--help"), ("doctor",)])
def test_a_closed_pipe_is_no_error(arguments: tuple[str, ...]) -> None:
    """When a reader such as ``head`` closes the pipe there is no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "nerfscene.cli", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=600)
    os.close(writing)
    assert "Traceback" not in done.stderr and "Error" not in done.stderr and "No module" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [(), ("fly",), ("train",), ("info", "a", "b"), ("render", "a", "--fps", "x")]
)
def test_unknown_commands_are_refused(arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(list(arguments))
    assert left.value.code == 2 and "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (61.4, "1:01"), (3600, "60:00"), (float("inf"), "some time"), (-3, "0:00")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text

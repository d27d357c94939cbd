"""From photos to a measured scene, with every way that training can end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import analytic
import numpy as np
import pytest
from conftest import ROOT, TRAINED_STEPS, Command
from safetensors.numpy import load_file

from nerfscene import api
from nerfscene.capture.folder import read_pixels
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.hash_grid import resolve
from nerfscene.field.rendering import render
from nerfscene.measuring.metrics import psnr
from nerfscene.scene import folder as scene
from nerfscene.scene.output_folder import SOURCE
from nerfscene.training import record
from nerfscene.training.schedule import trains_long
from nerfscene.types import Camera

SMALL_FLAGS = ("--field.occupancy-resolution", 32)


@contextmanager
def started(*arguments: object, before: str = "pass") -> Iterator[subprocess.Popen[str]]:
    """``nerfscene`` as a process that runs ``before`` (Python) first; killed at the end if need be."""
    code = f"import sys; {before}; from nerfscene.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def wait_for_training(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("training:"):
            return
    pytest.fail("the process ended before it trained")


def test_unbounded_scene_reaches_its_floor(trained: Path) -> None:
    made = scene.load(trained)  # as ``api.train`` left it
    f = made.figures
    assert made.field.space.unbounded and not made.has_alpha
    assert f.views == 3 and f.photos_posed == 24 and f.finished
    assert f.psnr is not None and f.psnr > 17  # 20 measured; the photos' mean colour gives 11
    assert f.history[0]["psnr"] + 3 < f.history[-1]["psnr"]


def test_bounded_scene_reaches_its_floor(cut_out: Path, tmp_path: Path) -> None:
    made = api.train(cut_out, tmp_path / "scene", TrainConfig(steps=400, threads=1), analytic.SMALL)
    assert not made.field.space.unbounded and made.has_alpha
    assert made.figures.psnr is not None and made.figures.psnr > 28  # 32.6 measured
    assert made.figures.ssim is not None and made.figures.ssim > 0.95
    # It is as opaque in front of black as in front of the background that it is measured on.
    before_black = replace(made.photo_renderer(), background=(0.0, 0.0, 0.0))
    errors = []
    for view in (v for v in made.views if v.split == "test"):
        k = view.intrinsics
        photo = read_pixels(view.path, k.width, k.height).astype(np.float32) / 255
        rgb = render(before_black, Camera(k, view.world_from_cam)).rgb
        errors.append(psnr(np.clip(rgb, 0, 1), photo[..., :3] * photo[..., 3:]))
    assert np.mean(errors) > made.figures.psnr - 2.0
    # Space that the cut-outs show to be empty is empty from the start.
    assert 0.005 < np.unpackbits(made.field.occupancy.view(np.uint8)).mean() < 0.8


@pytest.mark.long
def test_empty_space_is_found_soon(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then every ray is sampled all along, which is slow."""
    monkeypatch.setattr(record, "with_edges", lambda field, *_: field)  # as training itself has it
    made = api.train(room, tmp_path / "scene", TrainConfig(steps=300, threads=1), analytic.SMALL)
    assert np.unpackbits(made.field.occupancy.view(np.uint8)).mean() < 0.59  # 0.554 measured, 0.66 at first


def test_one_thread_and_a_seed_give_the_same_scene(cut_out: Path, tmp_path: Path) -> None:
    config = TrainConfig(steps=20, threads=1, seed=3)
    for name, c in (("a", config), ("b", config), ("c", replace(config, seed=4))):
        api.train(cut_out, tmp_path / name, c, analytic.SMALL)
    a, b, c = (load_file(tmp_path / name / scene.FIELD_FILE) for name in "abc")
    assert all(a[key].tobytes() == b[key].tobytes() for key in a)
    assert a["table"].tobytes() != c["table"].tobytes()


@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_interrupted_training_keeps_a_scene_and_resumes(
    cut_out: Path, tmp_path: Path, command: Command, sent: signal.Signals
) -> None:
    output, flags = tmp_path / "scene", ("--steps", 10**7, *SMALL_FLAGS)  # it can't end before the signal
    with started("train", cut_out, "-o", output, *flags) as process:
        wait_for_training(process)
        process.send_signal(sent)
        _, said = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "Traceback" not in said and "***" not in said and "--resume" in said.splitlines()[-1]
    halfway = scene.load(output).figures
    assert 0 < halfway.steps < 10**7 and not halfway.finished and halfway.train_seconds > 0
    if sent == signal.SIGTERM:
        return  # from here on it is the same

    again = command("train", cut_out, "-o", output, *flags)
    assert again.returncode == 2 and "--resume" in again.stderr and "interrupted" in again.stderr

    steps = halfway.steps + 200
    done = command("train", cut_out, "-o", output, "--resume", "--steps", steps, *SMALL_FLAGS)
    assert done.returncode == 0, done.stderr
    f = scene.load(output).figures
    assert f.steps == steps and f.finished and f.train_seconds > halfway.train_seconds
    assert f.samples > halfway.samples and f.history[: len(halfway.history)] == halfway.history
    assert f.psnr is not None and f.psnr > 24
    left = {p.name for p in output.iterdir()}
    assert left == {scene.SCENE_JSON, scene.FIELD_FILE, scene.TRAINING_FILE, SOURCE, "report.html"}


def test_killed_training_leaves_a_scene_that_loads(cut_out: Path, tmp_path: Path) -> None:
    output = tmp_path / "scene"
    before = "import nerfscene.training.loop; nerfscene.training.loop.SAVE_EVERY = 0.05"
    with started("train", cut_out, "-o", output, "--time", 60, *SMALL_FLAGS, before=before) as process:
        wait_for_training(process)
        until = time.monotonic() + 300
        while not scene.is_scene(output) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.3)  # it saves all the time, so the kill comes somewhere in the middle
        process.kill()
    killed = scene.load(output).figures
    assert killed.steps > 0 and not killed.finished
    config = TrainConfig(time=60, steps=killed.steps + 50)
    assert api.train(output=output, source=cut_out, config=config, field=analytic.SMALL, resume=True)
    assert scene.load(output).figures.finished


def test_what_a_kill_leaves_before_the_first_scene_is_no_obstacle(cut_out: Path, tmp_path: Path) -> None:
    output = tmp_path / "scene"
    output.mkdir()
    (output / scene.TRAINING_FILE).write_bytes(b"half")
    (output / f".{scene.FIELD_FILE}.123.tmp").write_bytes(b"half")
    with pytest.raises(NerfsceneError, match="no scene in"):
        api.train(cut_out, output, TrainConfig(steps=10), analytic.SMALL, resume=True)
    assert api.train(cut_out, output, TrainConfig(steps=10), analytic.SMALL).figures.steps == 10


def test_finished_training_is_not_done_again(room: Path, trained: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in trained.iterdir()}
    config = TrainConfig(steps=TRAINED_STEPS)

    def no_work(*_: object) -> None:
        pytest.fail("a finished scene was worked on")

    again = api.train(room, trained, config, analytic.SMALL, listener=no_work)
    assert again.figures == scene.load(trained).figures
    with pytest.raises(NerfsceneError, match="--overwrite"):
        api.train(room, trained, replace(config, steps=TRAINED_STEPS + 1), analytic.SMALL)
    assert before == {p: p.stat().st_mtime_ns for p in trained.iterdir()}


def test_other_photos_do_not_go_into_the_same_scene(
    room: Path, cut_out: Path, trained: Path, tmp_path: Path
) -> None:
    for resume in (False, True):
        with pytest.raises(NerfsceneError, match="other photos"):
            api.train(cut_out, trained, TrainConfig(steps=TRAINED_STEPS + 20), analytic.SMALL, resume=resume)
        with pytest.raises(NerfsceneError):
            api.train(
                tmp_path / "nowhere", trained, TrainConfig(steps=TRAINED_STEPS), analytic.SMALL, resume=resume
            )
    assert scene.load(trained).figures.steps == TRAINED_STEPS
    moved = shutil.copytree(room, tmp_path / "elsewhere")
    told: list[str] = []
    assert api.train(moved, trained, TrainConfig(steps=TRAINED_STEPS), analytic.SMALL, warn=told.append)
    assert len(told) == 1 and "nothing is left to do" in told[0]


def test_resume_with_a_larger_budget_goes_on(room: Path, trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")
    more = api.train(room, folder, TrainConfig(steps=TRAINED_STEPS + 20), analytic.SMALL, resume=True)
    old = scene.load(trained).figures
    assert more.figures.steps == TRAINED_STEPS + 20 and more.figures.train_seconds > old.train_seconds
    assert more.figures.psnr is not None and old.psnr is not None
    assert more.figures.psnr > old.psnr - 1.5


def test_a_cut_out_gets_a_finer_field_on_a_gpu() -> None:
    cpu, gpu = (resolve(FieldConfig(), 800.0, False, on_gpu) for on_gpu in (False, True))
    assert (cpu.levels, cpu.features, cpu.log2_table, cpu.finest_resolution) == (4, 8, 18, 512)
    assert (gpu.levels, gpu.features, gpu.log2_table, gpu.finest_resolution) == (8, 4, 20, 2048)
    asked = FieldConfig(levels=5, features=2, log2_table=15, finest_resolution=300)
    assert resolve(asked, 800.0, False, True) == asked
    cpu, gpu = (resolve(FieldConfig(), 800.0, True, on_gpu) for on_gpu in (False, True))
    assert gpu == cpu and cpu.log2_table == 19


def test_long_trainings_of_photographs_get_a_larger_table() -> None:
    long, short = (resolve(FieldConfig(), 400.0, True, long=long) for long in (True, False))
    assert long == replace(short, log2_table=19) and short.log2_table == 18
    longest, first = (resolve(FieldConfig(), 400.0, False, long=long) for long in (True, False))
    assert longest == first and first.log2_table == 17
    assert not trains_long(TrainConfig(time=99.0)) and trains_long(TrainConfig(time=100.0))
    assert not trains_long(TrainConfig(steps=4999)) and trains_long(TrainConfig(steps=5000))
    assert trains_long(TrainConfig(quality="5min")) and not trains_long(
        TrainConfig(quality="best", time=30.0)
    )


def test_resuming_keeps_the_field_that_was_begun(cut_out: Path, tmp_path: Path) -> None:
    def on_gpu(config: FieldConfig, side: float, unbounded: bool, *_: bool) -> FieldConfig:
        return resolve(config, side, unbounded, True)

    steps = TrainConfig(steps=20, backend="cpu")
    small = FieldConfig(occupancy_resolution=32)
    with pytest.MonkeyPatch.context() as patch:  # as if a GPU had begun it
        patch.setattr("nerfscene.training.run.resolve", on_gpu)
        patch.setattr("nerfscene.field.hash_grid.BOUNDED_STEPS", 1024)
        begun = api.train(cut_out, tmp_path, steps, small)
    went_on = api.train(cut_out, tmp_path, replace(steps, steps=40), small, resume=True)
    assert went_on.field.config == begun.field.config
    assert went_on.field.space == begun.field.space and went_on.figures.steps == 40
    assert begun.field.config != resolve(small, 80.0, False)


def test_overwrite_starts_anew(small_room: Path, trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")
    (folder / "poses").mkdir()
    (folder / "poses/kept").write_text("")
    made = api.train(small_room, folder, TrainConfig(steps=20), analytic.SMALL, overwrite=True)
    assert made.figures.steps == 20 and (folder / "poses/kept").exists()


def test_overwrite_keeps_the_old_scene_when_the_new_photos_are_bad(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")
    with pytest.raises(NerfsceneError):
        api.train(tmp_path / "nowhere", folder, TrainConfig(steps=20), overwrite=True)
    assert scene.load(folder).figures == scene.load(trained).figures


def test_nothing_held_out(small_room: Path, tmp_path: Path) -> None:
    made = api.train(small_room, tmp_path / "scene", TrainConfig(steps=5, holdout=0), analytic.SMALL)
    assert {v.split for v in made.views} == {"train"} and len(made.views) == 9
    assert made.figures.psnr is None and made.figures.ssim is None and made.figures.views == 0


def test_every_nth_is_held_out(room: Path, tmp_path: Path) -> None:
    made = api.train(room, tmp_path / "scene", TrainConfig(steps=5, holdout=5), analytic.SMALL)
    names = [v.path.name for v in made.views if v.split == "test"]
    assert names == ["000.png", "005.png", "010.png", "015.png", "020.png"]
    assert [v["photo"] for v in made.figures.per_view] == names


def test_resuming_with_other_photos_held_out_is_refused(small_room: Path, tmp_path: Path) -> None:
    output = tmp_path / "scene"
    api.train(small_room, output, TrainConfig(steps=3, holdout=4), analytic.SMALL)
    before = scene.load(output).figures
    for holdout in (3, 5, 0):  # the first holds out as many, but not the same
        with pytest.raises(NerfsceneError, match=r"held out.*--overwrite"):
            api.train(small_room, output, TrainConfig(steps=6, holdout=holdout), analytic.SMALL, resume=True)
    assert scene.load(output).figures == before
    more = api.train(small_room, output, TrainConfig(steps=6, holdout=4), analytic.SMALL, resume=True)
    assert more.figures.steps == 6


def test_a_given_split_is_respected(cut_out: Path, tmp_path: Path) -> None:
    made = api.train(cut_out, tmp_path / "scene", TrainConfig(steps=5, holdout=5), analytic.SMALL)
    held_out = [v for v in made.views if v.split == "test"]
    assert len(held_out) == 3 and all(v.path.parent.name == "test" for v in held_out)
    assert sum(v.split == "train" for v in made.views) == 18


def test_time_is_a_bound(cut_out: Path, tmp_path: Path) -> None:
    made = api.train(cut_out, tmp_path / "scene", TrainConfig(time=1.0), analytic.SMALL)
    assert made.figures.finished
    # There is no upper limit to check: the last step is completed, however long it takes on this machine.
    assert made.figures.train_seconds > 0.9


def test_downscale_shrinks_photos_and_lenses(room: Path, tmp_path: Path) -> None:
    made = api.train(room, tmp_path / "scene", TrainConfig(steps=5, downscale=2), analytic.SMALL)
    k = made.views[0].intrinsics
    assert (k.width, k.height) == (32, 24) and k.fx == pytest.approx(analytic.intrinsics(64, 48).fx / 2)
    assert made.figures.downscale == 2


def test_colmap_free_training_leaves_no_empty_folders(small_room: Path, tmp_path: Path) -> None:
    api.train(small_room, tmp_path / "scene", TrainConfig(steps=5), analytic.SMALL)
    assert not (tmp_path / "scene/poses").exists()

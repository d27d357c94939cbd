"""The package as Python sees it: the verbs, and the README's example as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import analytic
import numpy as np
import pytest
from conftest import ROOT

import nerfscene as ns
from nerfscene import api
from nerfscene.films.video import film_facts
from nerfscene.training.progress import Progress


@pytest.mark.parametrize("measured", [True, False])
def test_the_readme_s_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], measured: bool
) -> None:
    readme = ROOT / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text() if readme.is_file() else "", re.S)
    if not blocks:
        pytest.skip("README.md has no example in Python")
    analytic.write_room(tmp_path / "photos", 9)
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        # The same calls for seconds instead of minutes, on a posed capture of tiny photos.
        block = re.sub(r"\btime=\d+", "time=1" if measured else "time=1, holdout=0", block)
        block = re.sub(r"\bseconds=\d+", "seconds=0.1", block)
        exec(compile(block, str(readme), "exec"), {"__name__": "readme"})
    said = capsys.readouterr().out
    told = r"1 held-out photo: PSNR \d+\.\d+ dB" if measured else "no photos were held out"
    assert re.search(told, said) and "(48, 64, 3)" in said
    assert ns.load("my-scene").figures.finished
    assert film_facts(tmp_path / "film.mp4")["frames"] == 3


def test_every_name_that_is_offered_is_there() -> None:
    for name in ns.__all__:
        assert getattr(ns, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        ns.trian  # type: ignore[attr-defined]  # noqa: B018
    assert callable(ns.train) and callable(ns.render) and callable(ns.film)


def test_no_wing_has_the_name_of_a_function() -> None:
    """Once imported, a folder with a public function's name would replace the function on ``ns``."""
    modules = {path.stem for path in (ROOT / "nerfscene").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert not modules & set(ns.__all__) - {"__init__"}


def test_importing_the_package_is_quick_and_needs_no_compiled_part() -> None:
    code = "import sys, nerfscene; print([m for m in ('torch', 'numpy', 'pycolmap') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_listener_hears_every_stage(cut_out: Path, tmp_path: Path) -> None:
    heard: list[Progress] = []
    posed: list[ns.PosedCapture] = []
    config = ns.TrainConfig(steps=120)
    api.train(
        cut_out,
        tmp_path / "scene",
        config,
        analytic.SMALL,
        listener=heard.append,
        posed_listener=posed.append,
    )
    stages = list(dict.fromkeys(p.stage for p in heard))
    assert [s.split()[0] for s in stages] == ["reading", "training", "measuring"]
    assert len(posed) == 1 and len(posed[0].views) == 21
    for stage in stages:
        fractions = [p.fraction for p in heard if p.stage == stage]
        assert fractions == sorted(fractions) and fractions[-1] == 1.0 and fractions[0] >= 0
    training = [p for p in heard if p.stage == "training"]
    assert [p.step for p in training] == [50, 100, 120]
    assert training[-1].psnr > training[0].psnr and all(p.rate > 0 and p.remaining >= 0 for p in training)
    assert training[0].psnr == pytest.approx(-10 * np.log10(training[0].loss))


def test_strings_and_paths_serve_alike(small_room: Path, tmp_path: Path) -> None:
    config = ns.TrainConfig(steps=3, holdout=0)
    made = ns.train(str(small_room), str(tmp_path / "scene"), config, analytic.SMALL)
    assert ns.info(str(tmp_path / "scene"))["steps"] == made.figures.steps == 3
    camera = ns.Camera(made.views[0].intrinsics, made.views[0].world_from_cam)
    frame = ns.render(ns.load(str(tmp_path / "scene")).renderer(), camera)
    assert frame.rgb.shape == (24, 32, 3) and frame.depth.shape == frame.accumulation.shape == (24, 32)
    assert np.isfinite(frame.rgb).all() and frame.accumulation.min() >= 0 and frame.accumulation.max() <= 1


def test_a_tilde_is_the_home_folder(
    small_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with zipfile.ZipFile(tmp_path / "room.zip", "w") as archive:
        for file in (f for f in small_room.rglob("*") if f.is_file()):
            archive.write(file, file.relative_to(small_room))
    posed = ns.posed_capture("~/room.zip", "~/work", given="read")
    assert len(posed.views) == 9 and list((tmp_path / "work").iterdir())
    ns.train("~/room.zip", "~/scene", ns.TrainConfig(steps=3, holdout=0), analytic.SMALL)
    assert ns.load("~/scene").figures.steps == ns.info("~/scene")["steps"] == 3
    ns.film(ns.load("~/scene"), "~/film.mp4", ns.RenderConfig(width=32, seconds=0.1))
    assert (tmp_path / "film.mp4").is_file()


def test_depth_is_in_the_units_of_the_world(trained: Path) -> None:
    scene = ns.load(trained)
    view = scene.views[1]
    frame = ns.render(scene.renderer(), ns.Camera(view.intrinsics, view.world_from_cam))
    k = view.intrinsics
    _, distance = analytic.trace(*analytic.rays(k, view.world_from_cam), room=True)
    true = distance.reshape(k.height, k.width)
    middle = (slice(18, 30), slice(24, 40))  # the large sphere
    assert np.median(frame.depth[middle]) == pytest.approx(np.median(true[middle]), rel=0.1)

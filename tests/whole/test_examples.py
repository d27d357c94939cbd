"""The numbered examples: each runs as a person would run it, on tiny photos, and leaves what it promises."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import analytic
import numpy as np
import pytest
import trimesh
from conftest import ROOT
from PIL import Image

import nerfscene as ns
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.films.video import film_facts

EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
NAMES = [path.stem for path in EXAMPLES]
SIZE = (64, 48)  # of all photos here
Check = Callable[[Path, str], None]


def flags(name: str, capture: Path, scene: Path) -> list[object]:
    """What is changed from an example's defaults: tiny photos, a scene trained on them, a second or less."""
    photos = ("--photos", capture)
    return {
        "01_photos_to_film": [*photos, "--seconds", 0.5, "--film-seconds", 0.2],
        "02_path_of_your_own": ["--scene-folder", scene, "--frames", 5],
        "03_picture_from_any_camera": ["--scene-folder", scene, "--width", 32, "--height", 18],
        "04_watch_training": [*photos, "--seconds", 60, "--good-enough", 8],
        "05_another_field": [*photos, "--seconds", 0.5],
        "06_photo_beside_render": ["--scene-folder", scene],
        "07_cameras_and_points": [*photos],
        "08_depth_to_point_cloud": ["--scene-folder", scene, "--views", 2],
        "10_masks": [*photos, "--seconds", 0.5],
        "11_export": ["--scene-folder", scene, "--faces", 500, "--texture", 1024, "--splats", 1000],
    }[name]


def run(name: str, where: Path, *words: object) -> str:
    """Runs an example in an empty folder, as a process of its own; returns what it printed."""
    command = [sys.executable, str(ROOT / f"examples/{name}.py"), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=where, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def photos_to_film(out: Path, said: str) -> None:
    assert ns.load(out / "example-scene").figures.finished and "12 of 12 photos posed" in said
    assert film_facts(out / "01_film.mp4") == {"frames": 5, "fps": 24.0, "width": 64, "height": 48}


def path_of_your_own(out: Path, said: str) -> None:
    assert film_facts(out / "02_film.mp4") == {"frames": 5, "fps": 24.0, "width": 64, "height": 48}
    assert len(read_camera_path(out / "02_camera_path.json").cameras) == 5 and "5 frames" in said


def picture_from_any_camera(out: Path, said: str) -> None:
    with Image.open(out / "03_picture.png") as picture:
        assert picture.size == (32, 18) and np.asarray(picture).std() > 5
    assert "rgb (18, 32, 3), depth (18, 32), float32" in said


def watch_training(out: Path, said: str) -> None:
    figures = ns.load(out / "04_scene").figures
    assert "stopped early" in said and not figures.finished and 0 < figures.train_seconds < 60
    assert "dB while training" in said and figures.psnr


def another_field(out: Path, said: str) -> None:
    field = ns.load(out / "05_scene").field.config
    assert (field.levels, field.features, field.color) == (8, 4, "network")
    assert said.count("million parameters") == said.count("SSIM") == 2


def photo_beside_render(out: Path, said: str) -> None:
    with Image.open(out / "06_sheet.png") as sheet:
        assert sheet.size == (3 * SIZE[0], 3 * SIZE[1])
    assert "mean of 3" in said and all(f"{name}.png: " in said for name in ("000", "008", "016"))


def cameras_and_points(out: Path, said: str) -> None:
    cloud = trimesh.load(out / "07_cameras_and_points.ply")
    assert "12 of 12 photos posed; the lens sees 60° across" in said
    red = (np.asarray(cloud.colors)[-12:, :3] == (255, 0, 0)).all()
    assert red and np.allclose(np.linalg.norm(cloud.vertices[-12:], axis=1), 2.4, atol=0.01)


def depth_to_point_cloud(out: Path, said: str) -> None:
    cloud = trimesh.load(out / "08_cloud.ply")
    assert len(cloud.vertices) > 500 and "from 2 cameras" in said
    # The round room has a radius of 5; a scene of 200 steps is rough, but not off altogether.
    assert np.median(np.linalg.norm(cloud.vertices, axis=1)) < 6


def masks(out: Path, said: str) -> None:
    assert "12 of 12 photos have a mask" in said
    with Image.open(out / "10_stamped/images/masks/000.png") as mask:
        assert mask.size == SIZE and 0 < np.mean(np.asarray(mask) == 0) < 0.1


def export(out: Path, said: str) -> None:
    mesh = trimesh.load(out / "11_export/mesh.glb", force="mesh")
    assert 0 < len(mesh.faces) <= 500 and (out / "11_export/cameras/transforms.json").is_file()
    assert (out / "11_export/splats.ply").read_bytes().startswith(b"ply\n")
    assert all(words in said for words in ("faces, for", "splats, for", "24 cameras, for"))


CHECKS: dict[str, Check] = {
    "01_photos_to_film": photos_to_film,
    "02_path_of_your_own": path_of_your_own,
    "03_picture_from_any_camera": picture_from_any_camera,
    "04_watch_training": watch_training,
    "05_another_field": another_field,
    "06_photo_beside_render": photo_beside_render,
    "07_cameras_and_points": cameras_and_points,
    "08_depth_to_point_cloud": depth_to_point_cloud,
    "10_masks": masks,
    "11_export": export,
}


def test_examples_are_numbered_without_gaps_and_short() -> None:
    assert [int(name[:2]) for name in NAMES] == list(range(1, len(NAMES) + 1))
    assert {*CHECKS, "09_viewer"} == set(NAMES), "every example has its test here"
    for path in EXAMPLES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 40, path.name
        doc = ast.get_docstring(ast.parse(text)) or ""
        title, empty, *rest = doc.splitlines()
        assert title.endswith(".") and not empty and rest, f"{path.name} says nothing for its page"


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 tiny photos with their cameras, one of which is held out."""
    return analytic.write_room(tmp_path_factory.mktemp("capture"), 12, SIZE)


LONG = {"05_another_field", "10_masks", "11_export"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] * (n in LONG)) for n in sorted(CHECKS)]
)
def test_example(name: str, capture: Path, trained: Path, tmp_path: Path) -> None:
    said = run(name, tmp_path, *flags(name, capture, trained))
    CHECKS[name](tmp_path / "out", said)


def test_viewer_example_serves_until_it_is_interrupted(trained: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples/09_viewer.py"), "--scene-folder", str(trained)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        url = page.stdout.readline().split()[1]
        with urllib.request.urlopen(url, timeout=600) as answer:
            assert answer.status == 200 and b"<html" in answer.read()
        page.send_signal(signal.SIGINT)
        said, _ = page.communicate(timeout=600)
        assert said.endswith("closed\n") and page.returncode == 0

"""Filming a scene leaves exactly the files that were asked for, with the right content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import render
from nerfscene.films import filming
from nerfscene.films.filming import film_path, film_size, render_film
from nerfscene.films.path_writing import write_camera_path
from nerfscene.films.paths import CameraPath
from nerfscene.films.video import film_facts, to_bytes
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene
from nerfscene.types import Camera, Intrinsics

TINY = RenderConfig(width=64, fps=10, seconds=0.5)
PICTURES = RenderConfig(width=65, height=49, fps=10, seconds=0.3, depth=True)


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scene.load(trained)


@pytest.fixture
def path_file(loaded: Scene, tmp_path: Path) -> Path:
    """A camera_path.json of 20 frames at 10 a second, 48×32, through the photos' cameras."""
    k = Intrinsics(48, 32, 40.0, 40.0, 24.0, 16.0)
    cameras = tuple(Camera(k, v.world_from_cam) for v in loaded.views[:20])
    file = tmp_path / "camera_path.json"
    write_camera_path(CameraPath(cameras, fps=10.0), file)
    return file


@pytest.mark.parametrize("name", ["auto", "orbit", "walkthrough", "figure-eight", "boom"])
def test_presets_make_films(loaded: Scene, tmp_path: Path, name: str) -> None:
    file = tmp_path / "new/film.mp4"
    made = render_film(loaded, RenderConfig(path=name, width=64, fps=10, seconds=0.5), file)
    facts = film_facts(file)
    assert facts == {"frames": 5, "fps": 10.0, "width": 64, "height": 48}
    assert {k: made[k] for k in facts} == facts and made["seconds"] == 0.5
    assert [p.name for p in file.parent.iterdir()] == ["film.mp4"]


def test_a_film_shows_what_the_cameras_see(loaded: Scene, tmp_path: Path) -> None:
    render_film(loaded, TINY, tmp_path / "film.mp4", tmp_path / "frames")
    path, _ = film_path(loaded, TINY)
    pictures = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "frames").iterdir())]
    with av.open(str(tmp_path / "film.mp4")) as film:
        filmed = [f.to_ndarray(format="rgb24", src_colorspace="ITU709") for f in film.decode(video=0)]
    assert len(pictures) == len(filmed) == 5
    for picture, frame, camera in zip(pictures, filmed, path.cameras, strict=True):
        seen = to_bytes(render(loaded.renderer(), camera).rgb)
        assert np.array_equal(picture, seen)
        assert np.abs(frame.mean((0, 1)) - seen.mean((0, 1))).max() < 4
        assert np.abs(frame.astype(float) - seen).mean() < 16  # colour at half size, and noisy renders
    assert np.abs(pictures[0].astype(float) - pictures[2]).mean() > 5, "the camera moves"


def test_a_film_and_its_frames_cannot_have_one_name(loaded: Scene, tmp_path: Path) -> None:
    with pytest.raises(NerfsceneError, match="can't both be called"):
        render_film(loaded, TINY, tmp_path / "film.mp4", tmp_path / "film.mp4")
    assert not any(tmp_path.iterdir())


def test_depth_pictures_hold_depth(loaded: Scene, tmp_path: Path) -> None:
    made = render_film(loaded, PICTURES, None, tmp_path)
    assert (made["width"], made["height"], made["frames"]) == (64, 48, 3), "even, as films are"
    unit = json.loads((tmp_path / "depth.json").read_text())["world_units_per_step"]
    path, _ = film_path(loaded, PICTURES)
    assert len(list(tmp_path.glob("depth-*.png"))) == 3
    for i, camera in enumerate(path.cameras):
        picture = Image.open(tmp_path / f"depth-{i:05d}.png")
        steps = np.asarray(picture).astype(np.int64)
        frame = render(loaded.renderer(), camera)
        depth = np.where(frame.accumulation > 0.5, frame.depth, 0)
        inside = depth < 65535 * unit
        assert steps.shape == (48, 64) and inside.mean() > 0.9
        assert np.abs(steps * unit - depth)[inside].max() <= 0.5001 * unit
        assert np.median(steps) > 1000, "16 bits are put to use"


def test_sizes_follow_the_photos(loaded: Scene) -> None:
    assert film_size(loaded, None, None) == (64, 48)  # the photos' own, as they are small
    assert film_size(loaded, 320, None) == (320, 240)
    assert film_size(loaded, None, 240) == (320, 240)
    assert film_size(loaded, 100, 200) == (100, 200)
    for wrong in ((8, None), (None, 8), (9000, 9000), (-64, 48), (0, 0)):
        with pytest.raises(NerfsceneError, match="can't be made"):
            film_size(loaded, *wrong)


def test_the_command_beats_the_file(loaded: Scene, path_file: Path) -> None:
    name = str(path_file)
    for config, n, fps in (
        (RenderConfig(path=name), 20, 10),
        (RenderConfig(path=name, fps=20), 40, 20),  # the path takes the same time
        (RenderConfig(path=name, seconds=1), 10, 10),
        (RenderConfig(path=name, seconds=1, fps=30), 30, 30),
    ):
        path, said = film_path(loaded, config)
        assert (len(path.cameras), said) == (n, fps)
        first, last = path.cameras[0].world_from_cam, path.cameras[-1].world_from_cam
        assert np.allclose(first, loaded.views[0].world_from_cam, atol=1e-9)
        assert np.allclose(last, loaded.views[19].world_from_cam, atol=1e-9)
        k = path.cameras[0].intrinsics
        assert (k.width, k.height) == (48, 32) and k.fy == pytest.approx(40)
    wide, _ = film_path(loaded, RenderConfig(path=name, width=96))
    assert wide.cameras[0].intrinsics.fx == pytest.approx(80)


def _fails(done: int, total: int) -> None:
    raise RuntimeError("in the middle")


def _interrupts(done: int, total: int) -> None:
    if done == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("progress", [_fails, _interrupts])
def test_a_film_that_fails_halfway_leaves_no_file(
    loaded: Scene, tmp_path: Path, progress: Callable[[int, int], None]
) -> None:
    file = tmp_path / "film.mp4"
    file.write_bytes(b"older")
    with pytest.raises((RuntimeError, KeyboardInterrupt)):
        render_film(loaded, TINY, file, None, progress)
    assert file.read_bytes() == b"older" and len(list(tmp_path.iterdir())) == 1


def test_frames_need_an_empty_folder(loaded: Scene, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/mine.txt").write_text("")
    with pytest.raises(NerfsceneError, match="not an empty folder"):
        render_film(loaded, TINY, tmp_path / "film.mp4", tmp_path / "frames")
    assert [p.name for p in tmp_path.iterdir()] == ["frames"]


def test_depth_films_keep_one_scale(loaded: Scene) -> None:
    path, _ = film_path(loaded, TINY)
    near, far = filming.depth_limits(loaded.renderer(), path)
    assert 0 < near < 2.4 < far, "the cameras are 2.4 from the spheres"


def test_a_path_s_crop_and_background_are_filmed(loaded: Scene, path_file: Path, tmp_path: Path) -> None:
    data = json.loads(path_file.read_text())
    data["camera_path"] = data["camera_path"][:1]
    # A box beside everything: only its background is left.
    data["crop"] = {
        "crop_center": [1000.0, 0, 0],
        "crop_scale": [1, 1, 1],
        "crop_bg_color": {"r": 255, "g": 51, "b": 0},
    }
    path_file.write_text(json.dumps(data))
    made = render_film(loaded, RenderConfig(path=str(path_file)), None, tmp_path / "frames")
    assert made["warnings"] == []
    picture = np.asarray(Image.open(tmp_path / "frames/00000.png"))
    assert (picture == [255, 51, 0]).all()
    assert loaded.crop is None


def test_doubts_about_a_path_are_told_before_it_is_filmed(
    loaded: Scene, path_file: Path, tmp_path: Path
) -> None:
    data = json.loads(path_file.read_text())
    del data["nerfscene"]  # as another program's
    for camera in data["camera_path"]:
        camera["camera_to_world"][3] += 1000
    path_file.write_text(json.dumps(data))
    said: list[str] = []
    config = RenderConfig(path=str(path_file), seconds=0.1)
    made = render_film(
        loaded, config, None, tmp_path / "frames", lambda done, n: said.append("."), said.append
    )
    assert "--path-transform" in said[0] and said[1:] == ["."]
    assert made["warnings"] == said[:1]
    # The file that says how these coordinates were made can be named.
    named = tmp_path / "moved.json"
    named.write_text(json.dumps({"transform": [[1, 0, 0, 1000], [0, 1, 0, 0], [0, 0, 1, 0]], "scale": 1}))
    path, _ = film_path(loaded, RenderConfig(path=str(path_file), path_transform=named))
    assert path.notes == ()
    assert np.allclose(path.cameras[0].world_from_cam, loaded.views[0].world_from_cam, atol=1e-9)


def test_what_is_no_path_is_told(loaded: Scene, tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 1 a.jpg\n\n")
    for config, word in (
        (RenderConfig(path=str(tmp_path / "images.txt")), "is no camera path that can be read"),
        (RenderConfig(path=str(tmp_path / "missing.json")), "doesn't exist"),
        (RenderConfig(path="sideways"), "no camera path is called"),
        (RenderConfig(path="orbit", path_transform=tmp_path / "t.json"), "orbit needs none"),
        (RenderConfig(path_transform=tmp_path / "t.json"), "auto needs none"),
    ):
        with pytest.raises(NerfsceneError, match=word):
            film_path(loaded, config)

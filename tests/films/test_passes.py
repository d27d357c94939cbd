"""Passes beside the frames: other programs read what the scene has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import render
from nerfscene.films.filming import film_path, render_film
from nerfscene.films.passes import camera_rays, normals, passes_of, write_pass
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene
from nerfscene.types import Camera, Intrinsics

SHORT = RenderConfig(width=66, height=50, fps=10, seconds=0.2, samples=1)
ALL = "depth,normal,accumulation"


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scene.load(trained)


def by_ffmpeg(file: Path, pixels: str) -> np.ndarray:
    with av.open(str(file)) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == pixels
        return frame.to_ndarray()


def test_names_of_passes() -> None:
    assert passes_of(None) == ()
    assert passes_of("normals, Depth") == ("depth", "normal")
    for text in ("", "z", "depth;normal"):
        with pytest.raises(NerfsceneError, match="--passes takes some of depth,normal,accumulation"):
            passes_of(text)


def test_they_hold_what_the_scene_has(loaded: Scene, tmp_path: Path) -> None:
    """Whatever the blur of the pictures: passes are sharp."""
    config = replace(SHORT, passes=ALL, motion_blur=180)
    render_film(loaded, config, None, tmp_path)
    names = {f"{name}-{i:05d}.exr" for name in ALL.split(",") for i in range(2)}
    assert {file.name for file in tmp_path.iterdir()} == {"00000.png", "00001.png"} | names
    for i, camera in enumerate(film_path(loaded, config)[0].cameras):
        frame = render(loaded.renderer(), camera)
        hit = frame.accumulation > 0.5
        depth = by_ffmpeg(tmp_path / f"depth-{i:05d}.exr", "grayf32le")
        assert np.array_equal(depth, np.where(hit, frame.depth, 0))
        opaque = by_ffmpeg(tmp_path / f"accumulation-{i:05d}.exr", "grayf32le")
        assert np.abs(opaque - frame.accumulation).max() < 1e-6
        normal = by_ffmpeg(tmp_path / f"normal-{i:05d}.exr", "gbrpf32le")
        assert normal.shape == (50, 66, 3)
        assert np.linalg.norm(normal, axis=-1)[hit] == pytest.approx(1, abs=1e-4) and not normal[~hit].any()
        toward = camera_rays(loaded.renderer(), camera)[0] @ camera.world_from_cam[:3, :3].T
        assert ((normal * toward).sum(-1)[hit] <= 1e-5).all(), "they face the camera"


def test_openexr_s_own_library_reads_them(loaded: Scene, tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    values = np.random.default_rng(1).normal(size=(37, 53, 3)).astype(np.float32)
    write_pass(values, tmp_path / "normal-00000.exr", 1.0)
    write_pass(values[..., 0] * 1e5, tmp_path / "depth-00000.exr", 1.0)
    with exr.File(str(tmp_path / "normal-00000.exr"), separate_channels=True) as file:
        for name, channel in zip("RGB", range(3), strict=True):
            assert np.array_equal(file.channels()[name].pixels, values[..., channel])
    with exr.File(str(tmp_path / "depth-00000.exr"), separate_channels=True) as file:
        assert list(file.channels()) == ["Y"]
        assert np.array_equal(file.channels()["Y"].pixels, values[..., 0] * np.float32(1e5))


def test_as_png_they_have_16_bits(loaded: Scene, tmp_path: Path) -> None:
    config = replace(SHORT, passes=ALL, passes_as="png")
    render_film(loaded, config, None, tmp_path)
    unit = json.loads((tmp_path / "depth.json").read_text())["world_units_per_step"]
    camera = film_path(loaded, config)[0].cameras[1]
    frame = render(loaded.renderer(), camera)
    hit = frame.accumulation > 0.5
    depth = np.asarray(Image.open(tmp_path / "depth-00001.png")).astype(float) * unit
    near = hit & (frame.depth < 65535 * unit)
    assert np.abs(depth - frame.depth)[near].max() <= 0.501 * unit
    opaque = np.asarray(Image.open(tmp_path / "accumulation-00001.png")).astype(float) / 65535
    assert np.abs(opaque - frame.accumulation).max() < 1e-4
    steps = by_ffmpeg(tmp_path / "normal-00001.png", "rgb48be").astype(float)
    assert (steps[~hit] == 0).all()
    assert np.linalg.norm(steps / 32767.5 - 1, axis=-1)[hit] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("lens", ["perspective", "fisheye", "orthographic"])
def test_normals_of_a_plane_in_any_lens(loaded: Scene, lens: str) -> None:
    k = Intrinsics(120, 90, 70.0, 70.0, 60.0, 45.0, lens)  # type: ignore[arg-type]
    rays, origins = camera_rays(loaded.renderer(), Camera(k, np.eye(4)))
    assert (origins is not None) == (lens == "orthographic")
    begin = np.zeros_like(rays) if origins is None else origins
    normal = np.array([0.3, -0.2, -1.0]) / np.linalg.norm([0.3, -0.2, -1.0])
    depth = ((-9.0 - begin @ normal) / (rays @ normal)).astype(np.float32)  # the plane n · p = -9
    found = normals(depth, rays, origins)
    assert np.abs(found - normal)[8:-8, 8:-8].max() < 0.03


def in_a_ball(rays: np.ndarray, origins: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances (…) along rays from within a ball of radius 3, and its normals there, inwards."""
    beside = middle - origins
    along = (rays * beside).sum(-1)
    depth = along + np.sqrt(along**2 - (beside**2).sum(-1) + 9)
    return depth.astype(np.float32), (middle - origins - rays * depth[..., None]) / 3


def test_normals_close_where_a_picture_of_all_round_does(loaded: Scene) -> None:
    a_radian = 240 / (2 * np.pi)
    k = Intrinsics(240, 120, a_radian, a_radian, 120.0, 60.0, "equirectangular")
    rays, _ = camera_rays(loaded.renderer(), Camera(k, np.eye(4)))
    depth, wanted = in_a_ball(rays, np.zeros_like(rays), np.array([0.9, 0.2, -0.7]))
    found = normals(depth, rays, None, k.lens)
    assert np.abs(found - wanted)[8:-8].max() < 0.03, "also in the first and last columns"
    assert np.abs(normals(depth, rays) - wanted)[8:-8].max() > 0.05, "which nothing else would give"


def test_normals_of_two_eyes_know_nothing_of_each_other(loaded: Scene) -> None:
    a_radian = 240 / (2 * np.pi)
    k = Intrinsics(240, 120, a_radian, a_radian, 60.0, 60.0, "stereo180", (0.4, 0, 0, 0, 0))
    rays, origins = camera_rays(loaded.renderer(), Camera(k, np.eye(4)))
    assert origins is not None
    depth, wanted = in_a_ball(rays, origins, np.array([0.9, 0.2, 0.7]))
    found = normals(depth, rays, origins, k.lens)
    middle = np.s_[8:-8, 116:124]
    assert np.abs(found - wanted)[8:-8, 8:112].max() < 0.03 and np.abs(found - wanted)[middle].max() < 0.15
    assert np.abs(normals(depth, rays, origins) - wanted)[middle].max() > 0.5, "across the seam"
    for eye in (np.s_[:, :120], np.s_[:, 120:]):
        alone = normals(depth[eye], rays[eye], origins[eye])
        assert np.array_equal(found[eye], alone)


def test_they_need_frames_to_lie_beside(loaded: Scene, tmp_path: Path) -> None:
    with pytest.raises(NerfsceneError, match="give --frames FOLDER as well"):
        render_film(loaded, replace(SHORT, passes="depth"), tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


def test_a_frame_without_its_passes_is_made_again(loaded: Scene, tmp_path: Path) -> None:
    config, told = replace(SHORT, passes=ALL, seconds=0.3), []

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_film(loaded, config, None, tmp_path, stop)
    (tmp_path / "normal-00000.exr").unlink()
    with pytest.raises(NerfsceneError, match="another film"):
        render_film(loaded, replace(config, passes_as="png"), None, tmp_path)
    render_film(loaded, config, None, tmp_path, note=told.append)
    assert told == ["1 of 3 frames are there already"] and len(list(tmp_path.glob("*.exr"))) == 9

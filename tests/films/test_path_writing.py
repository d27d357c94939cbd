"""Paths written for other programs: they come back whole, and what a format can't hold is said."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_cases import poses_of, ring
from path_file_cases import lying, scene_of
from scipy.spatial.transform import Rotation

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.films.filming import film_path
from nerfscene.films.path_writing import own_keyframes_of, program_of, write_camera_path
from nerfscene.films.paths import CameraPath
from nerfscene.films.presets import preset
from nerfscene.scene.scene import Scene
from nerfscene.types import Camera
from nerfscene.viewer import keyframes, path_files

VIEWS = ring(np.arange(0, 360, 15.0), shake=0.0)
FORMS: list[tuple[str, Any]] = [
    ("camera_path.json", "auto"),
    ("base_cam.json", "auto"),
    ("settings.json", "auto"),
    ("camera.glb", "auto"),
    ("camera.json", "blender"),
    ("frames.json", "splat-transform"),
]


def orbit(scene: Scene, roll: float = 0.0, zoom: float = 1.0) -> CameraPath:
    """A loop of 45 frames at 15 a second, whose cameras roll, and zoom in the middle."""
    path = preset("orbit", scene.views, 45, 640, 360, up=scene.up)
    cameras = []
    for i, camera in enumerate(path.cameras):
        pose, k = camera.world_from_cam.copy(), camera.intrinsics
        share = math.sin(math.pi * i / 45)
        pose[:3, :3] = pose[:3, :3] @ Rotation.from_euler("z", roll * share, degrees=True).as_matrix()
        f = k.fx * zoom**share
        cameras.append(Camera(replace(k, fx=f, fy=f), pose))
    return replace(path, cameras=tuple(cameras), fps=15.0)


def assert_same(back: CameraPath, path: CameraPath, atol: float) -> None:
    np.testing.assert_allclose(poses_of(back), poses_of(path), atol=atol)
    for a, b in zip(back.cameras, path.cameras, strict=True):
        assert a.intrinsics.fy / a.intrinsics.height == pytest.approx(b.intrinsics.fy / 360, rel=1e-4)


@pytest.mark.parametrize(("name", "program"), FORMS)
def test_written_paths_film_the_same_views(tmp_path: Path, name: str, program: Any) -> None:
    scene = lying(scene_of(tmp_path, VIEWS))
    rolls = name != "settings.json"
    path = orbit(scene, 20.0 if rolls else 0.0, 1.5)
    file = tmp_path / name
    said = write_camera_path(path, file, 24, scene, program)
    assert all("pointer" in text for text in said)
    back = read_camera_path(file, scene=scene, usual_size=(640, 360))
    assert back.notes == ()
    if name == "base_cam.json":  # has no frame rate: it comes back at 30 frames a second
        assert (len(back.cameras), back.seconds, back.loop) == (90, 3, True)
        back = replace(back, cameras=back.cameras[::2])
    else:
        assert (back.fps, len(back.cameras)) == (15, 45)
        assert back.loop
    assert_same(back, path, 2e-5 if name.endswith("glb") else 1e-6)
    if name not in ("base_cam.json", "settings.json", "frames.json"):
        assert (back.width, back.height) == (640, 360)


def test_supersplat_cannot_roll_and_that_is_said(tmp_path: Path) -> None:
    scene = lying(scene_of(tmp_path, VIEWS))
    said = write_camera_path(orbit(scene, 20.0), tmp_path / "settings.json", scene=scene)
    assert len(said) == 1 and "roll of up to 20°" in said[0]
    data = json.loads((tmp_path / "settings.json").read_text())
    assert data["version"] == 2 and data["startMode"] == "animTrack" and len(data["cameras"]) == 1


def test_a_crop_is_kept_where_there_is_a_place_for_it(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, VIEWS)
    path = replace(orbit(scene), crop=np.diag([0.5, 0.6, 0.7, 1.0]), background=(0.1, 0.2, 0.3))
    assert write_camera_path(path, tmp_path / "mine.json") == ()
    back = read_camera_path(tmp_path / "mine.json", scene=scene)
    assert back.crop is not None and back.background == pytest.approx(path.background)
    np.testing.assert_allclose(back.crop, path.crop, atol=1e-12)
    for name, program in FORMS[1:]:
        said = write_camera_path(path, tmp_path / name, 24, scene, program)
        assert any("holds no crop" in text for text in said)


def test_for_nerfstudio_a_path_is_in_the_coordinates_that_it_trained_in(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, VIEWS, "colmap")
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [20, 30, 40], degrees=True).as_matrix()
    turn[:3, 3] = (1, 2, 3)
    transform = tmp_path / "other" / "dataparser_transforms.json"
    transform.parent.mkdir()
    transform.write_text(json.dumps({"transform": turn[:3].tolist(), "scale": 0.25}))
    path, file = orbit(scene), tmp_path / "camera_path.json"
    write_camera_path(path, file, scene=scene, program="nerfstudio", transform=transform)
    data = json.loads(file.read_text())
    assert "nerfscene" not in data
    first = np.reshape(data["camera_path"][0]["camera_to_world"], (4, 4))
    place = turn @ path.cameras[0].world_from_cam[:, 3]
    np.testing.assert_allclose(first[:3, 3], 0.25 * place[:3], atol=1e-12)
    back = read_camera_path(file, transform=transform, scene=scene)
    assert_same(back, path, 1e-9)
    with pytest.raises(NerfsceneError, match=r"dataparser_transforms\.json.*--write-transform"):
        write_camera_path(path, file, scene=scene, program="nerfstudio")


def test_keyframes_of_the_viewer_are_kept_with_their_easing(tmp_path: Path) -> None:
    frames = tuple(keyframes.Keyframe(v.world_from_cam, 40.0 + i, 1.0 + i) for i, v in enumerate(VIEWS[:4]))
    plan = keyframes.Plan(frames, True, True, "gentle", 320, 240, 24.0, 5.0)
    saved, file = tmp_path / "saved.json", tmp_path / "camera_path.json"
    path_files.save(plan, saved)
    config = RenderConfig(str(saved))
    path = read_camera_path(saved)
    write_camera_path(path, file, own=own_keyframes_of(config))
    back = path_files.load(file)
    assert (back.loop, back.constant_speed, back.easing) == (True, True, "gentle")
    assert (back.width, back.height, back.fps, back.seconds) == (320, 240, 24, 5)
    for a, b in zip(back.keyframes, plan.keyframes, strict=True):
        np.testing.assert_array_equal(a.world_from_cam, b.world_from_cam)
        assert (a.fov, a.time) == (b.fov, b.time)
    assert own_keyframes_of(replace(config, look_at="subject")) is None
    assert own_keyframes_of(RenderConfig("orbit")) is None


@pytest.mark.parametrize(
    ("name", "program", "found"),
    [
        ("a.json", "auto", "nerfscene"),
        ("Settings.json", "auto", "supersplat"),
        ("base_cam.json", "auto", "instant-ngp"),
        ("base_cam.json", "nerfscene", "nerfscene"),
        ("a.glb", "auto", "blender"),
        ("a.json", "blender", "blender"),
    ],
)
def test_a_name_tells_the_program(name: str, program: Any, found: str) -> None:
    assert program_of(Path(name), program) == found


@pytest.mark.parametrize(
    ("name", "program", "scene", "word"),
    [
        ("a.fbx", "auto", True, "must end in"),
        ("a.glb", "supersplat", True, "a .json file"),
        ("a.glb", "auto", False, "give scene"),
        ("settings.json", "auto", False, "give scene"),
    ],
)
def test_what_cannot_be_written_is_told(
    tmp_path: Path, name: str, program: Any, scene: bool, word: str
) -> None:
    filmed = scene_of(tmp_path, VIEWS)
    with pytest.raises(NerfsceneError, match=word):
        write_camera_path(orbit(filmed), tmp_path / name, 24, filmed if scene else None, program)
    assert not (tmp_path / name).exists()


def test_fisheye_paths_are_for_nerfstudio_alone(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, VIEWS)
    path = orbit(scene)
    cameras = tuple(replace(c, intrinsics=replace(c.intrinsics, lens="fisheye")) for c in path.cameras)
    path = replace(path, cameras=cameras)
    write_camera_path(path, tmp_path / "camera_path.json")
    back = read_camera_path(tmp_path / "camera_path.json")
    assert {c.intrinsics.lens for c in back.cameras} == {"fisheye"}
    assert_same(back, path, 1e-9)
    with pytest.raises(NerfsceneError, match="fisheye"):
        write_camera_path(path, tmp_path / "a.glb", 24, scene)


@pytest.mark.parametrize(("name", "program"), FORMS)
def test_render_takes_what_was_written(tmp_path: Path, name: str, program: Any) -> None:
    scene = lying(scene_of(tmp_path, VIEWS))
    write_camera_path(orbit(scene), tmp_path / name, 24, scene, program)
    path, fps = film_path(scene, RenderConfig(str(tmp_path / name), seconds=2.0, fps=10.0, width=320))
    assert (len(path.cameras), fps, path.notes) == (20, 10, ())
    assert path.cameras[0].intrinsics.width == 320


def test_render_says_which_files_are_paths(tmp_path: Path) -> None:
    file = tmp_path / "camera.fbx"
    file.write_bytes(b"Kaydara FBX Binary")
    with pytest.raises(NerfsceneError, match=r"camera\.fbx.*\.glb.*\.ssproj"):
        film_path(scene_of(tmp_path, VIEWS), RenderConfig(str(file)))

"""What else stands in a camera_path.json: crops, cameras scaled in Blender, times, fields of view."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_cases import a_motion, poses_of, ring
from path_file_cases import FILMED, frame_of, save, scene_of
from viser.transforms import SO3

from nerfscene.config import RenderConfig
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.films.filming import film_path
from nerfscene.films.path_parts import FLIP
from nerfscene.films.path_writing import write_camera_path
from nerfscene.types import Array

EXPECTED = np.stack([v.world_from_cam for v in ring(FILMED)])
CROP = {
    "crop_center": [0.5, -1.0, 0.25],
    "crop_scale": [2.0, 3.0, 1.0],
    "crop_rot": [0.3, -0.4, 0.9],
    "crop_bg_color": {"r": 255, "g": 51, "b": 0},
}


def inside(world_from_box: Array, points: Array) -> Array:
    box_from_world = np.linalg.inv(world_from_box)
    return (np.abs(points @ box_from_world[:3, :3].T + box_from_world[:3, 3]) < 1).all(1)


def in_nerfstudio_s_box(crop: dict[str, Any], points: Array) -> Array:
    """Its OrientedBox: turned by roll, pitch and yaw of viser's transforms, sides of crop_scale."""
    turn = SO3.from_rpy_radians(*crop.get("crop_rot", (0.0, 0.0, 0.0))).as_matrix()
    local = (points - crop["crop_center"]) @ turn
    return (np.abs(local) < np.array(crop["crop_scale"]) / 2).all(1)


@pytest.mark.parametrize("crop", [CROP, {k: v for k, v in CROP.items() if k != "crop_rot"}])
def test_a_crop_is_the_box_and_colour_that_nerfstudio_shows(tmp_path: Path, crop: dict[str, Any]) -> None:
    points = np.random.default_rng(0).uniform(-3, 3, (5000, 3))
    path = read_camera_path(save(tmp_path, crop=crop))
    assert path.crop is not None and path.notes == ()
    theirs = in_nerfstudio_s_box(crop, points)
    assert 20 < theirs.sum() < 1000
    np.testing.assert_array_equal(inside(path.crop, points), theirs)
    assert path.background == pytest.approx((1, 0.2, 0))
    # It is in the coordinates that nerfstudio trained in, as the cameras are.
    transform = {"transform": a_motion()[:3].tolist(), "scale": 0.5}
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps(transform))
    path = read_camera_path(tmp_path / "camera_path.json")
    assert path.crop is not None
    world = np.linalg.inv(a_motion())
    in_world = (points / 0.5) @ world[:3, :3].T + world[:3, 3]
    np.testing.assert_array_equal(inside(path.crop, in_world), theirs)


def test_a_crop_is_written_back(tmp_path: Path) -> None:
    path = read_camera_path(save(tmp_path, crop=CROP))
    write_camera_path(path, tmp_path / "mine.json")
    back = read_camera_path(tmp_path / "mine.json")
    assert path.crop is not None and back.crop is not None
    np.testing.assert_allclose(back.crop, path.crop, atol=1e-9)
    assert back.background == pytest.approx(path.background)


@pytest.mark.parametrize("crop", [None, {}, CROP | {"crop_enabled": False}])
def test_without_a_crop_the_scene_decides(tmp_path: Path, crop: Any) -> None:
    path = read_camera_path(save(tmp_path, crop=crop))
    assert (path.crop, path.background, path.notes) == (None, None, ())


@pytest.mark.parametrize(
    "wrong",
    [{"crop_center": [0, 0]}, {"crop_scale": [1, 0, 1]}, {"crop_scale": "all"}, {"crop_rot": [None] * 3}],
)
def test_a_crop_that_cannot_be_applied_is_told(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = read_camera_path(save(tmp_path, crop=CROP | wrong))
    assert path.crop is None
    assert "crop" in path.notes[0] and "everything" in path.notes[0]


def test_a_crop_without_a_colour_keeps_the_scene_s(tmp_path: Path) -> None:
    path = read_camera_path(save(tmp_path, crop=CROP | {"crop_bg_color": "red"}))
    assert path.crop is not None and path.background is None and "background" in path.notes[0]


def test_blender_s_scaled_cameras_look_the_same(tmp_path: Path) -> None:
    """The add-on writes cameras relative to the scene's mesh, which people scale to work at a handy size."""
    frames = []
    for pose in EXPECTED:
        m = pose @ FLIP
        m[:3, :3] *= 0.35
        frames.append({"camera_to_world": m.ravel().tolist(), "fov": 40.0, "aspect": 1})
    keys = [
        {"matrix": str(np.reshape(f["camera_to_world"], (4, 4)).T.ravel().tolist()), "fov": 40.0, "aspect": 1}
        for f in frames
    ]
    for changes in ({"camera_path": frames}, {"camera_path": [], "keyframes": keys, "fps": 1, "seconds": 6}):
        path = read_camera_path(save(tmp_path, **changes))
        np.testing.assert_allclose(poses_of(path), EXPECTED, atol=1e-9)
        assert path.cameras[0].intrinsics.fy == pytest.approx(200 / math.tan(math.radians(20)))


def test_zero_seconds_with_all_frames_are_no_obstacle(tmp_path: Path) -> None:
    path = read_camera_path(save(tmp_path, seconds=0))
    assert len(path.cameras) == 6 and path.seconds == 0.25


def test_keyframes_take_the_time_that_their_transitions_say(tmp_path: Path) -> None:
    views = ring(np.array([0.0, 90, 180]), shake=0.0)
    keys = [{"matrix": (v.world_from_cam @ FLIP).ravel().tolist(), "fov": 50.0, "aspect": 1.5} for v in views]
    keys[2] |= {"override_transition_enabled": True, "override_transition_sec": 6.0}
    file = save(tmp_path, keyframes=keys, camera_path=[], seconds=0, fps=10, default_transition_sec=2.0)
    path = read_camera_path(file)
    assert (path.seconds, path.fps, len(path.cameras)) == (8.0, 10.0, 80)
    towards = np.linalg.norm(poses_of(path)[:, :3, 3] - views[1].world_from_cam[:3, 3], axis=1)
    assert abs(int(towards.argmin()) - 20) <= 1
    for key in keys:
        key.pop("override_transition_enabled", None)
    file = save(tmp_path, keyframes=keys, camera_path=[], seconds=..., fps=..., default_transition_sec=...)
    path = read_camera_path(file)
    assert path.seconds and path.fps and len(path.cameras) == path.seconds * path.fps


def test_fields_of_view_may_stand_once_for_all(tmp_path: Path) -> None:
    frames = [{k: v for k, v in frame_of(p).items() if k != "fov"} for p in EXPECTED]
    for changes, half in (({"default_fov": 30}, 15), ({"default_fov": ..., "fov": 60}, 30)):
        path = read_camera_path(save(tmp_path, camera_path=frames, **changes))
        assert path.cameras[0].intrinsics.fy == pytest.approx(200 / math.tan(math.radians(half)))
        assert path.notes == ()
    path = read_camera_path(save(tmp_path, camera_path=frames, default_fov=...))
    assert "no fov" in path.notes[0] and "50" in path.notes[0]


def test_a_moving_scene_s_times_are_told(tmp_path: Path) -> None:
    frames = [frame_of(p) | {"render_time": i / 6} for i, p in enumerate(EXPECTED)]
    assert "render_time" in read_camera_path(save(tmp_path, camera_path=frames)).notes[0]
    frames = [frame_of(p) | {"render_time": 0.0} for p in EXPECTED]
    assert read_camera_path(save(tmp_path, camera_path=frames)).notes == ()


@pytest.mark.parametrize("kind", ["Perspective", "PERSPECTIVE", "pinhole", None, ""])
def test_perspective_goes_by_several_names(tmp_path: Path, kind: Any) -> None:
    assert len(read_camera_path(save(tmp_path, camera_type=kind)).cameras) == 6


def test_a_fisheye_path_has_nerfstudio_s_lens(tmp_path: Path) -> None:
    """Its FISHEYE: a pixel's angle from the middle is its distance by a perspective camera's focal length."""
    path = read_camera_path(save(tmp_path, camera_type="Fisheye"))
    assert path.notes == ()
    for camera in path.cameras:
        k = camera.intrinsics
        assert k.lens == "fisheye" and k.distortion == (0, 0, 0, 0, 0)
        assert k.fx == k.fy == pytest.approx(200 / math.tan(math.radians(25)))


def test_an_all_round_path_is_twice_as_wide_as_high(tmp_path: Path) -> None:
    frames = [{k: v for k, v in frame_of(pose).items() if k != "fov"} for pose in EXPECTED]
    given = {"camera_path": frames, "default_fov": ..., "render_width": 1024, "render_height": 512}
    path = read_camera_path(save(tmp_path, camera_type="equirectangular", **given))
    k = path.cameras[0].intrinsics
    assert path.notes == () and (k.lens, k.width, k.height) == ("equirectangular", 1024, 512)
    assert k.fx == k.fy == pytest.approx(512 / math.pi)
    np.testing.assert_allclose(poses_of(path), EXPECTED, atol=1e-12)
    path = read_camera_path(save(tmp_path, camera_type="Omnidirectional", **given))
    assert path.cameras[0].intrinsics.lens == "equirectangular" and "one eye" in path.notes[0]


def test_a_path_for_two_eyes_is_as_wide_as_both_pictures(tmp_path: Path) -> None:
    path = read_camera_path(save(tmp_path, camera_type="vr180", render_width=800, render_height=800))
    k = path.cameras[0].intrinsics
    assert path.notes == () and (k.lens, k.width, k.height) == ("stereo180", 1600, 800)
    assert k.fx == k.fy == pytest.approx(800 / math.pi) and (k.cx, k.cy) == (400, 400)
    path = read_camera_path(save(tmp_path, camera_type="vr180", render_width=800, render_height=600))
    assert (path.cameras[0].intrinsics.height, len(path.notes)) == (800, 1)


def test_a_film_keeps_how_an_all_round_path_is_held(tmp_path: Path) -> None:
    file = save(tmp_path, camera_type="equirectangular", render_width=256, render_height=128)
    scene = scene_of(tmp_path)
    path, _ = film_path(scene, RenderConfig(str(file)))
    np.testing.assert_allclose(poses_of(path), EXPECTED, atol=1e-9)  # they look down a little
    assert path.cameras[0].intrinsics.lens == "equirectangular" and path.cameras[0].intrinsics.width == 256
    path, _ = film_path(scene, RenderConfig(str(file), lens="equirectangular", width=512))
    np.testing.assert_allclose(poses_of(path), EXPECTED, atol=1e-9)
    assert path.cameras[0].intrinsics.width == 512

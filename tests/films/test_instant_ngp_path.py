"""instant-ngp's camera paths: its coordinates by its own formulas, its curve, and what its versions wrote."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_cases import a_motion, assert_rigid, poses_of, ring
from path_file_cases import scene_of
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.errors import NerfsceneError
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.films.path_parts import FLIP
from nerfscene.scene.world import in_world
from nerfscene.types import Array

VIEWS = ring(np.arange(0, 360, 15.0), shake=0.0)


def to_ngp(opengl: Array, scale: float = 0.33, offset: Any = 0.5) -> Array:
    """instant-ngp's nerf_matrix_to_ngp, step by step: (3, 4) from a transforms.json's matrix."""
    m = opengl[:3].copy()
    m[:, 1] *= -1
    m[:, 2] *= -1
    m[:, 3] = m[:, 3] * scale + offset
    return m[[1, 2, 0]]


def keyframe(ngp: Array, fov: float = 50.625, **more: Any) -> dict[str, Any]:
    return {
        "R": Rotation.from_matrix(ngp[:, :3]).as_quat().tolist(),  # x, y, z, w
        "T": ngp[:, 3].tolist(),
        "aperture_size": 0.0,
        "fov": fov,
        "glow_mode": 0,
        "glow_y_cutoff": 0.0,
        "scale": 1.5,
        "slice": 0.0,
    } | more


def save(folder: Path, keys: list[dict[str, Any]], **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "base_cam.json"
    file.write_text(json.dumps({"loop": False, "path": keys, "time": 0.0} | changes))
    return file


def still(pose: Array, **transforms: Any) -> list[dict[str, Any]]:
    """A keyframe where an OpenCV pose is, as instant-ngp has it."""
    return [keyframe(to_ngp(pose @ FLIP, **transforms))]


def test_cameras_come_back_from_instant_ngp_s_coordinates(tmp_path: Path) -> None:
    for view in VIEWS:
        path = read_camera_path(save(tmp_path, still(view.world_from_cam)))
        np.testing.assert_allclose(path.cameras[0].world_from_cam, view.world_from_cam, atol=1e-9)
    k = path.cameras[0].intrinsics
    assert 2 * math.degrees(math.atan(0.5 * k.height / k.fy)) == pytest.approx(50.625)
    assert (path.fps, path.seconds, len(path.cameras)) == (30.0, 8.0, 240)
    assert path.notes == ()


@pytest.mark.parametrize(
    ("transforms", "scale", "offset"),
    [
        ({}, 0.33, 0.5),
        ({"scale": 0.2}, 0.2, 0.5),
        ({"scale": 1.5, "offset": [0.1, -0.2, 0.3], "aabb_scale": 16}, 1.5, [0.1, -0.2, 0.3]),
        ({"offset": 0.25}, 0.33, 0.25),
        # The box is scaled by its longest side, and its middle goes to 0.5.
        ({"scale": 9, "aabb": [[-1, -2, 0], [1, 2, 2]]}, 0.25, [0.5, 0.5, 0.25]),
    ],
)
def test_scale_and_offset_are_those_of_the_transforms(
    tmp_path: Path, transforms: dict[str, Any], scale: float, offset: Any
) -> None:
    pose = VIEWS[3].world_from_cam
    file = save(tmp_path / "data", still(pose, scale=scale, offset=offset))
    content = json.dumps({"frames": [], **transforms})
    (tmp_path / "data/transforms.json").write_text(content)  # where instant-ngp saves its path by default
    np.testing.assert_allclose(poses_of(read_camera_path(file))[0], pose, atol=1e-9)
    named = (tmp_path / "data/transforms.json").rename(tmp_path / "t.json")
    np.testing.assert_allclose(poses_of(read_camera_path(file, transform=named))[0], pose, atol=1e-9)
    (tmp_path / "data/transforms.json").write_text(content)
    moved = file.rename(tmp_path / "base_cam.json")
    found = read_camera_path(moved, scene=scene_of(tmp_path / "data", VIEWS))
    np.testing.assert_allclose(poses_of(found)[0], pose, atol=1e-9)


def test_mitsuba_s_axes_are_not_cycled(tmp_path: Path) -> None:
    """Of a Mitsuba camera the axes are left, up and forward; its scale is 0.66."""
    pose = VIEWS[3].world_from_cam
    mitsuba = pose @ np.diag([-1.0, -1, 1, 1])
    ngp = mitsuba[:3].copy()
    ngp[:, 1:3] *= -1
    ngp[:, 3] = ngp[:, 3] * 0.66 + 0.25 * 0.66
    ngp[:, 0] *= -1
    ngp[:, 2] *= -1
    (tmp_path / "transforms.json").write_text(json.dumps({"from_mitsuba": True, "frames": []}))
    path = read_camera_path(save(tmp_path, [keyframe(ngp)]))
    np.testing.assert_allclose(poses_of(path)[0], pose, atol=1e-9)


def test_a_world_set_in_the_viewer_comes_on_top(tmp_path: Path) -> None:
    new = a_motion()
    scene = in_world(scene_of(tmp_path, VIEWS), new)
    path = read_camera_path(save(tmp_path, still(VIEWS[0].world_from_cam)), scene=scene)
    np.testing.assert_allclose(poses_of(path)[0], pose_in_scene(new, VIEWS[0].world_from_cam), atol=1e-9)
    assert path.notes == ()


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("loop", [False, True])
def test_the_curve_is_a_uniform_b_spline(tmp_path: Path, order: int, loop: bool) -> None:
    rng = np.random.default_rng(0)
    keys = [to_ngp(v.world_from_cam @ FLIP) for v in VIEWS[::4]]
    fovs = rng.uniform(40, 60, len(keys))
    file = save(
        tmp_path, [keyframe(m, f) for m, f in zip(keys, fovs, strict=True)], loop=loop, spline_order=order
    )
    path = read_camera_path(file, 320, 240)
    assert path.loop is loop
    assert_rigid(poses_of(path))
    n, m = len(keys), len(path.cameras)
    at = np.linspace(0, n if loop else n - 1, m, endpoint=not loop)
    around = np.arange(-4, n + 5)
    index = around % n if loop else np.clip(around, 0, n - 1)
    # Its quadratic curve begins half a step after the keyframe.
    knots = np.arange(-4 - (order + 1) / 2, n + 5 + (order + 1) / 2)[: len(index) + order + 1]
    shift = 0.5 if order == 2 else 0.0
    places = BSpline(knots, np.stack([k[:, 3] for k in keys])[index], order)(at - shift)
    world = poses_of(path)[:, :3, 3]
    np.testing.assert_allclose((world * 0.33 + 0.5)[:, [1, 2, 0]], places, atol=1e-9)
    seen = BSpline(knots, fovs[index], order)(at - shift)
    made = [2 * math.degrees(math.atan(120 / c.intrinsics.fy)) for c in path.cameras]
    np.testing.assert_allclose(made, seen, atol=1e-9)


def test_stepwise_paths_stay_at_their_keyframes(tmp_path: Path) -> None:
    keys = [keyframe(to_ngp(v.world_from_cam @ FLIP)) for v in VIEWS[:3]]
    poses = poses_of(read_camera_path(save(tmp_path, keys, spline_order=0)))
    for pose in poses:
        assert min(np.abs(pose - v.world_from_cam).max() for v in VIEWS[:3]) < 1e-9
    assert np.abs(poses[-1] - VIEWS[2].world_from_cam).max() < 1e-9


def test_either_sign_of_a_quaternion_is_the_same_turn(tmp_path: Path) -> None:
    keys = [keyframe(to_ngp(v.world_from_cam @ FLIP)) for v in VIEWS[:5]]
    plain = poses_of(read_camera_path(save(tmp_path, keys)))
    for key in keys[1::2]:
        key["R"] = [-q for q in key["R"]]
    np.testing.assert_allclose(poses_of(read_camera_path(save(tmp_path, keys))), plain, atol=1e-9)


def test_a_recording_keeps_its_times(tmp_path: Path) -> None:
    """instant-ngp of 2025 records seconds; made from keyframes, its times only count up to 1."""
    times = [0.5, 1.0, 4.0, 4.5]
    keys = [
        keyframe(to_ngp(v.world_from_cam @ FLIP), timestamp=t) for t, v in zip(times, VIEWS[:4], strict=True)
    ]
    path = read_camera_path(save(tmp_path, keys, spline_order=1, duration_seconds=4.5))
    assert path.seconds == 4.5 and len(path.cameras) == 135
    # From keyframe 2 to 3, which takes 3 of the 4 seconds until the last keyframe.
    slow = np.linalg.norm(np.diff(poses_of(path)[:, :3, 3], axis=0), axis=1)
    assert slow[60] == pytest.approx(slow[5] / 6, rel=0.05)
    for i, key in enumerate(keys):
        key["timestamp"] = (i + 1) / 4
    path = read_camera_path(save(tmp_path, keys, spline_order=3, duration_seconds=1.0))
    assert path.seconds == 8.0
    for key in keys:
        key["timestamp"] = 0.0
    assert read_camera_path(save(tmp_path, keys)).seconds == 8.0


def test_quaternions_of_spring_2023_have_w_first(tmp_path: Path) -> None:
    """Nothing in the file says so; only one of both ways looks at what the photos look at."""
    scene = scene_of(tmp_path, VIEWS)
    keys = [keyframe(to_ngp(v.world_from_cam @ FLIP)) for v in VIEWS[2:9]]
    right = read_camera_path(save(tmp_path, keys), scene=scene)
    assert right.notes == ()
    for key in keys:
        key["R"] = [key["R"][3], *key["R"][:3]]
    path = read_camera_path(save(tmp_path, keys), scene=scene)
    np.testing.assert_allclose(poses_of(path), poses_of(right), atol=1e-9)
    assert "w, x, y, z" in path.notes[0]


def test_a_path_of_another_capture_is_doubted(tmp_path: Path) -> None:
    far = [v.world_from_cam @ a_motion() for v in VIEWS[:4]]
    file = save(tmp_path, [keyframe(to_ngp(pose @ FLIP)) for pose in far])
    (note,) = read_camera_path(file, scene=scene_of(tmp_path, VIEWS)).notes
    assert "transforms.json" in note and "--path-transform" in note


def test_effects_that_are_not_rendered_are_told(tmp_path: Path) -> None:
    key = still(VIEWS[0].world_from_cam)[0]
    for changes, word in (({"aperture_size": 0.1}, "depth of field"), ({"glow_mode": 1}, "glow")):
        assert word in read_camera_path(save(tmp_path, [key | changes])).notes[0]
    old = {k: v for k, v in key.items() if k not in ("aperture_size", "glow_mode", "glow_y_cutoff")}
    assert "depth of field" in read_camera_path(save(tmp_path, [old | {"dof": 0.1}])).notes[0]


def test_films_take_their_size_from_the_command_or_the_photos(tmp_path: Path) -> None:
    file = save(tmp_path, still(VIEWS[0].world_from_cam))
    for asked, size in (((None, None), (400, 300)), ((200, None), (200, 150)), ((200, 100), (200, 100))):
        k = read_camera_path(file, *asked, usual_size=(400, 300)).cameras[0].intrinsics
        assert (k.width, k.height) == size


KEY = keyframe(to_ngp(np.eye(4)))


@pytest.mark.parametrize(
    ("keys", "changes", "word"),
    [
        ([], {}, "no keyframes"),
        (["no"], {}, "keyframe 0"),
        ([KEY, KEY | {"R": [0, 0, 0, 0]}], {}, "keyframe 1"),
        ([KEY | {"R": [0, 0, 1]}], {}, "R of 4"),
        ([KEY | {"T": [0, 0, math.inf]}], {}, "T of 3"),
        ([KEY | {"T": [10**400, 0, 0]}], {}, "T of 3"),
        ([KEY | {"fov": 0}], {}, "field of view"),
        ([KEY | {"fov": None}], {}, "field of view"),
        ([KEY], {"spline_order": 4}, "spline_order"),
        ([KEY], {"spline_order": "cubic"}, "spline_order"),
        ([KEY], {"spline_order": [3]}, "spline_order"),
        ([KEY | {"timestamp": 1e9}], {"duration_seconds": 1e9}, "frames"),
    ],
)
def test_bad_paths_are_told(tmp_path: Path, keys: list[Any], changes: dict[str, Any], word: str) -> None:
    with pytest.raises(NerfsceneError, match=word) as caught:
        read_camera_path(save(tmp_path, keys, **changes))
    assert "\n" not in str(caught.value) and "base_cam.json" in str(caught.value)


@pytest.mark.parametrize(
    "transforms", [{"scale": 0}, {"scale": "big"}, {"offset": [1, 2]}, {"offset": "x"}, {"aabb": [[0, 0, 0]]}]
)
def test_bad_transforms_are_told(tmp_path: Path, transforms: dict[str, Any]) -> None:
    file = save(tmp_path, [KEY])
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": [], **transforms}))
    with pytest.raises(NerfsceneError, match=r"transforms\.json has a scale, offset or aabb"):
        read_camera_path(file)


def test_the_file_of_another_program_is_told(tmp_path: Path) -> None:
    other = tmp_path / "dataparser_transforms.json"
    other.write_text(json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": 1}))
    with pytest.raises(NerfsceneError, match="path of instant-ngp"):
        read_camera_path(save(tmp_path, [KEY]), transform=other)

"""Camera paths: presets from photos' cameras, splines, and nerfstudio's camera_path.json."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfscene.camera_path_file import FLIP, read_camera_path, write_camera_path
from nerfscene.errors import NerfsceneError
from nerfscene.paths import (
    PRESETS,
    CameraPath,
    film_intrinsics,
    interpolate,
    look_at,
    photographed_arc,
    preset,
    resample,
    subject_of,
)
from nerfscene.types import Array, Camera, Intrinsics, View

UP = np.array([0.0, 0.0, 1.0])
SUBJECT = np.array([1.0, -2.0, 0.5])
LENS = Intrinsics(400, 300, 350.0, 350.0, 200.0, 150.0)


def ring(
    degrees: Array, radius: float = 3.0, rise: float = 1.0, seed: int = 0, shake: float = 0.02
) -> list[View]:
    """Photos from these directions of a subject at SUBJECT, a little shaken."""
    rng = np.random.default_rng(seed)
    views = []
    for i, a in enumerate(np.radians(degrees)):
        position = SUBJECT + [radius * np.cos(a), radius * np.sin(a), rise] + shake * rng.normal(size=3)
        pose = look_at(position, SUBJECT + shake * rng.normal(size=3), UP)
        views.append(View(Path(f"img{i}.jpg"), LENS, pose))
    return views


def poses_of(path: CameraPath) -> Array:
    return np.stack([c.world_from_cam for c in path.cameras])


def moved(views: list[View], m: Array) -> list[View]:
    return [replace(v, world_from_cam=m @ v.world_from_cam) for v in views]


def a_motion() -> Array:
    m = np.eye(4)
    m[:3, :3] = Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
    m[:3, 3] = [5.0, -7.0, 2.0]
    return m


def assert_rigid(poses: Array) -> None:
    r = poses[:, :3, :3]
    np.testing.assert_allclose(r @ r.transpose(0, 2, 1), np.tile(np.eye(3), (len(r), 1, 1)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(r), 1.0, atol=1e-9)
    np.testing.assert_array_equal(poses[:, 3], np.tile([0.0, 0, 0, 1], (len(r), 1)))


def sides(poses: Array) -> Array:
    """Directions, degrees, from which poses see the subject."""
    return np.degrees(np.arctan2(poses[:, 1, 3] - SUBJECT[1], poses[:, 0, 3] - SUBJECT[0]))


def test_look_at_has_opencv_axes() -> None:
    pose = look_at(np.array([0.0, -4.0, 0.0]), np.zeros(3), UP)
    np.testing.assert_allclose(pose[:3, 0], [1, 0, 0], atol=1e-12)  # right
    np.testing.assert_allclose(pose[:3, 1], [0, 0, -1], atol=1e-12)  # down
    np.testing.assert_allclose(pose[:3, 2], [0, 1, 0], atol=1e-12)  # forward
    assert_rigid(look_at(np.array([0.0, 0, 5]), np.zeros(3), UP)[None])


def test_orbit_goes_round_at_constant_distance_looking_at_the_subject() -> None:
    views = ring(np.arange(0, 360, 15.0))
    path = preset("orbit", views, 90, 640, 480)
    poses = poses_of(path)
    assert path.loop and len(path.cameras) == 90
    assert_rigid(poses)
    focus = subject_of(views).focus
    assert np.linalg.norm(focus - SUBJECT) < 0.03
    away = focus - poses[:, :3, 3]
    distance = np.linalg.norm(away, axis=1)
    np.testing.assert_allclose(distance, distance[0], rtol=1e-9)
    assert distance[0] == pytest.approx(np.hypot(3, 1), rel=0.02)
    np.testing.assert_allclose((away / distance[:, None] * poses[:, :3, 2]).sum(1), 1, atol=1e-9)
    assert (-poses[:, 2, 1] > 0.9).all()  # upright
    # Closed: from the last frame to the first is a step like any other.
    steps = np.linalg.norm(poses[:, :3, 3] - np.roll(poses[:, :3, 3], 1, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)


@pytest.mark.parametrize("arc", [10.0, 90.0, 180.0, 270.0])
def test_orbit_stays_within_a_photographed_arc(arc: float) -> None:
    views = ring(np.linspace(-arc / 2, arc / 2, 15), shake=0.0)
    angles = sides(poses_of(preset("orbit", views, 120, 640, 480)))
    assert np.abs(angles).max() <= arc / 2 + 1e-6
    assert np.ptp(angles) > 0.8 * arc
    # It eases: the steps at the turning points are far smaller than those half-way.
    steps = np.abs(np.diff(np.append(angles, angles[0])))
    assert steps.min() < 0.1 * steps.max()
    assert steps.max() < 2 * np.pi * 0.5 * arc / 120 + 1e-6


def test_orbit_is_not_led_astray_by_one_photo_from_behind() -> None:
    views = ring(np.append(np.linspace(-50, 50, 20), 180.0), shake=0.0)
    angles = sides(poses_of(preset("orbit", views, 60, 640, 480)))
    assert np.abs(angles).max() <= 50


def test_arc_of_few_and_of_even_photos() -> None:
    for n in (4, 5, 8):
        assert photographed_arc(np.radians(np.arange(n) * 360 / n))[1] == 2 * np.pi
    begin, extent = photographed_arc(np.radians([350.0, 10.0, 30.0]))  # across zero
    assert np.degrees([begin, extent]) == pytest.approx([350, 40])
    assert np.degrees(photographed_arc(np.radians([0.0, 120.0]))[1]) == pytest.approx(120)
    assert photographed_arc(np.zeros(1))[1] == 0
    assert photographed_arc(np.zeros(5))[1] == 0


def room(count: int, middle: Array, spread: float) -> list[View]:
    rng = np.random.default_rng(3)
    views = []
    for i in range(count):
        a = 2 * np.pi * i / count
        position = middle + spread * rng.normal(size=3)
        views.append(
            View(
                Path(f"{i}.jpg"), LENS, look_at(position, position + np.array([np.cos(a), np.sin(a), 0]), UP)
            )
        )
    return views


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_orbit_in_a_room_looks_outward_from_the_middle(spread: float) -> None:
    middle = np.array([4.0, 5.0, 1.5])
    # Stepping back from the middle as one does, so that the axes meet behind the cameras.
    views = room(24, middle, spread)
    for v in views:
        v.world_from_cam[:3, 3] += 0.5 * (spread > 0) * v.world_from_cam[:3, 2]
    poses = poses_of(preset("orbit", views, 36, 640, 480))
    assert_rigid(poses)
    assert np.linalg.norm(poses[:, :3, 3] - middle, axis=1).max() < 1.0
    azimuth = np.unwrap(np.arctan2(poses[:, 1, 2], poses[:, 0, 2]))
    assert abs(azimuth[-1] - azimuth[0]) == pytest.approx(2 * np.pi * 35 / 36, rel=0.01)
    assert np.isfinite(poses_of(preset("spiral", views, 12, 640, 480))).all()


def test_spiral_looks_at_the_focus_stays_near_and_closes() -> None:
    views = ring(np.linspace(-15, 15, 20), seed=2)
    path = preset("spiral", views, 100, 640, 480)
    poses = poses_of(path)
    assert path.loop
    assert_rigid(poses)
    focus = subject_of(views).focus
    away = focus - poses[:, :3, 3]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    np.testing.assert_allclose((away * poses[:, :3, 2]).sum(1), 1, atol=1e-9)
    centres = np.stack([v.world_from_cam[:3, 3] for v in views])
    assert (
        np.linalg.norm(poses[:, :3, 3] - centres.mean(0), axis=1).max() < 1.5 * np.ptp(centres, axis=0).max()
    )
    steps = np.linalg.norm(poses[:, :3, 3] - np.roll(poses[:, :3, 3], 1, axis=0), axis=1)
    assert steps[0] < 2 * np.median(steps)


def test_parallel_cameras_take_their_focus_from_the_points() -> None:
    rng = np.random.default_rng(0)
    pose = look_at(np.zeros(3), np.array([0.0, 1, 0]), UP)
    views = []
    for i in range(9):
        m = pose.copy()
        m[:3, 3] = [0.3 * (i % 3), 0, 0.3 * (i // 3)]
        views.append(View(Path(f"{i}.png"), LENS, m))
    points = np.column_stack([rng.normal(size=200), rng.uniform(9, 11, 200), rng.normal(size=200)])
    assert subject_of(views, points).focus[1] == pytest.approx(10, abs=0.2)
    assert subject_of(views).focus[1] > 0
    assert_rigid(poses_of(preset("spiral", views, 20, 640, 480, points)))


def test_walkthrough_has_constant_speed_and_keeps_to_the_photos() -> None:
    views = ring(np.linspace(0, 200, 60), shake=0.002)
    path = preset("walkthrough", views, 200, 640, 480)
    poses = poses_of(path)
    assert not path.loop
    assert_rigid(poses)
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps.max() / steps.min() < 1.05
    np.testing.assert_allclose(poses[0], views[0].world_from_cam, atol=1e-6)
    np.testing.assert_allclose(poses[-1], views[-1].world_from_cam, atol=1e-6)
    centres = np.stack([v.world_from_cam[:3, 3] for v in views])
    nearest = np.linalg.norm(poses[:, None, :3, 3] - centres, axis=2).min(1)
    assert nearest.max() < 0.15


def test_walkthrough_sorts_by_name_and_tours_where_names_jump() -> None:
    views = ring(np.linspace(0, 200, 30), shake=0.0)
    by_name = poses_of(preset("walkthrough", views, 50, 640, 480))
    shuffled = [views[i] for i in np.random.default_rng(1).permutation(len(views))]
    np.testing.assert_allclose(poses_of(preset("walkthrough", shuffled, 50, 640, 480)), by_name, atol=1e-9)
    renamed = [replace(v, path=Path(f"x{i}.jpg")) for i, v in enumerate(shuffled)]
    toured = poses_of(preset("walkthrough", renamed, 50, 640, 480))
    length = np.linalg.norm(np.diff(toured[:, :3, 3], axis=0), axis=1).sum()
    assert length == pytest.approx(3 * np.radians(200), rel=0.02)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("degrees", [np.arange(0, 360, 20.0), np.linspace(20, 110, 12)])
def test_a_rigid_motion_of_the_world_moves_the_path_with_it(name: str, degrees: Array) -> None:
    views, m = ring(degrees), a_motion()
    plain = poses_of(preset(name, views, 24, 640, 480))
    np.testing.assert_allclose(poses_of(preset(name, moved(views, m), 24, 640, 480)), m @ plain, atol=1e-6)


@pytest.mark.parametrize("name", PRESETS)
def test_the_scale_of_the_world_only_scales_the_path(name: str) -> None:
    views = ring(np.arange(0, 300, 20.0))
    plain = poses_of(preset(name, views, 24, 640, 480))
    for scale in (1e-3, 1e3):
        scaled = [replace(v, world_from_cam=v.world_from_cam.copy()) for v in views]
        for v in scaled:
            v.world_from_cam[:3, 3] *= scale
        poses = poses_of(preset(name, scaled, 24, 640, 480))
        np.testing.assert_allclose(poses[:, :3, :3], plain[:, :3, :3], atol=1e-4)
        np.testing.assert_allclose(poses[:, :3, 3] / scale, plain[:, :3, 3], atol=1e-3)


@pytest.mark.parametrize("name", PRESETS)
def test_small_and_degenerate_captures_give_finite_paths(name: str) -> None:
    one_spot = [View(Path("a.jpg"), LENS, np.eye(4)), View(Path("b.jpg"), LENS, np.eye(4))]
    from_above = [
        View(
            Path(f"{i}.jpg"),
            LENS,
            look_at(np.array([0.1 * i, 0.2 * (i % 2), 5]), np.array([0.1 * i, 0, 0]), UP),
        )
        for i in range(6)
    ]
    for views in (one_spot, from_above, ring(np.array([0.0, 90.0])), ring(np.array([0.0, 180.0]))):
        for n in (1, 2, 7):
            poses = poses_of(preset(name, views, n, 64, 48))
            assert poses.shape == (n, 4, 4)
            assert_rigid(poses)


def test_presets_refuse_what_they_cannot_do() -> None:
    views = ring(np.arange(0, 360, 30.0))
    for name, some, n, word in (
        ("zigzag", views, 5, "orbit"),
        ("orbit", views[:1], 5, "two"),
        ("orbit", views, 0, "frame"),
    ):
        with pytest.raises(NerfsceneError, match=word) as caught:
            preset(name, some, n, 64, 48)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (1080, 1920), (500, 500)])
@pytest.mark.parametrize("lens", [LENS, Intrinsics(300, 400, 350.0, 350.0, 150.0, 200.0)])
def test_films_show_at_least_the_smaller_field_of_view(size: tuple[int, int], lens: Intrinsics) -> None:
    k = film_intrinsics([View(Path("a.jpg"), lens, np.eye(4))], *size)
    assert (k.width, k.height, k.cx, k.cy) == (*size, size[0] / 2, size[1] / 2)
    smaller = 150 / 350  # tangent of half the photos' smaller angle
    assert min(0.5 * k.width / k.fx, 0.5 * k.height / k.fy) == pytest.approx(smaller)


def test_films_of_a_fisheye_stay_below_a_flat_lens_s_limit() -> None:
    wide = Intrinsics(1000, 1000, 320.0, 320.0, 500.0, 500.0, lens="fisheye")  # 179°
    k = film_intrinsics([View(Path("a.jpg"), wide, np.eye(4))], 640, 480)
    assert 2 * math.atan(240 / k.fy) == pytest.approx(2.4)
    narrow = replace(wide, fx=1000.0, fy=1000.0)  # 1 rad, as an equidistant lens sees it
    k = film_intrinsics([View(Path("a.jpg"), narrow, np.eye(4))], 640, 480)
    assert 2 * math.atan(240 / k.fy) == pytest.approx(1.0)


def test_splines_pass_through_their_keyframes() -> None:
    keys = [v.world_from_cam for v in ring(np.array([0.0, 40, 100, 130]), shake=0.2)]
    poses, focals = interpolate(keys, np.array([100.0, 120, 90, 100]), 31)
    for i, k in enumerate(keys):
        np.testing.assert_allclose(poses[10 * i], k, atol=1e-9)
    assert focals[[0, 10, 20, 30]] == pytest.approx([100, 120, 90, 100])


def test_a_loop_of_keyframes_closes_smoothly_after_a_full_turn() -> None:
    keys = [v.world_from_cam for v in ring(np.arange(0, 360, 45.0), shake=0.0)]
    poses = np.stack(interpolate(keys, np.ones(8), 240, loop=True)[0])
    assert_rigid(poses)
    np.testing.assert_allclose(poses[::30], np.stack(keys), atol=1e-9)
    turns = Rotation.from_matrix(np.roll(poses, -1, 0)[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1))
    np.testing.assert_allclose(turns.magnitude(), 2 * np.pi / 240, rtol=0.03)
    steps = np.roll(poses, -1, 0)[:, :3, 3] - poses[:, :3, 3]
    jumps = np.linalg.norm(np.roll(steps, -1, 0) - steps, axis=1)
    assert jumps[-2:].max() < 1.2 * np.median(jumps)  # no kink at the seam


def test_turning_on_the_spot_takes_its_time() -> None:
    keys = [look_at(np.zeros(3), np.array([np.cos(a), np.sin(a), 0]), UP) for a in (0.0, 0.5, 1.0)]
    poses = np.stack(interpolate(keys, np.ones(3), 21, constant_speed=True)[0])
    azimuth = np.arctan2(poses[:, 1, 2], poses[:, 0, 2])
    np.testing.assert_allclose(np.diff(azimuth), 0.05, rtol=0.05)


def test_resample_keeps_the_way_and_can_even_out_speed() -> None:
    views = ring(np.array([0.0, 5, 10, 20, 40, 60, 90, 130]), shake=0.0)
    cameras = tuple(
        Camera(replace(LENS, fx=f, fy=f), v.world_from_cam)
        for f, v in zip(range(100, 180, 10), views, strict=True)
    )
    path = CameraPath(cameras, fps=10.0, seconds=0.8)
    assert resample(path, 8) is path
    longer = resample(path, 71)
    assert (longer.fps, longer.seconds) == (10.0, 7.1)
    np.testing.assert_allclose(poses_of(longer)[::10], poses_of(path), atol=1e-9)
    fy = [c.intrinsics.fy for c in longer.cameras]
    assert fy[::10] == pytest.approx(list(range(100, 180, 10))) and (np.diff(fy) > 0).all()
    steady = poses_of(resample(path, 8, constant_speed=True))
    steps = np.linalg.norm(
        np.diff(poses_of(resample(path, 200, constant_speed=True))[:, :3, 3], axis=0), axis=1
    )
    assert steps.max() / steps.min() < 1.05
    np.testing.assert_allclose(steady[[0, -1]], poses_of(path)[[0, -1]], atol=1e-9)
    assert len(resample(path, 1).cameras) == 1
    assert len(resample(CameraPath(cameras[:1]), 5).cameras) == 5
    for bad, n in ((path, 0), (CameraPath(()), 4)):
        with pytest.raises(NerfsceneError):
            resample(bad, n)


# camera_path.json


def frame_of(pose: Array, fov: float = 50.0) -> dict[str, Any]:
    return {"camera_to_world": (pose @ FLIP).ravel().tolist(), "fov": fov, "aspect": 1.5}


def save(folder: Path, **changes: Any) -> Path:
    """A path as nerfstudio's viewer writes it."""
    poses = [v.world_from_cam for v in ring(np.arange(0, 60, 10.0))]
    data = {
        "default_fov": 50.0,
        "default_transition_sec": 2.0,
        "keyframes": [],
        "camera_type": "perspective",
        "render_height": 400,
        "render_width": 600,
        "fps": 24,
        "seconds": 0.25,
        "is_cycle": False,
        "smoothness_value": 0.0,
        "camera_path": [frame_of(p) for p in poses],
    }
    data = {k: v for k, v in (data | changes).items() if v is not ...}
    file = folder / "camera_path.json"
    file.write_text(json.dumps(data))
    return file


def test_reads_what_nerfstudio_writes(tmp_path: Path) -> None:
    path = read_camera_path(save(tmp_path))
    assert (path.fps, path.seconds, path.loop, path.width, path.height) == (24, 0.25, False, 600, 400)
    for camera, view in zip(path.cameras, ring(np.arange(0, 60, 10.0)), strict=True):
        np.testing.assert_allclose(camera.world_from_cam, view.world_from_cam, atol=1e-12)
        k = camera.intrinsics
        assert (k.width, k.height, k.cx, k.cy) == (600, 400, 300, 200)
        assert k.fx == k.fy == pytest.approx(200 / math.tan(math.radians(25)))


def test_opengl_axes_become_opencv_s(tmp_path: Path) -> None:
    eye = {"camera_to_world": np.eye(4).ravel().tolist(), "fov": 60, "aspect": 1.0}
    pose = read_camera_path(save(tmp_path, camera_path=[eye])).cameras[0].world_from_cam
    np.testing.assert_array_equal(pose[:3, 2], [0, 0, -1])  # OpenGL looks along -z
    np.testing.assert_array_equal(pose[:3, 1], [0, -1, 0])


def test_what_a_file_leaves_out_is_none(tmp_path: Path) -> None:
    silent = dict.fromkeys(
        ("fps", "seconds", "is_cycle", "render_width", "render_height", "camera_type"), ...
    )
    path = read_camera_path(save(tmp_path, **silent))
    assert (path.fps, path.seconds, path.loop, path.width, path.height) == (None, None, False, None, None)
    assert path.cameras[0].intrinsics.width / path.cameras[0].intrinsics.height == 1.5  # its aspect


@pytest.mark.parametrize(
    ("asked", "size", "half_angles"),
    [
        ((300, None), (300, 200), (1.5, 1.0)),
        ((None, 800), (1200, 800), (1.5, 1.0)),
        ((800, 400), (800, 400), (2.0, 1.0)),
        ((400, 800), (400, 800), (1.0, 2.0)),
    ],
)
def test_other_sizes_keep_the_subject(
    tmp_path: Path,
    asked: tuple[int | None, int | None],
    size: tuple[int, int],
    half_angles: tuple[float, float],
) -> None:
    k = read_camera_path(save(tmp_path), *asked).cameras[0].intrinsics
    assert (k.width, k.height) == size
    t = math.tan(math.radians(25))
    assert (0.5 * k.width / k.fx / t, 0.5 * k.height / k.fy / t) == pytest.approx(half_angles)


def test_a_portrait_path_keeps_its_narrow_angle(tmp_path: Path) -> None:
    file = save(tmp_path, render_width=400, render_height=800)
    narrow = 0.5 * math.tan(math.radians(25))
    k = read_camera_path(file).cameras[0].intrinsics
    assert 0.5 * k.width / k.fx == pytest.approx(narrow)
    k = read_camera_path(file, 800, 400).cameras[0].intrinsics
    assert 0.5 * k.height / k.fy == pytest.approx(narrow)


def trained_with(folder: Path, applied: Array | None, applied_scale: float = 1.0) -> Path:
    """A path in the coordinates that nerfstudio trains in, and what it keeps of how it got there."""
    own = a_motion()
    own_scale = 0.3
    frames = []
    for v in ring(np.arange(0, 60, 10.0)):
        pose = own @ v.world_from_cam
        pose[:3, 3] *= own_scale
        frames.append(frame_of(pose))
    kept = own if applied is None else own @ applied
    (folder / "dataparser_transforms.json").write_text(
        json.dumps({"transform": kept[:3].tolist(), "scale": own_scale * applied_scale})
    )
    if applied is not None:
        values = {"applied_transform": applied[:3].tolist(), "applied_scale": applied_scale, "frames": []}
        (folder / "transforms.json").write_text(json.dumps(values))
    return save(folder, camera_path=frames)


@pytest.mark.parametrize("applied_scale", [None, 1.0, 2.5])
def test_nerfstudio_s_training_coordinates_are_undone(tmp_path: Path, applied_scale: float | None) -> None:
    swap = np.eye(4)[[0, 2, 1, 3]] * [[1], [1], [-1], [1]]  # what its COLMAP import applies
    swap[:3, 3] = [0.5, 0, -1]
    file = (
        trained_with(tmp_path, None) if applied_scale is None else trained_with(tmp_path, swap, applied_scale)
    )
    expected = np.stack([v.world_from_cam for v in ring(np.arange(0, 60, 10.0))])
    np.testing.assert_allclose(poses_of(read_camera_path(file)), expected, atol=1e-9)
    # Given by name, from elsewhere.
    elsewhere = tmp_path / "elsewhere.json"
    (tmp_path / "dataparser_transforms.json").rename(elsewhere)
    assert not np.allclose(poses_of(read_camera_path(file)), expected)
    np.testing.assert_allclose(poses_of(read_camera_path(file, dataparser=elsewhere)), expected, atol=1e-9)


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("older", [False, True])
def test_keyframes_alone_become_a_path(tmp_path: Path, older: bool, loop: bool) -> None:
    views = ring(np.array([0.0, 90, 180, 270]), shake=0.0)
    keys = []
    for fov, v in zip((40.0, 50.0, 60.0, 50.0), views, strict=True):
        m = v.world_from_cam @ FLIP
        # The older viewer, in three.js, wrote columns one after another, as a string.
        matrix: Any = json.dumps(m.T.ravel().tolist()) if older else m.ravel().tolist()
        keys.append({"matrix": matrix, "fov": fov, "aspect": 1.5})
    file = save(tmp_path, keyframes=keys, camera_path=[], is_cycle=loop, seconds=4, fps=30)
    path = read_camera_path(file)
    assert len(path.cameras) == 120 and path.loop is loop
    poses = poses_of(path)
    assert_rigid(poses)
    np.testing.assert_allclose(poses[0], views[0].world_from_cam, atol=1e-9)
    if loop:
        np.testing.assert_allclose(poses[::30], [v.world_from_cam for v in views], atol=1e-9)
        assert np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3]) < 0.3
        fov = 2 * math.degrees(math.atan(200 / path.cameras[60].intrinsics.fy))
        assert fov == pytest.approx(60)
    else:
        np.testing.assert_allclose(poses[-1], views[-1].world_from_cam, atol=1e-9)


@pytest.mark.parametrize("name", PRESETS)
def test_written_paths_read_back(tmp_path: Path, name: str) -> None:
    made = replace(preset(name, ring(np.arange(0, 360, 15.0)), 20, 642, 480), fps=25.0)
    file = tmp_path / "mine.json"
    file.write_text("an older one")
    write_camera_path(made, file)
    back = read_camera_path(file)
    np.testing.assert_allclose(poses_of(back), poses_of(made), atol=1e-9)
    assert (back.fps, back.seconds, back.loop) == (25.0, 0.8, made.loop)
    for a, b in zip(back.cameras, made.cameras, strict=True):
        assert (a.intrinsics.width, a.intrinsics.height) == (642, 480)
        assert a.intrinsics.fy == pytest.approx(b.intrinsics.fy)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.json"]


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    camera = Camera(LENS, np.full((4, 4), np.nan))
    good = CameraPath((Camera(LENS, np.eye(4)),))
    for path, file in (
        (CameraPath(()), tmp_path / "a.json"),
        (CameraPath((camera,)), tmp_path / "a.json"),
        (good, tmp_path / "missing" / "a.json"),
    ):
        with pytest.raises(NerfsceneError, match=r"a\.json"):
            write_camera_path(path, file)
    assert not list(tmp_path.iterdir())


def numbers(**at: float) -> list[float]:
    values = np.eye(4).ravel()
    for index, value in at.items():
        values[int(index[1:])] = value
    return values.tolist()


BAD_FRAMES: list[tuple[Any, str]] = [
    ({"camera_to_world": numbers()[:12], "fov": 50}, "camera 0"),
    ({"camera_to_world": [*numbers(), 1.0], "fov": 50}, "16"),
    ({"camera_to_world": numbers(_3=math.nan), "fov": 50}, "finite"),
    ({"camera_to_world": numbers(_3=math.inf), "fov": 50}, "finite"),
    ({"camera_to_world": numbers(_0=2.0), "fov": 50}, "scales"),
    ({"camera_to_world": numbers(_1=0.4), "fov": 50}, "shears"),
    ({"camera_to_world": numbers(_0=-1.0), "fov": 50}, "mirrors"),
    ({"camera_to_world": numbers(_12=3.0), "fov": 50}, "not a rotation"),
    ({"camera_to_world": "no", "fov": 50}, "16"),
    ({"camera_to_world": None, "fov": 50}, "16"),
    ({"fov": 50}, "16"),
    ({"camera_to_world": numbers(), "fov": 0}, "field of view"),
    ({"camera_to_world": numbers(), "fov": 180}, "field of view"),
    ({"camera_to_world": numbers(), "fov": "wide"}, "field of view"),
    ({"camera_to_world": numbers(), "fov": math.nan}, "field of view"),
    ("not an object", "object"),
]


@pytest.mark.parametrize(("frame", "word"), BAD_FRAMES)
def test_bad_cameras_are_told(tmp_path: Path, frame: Any, word: str) -> None:
    told(save(tmp_path, camera_path=[frame]), word)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"camera_path": []}, "no cameras"),
        ({"camera_path": ...}, "no cameras"),
        ({"camera_path": {}}, "no cameras"),
        ({"camera_path": 3}, "no cameras"),
        ({"camera_type": "equirectangular"}, "perspective"),
        ({"camera_type": "vr180"}, "perspective"),
        ({"camera_type": "fisheye"}, "perspective"),
        ({"fps": -1}, "fps"),
        ({"fps": "fast"}, "fps"),
        ({"seconds": math.nan}, "seconds"),
        ({"render_width": 0}, "render_width"),
        ({"render_width": 100000}, "pixels"),
        ({"camera_path": [], "keyframes": [{"matrix": numbers(), "fov": 50}], "seconds": 1e9}, "frames"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    told(save(tmp_path, **changes), word)


def test_unreadable_files_are_told(tmp_path: Path) -> None:
    file = tmp_path / "camera_path.json"
    told(file, "exist")
    for content, word in ((b"{", "JSON"), (b"[1]", "named"), (b"\xff\xfe\x00", "read"), (b"", "JSON")):
        file.write_bytes(content)
        told(file, word)
    file.unlink()
    file.mkdir()
    told(file, "read")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "{}",
        '{"transform": [[1, 0], [0, 1]], "scale": 1}',
        json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": 0}),
        json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": "big"}),
        json.dumps({"transform": (2 * np.eye(4)[:3]).tolist(), "scale": 1}),
    ],
)
def test_bad_dataparser_transforms_are_told(tmp_path: Path, content: str) -> None:
    file = save(tmp_path)
    (tmp_path / "dataparser_transforms.json").write_text(content)
    told(file, "dataparser_transforms.json")


def told(file: Path, word: str) -> None:
    with pytest.raises(NerfsceneError, match=word) as caught:
        read_camera_path(file)
    message = str(caught.value)
    assert "\n" not in message and str(file.parent) in message

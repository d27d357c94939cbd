"""Camera paths: presets from photos' cameras, and splines."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from path_cases import LENS, SUBJECT, UP, a_motion, assert_rigid, moved, poses_of, ring, sides
from scipy.spatial.transform import Rotation

from nerfscene.errors import NerfsceneError
from nerfscene.films.orbit import photographed_arc, subject_of
from nerfscene.films.paths import CameraPath, interpolate, look_at, resample
from nerfscene.films.presets import PRESETS, film_intrinsics, preset, suited
from nerfscene.types import Array, Camera, Intrinsics, View


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


def test_orbit_shows_the_whole_subject_where_most_photos_are_close_ups() -> None:
    near = ring(np.arange(0, 360, 15.0), radius=2.0, rise=0.5)
    far = ring(np.arange(7, 360, 24.0), radius=4.0, rise=1.0, seed=1)
    poses = poses_of(preset("orbit", [*near, *far], 60, 640, 480))
    distance = np.linalg.norm(poses[:, :3, 3] - SUBJECT, axis=1)
    assert len(near) > len(far) and distance == pytest.approx(np.full(60, np.hypot(4, 1)), rel=0.05)


@pytest.mark.parametrize("arc", [10.0, 90.0, 180.0, 270.0])
def test_orbit_stays_within_a_photographed_arc(arc: float) -> None:
    views = ring(np.linspace(-arc / 2, arc / 2, 15), shake=0.0)
    angles = sides(poses_of(preset("orbit", views, 120, 640, 480)))
    assert np.abs(angles).max() <= arc / 2 + 1e-6
    assert np.ptp(angles) > 0.8 * arc
    # It eases in and out: steps at the turning points are far smaller than half-way.
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


@pytest.mark.parametrize("seed", range(6))
def test_a_shaky_walk_along_a_front_takes_its_focus_from_the_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    views = []
    for i, x in enumerate(np.linspace(-6, 6, 12)):
        target = np.array([x + rng.normal(0, 0.5), 10, rng.normal(0, 0.3)])
        views.append(View(Path(f"{i}.png"), LENS, look_at(np.array([x, 0.0, 0]), target, UP)))
    points = np.column_stack([rng.uniform(-9, 9, 300), np.full(300, 10.0), rng.uniform(-3, 3, 300)])
    subject = subject_of(views, points)
    assert subject.inward and subject.focus[1] == pytest.approx(10, abs=0.5)
    assert abs(subject.focus[0]) < 1.5
    # Half of the walked way: from its ends the camera would look past the front.
    turns = np.degrees(
        [np.arctan2(p[0, 2], p[1, 2]) for p in poses_of(preset("orbit", views, 60, 64, 48, points))]
    )
    assert 12 < np.ptp(turns) < 36


def test_what_suits_a_capture_follows_from_how_its_cameras_moved() -> None:
    rng = np.random.default_rng(2)
    ahead = [look_at(p, p + np.array([0, 9, 0]), UP) for p in [0.1, 3.0, 0.05] * rng.normal(size=(20, 3))]
    aside = [look_at(p, p + np.array([9, 0, 0]), UP) for p in [0.1, 3.0, 0.05] * rng.normal(size=(20, 3))]
    outward = [np.array([np.cos(a), np.sin(a), 0]) for a in np.arange(0, 6, 0.4)]
    turning = [look_at(0.4 * d, 2 * d, UP) for d in outward]
    places = rng.uniform(-2, 2, (40, 3)) * [1, 1, 0.1]
    room = [look_at(p, p + rng.normal(size=3) * [1, 1, 0.2], UP) for p in places]
    cases = ((ahead, "walkthrough"), (aside, "orbit"), (turning, "orbit"), (room, "walkthrough"))
    for poses, expected in cases:
        views = [View(Path(f"{i}.jpg"), LENS, pose) for i, pose in enumerate(poses)]
        assert suited(views) == suited(moved(views, a_motion())) == expected
    for degrees in (np.arange(0, 360, 20), np.arange(-40, 40, 8)):
        assert suited(ring(degrees)) == "orbit"


def looks(angles: np.ndarray, places: np.ndarray) -> list[View]:
    """Views from places (n, 3) in level directions."""
    ahead = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    poses = [look_at(p, p + d, UP) for p, d in zip(places, ahead, strict=True)]
    return [View(Path(f"{i:03}.jpg"), LENS, pose) for i, pose in enumerate(poses)]


def turns(views: list[View], n: int) -> np.ndarray:
    """Degrees by which each frame of a walkthrough is turned left of the one before."""
    ahead = np.stack([p[:3, 2] for p in poses_of(preset("walkthrough", views, n, 640, 480))])
    return np.degrees(np.diff(np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))))


def test_a_walkthrough_turns_the_way_the_photos_did() -> None:
    """A full turn in eight photos of a long walk; from every seventh photo on, the short way is back."""
    turn = np.linspace(0, 2 * np.pi, 9)
    angles = np.concatenate([np.zeros(36), turn, np.full(36, 2 * np.pi)])
    way = np.cumsum(np.concatenate([np.full(36, 0.1), np.full(9, 0.01), np.full(36, 0.1)]))
    turned = turns(looks(angles, np.outer(way, [0, 1, 0])), 300)
    assert turned.sum() == pytest.approx(360, abs=3)
    assert np.abs(turned).max() < 4  # without hurry: half of the film is for it


def test_a_walkthrough_does_not_whirl() -> None:
    rng = np.random.default_rng(3)
    stops = np.repeat(rng.uniform(-2, 2, (6, 3)), 20, 0)
    around = looks(np.tile(np.linspace(0, 2 * np.pi, 20, endpoint=False), 6), stops)
    anywhere = looks(rng.uniform(0, 2 * np.pi, 80), rng.uniform(-2, 2, (80, 3)))
    for views in (around, anywhere):
        turned = np.abs(turns(views, 300))
        assert turned.max() < 6.2 and turned.sum() > 90


def test_a_walkthrough_does_not_cross_what_no_photo_shows() -> None:
    """Photos are missing for a quarter of the turn; the film ends where they would begin."""
    angles = np.radians([*np.arange(0, 200, 10), *np.arange(290, 340, 10)])
    ahead = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    poses = [look_at(p, p + d, UP) for p, d in zip(np.outer(angles, [0, 0.1, 0]), ahead, strict=True)]
    views = [View(Path(f"{i:02}.jpg"), LENS, pose) for i, pose in enumerate(poses)]
    looks = np.stack([p[:3, 2] for p in poses_of(preset("walkthrough", views, 100, 640, 480))])
    turned = np.degrees(np.arctan2(looks[:, 1], looks[:, 0])) % 360
    assert turned[0] % 360 == pytest.approx(0, abs=1e-3) and turned[-1] == pytest.approx(190)
    assert turned.max() < 200
    few = [views[i] for i in (0, 12, 23)]  # none of these is far from a gap, so the path passes through all
    ends = poses_of(preset("walkthrough", few, 10, 640, 480))
    assert np.allclose(ends[0], few[0].world_from_cam) and np.allclose(ends[-1], few[-1].world_from_cam)


def test_walkthrough_has_constant_speed_and_keeps_to_the_photos() -> None:
    views = ring(np.linspace(0, 200, 60), shake=0.002)
    path = preset("walkthrough", views, 200, 640, 480)
    poses = poses_of(path)
    assert not path.loop
    assert_rigid(poses)
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps[40:-40].max() / steps[40:-40].min() < 1.05
    assert max(steps[0], steps[-1]) < 0.05 * steps.max(), "it begins and ends at rest"
    np.testing.assert_allclose(poses[0], views[0].world_from_cam, atol=1e-6)
    np.testing.assert_allclose(poses[-1], views[-1].world_from_cam, atol=1e-6)
    centres = np.stack([v.world_from_cam[:3, 3] for v in views])
    nearest = np.linalg.norm(poses[:, None, :3, 3] - centres, axis=2).min(1)
    assert nearest.max() < 0.15


def test_a_walkthrough_is_level_however_the_camera_was_held() -> None:
    views = []
    for i, view in enumerate(ring(np.linspace(0, 200, 40), shake=0.0)):
        pose = view.world_from_cam.copy()
        pose[:3, :3] = (
            pose[:3, :3] @ Rotation.from_euler("z", 15 * math.sin(2.4 * i), degrees=True).as_matrix()
        )
        views.append(replace(view, world_from_cam=pose))
    poses = poses_of(preset("walkthrough", views, 60, 640, 480, up=UP))
    assert_rigid(poses)
    assert np.abs(poses[:, 2, 0]).max() < 1e-3 and (poses[:, 2, 1] < -0.9).all()


def test_a_walkthrough_comes_no_nearer_to_walls_than_the_photographer() -> None:
    """Round the corner of a house, 0.5 from its walls; the house is where x and y are below 0."""
    leg = np.linspace(-30, 0.5, 62)
    way = np.concatenate([np.stack([0 * leg + 0.5, leg], 1), np.stack([leg[::-1], 0 * leg + 0.5], 1)[1:]])
    places = np.column_stack([way, 0 * way[:, 0]])
    views = looks(np.full(len(places), 0.25 * np.pi), places)  # away from it

    def clearance(place: Array) -> float:
        return float(np.linalg.norm(np.maximum(place[:2], 0))) if place[:2].max() > 0 else 0.0

    def nearest(path: CameraPath) -> float:
        return min(clearance(camera.world_from_cam[:3, 3]) for camera in path.cameras)

    blind = preset("walkthrough", views[5:-9], 400, 640, 480)
    careful = preset("walkthrough", views[5:-9], 400, 640, 480, clearance=clearance)
    assert nearest(careful) > 0.75 * 0.5 > nearest(blind)
    steps = np.linalg.norm(np.diff(poses_of(careful)[:, :3, 3], axis=0), axis=1)
    assert np.linalg.norm(np.diff(poses_of(careful)[:, :3, 3], n=2, axis=0), axis=1).max() < 0.5 * steps.max()


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
    if name == "turntable" and np.ptp(degrees) < 300:
        pytest.skip("a turntable needs photos from all round")
    views, m = ring(degrees), a_motion()
    plain = poses_of(preset(name, views, 24, 640, 480))
    np.testing.assert_allclose(poses_of(preset(name, moved(views, m), 24, 640, 480)), m @ plain, atol=1e-6)


@pytest.mark.parametrize("name", PRESETS)
def test_the_scale_of_the_world_only_scales_the_path(name: str) -> None:
    views = ring(np.arange(0, 340, 20.0))
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
            try:
                poses = poses_of(preset(name, views, n, 64, 48))
            except NerfsceneError as error:  # says what to choose instead
                assert "choose" in str(error) and "\n" not in str(error)
                assert name not in ("orbit", "spiral", "walkthrough")
                continue
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

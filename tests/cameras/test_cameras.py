"""Camera algebra and the placement of a scene: rigid, level, and independent of how the world is turned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import analytic
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfscene.cameras.algebra import (
    CAMERA_DISTANCE,
    POINTS_WITHIN,
    axes_meet,
    looked_at,
    nearest_point_to_axes,
    place,
    point_depths,
    pose_in_scene,
    rotation_to_z,
    scaled,
    similarity_scale,
    up_direction,
)
from nerfscene.types import Array, Intrinsics, PosedCapture, View

LENS = analytic.intrinsics(64, 48)


def capture(poses: list[Array], points: Array | None = None) -> PosedCapture:
    views = tuple(View(Path(f"{i}.png"), LENS, p) for i, p in enumerate(poses))
    points = np.zeros((0, 3)) if points is None else points
    return PosedCapture(Path("."), "transforms", views, len(views), points)


def forward_facing(n: int = 12, depth: float = 4.0) -> list[Array]:
    """Cameras in a small rectangle on the y = 0 plane, all looking exactly along +y."""
    axes = np.stack([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]], axis=1)
    poses = []
    for i in range(n):
        pose = np.eye(4)
        pose[:3, :3] = axes
        pose[:3, 3] = (0.3 * (i % 4), 0.0, 0.3 * (i // 4))
        poses.append(pose)
    return poses


def similarity(seed: int, scale: float) -> Array:
    m = np.eye(4)
    m[:3, :3] = scale * Rotation.random(random_state=seed).as_matrix()
    m[:3, 3] = np.random.default_rng(seed).normal(size=3) * 5
    return m


def moved(posed: PosedCapture, m: Array) -> PosedCapture:
    """The same capture after a similarity of its world."""
    views = tuple(replace(v, world_from_cam=pose_in_scene(m, v.world_from_cam)) for v in posed.views)
    return replace(posed, views=views, points=posed.points @ m[:3, :3].T + m[:3, 3])


def is_similarity(m: Array) -> bool:
    r = m[:3, :3] / similarity_scale(m)
    return bool(
        np.allclose(r @ r.T, np.eye(3), atol=1e-9)
        and np.linalg.det(r) > 0
        and np.array_equal(m[3], [0, 0, 0, 1])
    )


@pytest.mark.parametrize("size", [(32, 24), (128, 96), (100, 96)])
def test_scaled_lenses_see_the_same(size: tuple[int, int]) -> None:
    k = Intrinsics(64, 48, 50.0, 51.0, 30.5, 25.0, "perspective", (0.1, 0.0, 0.01, 0.0, 0.0))
    s = scaled(k, *size)
    assert (s.width, s.height, s.lens, s.distortion) == (*size, k.lens, k.distortion)
    p = np.random.default_rng(0).normal(size=(50, 2))  # x / z, y / z after distortion
    before = p * [k.fx, k.fy] + [k.cx, k.cy]
    after = p * [s.fx, s.fy] + [s.cx, s.cy]
    # Pixel centres are half integers: a point at some share of the width stays at that share.
    assert np.allclose(after / size, before / (k.width, k.height))
    back = scaled(s, k.width, k.height)
    assert np.allclose([back.fx, back.fy, back.cx, back.cy], [k.fx, k.fy, k.cx, k.cy])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0])
def test_similarities(scale: float) -> None:
    m = similarity(1, scale)
    assert similarity_scale(m) == pytest.approx(scale)
    pose = analytic.look((1, 2, 3))
    placed = pose_in_scene(m, pose)
    assert np.allclose(placed[:3, :3] @ placed[:3, :3].T, np.eye(3))
    assert np.allclose(placed[:3, 3], m[:3, :3] @ pose[:3, 3] + m[:3, 3])
    # A point keeps its direction from the camera, and its distance is scaled.
    point = np.array([0.3, -0.4, 0.5])
    seen = (point - pose[:3, 3]) @ pose[:3, :3]
    again = (m[:3, :3] @ point + m[:3, 3] - placed[:3, 3]) @ placed[:3, :3]
    assert np.allclose(again, scale * seen)


def test_axes_that_meet_give_their_point_and_a_stray_one_does_not_move_it() -> None:
    target = np.array([0.4, -0.2, 0.1])
    poses = [analytic.look(p[:3, 3], target) for p in analytic.ring(16)]
    centres, axes = np.stack([p[:3, 3] for p in poses]), np.stack([p[:3, 2] for p in poses])
    # The weak prior for parallel axes acts on these, too.
    assert np.linalg.norm(nearest_point_to_axes(centres, axes) - target) < 0.02
    stray = np.array([0.0, 0.0, 1.0])
    with_stray = nearest_point_to_axes(np.vstack([centres, [[3, 3, 0]]]), np.vstack([axes, stray]))
    assert np.linalg.norm(with_stray - target) < 0.1


def test_up_is_the_cameras_up_however_they_are_tilted() -> None:
    assert np.allclose(up_direction(capture(analytic.ring(15)).views), [0, 0, 1], atol=1e-6)
    half = [analytic.look((np.cos(a), np.sin(a), 2.0)) for a in np.linspace(0, 3, 10)]  # steeply down
    assert np.allclose(up_direction(capture(half).views), [0, 0, 1], atol=1e-6)
    assert np.allclose(up_direction(capture(forward_facing()).views), [0, 0, 1], atol=1e-6)


@pytest.mark.parametrize("up", [[0, 0, 1], [0, 0, -1], [1, 0, 0], [0.6, 0, -0.8], [1e-9, 0, -1]])
def test_rotation_to_z(up: list[float]) -> None:
    v = np.array(up, float) / np.linalg.norm(up)
    r = rotation_to_z(v)
    assert np.allclose(r @ v, [0, 0, 1], atol=1e-6)
    assert np.allclose(r @ r.T, np.eye(3), atol=1e-9) and np.linalg.det(r) == pytest.approx(1)


@pytest.mark.parametrize("radius", [0.02, 2.4, 3000.0])
def test_cameras_around_a_subject_are_placed_at_their_distance(radius: float) -> None:
    placement = place(capture(analytic.ring(18, radius)))
    m = placement.scene_from_world
    assert is_similarity(m) and placement.unbounded
    placed = [pose_in_scene(m, p) for p in analytic.ring(18, radius)]
    away = [np.linalg.norm(p[:3, 3]) for p in placed]
    assert np.allclose(away, CAMERA_DISTANCE, rtol=0.02)
    assert all(p[2, 3] > 0.2 for p in placed), "they look down at the subject, so they are above it"
    assert all(-p[2, 1] > 0.5 for p in placed), "their up is +z"
    assert 0 < placement.near < 0.5 * CAMERA_DISTANCE


def test_cut_outs_fill_the_box() -> None:
    placement = place(capture(analytic.ring(18)), subject_radius=0.8)
    assert not placement.unbounded and is_similarity(placement.scene_from_world)
    assert similarity_scale(placement.scene_from_world) == pytest.approx(1 / 0.8)


@pytest.mark.parametrize("scale", [0.01, 1.0, 40.0])
@pytest.mark.parametrize("bounded", [False, True])
def test_placement_moves_with_the_world(scale: float, bounded: bool) -> None:
    rng = np.random.default_rng(3)
    posed = capture(analytic.ring(17), rng.normal(size=(400, 3)) * 0.4)
    m = similarity(5, scale)
    other = moved(posed, m)
    radius = 0.9 if bounded else None
    a = place(posed, radius)
    b = place(other, None if radius is None else radius * scale)
    assert b.near == pytest.approx(a.near, rel=1e-6) and b.unbounded == a.unbounded
    # The same place and scale; about +z the scene may be turned.
    again = b.scene_from_world @ m @ np.linalg.inv(a.scene_from_world)
    assert np.allclose(again[:3, 3], 0, atol=1e-6)
    assert np.allclose(again[2], [0, 0, 1, 0], atol=1e-6)
    assert np.allclose(again[:3, :3] @ again[:3, :3].T, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("jitter", [0.0, 1e-6, 0.02])
def test_a_forward_facing_capture_stays_in_front_and_finite(jitter: float) -> None:
    rng = np.random.default_rng(0)
    poses = forward_facing()
    for pose in poses:
        turn = Rotation.from_rotvec(rng.normal(size=3) * jitter).as_matrix()
        pose[:3, :3] = turn @ pose[:3, :3]
    placement = place(capture(poses))
    m = placement.scene_from_world
    assert np.isfinite(m).all() and is_similarity(m)
    placed = np.stack([pose_in_scene(m, p) for p in poses])
    spread = np.linalg.norm(placed[:, :3, 3] - placed[:, :3, 3].mean(0), axis=1)
    assert 0.05 < spread.max() < 2 * CAMERA_DISTANCE, "neither one point nor far apart"
    ahead = -(placed[:, :3, 3] * placed[:, :3, 2]).sum(1)
    assert (ahead > 0.2).all(), "the origin is in front of every camera"


def front(rng: np.random.Generator, n: int = 12) -> PosedCapture:
    """A shaky walk along a front at a distance of 10, with some points far behind it."""
    poses = []
    for x in np.linspace(-6, 6, n):
        eye = np.array([x, rng.normal(0, 0.3), 1.6])
        poses.append(analytic.look(eye, (x + rng.normal(0, 0.5), 10, 4 + rng.normal(0, 0.3))))
    wall = np.stack([rng.uniform(-10, 10, 900), np.full(900, 10.0), rng.uniform(0, 9, 900)], 1)
    behind = np.stack([rng.uniform(-300, 300, 100), np.full(100, 300.0), rng.uniform(0, 60, 100)], 1)
    return capture(poses, np.concatenate([wall, behind]))


def room(rng: np.random.Generator, n: int = 24) -> PosedCapture:
    """A room of 6 by 6 by 3, photographed by somebody who turns round in its middle."""
    poses = []
    for a in np.linspace(0, 2 * np.pi, n, endpoint=False):
        out = np.array([np.cos(a), np.sin(a), 0.0])
        poses.append(analytic.look(0.35 * out + (0.4, 0, 1.5), 3 * out + (0.4, 0, rng.normal(1.5, 0.1))))
    walls = rng.uniform(-3, 3, (2000, 3)) * (1, 1, 0.5) + (0, 0, 1.5)
    side = rng.integers(0, 2, 2000)
    walls[np.arange(2000), side] = 3 * rng.choice([-1, 1], 2000)
    return capture(poses, walls + rng.normal(0, 0.05, walls.shape))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [front, room])
def test_without_one_subject_the_points_say_where_and_how_large_the_scene_is(
    make: Callable[[np.random.Generator], PosedCapture], seed: int
) -> None:
    posed = make(np.random.default_rng(seed))
    m = place(posed).scene_from_world
    points = posed.points @ m[:3, :3].T + m[:3, 3]
    assert is_similarity(m) and np.allclose(np.median(points, axis=0), 0, atol=0.2)
    assert np.mean(np.abs(points).max(1) <= 1) == pytest.approx(POINTS_WITHIN / 100, abs=0.01)


def test_what_cameras_look_at_together_stays_the_middle_whatever_lies_behind() -> None:
    rng = np.random.default_rng(1)
    for poses in (analytic.ring(18, 2.4), analytic.ring(40, 2.4)[:8]):
        everywhere = rng.normal(size=(500, 3)) * 30
        a, b = place(capture(poses)), place(capture(poses, everywhere))
        assert np.allclose(a.scene_from_world, b.scene_from_world)


def test_axes_meet_where_they_tell_how_far_their_point_is() -> None:
    def tells(posed: PosedCapture) -> tuple[bool, bool]:
        centres = np.stack([v.world_from_cam[:3, 3] for v in posed.views])
        axes = np.stack([v.world_from_cam[:3, 2] for v in posed.views])
        focus = nearest_point_to_axes(centres, axes)
        return axes_meet(centres, axes, focus), looked_at(centres, axes, focus)

    rng = np.random.default_rng(2)
    assert tells(capture(analytic.ring(18))) == (True, True)
    assert tells(room(rng)) == (True, False)
    assert not tells(front(rng))[0]
    assert not tells(capture(forward_facing()))[0]


@pytest.mark.parametrize(
    "poses",
    [
        [analytic.look((2, 0, 1)), analytic.look((0, 2, 1))],
        [analytic.look((2, 0, 1)), analytic.look((2.0 + 1e-7, 0, 1))],
        [analytic.look((0.0, 0.0, 0.0), (np.cos(a), np.sin(a), 0.1)) for a in range(6)],  # on the spot
    ],
)
def test_degenerate_captures_are_placed_finitely(poses: list[Array]) -> None:
    placement = place(capture(poses))
    assert np.isfinite(placement.scene_from_world).all() and 0 < placement.near < np.inf


def test_points_bring_the_near_plane_closer_where_something_is_near() -> None:
    poses = analytic.ring(18)
    rng = np.random.default_rng(0)
    subject = rng.normal(size=(300, 3)) * 0.1
    far = place(capture(poses, subject))
    close = np.concatenate([p[:3, 3] + 0.4 * p[:3, 2] + rng.normal(size=(30, 3)) * 0.02 for p in poses])
    near = place(capture(poses, np.concatenate([subject, close])))
    scale = similarity_scale(near.scene_from_world)
    assert 0.05 <= near.near < 0.4 * scale < far.near


def test_point_depths_counts_what_is_framed() -> None:
    pose = analytic.look((0, -3, 0))
    points = np.array([[0, 0, 0], [0, -5, 0], [0, -3, 0], [100, 0, 0], [0.1, 1, 0.1]], float)
    assert np.allclose(point_depths(capture([pose], points)), [3, 4])
    assert len(point_depths(capture([pose]))) == 0

"""Cameras moved by training: what one step may change, jittered poses recovered, held-out cameras fitted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from training_steps import small_steps

from nerfscene import api
from nerfscene.config import TrainConfig
from nerfscene.field.alignment import aligned
from nerfscene.field.refinement import (
    moved,
    neighbours_changes,
    pixels_moved,
    refined_lens,
    refined_views,
    start_fit,
    update,
)
from nerfscene.formats.readers import find_posed
from nerfscene.measuring.evaluate import photo_over, photographed
from nerfscene.scene import folder as scenes
from nerfscene.training import loop as training
from nerfscene.training import moving_cameras
from nerfscene.types import View

SCENE_FROM_WORLD = np.eye(4)
SCENE_FROM_WORLD[:3, :3] = 0.4 * Rotation.from_rotvec([0.3, 1.0, -0.5]).as_matrix()
SCENE_FROM_WORLD[:3, 3] = [0.1, -0.2, 0.3]


def views(n: int = 12) -> tuple[View, ...]:
    k = analytic.intrinsics(64, 48)
    return tuple(View(Path(f"{i}.png"), k, pose) for i, pose in enumerate(analytic.ring(n)))


def fit_of(n: int = 12) -> Any:
    return start_fit(views(n), SCENE_FROM_WORLD)


def test_a_camera_that_is_not_trained_follows_what_its_neighbours_have_in_common() -> None:
    fit = fit_of(24)
    at = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    drift = 0.01 * np.stack([np.sin(at), np.cos(at), np.sin(at), np.cos(at), np.sin(at), np.cos(at)], 1)
    fit.poses[:] = drift
    between = View(Path("x.png"), views()[0].intrinsics, analytic.ring(48)[7])
    (change,) = neighbours_changes(fit, [between])
    expected = (drift[3] + drift[4]) / 2
    assert np.abs(change - expected).max() < 0.3 * np.abs(expected).max()
    # A camera that stands where a trained one does moves with it.
    (same,) = neighbours_changes(fit, [View(Path("y.png"), views()[0].intrinsics, analytic.ring(24)[5])])
    assert np.abs(same - drift[5]).max() < 0.003
    # Independent motions of the neighbours largely cancel out.
    rng = np.random.default_rng(4)
    followed = []
    for _ in range(40):
        fit.poses[:] = 0.01 * rng.normal(size=fit.poses.shape)
        followed.append(neighbours_changes(fit, [between]))
    # The plain mean of two neighbours would give 0.7.
    assert np.sqrt(np.mean(np.square(followed))) < 0.45 * 0.01
    fit.poses[:] = 0
    assert not neighbours_changes(fit, [between]).any()


def test_cameras_without_changes_stay_where_they_are() -> None:
    fit = fit_of()
    for before, after in zip(views(), refined_views(fit), strict=True):
        assert before.intrinsics == after.intrinsics
        assert np.allclose(before.world_from_cam, after.world_from_cam, atol=1e-12)
    assert pixels_moved(fit) == 0
    update(fit, 1e-3)  # without gradients nothing happens
    assert not fit.poses.any() and not fit.pose_moments.any()


def test_a_change_turns_about_the_centre_and_shifts_in_the_scene() -> None:
    pose = analytic.ring(5)[2]
    change = np.array([0.02, -0.01, 0.03, 0.4, 0.1, -0.2])
    after = moved(pose, change, SCENE_FROM_WORLD)
    into = SCENE_FROM_WORLD[:3, :3]
    assert np.allclose(into @ (after[:3, 3] - pose[:3, 3]), change[3:])
    turn = into / 0.4 @ after[:3, :3] @ pose[:3, :3].T @ into.T / 0.4
    assert np.allclose(Rotation.from_matrix(turn).as_rotvec(), change[:3])
    back = moved(after, -change, SCENE_FROM_WORLD)
    assert np.allclose(back, pose, atol=1e-12)


@pytest.mark.parametrize("n", (2, 3, 12))
def test_a_motion_of_the_whole_capture_is_taken_out(n: int) -> None:
    fit = fit_of(n)
    centres = np.stack([(SCENE_FROM_WORLD @ v.world_from_cam)[:3, 3] for v in fit.views])
    axis, shift, growth = np.array([0.3, -0.2, 0.5]), np.array([1.0, 2.0, -1.0]), 0.3
    whole = np.zeros((n, 6))
    whole[:, :3] = axis
    whole[:, 3:] = np.cross(axis, centres) + shift + growth * centres
    flat = whole.reshape(-1)
    assert np.abs(flat - fit.gauge.T @ (fit.gauge @ flat)).max() < 1e-9
    assert np.allclose(fit.gauge @ fit.gauge.T, np.eye(len(fit.gauge)))
    assert len(fit.gauge) <= 7
    rng = np.random.default_rng(1)
    fit.gradients[:] = rng.normal(size=fit.gradients.shape)
    update(fit, 1e-2)
    assert np.abs(fit.gauge @ fit.poses.reshape(-1)).max() < 1e-6
    assert not fit.gradients.any()
    if n > 3:
        assert 1e-3 < np.abs(fit.poses).max() < 2e-2


def test_a_step_goes_against_the_gradient_and_photos_without_one_stay() -> None:
    fit = fit_of(40)
    fit.gradients[:20, :6] = np.random.default_rng(2).normal(size=(20, 6))
    wanted = -np.sign(fit.gradients[:20, :6])
    update(fit, 1e-3)
    assert np.corrcoef(fit.poses[:20].ravel(), wanted.ravel())[0, 1] > 0.9
    assert not fit.pose_moments[20:].any() and fit.pose_moments[:20].all()
    assert np.abs(fit.poses[20:]).max() < 0.5e-3  # except for their share of the motion of the whole capture
    before = fit.poses.copy()
    fit.gradients[:] = np.nan
    update(fit, 1e-3)
    assert np.array_equal(fit.poses, before) and not fit.gradients.any()


def test_a_lens_moves_with_all_its_photos_and_not_for_a_few() -> None:
    k = analytic.intrinsics(64, 48)
    other = replace(k, fx=k.fx * 1.1, fy=k.fy * 1.1)
    mixed = tuple(replace(v, intrinsics=other if i < 3 else k) for i, v in enumerate(views()))
    fit = start_fit(mixed, SCENE_FROM_WORLD)
    fit.gradients[:, 6:8] = -1.0  # a longer focal length would be better
    fit.gradients[:, 8] = 1.0
    update(fit, 1e-3)
    after = refined_views(fit)
    assert all(v.intrinsics == other for v in after[:3])
    lens = after[5].intrinsics
    assert lens.fx == pytest.approx(k.fx * np.exp(1e-3), rel=1e-6) and lens.fx / lens.fy == k.fx / k.fy
    assert lens.cx == pytest.approx(k.cx - 1e-3 * (k.fx + k.fy) / 2, rel=1e-6) and lens.cy == k.cy
    assert lens.distortion == k.distortion
    assert refined_lens(k, np.array([0, 0, 0, 0.01, -0.02], np.float32)).distortion[:3] == pytest.approx(
        (0.01, -0.02, 0)
    )


# --- in training -----------------------------------------------------------------------------------


def jittered(room: Path, folder: Path, turn: float, shift: float) -> Path:
    """The room with its training poses off by about ``turn`` (radians) and ``shift`` (world units)."""
    shutil.copytree(room, folder)
    file = folder / "transforms.json"
    listed = json.loads(file.read_text())
    rng = np.random.default_rng(7)
    for i, frame in enumerate(listed["frames"]):
        pose = np.array(frame["transform_matrix"])
        off = rng.normal(size=6)
        if i % 8:
            pose[:3, :3] = Rotation.from_rotvec(turn * off[:3]).as_matrix() @ pose[:3, :3]
            pose[:3, 3] += shift * off[3:]
        frame["transform_matrix"] = pose.tolist()
    file.write_text(json.dumps(listed))
    return folder


def off_by(scene: Any, room: Path) -> float:
    """Root mean square angle between the training cameras and the true ones, radians."""
    posed = find_posed(room)
    assert posed is not None
    true = {v.path.name: v.world_from_cam for v in posed.views}
    turns = [
        Rotation.from_matrix(v.world_from_cam[:3, :3].T @ true[v.path.name][:3, :3]).magnitude()
        for v in scene.views
        if v.split == "train"
    ]
    return float(np.sqrt(np.mean(np.square(turns))))


@pytest.fixture
def many_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many moves of cameras as in a longer training."""
    monkeypatch.setattr(training, "REFINE_STEPS", 4)
    monkeypatch.setattr(training, "REFINE_EVERY", 1)


def test_jittered_cameras_come_nearer_to_where_they_were(tmp_path: Path, many_moves: None) -> None:
    room = analytic.write_room(tmp_path / "room", size=(96, 72))
    capture = jittered(room, tmp_path / "jittered", 0.012, 0.01)
    scene = api.train(capture, tmp_path / "scene", TrainConfig(steps=400, threads=1), analytic.SMALL)
    given = find_posed(capture)
    assert given is not None and scene.figures.cameras_moved > 0.3
    before = {view.path.name: view.world_from_cam for view in given.views}
    as_given = tuple(replace(view, world_from_cam=before[view.path.name]) for view in scene.views)
    assert off_by(scene, room) < 0.85 * off_by(replace(scene, views=as_given), room)


@pytest.mark.long
def test_jittered_cameras_are_found_again(tmp_path: Path, many_moves: None) -> None:
    room = analytic.write_room(tmp_path / "room", size=(96, 72))
    capture = jittered(room, tmp_path / "jittered", 0.012, 0.01)
    config = TrainConfig(steps=600, threads=1)
    fixed = api.train(capture, tmp_path / "fixed", replace(config, refine_cameras=False), analytic.SMALL)
    scene = api.train(capture, tmp_path / "scene", config, analytic.SMALL)
    assert fixed.figures.cameras_moved is None
    assert off_by(scene, room) < 0.75 * off_by(fixed, room)
    assert scene.figures.psnr is not None and fixed.figures.psnr is not None
    assert scene.figures.psnr_matched > fixed.figures.psnr_matched + 0.5
    assert scene.figures.psnr > fixed.figures.psnr
    assert scene.figures.cameras_moved > 0.3
    again = scenes.load(tmp_path / "scene")
    for a, b in zip(again.views, scene.views, strict=True):
        assert np.allclose(a.world_from_cam, b.world_from_cam) and a.split == b.split
    posed = find_posed(capture)
    assert posed is not None
    for given, view in zip(posed.views, scene.views, strict=True):
        same = np.allclose(given.world_from_cam, view.world_from_cam, atol=1e-9)
        assert not same or view.split == "test"
    # Resuming continues from these cameras.
    more = api.train(capture, tmp_path / "scene", replace(config, steps=630), analytic.SMALL, resume=True)
    assert off_by(more, room) < 1.05 * off_by(scene, room)


@pytest.mark.parametrize(("steps", "least", "most"), ((160, 3, 5), (640, 6, 9)))
def test_long_trainings_move_cameras_no_more_often(
    small_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, least: int, most: int
) -> None:
    small_steps(monkeypatch)
    monkeypatch.setattr(training, "REFINE_APART", 0.1)
    at: list[float] = []
    monkeypatch.setattr(training, "move_cameras", lambda run, data, done: at.append(done))
    # No camera moves in this test; it records when they would have moved.
    monkeypatch.setattr(
        training,
        "refines",
        lambda run, data, done: moving_cameras.REFINE_FROM <= done < moving_cameras.REFINE_TO,
    )
    api.train(small_room, tmp_path / "scene", TrainConfig(steps=steps), analytic.SMALL)
    assert least <= len(at) <= most
    assert at[0] < moving_cameras.REFINE_FROM + 0.25 and at[-1] > moving_cameras.REFINE_TO - 0.25


def test_cameras_that_were_right_are_put_back(room: Path, trained: Path) -> None:
    scene = scenes.load(trained)
    assert scene.figures.cameras_moved == 0
    posed = find_posed(room)
    assert posed is not None
    for given, view in zip(posed.views, scene.views, strict=True):
        assert np.allclose(given.world_from_cam, view.world_from_cam, atol=1e-9)


def test_cut_outs_keep_their_cameras(cut_out: Path, tmp_path: Path) -> None:
    scene = api.train(cut_out, tmp_path / "scene", TrainConfig(steps=60), analytic.SMALL)
    assert scene.figures.cameras_moved is None


def test_a_held_out_camera_is_fitted_to_the_scene(trained: Path) -> None:
    scene = scenes.load(trained)
    renderer = scene.photo_renderer("auto", 0)
    view = next(v for v in scene.views if v.split == "test")
    photo = photographed(renderer, view).rgb  # rendered by the scene itself, so the true camera is known
    assert aligned(renderer, view, photo).world_from_cam == pytest.approx(view.world_from_cam, abs=1e-3)
    change = np.array([0.01, -0.012, 0.008, 0.004, -0.004, 0.004])
    off = replace(view, world_from_cam=moved(view.world_from_cam, change, scene.scene_from_world))
    back = aligned(renderer, off, photo)

    def apart(a: View, b: View) -> float:
        return float(Rotation.from_matrix(a.world_from_cam[:3, :3].T @ b.world_from_cam[:3, :3]).magnitude())

    assert apart(back, view) < 0.4 * apart(off, view)
    # The scene reproduces the real photo less well, so the fit is less exact.
    fits = aligned(renderer, view, photo_over(view, scene.background))
    assert apart(fits, view) < 0.02
    # With nothing to fit to, the camera stays where it is.
    assert aligned(renderer, view, photo, np.zeros(photo.shape[:2], bool)) is view
    far = replace(view, world_from_cam=moved(view.world_from_cam, 60 * change, scene.scene_from_world))
    assert apart(aligned(renderer, far, photo), far) < 0.06

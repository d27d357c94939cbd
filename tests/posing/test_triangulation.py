"""Points for photos that came with cameras, and corrections of these cameras."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pycolmap
import pytest
from PIL import Image
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from bench.shared_capture import write
from nerfscene import api
from nerfscene.cameras.algebra import scaled
from nerfscene.cameras.lens_fit import projection
from nerfscene.capture.folder import silent
from nerfscene.config import PoseConfig, TrainConfig
from nerfscene.formats.readers import find_posed
from nerfscene.posing import triangulation
from nerfscene.posing.given_pairs import can_have_points
from nerfscene.posing.triangulation import colmap_lens, with_points
from nerfscene.scene import folder as scenes
from nerfscene.types import Array, Intrinsics, PosedCapture

DEMO = Path(__file__).parents[2] / "data/demo"
SIZE = 320, 240
FEW = PoseConfig(max_features=1500)


@pytest.fixture(scope="module")
def true(tmp_path_factory: pytest.TempPathFactory) -> PosedCapture:
    """Ten photos of a walk, small, with their true cameras."""
    folder = tmp_path_factory.mktemp("walk")
    posed = find_posed(DEMO)
    assert posed is not None
    views = []
    for view in posed.views[6:16]:
        with Image.open(view.path) as photo:
            photo.resize(SIZE, Image.Resampling.BOX).save(folder / view.path.name, quality=95)
        lens = scaled(view.intrinsics, *SIZE)
        views.append(replace(view, path=folder / view.path.name, intrinsics=lens))
    return replace(posed, root=folder, views=tuple(views))


def shaken(posed: PosedCapture, radians: float) -> PosedCapture:
    """The capture with every camera turned at random, and shifted by the same share of its distance."""
    rng = np.random.default_rng(3)
    views = []
    for view in posed.views:
        pose = view.world_from_cam.copy()
        pose[:3, :3] = Rotation.from_rotvec(radians * rng.normal(size=3)).as_matrix() @ pose[:3, :3]
        pose[:3, 3] += radians * rng.normal(size=3)
        views.append(replace(view, world_from_cam=pose))
    return replace(posed, views=tuple(views))


def between(a: PosedCapture, b: PosedCapture) -> Array:
    """Degrees by which rotations from photo to photo differ; a rotation of the whole world doesn't count."""
    turns = [[v.world_from_cam[:3, :3] for v in posed.views] for posed in (a, b)]
    steps = [[r.T @ s for r, s in pairwise(t)] for t in turns]
    off = [Rotation.from_matrix(p.T @ q).magnitude() for p, q in zip(*steps, strict=True)]
    return np.degrees(off)


def behind(posed: PosedCapture) -> int:
    """Points that lie behind a camera that saw them."""
    count = 0
    for v in posed.views:
        local = (posed.points[v.seen] - v.world_from_cam[:3, 3]) @ v.world_from_cam[:3, :3]
        count += int((local[:, 2] <= 0).sum())
    return count


def test_right_cameras_stay_and_get_points(true: PosedCapture, tmp_path: Path) -> None:
    posed = with_points(true, tmp_path / "work", FEW)
    assert posed.warnings == true.warnings
    for ours, theirs in zip(posed.views, true.views, strict=True):
        np.testing.assert_array_equal(ours.world_from_cam, theirs.world_from_cam)
        assert ours.intrinsics == theirs.intrinsics and ours.path == theirs.path
        assert len(ours.seen) > 50
    assert posed.reprojection_error is not None and posed.reprojection_error < 0.5
    assert len(posed.points) == len(posed.point_colors) > 300 and behind(posed) == 0
    assert np.abs(posed.points).max() < 10, "metres, of a room"


def test_cameras_that_are_off_are_moved_and_it_is_said(true: PosedCapture, tmp_path: Path) -> None:
    given = shaken(true, 0.012)
    posed = with_points(given, tmp_path, FEW)
    assert between(given, true).mean() > 0.8 and between(posed, true).mean() < 0.1
    (warning,) = posed.warnings[len(given.warnings) :]
    assert "were moved" in warning and "--no-refine-cameras" in warning
    # The world is the one that they were given in.
    off = [
        np.linalg.norm(a.world_from_cam[:3, 3] - b.world_from_cam[:3, 3])
        for a, b in zip(posed.views, true.views, strict=True)
    ]
    assert np.mean(off) < 0.04
    assert [v.split for v in posed.views] == [v.split for v in given.views]


def test_a_photo_that_shows_nothing_stays_while_others_are_moved(true: PosedCapture, tmp_path: Path) -> None:
    given = shaken(true, 0.012)
    Image.new("RGB", SIZE, "grey").save(tmp_path / "fog.png")
    views = list(given.views)
    views[4] = replace(views[4], path=tmp_path / "fog.png")
    given = replace(given, views=tuple(views))
    posed = with_points(given, tmp_path / "work", FEW)
    assert "were moved" in posed.warnings[-1] and not len(posed.views[4].seen)
    np.testing.assert_allclose(posed.views[4].world_from_cam, given.views[4].world_from_cam, atol=1e-9)
    assert between(posed, true)[[0, 1, 2, 5, 6, 7, 8]].mean() < 0.1
    views = [replace(view, path=tmp_path / "fog.png") if i < 3 else view for i, view in enumerate(views)]
    blind = with_points(replace(given, views=tuple(views)), tmp_path / "blind", FEW)
    assert not any("were moved" in warning for warning in blind.warnings)


def test_cameras_stay_where_that_is_asked_for(true: PosedCapture, tmp_path: Path) -> None:
    given = shaken(true, 0.004)
    posed = with_points(given, tmp_path, FEW, move=False)
    assert "kept as they are" in posed.warnings[-1] and len(posed.points) > 50
    for ours, theirs in zip(posed.views, given.views, strict=True):
        np.testing.assert_array_equal(ours.world_from_cam, theirs.world_from_cam)


def test_a_lens_with_a_large_term_is_trusted(true: PosedCapture, tmp_path: Path) -> None:
    """A wrong lens shows in the corners of a picture only; points come from its middle."""
    lenses = [replace(v.intrinsics, distortion=(0.0, 0.0, 0.0, 0.0, 1.5)) for v in true.views]
    views = [replace(v, intrinsics=lens) for v, lens in zip(true.views, lenses, strict=True)]
    posed = with_points(replace(true, views=tuple(views)), tmp_path, FEW, move=False)
    assert len(posed.points) > 200


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_world_of_another_scale_is_brought_back(true: PosedCapture, scale: float) -> None:
    def model(posed: PosedCapture, scale: float) -> pycolmap.Reconstruction:
        made = pycolmap.Reconstruction()
        made.add_camera_with_trivial_rig(colmap_lens(1, posed.views[0].intrinsics))
        for i, view in enumerate(posed.views, 1):
            pose = view.world_from_cam.copy()
            pose[:3, 3] *= scale
            image = pycolmap.Image(name=f"{i}", camera_id=1, image_id=i)
            made.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.linalg.inv(pose)[:3]))
        return made

    found = triangulation._similarity(model(true, scale), model(true, 1.0))
    assert found is not None and found.scale == pytest.approx(1 / scale, rel=1e-6)


def test_what_colmap_cannot_do_is_said_and_done_without(
    true: PosedCapture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*more: Any) -> None:
        raise RuntimeError("it rained")

    monkeypatch.setattr(triangulation, "_fill", fails)
    posed = with_points(true, tmp_path, FEW)
    assert "it rained" in posed.warnings[-1] and posed.views == true.views
    assert not list(tmp_path.iterdir())


def test_cameras_of_other_photos_are_told(true: PosedCapture, tmp_path: Path) -> None:
    poses = [view.world_from_cam for view in true.views]
    views = [replace(v, world_from_cam=poses[i * 3 % len(poses)]) for i, v in enumerate(true.views)]
    given = replace(true, views=tuple(views))
    posed = with_points(given, tmp_path, FEW)
    (warning,) = posed.warnings[len(given.warnings) :]
    assert "the photos alone" in warning and "moved" not in warning
    for ours, theirs in zip(posed.views, given.views, strict=True):
        np.testing.assert_array_equal(ours.world_from_cam, theirs.world_from_cam)


def test_photos_that_their_cameras_leave_apart_are_compared(
    true: PosedCapture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cameras choose badly if they belong to other photos, or if many share each of a few places."""
    monkeypatch.setattr(triangulation, "pairs_of_given", lambda views, shots: [(0, 1)])
    posed = with_points(true, tmp_path, FEW)
    assert posed.warnings == true.warnings
    assert all(len(view.seen) > 50 for view in posed.views)


def test_points_and_moved_cameras_are_kept(true: PosedCapture, tmp_path: Path) -> None:
    stages: list[str] = []
    told = lambda stage, done: stages.append(stage)  # noqa: E731
    first = with_points(true, tmp_path, FEW, progress=told)
    assert {"finding features", "matching photos", "placing points"} <= set(stages)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["points"]
    assert sorted(p.name for p in (tmp_path / "points").iterdir()) == ["done.json", "sparse"]
    stages.clear()
    again = with_points(true, tmp_path, FEW, progress=told)
    assert not stages
    np.testing.assert_array_equal(again.points, first.points)
    turned = replace(true, views=shaken(true, 0.001).views)
    with pytest.raises(StopHere):
        with_points(turned, tmp_path, FEW, progress=stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["points"], "an interruption leaves what was there"


class StopHere(Exception):
    pass


def stop(stage: str, done: float) -> None:
    raise StopHere


def test_photos_without_matches_are_left_alone(tmp_path: Path) -> None:
    """Noise has features, but none of them match."""
    rng = np.random.default_rng(0)
    views = []
    posed = find_posed(DEMO)
    assert posed is not None
    for view in posed.views[:4]:
        path = tmp_path / view.path.name
        Image.fromarray(rng.integers(0, 255, (SIZE[1], SIZE[0], 3)).astype(np.uint8)).save(path)
        views.append(replace(view, path=path, intrinsics=scaled(view.intrinsics, *SIZE)))
    given = replace(posed, views=tuple(views))
    assert with_points(given, tmp_path / "work", FEW) == given


def test_which_captures_get_no_points(true: PosedCapture) -> None:
    assert can_have_points(true)
    assert not can_have_points(replace(true, points=np.zeros((5, 3))))
    assert not can_have_points(replace(true, has_alpha=True))
    assert not can_have_points(replace(true, views=true.views[:2]))
    assert not can_have_points(replace(true, views=true.views * 41))
    gone = replace(true.views[0], path=true.root / "gone.jpg")
    assert not can_have_points(replace(true, views=(gone, *true.views[1:])))
    tiny = [replace(v, intrinsics=scaled(v.intrinsics, 100, 75)) for v in true.views]
    assert not can_have_points(replace(true, views=tuple(tiny)))


def test_a_training_says_what_is_to_be_done_with_cameras(trained: Path, tmp_path: Path) -> None:
    """A training begun without points resumes without them, one begun with points resumes with them."""
    config, still = TrainConfig(), TrainConfig(refine_cameras=False)
    assert api.cameras_given(tmp_path, config, resume=False) == "fitted"
    assert api.cameras_given(tmp_path, still, resume=False) == "measured"
    assert api.cameras_given(trained, config, resume=True) == "read"
    scene = scenes.load(trained)
    scenes.save(replace(scene, points=np.zeros((3, 3), np.float32)), tmp_path)
    assert api.cameras_given(tmp_path, config, resume=True) == "fitted"
    assert api.cameras_given(tmp_path, still, resume=True) == "fitted"
    begun = replace(scene.figures, settings={"train": {"refine_cameras": False}})
    scenes.save(replace(scene, points=np.zeros((3, 3), np.float32), figures=begun), tmp_path)
    assert api.cameras_given(tmp_path, config, resume=True) == "measured"


@pytest.mark.long
def test_a_capture_with_cameras_off_becomes_a_scene_and_goes_on(true: PosedCapture, tmp_path: Path) -> None:
    write(shaken(true, 0.012), tmp_path / "capture", 1.0)
    told: list[str] = []
    config = TrainConfig(steps=10, downscale=4)
    more = {"poses": FEW, "warn": told.append}
    scene = api.train(tmp_path / "capture", tmp_path / "scene", config, analytic.SMALL, **more)
    assert "were moved" in told[-1] and len(scene.points) > 100
    assert scene.figures.reprojection_error is not None and scene.figures.reprojection_error < 0.5
    assert "were moved" in (tmp_path / "scene/report.html").read_text()
    shutil.rmtree(tmp_path / "scene/poses")  # as one would to save room: it is found again
    config = replace(config, steps=15)
    on = api.train(tmp_path / "capture", tmp_path / "scene", config, analytic.SMALL, resume=True, **more)
    assert on.figures.steps == 15
    # COLMAP's threads add up in any order, so what is found again is the same only to within rounding, and
    # a few points more or less may pass.
    np.testing.assert_allclose(on.scene_from_world, scene.scene_from_world, atol=0.01)
    apart, _ = cKDTree(scene.points).query(on.points)
    assert np.median(apart) < 0.003 and abs(len(on.points) - len(scene.points)) < 0.2 * len(scene.points)


def test_posed_captures_come_with_points(true: PosedCapture, tmp_path: Path, monkeypatch: Any) -> None:
    asked = []

    def noted(posed: PosedCapture, workdir: Path, config: Any, move: bool, progress: Any) -> PosedCapture:
        asked.append((workdir, move))
        return posed

    monkeypatch.setattr("nerfscene.intake.with_points", noted)
    for given in ("fitted", "measured", "read"):
        api.posed_capture(DEMO, tmp_path, given=given)
    assert asked == [(tmp_path, True), (tmp_path, False)]
    assert api.posed_capture(DEMO, tmp_path, listener=lambda report: silent("", 0.0)).source == "transforms"


@pytest.mark.parametrize(
    "lens",
    [
        Intrinsics(640, 480, 500, 510, 322, 238, "perspective", (0.1, -0.03, 0.002, -0.001, 0.01)),
        Intrinsics(640, 480, 300, 305, 318, 243, "fisheye", (0.05, -0.02, 0.004, -0.001, 0.0)),
    ],
)
def test_lenses_are_the_same_in_colmap(lens: Intrinsics) -> None:
    rng = np.random.default_rng(0)
    rays = np.concatenate([rng.uniform(-0.5, 0.5, (50, 2)), np.ones((50, 1))], axis=1)
    camera: pycolmap.Camera = colmap_lens(1, lens)
    theirs = camera.img_from_cam(rays)
    base = rays[:, :2]
    if lens.lens == "fisheye":
        across = np.linalg.norm(base, axis=1, keepdims=True)
        base = base * np.arctan(across) / across
    np.testing.assert_allclose(projection(lens)(base), theirs, atol=1e-6)

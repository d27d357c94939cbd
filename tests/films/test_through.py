"""Paths from photo to photo, the names of photos, and cameras that look at one point."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from path_cases import LENS, SUBJECT, UP, a_motion, assert_rigid, moved, poses_of, ring

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.filming import film_path, world_points
from nerfscene.films.orbit import subject_of
from nerfscene.films.photo_names import named, named_list
from nerfscene.films.through import looking_at, through
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Intrinsics, View

SIZE = (640, 480)


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scenes.load(trained)


def photos(degrees: Array, roll: float = 0.0) -> list[View]:
    """A ring of photos, 0000.jpg and so on, each rolled by radians."""
    c, s = np.cos(roll), np.sin(roll)
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    return [
        replace(v, path=Path(f"/a/{i:04}.jpg"), world_from_cam=v.world_from_cam @ turn)
        for i, v in enumerate(ring(degrees))
    ]


def centre(view: View) -> Array:
    return view.world_from_cam[:3, 3]


@pytest.mark.parametrize("roll", [0.0, 0.15])
def test_the_path_goes_from_photo_to_photo_level_and_evenly(roll: float) -> None:
    views = photos(np.linspace(0, 100, 11), roll)
    path = through("0000.jpg, 0003.jpg,0010.jpg", views, 240, SIZE, UP)
    poses = poses_of(path)
    assert_rigid(poses)
    assert not path.loop and len(poses) == 240
    for i, at in ((0, 0), (10, -1), (3, None)):
        off = np.linalg.norm(poses[:, :3, 3] - centre(views[i]), axis=1)
        nearest = int(off.argmin()) if at is None else at
        assert off[nearest] < (0.02 if at is None else 1e-6)
        assert poses[nearest][:3, 2] @ views[i].world_from_cam[:3, 2] > 0.9999
    assert np.abs(poses[:, 2, 0]).max() < 1e-4 and (poses[:, 2, 1] < 0).all()
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps[60:180].max() < 1.1 * steps[60:180].min() and steps[[0, -1]].max() < 0.03 * steps.mean()


@pytest.mark.parametrize(
    "names", ["0000,0006,0012,0018", "0000,0006,0012,0018,0000", "0000,0006", "0000,0003,0006"]
)
def test_a_loop_closes_without_a_jolt(names: str) -> None:
    path = through(names, photos(np.arange(0, 360, 15.0)), 240, SIZE, UP, loop=True)
    poses = poses_of(path)
    assert_rigid(poses)
    steps = np.roll(poses, -1, 0)[:, :3, 3] - poses[:, :3, 3]
    lengths = np.linalg.norm(steps, axis=1)
    jolts = np.linalg.norm(np.roll(steps, -1, 0) - steps, axis=1)
    assert path.loop and lengths.max() < 2.5 * lengths.mean()
    assert jolts.max() < 0.2 * lengths.max(), "nowhere, and not at the seam"
    if names.count(",") >= 3:
        assert lengths.max() < 1.2 * lengths.min()


def test_between_far_photos_the_camera_goes_round_the_subject() -> None:
    views = photos(np.linspace(0, 160, 17))
    least = min(np.linalg.norm(centre(view) - SUBJECT) for view in views)
    for names in ("0000,0016", "0016,0000", "0000,0016,0004"):
        places = poses_of(through(names, views, 60, SIZE, UP))[:, :3, 3] - SUBJECT
        assert np.linalg.norm(places, axis=1).min() > 0.95 * least
        assert (places[:, 1] > -0.2).all(), "on the side that was photographed"


def test_a_photo_keeps_its_own_angle_of_view() -> None:
    views = photos(np.linspace(0, 60, 4))
    views[3] = replace(views[3], intrinsics=replace(LENS, fx=700.0, fy=700.0))
    path = through("0000,0003", views, 30, SIZE, UP)
    focals = [c.intrinsics.fy for c in path.cameras]
    assert focals[-1] == pytest.approx(2 * focals[0]) and (np.diff(focals) >= 0).all()


def test_the_path_moves_with_the_world() -> None:
    views, m = photos(np.linspace(0, 100, 11)), a_motion()
    plain = poses_of(through("0000,0004,0009", views, 40, SIZE, UP))
    again = poses_of(through("0000,0004,0009", moved(views, m), 40, SIZE, m[:3, :3] @ UP))
    np.testing.assert_allclose(again, m @ plain, atol=1e-6)


def test_photos_from_one_spot_and_pairs_of_them_give_paths() -> None:
    still = [View(Path(f"{i}.jpg"), LENS, np.eye(4)) for i in range(3)]
    for views, loop in ((still, False), (still, True), (photos(np.array([0.0, 40, 80])), True)):
        names = ",".join(view.path.name for view in views)
        for n in (1, 2, 5):
            assert_rigid(poses_of(through(names, views, n, SIZE, np.array([0.0, -1, 0]), loop)))


def test_a_target_stays_in_the_middle_and_the_horizon_level() -> None:
    views = photos(np.linspace(0, 300, 21), 0.2)
    for path in (
        through("0000,0008,0013,0020", views, 60, SIZE, UP, True, SUBJECT),
        looking_at(through("0000,0008,0013,0020", views, 60, SIZE, UP), SUBJECT, UP),
    ):
        poses = poses_of(path)
        toward = SUBJECT - poses[:, :3, 3]
        assert ((toward * poses[:, :3, 2]).sum(1) > 0.999999 * np.linalg.norm(toward, axis=1)).all()
        assert np.abs(poses[:, 2, 0]).max() < 1e-9


def test_photos_are_found_by_what_people_call_them() -> None:
    paths = [
        "/a/0001.jpg",
        "/a/0002.JPG",
        "/a/left/x.png",
        "/a/right/x.png",
        "/a/one, two.jpg",
        "/a/IMG_7.heic",
    ]
    views = [View(Path(p), LENS, np.eye(4)) for p in paths]
    for name, index in (
        ("0001.jpg", 0), ("0001", 0), (" 0002.jpg ", 1), ("/a/0001.jpg", 0), ("left/x.png", 2),
        ("right\\x", 3), ("./right/x.png", 3), ("img_7", 5), ("one, two.jpg", 4),
    ):  # fmt: skip
        assert named(name, views) is views[index], name
    assert [view.path for view in named_list("0001.jpg,one, two.jpg,IMG_7", views)] == [
        views[i].path for i in (0, 4, 5)
    ]
    for name, said in (
        ("x.png", r"left/x\.png or .*right/x\.png"), ("x", "more of its path"),
        ("0003", r"did you mean .*0001\.jpg"),
        ("0003.jpg", r"did you mean 0001\.jpg"),
        ("nothing like it", r"called like 0001\.jpg"), ("", "name is missing"),
        ("IMG7.heic", r"did you mean IMG_7\.heic"),
    ):  # fmt: skip
        with pytest.raises(NerfsceneError, match=said) as caught:
            named(name, views)
        assert "\n" not in str(caught.value)
    with pytest.raises(NerfsceneError, match="0009"):
        named_list("0001.jpg,0009.jpg", views)


def test_panoramas_are_named_whole_and_looked_from_along_the_way() -> None:
    level = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    views = []
    for i in range(4):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = level, [2.0 * i, 0, 1.5]
        for face in ("right", "front"):
            file = Path(f"/p/{i}-{face}.jpg")
            views.append(View(file, LENS, pose, panorama=Path(f"/p/{i}.jpg"), face=face))
    assert named("2.jpg", views).face == "front" and named("2-right", views).face == "right"
    poses = poses_of(through("0.jpg,1.jpg,3.jpg", views, 20, SIZE, UP))
    assert (poses[:, 0, 2] > 0.99).all() and np.ptp(poses[:, 0, 3]) == pytest.approx(6)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (RenderConfig(through="{0},{1}", path="orbit"), "leave out --path"),
        (RenderConfig(through="{0},{1}", path_transform=Path("a.json")), "--path-transform"),
        (RenderConfig(loop=True), "--loop is for --through"),
        (RenderConfig(path="orbit", loop=True), "--loop is for --through"),
        (RenderConfig(through="{0}"), "two photos"),
        (RenderConfig(through="{0},{0}"), "twice in a row"),
        (RenderConfig(through=""), "name is missing"),
        (RenderConfig(through="{0},nowhere.jpg"), "no posed photo"),
        (RenderConfig(look_at="nowhere.jpg"), "no posed photo"),
        (RenderConfig(look_at="1,2"), "three finite numbers"),
        (RenderConfig(look_at="1,2,inf"), "three finite numbers"),
    ],
)
def test_what_cannot_be_is_one_sentence(loaded: Scene, config: RenderConfig, said: str) -> None:
    names = [view.path.name for view in loaded.views]
    if config.through is not None:
        config = replace(config, through=config.through.format(*names))
    with pytest.raises(NerfsceneError, match=said) as caught:
        film_path(loaded, config)
    assert "\n" not in str(caught.value)


def test_films_look_at_the_subject_a_place_and_what_a_photo_shows(loaded: Scene) -> None:
    focus = subject_of(loaded.views, world_points(loaded), loaded.up).focus
    size = float(np.linalg.norm(loaded.views[0].world_from_cam[:3, 3] - focus))
    name = loaded.views[3].path.name
    across = ",".join(loaded.views[i].path.name for i in (0, 5, 9))
    place = focus + 0.1 * size * np.array([1.0, 0, 0])
    numbers = ",".join(f"{x:.6f}" for x in place)
    for look_at, target in (("subject", focus), (numbers, place), (name, None)):
        for config in (RenderConfig(path="orbit"), RenderConfig(through=across)):
            path, fps = film_path(loaded, replace(config, look_at=look_at, seconds=1.0, fps=12.0, width=64))
            poses = poses_of(path)
            assert len(poses) == 12 and fps == 12
            lines = [(pose[:3, 3], pose[:3, 2]) for pose in poses]
            if target is None:  # all axes meet on the photo's own
                pose = loaded.views[3].world_from_cam
                lines.append((pose[:3, 3], pose[:3, 2]))
                across_all = [np.eye(3) - np.outer(axis, axis) for _, axis in lines]
                right = sum(a @ p for a, (p, _) in zip(across_all, lines, strict=True))
                target = np.linalg.solve(sum(across_all), right)
            for position, axis in lines:
                off = target - position
                assert np.linalg.norm(off - (off @ axis) * axis) < 1e-4 * size, look_at
                assert off @ axis > 0


def test_a_path_through_its_own_target_is_refused() -> None:
    views = photos(np.linspace(0, 60, 4))
    path = through("0000,0003", views, 5, SIZE, UP)
    with pytest.raises(NerfsceneError, match="leads through the point"):
        looking_at(path, centre(views[0]), UP)


def test_a_wide_lens_is_as_wide_as_a_film_can_be() -> None:
    wide = Intrinsics(1000, 1000, 320.0, 320.0, 500.0, 500.0, lens="fisheye")
    views = [replace(v, intrinsics=wide) for v in photos(np.linspace(0, 60, 4))]
    path = through("0000,0002", views, 3, SIZE, UP)
    assert 2 * np.arctan(240 / path.cameras[0].intrinsics.fy) == pytest.approx(2.4)

"""The moves of a film crew: within what photos show, level, at constant speed, gently at open ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from path_cases import LENS, SUBJECT, UP, assert_rigid, poses_of, ring

from nerfscene.errors import NerfsceneError
from nerfscene.films.orbit import subject_of
from nerfscene.films.paths import look_at
from nerfscene.films.presets import PRESETS, preset
from nerfscene.types import Array, View

MOVES = ("dolly", "figure-eight", "turntable", "boom")


def dome(degrees: Array, rises: tuple[float, ...] = (0.3, 1.0, 2.0)) -> list[View]:
    """Rings of photos at several heights, the higher the narrower."""
    views = [v for i, rise in enumerate(rises) for v in ring(degrees, 3.4 - 0.4 * rise, rise, seed=i)]
    return [replace(v, path=Path(f"{i:03}.jpg")) for i, v in enumerate(views)]


def film(name: str, views: list[View], points: Array | None = None, n: int = 120) -> Array:
    poses = poses_of(preset(name, views, n, 640, 480, points))
    assert_rigid(poses)
    return poses


def looks_ahead(places: Array, ahead: Array) -> list[View]:
    poses = [look_at(p, p + d, UP) for p, d in zip(places, ahead, strict=True)]
    return [View(Path(f"{i:03}.jpg"), LENS, pose) for i, pose in enumerate(poses)]


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("degrees", [np.arange(0, 360, 15.0), np.linspace(-60, 60, 13)])
def test_moves_stay_where_photos_were_taken_level_and_on_the_subject(name: str, degrees: Array) -> None:
    views = dome(degrees)
    if name == "turntable" and np.ptp(degrees) < 300:
        with pytest.raises(NerfsceneError, match=r"120°.*choose orbit"):
            film(name, views)
        return
    poses, focus = film(name, views), subject_of(views).focus
    places = poses[:, :3, 3]
    toward = (focus - places) / np.linalg.norm(focus - places, axis=1)[:, None]
    np.testing.assert_allclose((toward * poses[:, :3, 2]).sum(1), 1, atol=1e-9)
    up = subject_of(views).up
    np.testing.assert_allclose(poses[:, :3, 0] @ up, 0, atol=1e-9)  # no roll
    assert (poses[:, :3, 1] @ up < 0).all()
    photos = np.stack([v.world_from_cam[:3, 3] for v in views])
    outward = (photos - focus) / np.linalg.norm(photos - focus, axis=1)[:, None]
    assert np.degrees(np.arccos((-toward @ outward.T).max(1))).max() < 20
    distances = np.linalg.norm(places - focus, axis=1)
    least = 0.5 if name == "dolly" else 0.95
    assert distances.min() > least * np.linalg.norm(photos - focus, axis=1).min()
    assert distances.max() < 1.02 * np.linalg.norm(photos - focus, axis=1).max()


@pytest.mark.parametrize("name", MOVES)
def test_moves_are_even_and_rest_or_close_at_the_ends(name: str) -> None:
    path = preset(name, dome(np.arange(0, 360, 15.0)), 240, 640, 480)
    places = poses_of(path)[:, :3, 3]
    if path.loop:
        steps = np.linalg.norm(np.roll(places, -1, 0) - places, axis=1)
        assert steps.max() < 1.02 * steps.min()
        change = np.roll(places, -1, 0) - 2 * places + np.roll(places, 1, 0)  # the acceleration, a frame²
        assert np.linalg.norm(change[[-1, 0, 1]], axis=1).max() < 1.5 * np.linalg.norm(change, axis=1).max()
        assert np.linalg.norm(change, axis=1).max() < 0.12 * steps.mean()
    else:
        steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
        middle = steps[60:180]
        assert middle.max() < 1.02 * middle.min()
        assert steps[[0, -1]].max() < 0.02 * middle.mean()
        assert np.abs(np.diff(steps)).max() < 0.06 * middle.mean()
    assert path.loop == (name in ("figure-eight", "turntable"))


def test_each_move_is_what_it_is_called() -> None:
    views = dome(np.arange(0, 360, 15.0))
    offsets = {name: film(name, views)[:, :3, 3] - SUBJECT for name in MOVES}
    turn = np.unwrap(np.arctan2(offsets["turntable"][:, 1], offsets["turntable"][:, 0]))
    assert abs(turn[-1] - turn[0]) == pytest.approx(2 * np.pi * 119 / 120, rel=0.01)
    assert np.ptp(offsets["turntable"][:, 2]) < 0.1  # level
    rises = np.diff(offsets["boom"][:, 2])
    assert (rises > 0).all() and 0.2 < offsets["boom"][0, 2] < 0.6 and 1.5 < offsets["boom"][-1, 2] < 2.1
    away = np.linalg.norm(offsets["dolly"], axis=1)
    assert (np.diff(away) < 0).all() and away[-1] < 0.7 * away[0]
    line = offsets["dolly"] / away[:, None]
    assert (line @ line[0] > 0.999).all()  # straight
    angles = np.arctan2(offsets["figure-eight"][:, 1], offsets["figure-eight"][:, 0])
    heights = offsets["figure-eight"][:, 2] - offsets["figure-eight"][0, 2]
    crossings = [np.sum(np.diff(np.sign(x[1:])) != 0) for x in (angles - angles[0], heights)]
    assert crossings[1] >= 3 > crossings[0]  # up and down twice for once from side to side


def test_a_boom_rises_a_little_above_photos_of_one_height() -> None:
    places = film("boom", ring(np.linspace(-40, 40, 11)))[:, :3, 3]
    assert 0.3 < np.ptp(places[:, 2]) < 0.7 and places[:, 2].min() > SUBJECT[2] + 0.9


def test_a_dolly_stops_before_what_is_in_its_way() -> None:
    views = dome(np.linspace(-50, 50, 12))
    free = film("dolly", views)
    focus = subject_of(views).focus
    far = np.linalg.norm(free[0, :3, 3] - focus)
    block = focus + (free[0, :3, 3] - focus) * 0.5 + 0.05 * np.random.default_rng(0).normal(size=(60, 3))
    shy = film("dolly", views, block)
    assert np.linalg.norm(shy[-1, :3, 3] - block, axis=1).min() > 0.15 * far
    near = focus + (free[0, :3, 3] - focus) * 0.85 + 0.02 * np.random.default_rng(0).normal(size=(60, 3))
    with pytest.raises(NerfsceneError, match="in the way"):
        film("dolly", views, near)


def test_on_a_walk_ahead_a_dolly_goes_the_way_that_was_walked() -> None:
    rng = np.random.default_rng(1)
    places = np.column_stack(
        [0.1 * rng.normal(size=24), np.linspace(0, 8, 24), 1.6 + 0.02 * rng.normal(size=24)]
    )
    views = looks_ahead(places, np.array([0, 1, 0]) + 0.1 * rng.normal(size=(24, 3)))
    poses = film("dolly", views)
    assert poses[0, 1, 3] < 1 and poses[-1, 1, 3] > 7 and (poses[:, 1, 2] > 0.98).all()
    for name in ("turntable", "boom"):
        with pytest.raises(NerfsceneError, match="choose"):
            film(name, views)
    eight = film("figure-eight", views)
    assert np.linalg.norm(eight[:, None, :3, 3] - places, axis=2).min(1).max() < 1.5


def test_in_a_room_moves_keep_to_places_of_photos() -> None:
    rng = np.random.default_rng(5)
    angles = rng.uniform(0, 2 * np.pi, 60)
    places = rng.uniform(-2, 2, (60, 3)) * [1, 0.6, 0.2]
    views = looks_ahead(places, np.column_stack([np.cos(angles), np.sin(angles), 0 * angles]))
    for name in ("dolly", "figure-eight", "boom"):
        found = film(name, views)[:, :3, 3]
        assert (np.abs(found) < np.abs(places).max(0) + 0.3).all(), name


def test_on_one_spot_moves_say_what_to_choose() -> None:
    angles = np.arange(0, 2 * np.pi, 0.4)
    views = looks_ahead(
        np.zeros((len(angles), 3)), np.column_stack([np.cos(angles), np.sin(angles), 0 * angles])
    )
    for name in PRESETS:
        if name in MOVES:
            with pytest.raises(NerfsceneError, match=r"choose.* orbit") as caught:
                film(name, views)
            assert "\n" not in str(caught.value)
        else:
            film(name, views)

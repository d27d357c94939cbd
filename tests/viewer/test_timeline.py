"""Keyframes in time, what they carry, and how paths come back from files; needs no page."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.filming import film_path
from nerfscene.films.paths import look_at
from nerfscene.films.tracks import Key, Tracks
from nerfscene.scene import folder as scenes
from nerfscene.scene.world import in_world
from nerfscene.viewer import film_limits, film_settings, key_values, keyframes, path_files, timeline
from nerfscene.viewer.film_settings import FilmSettings
from nerfscene.viewer.keyframes import EASINGS, Keyframe, LookAt, Plan

UP = np.array([0.0, 0.0, 1.0])
SIMILAR = np.array([[0, -2, 0, 3], [2, 0, 0, 1], [0, 0, 2, 0], [0, 0, 0, 1.0]])


def plan(n: int = 4, **settings: object) -> Plan:
    """Keyframes unevenly along an arc about the origin."""
    frames = []
    for i in range(n):
        a = 0.4 * i + 0.05 * i * i
        frames.append(Keyframe(look_at(np.array([2 * np.cos(a), 2 * np.sin(a), 1.0]), np.zeros(3), UP), 40.0))
    return replace(Plan(tuple(frames), width=64, height=48, fps=100, seconds=4.0), **settings)


@pytest.mark.parametrize("loop", (False, True))
@pytest.mark.parametrize("even", (False, True))
@pytest.mark.parametrize("easing", EASINGS)
def test_the_times_are_those_at_which_the_film_is_there(loop: bool, even: bool, easing: str) -> None:
    made = plan(5, loop=loop, constant_speed=even, easing=easing)
    made = replace(made, keyframes=tuple(replace(k, time=1.0 + i) for i, k in enumerate(made.keyframes)))
    times = timeline.times_of(made)
    assert len(times) == 5 + loop and times[0] == 0 and (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(4.0)
    path = keyframes.cameras(made, 4001)
    at = np.linspace(0, 4, 4001, endpoint=not loop)
    for k, time in zip(made.keyframes, times, strict=False):
        there = path.cameras[int(np.abs(at - time).argmin())].world_from_cam
        assert np.allclose(there[:3, 3], k.world_from_cam[:3, 3], atol=0.03)


@pytest.mark.parametrize("easing", EASINGS)
@pytest.mark.parametrize("loop", (False, True))
def test_a_keyframe_is_moved_in_time_and_the_others_stay(loop: bool, easing: str) -> None:
    made = plan(loop=loop, easing=easing, constant_speed=True)
    before = timeline.times_of(made)
    wanted = before.copy()
    wanted[1] = (before[1] + before[2]) / 2
    after = timeline.with_times(made, wanted)
    assert not after.constant_speed
    assert np.allclose(timeline.times_of(after), wanted, atol=2e-3)
    again = timeline.moved_in_time(after, 2, float(wanted[2]) + 0.1)
    assert np.allclose(timeline.times_of(again)[2] - wanted[2], 0.1, atol=2e-3)
    assert np.allclose(timeline.times_of(again)[[0, 1, 3]], wanted[[0, 1, 3]], atol=2e-3)
    assert timeline.moved_in_time(made, 0, 1.0) == made


def test_times_that_cross_or_go_beyond_are_put_in_order() -> None:
    made = timeline.with_times(plan(), np.array([3.0, 2.0, 9.0, 1.0]))
    times = timeline.times_of(made)
    assert times[0] == 0 and times[-1] == 4 and (np.diff(times) > 0.005).all()
    crowded = timeline.moved_in_time(plan(), 1, 400.0)
    times = timeline.times_of(crowded)
    assert (np.diff(times) > 0.005).all() and times[2] == pytest.approx(
        timeline.times_of(plan())[2], abs=2e-3
    )
    longer = timeline.moved_in_time(plan(tracks=Tracks(exposure=(Key(0.0, 0.0), Key(2.0, 1.0)))), 3, 8.0)
    assert longer.seconds == 8 and longer.tracks.exposure[1].time == pytest.approx(4.0)


def test_added_and_removed_keyframes_leave_the_others_in_time() -> None:
    made = plan()
    between = keyframes.added(made, made.keyframes[0], 1)
    times = timeline.times_of(between)
    assert np.allclose(times[[0, 1, 3, 4]], timeline.times_of(made))
    assert times[2] == pytest.approx((times[1] + times[3]) / 2)
    assert np.allclose(timeline.times_of(keyframes.removed(between, 2)), timeline.times_of(made))
    swapped = keyframes.moved(replace(made, keyframes=between.keyframes), 0, 3)
    assert np.allclose(timeline.times_of(swapped), times)
    assert len(timeline.times_of(plan(1))) == 1 and len(timeline.times_of(Plan())) == 0


def test_what_keyframes_carry_is_pulled_at_their_times() -> None:
    made = plan()
    made = key_values.with_value(made, 1, "exposure", -1.0)
    made = key_values.with_value(made, 3, "exposure", 1.0)
    made = key_values.with_value(made, 0, "focus", (0.0, 0.0, 0.5))
    made = key_values.with_value(made, 2, "roll", 20.0)
    tracks, times = keyframes.tracks_of(made), timeline.times_of(made)
    assert [key.value for key in tracks.exposure] == [-1.0, 1.0]
    assert np.allclose([key.time for key in tracks.exposure], times[[1, 3]])
    assert tracks.focus == (Key(0.0, (0.0, 0.0, 0.5)),) and [key.value for key in tracks.roll] == [
        0,
        0,
        20,
        0,
    ]
    later = timeline.moved_in_time(made, 1, float(times[1]) + 0.2)
    assert keyframes.tracks_of(later).exposure[0].time == pytest.approx(times[1] + 0.2, abs=2e-3)
    turned = keyframes.cameras(made).cameras[round(times[2] * 100)].world_from_cam
    assert np.degrees(np.arctan2(turned[2, 0], -turned[2, 1])) == pytest.approx(20, abs=0.5)


def test_a_track_is_taken_over_by_keyframes_once_one_is_changed() -> None:
    exposure = (Key(0.0, 0.0), Key(4.0, 2.0))
    made = plan(
        tracks=Tracks(exposure=exposure, focus=(Key(0.0, "subject"), Key(3.0, 1.5)), fov=(Key(0.0, 30.0),))
    )
    changed = key_values.with_value(made, 1, "exposure", 5.0)
    values = [k.exposure for k in changed.keyframes]
    assert values[1] == 5 and values[0] == 0 and values[3] == 2 and 0 < values[2] < 2  # type: ignore[operator]
    assert not changed.tracks.exposure and changed.tracks.focus == made.tracks.focus
    changed = key_values.with_value(made, 0, "focus", 2.5)
    assert [k.focus for k in changed.keyframes] == [2.5, "subject", "subject", 1.5]
    changed = key_values.with_value(made, 0, "fov", 50.0)
    assert [k.fov for k in changed.keyframes] == pytest.approx([50, 30, 30, 30]) and not changed.tracks.fov


def rich() -> Plan:
    """A path with all that the page can set."""
    made = key_values.with_value(plan(loop=True, easing="gentle"), 1, "exposure", -1.5)
    made = key_values.with_value(made, 2, "focus", (0.1, 0.2, 0.3))
    made = key_values.with_value(made, 3, "focus", 2.5)
    made = key_values.with_value(made, 1, "roll", 12.0)
    film = FilmSettings(
        ".webm", "vp9", "stereo180", 120.0, 3.0, 0.5, 2, 180.0, 2.8, "subject", 1.5, "transparent",
        False, True, "depth,normal", "png", True,
    )  # fmt: skip
    return replace(made, look_at=LookAt((0.0, 0.0, 0.1), (0.0, 0.0, 1.0)), film=film)


def same(a: Plan, b: Plan) -> None:
    for one, other in zip(a.keyframes, b.keyframes, strict=True):
        assert np.allclose(one.world_from_cam, other.world_from_cam)
        assert replace(one, world_from_cam=None) == replace(other, world_from_cam=None)  # type: ignore[arg-type]
    assert replace(a, keyframes=()) == replace(b, keyframes=())


def test_all_of_a_path_and_its_film_comes_back(tmp_path: Path) -> None:
    path_files.save(rich(), tmp_path / "camera_path.json")
    same(path_files.load(tmp_path / "camera_path.json"), rich())
    path_files.write_draft(rich(), tmp_path)
    back = path_files.read_draft(tmp_path)
    assert back is not None
    same(back, rich())
    empty = replace(rich(), keyframes=())
    path_files.write_draft(empty, tmp_path)  # settings alone are worth keeping
    assert path_files.read_draft(tmp_path) == empty
    for damaged in ({}, {"nerfscene": {"version": 2, "tracks": {}}}):
        (tmp_path / "path_draft.json").write_text(json.dumps(damaged))
        with pytest.raises(NerfsceneError, match=r"path_draft\.json can't be read .*; delete it"):
            path_files.read_draft(tmp_path)
    assert json.loads((tmp_path / "camera_path.json").read_text())["nerfscene"]["version"] == 2


@pytest.mark.parametrize("ending", [[], {}, 4, ".avi"])
def test_a_film_s_ending_must_be_one(tmp_path: Path, ending: object) -> None:
    file = tmp_path / "camera_path.json"
    path_files.save(rich(), file)
    data = json.loads(file.read_text())
    data["nerfscene"]["film"]["ending"] = ending
    file.write_text(json.dumps(data))
    with pytest.raises(NerfsceneError, match=r"its film has no ending that a film may have"):
        path_files.load(file)


def test_another_world_and_back() -> None:
    there = keyframes.transformed(rich(), SIMILAR)
    assert there.look_at is not None and there.look_at.point == pytest.approx((3.0, 1.0, 0.2))
    assert there.look_at.up == pytest.approx((0.0, 0.0, 1.0))
    assert there.keyframes[3].focus == pytest.approx(5.0)
    assert there.keyframes[2].focus == pytest.approx((2.6, 1.2, 0.6))
    assert (there.film.view_width, there.film.eye_distance) == pytest.approx((6.0, 1.0))
    back = keyframes.transformed(there, np.linalg.inv(SIMILAR))
    assert back.look_at is not None and np.allclose(back.look_at.point, (0, 0, 0.1))


def test_the_newer_of_draft_and_saved_path_counts(trained: Path, tmp_path: Path) -> None:
    scene = scenes.load(trained)
    assert path_files.kept(tmp_path, scene) is None
    path_files.save(plan(2), tmp_path / "camera_path.json")
    path_files.write_draft(plan(3), tmp_path)
    os.utime(tmp_path / "camera_path.json", (1000, 1000))
    kept = path_files.kept(tmp_path, scene)
    assert kept is not None and len(kept.keyframes) == 3
    os.utime(tmp_path / "path_draft.json", (500, 500))
    kept = path_files.kept(tmp_path, scene)
    assert kept is not None and len(kept.keyframes) == 2
    os.utime(tmp_path / "path_draft.json", (2000, 2000))
    kept = path_files.kept(tmp_path, scene, drafts=False)
    assert kept is not None and len(kept.keyframes) == 2


def test_looking_at_a_point_holds_in_the_page_and_in_the_file(trained: Path, tmp_path: Path) -> None:
    scene = in_world(scenes.load(trained), SIMILAR)
    made = replace(plan(), look_at=LookAt((0.2, 0.1, 0.0), (0.0, 0.0, 1.0)))
    file = tmp_path / "camera_path.json"
    path_files.save(made, file)
    path, _ = film_path(scene, RenderConfig(path=str(file)))
    for camera in (*keyframes.cameras(made).cameras[::50], *path.cameras[::50]):
        toward = np.array([0.2, 0.1, 0.0]) - camera.world_from_cam[:3, 3]
        assert np.allclose(camera.world_from_cam[:3, 2], toward / np.linalg.norm(toward), atol=1e-6)


def test_films_too_large_for_the_page_are_refused() -> None:
    film_limits.check_size(plan())
    hd = replace(plan(), width=1920, height=1080, fps=30.0, seconds=60.0)
    film_limits.check_size(hd)
    for film in (FilmSettings(".mov", "prores"), FilmSettings(frames=True), FilmSettings(passes="normal")):
        with pytest.raises(NerfsceneError, match=r"about \d+ GB, .* choose at most \d+ seconds"):
            film_limits.check_size(replace(hd, film=film))


def test_the_command_says_all_that_is_not_usual() -> None:
    film = FilmSettings(
        motion_blur=180.0, aperture=2.8, focus=(1.0, 2.0, -3.0), exposure=-1.0, passes="depth"
    )
    config = film_settings.config_of(film, Path("my scene/camera_path.json"), (640, 480))
    assert film_settings.command_of(config, film, "my scene") == (
        "nerfscene render 'my scene' -o film.mp4 --frames frames --path 'my scene/camera_path.json' "
        "--width 640 --height 480 --motion-blur 180 --aperture 2.8 --focus 1,2,-3 "
        "--exposure -1 --passes depth"
    )
    for ending, codec, background, said in (
        (".webm", "vp9", "auto", False), (".webm", "av1", "auto", True), (".mov", "prores", "auto", True),
        (".mov", "prores", "transparent", False), (".mkv", "h264", "auto", False),
    ):  # fmt: skip
        film = FilmSettings(ending, codec, background=background)
        config = film_settings.config_of(film, Path("p.json"), (640, 480))
        assert (f"--codec {codec}" in film_settings.command_of(config, film, "s")) == said
    film = FilmSettings(exposure=-1.0, aperture=2.8, focus=1.0)
    pulled = film_settings.without(film, Tracks(focus=(Key(0.0, 1.0),), exposure=(Key(0.0, 1.0),)))
    assert (pulled.focus, pulled.exposure, pulled.aperture) == (None, 0.0, 2.8)
    assert film_settings.in_page("give --look-at, or --fps 50") == "give look at, or fps 50"
    assert film_settings.in_page("name the film film.webm (VP9)") == "choose the file film.webm (VP9)"

"""What is pulled by key along a film: the curves between keys, loops, and other worlds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from path_cases import a_motion

from nerfscene.errors import NerfsceneError
from nerfscene.films.tracks import (
    Key,
    Tracks,
    as_json,
    eased,
    exposures_at,
    f_numbers_at,
    focals_at,
    frame_times,
    numbers_at,
    rolled,
    rolls_at,
    round_of,
    stretched,
    transformed,
)
from nerfscene.types import Array

fine = np.linspace(0, 8, 8001)


def keys(*pairs: tuple[float, float]) -> tuple[Key, ...]:
    return tuple(Key(time, value) for time, value in pairs)


@pytest.mark.parametrize("loop", [False, True])
def test_values_go_through_their_keys_and_never_beyond(loop: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        at = np.sort(rng.choice(np.arange(0, 80), 6, replace=False)) / 10
        values = rng.normal(size=6).round(1)
        made = keys(*zip(at.tolist(), values.tolist(), strict=True))
        curve = exposures_at(made, fine, 8.0, loop)
        assert np.abs(exposures_at(made, at, 8.0, loop) - values).max() < 1e-9
        for i in range(5):
            piece = curve[(fine >= at[i]) & (fine <= at[i + 1])]
            low, high = sorted(values[i : i + 2])
            assert low - 1e-9 <= piece.min() and piece.max() <= high + 1e-9
            assert (np.diff(piece) * np.sign(values[i + 1] - values[i]) >= -1e-9).all(), "one way only"
        if not loop:
            assert (curve[fine <= at[0]] == values[0]).all() and (curve[fine >= at[-1]] == values[-1]).all()


def speed(curve: Array) -> Array:
    return np.diff(curve) / (fine[1] - fine[0])


def test_pulls_begin_and_end_at_rest_and_are_smooth() -> None:
    curve = exposures_at(keys((1, 0), (4, -1), (7, -3)), fine, 8.0, False)
    moves = speed(curve)
    for time in (1, 7):
        assert abs(moves[int(time * 1000)]) < 2e-3
    assert moves[4000] < -0.3, "it doesn't stop at a key on its way"
    assert np.abs(np.diff(moves)).max() < 3e-3, "and has no corner"


def test_a_loop_closes_without_a_jolt() -> None:
    for made, whole in (
        (keys((0, 0), (4, -1)), 0.0),
        (keys((1, 2), (3, 0), (6, 1)), 0.0),
        (keys((0, 0), (2, 1), (6, -1), (8, 0)), 0.0),
        (keys((0, 0), (3, 120), (8, 360)), 360.0),
    ):
        curve = numbers_at(made, fine, 8.0, True, whole)
        moves = speed(curve)
        assert (curve[-1] - curve[0]) % 360 == pytest.approx(0, abs=1e-9)
        assert moves[-1] == pytest.approx(moves[0], abs=0.05 * max(np.abs(moves).max(), 1))
    assert speed(numbers_at(keys((0, 0), (2, 1), (6, -1), (8, 0)), fine, 8.0, True))[0] > 0.3, "nor a stop"


def test_a_loop_with_other_values_at_its_ends_has_them() -> None:
    made = keys((0, 60), (8, 35))
    assert round_of(made, 8.0, True) is None
    curve = numbers_at(made, fine, 8.0, True)
    assert (curve[0], curve[-1]) == (60, 35) and (np.diff(curve) <= 1e-9).all()


def test_one_key_holds_all_the_time() -> None:
    for loop in (False, True):
        assert (exposures_at(keys((3, -1.5)), fine, 8.0, loop) == -1.5).all()
    assert (exposures_at((), fine, 8.0, False) == 0).all() and (rolls_at((), fine, 8.0, True) == 0).all()


def test_each_changes_as_it_is_felt() -> None:
    """Half way in time is half way in stops, and in the logarithm of the focal length."""
    half = np.array([4.0])
    assert f_numbers_at(keys((0, 2), (8, 8)), half, 8.0, False) == pytest.approx(4)
    wide, narrow = 0.5 / np.tan(np.radians(30)), 0.5 / np.tan(np.radians(10))
    found = focals_at(keys((0, 60), (8, 20)), half, 8.0, False, "perspective")
    assert found == pytest.approx(np.sqrt(wide * narrow))
    assert focals_at(keys((0, 180), (8, 90)), half, 8.0, False, "fisheye") == pytest.approx(
        np.sqrt(2) / np.pi
    )
    assert rolls_at(keys((0, -10), (8, 20)), half, 8.0, False) == pytest.approx(5)


def test_keys_whose_values_change_in_time_are_followed() -> None:
    """As a focus that is held on what comes nearer, and then pulled to what stands still."""
    times = np.linspace(0, 8, 81)
    nearer, still = 5 - 0.5 * times, np.full(81, 9.0)
    made = keys((0, 0), (3, 0), (5, 1), (8, 1))
    curve = eased(made, np.stack([nearer, nearer, still, still]), times, None)
    assert np.allclose(curve[times <= 3], nearer[times <= 3])
    assert np.allclose(curve[times >= 5], 9)
    often = np.repeat(times, 30)
    many = [np.repeat(values, 30) for values in (nearer, nearer, still, still)]
    assert np.allclose(eased(made, np.stack(many), often, None), np.repeat(curve, 30))
    between = curve[(times > 3) & (times < 5)]
    assert (np.diff(between) > 0).all() and between.min() > 3 and between.max() < 9


def test_frames_lie_evenly_from_the_beginning_to_the_end() -> None:
    assert np.allclose(frame_times(5, 2.0, False), [0, 0.5, 1, 1.5, 2])
    assert np.allclose(frame_times(4, 2.0, True), [0, 0.5, 1, 1.5])
    assert np.array_equal(frame_times(1, 2.0, False), [0.0])


def test_tracks_in_another_world_and_another_time() -> None:
    turned = a_motion()
    turned[:3, :3] *= 2.0
    focus = (Key(0.0, 1.5), Key(1.0, (1.0, 2.0, 3.0)), Key(2.0, "subject"), Key(3.0, "0001.jpg"))
    tracks = Tracks(focus=focus, exposure=keys((0, 0), (4, -1)))
    moved = transformed(tracks, turned)
    assert moved.focus[0].value == pytest.approx(3.0)
    assert moved.focus[1].value == pytest.approx((turned @ [1, 2, 3, 1])[:3])
    assert moved.focus[2:] == focus[2:] and moved.exposure == tracks.exposure
    longer = stretched(tracks, 2.5)
    assert [key.time for key in longer.focus] == [0, 2.5, 5, 7.5] and longer.exposure[1] == Key(10.0, -1)
    assert as_json(replace(tracks, focus=focus[1:3])) == {
        "focus": [{"time": 1.0, "value": [1.0, 2.0, 3.0]}, {"time": 2.0, "value": "subject"}],
        "exposure": [{"time": 0, "value": 0}, {"time": 4, "value": -1}],
    }
    assert tracks and not Tracks()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"roll": keys((1, 0), (1, 2))}, r"key 2 of the roll must have a time after the key before it"),
        ({"roll": keys((-1, 0))}, "from 0 seconds on, not -1 s"),
        ({"exposure": keys((0, 11))}, "key 1 of the exposure must be -10 to 10 stops, not 11"),
        ({"aperture": keys((0, float("nan")))}, "must be an f-number"),
        ({"fov": (Key(0, "wide"),)}, "key 1 of the fov must be a number, not 'wide'"),
        ({"focus": keys((0, 0))}, "must be a distance above 0, not 0"),
        ({"focus": (Key(0, (1, 2, float("inf"))),)}, "three finite numbers"),
    ],
)
def test_keys_that_cannot_be_are_told(made: dict[str, Any], said: str) -> None:
    with pytest.raises(NerfsceneError, match=said):
        Tracks(**made)
    with pytest.raises(TypeError, match="key 1 of the roll must be a Key"):
        Tracks(roll=((0.0, 5.0),))  # type: ignore[arg-type]


def test_a_picture_rolls_clockwise() -> None:
    """What is above the middle comes to the right."""
    pose = rolled(np.eye(4), 90)
    above = np.array([0.0, -1.0, 5.0])
    x, y, z = np.linalg.inv(pose)[:3, :3] @ above
    assert (x, y, z) == pytest.approx((1, 0, 5))

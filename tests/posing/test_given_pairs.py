"""Which pairs of photos are matched when their cameras are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from nerfscene.films.paths import look_at
from nerfscene.formats.readers import find_posed
from nerfscene.posing.given_pairs import RANKS, pairs_of_given
from nerfscene.posing.pairs import ALL_UP_TO, groups
from nerfscene.types import Array, Intrinsics, View

DEMO = Path(__file__).parents[2] / "data/demo"
UP = np.array([0.0, 0.0, 1.0])


def view(centre: Array, target: Array) -> View:
    k = Intrinsics(640, 480, 500.0, 500.0, 320.0, 240.0)
    return View(Path("a.jpg"), k, look_at(np.asarray(centre, float), np.asarray(target, float), UP))


def ring(count: int, inwards: bool = True) -> list[View]:
    """Photos from a circle, of its middle or outwards."""
    places = [np.array([np.cos(a), np.sin(a), 0.0]) for a in 2 * np.pi * np.arange(count) / count]
    return [view(p, np.zeros(3) if inwards else 2 * p) for p in places]


def test_few_photos_are_all_matched() -> None:
    pairs = pairs_of_given(ring(ALL_UP_TO), range(ALL_UP_TO))
    assert len(pairs) == len(set(pairs)) == ALL_UP_TO * (ALL_UP_TO - 1) // 2


def test_neighbours_are_matched_and_photos_that_look_elsewhere_are_not() -> None:
    count = 60
    for views in (ring(count), ring(count, inwards=False)):
        pairs = pairs_of_given(views, range(count))
        assert pairs == sorted(set(pairs)) and all(a < b for a, b in pairs)
        assert {(a, a + 1) for a in range(count - 1)} | {(0, count - 1)} <= set(pairs)  # closes the ring
        steps = [min(b - a, count - b + a) for a, b in pairs]
        assert max(steps) <= count / 6, "60°"
        assert max(steps) > 5, "some partners are farther away, for the sake of distances"


def test_time_grows_with_the_number_of_photos() -> None:
    for count in (50, 100, 300):
        assert len(pairs_of_given(ring(count), range(count))) <= count * len(RANKS)


def test_a_photo_that_alone_looks_its_way_is_matched_with_its_neighbours_by_name() -> None:
    views = [*ring(40), view(np.zeros(3), np.array([0.01, 0.0, 1.0]))]
    assert [pair for pair in pairs_of_given(views, range(41)) if 40 in pair] == [(38, 40), (39, 40)]


def test_views_of_one_shot_are_no_pair() -> None:
    views = [replace(v) for v in ring(40) for _ in range(2)]
    shots = [i // 2 for i in range(80)]
    pairs = pairs_of_given(views, shots)
    assert pairs and all(shots[a] != shots[b] for a, b in pairs)


def test_the_demo_stays_in_one_piece() -> None:
    posed = find_posed(DEMO)
    assert posed is not None
    pairs = pairs_of_given(posed.views, range(len(posed.views)))
    assert len(groups(len(posed.views), pairs)) == 1
    assert len(pairs) < 7 * len(posed.views)

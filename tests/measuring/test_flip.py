"""FLIP: against its authors' own program, on pictures that differ in known ways, and where it is told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from nerfscene.measuring.flip import PIXELS_PER_DEGREE, flip, flip_map


def picture(seed: int = 0, height: int = 60, width: int = 80) -> np.ndarray:
    """Something with edges, points, colours and smooth parts."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 20
    smooth = 0.5 + 0.4 * np.sin(np.stack([x + y, 2 * x - y, x - 3 * y], -1) + rng.uniform(0, 6, 3))
    boxes = np.repeat(np.repeat(rng.random((6, 8, 3)), 10, 0), 10, 1)[:height, :width]
    made = np.where((x + y < 3)[..., None], smooth, boxes)
    made[rng.random((height, width)) < 0.02] = rng.random(3)
    return made.astype(np.float32)


DISTORTIONS = {
    "noise": lambda a: np.clip(a + np.random.default_rng(1).normal(0, 0.1, a.shape), 0, 1),
    "blur": lambda a: gaussian_filter(a, (2, 2, 0)),
    "dark": lambda a: 0.5 * a,
    "moved": lambda a: shift(a, (0, 1.5, 0), order=1, mode="nearest"),
    "tinted": lambda a: a * np.array([1.1, 1.0, 0.8], np.float32),
    "another": lambda a: picture(7),
}


@pytest.mark.parametrize("pixels_per_degree", (PIXELS_PER_DEGREE, 25.0))
@pytest.mark.parametrize("name", DISTORTIONS)
def test_it_is_what_its_authors_program_says(name: str, pixels_per_degree: float) -> None:
    theirs = pytest.importorskip("flip_evaluator", reason="flip-evaluator is not for this machine")
    photo = picture()
    other = DISTORTIONS[name](photo).astype(np.float32)
    found, mean, _ = theirs.evaluate(
        photo, other, "LDR", applyMagma=False, parameters={"ppd": pixels_per_degree}
    )
    ours = flip_map(photo, other, pixels_per_degree)
    assert np.abs(ours - np.asarray(found).reshape(ours.shape)).max() < 5e-4
    assert flip(photo, other, pixels_per_degree) == pytest.approx(mean, abs=1e-4)


# What flip-evaluator 1.7 says of the same pairs, for machines that it isn't for.
@pytest.mark.parametrize(("name", "known"), (("noise", 0.1914), ("blur", 0.2637), ("dark", 0.8925)))
def test_it_is_what_their_program_said(name: str, known: float) -> None:
    assert flip(picture(), DISTORTIONS[name](picture()).astype(np.float32)) == pytest.approx(known, abs=2e-4)


def test_alike_is_0_and_as_unlike_as_can_be_is_1() -> None:
    photo = picture()
    assert flip(photo, photo) == 0
    green, blue = (np.broadcast_to(np.array(c, np.float32), (40, 50, 3)) for c in ((0, 1, 0), (0, 0, 1)))
    assert flip(green, blue) == pytest.approx(1, abs=1e-4)


def test_more_of_a_distortion_is_worse_and_either_picture_may_come_first() -> None:
    photo = picture()
    noise = np.random.default_rng(2).normal(0, 1, photo.shape).astype(np.float32)
    for worse in (
        [np.clip(photo + s * noise, 0, 1) for s in (0.01, 0.05, 0.2)],
        [gaussian_filter(photo, (s, s, 0)) for s in (0.5, 1.5, 4)],
        [photo * np.float32(s) for s in (0.95, 0.8, 0.4)],
    ):
        found = [flip(photo, other) for other in worse]
        assert 0 < found[0] < found[1] < found[2] < 1
        assert flip(worse[1], photo) == pytest.approx(found[1], abs=1e-6)


def test_what_is_too_fine_to_be_seen_counts_for_less_from_afar() -> None:
    photo = np.full((60, 60, 3), 0.5, np.float32)
    chequered = photo + np.float32(0.1) * ((np.indices((60, 60)).sum(0) % 2)[..., None] * 2 - 1)
    assert flip(photo, chequered.astype(np.float32), 90.0) < 0.5 * flip(
        photo, chequered.astype(np.float32), 15.0
    )


def test_an_edge_that_moved_shows_where_it_is() -> None:
    photo = np.zeros((50, 60, 3), np.float32)
    photo[:, 30:] = 1
    other = np.roll(photo, 2, 1)
    other[:, :2] = 0
    found = flip_map(photo, other)
    assert found[:, 30:32].min() > 0.5 and found[:, :10].max() < 0.01 and found[:, 50:].max() < 0.01


@pytest.mark.parametrize("bad", ((40, 40), (40, 40, 4), (40, 41, 3)))
def test_wrong_pictures_are_refused(bad: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pictures must both be"):
        flip(np.zeros((40, 40, 3), np.float32), np.zeros(bad, np.float32))
    odd = np.full((40, 40, 3), np.nan, np.float32)
    with pytest.raises(ValueError, match="finite"):
        flip(odd, odd)

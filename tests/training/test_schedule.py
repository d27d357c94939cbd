"""How long a training lasts: seconds, steps, or as often as each pixel of the photos is to be seen."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import analytic
import pytest

from nerfscene import api
from nerfscene.config import TrainConfig
from nerfscene.training import schedule

BEST = TrainConfig(quality="best", holdout=0, threads=1)


def test_the_best_ends_by_how_often_pixels_were_seen() -> None:
    pixels = 1_000_000
    assert schedule.rays_wanted(BEST, pixels) == schedule.PASSES["best"] * pixels
    assert schedule.rays_wanted(BEST, 2 * pixels) == 2 * schedule.rays_wanted(BEST, pixels)
    limit, steps = schedule.budget(BEST)
    assert steps is None and limit > schedule.budget(TrainConfig(quality="20min"))[0]
    for other in (replace(BEST, time=9.0), replace(BEST, steps=9), TrainConfig(quality="20min")):
        assert schedule.rays_wanted(other, pixels) == math.inf  # what was asked for is what counts
    assert schedule.budget(replace(BEST, time=9.0)) == (9.0, None)
    assert schedule.budget(replace(BEST, steps=9))[1] == 9


def test_a_training_of_the_best_quality(
    small_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "PASSES", {"best": 2.5})
    scene = api.train(small_room, tmp_path / "scene", BEST, analytic.SMALL)
    pixels = sum(v.intrinsics.width * v.intrinsics.height for v in scene.views)
    figures = scene.figures
    assert figures.finished and figures.rays >= 2.5 * pixels
    fractions = [entry["fraction"] for entry in figures.history]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0

    again = api.train(small_room, tmp_path / "scene", BEST, analytic.SMALL, resume=True)
    assert again.figures.steps == figures.steps  # it is done

    monkeypatch.setattr(schedule, "PASSES", {"best": 3 * figures.rays / pixels})
    more = api.train(small_room, tmp_path / "scene", BEST, analytic.SMALL, resume=True).figures
    assert more.finished and more.rays >= 3 * figures.rays and more.steps > figures.steps
    assert more.history[: len(fractions)] == figures.history and more.history[-1]["step"] == more.steps
    assert len(more.history) > len(fractions) + 2 and more.history[-1]["fraction"] == 1.0

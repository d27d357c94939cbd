"""A few kills of what ``make torture`` kills more often; see tests/support/torture.py for what is checked."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torture


def test_killed_training_goes_on(tmp_path: Path) -> None:
    assert torture.training(tmp_path, 2, random.Random(1), window=3.0).kills == 2


def test_killed_films_keep_their_frames(trained: Path, tmp_path: Path) -> None:
    assert torture.frames(tmp_path, trained, 2, random.Random(1)).kills == 2


@pytest.mark.long
@pytest.mark.parametrize("name", ["frames", "panoramas"])
def test_killed_work_is_whole_or_not_there(tmp_path: Path, name: str) -> None:
    if name == "frames":
        source, words = torture.demo_video(tmp_path / "walk.mp4"), "the frames of the video"
    else:
        source, words = torture.posed_panoramas(tmp_path / "panoramas"), "the views cut from panoramas"
    options = ("--frames", "12") if name == "frames" else ()
    assert torture.stage(tmp_path, source, name, words, options, 1, random.Random(1)).kills == 1

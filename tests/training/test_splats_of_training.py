"""``train`` with splats: fitted at the end, or to a scene trained before; gone once it is trained on."""

from __future__ import annotations

from pathlib import Path

import analytic
import pytest

from nerfscene import api
from nerfscene.config import TrainConfig
from nerfscene.scene import folder as scenes
from nerfscene.training.progress import Progress


def test_training_leaves_splats_and_training_further_takes_them(small_room: Path, tmp_path: Path) -> None:
    place, said = tmp_path / "scene", list[str]()
    short, longer = (TrainConfig(steps=n, threads=1, backend="cpu") for n in (40, 50))
    api.train(small_room, place, short, analytic.SMALL, warn=said.append)
    assert scenes.load(place).splats is None
    made = api.train(small_room, place, short, analytic.SMALL, splats=0.2, warn=said.append)
    assert made.splats is not None and scenes.load(place).figures.splats == made.figures.splats
    assert [line for line in said if "only its splats are left to fit" in line]
    said.clear()
    same = api.train(small_room, place, short, analytic.SMALL, resume=True, warn=said.append)
    assert same.splats is not None and scenes.load(place).figures.splats == made.figures.splats
    assert not [line for line in said if "splats" in line]  # it made no step
    api.train(small_room, place, longer, analytic.SMALL, resume=True, warn=said.append)
    assert scenes.load(place).splats is None
    assert [line for line in said if "splats" in line and "--splats fits others" in line]


def test_ctrl_c_before_the_fit_says_what_is_missing(small_room: Path, tmp_path: Path) -> None:
    place = tmp_path / "scene"
    config = TrainConfig(steps=4, threads=1, backend="cpu")

    def pressed(progress: Progress) -> None:
        if progress.stage == "looking at the scene":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="its splats are not fitted"):
        api.train(small_room, place, config, analytic.SMALL, splats=1.0, listener=pressed)
    assert scenes.load(place).figures.finished and scenes.load(place).splats is None

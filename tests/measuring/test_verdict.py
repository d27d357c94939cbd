"""What the report says of a scene: the figures of real trainings, beside what eyes saw on their sheets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nerfscene.measuring.advice import verdict
from nerfscene.measuring.report import page
from nerfscene.measuring.verdict import GOOD_ENOUGH, LOOKS, Facts, judged, looks_of
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Figures

# psnr, psnr_matched, flip, trained, passes, photos, misplaced; then the look that eyes saw, as the first word
# of LOOKS, and a word of the reason. All from trainings of this program, most of them short.
TRAININGS = {
    "demo, 4,000 steps": ((28.10, 28.10, 0.119, 29.52, 0.85, 60, 0.0006), "clear", ""),
    "fox, 5,800 steps": ((31.61, 31.59, 0.106, 33.47, 4.36, 50, 0.0004), "clear", ""),
    "figure on a bench, 800 steps": ((27.83, 27.83, 0.102, 28.95, 0.3, 15, 0.0006), "clear", ""),
    "a box in an office, 700 steps": ((24.92, 24.91, 0.165, 24.8, 0.05, 64, 0.0008), "good", "still getting"),
    "fox, 12 photos, 700 steps": ((25.99, 26.03, 0.177, 28.6, 0.33, 21, 0.0007), "good", "guessed"),
    "demo, 0 to -1.5 stops": ((26.03, 26.24, 0.166, 26.83, 0.05, 60, 0.0006), "good", "still getting"),
    "fox, 112 steps": ((24.60, 24.59, 0.215, 25.09, 0.06, 50, 0.0008), "soft", "still getting"),
    "a fern, 600 steps": ((21.68, 21.68, 0.197, 22.10, 0.3, 20, 0.0008), "soft", "still getting"),
    "a tree, 1,500 steps": ((19.27, 20.12, 0.309, 21.92, 0.71, 23, 0.0006), "soft", "still getting"),
    "demo, 12 photos, 700 steps": ((22.11, 22.09, 0.235, 25.1, 0.23, 24, 0.0003), "soft", "guessed"),
    "a castle, 10 photos": ((20.02, 20.00, 0.293, 22.4, 0.42, 11, 0.0004), "soft", "guessed"),
    "a frog, 10 photos": ((19.56, 19.58, 0.268, 23.8, 0.30, 11, 0.0006), "soft", "guessed"),
    "a toy, 8 photos": ((20.97, 21.22, 0.293, 27.2, 0.44, 9, 0.0006), "soft", "guessed"),
    "demo, cameras off by 1.2°": ((18.66, 18.65, 0.352, 18.92, 0.05, 60, 0.0018), "rough", "where they were"),
}


def facts(row: tuple[float, ...]) -> Facts:
    psnr, matched, flip, trained, passes, photos, misplaced = row
    return Facts(
        psnr=psnr,
        psnr_matched=matched,
        flip=flip,
        trained=trained,
        passes=passes,
        photos=int(photos),
        posed=int(photos),
        misplaced=misplaced,
        agreement=0.97,
    )


@pytest.mark.parametrize("name", TRAININGS)
def test_it_says_what_eyes_see_and_why(name: str) -> None:
    row, seen, why = TRAININGS[name]
    said = judged(facts(row))
    assert said.looks.startswith(seen), said.looks
    assert why in said.reason and bool(said.reason) == bool(why) == bool(said.then)
    assert str(said).count(". ") <= 4 and len(str(said)) < 300


def test_each_reason_has_its_own_next_thing() -> None:
    good = Facts(27.0, 27.0, 0.15, 0.15, 28.0, 5.0, 40, 40, 0.0005, 0.97, 0.0)
    for changes, reason, then in (
        (dict(trained=30.0), "guessed", "Take more photos: 80 instead of 40"),
        (dict(misplaced=0.002), "Photos don't agree", "from the photos alone"),
        (dict(agreement=0.7), "Photos don't agree", "closer to each other"),
        (dict(posed=25), "15 of 40 photos", "in between"),
        (dict(passes=0.5), "still getting better", "--quality"),
        (dict(), "moved, or photos are blurred", "hold still"),
        (dict(psnr=24.0, stops=1.2), "differ in brightness", "Lock the exposure"),
        (dict(psnr=24.0), "cameras are a little off", ""),
    ):
        said = judged(replace(good, **changes))  # type: ignore[arg-type]
        assert reason in said.reason and then in said.then and bool(then) == bool(said.then), changes
    assert "rough" not in judged(replace(good, psnr=19.0, stops=2.0)).looks


def test_a_photo_s_own_brightness_changes_the_figures_and_not_the_looks() -> None:
    dark = Facts(14.0, 29.0, 0.55, 0.11, 30.0, 3.0, 40, 40, 0.0005, 0.97, 1.5)
    said = judged(dark)
    assert said.looks == "clear" and "not the looks: 29.0 dB instead of 14.0" in said.reason


def test_flip_decides_and_psnr_where_there_is_none() -> None:
    for number, (bound, _) in enumerate(LOOKS[:-1]):
        assert looks_of(25.0, bound - 0.001) == number and looks_of(25.0, bound) == number + 1
    found = [looks_of(p, None) for p in (40, 32, 29, 25, 21, 12, -np.inf)]
    assert found == sorted(found) and found[0] == 0 and found[-1] == len(LOOKS) - 1
    assert judged(Facts(19.5)).looks.startswith("soft") and looks_of(29, None) < GOOD_ENOUGH


def test_the_report_has_it_from_the_scene(trained: Path) -> None:
    scene = scenes.load(trained)
    said = verdict(scene)
    assert said is not None and said.looks in page(scene, "x")
    older = replace(scene, figures=replace(scene.figures, flip=None, flip_matched=None))
    assert verdict(older) is not None and "FLIP" not in page(older, "x") and "FLIP" in page(scene, "x")
    assert verdict(replace(scene, figures=Figures(photos=3))) is None

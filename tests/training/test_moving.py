"""What moved between the photos is found by errors that others don't have, and left out of training."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import analytic
import numpy as np
import pytest
from PIL import Image

from nerfscene import api
from nerfscene.config import TrainConfig
from nerfscene.measuring.moved_section import moved_section
from nerfscene.scene import folder as scenes
from nerfscene.scene.checks import FIGURES
from nerfscene.scene.folder import Figures
from nerfscene.scene.scene import moved_in_words
from nerfscene.training import moving
from nerfscene.training.moving import Cells, leave_out, mean_errors, moved_parts, new_cells, widened
from nerfscene.types import View

WIDTH, HEIGHT = 320, 240
ENOUGH = 20


def views(n: int = 6) -> list[View]:
    k = analytic.intrinsics(WIDTH, HEIGHT)
    return [View(Path(f"{i}.jpg"), k, pose) for i, pose in enumerate(analytic.ring(n, turn=1.0))]


def filled(photos: list[View], noise: float = 0.02) -> Cells:
    """Cells whose errors are noise around 0."""
    cells = new_cells(photos)
    rng = np.random.default_rng(0)
    cells.numbers[:, :3] = ENOUGH * rng.normal(0, noise, (len(cells.numbers), 3))
    cells.numbers[:, 3] = ENOUGH
    return cells


def add(cells: Cells, photo: int, rows: slice, columns: slice, error: float = 0.3) -> None:
    cells.of(photo)[rows, columns, :3] += ENOUGH * error


def look(cells: Cells, photos: list[View], distance: float = 2.4) -> int:
    """Everything is ``distance`` away, in a scene whose coordinates are the world's."""
    poses = np.stack([v.world_from_cam for v in photos])
    return leave_out(cells, photos, poses, lambda i: np.full(cells.of(i).shape[:2], distance))


def test_a_photo_has_cells_of_whole_pixels_that_cover_it() -> None:
    small = replace(analytic.intrinsics(33, 50))
    photos = [*views(2), replace(views(1)[0], intrinsics=small)]
    cells = new_cells(photos)
    assert cells.side == 8
    assert [cells.of(i).shape for i in range(3)] == [(30, 40, 5), (30, 40, 5), (7, 5, 5)]
    assert len(cells.numbers) == 2 * 1200 + 35


def test_cells_of_many_photos_are_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "MOST_CELLS", 1000)
    assert len(new_cells(views(6)).numbers) <= 1000


def test_what_one_photo_alone_shows_is_left_out() -> None:
    photos = views()
    cells = filled(photos)
    add(cells, 2, np.s_[8:16], np.s_[10:15])
    assert look(cells, photos) > 0
    flags = [cells.of(i)[..., 4] > 0 for i in range(len(photos))]
    assert flags[2][8:16, 10:15].all()
    assert flags[2].sum() <= (8 + 4) * (5 + 4)  # with those around
    assert not any(flags[i].any() for i in range(len(photos)) if i != 2)
    assert not cells.numbers[:, :4].any()


def test_what_is_wrong_in_all_photos_stays() -> None:
    photos = views()
    cells = filled(photos)
    for i, view in enumerate(photos):  # what is near the middle of the ring, at a camera's distance from it
        row, column = np.indices(cells.of(i).shape[:2]) + 0.5
        k, pose = view.intrinsics, view.world_from_cam
        x, y = (column * cells.side - k.cx) / k.fx, (row * cells.side - k.cy) / k.fy
        toward = np.stack([x, y, np.ones_like(x)], -1)
        at = pose[:3, 3] + 2.4 * toward / np.linalg.norm(toward, axis=-1, keepdims=True) @ pose[:3, :3].T
        cells.of(i)[np.linalg.norm(at, axis=-1) < 0.4, :3] += ENOUGH * 0.3
    assert look(cells, photos) == 0


def test_errors_that_cancel_out_are_missing_detail_and_stay() -> None:
    photos = views()
    cells = filled(photos)
    chequered = np.where(np.indices((10, 10)).sum(0) % 2, 0.3, -0.3)[..., None]
    cells.of(1)[5:15, 5:15, :3] += ENOUGH * chequered
    assert look(cells, photos) == 0


def test_another_exposure_is_no_movement() -> None:
    photos = views()
    cells = filled(photos)
    add(cells, 3, np.s_[:], np.s_[:])
    assert look(cells, photos) == 0


def test_a_photo_that_is_wrong_as_a_whole_is_no_movement() -> None:
    photos = views()
    cells = filled(photos)
    halves = np.where(np.arange(40) < 20, 0.3, -0.3)[:, None]
    cells.of(3)[..., :3] += ENOUGH * halves
    assert look(cells, photos) == 0


def test_what_no_other_photo_shows_stays() -> None:
    photos = views()
    away = [v if i == 2 else replace(v, world_from_cam=analytic.look((0, 0, 9), (0, 0.1, 20))) for i, v in
            enumerate(photos)]  # fmt: skip
    cells = filled(away)
    add(cells, 2, np.s_[8:16], np.s_[10:15])
    assert look(cells, away) == 0


def test_what_was_left_out_counts_again_when_it_fits() -> None:
    photos = views()
    cells = filled(photos)
    add(cells, 2, np.s_[8:16], np.s_[10:15])
    look(cells, photos)
    again = filled(photos)
    again.numbers[:, 4] = cells.numbers[:, 4]
    add(again, 2, np.s_[8:16], np.s_[10:15], error=0.1)
    assert look(again, photos) > 0  # still clearly off: it stays out
    again.numbers[:, :4] = filled(photos).numbers[:, :4]
    assert look(again, photos) == 0


def test_photos_without_errors_yet_are_no_trouble() -> None:
    photos = views(3)
    assert look(new_cells(photos), photos) == 0
    assert not mean_errors(np.zeros((4, 5, 5), np.float32)).any()


def test_few_cells_together_are_an_accident() -> None:
    suspect = np.zeros((12, 12), bool)
    suspect[1, 1:9] = suspect[5:8, 5:8] = True
    wide = widened(suspect)
    assert wide.sum() == 25 and wide[4:9, 4:9].all()


def test_parts_left_out_are_told() -> None:
    photos = views(3)
    cells = new_cells(photos)
    cells.of(1)[6:12, 10:20, 4] = 1
    cells.of(1)[28:30, 38:40, 4] = 1
    cells.of(2)[0, 0, 4] = 1  # too little to tell
    parts = moved_parts(cells, photos)
    assert [p["photo"] for p in parts] == ["1.jpg"]
    assert parts[0]["share"] == pytest.approx((60 + 4) / 1200, abs=1e-4)
    assert parts[0]["boxes"] == [[0.25, 0.2, 0.5, 0.4], [0.95, 0.9333, 1.0, 1.0]]
    assert moved_in_words(parts) == "in a photo something moved; 5.3 % of its pixels were left out"
    both: list[dict[str, Any]] = [*parts, {"share": 0.02}]
    assert moved_in_words(both) == "in 2 photos something moved; 3.7 % of their pixels were left out"


def test_a_scene_remembers_what_moved_and_reports_it(tmp_path: Path) -> None:
    picture = tmp_path / "0.png"
    Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(picture)
    moved = (
        {"photo": "0.png", "share": 0.05, "boxes": [[0.1, 0.2, 0.4, 0.6]]},
        {"photo": "gone<b>.jpg", "share": 0.02, "boxes": [[0.0, 0.0, 0.1, 0.1]]},
    )
    own = [replace(views(1)[0], path=picture), replace(views(1)[0], path=tmp_path / "gone<b>.jpg")]
    scene = SimpleNamespace(views=own, figures=Figures(moved=moved))
    section = moved_section(scene)  # type: ignore[arg-type]
    assert "In 2 photos something moved; 3.5 % of their pixels were left out" in section
    assert section.count("<img") == 1 and "gone&lt;b&gt;.jpg, 2.0 %" in section
    data = base64.b64decode(section.split("base64,")[1].split('"')[0])
    pixels = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    left = pixels[int(0.4 * pixels.shape[0]), int(0.1 * pixels.shape[1]) + 1]
    assert left[0] - left[2] > 120  # an orange line
    assert not moved_section(SimpleNamespace(views=own, figures=Figures()))  # type: ignore[arg-type]


@pytest.mark.parametrize("boxes", ([[0.1, 0.2, 0.4]], [[0.1, 0.2, 0.4, 1.5]], "none"))
def test_figures_of_what_moved_are_checked(boxes: Any) -> None:
    good = {"photo": "a.jpg", "share": 0.1, "boxes": [[0.1, 0.2, 0.4, 0.5]]}
    assert FIGURES["moved"].fits([good])
    assert not FIGURES["moved"].fits([{**good, "boxes": boxes}])


def test_errors_are_kept_with_the_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "ENOUGH", 1e9)  # never looked at, so that the sums only grow
    room = analytic.write_room(tmp_path / "room", 9, (32, 24))
    config = TrainConfig(steps=100, holdout=0, threads=1)
    out = tmp_path / "scene"
    begun = api.train(room, out, config, analytic.SMALL)
    cells = new_cells(begun.views)
    (saved,) = scenes.training_arrays(out, ("photo_cells",))
    assert saved.shape == cells.numbers.shape and saved[:, 3].sum() > 0
    resumed = api.train(room, out, replace(config, steps=150), analytic.SMALL, resume=True)
    assert resumed.figures.steps == 150 and resumed.figures.moved == ()
    (later,) = scenes.training_arrays(out, ("photo_cells",))
    assert later[:, 3].sum() > saved[:, 3].sum()

"""report.html: one well-formed file with everything in it, and advice that fits the capture."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pytest
from conftest import Command
from PIL import Image

from nerfscene import api
from nerfscene.config import TrainConfig
from nerfscene.measuring import svg
from nerfscene.measuring.advice import (
    about_agreement,
    about_bad_views,
    about_exposure,
    about_heights,
    about_left_out,
    about_number,
    about_poses,
    about_sides,
    about_walking,
    advice,
    name_runs,
)
from nerfscene.measuring.report import MOST_SHOWN, Gallery, page, write_report
from nerfscene.posing.copies import copy_name
from nerfscene.posing.sparse import SparseModel, posed_from_photos
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Figures, Scene
from nerfscene.types import Capture, Intrinsics, LeftOut, Photo, PoseReport

VOID = {"meta", "img", "br", "rect"}


class Checker(HTMLParser):
    """Collects what a document refers to, and tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.refers: list[str] = []
        self.alts: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        self.refers += [v for k, v in attrs if k in ("src", "href")]
        if tag == "img":
            self.alts.append(given.get("alt", ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(document: str) -> Checker:
    found = Checker()
    found.feed(document)
    assert not found.wrong and not found.open, (found.wrong, found.open)
    assert all(r.startswith("data:image/jpeg;base64,") for r in found.refers)
    assert "http" not in document and "<script" not in document
    assert not re.search(r"\b(nan|inf)\b|\bNone<", document)
    return found


def gallery(n: int, size: tuple[int, int] = (40, 60)) -> Gallery:
    rng = np.random.default_rng(0)
    made = Gallery()
    for i in range(n):
        photo = rng.random((*size, 3), dtype=np.float32)
        figures = {"photo": f"{i}.jpg", "psnr": 20.0 + (7 * i) % n, "ssim": 0.8, "psnr_matched": 25.0}
        made.add(figures, photo, np.clip(photo + 0.1, 0, 1), np.full(size, 0.1, np.float32))
    return made


def test_training_leaves_a_report(command: Command, small_room: Path, tmp_path: Path) -> None:
    photos = tmp_path / "a <b>&c"
    shutil.copytree(small_room, photos)
    done = command(
        "train", photos, "-o", tmp_path / "scene", "--steps", 30, "--field.occupancy-resolution", 32
    )
    assert done.returncode == 0, done.stderr
    file = tmp_path / "scene" / "report.html"
    assert str(file) in done.stderr + done.stdout
    first = checked(file.read_text())
    assert "Made of 9 photos of 32×24 pixels at " in first.text
    assert len(first.alts) == 3 and all(first.alts)  # one held-out photo, three pictures
    file.unlink()
    again = command("report", tmp_path / "scene")
    assert again.returncode == 0 and str(file) in again.stdout
    assert len(checked(file.read_text()).alts) == 3
    gone = command("report", tmp_path / "nothing")
    assert gone.returncode == 2 and "nothing" in gone.stderr and "Traceback" not in gone.stderr


def test_a_report_that_fails_loses_no_scene(
    small_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no paper")

    monkeypatch.setattr(api, "write_report", broken)
    told: list[str] = []
    scene = api.train(small_room, tmp_path / "scene", TrainConfig(steps=5), analytic.SMALL, warn=told.append)
    assert scene.figures.steps == 5 and scenes.load(tmp_path / "scene").figures.steps == 5
    assert any("no paper" in t and "nerfscene report" in t for t in told)


def test_names_are_escaped_and_the_worst_comes_first(trained: Path) -> None:
    scene = scenes.load(trained)
    evil = '<script>alert("x")</script>'
    figures = replace(
        scene.figures,
        left_out=({"name": evil, "reason": "is <b>blurred</b>"},),
        warnings=("2 masks are <i>missing</i>.",),
    )
    shown = gallery(4)
    shown.pictures[2] = replace(shown.pictures[2], figures={**shown.pictures[2].figures, "photo": evil})
    document = page(replace(scene, figures=figures), evil, shown.pictures)
    found = checked(document)
    assert evil in found.text and "is <b>blurred</b>" in found.text
    assert "2 masks are <i>missing</i>." in found.text
    order = [float(m) for m in re.findall(r"<small>([\d.]+) dB", document)]
    assert order == sorted(order) and len(order) == 4


def test_many_large_pictures_stay_small(trained: Path, tmp_path: Path) -> None:
    scene = scenes.load(trained)
    shown = gallery(MOST_SHOWN + 5, (700, 500))
    folder = tmp_path / "s"
    folder.mkdir()
    file = write_report(scene, folder, shown.pictures)
    assert file.stat().st_size < 12e6  # of noise, which JPEG can't shrink
    found = checked(file.read_text())
    assert len(found.alts) == 3 * MOST_SHOWN
    assert sum(f"{i}.jpg" in found.text for i in range(MOST_SHOWN + 5)) == MOST_SHOWN + 5
    assert [p.name for p in folder.iterdir()] == ["report.html"]


def test_a_scene_without_held_out_photos_or_history_has_a_report(trained: Path) -> None:
    scene = scenes.load(trained)
    bare = replace(
        scene,
        figures=Figures(photos=9, photos_posed=9),
        views=tuple(replace(v, split="train") for v in scene.views),
        points=np.zeros((0, 3), np.float32),
    )
    found = checked(page(bare, "bare"))
    assert "nothing was measured" in found.text and not found.alts


# --- advice ---------------------------------------------------------------------------------------


def ring(n: int, begin: float, end: float, height: float = 0.5) -> tuple[Any, Any]:
    """Cameras (n, 3) on an arc (degrees) about the middle, and where they look."""
    a = np.radians(np.linspace(begin, end, n))
    centres = np.stack([1.5 * np.cos(a), 1.5 * np.sin(a), np.full(n, height)], 1)
    return centres, -centres / np.linalg.norm(centres, axis=1, keepdims=True)


def test_a_side_that_is_missing_is_named() -> None:
    names = [f"{i}.jpg" for i in range(30)]
    said = about_sides(*ring(30, 0, 280), names)
    assert len(said) == 1 and "0.jpg" in said[0] and "29.jpg" in said[0] and "80°" in said[0]
    assert about_sides(*ring(30, 0, 348), names) == []
    half = about_sides(*ring(30, 0, 170), names)
    assert len(half) == 1 and "190° of the way round are missing" in half[0]
    assert about_sides(*ring(30, 0, 90), names) == []  # a walk that was not meant to go round anything
    outward = ring(30, 0, 280)
    assert about_sides(outward[0], -outward[1], names) == []


def test_one_height_is_noticed() -> None:
    assert len(about_heights(*ring(30, 0, 348))) == 1
    low, high = ring(15, 0, 340, 0.1), ring(15, 10, 350, 1.2)
    assert about_heights(*(np.concatenate([a, b]) for a, b in zip(low, high, strict=True))) == []
    assert about_heights(*ring(30, 0, 45)) == []
    assert about_heights(*ring(6, 0, 300)) == []


def test_who_turned_on_the_spot_or_walked_ahead_is_told() -> None:
    rng = np.random.default_rng(5)
    sides = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    outward = np.stack([np.cos(sides), np.sin(sides), 0 * sides], 1)
    walls = 3 * outward + 0.1 * rng.normal(size=outward.shape)
    turned = about_walking(0.2 * rng.normal(size=(24, 3)), outward, walls)
    assert len(turned) == 1 and "about one place" in turned[0]
    assert about_walking(2.2 * outward, -outward, walls) == []  # along the walls, looking across
    assert about_walking(2.5 * np.roll(outward, 6, 0), outward, walls) == []  # looking all around the room
    assert about_walking(*ring(30, 0, 348), walls) == []
    assert about_walking(0.2 * rng.normal(size=(24, 3)), outward, np.zeros((0, 3))) == []
    for seed in range(20):  # sideways along a front: no advice
        rng = np.random.default_rng(seed)
        aside = np.stack([np.linspace(-1, 1, 12), 0.05 * rng.normal(size=12), 0 * np.arange(12)], 1)
        facing = np.tile([0.0, 1.0, 0.0], (12, 1)) + 0.05 * rng.normal(size=(12, 3))
        facing /= np.linalg.norm(facing, axis=1, keepdims=True)
        assert about_walking(aside, facing, walls + [0, 5, 0]) == []  # noqa: RUF005
    ahead = np.tile([0.0, 1.0, 0.0], (20, 1)) + 0.02 * rng.normal(size=(20, 3))
    way = np.stack([0.05 * rng.normal(size=20), np.arange(20.0), 0 * np.arange(20)], 1)
    said = about_walking(way, ahead / np.linalg.norm(ahead, axis=1, keepdims=True), walls)
    assert len(said) == 1 and "to the sides" in said[0]


def test_exposure_is_told_in_stops() -> None:
    gains = np.zeros((10, 3))
    assert about_exposure(gains) == []
    gains[3] = np.log(2.0 ** (1.5 / 2.2))  # one and a half stops of light, as a display value
    assert "1.5 stops" in about_exposure(gains)[0]


def test_photos_left_out_are_grouped_by_kind() -> None:
    left = [{"name": f"{i}.jpg", "reason": "is blurred"} for i in range(8)]
    said = about_left_out(Figures(left_out=tuple(left)))
    assert len(said) == 1 and said[0].startswith("8 photos are blurred (0.jpg") and "Hold still" in said[0]
    copies = [{"name": f"{i}.jpg", "reason": f"is the same picture as {i + 10}.jpg"} for i in range(9)]
    said = about_left_out(Figures(left_out=tuple(copies)))
    assert len(said) == 1 and said[0].startswith("9 photos are duplicates")
    copy = ({"name": "5.jpg", "reason": "is the same picture as blurred.jpg"},)
    assert about_left_out(Figures(left_out=copy))[0].startswith("1 photo is a duplicate")
    other = ({"name": "5.jpg", "reason": "has no pose in cameras.xml"},)
    assert about_left_out(Figures(left_out=other)) == [
        "1 photo was left out (5.jpg): has no pose in cameras.xml."
    ]
    assert about_left_out(Figures()) == []


def test_photos_that_do_not_connect_get_one_hint_however_it_was_found(tmp_path: Path) -> None:
    photos = tuple(Photo(tmp_path / f"{i}.jpg", 64, 48, None) for i in range(9))
    apart = (("4.jpg", "5.jpg"), ("7.jpg",))
    found = PoseReport("", (), 5, 1, 0, 0, 0, 0, 0.0, 0.0, apart)
    kept = (0, 1, 2, 6, 8)
    lens = Intrinsics(64, 48, 50.0, 50.0, 32.0, 24.0)
    model = SparseModel(
        tuple(copy_name(i) for i in kept), (lens,) * 5, (np.eye(4),) * 5, np.zeros((0, 3)),
        np.zeros((0, 3), np.uint8), 0.5, (np.zeros(0, np.int64),) * 5,
    )  # fmt: skip
    for photo in photos:
        Image.new("RGB", (64, 48)).save(photo.path)
    blurred = LeftOut("9.jpg", "is blurred")
    posed = posed_from_photos(Capture(tmp_path, photos, (), (blurred,)), model, found)
    assert posed.photos_given == 10
    left = tuple({"name": p.name, "reason": p.reason} for p in posed.left_out)
    assert len({p["reason"] for p in left}) == 4
    said = about_left_out(Figures(left_out=left), [v.path.name for v in posed.views])
    assert said[0].startswith("4 photos do not connect to the others (3.jpg to 5.jpg, 7.jpg). Take photos in")
    assert len(said) == 2


def test_photos_in_a_row_are_named_by_the_first_and_the_last() -> None:
    everything = [f"IMG_{i}.jpg" for i in range(1, 60)]
    names = [f"IMG_{i}.jpg" for i in (12, 9, 10, 11, 2, 4, 5)]
    assert name_runs(names, everything) == "IMG_2.jpg, IMG_4.jpg, IMG_5.jpg, IMG_9.jpg to IMG_12.jpg"
    names += [f"IMG_{i}.jpg" for i in (20, 30, 31, 32, 33, 40)]
    assert name_runs(names, everything).endswith("IMG_9.jpg to IMG_12.jpg, IMG_20.jpg and 5 more")
    folders = ["a/1.jpg", "a/2.jpg", "a/3.jpg"]
    assert name_runs(folders, folders) == "a/1.jpg, a/2.jpg, a/3.jpg"


def test_numbers_and_poses() -> None:
    assert about_number(Figures(photos_posed=14), panoramas=True) == []
    assert "8 panoramas" in about_number(Figures(photos_posed=8), panoramas=True)[0]
    assert about_number(Figures(photos_posed=60)) == []
    assert "12 photos" in about_number(Figures(photos_posed=12))[0]
    assert about_poses(Figures(reprojection_error=0.5), 1000) == []
    assert about_poses(Figures(reprojection_error=3.0, downscale=4.0), 1000) == []
    assert "3.0 pixels" in about_poses(Figures(reprojection_error=3.0), 1000)[0]
    assert about_poses(Figures(reprojection_error=0.58, reprojection_size=1000, downscale=4.0), 1000) == []
    found = about_poses(Figures(reprojection_error=2.36, reprojection_size=1000, downscale=4.0), 1000)
    assert "2.4 pixels (of photos at 1,000)" in found[0]
    assert about_poses(Figures(), 1000) == []
    assert about_agreement(Figures()) == about_agreement(Figures(posing={"agreement": 0.9})) == []
    assert about_agreement(Figures(posing={"points": 5})) == [], "posed before this was measured"
    assert "74 % of what the photos have in common" in about_agreement(Figures(posing={"agreement": 0.74}))[0]


def test_a_view_far_below_the_others_is_explained(trained: Path) -> None:
    scene = scenes.load(trained)
    test = [v for v in scene.views if v.split == "test"]
    centres = np.zeros((len(scene.views), 3))
    centres[:, 0] = np.arange(len(scene.views))
    names = [v.path.name for v in test] + ["another.jpg"]

    def told(worst: float) -> Scene:
        per_view = [{"photo": n, "psnr": 25.0, "ssim": 0.8} for n in names]
        per_view[0]["psnr"] = worst
        return replace(scene, figures=replace(scene.figures, per_view=tuple(per_view)))

    assert about_bad_views(told(24.0), centres) == []
    assert about_bad_views(told(15.0), centres)[0].startswith(f"From where {names[0]} was taken")
    far = centres.copy()
    far[[v is test[0] for v in scene.views]] = (500, 0, 0)
    assert "Few photos" in about_bad_views(told(15.0), far)[0]


def test_a_good_capture_is_told_so(trained: Path) -> None:
    scene = scenes.load(trained)
    good = replace(scene, figures=replace(scene.figures, photos_posed=60, per_view=()))
    said = advice(good)
    assert all("height" in s or "side" in s for s in said)  # what the cameras of the room may lack
    assert ("Nothing to improve" in page(good, "x")) == (not said)


@pytest.mark.parametrize(("low", "high"), ((0.0, 1.0), (15.2, 32.9), (-3.0, 0.1), (7.0, 7.0), (0.0, 12345.0)))
def test_ticks_are_round_and_cover(low: float, high: float) -> None:
    t = svg.ticks(low, high)
    assert 2 <= len(t) <= 8 and t[0] <= low and t[-1] >= high
    assert np.allclose(np.diff(t), t[1] - t[0], rtol=1e-6)

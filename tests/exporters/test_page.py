"""Pages to send: their files, what stands in them, and the limit of their size."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_file_cases import scene_of
from PIL import Image

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.config import PageConfig, RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters import page
from nerfscene.exporters.page import page_of, write_page
from nerfscene.exporters.page_cameras import DISTANCE, Place, playable, staged
from nerfscene.exporters.page_fitting import fitted
from nerfscene.exporters.page_recording import PRECISIONS, RANGE, PageSplats, packed_harmonics, rounded
from nerfscene.exporters.page_text import PageText
from nerfscene.exporters.splat_making import seen_scene
from nerfscene.exporters.told import Told
from nerfscene.films.filming import film_path
from nerfscene.films.path_writing import write_camera_path
from nerfscene.given import size_of
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.scene.world import in_world
from nerfscene.splatting.gaussians import C0
from nerfscene.viewer.keyframes import Keyframe, Plan
from nerfscene.viewer.path_files import save


@pytest.fixture(scope="module")
def scene(trained: Path) -> Scene:
    return scenes.load(trained)


@pytest.fixture(scope="module")
def cloud(scene: Scene) -> PageSplats:
    """The scene's splats, made once for all tests."""
    world = staged(scene).scene
    return page._splats(seen_scene(world, world.renderer(), 4000, Told()), 4000, Told())


@pytest.fixture(autouse=True)
def few_splats(monkeypatch: pytest.MonkeyPatch, cloud: PageSplats) -> None:
    monkeypatch.setattr(page, "seen_scene", lambda *a: None)
    monkeypatch.setattr(page, "_splats", lambda *a: cloud)
    monkeypatch.setattr(page, "SIZES", ((64, 40), (36, 60)))


def data_of(index: Path) -> dict[str, Any]:
    """What the page's script is given."""
    found = re.search(r'id="data">(.*?)</script>', index.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_a_folder_holds_all_that_the_page_names(scene: Scene, tmp_path: Path) -> None:
    config = PageConfig(title="<b>Tea</b> & \"more\" 'now' $1", date="<i>2026")
    written = write_page(scene, tmp_path / "page", config, Told())
    index = tmp_path / "page/index.html"
    text = index.read_text(encoding="utf-8")
    assert "<b>Tea" not in text and "<title>&lt;b&gt;Tea&lt;/b&gt; &amp; &quot;more&quot;" in text
    assert '<p dir="auto">&lt;i&gt;2026</p>' in text
    named = {*data_of(index)["files"], "poster.jpg", "poster-portrait.jpg", "viser-licence.txt"}
    there = {str(p.relative_to(index.parent)) for p in index.parent.rglob("*") if p.is_file()}
    assert there == {*named, "index.html"}
    assert written["bytes"] == sum((index.parent / name).stat().st_size for name in there)
    assert written["splats"] == data_of(index)["count"] > 1000
    # It is replaced as a whole, nothing is left beside it, and leftovers of a killed run go.
    (tmp_path / ".page.999999999.tmp/new").mkdir(parents=True)
    (tmp_path / f".page.{os.getppid()}.tmp").mkdir()
    write_page(scene, tmp_path / "page", replace(config, title="Other"), Told())
    assert "<title>Other</title>" in index.read_text(encoding="utf-8")
    assert {p.name for p in tmp_path.iterdir()} == {"page", f".page.{os.getppid()}.tmp"}


def test_one_file_needs_no_other(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "new folder/page.html"
    written = write_page(scene, file, PageConfig(single=True), Told())
    text = file.read_text(encoding="utf-8")
    assert written["single"] and written["bytes"] == file.stat().st_size
    assert not re.search(r'(?:src|srcset|href)="(?!data:|https://viser.studio)', text.split("<script>")[0])
    assert data_of(file)["files"] == []


def test_the_limit_holds_and_what_it_costs_is_said(scene: Scene, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(page, "_splats", lambda seen, count, told: _rough(count))
    said: list[str] = []
    written = write_page(scene, tmp_path / "p.html", PageConfig(limit="3MB"), Told(warn=said.append))
    assert 2_700_000 < written["bytes"] <= 3_000_000
    assert written["precision"] == "coarse"
    assert any("3MB" in line and f"{written['splats']:,}" in line for line in said)


def test_splats_that_compress_well_fill_the_limit_too() -> None:
    plain = fitted(TEXT, lambda count: _smooth(count), 2_400_000, False, Told())
    rough = fitted(TEXT, lambda count: _rough(count), 2_400_000, False, Told())
    assert plain is not None and rough is not None
    for made in (plain, rough):
        assert 0.85 * 2_400_000 < len(made) <= 2_400_000 and made.fewer
    assert plain.count > 1.3 * rough.count


def test_a_scene_of_few_splats_has_them_as_exactly_as_they_fit() -> None:
    asked: list[int] = []

    def make(count: int) -> PageSplats:
        asked.append(count)
        return _rough(min(count, 9000))

    made = fitted(TEXT, make, 3_000_000, True, Told())
    assert made is not None and made.count == 9000 and not made.fewer
    assert made.precision == PRECISIONS[0] and len(asked) == 1
    assert fitted(TEXT, make, 1_300_000, True, Told()) is None


TEXT = PageText(
    "A", "", 3, Place(np.array([0.0, -6, 0]), np.zeros(3), np.array([0.0, 0, 1]), 0.5, 1.5), None,
    (b"", b""), "#000000",
)  # fmt: skip


def test_posters_are_no_finer_than_the_photos(scene: Scene, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(page, "SIZES", ((1280, 800), (600, 1000)))
    monkeypatch.setattr(page, "LEAST", 100)
    told: list[float] = []

    def progress(stage: str, fraction: float) -> None:
        if stage == "rendering the poster":
            told.append(fraction)

    write_page(scene, tmp_path / "page", PageConfig(), Told(progress=progress))
    for name, (width, height) in (("poster", (100, 62)), ("poster-portrait", (60, 100))):
        with Image.open(tmp_path / f"page/{name}.jpg") as picture:
            assert picture.size == pytest.approx((width, height), abs=1)
    assert told == sorted(told) and told[0] == 0 and told[-1] == 1


def _rough(n: int) -> PageSplats:
    """Splats that compress badly."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    scales = np.array([0.05, 0.03, 0.002]) * rng.uniform(0.5, 2, (n, 1))
    covariances = np.einsum("nij,nj,nkj->nik", turn, scales**2, turn)
    return PageSplats(
        rng.normal(size=(n, 3)).astype(np.float32),
        covariances.astype(np.float32),
        rng.random((n, 3)).astype(np.float32),
        rng.random(n).astype(np.float32),
    )


def _smooth(n: int) -> PageSplats:
    """Splats that compress well: alike, and on a plane."""
    place = np.random.default_rng(0).normal(size=(n, 3)) * (1, 1, 0)
    shapes = np.tile(np.diag([0.05, 0.05, 0.002]).astype(np.float32) ** 2, (n, 1, 1))
    return PageSplats(
        place.astype(np.float32), shapes, np.full((n, 3), 0.5, np.float32), np.ones(n, np.float32)
    )


@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: p.name)
def test_rounded_splats_stay_drawable_in_half_floats(precision: Any) -> None:
    rough = _rough(2000)
    sizes = np.repeat([1e-7, 1.0, 1e9], [500, 1000, 500])[:, None, None].astype(np.float32)
    first = Place(np.array([0.0, -6, 0]), np.zeros(3), np.array([0.0, 0, 1]), 0.5, 1.5)
    made = rounded(replace(rough, covariances=rough.covariances * sizes), precision, first)
    assert made.centers[:100, 1].mean() > 1 > -1 > made.centers[-100:, 1].mean()
    halves = made.covariances.astype(np.float16).astype(np.float64)
    assert np.isfinite(halves).all()
    assert np.linalg.eigvalsh(halves).min(1).min() > 0
    order = np.lexsort(np.round(rough.centers / precision.grid).T)
    assert (
        np.abs(
            made.centers[np.lexsort(np.round(made.centers / precision.grid).T)] - rough.centers[order]
        ).max()
        <= precision.grid
    )


@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: p.name)
def test_harmonics_survive_their_bytes(precision: Any) -> None:
    """With the colour that is there already they give what was fitted."""
    rng = np.random.default_rng(0)
    sh = (0.2 * rng.normal(size=(500, 4, 3))).astype(np.float32)
    splats = replace(_rough(500), harmonics=sh)
    assert packed_harmonics(_rough(10), precision) == ""
    packed = gzip.decompress(base64.b64decode(packed_harmonics(splats, precision)))
    bytes_ = np.frombuffer(packed, np.int8).reshape(3, 4, 500).astype(np.float64)
    values = RANGE * bytes_ * np.abs(bytes_) / 127**2
    constants = splats.rgbs.T + values[:, 0]
    step = 1.2 * RANGE / precision.steps  # where values are largest
    assert np.abs(constants - (0.5 + C0 * sh[:, 0].T)).max() < step
    assert np.abs(values[:, 1:] - sh[:, 1:].transpose(2, 1, 0)).max() < step
    assert np.abs(values[:, 1:] - sh[:, 1:].transpose(2, 1, 0)).mean() < step / 3


@pytest.mark.parametrize(
    ("name", "single", "message"),
    [
        ("page", True, r"with --single the page is one file; name it like page\.html"),
        ("taken", False, r"holds something other than a page"),
        ("file", False, r"is a file; give the page's folder another name"),
        ("folder.html", False, r"is a folder; give the page another name"),
    ],
)
def test_names_that_no_page_can_have(
    scene: Scene, tmp_path: Path, name: str, single: bool, message: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/letters.txt").write_text("keep me")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(NerfsceneError, match=message):
        write_page(scene, tmp_path / name, PageConfig(single=single), Told())
    assert (tmp_path / "taken/letters.txt").read_text() == "keep me"


def test_a_cancelled_page_leaves_nothing(scene: Scene, tmp_path: Path) -> None:
    def cancel(stage: str, fraction: float) -> None:
        if stage == "writing the page":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_page(scene, tmp_path / "page", PageConfig(), Told(progress=cancel))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "size"),
    [("20MB", 20_000_000), ("20 MiB", 20 * 2**20), ("1,5gb", 1_500_000_000), ("500k", 500_000), ("7", 7)],
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("limit", ["", "much", "2MB", "5 apples", "-20MB", "20i", "2000GB"])
def test_limits_that_make_no_sense(limit: str) -> None:
    with pytest.raises(NerfsceneError, match=r"limit must be 3MB to 1GB, such as 20MB"):
        PageConfig(limit=limit)


def test_the_page_is_upright_and_a_few_units_wide(tmp_path: Path) -> None:
    turned = np.eye(4)
    turned[:3, :3] = 1e4 * np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    scene = replace(in_world(scene_of(tmp_path), turned), world_from_capture=None)
    stage = staged(scene)
    distances = np.linalg.norm(stage.subject.centres, axis=1)
    assert np.median(distances) == pytest.approx(DISTANCE, rel=0.05)
    up = np.mean([-v.world_from_cam[:3, 1] for v in stage.scene.views], 0)
    assert up[2] > 0.9 * np.linalg.norm(up)
    assert similarity_scale(stage.page_from_given) == pytest.approx(
        similarity_scale(scene.scene_from_world) / similarity_scale(stage.scene.scene_from_world)
    )


def test_the_saved_path_is_the_one_that_plays(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    assert page_of(tmp_path, PageConfig()).path == "auto"
    path, _ = film_path(scene, RenderConfig(path="orbit", seconds=2))
    write_camera_path(path, tmp_path / "camera_path.json", 30)
    config = page_of(tmp_path, PageConfig())
    assert config.title == tmp_path.name
    played = playable(scene, staged(scene), config.path, lambda text: None)
    assert played is not None and played["seconds"] == pytest.approx(2, abs=0.1)
    frames = np.array(played["frames"]).reshape(-1, 11)
    stage = staged(scene)
    for row, camera in zip(frames[:: len(frames) - 1], (path.cameras[0], path.cameras[-1]), strict=True):
        expected = stage.page_from_given @ camera.world_from_cam[:, 3]
        assert row[:3] == pytest.approx(expected[:3], abs=1e-3 * DISTANCE)
        ahead = (row[3:6] - row[:3]) / np.linalg.norm(row[3:6] - row[:3])
        turn = stage.page_from_given[:3, :3] @ camera.world_from_cam[:3, 2]
        assert ahead @ turn / np.linalg.norm(turn) == pytest.approx(1, abs=1e-4)


def test_a_path_that_stands_still_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    save(Plan((Keyframe(scene.views[0].world_from_cam),)), tmp_path / "camera_path.json")
    said: list[str] = []
    assert playable(scene, staged(scene), str(tmp_path / "camera_path.json"), said.append) is None
    assert said == ["the camera path stands still, so the page has none to play"]


def test_titles_that_are_blank_or_no_text(scene: Scene, tmp_path: Path) -> None:
    for title, shown in (("  ", "A scene"), ("\udcff \u0634", "? \u0634")):
        write_page(scene, tmp_path / "page", PageConfig(title=title), Told())
        text = (tmp_path / "page/index.html").read_text(encoding="utf-8")
        assert f'<h1 dir="auto">{shown}</h1>' in text
    assert page_of(tmp_path / "kitchen", PageConfig(title=" ")).title == "kitchen"

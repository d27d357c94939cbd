"""The exposure at which a scene is shown: the brightest well-exposed photo's, wherever it is shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import analytic
import numpy as np
import pytest
import trimesh
from PIL import Image

import nerfscene as ns
from nerfscene import api
from nerfscene.config import ExportConfig, RenderConfig, TrainConfig
from nerfscene.field.alignment import colors
from nerfscene.field.rendering import looking, render
from nerfscene.films.through_lens import _traced
from nerfscene.measuring.evaluate import measure
from nerfscene.measuring.metrics import psnr
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.training.shown_exposure import BLOWN, shown_at, shown_exposure
from nerfscene.types import Camera, View

DARK = 0.5  # of the display values of every other photo's


def exposed(room: Path, folder: Path, gain: Callable[[int], float]) -> Path:
    """A copy of the room whose photos have gains, by their numbers."""
    shutil.copytree(room, folder)
    names = [f["file_path"] for f in json.loads((room / "transforms.json").read_text())["frames"]]
    for i, name in enumerate(names):
        with Image.open(folder / name) as photo:
            pixels = np.asarray(photo.convert("RGB"), np.float32) * gain(i)
        Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def two_exposures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    """The room, of which every third photo is dark, and its scene."""
    root = tmp_path_factory.mktemp("two")
    room = analytic.write_room(root / "room", 24)
    capture = exposed(room, root / "capture", lambda i: DARK if i % 3 == 1 else 1.0)
    return root / "scene", api.train(
        capture, root / "scene", TrainConfig(steps=500, threads=1), analytic.SMALL
    )


def right(view: View) -> Any:
    """What the room looks like from a view, as in its bright photos."""
    return analytic.photo(view.intrinsics, view.world_from_cam, room=True).astype(np.float32) / 255


def test_the_scene_looks_like_its_bright_photos(two_exposures: tuple[Path, Scene]) -> None:
    _, scene = two_exposures
    renderer = scene.photo_renderer(threads=1)
    mean = replace(renderer, gain=1.0)
    for i in (3, 4, 11, 12):  # bright and dark ones
        view = scene.views[i]
        shown, dull = (
            psnr(np.clip(render(r, Camera(view.intrinsics, view.world_from_cam)).rgb, 0, 1), right(view))
            for r in (renderer, mean)
        )
        assert shown > 20 and shown > dull + 3, (i, shown, dull)
    for i, view in enumerate(scene.views):
        if view.split == "train":
            assert np.mean(view.exposure) == pytest.approx(np.log(DARK) if i % 3 == 1 else 0.0, abs=0.2), i


def test_measuring_keeps_each_photo_s_own_exposure(two_exposures: tuple[Path, Scene]) -> None:
    folder, scene = two_exposures
    assert scene.gain > 1.1
    again = scenes.load(folder)
    assert again.gain == scene.gain and measure(again, threads=1)["psnr"] == pytest.approx(scene.figures.psnr)
    # A scene of an older version, whose photos' exposures are beside their mean, is measured as ever.
    _, views = shown_at(-float(np.log(scene.gain)), scene.views)
    old = replace(scene, gain=1.0, views=views)
    assert measure(old, threads=1)["psnr"] == pytest.approx(scene.figures.psnr, abs=0.3)  # by its backdrop
    data = json.loads((folder / "scene.json").read_text())
    del data["gain"]
    shutil.copytree(folder, folder.parent / "older")
    (folder.parent / "older/scene.json").write_text(json.dumps(data))
    assert scenes.load(folder.parent / "older").gain == 1.0


def test_everything_that_shows_a_scene_shows_it_at_one_exposure(two_exposures: tuple[Path, Scene]) -> None:
    _, scene = two_exposures
    view = scene.views[4]
    plain = scene.photo_renderer("cpu", 1)
    pixels = np.array([[20.5, 30.5], [40.5, 20.5], [32.5, 40.5]], np.float32)
    rows, columns = pixels.astype(int)[:, 1], pixels.astype(int)[:, 0]
    for background in ((0.0, 0.0, 0.0), (0.9, 0.5, 0.1)):
        r = looking(plain, background, None, None)
        one, double = (replace(r, gain=g) for g in (1.0, 2.0))
        lens = Camera(view.intrinsics, view.world_from_cam)
        a, b = render(one, lens), render(double, lens)
        behind = (1 - a.accumulation)[..., None] * np.array(background, np.float32)
        assert np.allclose(b.rgb - behind, 2 * (a.rgb - behind), atol=1e-5)
        # The kernels that trace single rays: when cameras are aligned, and through a lens.
        assert np.allclose(colors(double, view, np.zeros(6), pixels), b.rgb[rows, columns], atol=0.02)
        origins = np.tile(np.zeros((1, 3), np.float32), (4, 1))
        toward = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
        (x, seen), (y, _) = _traced(one, origins, toward), _traced(double, origins, toward)
        through = (1 - seen)[:, None] * np.array(background, np.float32)
        assert np.allclose(y - through, 2 * (x - through), atol=1e-5)


@pytest.mark.parametrize("to", ("points", pytest.param("mesh", marks=pytest.mark.long)))
def test_exports_have_it(two_exposures: tuple[Path, Scene], to: str, tmp_path: Path) -> None:
    _, scene = two_exposures
    config = ExportConfig(count=2000, faces=2000, texture=0, threads=1)
    brightness = []
    for number, gain in enumerate((1.0, scene.gain)):
        file = tmp_path / f"{number}.ply"
        ns.export(replace(scene, gain=gain), file, config, to)
        read: Any = trimesh.load(file)
        colours = np.array(read.visual.vertex_colors, float)[:, :3]
        brightness.append(colours[colours.max(1) < 250].mean())
    assert brightness[1] > (1 + 0.5 * (scene.gain - 1)) * brightness[0]


@pytest.mark.parametrize(
    ("stops", "follows"), ((0.3, False), (1.0, True), (2.0, True)), ids=("hardly", "a stop", "two stops")
)
def test_the_mean_is_kept_where_photos_hardly_differ(stops: float, follows: bool) -> None:
    assert (shown_exposure(*capture([0.0, -stops], [100, 100])) > 0) == follows


def capture(stops: list[float], values: list[int], share: float = 1.0) -> tuple[Any, Any]:
    """Exposures around their mean, and photos that have one value in a share of their pixels, 0 elsewhere."""
    n = 100
    e = np.repeat(np.array(stops)[:, None] * np.log(2) / 2.2, 3, 1)
    pixels = np.zeros((len(stops), n, 3), np.uint8)
    for photo, value in zip(pixels, values, strict=True):
        photo[: round(share * n)] = value
    views = [SimpleNamespace(intrinsics=analytic.intrinsics(10, 10)) for _ in stops]
    data = SimpleNamespace(pixels=pixels.reshape(-1, 3), chosen=None, train_views=views)
    return e - e.mean(0), data


def test_the_brightest_photo_that_blows_nothing_out_is_chosen() -> None:
    def chosen(*given: Any) -> float:
        e, data = capture(*given)
        return float((shown_exposure(e, data) - e[0, 0]) * 2.2 / np.log(2))

    assert chosen([0.0, 1.0, 2.0], [60, 80, 110]) == pytest.approx(2.0)
    # What is 185 at 0 stops would be 253 at 1.
    assert chosen([0.0, 1.0, 2.0], [185, 185, 185]) == pytest.approx(0.0)
    assert chosen([0.0, 1.0, 2.0], [120, 120, 120]) == pytest.approx(2.0)
    # A lamp may be blown out, and what is blown out in every photo that shows it counts for nothing.
    assert chosen([0.0, 1.0, 2.0], [180, 80, 80], BLOWN / 2) == pytest.approx(2.0)
    assert chosen([0.0, 1.0, 2.0], [255, 120, 120]) == pytest.approx(2.0)


def test_what_masks_cover_does_not_count() -> None:
    e, data = capture([0.0, 2.0], [180, 100])
    assert shown_exposure(e, data) == pytest.approx(e.min())
    data.chosen = np.arange(100, 200, dtype=np.uint32)  # only the second photo's
    assert shown_exposure(e, data) == pytest.approx(e.max())


def test_a_film_of_it_is_bright(two_exposures: tuple[Path, Scene], tmp_path: Path) -> None:
    _, scene = two_exposures
    config = RenderConfig(path="orbit", width=64, height=48, seconds=0.1, fps=10, samples=1, threads=1)
    means = []
    for name, made in (("shown", scene), ("dull", replace(scene, gain=1.0))):
        ns.film(made, tmp_path / f"{name}.mp4", config, tmp_path / name)
        frame = next((tmp_path / name).glob("*.png"))
        means.append(np.asarray(Image.open(frame), float).mean())
    assert means[0] > 1.05 * means[1]

"""What masks leave out is neither trained on nor measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import analytic
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nerfscene import api
from nerfscene.config import TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.formats.readers import find_posed
from nerfscene.measuring.evaluate import compare, measure
from nerfscene.scene.folder import Scene
from nerfscene.training import dataset
from nerfscene.training.dataset import chosen_pixels, read_masks

Picture = NDArray[np.float32]
COVERED = (slice(10, 34), slice(20, 44))  # rows and columns of a bystander's place in every photo


def with_bystander(room: Path, folder: Path, masks: bool, all_black: bool = False) -> Path:
    """The room's photos with a magenta square in front, and masks that leave it out."""
    shutil.copytree(room, folder)
    names = [f["file_path"] for f in json.loads((room / "transforms.json").read_text())["frames"]]
    for name in names:
        with Image.open(folder / name) as photo:
            pixels = np.array(photo.convert("RGB"))
        pixels[COVERED] = (255, 0, 255)
        Image.fromarray(pixels).save(folder / name)
        if masks:
            mask = np.full(pixels.shape[:2], 0 if all_black else 255, np.uint8)
            mask[COVERED] = 0
            file = (folder / "masks" / Path(name).name).with_suffix(".png")
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(mask).save(file)
    return folder


def magenta(folder: Path) -> float:
    """How magenta the covered part of held-out renders is: the lesser of red and blue, minus green."""
    from nerfscene.scene import folder as scene

    shown = [frame.rgb[COVERED] for _, _, frame in compare(scene.load(folder))]
    rgb = np.stack(shown).reshape(-1, 3)
    return float((np.minimum(rgb[:, 0], rgb[:, 2]) - rgb[:, 1]).mean())


def test_a_masked_bystander_is_not_in_the_scene(room: Path, tmp_path: Path) -> None:
    config = TrainConfig(steps=200, threads=1)
    masked = with_bystander(room, tmp_path / "masked", True)
    scene = api.train(masked, tmp_path / "scene", config, analytic.SMALL)
    assert all(v.mask is not None for v in scene.views)
    check_pictures(scene, tmp_path / "scene" / "report.html")
    bare = api.train(
        with_bystander(room, tmp_path / "bare", False), tmp_path / "other", config, analytic.SMALL
    )
    assert magenta(tmp_path / "scene") < 0.1
    assert magenta(tmp_path / "other") > 0.3
    clean = api.train(room, tmp_path / "clean", config, analytic.SMALL)
    assert scene.figures.psnr is not None and clean.figures.psnr is not None and bare.figures.psnr is not None
    assert scene.figures.psnr == pytest.approx(clean.figures.psnr, abs=2.0)


def check_pictures(scene: Scene, report: Path) -> None:
    """Measured are pictures alike where masks cover them; people see there what the scene renders, dimmed."""
    seen: dict[str, tuple[Picture, Picture]] = {}
    shown: dict[str, tuple[Picture, Picture, Picture]] = {}
    measure(
        scene,
        seen=lambda figures, *pictures: seen.update({figures["photo"]: pictures}),
        shown=lambda figures, *pictures: shown.update({figures["photo"]: pictures}),
    )
    rendered = [np.clip(frame.rgb, 0, 1) for _, _, frame in compare(scene)]
    assert len(seen) == len(shown) == len(rendered)
    free = np.ones(rendered[0].shape[:2], bool)
    free[COVERED] = False
    for name, frame in zip(sorted(seen), rendered, strict=True):
        photo, render = seen[name]
        assert np.array_equal(photo[COVERED], render[COVERED])
        assert np.array_equal(shown[name][0][free], photo[free])
        assert np.allclose(shown[name][1][free], frame[free], atol=1e-5)
        dim_photo, dim_frame = (picture[COVERED] for picture in shown[name][:2])
        assert np.abs(dim_frame - dim_photo).max() > 0.3, "a magenta square beside the room"
        assert np.abs((dim_photo - dim_frame) - 0.5 * (photo - frame)[COVERED]).max() < 1e-4
        assert (
            np.allclose(shown[name][2], np.abs(photo - render).mean(-1)) and not shown[name][2][COVERED].any()
        )
        lines = dim_photo[..., 1] > 0.1  # magenta has no green
        assert 0.1 < lines.mean() < 0.5
    assert "What masks cover is dimmed and hatched" in report.read_text()


def test_masks_choose_pixels(room: Path, tmp_path: Path) -> None:
    posed = find_posed(with_bystander(room, tmp_path / "masked", True))
    assert posed is not None
    chosen = chosen_pixels(posed.views, read_masks(posed.views))
    assert chosen is not None
    k = posed.views[0].intrinsics
    expected = np.ones((len(posed.views), k.height, k.width), bool)
    expected[:, COVERED[0], COVERED[1]] = False
    assert np.array_equal(chosen, np.flatnonzero(expected))
    plain = find_posed(room)
    assert plain is not None and read_masks(plain.views) is None and chosen_pixels(plain.views, None) is None


def test_more_pixels_than_indices_tell_apart_are_refused(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posed = find_posed(with_bystander(room, tmp_path / "masked", True))
    assert posed is not None
    k = posed.views[0].intrinsics
    monkeypatch.setattr(dataset, "MOST_MASKED", len(posed.views) * k.width * k.height - 1)
    with pytest.raises(NerfsceneError, match="too many for masks; downscale them with --downscale 2"):
        chosen_pixels(posed.views, read_masks(posed.views))


def test_masks_that_leave_nothing_are_refused(room: Path, tmp_path: Path) -> None:
    black = with_bystander(room, tmp_path / "black", True, all_black=True)
    with pytest.raises(NerfsceneError, match="leave nothing to train on"):
        api.train(black, tmp_path / "scene", TrainConfig(steps=5), analytic.SMALL)
    assert not (tmp_path / "scene").exists()


def test_photos_that_are_transparent_everywhere_are_refused(tmp_path: Path) -> None:
    cut_out = analytic.write_object(tmp_path / "object", 6, 1, 32)
    for file in cut_out.rglob("*.png"):
        with Image.open(file) as photo:
            pixels = np.array(photo.convert("RGBA"))
        pixels[..., 3] = 0
        Image.fromarray(pixels).save(file)
    with pytest.raises(NerfsceneError, match="transparent everywhere, which leaves nothing to train on"):
        api.train(cut_out, tmp_path / "scene", TrainConfig(steps=5), analytic.SMALL)
    assert not (tmp_path / "scene").exists()

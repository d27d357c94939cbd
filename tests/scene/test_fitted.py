"""Splats beside a scene's field: saved, loaded, damaged, and gone once the field was trained on."""

from __future__ import annotations

import errno
import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from failing_writes import count_of_writes, sentence
from safetensors.numpy import load_file, save_file
from splat_cases import some_splats

from nerfscene.errors import NerfsceneWarning
from nerfscene.scene import folder as scenes
from nerfscene.scene.arrays import SPLATS_FILE
from nerfscene.scene.fitted import save_splats
from nerfscene.splatting.gaussians import Splats
from nerfscene.viewer.replaced import mark_of

FIGURES = {"count": 600, "degree": 1, "seconds": 3.0, "psnr": 21.5, "psnr_before": None}


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "scene")


@pytest.fixture
def fitted(place: Path) -> Path:
    save_splats(place, some_splats(1), FIGURES)
    return place


def alike(one: Splats | None, other: Splats) -> bool:
    """But for float16."""
    assert one is not None
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(a.shape == b.shape and np.allclose(a, b, rtol=2e-2, atol=2e-3) for a, b in pairs)


def test_splats_are_loaded_as_they_were_saved(place: Path) -> None:
    assert scenes.load(place).splats is None
    before = mark_of(place)
    save_splats(place, some_splats(1), FIGURES)
    scene = scenes.load(place)
    assert alike(scene.splats, some_splats(1)) and scene.figures.splats == FIGURES
    assert mark_of(place) == before  # an open viewer still shows this scene
    scenes.save(scene, place)  # and again with all the rest
    again = scenes.load(place)
    assert alike(again.splats, some_splats(1)) and again.figures == scene.figures


def test_a_world_set_afterwards_leaves_them(fitted: Path) -> None:
    scenes.save_crop(fitted, np.diag([0.5, 0.5, 0.5, 1.0]))
    assert alike(scenes.load(fitted).splats, some_splats(1))


def test_another_field_has_none(fitted: Path) -> None:
    scene = scenes.load(fitted)
    scenes.save(replace(scene, splats=None, figures=replace(scene.figures, splats=None)), fitted)
    assert scenes.load(fitted).splats is None
    assert not (fitted / SPLATS_FILE).exists()


def test_another_scenes_splats_are_not_taken(fitted: Path) -> None:
    arrays = load_file(fitted / SPLATS_FILE)
    save_file(arrays, fitted / SPLATS_FILE, metadata={"version": "1", "stamp": "0" * 32})
    with pytest.warns(NerfsceneWarning, match=r"is not this scene's"):
        scene = scenes.load(fitted)
    assert scene.splats is None and scene.figures.splats is None
    (fitted / SPLATS_FILE).unlink()
    with pytest.warns(NerfsceneWarning, match="is gone"):
        assert scenes.load(fitted).splats is None


@pytest.mark.parametrize("damage", ["cut", "empty", "folder", "nan", "shape", "version"])
def test_damaged_splats_are_told_and_the_field_is_used(fitted: Path, damage: str) -> None:
    file = fitted / SPLATS_FILE
    data = json.loads((fitted / "scene.json").read_text())
    arrays = load_file(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "folder":
        file.unlink()
        file.mkdir()
    elif damage == "version":
        data["splats"]["version"] = 99
        (fitted / "scene.json").write_text(json.dumps(data))
    else:
        if damage == "nan":
            arrays["positions"][3] = np.nan
        else:
            arrays["sh"] = arrays["sh"][:, :3]
        save_file(arrays, file, metadata={"version": "1", "stamp": data["splats"]["stamp"]})
    with pytest.warns(NerfsceneWarning) as told:
        scene = scenes.load(fitted)
    assert scene.splats is None and scene.figures.splats is None
    (said,) = (str(one.message) for one in told)
    assert "\n" not in said and str(file) in said and said.endswith("nerfscene train --splats")
    assert ("version 99" in said) == (damage == "version")


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_leaves_the_old_ones(fitted: Path, fault: int) -> None:
    fewer = some_splats(1, 100)

    def work() -> None:
        save_splats(fitted, fewer, {**FIGURES, "count": 100})

    keep = shutil.copytree(fitted, fitted.with_name("kept"))
    for good in range(count_of_writes(work, fitted)):
        shutil.rmtree(fitted)
        shutil.copytree(keep, fitted)
        sentence(work, good, fault, fitted)
        with warnings.catch_warnings(record=True) as said:
            left = scenes.load(fitted).splats
        assert (left is None) == bool(said) and (left is None or len(left) in (100, 600))

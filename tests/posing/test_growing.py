"""Models that grow step by step: whole, from films without wide angles, one for each place, from a start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image

from nerfscene.posing import growing, mapping
from nerfscene.posing.colours import colour
from nerfscene.posing.copies import copy_name

Model = pycolmap.Reconstruction


def scene(folder: Path, photos: int, points: int = 200, seed: int = 0) -> Model:
    """Photos around some points, their matches in ``folder``/database.db; the true model."""
    pycolmap.set_random_seed(seed)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, photos, points
    folder.mkdir(exist_ok=True)
    (folder / "images").mkdir()
    with pycolmap.Database.open(folder / "database.db") as database:
        return pycolmap.synthesize_dataset(options, database)


def off(model: Model, true: Model) -> float:
    """The largest distance of a camera from the true one, for cameras of a spread of 1."""
    keys = sorted(model.reg_image_ids())
    found = np.array([model.image(key).projection_center() for key in keys])
    expected = np.array([true.image(key).projection_center() for key in keys])
    true_from_found = pycolmap.estimate_sim3d(found, expected)
    assert true_from_found is not None
    moved = np.array([true_from_found * centre for centre in found])
    spread = np.linalg.norm(expected - expected.mean(0), axis=1).mean()
    return float(np.linalg.norm(moved - expected, axis=1).max() / spread)


def test_many_photos_are_placed_with_fewer_adjustments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = scene(tmp_path, 24)
    around: list[int] = []
    usual = growing._Work.refine_around
    monkeypatch.setattr(
        growing._Work, "refine_around", lambda work, image: (around.append(image), usual(work, image))[1]
    )
    placed: list[int] = []

    def grow() -> Model:
        around.clear()
        placed.clear()
        with mapping.quiet():
            (model,) = mapping.incremental_mapping(tmp_path, mapping.USUAL, 0, lambda: placed.append(0))
        assert model.num_reg_images() == 24 and len(placed) == 22 and off(model, true) < 1e-3
        return model

    grow()
    assert len(around) == 22
    monkeypatch.setattr(growing, "ALL_ADJUSTED", 6)
    monkeypatch.setattr(growing, "MANY", 12)
    grow()
    assert 5 < len(around) < 16


@pytest.mark.parametrize("few", [0, 300])
def test_where_no_pair_shows_much_depth_a_smaller_angle_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(growing, "FEW_STARTS", few)
    true = scene(tmp_path, 6)

    def found(angle: float) -> list[Model]:
        with mapping.quiet():
            wide = mapping.Evidence(15, 100, angle, 30, 0.25)
            return mapping.incremental_mapping(tmp_path, wide, 0, lambda: None)

    usual = growing.EASIER
    monkeypatch.setattr(growing, "EASIER", usual[:2])
    too_wide = next(angle for angle in range(30, 180, 30) if not found(angle))
    monkeypatch.setattr(growing, "EASIER", usual)
    (model,) = found(too_wide)
    assert off(model, true) < 1e-3
    assert found(600.0) == []


def test_starts_with_depth_come_after_the_usual_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene(tmp_path, 7)
    usual = growing._starts(tmp_path / "database.db", 15)
    assert len(usual) == len(set(usual)) == 21
    monkeypatch.setattr(growing, "FIRST_STARTS", 4)
    monkeypatch.setattr(growing, "FEW_STARTS", 0)
    deep = growing._starts(tmp_path / "database.db", 15)
    assert deep[:4] == usual[:4] and sorted(deep) == sorted(usual) and deep != usual
    flat = np.random.default_rng(0).uniform(0, 1000, (50, 2))
    assert growing._depth(flat, flat @ [[0.9, 0.1], [-0.2, 1.1]] + [5, -30]) < 1e-6
    assert growing._depth(flat, flat[::-1]) > 100


def test_photos_that_are_missing_are_added_to_a_start(tmp_path: Path) -> None:
    true = scene(tmp_path, 12)
    with mapping.quiet():
        (whole,) = mapping.incremental_mapping(tmp_path, mapping.USUAL, 0, lambda: None)
        start = Model(whole)
        for frame in sorted(start.reg_frame_ids())[8:]:
            start.deregister_frame(frame)
        (again,) = mapping.incremental_mapping(tmp_path, mapping.SOME, 0, lambda: None, start)
    assert start.num_reg_images() == 8 and again.num_reg_images() == 12 and off(again, true) < 1e-3


@pytest.mark.parametrize("few", [0, 300])
def test_each_place_gets_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Two scenes in one database, between which nothing matches."""
    monkeypatch.setattr(growing, "FEW_STARTS", few)
    true = scene(tmp_path, 8)
    scene(tmp_path / "other", 6, seed=1)
    with (
        pycolmap.Database.open(tmp_path / "database.db") as db,
        pycolmap.Database.open(tmp_path / "other" / "database.db") as other,
    ):
        (camera,) = db.read_all_cameras()
        shift = max(image.image_id for image in db.read_all_images())
        for image in sorted(other.read_all_images(), key=lambda image: image.image_id):
            new = pycolmap.Image(name=f"other {image.name}", camera_id=camera.camera_id)
            frame = pycolmap.Frame()
            key = db.write_image(new)
            frame.rig_id = db.read_all_rigs()[0].rig_id
            frame.add_data_id(pycolmap.data_t(camera.sensor_id, key))
            db.write_frame(frame)
            db.write_keypoints(key, other.read_keypoints(image.image_id))
            assert key == image.image_id + shift
        for pair, geometry in zip(*other.read_two_view_geometries(), strict=True):
            a, b = pycolmap.pair_id_to_image_pair(pair)
            db.write_two_view_geometry(a + shift, b + shift, geometry)
    with mapping.quiet():
        models = mapping.incremental_mapping(tmp_path, mapping.USUAL, 0, lambda: None)
    assert sorted(model.num_reg_images() for model in models) == [6, 8]
    assert off(max(models, key=lambda model: model.num_reg_images()), true) < 1e-3


def test_nothing_grows_from_nothing(tmp_path: Path) -> None:
    pycolmap.Database.open(tmp_path / "database.db").close()
    with mapping.quiet():
        assert mapping.incremental_mapping(tmp_path, mapping.USUAL, 0, lambda: None) == []


def test_points_get_the_mean_colour_of_what_shows_them(tmp_path: Path) -> None:
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, 4, 40
    model = pycolmap.synthesize_dataset(options)
    shades = {}
    for i, key in enumerate(sorted(model.reg_image_ids())):
        image = model.image(key)
        image.name = copy_name(i)
        shades[key] = 40 * (i + 1)
        camera = model.camera(image.camera_id)
        grey = Image.new("RGB", (camera.width, camera.height), (shades[key], 0, 100))
        grey.save(tmp_path / image.name, quality=95)
    colour(model, tmp_path)
    for point in model.points3D.values():
        mean = np.mean([shades[element.image_id] for element in point.track.elements])
        assert abs(int(point.color[0]) - mean) <= 3 and abs(int(point.color[2]) - 100) <= 3

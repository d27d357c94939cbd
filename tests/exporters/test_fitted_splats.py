"""Splats fitted to a scene: nearer to its photos than those of its surfaces, and used wherever splats are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from splat_cases import by_gsply

import nerfscene as ns
from nerfscene import cli
from nerfscene.config import ExportConfig, PageConfig
from nerfscene.exporters import splat_fitting
from nerfscene.exporters.page import write_page
from nerfscene.exporters.splat_choice import fitted_splats
from nerfscene.exporters.splat_fitting import Budget, splat_figures, splats_needed, with_fitted_splats
from nerfscene.exporters.splat_pictures import photographed
from nerfscene.exporters.splat_targets import field_targets, new_cameras, photo_target, photo_targets
from nerfscene.exporters.splats import write_splats
from nerfscene.exporters.told import Told
from nerfscene.measuring.evaluate import compare
from nerfscene.ops.splatting import Rasteriser
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder_lock import only_one
from nerfscene.scene.scene import Scene
from nerfscene.splatting.fitting import gaussians_of
from nerfscene.viewer.splats import fitted_ones

QUIET = Told()
COUNT = 1200


@pytest.fixture(scope="module")
def scene(trained: Path) -> Scene:
    return scenes.load(trained)


@pytest.fixture(scope="module")
def fitted(scene: Scene) -> Scene:
    return with_fitted_splats(scene, Budget(steps=60), QUIET, COUNT, threads=1)


def test_a_fit_comes_nearer_to_photos_that_it_never_saw(fitted: Scene) -> None:
    figures = fitted.figures.splats
    assert fitted.splats is not None and figures is not None
    assert 100 < figures["count"] == len(fitted.splats) <= COUNT and figures["degree"] == 1
    assert figures["psnr"] > figures["psnr_before"] + 0.5
    again = splat_figures(fitted, threads=1)
    assert again is not None and again["psnr"] == pytest.approx(figures["psnr"], abs=1e-3)


def test_the_same_steps_on_one_thread_give_the_same_splats(scene: Scene) -> None:
    one, other = (with_fitted_splats(scene, Budget(steps=4), QUIET, 500, threads=1) for _ in range(2))
    assert one.splats == other.splats


def test_held_out_photos_are_no_targets(scene: Scene) -> None:
    trained_on = [v for v in scene.views if v.split == "train"]
    assert len(trained_on) < len(scene.views)
    targets = photo_targets(scene, QUIET)
    assert len(targets) == len(trained_on)
    held = {v.path for v in scene.views} - {v.path for v in trained_on}
    pictures = [photo_target(scene, v).rgb for v in scene.views if v.path in held]
    assert not any(np.array_equal(t.rgb, p) for t in targets for p in pictures)


def test_as_many_splats_as_pixels_need(scene: Scene) -> None:
    wide = replace(scene.views[0].intrinsics, width=1000, height=600)
    larger = replace(scene, views=tuple(replace(v, intrinsics=wide) for v in scene.views))
    assert splats_needed(larger) > splats_needed(scene)


def test_targets_have_the_photos_exposures_and_masks(scene: Scene, tmp_path: Path) -> None:
    from PIL import Image

    view = scene.views[0]
    k = view.intrinsics
    half = np.zeros((k.height, k.width), np.uint8)
    half[:, : k.width // 2] = 255
    Image.fromarray(half).save(tmp_path / "mask.png")
    target = photo_target(scene, replace(view, mask=tmp_path / "mask.png", exposure=(0.1, 0.0, -0.1)))
    assert target.used is not None and np.array_equal(target.used, half > 0)
    assert target.gains == pytest.approx((np.exp(0.1), 1, np.exp(-0.1)))


def test_a_photo_through_a_bent_lens_shows_splats_where_they_are(fitted: Scene) -> None:
    """Straightened again, it is the picture of a lens without distortion."""
    assert fitted.splats is not None
    gaussians, rasteriser = gaussians_of(fitted.splats), Rasteriser(threads=1)
    view = next(v for v in fitted.views if v.split == "test")
    bent = replace(view, intrinsics=replace(view.intrinsics, distortion=(0.08, -0.03, 0.002, -0.001, 0.0)))
    straight, whole = photographed(gaussians, fitted, view, rasteriser)
    seen, there = photographed(gaussians, fitted, bent, rasteriser)
    assert whole.all() and there.all() and seen.shape == straight.shape
    from nerfscene.exporters.undistorted import pinhole_of, resampled

    pinhole = pinhole_of(bent.intrinsics, view.path)
    back = resampled(np.round(255 * seen).astype(np.uint8), bent.intrinsics, pinhole)
    left, top = round(view.intrinsics.cx - pinhole.cx), round(view.intrinsics.cy - pinhole.cy)
    h, w = back.shape[:2]
    part = straight[max(top, 0) : top + h, max(left, 0) : left + w]
    back = back[max(-top, 0) :][: part.shape[0], max(-left, 0) :][:, : part.shape[1]]
    assert np.abs(back / 255 - part).mean() < 0.04


def test_new_places_lie_between_the_photos(scene: Scene) -> None:
    views = [v for v in scene.views if v.split == "train"]
    made = new_cameras(views, 8)
    places = np.stack([v.world_from_cam[:3, 3] for v in views])
    gap = np.sort(np.linalg.norm(places[:, None] - places, axis=2), axis=1)[:, 1].max()
    for camera in made:
        turn = camera.world_from_cam[:3, :3]
        assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-6) and np.linalg.det(turn) > 0
        assert np.linalg.norm(places - camera.world_from_cam[:3, 3], axis=1).min() < 2 * gap


def test_ctrl_c_ends_the_fit_and_keeps_what_there_is(scene: Scene) -> None:
    said: list[str] = []

    def pressed(stage: str, done: float, text: str) -> None:
        assert "PSNR" in text
        raise KeyboardInterrupt

    made = with_fitted_splats(
        scene, Budget(steps=1000), Told(warn=said.append, noted=pressed), 500, threads=1
    )
    assert made.splats is not None and len(made.splats) > 50
    assert len(said) == 1 and "interrupted" in said[0]


def test_a_missing_photo_is_told_before_anything_that_takes_long(scene: Scene, tmp_path: Path) -> None:
    gone = replace(scene.views[0], path=tmp_path / "gone.jpg")
    heard: list[str] = []
    with pytest.raises(ns.NerfsceneError, match=r"gone\.jpg does not exist any more"):
        with_fitted_splats(
            replace(scene, views=(gone, *scene.views[1:])),
            Budget(steps=1),
            Told(lambda stage, done: heard.append(stage)),
            500,
        )
    assert not heard


@pytest.mark.parametrize("damage", ["another", "unreadable"])
def test_a_photo_that_was_replaced_is_told_at_once(scene: Scene, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "replaced.png"
    if damage == "another":
        Image.new("RGB", (500, 100), "red").save(file)
    else:
        file.write_bytes(b"no picture")
    said = "is now 500×100 pixels" if damage == "another" else "cannot be read as a photo"
    heard: list[str] = []
    told = Told(lambda stage, done: heard.append(stage))
    held_out = [v.split for v in scene.views].index("test")
    views = list(scene.views)
    views[0] = replace(views[0], path=file)
    with pytest.raises(ns.NerfsceneError, match=rf"replaced\.png {said}"):
        with_fitted_splats(replace(scene, views=tuple(views)), Budget(steps=1), told, 500)
    assert not heard
    views[held_out] = replace(scene.views[held_out], path=file)
    with pytest.raises(ns.NerfsceneError, match=rf"replaced\.png {said}"):
        list(compare(replace(scene, views=tuple(views))))


def test_photos_that_count_nowhere_are_no_error(scene: Scene, tmp_path: Path) -> None:
    k = scene.views[0].intrinsics
    Image.new("L", (k.width, k.height)).save(tmp_path / "nothing.png")
    views = tuple(replace(v, mask=tmp_path / "nothing.png") for v in scene.views)
    heard: list[str] = []
    told = Told(noted=lambda stage, done, text: heard.append(text))
    made = with_fitted_splats(replace(scene, views=views), Budget(steps=3), told, 500, threads=1)
    assert made.splats is not None and np.isfinite(made.splats.positions).all()
    assert heard and "inf" not in heard[0] and "nan" not in heard[0]


def test_an_export_that_is_cancelled_leaves_nothing(scene: Scene, tmp_path: Path) -> None:
    class Cancelled(Exception):
        pass

    def progress(stage: str, done: float) -> None:
        if stage == "fitting splats":
            raise Cancelled

    config = ExportConfig(fit=60.0, count=500, threads=1)
    with pytest.raises(Cancelled):
        write_splats(scene, tmp_path / "a.ply", config, Told(progress))
    assert not list(tmp_path.iterdir())


def test_fitted_splats_are_what_is_exported(fitted: Scene, tmp_path: Path) -> None:
    assert fitted.splats is not None
    said = write_splats(fitted, tmp_path / "a.ply", ExportConfig(threads=1), QUIET)
    assert said["splats"] == len(fitted.splats) and said["fitted"] == fitted.figures.splats
    assert b"SplatRenderMode: mip" in (tmp_path / "a.ply").read_bytes()[:400]
    back = by_gsply(tmp_path / "a.ply")
    assert np.allclose(np.sort(back.opacities), np.sort(fitted.splats.opacities), atol=1e-4)
    few = write_splats(fitted, tmp_path / "b.spz", ExportConfig(count=200, degree=0, threads=1), QUIET)
    assert (few["splats"], few["degree"]) == (200, 0)


def test_a_fit_before_an_export_leaves_the_scene_alone(scene: Scene, tmp_path: Path) -> None:
    said = write_splats(scene, tmp_path / "a.sog", ExportConfig(fit=0.5, count=500, threads=1), QUIET)
    assert said["fitted"]["psnr"] is not None and said["fitted"]["seconds"] <= 5
    assert scene.splats is None


def test_a_crop_and_a_world_set_later_are_heeded(fitted: Scene) -> None:
    cropped = replace(fitted, crop=np.diag([0.8, 0.8, 0.8, 1.0]))
    inside = fitted_splats(cropped)
    assert inside is not None and fitted.splats is not None
    assert 0 < len(inside) < len(fitted.splats) and (np.abs(inside.positions) <= 0.81).all()


def test_the_viewer_shows_them(fitted: Scene, scene: Scene) -> None:
    shown = fitted_ones(fitted)
    assert fitted_ones(scene) is None and shown is not None and fitted.splats is not None
    assert len(shown.centers) == len(fitted.splats) and shown.opacities.shape == (len(shown.centers), 1)


def test_they_stay_in_the_folder_until_the_scene_is_trained_further(trained: Path, tmp_path: Path) -> None:
    place = shutil.copytree(trained, tmp_path / "scene")
    made = ns.fit_splats(place, 0.2, threads=1)
    assert scenes.load(place).splats is not None and ns.info(place)["splats"] == made.figures.splats
    with pytest.raises(ns.NerfsceneError, match="seconds must be above 0"):
        ns.fit_splats(place, 0)


def test_the_command_tells_how_good_they_are(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place, file = shutil.copytree(trained, tmp_path / "scene"), tmp_path / "a.spz"
    options = ["--count", "500", "--threads", "1"]
    cli.main(["export", str(place), "-o", str(file), "--fit", "0.5", *options])
    said = capfd.readouterr().err
    assert "splats, fitted for" in said and "before the fit)" in said and "fitting splats: 100 %" in said
    assert (
        file.stat().st_size > 1000 and scenes.load(place).splats is None
    )  # few of them, for this file alone
    ns.fit_splats(place, 0.2, threads=1)
    cli.main(["eval", str(place)])
    cli.main(["info", str(place)])
    assert capfd.readouterr().out.count("splats, fitted for") == 2


def test_an_export_that_fits_keeps_the_splats_in_the_scene(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splat_fitting, "FEWEST", 500)
    place, file = shutil.copytree(trained, tmp_path / "scene"), tmp_path / "a.ply"
    cli.main(["export", str(place), "-o", str(file), "--to", "splats", "--fit", "0.5", "--threads", "1"])
    kept = scenes.load(place).splats
    assert kept is not None and len(by_gsply(file).positions) == len(kept)
    capfd.readouterr()
    cli.main(["export", str(place), "-o", str(tmp_path / "b.spz"), "--threads", "1"])
    assert "splats, fitted for" in capfd.readouterr().err


def test_a_folder_where_another_works_keeps_none(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splat_fitting, "FEWEST", 500)
    place, file = shutil.copytree(trained, tmp_path / "scene"), tmp_path / "a.spz"
    with only_one(place):
        cli.main(["export", str(place), "-o", str(file), "--fit", "0.2", "--threads", "1"])
    assert "for this export alone" in capfd.readouterr().err
    assert file.stat().st_size > 1000 and scenes.load(place).splats is None


@pytest.mark.parametrize("name", ["photos", "nothing"])
def test_what_is_no_scene_is_all_that_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(tmp_path / name), "-o", str(tmp_path / "a.spz"), "--fit", "0.2"])
    said = capfd.readouterr().err
    assert ended.value.code == 2 and said.startswith("nerfscene: ") and said.count("\n") == 1
    assert [one.name for one in tmp_path.iterdir()] == ["photos"]


def test_pictures_from_new_places_take_a_bounded_time(scene: Scene) -> None:
    renderer = scene.photo_renderer("cpu", 1)
    assert not list(field_targets(scene, renderer, 5, QUIET, until=0.0))
    assert len(list(field_targets(scene, renderer, 2, QUIET))) == 2


def test_a_page_has_them(fitted: Scene, tmp_path: Path) -> None:
    said = write_page(fitted, tmp_path / "page", PageConfig(threads=1), QUIET)
    assert fitted.splats is not None and said["splats"] == len(fitted.splats)

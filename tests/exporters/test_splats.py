"""Splats made from a trained scene, and the samples of its surface from which they are made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import analytic
import numpy as np
import pytest
from splat_cases import by_gsply, psnr
from splat_pictures import picture

from nerfscene.config import ExportConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters import splats as writing
from nerfscene.exporters.placement import placed
from nerfscene.exporters.samples import Samples, seen_surface, thinned
from nerfscene.exporters.splat_making import drawn_in, fitted_harmonics, made_splats, seen_scene
from nerfscene.exporters.splats import write_splats
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import render
from nerfscene.films.export_world import Y_DOWN_FROM_Z_UP
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.splatting.gaussians import Splats, moved
from nerfscene.types import Camera

COUNT = 4000
QUIET = Told()


@pytest.fixture(scope="module")
def scene(trained: Path) -> Scene:
    return scenes.load(trained)


@pytest.fixture(scope="module")
def splats(scene: Scene) -> Splats:
    return made_splats(scene, scene.renderer(threads=1), COUNT, 1, QUIET)


@pytest.fixture(scope="module")
def samples(scene: Scene) -> Samples:
    return seen_surface(scene, scene.renderer(threads=1), COUNT, QUIET)


def test_samples_lie_on_what_the_cameras_saw(samples: Samples) -> None:
    """On the ground, the spheres or the wall, as far as so short a training knows where they are."""
    assert 0.5 * COUNT < len(samples) <= COUNT
    p = samples.positions.astype(float)
    away = [np.abs(p[:, 2] - analytic.GROUND), np.abs(np.linalg.norm(p, axis=1) - analytic.ROOM)]
    away += [np.abs(np.linalg.norm(p - c, axis=1) - r) for c, r, *_ in analytic.SPHERES]
    miss = np.min(away, axis=0)
    assert np.median(miss) < 0.15
    assert np.median(miss[np.linalg.norm(p, axis=1) < 1.2]) < 0.06


def test_normals_point_out_of_the_surface(samples: Samples) -> None:
    assert np.linalg.norm(samples.normals, axis=1) == pytest.approx(1, abs=1e-3)
    p = samples.positions
    ground = (np.abs(p[:, 2] - analytic.GROUND) < 0.05) & (np.linalg.norm(p[:, :2], axis=1) < 2)
    ground &= (np.linalg.norm(p, axis=1) > 0.8) & ground
    assert ground.sum() > 50
    assert np.median(samples.normals[ground][:, 2]) > 0.8


def test_samples_are_even_in_the_subject_and_sparser_far_away(samples: Samples) -> None:
    assert (samples.radius > 0).all()
    assert ((samples.colours >= 0) & (samples.colours <= 1)).all()
    assert ((samples.confidence > 0.5) & (samples.confidence <= 1)).all()
    away = np.linalg.norm(samples.positions, axis=1)
    near, far = samples.radius[away < 1.5], samples.radius[away > 4]
    assert np.percentile(near, 90) < 4 * np.percentile(near, 10)
    if len(far) > 50:
        assert np.median(far) > 1.5 * np.median(near)


def test_a_crop_leaves_only_its_inside(scene: Scene) -> None:
    cropped = replace(scene, crop=np.diag([0.8, 0.8, 0.8, 1]))
    inside = seen_surface(cropped, cropped.renderer(threads=1), 1000, QUIET)
    assert len(inside) > 100
    assert (np.abs(inside.positions) < 0.85).all()
    splats = made_splats(cropped, cropped.renderer(threads=1), 1000, 0, QUIET)
    assert (np.abs(splats.positions) < 0.85).all()  # and so no shell


def test_thinning_keeps_to_the_count() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(-1, 1, (20_000, 3)).astype(np.float32)
    p[:, 2] = 0
    one = np.full(len(p), 0.01, np.float32)
    normals = np.tile(np.float32([0, 0, 1]), (len(p), 1))
    samples = Samples(p, normals, np.abs(p), one, one, one, one)
    for count in (100, 3000, 19_000, 30_000):
        left = thinned(samples, one.astype(np.float64), count)
        assert 0.9 * min(count, len(p)) < len(left) <= count
        assert np.allclose(left.positions[:, 2], 0)


def test_splats_look_like_our_picture_from_the_cameras_and_between_them(scene: Scene, splats: Splats) -> None:
    renderer = scene.renderer(threads=1)
    assert 0.7 * COUNT < len(splats) <= COUNT
    assert np.linalg.norm(splats.quaternions, axis=1) == pytest.approx(1, abs=1e-5)
    assert (splats.scales > 0).all()
    lens = analytic.intrinsics(64, 48)
    # One of the photos' places, one a step aside.
    for pose in (scene.views[4].world_from_cam, analytic.ring(48)[9]):
        camera = Camera(lens, pose)
        assert psnr(picture(splats, camera), np.clip(render(renderer, camera).rgb, 0, 1)) > 18


def test_the_shell_hides_what_is_behind_everything(splats: Splats) -> None:
    """A camera that looks where no photo did sees the backdrop, and no hole."""
    camera = Camera(analytic.intrinsics(64, 48), analytic.look((0, 0, 1.5), (0.3, 0, 9)))
    black, white = (picture(splats, camera, (shade,) * 3) for shade in (0.0, 1.0))
    assert np.abs(white - black).max() < 0.05


def test_far_splats_are_drawn_in_and_look_the_same(splats: Splats) -> None:
    near = drawn_in(splats, np.zeros(3), 3.0)
    assert np.linalg.norm(near.positions, axis=1).max() == pytest.approx(3.0, rel=1e-4)
    camera = Camera(analytic.intrinsics(64, 48), analytic.look((0, 0, 0.001), (1, 0.2, 0.1)))
    assert psnr(picture(near, camera), picture(splats, camera)) > 28


def test_a_file_says_what_was_written(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "room.ply"
    told: list[tuple[str, float]] = []
    config = ExportConfig(count=COUNT, degree=2, threads=1)
    (tmp_path / ".room.ply.999999999.tmp").touch()  # as a killed run leaves it
    said = write_splats(scene, file, config, Told(progress=lambda stage, share: told.append((stage, share))))
    assert said == {
        "file": str(file),
        "splats": said["splats"],
        "degree": 2,
        "bytes": file.stat().st_size,
        "up": "-y",
        "fitted": None,
    }
    assert [p.name for p in tmp_path.iterdir()] == ["room.ply"]
    assert {stage for stage, _ in told} >= {"looking at the scene", "finding surfaces", "reading colours"}
    assert all(0 <= share <= 1 for _, share in told)
    back = by_gsply(file)
    assert len(back) == said["splats"] <= COUNT
    # The photos' cameras, turned like the file, see what ours do.
    world = placed(scene)
    pose = Y_DOWN_FROM_Z_UP @ world.views[4].world_from_cam
    lens = analytic.intrinsics(64, 48)
    ours = render(world.renderer(threads=1), Camera(lens, world.views[4].world_from_cam)).rgb
    assert psnr(picture(back, Camera(lens, pose)), np.clip(ours, 0, 1)) > 18


def test_the_captures_world_is_not_turned(
    scene: Scene, splats: Splats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "made_splats", lambda *given: splats)
    said = write_splats(scene, tmp_path / "room.ply", ExportConfig(world="capture"), QUIET)
    assert said["up"] == ""
    assert np.allclose(by_gsply(tmp_path / "room.ply").positions, splats.positions)


@pytest.mark.parametrize("times", [1e-3, 1e4])
def test_an_absurd_scale_is_warned_of(
    times: float, scene: Scene, splats: Splats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sized = moved(splats, np.diag([times, times, times, 1]))
    monkeypatch.setattr(writing, "made_splats", lambda *given: sized)
    warned: list[str] = []
    write_splats(scene, tmp_path / "a.ply", ExportConfig(world="capture"), Told(warn=warned.append))
    assert len(warned) == 1
    assert "set a scale" in warned[0]


def test_cancelling_leaves_nothing(scene: Scene, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def progress(stage: str, share: float) -> None:
        if share > 0.1:
            raise Stop

    with pytest.raises(Stop):
        write_splats(
            scene, tmp_path / "room.spz", ExportConfig(count=500, threads=1), Told(progress=progress)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_crop_that_leaves_nothing_is_said(scene: Scene, tmp_path: Path) -> None:
    box = np.diag([0.01, 0.01, 0.01, 1.0])
    box[:3, 3] = (0, 0, 2.9)
    with pytest.raises(NerfsceneError, match="no surface was found"):
        write_splats(replace(scene, crop=box), tmp_path / "a.ply", ExportConfig(count=500, threads=1), QUIET)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_shows_no_sample_adds_nothing(scene: Scene, samples: Samples) -> None:
    """As of three photos: what one of them shows, another may not."""
    few = Samples(**{name: value[:50] for name, value in vars(samples).items()})
    behind = replace(few, positions=few.positions + np.float32(1e3))
    taken = seen_scene(scene, scene.renderer(threads=1), 100, QUIET).taken
    made = fitted_harmonics(behind, taken, 1, QUIET, threads=1)
    assert made.shape == (50, 4, 3) and np.isfinite(made).all()

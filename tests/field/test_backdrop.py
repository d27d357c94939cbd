"""The backdrop, which shows where the scene has nothing: looked up by direction, extended from the photos."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import analytic
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nerfscene import api
from nerfscene.config import TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.backdrop import guessed, spread
from nerfscene.field.rendering import (
    BACKDROP_ROWS,
    Renderer,
    behind,
    cell_directions,
    new_cancel,
    ray_directions,
    render,
    render_part,
)
from nerfscene.scene import folder as scene
from nerfscene.training.progress import Progress
from nerfscene.types import Camera, Intrinsics

GREY = (0.5, 0.5, 0.5)
WIDE = Intrinsics(40, 30, 20.0, 21.0, 19.0, 16.0, "perspective", (0.02, -0.01, 0.001, 0.002, 0.0))


def some_directions(n: int, seed: int = 0) -> np.ndarray:
    d = np.random.default_rng(seed).normal(size=(n, 3))
    return np.float32(d / np.linalg.norm(d, axis=1, keepdims=True))


def axes_picture() -> np.ndarray:
    """A backdrop whose colour encodes the direction."""
    return np.float32(0.5 + 0.5 * cell_directions())


def test_a_backdrop_is_looked_up_by_direction() -> None:
    centres = cell_directions().reshape(-1, 3)
    noise = np.random.default_rng(1).uniform(size=(BACKDROP_ROWS, 2 * BACKDROP_ROWS, 3)).astype(np.float32)
    assert np.allclose(behind(noise, np.float32(centres)), noise.reshape(-1, 3), atol=1e-3)
    d = some_directions(5000)
    assert np.abs(behind(axes_picture(), d) - (0.5 + 0.5 * d)).max() < 0.03  # a cell is 0.1 wide
    # There is no seam at ±180° round the horizon, and straight up and down work too.
    seam = np.float32([[-1, -1e-4, 0.1], [-1, 1e-4, 0.1]])
    assert np.ptp(behind(noise, seam / np.linalg.norm(seam, axis=1, keepdims=True)), 0).max() < 0.01
    assert np.isfinite(behind(noise, np.float32([[0, 0, 1], [0, 0, -1]]))).all()


def test_what_was_seen_stays_and_is_carried_on() -> None:
    d = some_directions(60000)
    low = d[d[:, 2] < 0.3]  # from the ground to a little above the horizon
    sky, ground = np.array([0.2, 0.4, 0.9]), np.array([0.5, 0.3, 0.1])
    colors = np.where(low[:, 2:] > 0, sky, ground)
    made = spread(low, colors, np.ones(len(low)), GREY)
    assert made.shape == (BACKDROP_ROWS, 2 * BACKDROP_ROWS, 3) and made.dtype == np.float32
    height = cell_directions()[..., 2]
    assert np.abs(made[height < -0.2] - ground).max() < 0.05
    assert np.abs(made[(height > 0.15) & (height < 0.25)] - sky).max() < 0.1
    up = made[height > 0.9]
    assert np.abs(up - sky).max() < 0.5 * np.abs(up - ground).max()  # bluer than brown
    assert made.min() >= 0 and made.max() <= 1


def test_the_heavier_of_two_in_one_direction_wins() -> None:
    d = some_directions(2000)
    both = np.concatenate([d, d])
    colors = np.concatenate([np.full((2000, 3), 0.9), np.full((2000, 3), 0.1)])
    weights = np.concatenate([np.full(2000, 1000.0), np.ones(2000)])
    assert np.allclose(spread(both, colors, weights, GREY), 0.9, atol=0.01)


def test_nothing_seen_is_the_plain_background() -> None:
    none = np.zeros((0, 3))
    made = spread(none, none, np.zeros(0), (0.1, 0.2, 0.3))
    assert np.allclose(made, [0.1, 0.2, 0.3])


@pytest.fixture(scope="module")
def loaded(trained: Path) -> scene.Scene:
    return scene.load(trained)


def emptied(loaded: scene.Scene, backend: str) -> Renderer:
    field = replace(loaded.field, occupancy=np.zeros_like(loaded.field.occupancy))
    # A cancelled picture is black too. The backdrop must show even though the background is black.
    return replace(loaded.renderer(backend), field=field, backdrop=axes_picture(), background=(0.0, 0.0, 0.0))


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize("samples", [1, 2])
def test_the_backdrop_shows_where_the_scene_is_empty(loaded: scene.Scene, backend: str, samples: int) -> None:
    renderer = emptied(loaded, backend)
    camera = Camera(WIDE, loaded.views[3].world_from_cam)
    frame = render(renderer, camera, samples)
    assert not frame.accumulation.any()
    rotation = renderer.scene_from_world[:3, :3] / np.cbrt(np.linalg.det(renderer.scene_from_world[:3, :3]))
    pose = renderer.scene_from_world @ camera.world_from_cam
    pose[:3, :3] = rotation @ camera.world_from_cam[:3, :3]
    toward = ray_directions(renderer, WIDE, pose, np.ones((30, 40), bool))
    assert np.abs(frame.rgb.reshape(-1, 3) - (0.5 + 0.5 * toward)).max() < 0.04
    # The middle pixel looks along the camera's axis: a wrong sign or axis would show here.
    ahead = rotation @ camera.world_from_cam[:3, 2]
    assert np.allclose(frame.rgb[16, 19], 0.5 + 0.5 * ahead, atol=0.06)


def test_a_part_of_a_picture_shows_its_part_of_the_backdrop(loaded: scene.Scene) -> None:
    renderer = emptied(loaded, "cpu")
    camera = Camera(WIDE, loaded.views[3].world_from_cam)
    part = render_part(renderer, camera, (5, 21, 7, 30))
    assert np.allclose(part.rgb, render(renderer, camera).rgb[5:21, 7:30], atol=1e-6)


def test_the_backdrop_fills_what_is_left_of_a_ray(loaded: scene.Scene) -> None:
    view = loaded.views[3]
    camera = Camera(view.intrinsics, view.world_from_cam)
    plain = render(replace(loaded.renderer(), backdrop=None), camera)
    shown = render(replace(loaded.renderer(), backdrop=np.ones((32, 64, 3), np.float32)), camera)
    left = 1 - plain.accumulation[..., None]
    expected = plain.rgb + left * (1 - np.float32(loaded.background))
    assert 0.5 < plain.accumulation.mean() < 1
    assert np.abs(shown.rgb - expected).max() < 4e-3 and np.array_equal(shown.depth, plain.depth)


def test_a_crop_and_a_cancelled_picture_show_no_backdrop(loaded: scene.Scene) -> None:
    renderer = emptied(loaded, "cpu")
    camera = Camera(WIDE, loaded.views[3].world_from_cam)
    cropped = render(replace(renderer, crop=np.eye(4)), camera)
    assert not cropped.rgb.any()
    cancel = new_cancel(renderer)
    cancel.set()
    assert not render_part(renderer, camera, (0, 30, 0, 40), cancel).rgb.any()


def test_training_leaves_a_backdrop_that_is_like_the_room(trained: Path, loaded: scene.Scene) -> None:
    assert loaded.backdrop is not None
    again = guessed(
        replace(loaded, backdrop=None).photo_renderer(), [v for v in loaded.views if v.split == "train"]
    )
    assert np.abs(again - loaded.backdrop).max() < 0.02
    # Where a photo looks, the guess agrees with the photo except for detail.
    for view in loaded.views[:6]:
        camera = Camera(view.intrinsics, view.world_from_cam)
        frame = render(loaded.renderer(), camera)
        emptier = replace(loaded.renderer(), field=emptied(loaded, "cpu").field)
        guess = render(emptier, camera)
        assert np.abs(frame.rgb.mean((0, 1)) - guess.rgb.mean((0, 1))).max() < 0.15


def test_an_interrupted_training_has_a_backdrop_and_resuming_renews_it(
    small_room: Path, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "training" and progress.step >= 50:
            raise KeyboardInterrupt

    folder = tmp_path / "scene"
    with pytest.raises(KeyboardInterrupt):
        api.train(small_room, folder, TrainConfig(steps=5000), analytic.SMALL, listener=stop)
    before = scene.load(folder).backdrop
    assert before is not None and before.std() > 0.02
    made = api.train(small_room, folder, TrainConfig(steps=200), analytic.SMALL, resume=True)
    assert made.backdrop is not None and not np.array_equal(made.backdrop, before)


def test_cut_outs_have_no_backdrop(cut_out: Path, tmp_path: Path) -> None:
    made = api.train(cut_out, tmp_path / "scene", TrainConfig(steps=5))
    assert made.backdrop is None and scene.load(tmp_path / "scene").backdrop is None


def test_scenes_without_a_backdrop_load_and_damaged_backdrops_are_refused(
    trained: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained, tmp_path / "scene")
    arrays = load_file(folder / scene.FIELD_FILE)
    steps = json.loads((folder / scene.SCENE_JSON).read_text())["figures"]["steps"]
    for wrong in (np.ones((4, 8), np.float32), np.full((4, 8, 3), np.nan, np.float32)):
        save_file({**arrays, "backdrop": wrong}, folder / scene.FIELD_FILE, {"steps": str(steps)})
        with pytest.raises(NerfsceneError, match="backdrop is not a picture"):
            scene.load(folder)
    del arrays["backdrop"]
    save_file(arrays, folder / scene.FIELD_FILE, {"steps": str(steps)})
    assert scene.load(folder).backdrop is None

"""Several rays per pixel: how many a picture needs, and that a pixel is their mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nerfscene.cameras.algebra import scaled
from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field import rendering
from nerfscene.field.footprint import MOST, photos_of, pixel_samples
from nerfscene.field.rendering import render, render_part
from nerfscene.films.filming import render_film
from nerfscene.measuring.evaluate import photo_over
from nerfscene.measuring.metrics import psnr
from nerfscene.scene import folder as scenes
from nerfscene.types import Camera


@pytest.fixture(scope="module")
def scene(trained: Path) -> Any:
    return scenes.load(trained)


def boxes(picture: Any, n: int) -> Any:
    """Means over squares of n pixels."""
    height, width = picture.shape[0] // n, picture.shape[1] // n
    return picture[: height * n, : width * n].reshape(height, n, width, n, -1).mean((1, 3))


@pytest.mark.parametrize("samples", (2, 3))
def test_a_pixel_is_the_mean_of_its_rays(scene: Any, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the backdrop, which a pixel samples only once.
    view, renderer = scene.views[0], replace(scene.renderer(), backdrop=None)
    k = view.intrinsics
    camera = Camera(k, view.world_from_cam)
    fine = render(renderer, Camera(scaled(k, k.width * samples, k.height * samples), view.world_from_cam))
    whole = render(renderer, camera, samples)
    assert whole.rgb.shape == (k.height, k.width, 3) and whole.rgb.dtype == np.float32
    assert np.allclose(whole.rgb, boxes(fine.rgb, samples), atol=1e-5)
    assert np.allclose(whole.accumulation, boxes(fine.accumulation, samples)[..., 0], atol=1e-5)
    low = fine.depth.reshape(k.height, samples, k.width, samples)
    assert (whole.depth <= low.max((1, 3)) + 1e-4).all()
    # Large pictures are rendered in strips, and tiles are parts of a picture.
    monkeypatch.setattr(rendering, "RAYS_AT_ONCE", 7 * k.width * samples**2)
    strips = render(renderer, camera, samples)
    part = render_part(renderer, camera, (5, 31, 9, 40), samples=samples)
    assert np.allclose(strips.rgb, whole.rgb, atol=1e-6)
    assert np.allclose(part.rgb, whole.rgb[5:31, 9:40], atol=1e-6)


def test_large_pictures_are_rendered_in_strips(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that Ctrl-C need not wait for the whole picture."""
    renderer, k = scene.renderer("cpu", 1), scene.views[0].intrinsics
    camera = Camera(k, scene.views[0].world_from_cam)
    whole = render(renderer, camera)
    monkeypatch.setattr(rendering, "RAYS_A_CALL", 7 * k.width)
    calls = []

    class Native:
        def render(self, *arguments: Any, **named: Any) -> None:
            calls.append(arguments[9])
            scene_native.render(*arguments, **named)

    scene_native = renderer.native
    renderer.__dict__["native"] = Native()
    strips = render(renderer, camera)
    assert len(calls) == -(-k.height // 7)
    for name in ("rgb", "depth", "accumulation"):
        np.testing.assert_array_equal(getattr(strips, name), getattr(whole, name))


def test_as_many_rays_as_the_photos_have_pixels(scene: Any) -> None:
    photos, renderer = photos_of(scene.views), scene.renderer()
    view = next(v for v in scene.views if v.split == "train")
    k = view.intrinsics

    spheres = replace(renderer, crop=np.diag([1.3, 1.3, 1.3, 1.0]))

    def wanted(shrunk: float, back: float = 0.0) -> int:
        lens = scaled(k, round(k.width / shrunk), round(k.height / shrunk))
        pose = view.world_from_cam.copy()
        pose[:3, 3] -= back * pose[:3, 2]
        return pixel_samples(photos, spheres if back else renderer, Camera(lens, pose))

    assert wanted(1) == 1 and wanted(0.5) == 1
    assert wanted(2) == 2 and 3 <= wanted(4) <= 4 and wanted(16) == MOST
    assert wanted(1, back=2.4) == 2  # twice as far from the spheres
    off = replace(renderer, crop=np.diag([1e-6, 1e-6, 1e-6, 1.0]))
    assert pixel_samples(photos, off, Camera(k, view.world_from_cam)) == 1  # nothing there to see


def test_small_pictures_are_nearer_to_small_photos(scene: Any) -> None:
    photos, renderer = photos_of(scene.views), scene.photo_renderer()
    gains = []
    for view in (v for v in scene.views if v.split == "test"):
        k = view.intrinsics
        small = Camera(scaled(k, k.width // 4, k.height // 4), view.world_from_cam)
        photo = boxes(photo_over(view, scene.background), 4).astype(np.float32)
        samples = pixel_samples(photos, renderer, small)
        one, more = (np.clip(render(renderer, small, n).rgb, 0, 1) for n in (1, samples))
        gains.append(psnr(more, photo) - psnr(one, photo))
    assert np.mean(gains) > 0.3


def test_films_average_several_rays_a_pixel(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def noted(renderer: Any, camera: Any, samples: int = 1) -> Any:
        asked.append(samples)
        return render(renderer, camera, samples)

    monkeypatch.setattr("nerfscene.films.through_lens.render", noted)
    small = RenderConfig(width=24, fps=2, seconds=1)
    render_film(scene, small, None, tmp_path / "few")
    assert max(asked) >= 2
    asked.clear()
    render_film(scene, replace(small, samples=1), None, tmp_path / "one")
    assert set(asked) == {1}
    for wrong in (-1, 9):
        with pytest.raises(NerfsceneError, match="samples must be"):
            render_film(scene, replace(small, samples=wrong), None, tmp_path / "none")

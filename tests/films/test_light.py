"""Backgrounds, transparency and exposure of films."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import render
from nerfscene.films.filming import film_path, render_film
from nerfscene.films.light import background_color, encoded, exposed, linear
from nerfscene.films.video import to_bytes
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene

SHORT = RenderConfig(width=64, fps=10, seconds=0.2, samples=1)


@pytest.fixture(scope="module")
def cropped(trained: Path) -> Scene:
    """The red sphere alone, so that there is nothing around it."""
    whole = scene.load(trained)
    return replace(whole, crop=np.diag([0.7, 0.7, 0.7, 1.0]))


def filmed(loaded: Scene, config: RenderConfig, folder: Path) -> list[np.ndarray]:
    render_film(loaded, config, None, folder)
    return [np.asarray(Image.open(file)) for file in sorted(folder.glob("0*.png"))]


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("white", (1, 1, 1)),
        ("SkyBlue", (135 / 255, 206 / 255, 235 / 255)),
        ("#20303f", (32 / 255, 48 / 255, 63 / 255)),
        ("20303F", (32 / 255, 48 / 255, 63 / 255)),
        ("#fff", (1, 1, 1)),
        ("rgb(255, 0, 51)", (1, 0, 0.2)),
        (" auto ", None),
        ("Transparent", None),
    ],
)
def test_colours_as_people_write_them(text: str, color: tuple[float, float, float] | None) -> None:
    assert background_color(text) == (None if color is None else pytest.approx(color))


@pytest.mark.parametrize("text", ["", "sky", "#12345", "#20303f80", "rgb(1,2)", "0.5,0.5,0.5"])
def test_what_is_no_colour_is_refused_before_anything_is_made(
    cropped: Scene, tmp_path: Path, text: str
) -> None:
    with pytest.raises(NerfsceneError, match="--background takes"):
        render_film(cropped, replace(SHORT, background=text), None, tmp_path / "frames")
    assert not list(tmp_path.iterdir())


def test_a_transparent_film_over_a_colour_is_the_film_with_that_colour(
    cropped: Scene, tmp_path: Path
) -> None:
    clear = filmed(cropped, replace(SHORT, background="transparent"), tmp_path / "clear")
    plain = filmed(cropped, replace(SHORT, background="#3366cc"), tmp_path / "plain")
    for frame, wanted in zip(clear, plain, strict=True):
        assert frame.dtype == np.uint8 and frame.shape == (48, 64, 4)
        alpha = frame[..., 3:].astype(float) / 255
        assert (alpha == 0).mean() > 0.2 and (alpha == 1).mean() > 0.05, "some is empty, and some opaque"
        assert (frame[..., :3][alpha[..., 0] == 0] == 0).all()
        over = alpha * frame[..., :3] + (1 - alpha) * np.array([0x33, 0x66, 0xCC])
        assert np.abs(over - wanted).max() <= 2.5
        assert (wanted[alpha[..., 0] == 0] == [0x33, 0x66, 0xCC]).all()


def test_alpha_is_accumulation(cropped: Scene, tmp_path: Path) -> None:
    config = replace(SHORT, background="transparent")
    frame = filmed(cropped, config, tmp_path / "clear")[0]
    camera = film_path(cropped, config)[0].cameras[0]
    seen = render(cropped.renderer(), camera).accumulation
    assert np.abs(frame[..., 3] / 255 - seen).max() < 0.006


def test_a_background_hides_the_guessed_backdrop(cropped: Scene, tmp_path: Path) -> None:
    loaded = replace(cropped, crop=None, backdrop=np.ones((32, 64, 3), np.float32))
    config = replace(SHORT, background="#000000")
    picture = filmed(loaded, config, tmp_path / "frames")[0]
    camera = film_path(loaded, config)[0].cameras[0]
    plain = replace(loaded, background=(0.0, 0.0, 0.0), backdrop=None)
    assert np.array_equal(picture, to_bytes(render(plain.renderer(), camera).rgb))


def test_films_can_be_transparent_too(cropped: Scene, tmp_path: Path) -> None:
    config = replace(SHORT, background="transparent")
    render_film(cropped, config, tmp_path / "film.webp", tmp_path / "frames")
    with Image.open(tmp_path / "film.webp") as film:
        alpha = np.asarray(film.convert("RGBA"))[..., 3]
    frame = np.asarray(Image.open(tmp_path / "frames/00000.png"))[..., 3]
    assert np.abs(alpha.astype(int) - frame).max() < 8


@pytest.mark.parametrize("name", ["film.mp4", "new/film.MP4"])
def test_films_that_cannot_be_transparent_say_what_can(cropped: Scene, tmp_path: Path, name: str) -> None:
    with pytest.raises(NerfsceneError, match=r"keeps no transparency; name the film film\.webm"):
        render_film(cropped, replace(SHORT, background="transparent"), tmp_path / "new" / name)
    assert not list(tmp_path.iterdir())


def test_a_stopped_transparent_film_goes_on(cropped: Scene, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    config, told = replace(SHORT, background="transparent"), []
    with pytest.raises(KeyboardInterrupt):
        render_film(cropped, config, None, tmp_path, stop)
    with pytest.raises(NerfsceneError, match="another film"):
        render_film(cropped, replace(SHORT, background="black"), None, tmp_path)
    render_film(cropped, config, None, tmp_path, note=told.append)
    assert told == ["1 of 2 frames are there already"]


def test_light_and_back() -> None:
    values = np.linspace(0, 1, 4096, dtype=np.float32).reshape(64, 64)
    assert np.abs(encoded(linear(values)) - values).max() < 1e-5
    # Published pairs of IEC 61966-2-1, and its two pieces meeting.
    assert linear(np.array([[0.5, 0.04045, 1.0]], np.float32)) == pytest.approx(
        np.array([[0.21404114, 0.0031308, 1.0]]), abs=1e-5
    )
    assert linear(np.array([-0.2], np.float32)) == 0 and exposed(values, 0.0) is values


def test_a_stop_is_twice_the_light(cropped: Scene, tmp_path: Path) -> None:
    assert exposed(np.array([0.5], np.float32), 1.0) == pytest.approx(0.6858, abs=1e-3)  # 0.428 of the light
    assert exposed(np.array([0.5], np.float32), -1.0) == pytest.approx(0.3612, abs=1e-3)
    usual = filmed(cropped, SHORT, tmp_path / "usual")[0].astype(np.float32) / 255
    darker = filmed(cropped, replace(SHORT, exposure=-1.5), tmp_path / "darker")[0].astype(np.float32) / 255
    light, less = (np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) for x in (usual, darker))
    assert np.abs(less - light * 2**-1.5).max() < 0.006
    assert less.mean() < light.mean()

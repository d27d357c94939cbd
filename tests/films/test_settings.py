"""--preset, --codec and --preview: what they set, what counts more, and films made with them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from nerfscene import cli
from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films import codecs
from nerfscene.films.filming import film_path, render_film
from nerfscene.films.settings import READY, codec_of, quick, settled
from nerfscene.films.video import film_facts
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scene.load(trained)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (RenderConfig(), (None, None, None)),
        (RenderConfig(preset="social"), (1080, 1080, 30)),
        (RenderConfig(preset="hd"), (1920, 1080, 30)),
        (RenderConfig(preset="4k"), (3840, 2160, 30)),
        (RenderConfig(preset="gif"), (480, None, 12.5)),
        (RenderConfig(preset="prores"), (1920, 1080, 30)),
        (RenderConfig(preset="hd", width=1280), (1280, 720, 30)),
        (RenderConfig(preset="hd", height=720), (1280, 720, 30)),
        (RenderConfig(preset="hd", width=640, height=480, fps=24), (640, 480, 24)),
        (RenderConfig(preset="gif", height=100), (None, 100, 12.5)),
    ],
)
def test_presets_set_what_was_not_given(
    given: RenderConfig, expected: tuple[int | None, int | None, float | None]
) -> None:
    made = settled(given)
    assert (made.width, made.height, made.fps) == expected
    assert settled(made) == made


@pytest.mark.parametrize(
    ("name", "config", "codec"),
    [
        ("film.mp4", RenderConfig(), "h264"),
        ("film.mov", RenderConfig(), "h264"),
        ("film.mkv", RenderConfig(), "h264"),
        ("film.webm", RenderConfig(), "vp9"),
        ("film.mkv", RenderConfig(codec="ffv1"), "ffv1"),
        ("film.mp4", RenderConfig(preset="4k"), "h264"),
        ("film.mp4", RenderConfig(preset="4k", codec="av1"), "av1"),
        ("film.webm", RenderConfig(preset="hd"), "vp9"),
        ("film.mov", RenderConfig(preset="prores"), "prores"),
        ("film.gif", RenderConfig(preset="gif"), "gif"),
        ("film.webp", RenderConfig(preset="gif"), "webp"),
        ("film.mov", RenderConfig(preset="prores", codec="h265"), "h265"),
    ],
)
def test_the_ending_the_preset_and_the_codec_agree(name: str, config: RenderConfig, codec: str) -> None:
    assert codec_of(Path(name), config).name == codec


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        (
            "film.mp4",
            RenderConfig(preset="gif"),
            r"--preset gif makes \.gif or \.webp: name the film film\.gif",
        ),
        ("film.mp4", RenderConfig(preset="prores"), r"--preset prores makes \.mov: name the film film\.mov"),
        ("film.mp4", RenderConfig(codec="ffv1"), r"FFV1 can't be in \.mp4: name the film film\.mkv"),
    ],
)
def test_what_does_not_agree_is_told(name: str, config: RenderConfig, said: str) -> None:
    with pytest.raises(NerfsceneError, match=said):
        codec_of(Path(name), config)


def test_transparency_overrules_a_preset_s_codec() -> None:
    assert codec_of(Path("film.mov"), RenderConfig(preset="hd"), alpha=True).name == "prores"
    assert codec_of(Path("film.webm"), RenderConfig(preset="social"), alpha=True).name == "vp9"


def test_a_preview_is_small_and_as_long(loaded: Scene, tmp_path: Path) -> None:
    whole = RenderConfig(width=64, height=48, fps=30, seconds=0.4)
    path, fps = film_path(loaded, whole)
    short, slow = quick(path, fps)
    assert (len(path.cameras), len(short.cameras), slow) == (12, 4, 10.0)
    for i, camera in enumerate(short.cameras):
        a, b = camera.intrinsics, path.cameras[3 * i].intrinsics
        assert np.array_equal(camera.world_from_cam, path.cameras[3 * i].world_from_cam)
        assert (a.width, a.height) == (32, 24) and a.fx / a.width == pytest.approx(b.fx / b.width)
    config = RenderConfig(width=64, height=48, fps=30, seconds=0.4, preview=True)
    assert settled(config).samples == 1 and settled(RenderConfig(preview=True, samples=2)).samples == 2
    made = render_film(loaded, config, tmp_path / "film.mp4")
    assert film_facts(tmp_path / "film.mp4") == {"frames": 4, "fps": 10.0, "width": 32, "height": 24}
    assert (made["frames"], made["seconds"], made["fps"]) == (4, pytest.approx(0.4), 10.0)


@pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.mov", "film.mkv", "film.gif", "film.webp"])
def test_scenes_are_filmed_with_each_ending(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    film = tmp_path / name
    short = ["--width", "64", "--fps", "10", "--seconds", "0.3", "--samples", "1", "--json"]
    cli.main(["render", str(trained), "-o", str(film), *short])
    made = json.loads(capsys.readouterr().out)
    assert (made["frames"], made["width"], made["height"]) == (3, 64, 48)
    for file in made["credentials"]:  # they don't hinder anybody
        assert Path(file).parent == tmp_path
    if name == "film.webp":
        with Image.open(io.BytesIO(film.read_bytes())) as moving:
            assert moving.n_frames == 3  # type: ignore[attr-defined]
    else:
        assert film_facts(film)["frames"] == 3


def test_a_preset_s_codec_is_in_the_film(loaded: Scene, tmp_path: Path) -> None:
    assert READY["prores"].codec == "prores"
    config = RenderConfig(preset="prores", width=64, height=48, seconds=0.1)
    render_film(loaded, config, tmp_path / "film.mov")
    with av.open(str(tmp_path / "film.mov")) as film:
        assert film.streams.video[0].codec_context.codec.canonical_name == "prores"
        assert film.streams.video[0].average_rate == 30


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["film.mp4", "--codec", "prores"], "ProRes 4444 can't be in .mp4"),
        (["film.mp4", "--preset", "gif"], "name the film film.gif"),
        (["film.gif", "--fps", "60"], "at most 50 frames a second"),
        (["film.mp4", "--codec", "h265"], "no encoder for H.265"),
    ],
)
def test_refusals_come_before_any_rendering(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    said: str,
) -> None:
    monkeypatch.setattr("nerfscene.films.filming.rendered", None)  # nothing may be rendered
    monkeypatch.setattr(codecs, "has", lambda codec: codec.name != "h265")
    frames = tmp_path / "frames"
    with pytest.raises(SystemExit) as ended:
        cli.main(
            ["render", str(trained), "-o", str(tmp_path / words[0]), "--frames", str(frames), *words[1:]]
        )
    assert ended.value.code == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and said in told[0]
    assert not list(tmp_path.iterdir())

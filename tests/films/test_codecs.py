"""Each codec's film looks like its frames, says its colours and plays; what can't be is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nerfscene.errors import NerfsceneError
from nerfscene.films import codecs, video

WIDTH, HEIGHT, COUNT, FPS = 128, 96, 7, 25.0
# Each ending and codec, what FFmpeg calls it, its pixels, and the least agreement with the frames in dB.
KEPT = [
    (".mp4", "h264", "h264", "yuv420p", 36),
    (".mov", "h264", "h264", "yuv420p", 36),
    (".mkv", "h264", "h264", "yuv420p", 36),
    (".mp4", "h265", "hevc", "yuv420p", 37),
    (".mov", "h265", "hevc", "yuv420p", 37),
    (".mkv", "h265", "hevc", "yuv420p", 37),
    (".mp4", "av1", "av1", "yuv420p", 36),
    (".webm", "av1", "av1", "yuv420p", 36),
    (".mkv", "av1", "av1", "yuv420p", 36),
    (".webm", "vp9", "vp9", "yuv420p", 36),
    (".mkv", "vp9", "vp9", "yuv420p", 36),
    (".mov", "prores", "prores", "yuv444p12le", 42),
    (".mkv", "ffv1", "ffv1", "bgr0", 99),
]
CLEAR = [(".webm", "vp9", 36), (".mkv", "vp9", 36), (".mov", "prores", 42), (".mkv", "ffv1", 99)]


def frames(count: int = COUNT, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[NDArray[np.uint8]]:
    """Soft colours that change over the picture, as a render's do, and a soft disc that moves over them."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    made = []
    for i in range(count):
        u, v = x / width, y / height
        colors = np.stack([0.2 + 0.7 * u, 0.8 - 0.6 * v, 0.5 + 0.4 * np.sin(3 * (u + v) + 0.2 * i)], -1)
        disc = 1 / (1 + np.exp(np.hypot(x - 30 - 6 * i, y - 48) - 20))[..., None]
        made.append(video.to_bytes((colors * (1 - disc) + np.array([0.9, 0.15, 0.1]) * disc).astype("f4")))
    return made


def clear_frames(count: int = COUNT) -> list[NDArray[np.uint8]]:
    """The same with straight alpha: a ramp on the left, opaque in the middle, nothing on the right."""
    ramp = np.clip(np.arange(WIDTH) * 6, 0, 255)
    ramp[-32:] = 0
    alpha = np.tile(ramp.astype(np.uint8), (HEIGHT, 1))
    return [np.dstack([frame, alpha]) for frame in frames(count)]


def decibels(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 100.0 if error == 0 else 10 * np.log10(255**2 / error)


def written(file: Path, given: list[NDArray[np.uint8]], codec: str | None = None, fps: float = FPS) -> Path:
    alpha = given[0].shape[2] == 4
    assert video.write_film(iter(given), file, fps, codec=codecs.chosen(file, codec, alpha)) == len(given)
    assert [p.name for p in file.parent.iterdir()] == [file.name]
    return file


@pytest.mark.parametrize(("ending", "name", "called", "pixels", "floor"), KEPT)
def test_films_look_like_their_frames(
    tmp_path: Path, ending: str, name: str, called: str, pixels: str, floor: int
) -> None:
    given = frames()
    file = written(tmp_path / f"film{ending}", given, name)
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert context.codec.canonical_name == called
        assert float(stream.average_rate or 0) == pytest.approx(FPS, rel=1e-3)
        decoded = list(container.decode(video=0))
        assert context.pix_fmt == pixels
        tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        assert tags == ((1, 1, 0, 2) if name == "ffv1" else (1, 1, 1, 1))
    assert [float(f.time or 0) for f in decoded] == pytest.approx([i / FPS for i in range(COUNT)], abs=1e-3)
    for got, frame in zip(decoded, given, strict=True):
        assert decibels(got.to_ndarray(format="rgb24"), frame) > floor
        for color in range(
            3
        ):  # a wrong matrix or range shifts the mean; FFmpeg's way back to RGB does so by 1
            assert abs(got.to_ndarray(format="rgb24")[..., color].mean() - frame[..., color].mean()) < 2


@pytest.mark.parametrize(("name", "tag"), [("h264", b"avc1"), ("h265", b"hvc1"), ("av1", b"av01")])
@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_players_find_the_codec_and_the_index_first(
    tmp_path: Path, ending: str, name: str, tag: bytes
) -> None:
    if (ending, name) == (".mov", "av1"):
        pytest.skip("AV1 isn't put into .mov")
    raw = written(tmp_path / f"film{ending}", frames(), name).read_bytes()
    assert 0 < raw.find(b"moov") < raw.find(b"mdat")
    assert tag in raw[: raw.find(b"mdat")] and b"hev1" not in raw


def with_alpha(file: Path) -> Iterator[NDArray[np.uint8]]:
    """The frames (height, width, 4) of a film. FFmpeg's own VP9 decoder passes over alpha; libvpx doesn't."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        if stream.codec_context.codec.canonical_name != "vp9":
            for frame in container.decode(stream):
                yield frame.to_ndarray(format="rgba")
            return
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(stream):
            for frame in decoder.decode(packet):
                yield frame.to_ndarray(format="rgba")  # type: ignore[union-attr]


@pytest.mark.parametrize(("ending", "name", "floor"), CLEAR)
def test_transparency_is_kept(tmp_path: Path, ending: str, name: str, floor: int) -> None:
    given = clear_frames()
    got = list(with_alpha(written(tmp_path / f"film{ending}", given, name)))
    for a, b in zip(got, given, strict=True):
        assert decibels(a[..., 3], b[..., 3]) > floor
        assert a[:, 50:90, 3].min() >= 254 and a[:, -24:, 3].max() <= 1, (
            "opaque is opaque, nothing is nothing"
        )
        assert decibels(a[:, 50:90, :3], b[:, 50:90, :3]) > floor - 3  # the colours aren't multiplied by it
        assert decibels(a[:, 8:40, :3], b[:, 8:40, :3]) > floor - 6


@pytest.mark.parametrize(
    ("ending", "name"), [(".webm", "vp9"), (".mov", "prores"), (".mkv", "ffv1"), (".webp", "webp")]
)
def test_endings_choose_a_codec_that_keeps_what_the_frames_have(
    tmp_path: Path, ending: str, name: str
) -> None:
    assert codecs.chosen(Path(f"film{ending}"), None, alpha=True).name == name
    file = tmp_path / f"FILM{ending.upper()}"
    assert video.write_film(iter(clear_frames(2)), file, FPS) == 2
    if ending != ".webp":  # of which FFmpeg reads no moving ones
        assert np.ptp(next(with_alpha(file))[..., 3]) > 200


@pytest.mark.parametrize("fps", [30.0, 12.5, 24.0])
def test_gifs_last_as_long_as_they_should(tmp_path: Path, fps: float) -> None:
    given = frames(9)
    with Image.open(written(tmp_path / "film.gif", given, fps=fps)) as gif:
        assert gif.n_frames == 9 and gif.size == (WIDTH, HEIGHT)  # type: ignore[attr-defined]
        assert gif.info["loop"] == 0, "it goes on for ever"
        times = []
        for i, frame in enumerate(given):
            gif.seek(i)
            times.append(gif.info["duration"])
            assert decibels(np.asarray(gif.convert("RGB")), frame) > 30
    assert sum(times) == pytest.approx(9000 / fps, abs=10) and min(times) >= 20


def test_gifs_keep_what_is_transparent(tmp_path: Path) -> None:
    given = clear_frames()
    for frame in given:
        frame[:20, 60:80, :3] = 0  # black, which isn't to be taken for nothing
    with Image.open(written(tmp_path / "film.gif", given)) as gif:
        for i, frame in enumerate(given):
            gif.seek(i)
            got = np.asarray(gif.convert("RGBA"))
            np.testing.assert_array_equal(got[..., 3], np.where(frame[..., 3] >= 128, 255, 0))
            assert decibels(got[:, 50:90, :3], frame[:, 50:90, :3]) > 28


@pytest.mark.parametrize("alpha", [False, True])
def test_animated_webp(tmp_path: Path, alpha: bool) -> None:
    given = clear_frames(9) if alpha else frames(9)
    with Image.open(written(tmp_path / "film.webp", given, fps=30)) as film:
        assert film.n_frames == 9 and film.info["loop"] == 0  # type: ignore[attr-defined]
        ends = []
        for i, frame in enumerate(given):
            film.seek(i)
            film.load()
            ends.append(film.info["timestamp"] + film.info["duration"])
            got = np.asarray(film.convert("RGBA"))
            assert decibels(got[:, 50:90, :3], frame[:, 50:90, :3]) > 32
            assert not alpha or decibels(got[..., 3], frame[..., 3]) > 36
    assert ends == pytest.approx([1000 * (i + 1) / 30 for i in range(9)], abs=1.01)


def test_codecs_without_transparency_get_a_colour_laid_under(tmp_path: Path) -> None:
    given = clear_frames(2)
    video.write_film(iter(given), tmp_path / "film.mp4", FPS, under=(0, 0, 255))
    with av.open(str(tmp_path / "film.mp4")) as film:
        got = next(film.decode(video=0)).to_ndarray(format="rgb24")
    np.testing.assert_allclose(got[8:-8, -20:].mean((0, 1)), (0, 0, 255), atol=3)
    assert decibels(got[:, 50:90], given[0][:, 50:90, :3]) > 35
    with pytest.raises(NerfsceneError, match="keeps no transparency"):
        video.write_film(iter(given), tmp_path / "other.mp4", FPS)
    with pytest.raises(ValueError, match="laid under"):
        video.write_film(iter(given), tmp_path / "other.mp4", FPS, codec=codecs.known("h264"))
    with pytest.raises(ValueError, match="all have transparency, or none"):
        mixed = [given[0], given[1][..., :3]]
        video.write_film(iter(mixed), tmp_path / "other.webm", FPS)
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("name", [c.name for c in codecs.CODECS])
def test_odd_and_small_sizes(tmp_path: Path, name: str) -> None:
    codec = codecs.known(name)
    for size in ((65, 49), (16, 16)):
        file = tmp_path / f"film{codec.endings[0]}"
        codecs.check_encodable(codec, size, 30)
        video.write_film(iter(frames(3, size)), file, 30, codec=codec)
        if name == "webp":
            with Image.open(file) as picture:
                assert picture.size == size
            continue
        facts = video.film_facts(file)
        assert (facts["width"], facts["height"]) == codecs.film_size(codec, size)
        assert facts["frames"] == 3


@pytest.mark.parametrize(
    ("name", "codec", "alpha", "said"),
    [
        ("film.mp4", "prores", False, r"ProRes 4444 can't be in \.mp4: name the film film\.mov, or .*h264"),
        ("film.mp4", "gif", False, r"name the film film\.gif"),
        ("film.mov", "vp9", False, r"film\.webm"),
        ("film.gif", "h264", False, r"--codec gif"),
        ("film.webm", "h264", False, r"--codec av1 or vp9"),
        ("film.mp4", None, True, r"\.mp4 keeps no transparency; name the film film\.webm \(VP9\)"),
        ("film.mov", "h264", True, r"H\.264 keeps no transparency"),
        ("film.avi", None, False, r"doesn't end in \.mp4, .*\.webp"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    name: str, codec: str | None, alpha: bool, said: str
) -> None:
    with pytest.raises(NerfsceneError, match=said) as told:
        codecs.chosen(Path(name), codec, alpha)
    assert "\n" not in str(told.value)


def test_an_encoder_that_pyav_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = {"libx265", "libsvtav1"}
    monkeypatch.setattr(codecs, "has", lambda codec: codec.encoder not in lacking)
    for name in ("h265", "av1"):
        with pytest.raises(NerfsceneError, match=r"no encoder for .*choose --codec h264, or install av"):
            codecs.chosen(Path("film.mp4"), name)
    lacking |= {"libvpx-vp9"}
    with pytest.raises(NerfsceneError, match=r"for VP9 .*name the film film\.mp4 \(H\.264\)"):
        codecs.chosen(Path("film.webm"))
    lacking |= {c.encoder for c in codecs.CODECS}
    with pytest.raises(NerfsceneError, match="--frames FOLDER"):
        codecs.chosen(Path("film.mp4"))


def test_a_real_lack_is_noticed() -> None:
    codec = codecs.known("h264")
    assert codecs.has(codec)
    made_up = codecs.Codec("x", "X", "no-such-encoder", (".mp4",), "yuv420p", None)
    assert not codecs.has(made_up)


def test_rates_and_sizes_that_no_encoder_takes_are_told() -> None:
    with pytest.raises(NerfsceneError, match="at most 50 frames a second"):
        codecs.check_encodable(codecs.known("gif"), (64, 64), 60)
    with pytest.raises(NerfsceneError, match=r"0\.01 to 1000"):
        codecs.check_encodable(codecs.known("h264"), (64, 64), 2000)
    with pytest.raises(NerfsceneError, match="can't encode 0×64 pixels"):
        codecs.check_encodable(codecs.known("h264"), (0, 64), 30)
    gif = codecs.known("gif")
    assert codecs.warning(gif, (480, 360), 100) is None
    assert "--preset gif" in (codecs.warning(gif, (4096, 2160), 240) or "")
    assert codecs.warning(codecs.known("webp"), (4096, 2160), 240) is None


@pytest.mark.parametrize("name", ["h264", "h265", "prores", "ffv1", "gif"])  # the others take GB at this size
def test_the_largest_size_can_be_encoded(name: str) -> None:
    codecs.check_encodable(codecs.known(name), (8192, 8192), 30)


def test_in_encoders_of_large_films_few_frames_wait() -> None:
    """H.264 holds back 10 frames instead of 40, H.265 5 instead of 20, and AV1 needs no later ones."""
    for name, option, usual, large in (
        ("h264", "rc-lookahead", None, "10"),
        ("h265", "x265-params", "log-level=error", "log-level=error:rc-lookahead=5:bframes=3"),
        ("av1", "svtav1-params", None, "pred-struct=1"),
    ):
        codec = codecs.known(name)
        for size, wanted in (((1920, 1080), usual), ((3840, 2160), large)):
            context = av.CodecContext.create(codec.encoder, "w")
            codecs.set_up(context, codec, size, codecs.rate(30), False)
            assert context.options.get(option) == wanted


STOPPED = """
import sys
import numpy as np
from nerfscene.films import codecs, encoding

def frames():
    yield np.zeros((96, 128, 3), np.uint8)
    raise KeyboardInterrupt

try:
    encoding.encode(frames(), sys.argv[1], "mp4", codecs.known("av1"), 30.0)
except KeyboardInterrupt:
    pass
"""


def test_a_stopped_film_s_encoder_prints_nothing(tmp_path: Path) -> None:
    if not codecs.has(codecs.known("av1")):
        pytest.skip("this PyAV has no encoder for AV1")
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, tmp_path / "film.mp4"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

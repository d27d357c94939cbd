"""Films and pictures: what is written reads back, and failures leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import ROOT
from numpy.typing import NDArray
from PIL import Image

from nerfscene.errors import NerfsceneError
from nerfscene.films import video
from nerfscene.scene import unnamed_file

COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 120, 40))


def stripes(count: int, width: int = 112, height: int = 48) -> Iterator[NDArray[np.uint8]]:
    """Colours side by side, 16 pixels each, and a bar below that grows with the frames."""
    for i in range(count):
        frame = np.zeros((height, width, 3), np.uint8)
        for j in range(0, width, 16):
            frame[:, j : j + 16] = COLORS[j // 16 % len(COLORS)]
        frame[-16:] = 0
        frame[-16:, : 8 * i] = 255
        yield frame


def decoded(file: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(file)) as container:
        return [np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in container.decode(video=0)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".MP4"])
@pytest.mark.parametrize("fps", [24.0, 29.97])
def test_films_have_their_frames_rate_size_and_colours(tmp_path: Path, suffix: str, fps: float) -> None:
    file = tmp_path / f"film{suffix}"
    heard: list[int] = []
    assert video.write_film(stripes(9), file, fps, progress=heard.append) == 9
    assert heard == list(range(1, 10))
    facts = video.film_facts(file)
    assert facts["fps"] == pytest.approx(fps, rel=1e-4)
    assert (facts["frames"], facts["width"], facts["height"]) == (9, 112, 48)
    frames = decoded(file)
    for got, given in zip(frames, stripes(9), strict=True):
        for j, color in enumerate(COLORS):
            np.testing.assert_allclose(got[4:28, 16 * j + 4 : 16 * j + 12].mean((0, 1)), color, atol=4)
        assert np.abs(got[-8].astype(int) - given[-8]).mean() < 12  # frames in their order
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


def test_films_say_their_colour_space_and_start_fast(tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    video.write_film(stripes(3), file, 30)
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        assert tags == (1, 1, 1, 1)  # BT.709 throughout, limited range
    raw = file.read_bytes()
    assert 0 < raw.find(b"moov") < raw.find(b"mdat")


@pytest.mark.parametrize("size", [(113, 49), (112, 49), (113, 48)])
def test_odd_sizes_lose_their_last_row_or_column(tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "film.mp4"
    video.write_film(stripes(2, *size), file, 10)
    facts = video.film_facts(file)
    assert (facts["width"], facts["height"]) == (112, 48)
    np.testing.assert_allclose(decoded(file)[0][4:28, 4:12].mean((0, 1)), COLORS[0], atol=4)


def test_a_film_replaces_an_older_one_only_when_whole(tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    video.write_film(stripes(2), file, 10)
    before = file.read_bytes()

    def cut_short() -> Iterator[NDArray[np.uint8]]:
        yield from stripes(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        video.write_film(cut_short(), file, 10)
    assert file.read_bytes() == before
    video.write_film(stripes(5), file, 10)
    assert video.film_facts(file)["frames"] == 5
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError, NerfsceneError])
@pytest.mark.parametrize("after", [0, 3])
def test_failures_leave_no_file(tmp_path: Path, error: type[BaseException], after: int) -> None:
    def failing() -> Iterator[NDArray[np.uint8]]:
        yield from stripes(after)
        raise error

    with pytest.raises(error):
        video.write_film(failing(), tmp_path / "film.mp4", 10)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, named: bool
) -> None:
    file = tmp_path / f"film{suffix}"

    def full(folder: Path) -> int | None:
        return None if named else os.open("/dev/full", os.O_RDWR)

    monkeypatch.setattr(unnamed_file, "_unnamed_in", full)
    if named:  # the film is first written beside its place; here that is on a disk that is always full
        (tmp_path / f".{file.name}.{os.getpid()}.tmp").symlink_to("/dev/full")
    noise = np.random.default_rng(0).integers(0, 256, (6, 128, 128, 3), np.uint8)
    with pytest.raises(NerfsceneError, match="disk is full"):
        video.write_film(iter(noise), file, 10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["film.avi", "film.png", "film", "film.mp4.txt"])
def test_other_kinds_of_film_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NerfsceneError, match=r"\.mp4, \.mov, \.mkv"):
        video.write_film(stripes(1), tmp_path / name, 10)
    assert not list(tmp_path.iterdir())


def test_folders_in_the_way_are_told(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").mkdir()
    with pytest.raises(NerfsceneError, match="folder"):
        video.write_film(stripes(1), tmp_path / "film.mp4", 10)
    (tmp_path / "a file").write_text("")
    with pytest.raises(NerfsceneError, match="a file"):
        video.write_film(stripes(1), tmp_path / "a file" / "film.mp4", 10)
    video.write_film(stripes(1), tmp_path / "new" / "folder" / "film.mp4", 10)
    assert (tmp_path / "new" / "folder" / "film.mp4").stat().st_size > 0


@pytest.mark.parametrize("fps", [0, -24, float("nan"), float("inf"), 1e-6])
def test_impossible_rates_are_told(tmp_path: Path, fps: float) -> None:
    with pytest.raises(NerfsceneError, match="frames a second"):
        video.write_film(stripes(1), tmp_path / "film.mp4", fps)


def test_no_frames_and_frames_of_another_kind_are_told(tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    with pytest.raises(NerfsceneError, match="at least one frame"):
        video.write_film(iter(()), file, 10)
    first = next(stripes(1))
    for frames in (
        [first, first[:24]],
        [first.astype(np.float32)],
        [first[..., 0]],
        [first[:1, :1]],
        [np.dstack([first, first[..., :2]])],
    ):
        with pytest.raises(ValueError, match="frames must be uint8"):
            video.write_film(iter(frames), file, 10)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="frames must be uint8"):
        video.write_film(iter([first]), file, 10, size=(64, 64))
    assert not list(tmp_path.iterdir())


def test_only_an_empty_folder_takes_frames(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    video.open_frames(folder)
    (frame,) = stripes(1)
    video.write_picture(frame, folder / "00000.png")
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "00000.png")), frame)
    with pytest.raises(NerfsceneError, match="not an empty folder"):
        video.open_frames(folder)
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "frames"):
        with pytest.raises(NerfsceneError):
            video.open_frames(bad)


def test_depth_pictures_give_depth_back(tmp_path: Path) -> None:
    depth = np.random.default_rng(0).uniform(0.5, 6.0, (20, 30)).astype(np.float32)
    depth[0, :5] = [0.0, np.nan, np.inf, -1.0, 1e-9]
    depth[1, 0] = 1e6
    unit = 1e-4
    video.write_depth(depth, tmp_path / "depth.png", unit)
    video.write_depth_scale(tmp_path, unit)
    said = json.loads((tmp_path / "depth.json").read_text())
    picture = Image.open(tmp_path / "depth.png")
    assert picture.mode.startswith("I;16")
    steps = np.asarray(picture)
    assert steps.dtype == np.uint16
    assert steps[0, :4].tolist() == [said["nothing"]] * 4
    assert (steps[0, 4], steps[1, 0]) == (1, 65535)  # hit, though very near; too far to tell
    np.testing.assert_allclose(steps[2:] * said["world_units_per_step"], depth[2:], atol=0.51 * unit)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="above 0"):
            video.write_depth(depth, tmp_path / "other.png", bad)


def test_depth_range_ignores_what_was_not_hit() -> None:
    depth = np.linspace(2, 4, 400, dtype=np.float32).reshape(20, 20)
    seen = np.ones_like(depth)
    depth[0], seen[0] = 1000, 0.1
    near, far = video.depth_range(depth, seen)
    assert 2 < near < 2.3 and 3.8 < far < 4
    assert video.depth_range(depth, 0 * seen) == (0.0, 1.0)
    near, far = video.depth_range(np.full_like(depth, 3), np.ones_like(seen))
    assert near < far


def test_depth_colours_run_from_red_near_to_blue_far() -> None:
    depth = np.array([[0.5, 1.0, 1.6, 4.0, 40.0, 0.0, np.nan, np.inf]], np.float32)
    colors = video.color_depth(depth, 1.0, 4.0)
    assert colors.shape == (1, 8, 3) and colors.dtype == np.uint8
    np.testing.assert_array_equal(colors[0, 0], colors[0, 1])  # nearer than near
    np.testing.assert_array_equal(colors[0, 3], colors[0, 4])  # farther than far
    assert (colors[0, 5:] == 0).all()
    assert colors[0, 1].argmax() == 0 and colors[0, 2].argmax() == 1 and colors[0, 3].argmax() == 2
    assert colors[0, :5].max(1).min() > 100  # none is near the black of nothing hit
    # Every depth has a colour of its own: neighbours never agree, and nothing wraps round.
    ramp = video.color_depth((1 / np.linspace(1, 0.25, 256, dtype=np.float32))[None], 1.0, 4.0)[0]
    assert np.unique(ramp, axis=0).shape[0] > 240
    assert np.abs(np.diff(ramp.astype(int), axis=0)).max() <= 16
    for near, far in ((0.0, 1.0), (2.0, 2.0)):
        assert np.isfinite(video.color_depth(depth, near, far)).all()


def test_colours_are_rounded_and_clipped() -> None:
    values = np.array([-0.1, 0.0, 0.5, 1.0, 2.0, 0.999 / 255], np.float32)
    assert video.to_bytes(values).tolist() == [0, 0, 128, 255, 255, 1]


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from nerfscene.films import video

def frames():
    for i in range(200):
        if i == 150:
            os.kill(os.getpid(), signal.SIGKILL)
        yield np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8)

video.write_film(frames(), Path(sys.argv[1]), 25)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no unnamed files")
def test_a_killed_film_leaves_nothing(tmp_path: Path) -> None:
    made = unnamed_file._unnamed_in(tmp_path)
    if made is None:
        pytest.skip("this file system has no unnamed files")
    os.close(made)
    film = tmp_path / "film.mp4"
    done = subprocess.run([sys.executable, "-c", KILLED, str(film)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL and not list(tmp_path.iterdir())


def test_an_older_film_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"older")
    seen = []

    def looking() -> Iterator[NDArray[np.uint8]]:
        for frame in stripes(3):
            seen.append(film.read_bytes())
            yield frame

    video.write_film(looking(), film, 10)
    assert seen == [b"older"] * 3 and video.film_facts(film)["frames"] == 3
    assert film.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

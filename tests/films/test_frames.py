"""A film that was stopped goes on with the frames that are there, and with no others."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films import video
from nerfscene.films.filming import render_film
from nerfscene.films.frames import UNFINISHED, Frames, writing_beside
from nerfscene.films.video import film_facts
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene

PICTURES = RenderConfig(width=65, height=49, fps=10, seconds=0.6, depth=True)


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scene.load(trained)


def stopped(loaded: Scene, frames: Path, after: int, config: RenderConfig = PICTURES) -> None:
    """Films into ``frames`` and stops after some frames, as Ctrl-C would."""

    def progress(done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_film(loaded, config, None, frames, progress)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_stopped_film_goes_on_and_is_the_same(loaded: Scene, tmp_path: Path) -> None:
    render_film(loaded, PICTURES, tmp_path / "whole.mp4", tmp_path / "whole")
    stopped(loaded, tmp_path / "frames", 2)
    (tmp_path / "frames/.00002.png.999999999.tmp").write_bytes(b"half")  # as a kill leaves it
    (tmp_path / "frames/depth-00001.png").write_bytes(b"damaged")
    told: list[str] = []
    done: list[int] = []
    made = render_film(
        *(loaded, PICTURES, tmp_path / "film.mp4", tmp_path / "frames"),
        progress=lambda now, total: done.append(now),
        note=told.append,
    )
    assert told == ["2 of 6 frames are there already"] and done == [2, 3, 4, 5, 6]
    assert contents(tmp_path / "frames") == contents(tmp_path / "whole") and made["frames"] == 6
    assert film_facts(tmp_path / "film.mp4")["frames"] == 6
    with pytest.raises(NerfsceneError, match="not an empty folder"):  # it is finished
        render_film(loaded, PICTURES, None, tmp_path / "frames")


def test_frames_of_another_film_are_not_mixed_in(loaded: Scene, tmp_path: Path) -> None:
    stopped(loaded, tmp_path, 1)
    before = contents(tmp_path)
    field = replace(loaded.field, table=np.roll(loaded.field.table, 1))
    others = [
        (loaded, replace(PICTURES, seconds=0.7)),
        (loaded, replace(PICTURES, samples=2)),
        (replace(loaded, field=field), PICTURES),
        (replace(loaded, crop=np.eye(4)), PICTURES),
    ]
    for other, config in others:
        with pytest.raises(NerfsceneError, match="another film"):
            render_film(other, config, None, tmp_path)
    (tmp_path / UNFINISHED).write_text("[1, 2")
    with pytest.raises(NerfsceneError, match="another film"):
        render_film(loaded, PICTURES, None, tmp_path)
    (tmp_path / UNFINISHED).write_bytes(before[UNFINISHED])
    assert contents(tmp_path) == before


@pytest.mark.parametrize("failing", range(8))
def test_a_full_disk_loses_no_finished_frame(
    loaded: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    config = replace(PICTURES, seconds=0.3)
    renames, calls = os.replace, 0

    def fails(a: Path, b: Path) -> None:
        nonlocal calls
        calls += 1
        if calls > failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        renames(a, b)

    monkeypatch.setattr("nerfscene.scene.atomic.os.replace", fails)
    with pytest.raises(NerfsceneError, match="disk is full while writing"):
        render_film(loaded, config, None, tmp_path / "frames")
    monkeypatch.undo()
    assert len(list((tmp_path / "frames").iterdir())) == failing
    there = {p: p.stat().st_mtime_ns for p in (tmp_path / "frames").glob("0*.png")}
    render_film(loaded, config, None, tmp_path / "frames")
    assert len(list((tmp_path / "frames").iterdir())) == 7
    assert there == {p: p.stat().st_mtime_ns for p in there}


# --- writing beside the rendering -----------------------------------------------------------------

PICTURE, DEPTH = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.float32)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_frames_wait_for_a_slow_disk_and_not_without_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, plain = threading.Event(), video.write_picture
    begun: list[int] = []

    def slow(*arguments: object) -> None:
        going.wait()
        plain(*arguments)  # type: ignore[arg-type]

    def render() -> None:
        with writing_beside(Frames(tmp_path, 40, (0, 1), False), 2) as write:
            for number in range(40):
                begun.append(number)
                write(number, PICTURE, DEPTH)

    monkeypatch.setattr(video, "write_picture", slow)
    rendering = threading.Thread(target=render)
    rendering.start()
    while len(begun) < 4:  # the rendering goes on while the first frame is written
        assert rendering.is_alive()
        rendering.join(0.01)
    assert names(tmp_path) == []
    rendering.join(0.3)
    assert rendering.is_alive() and len(begun) < 6  # but not far
    going.set()
    rendering.join()
    assert names(tmp_path) == [f"{i:05d}.png" for i in range(40)]


@pytest.mark.parametrize("error", (KeyboardInterrupt, RuntimeError))
def test_what_was_rendered_is_written_when_the_film_stops(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), writing_beside(Frames(tmp_path, 9, (0, 1), True), 8) as write:
        for number in range(5):
            write(number, PICTURE, DEPTH)
        raise error
    assert names(tmp_path) == sorted(f"{kind}{i:05d}.png" for kind in ("", "depth-") for i in range(5))


def test_the_first_frame_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = video.write_picture

    def fails(pixels: object, file: Path, xmp: str | None = None) -> None:
        if file.stem >= "00002":
            raise NerfsceneError(f"no {file.name}")
        plain(pixels, file)  # type: ignore[arg-type]

    monkeypatch.setattr(video, "write_picture", fails)
    written = 0
    with (
        pytest.raises(NerfsceneError, match=r"^no 00002\.png$"),
        writing_beside(Frames(tmp_path, 99, (0, 1), False), 8) as write,
    ):
        for written in range(99):
            write(written, PICTURE, DEPTH)
    assert names(tmp_path) == ["00000.png", "00001.png"] and written < 20  # it doesn't go on in vain

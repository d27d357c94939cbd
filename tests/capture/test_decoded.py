"""Pixels that one stage has decoded serve the next ones."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from nerfscene.capture import decoded, photos
from nerfscene.capture.culling import GREY_SIDE
from nerfscene.capture.photos import check_whole, inspect_photo, read_pixels
from nerfscene.errors import NerfsceneError

WIDTH, HEIGHT, LONGEST = 300, 200, 100


def picture(path: Path, channels: int = 3, orientation: int = 1) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, channels), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if path.suffix == ".heic":
        pillow_heif.from_pillow(Image.fromarray(pixels)).save(path)
    else:
        Image.fromarray(pixels).save(path, exif=exif)
    return path


CASES = [("a.png", 3, 1), ("a.png", 4, 6), ("a.tif", 3, 1), ("a.webp", 4, 8), ("a.heic", 3, 1)]


def usage(free: int) -> Any:
    return SimpleNamespace(free=free)


def unopened(path: Path) -> Any:
    raise AssertionError(f"{path} was opened again")


@pytest.mark.parametrize("look", (check_whole, lambda path: inspect_photo(path, GREY_SIDE)))
@pytest.mark.parametrize(("name", "channels", "orientation"), CASES)
def test_what_was_decoded_to_look_at_it_is_not_decoded_again(
    tmp_path: Path,
    look: Callable[[Path], object],
    name: str,
    channels: int,
    orientation: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = picture(tmp_path / name, channels, orientation)
    width, height = photos.photo_size(path)
    size = round(width * LONGEST / WIDTH), round(height * LONGEST / WIDTH)
    expected = read_pixels(path, *size)
    with decoded.keeping(tmp_path, LONGEST, again=False):
        look(path)
        monkeypatch.setattr(photos, "_opened", unopened)
        np.testing.assert_array_equal(read_pixels(path, *size), expected)
        with pytest.raises(AssertionError, match="opened again"):
            read_pixels(path, WIDTH, HEIGHT)
    with pytest.raises(AssertionError, match="opened again"):
        read_pixels(path, *size)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("again", (False, True))
def test_a_jpeg_is_kept_once_it_was_read_if_it_is_read_again(
    tmp_path: Path, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path / "a.jpg")
    with decoded.keeping(tmp_path, WIDTH, again):
        inspect_photo(path, GREY_SIDE)
        first = read_pixels(path, WIDTH, HEIGHT)
        monkeypatch.setattr(photos, "_opened", unopened)
        if again:
            np.testing.assert_array_equal(read_pixels(path, WIDTH, HEIGHT), first)
            decoded.forget()
        with pytest.raises(AssertionError, match="opened again"):
            read_pixels(path, WIDTH, HEIGHT)


def test_a_jpeg_that_is_read_again_is_kept_when_it_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path / "a.jpg")
    expected = read_pixels(path, LONGEST, round(HEIGHT * LONGEST / WIDTH))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(path.read_bytes()[:9000])
    with decoded.keeping(tmp_path, LONGEST, again=True):
        check_whole(path)
        with pytest.raises(NerfsceneError, match=r"cut\.jpg cannot be read"):
            check_whole(cut)
        monkeypatch.setattr(photos, "_opened", unopened)
        np.testing.assert_array_equal(read_pixels(path, *expected.shape[1::-1]), expected)


def test_a_photo_that_changed_is_decoded_anew(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    with decoded.keeping(tmp_path, WIDTH, again=True):
        before = read_pixels(path, WIDTH, HEIGHT)
        Image.new("RGB", (WIDTH, HEIGHT), "red").save(path)
        after = read_pixels(path, WIDTH, HEIGHT)
    assert before.std() > 10 and (after == (255, 0, 0)).all()


def test_without_room_photos_are_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture(tmp_path / "a.png")
    expected = read_pixels(path, WIDTH, HEIGHT)

    def full(*given: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with decoded.keeping(tmp_path, WIDTH, again=True):
        for _ in range(2):
            np.testing.assert_array_equal(read_pixels(path, WIDTH, HEIGHT), expected)
    monkeypatch.undo()
    monkeypatch.setattr(decoded, "MOST", 10)
    with decoded.keeping(tmp_path, WIDTH, again=True):
        read_pixels(path, WIDTH, HEIGHT)
        assert decoded.find(path, WIDTH, HEIGHT) is None
    with decoded.keeping(tmp_path / "no folder", WIDTH, again=True):
        np.testing.assert_array_equal(read_pixels(path, WIDTH, HEIGHT), expected)


def test_most_of_the_disk_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture(tmp_path / "a.png")
    one = 3 * WIDTH * HEIGHT
    for free, kept in ((7 * one, False), (9 * one, True)):
        monkeypatch.setattr(decoded.shutil, "disk_usage", lambda folder, free=free: usage(free))
        with decoded.keeping(tmp_path, WIDTH, again=True):
            read_pixels(path, WIDTH, HEIGHT)
            assert (decoded.find(path, WIDTH, HEIGHT) is not None) == kept

"""Training photos' pixels: in memory, or drawn part by part from a file that leaves nothing behind."""

from __future__ import annotations

import errno
import math
import os
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import analytic
import numpy as np
import pytest
from PIL import Image

from nerfscene import api
from nerfscene.capture import photos
from nerfscene.config import TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.scene.scene import Scene
from nerfscene.training import photo_pixels, pixel_file
from nerfscene.training.photo_pixels import join_photos
from nerfscene.training.pixel_file import BLOCK, new_file, parts
from nerfscene.types import Intrinsics, View

SIZES = ((40, 30), (30, 40), (64, 16))


def written(folder: Path, channels: int = 3) -> tuple[list[View], list[np.ndarray]]:
    """Views of PNG photos of several sizes, and their pixels; with 4 channels, the second has no alpha."""
    rng = np.random.default_rng(1)
    views, shown = [], []
    for i, (width, height) in enumerate(SIZES):
        pixels = rng.integers(0, 256, (height, width, 3 if i == 1 else channels), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        k = Intrinsics(width, height, 50.0, 50.0, width / 2, height / 2)
        views.append(View(folder / f"{i}.png", k, np.eye(4)))
        shown.append(pixels)
    return views, shown


@pytest.mark.parametrize("channels", (3, 4))
@pytest.mark.parametrize("in_file", (False, True))
def test_pixels_lie_one_photo_after_the_other(
    tmp_path: Path, channels: int, in_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_pixels, "holdable", lambda: 100 if in_file else 1 << 30)
    views, shown = written(tmp_path, channels)
    (folder := tmp_path / "scene").mkdir()
    joined = join_photos(views, channels, folder)
    assert (joined.file is not None) == in_file and not list(folder.iterdir())
    expected = np.full((sum(w * h for w, h in SIZES), channels), 255, np.uint8)
    start = 0
    for photo in shown:
        rows = photo.reshape(-1, photo.shape[2])
        expected[start : start + len(rows), : photo.shape[2]] = rows
        start += len(rows)
    np.testing.assert_array_equal(joined.pixels, expected)
    np.testing.assert_allclose(joined.mean, expected[:, :3].mean(0) / 255)


def test_alpha_is_left_out_where_the_capture_has_none(tmp_path: Path) -> None:
    views, shown = written(tmp_path, 4)
    joined = join_photos(views, 3)
    np.testing.assert_array_equal(joined.pixels[: 40 * 30], shown[0][..., :3].reshape(-1, 3))


def test_joining_holds_each_photo_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "worker_count", lambda: 2)
    side, count = 600, 16
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    k = Intrinsics(side, side, 500.0, 500.0, side / 2, side / 2)
    views = []
    for i in range(count):
        Image.fromarray(pixels).save(tmp_path / f"{i}.jpg")
        views.append(View(tmp_path / f"{i}.jpg", k, np.eye(4)))
    tracemalloc.start()
    try:
        joined = join_photos(views, 3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Beside the whole, one photo for each thread, of which Pillow makes up to three copies.
    assert peak < joined.pixels.nbytes + 7 * pixels.nbytes


def full_disk(*given: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("failing", ("posix_fallocate", "pwrite"))
def test_a_full_disk_is_told_in_a_sentence(
    tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_pixels, "holdable", lambda: 100)
    monkeypatch.setattr(photo_pixels, "free_memory", lambda: 200)
    monkeypatch.setattr(os, failing, full_disk, raising=False)
    views, _ = written(tmp_path)
    (folder := tmp_path / "scene").mkdir()
    with pytest.raises(NerfsceneError, match=r"no room in .*scene \(No space left on device\): free some"):
        join_photos(views, 3, folder)
    assert not list(folder.iterdir())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room can't be asked for here")
def test_memory_is_used_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_pixels, "holdable", lambda: 100)
    monkeypatch.setattr(os, "posix_fallocate", full_disk)
    views, shown = written(tmp_path)
    joined = join_photos(views, 3, tmp_path)
    assert joined.file is None
    np.testing.assert_array_equal(joined.pixels[: 40 * 30], shown[0].reshape(-1, 3))


def test_a_file_leaves_room_for_the_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_pixels, "holdable", lambda: 100)
    views, _ = written(tmp_path)
    size = 3 * sum(width * height for width, height in SIZES)
    for more, filed in ((-1, False), (1, True)):
        usage = SimpleNamespace(free=size + photo_pixels.FOR_SCENE + more)
        monkeypatch.setattr(photo_pixels.shutil, "disk_usage", lambda folder, usage=usage: usage)
        assert (join_photos(views, 3, tmp_path).file is not None) == filed


def test_parts_have_all_pixels_once_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    block = BLOCK // 16
    monkeypatch.setattr(pixel_file, "BLOCK", block)
    count, channels, held = 312_503, 3, 4 * block
    seen: list[np.ndarray] = []
    size = block // channels
    needed = math.ceil(math.ceil(count / size) / 4)
    for number in range(needed):
        begin, got = parts(count, channels, held, number, seed=5)
        assert got == size and len(begin) * size * channels <= held
        seen += [np.arange(at, at + size) for at in begin.astype(np.int64)]
    covered = np.concatenate(seen)
    np.testing.assert_array_equal(np.unique(covered), np.arange(count))
    assert len(covered) < count + size  # only the last block overlaps the one before
    again = parts(count, channels, held, needed, seed=5)[0]
    assert not np.array_equal(again, parts(count, channels, held, 0, seed=5)[0])
    np.testing.assert_array_equal(again, parts(count, channels, held, needed, seed=5)[0])


def test_what_fits_is_drawn_from_as_a_whole() -> None:
    begin, size = parts(1000, 3, 3000, 7, seed=0)
    assert not len(begin) and size == 1000


def test_limits_of_a_container_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pixel_file.free_memory()
    for name, text in (("memory.max", "1000000"), ("memory.current", "700000")):
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 100000\n")
    names = ("memory.max", "memory.current", "inactive_file")
    monkeypatch.setattr(pixel_file, "_limits", lambda: [(tmp_path / "none", names), (tmp_path, names)])
    assert pixel_file.free_memory() == 400_000
    (tmp_path / "memory.max").write_text("max\n")
    assert pixel_file.free_memory() > 0.5 * whole


CONFIG = TrainConfig(steps=200, threads=1, backend="cpu")


@pytest.fixture(scope="module")
def usual(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The room's scene, trained on pixels in memory."""
    return api.train(room, tmp_path_factory.mktemp("usual") / "scene", CONFIG, analytic.SMALL)


@pytest.mark.parametrize("held", (1 << 30, 120_000))
def test_training_from_a_file(
    room: Path, usual: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """Held as a whole, the pixels of a file give the very same scene; in turns, a scene as good."""
    monkeypatch.setattr(
        photo_pixels, "_file_for", lambda count, channels, folder: new_file(count, channels, folder, held)
    )
    monkeypatch.setattr(pixel_file, "BLOCK", 3_000)
    monkeypatch.setattr(pixel_file, "STEPS", 50)
    turned: list[int] = []
    monkeypatch.setattr(pixel_file, "parts", lambda *given: turned.append(given[3]) or parts(*given))
    filed = api.train(room, tmp_path / "filed", CONFIG, analytic.SMALL)
    assert turned == [0, 1, 2, 3]
    if held > 120_000:
        np.testing.assert_array_equal(filed.field.table, usual.field.table)
    else:
        assert not np.array_equal(filed.field.table, usual.field.table)
    assert usual.figures.psnr == pytest.approx(filed.figures.psnr, abs=2.5)
    assert not [p for p in (tmp_path / "filed").iterdir() if p.name.startswith(".")]

"""Frames are found by their number in the file, whatever a player would show of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from footage_cases import write_video
from phone_app_cases import write_grey_video
from PIL import Image

from nerfscene.capture import numbered_frames
from nerfscene.capture.numbered_frames import frame_times, take_numbered
from nerfscene.errors import NerfsceneError


def level(path: Path) -> float:
    return float(np.asarray(Image.open(path).convert("L")).mean())


def test_frames_that_players_hide_count(tmp_path: Path) -> None:
    write_grey_video(tmp_path / "v.mp4", {stamp: 10 * (stamp + 2) for stamp in range(-2, 18)})
    times = frame_times(tmp_path / "v.mp4")
    assert (times.width, times.height, len(times.keys)) == (128, 96, 20)
    np.testing.assert_allclose(np.diff(times.seconds), 1 / 60, atol=1e-4)
    taken = take_numbered(tmp_path / "v.mp4", [0, 3, 19, 20, 99], 10, tmp_path / "out")
    assert sorted(taken) == [0, 3, 19]
    assert [round(level(path) / 10) for path in taken.values()] == [0, 3, 19]


def test_the_sharpest_of_each_stretch(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (96, 128, 3)).astype(np.uint8)
    pictures = [noise if index in (4, 5, 17) else np.full_like(noise, 90) for index in range(20)]
    write_video(tmp_path / "v.mp4", pictures)
    taken = take_numbered(tmp_path / "v.mp4", range(20), 2, tmp_path / "out")
    assert len(taken) == 2 and min(taken) in (4, 5) and max(taken) == 17


def test_pixels_stay_as_stored(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [np.full((96, 128, 3), i * 20, np.uint8) for i in range(6)], turned=90)
    taken = take_numbered(tmp_path / "v.mp4", [2], 5, tmp_path / "out")
    assert Image.open(taken[2]).size == (128, 96)


def test_another_wish_takes_them_again(tmp_path: Path) -> None:
    write_grey_video(tmp_path / "v.mp4", {i: 10 * i for i in range(12)})
    assert sorted(take_numbered(tmp_path / "v.mp4", [1, 2], 5, tmp_path / "out")) == [1, 2]
    assert sorted(take_numbered(tmp_path / "v.mp4", [7], 5, tmp_path / "out")) == [7]
    assert [path.name for path in (tmp_path / "out").glob("*.jpg")] == ["000007.jpg"]


def test_unreadable_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video at all" * 50)
    with pytest.raises(NerfsceneError, match="can't be read as a video"):
        take_numbered(tmp_path / "v.mp4", [1], 5, tmp_path / "out")
    write_grey_video(tmp_path / "v.mp4", {i: 10 * i for i in range(12)})
    monkeypatch.setattr(numbered_frames, "decoded", lambda container, stream, failures: iter(()))
    with pytest.raises(NerfsceneError, match="none of the frames"):
        take_numbered(tmp_path / "v.mp4", [1], 5, tmp_path / "out")
    assert not (tmp_path / "out").exists()

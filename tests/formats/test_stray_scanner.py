"""Stray Scanner's recordings: each frame of the video gets the pose that the app wrote for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from app_cases import CAMERAS, COUNT, FOCAL, write_photos
from phone_app_cases import LEVEL, write_grey_video, write_map, write_stray, zipped
from PIL import Image

from nerfscene.errors import NerfsceneError
from nerfscene.formats import stray_scanner
from nerfscene.formats.stray_scanner import numbers_of_frames
from nerfscene.intake import open_posed
from nerfscene.types import PosedCapture


def opened(source: Path, work: Path) -> PosedCapture:
    return open_posed(source, work, given="read")


def assert_each_has_its_pose(posed: PosedCapture) -> None:
    for view in posed.views:
        level = float(np.asarray(Image.open(view.path).convert("L")).mean())
        index = round(level / LEVEL)
        assert abs(level - LEVEL * index) < 3
        assert view.world_from_cam[:3, 3].tolist() == [index, 0.5, 0]
        np.testing.assert_allclose(view.world_from_cam[:3, :3], CAMERAS[index % COUNT][0].T, atol=1e-6)


@pytest.mark.parametrize("given", [".", "odometry.csv", "rgb.mp4"])
def test_frames_get_their_poses(tmp_path: Path, given: str) -> None:
    root = write_stray(tmp_path / "71de12f9ab")
    posed = opened(root / given, tmp_path / "work")
    assert posed.source == "stray-scanner" and posed.warnings == () and len(posed.views) == 20
    assert [view.path.name for view in posed.views][:2] == ["000000.jpg", "000001.jpg"]
    assert_each_has_its_pose(posed)
    lens = posed.views[7].intrinsics
    assert (lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy) == (128, 96, FOCAL, FOCAL, 66, 46)


def test_recordings_in_a_zip(tmp_path: Path) -> None:
    write_stray(tmp_path / "71de12f9ab")
    posed = opened(zipped(tmp_path / "71de12f9ab", tmp_path / "share.zip"), tmp_path / "work")
    assert len(posed.views) == 20 and posed.warnings == ()
    assert_each_has_its_pose(posed)


def test_lenses_of_each_frame_are_preferred(tmp_path: Path) -> None:
    posed = opened(write_stray(tmp_path / "scan", lenses=True), tmp_path / "work")
    assert [view.intrinsics.fx for view in posed.views] == [FOCAL + i for i in range(20)]
    assert {(view.intrinsics.cx, view.intrinsics.cy) for view in posed.views} == {(65, 47)}


def test_every_other_frame_recorded(tmp_path: Path) -> None:
    root = write_stray(tmp_path / "scan", 10)
    write_grey_video(root / "rgb.mp4", {2 * i - 1: LEVEL * i for i in range(10)})
    posed = opened(root, tmp_path / "work")
    assert len(posed.views) == 10
    assert_each_has_its_pose(posed)


def test_a_writer_that_dropped_the_frame_before_time_0(tmp_path: Path) -> None:
    posed = opened(write_stray(tmp_path / "scan", stamps=list(range(19))), tmp_path / "work")
    assert len(posed.views) == 19 and posed.views[0].world_from_cam[0, 3] == 1
    assert_each_has_its_pose(posed)


def test_a_gap_in_the_video_shifts_nothing(tmp_path: Path) -> None:
    stamps = [i for i in range(-1, 19) if i not in (6, 7, 12)]
    posed = opened(write_stray(tmp_path / "scan", stamps=stamps), tmp_path / "work")
    assert len(posed.views) == 17 and posed.warnings == ("3 poses in odometry.csv have no frame in rgb.mp4.",)
    assert_each_has_its_pose(posed)


def test_times_of_the_clock_tell_which_frames_are_missing() -> None:
    rng = np.random.default_rng(3)
    taken = 7000 + np.cumsum(rng.uniform(0.014, 0.03, 60))
    kept = np.setdiff1d(np.arange(60), [0, 9, 31, 32])
    assert numbers_of_frames(taken[kept] - taken[0], taken).tolist() == kept.tolist()  # type: ignore[union-attr]
    assert numbers_of_frames(np.arange(40) / 10, taken) is None
    assert numbers_of_frames(np.arange(60) / 60, taken).tolist() == list(range(60))  # type: ignore[union-attr]
    assert numbers_of_frames(np.arange(70) / 60, taken) is None


def test_long_recordings_are_thinned_to_the_sharpest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stray_scanner, "MOST_FRAMES", 5)
    posed = opened(write_stray(tmp_path / "scan"), tmp_path / "work")
    assert len(posed.views) == 5
    (warning,) = posed.warnings
    assert "20 frames" in warning and "took 5" in warning
    assert_each_has_its_pose(posed)


def test_rows_without_a_pose_are_left_out(tmp_path: Path) -> None:
    root = write_stray(tmp_path / "scan")
    lines = (root / "odometry.csv").read_text().splitlines()
    lines[4] = "5000.05, 000003, nan, nan, nan, nan, nan, nan, nan"
    lines[8] = "5000.1, 000007, 7.0, 0.5, 0.0, 0, 0, 0, 0"
    (root / "odometry.csv").write_text("\n".join(lines))
    posed = opened(root, tmp_path / "work")
    assert len(posed.views) == 18 and any("2 of the rows" in warning for warning in posed.warnings)
    assert_each_has_its_pose(posed)


def test_pictures_called_by_their_numbers_are_used(tmp_path: Path) -> None:
    root = write_stray(tmp_path / "scan", 8)
    write_photos(root / "rgb", [f"{i:06d}.png" for i in (1, 3, 5, 11)], (64, 48))
    (root / "camera_matrix.csv").write_text("1400.0, 0, 966\n0, 1400.0, 718\n0, 0, 1")
    posed = opened(root, tmp_path / "work")
    assert [view.path.name for view in posed.views] == ["000001.png", "000003.png", "000005.png"]
    assert [view.world_from_cam[0, 3] for view in posed.views] == [1, 3, 5]
    lens = posed.views[0].intrinsics  # of ARKit's 1920 × 1440, brought to the shrunken pictures
    assert (lens.width, lens.height) == (64, 48) and lens.fx == pytest.approx(1400 / 30)
    assert "1 photo has no pose" in posed.warnings[-1] and posed.left_out[0].name == "000011.png"


def test_pictures_of_unknown_frames_are_told(tmp_path: Path) -> None:
    root = write_stray(tmp_path / "scan")
    write_photos(root, ["cover.jpg", "note.png"], (64, 48))
    posed = opened(root, tmp_path / "work")
    assert len(posed.views) == 20 and "2 pictures beside rgb.mp4 (cover.jpg, note.png)" in posed.warnings[0]


def test_frames_are_taken_once(tmp_path: Path) -> None:
    root = write_stray(tmp_path / "scan")
    first = opened(root, tmp_path / "work")
    before = first.views[3].path.stat().st_mtime_ns
    assert opened(root, tmp_path / "work").views[3].path.stat().st_mtime_ns == before


@pytest.mark.parametrize("cut", ["frames", "lens", "poses", "turned"])
def test_refusals_name_a_way_out(tmp_path: Path, cut: str) -> None:
    root = write_stray(tmp_path / "scan")
    if cut == "frames":
        write_grey_video(root / "rgb.mp4", {i * 7: 10 * i for i in range(9)})
    elif cut == "lens":
        (root / "camera_matrix.csv").write_text("")
    elif cut == "poses":
        (root / "odometry.csv").write_text("timestamp, frame, x, y, z, qx, qy, qz, qw\n1, 000000, 1")
    else:
        (root / "camera_matrix.csv").write_text("100, 0, 46\n0, 100, 66\n0, 0, 1")
    with pytest.raises(NerfsceneError) as caught:
        opened(root, tmp_path / "work")
    message = str(caught.value)
    assert "rename odometry.csv" in message or "as the app recorded" in message
    assert str(root) in message and "\n" not in message


def test_without_odometry_the_video_is_posed_anew(tmp_path: Path) -> None:
    root = write_stray(tmp_path / "scan")
    (root / "odometry.csv").unlink()
    with pytest.raises(NerfsceneError, match=r"rgb\.mp4"):  # grey frames don't move: but the video was taken
        opened(root, tmp_path / "work")


def test_several_recordings_are_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_stray(tmp_path / "all" / name)
    (warning,) = stray_scanner.several_recordings(tmp_path / "all")
    assert "a, b" in warning and "give one of these folders" in warning
    shutil.rmtree(tmp_path / "all/b")
    assert stray_scanner.several_recordings(tmp_path / "all") == ()
    write_photos(tmp_path / "all/photos", ["IMG_0.jpg"])
    (warning,) = stray_scanner.several_recordings(tmp_path / "all")
    assert "a/odometry.csv" in warning and "give its folder" in warning
    write_map(tmp_path / "none/depth/0.png")
    assert stray_scanner.several_recordings(tmp_path / "none") == ()


@pytest.mark.parametrize("number", ["1e400", "99999999999999999999", "1000000000000", "-5"])
def test_rows_with_impossible_frame_numbers_are_passed_over(tmp_path: Path, number: str) -> None:
    root = write_stray(tmp_path / "walk")
    text = (root / "odometry.csv").read_text()
    assert ", 000007, " in text
    (root / "odometry.csv").write_text(text.replace(", 000007, ", f", {number}, "))
    assert len(opened(root, tmp_path / "work").views) == 19

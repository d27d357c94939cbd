"""3D Scanner App's cameras: read back, they project as they were written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from app_cases import COUNT, FOCAL, HEIGHT, WIDTH, assert_same_pixels, pinhole, write_photos
from phone_app_cases import arkit_matrix, write_scanner_3d_app, zipped
from posed_captures import error_of, found

from nerfscene.intake import open_posed


def change(root: Path, index: int, **values: object) -> None:
    path = root / f"frame_{index:05d}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_all_data(tmp_path: Path) -> None:
    write_scanner_3d_app(tmp_path / "2026_01_13_14_47_59")
    archive = zipped(tmp_path / "2026_01_13_14_47_59", tmp_path / "share.zip")
    for source in (tmp_path / "2026_01_13_14_47_59", archive):
        posed = open_posed(source, tmp_path / "work", given="read")
        assert posed.source == "3d-scanner-app" and posed.photos_given == COUNT and posed.left_out == ()
        (warning,) = posed.warnings  # neither maps nor thumbnails nor textures are photos
        assert "3 of the 8 cameras have no photo" in warning
        assert_same_pixels(posed, pinhole)


def test_every_frame_with_a_photo_leaves_nothing_to_say(tmp_path: Path) -> None:
    assert found(write_scanner_3d_app(tmp_path, extra=0)).warnings == ()


def test_photos_without_a_camera_are_told(tmp_path: Path) -> None:
    write_scanner_3d_app(tmp_path, extra=0)
    (tmp_path / "frame_00002.json").unlink()
    posed = found(tmp_path)
    assert len(posed.views) == COUNT - 1 and [left.name for left in posed.left_out] == ["frame_00002.jpg"]
    assert "1 photo has no camera" in posed.warnings[0]


def test_photos_moved_to_a_folder_of_their_own(tmp_path: Path) -> None:
    write_scanner_3d_app(tmp_path, extra=0)
    (tmp_path / "images").mkdir()
    for path in tmp_path.glob("frame_*.jpg"):
        path.rename(tmp_path / "images" / path.name.upper())
    assert_same_pixels(found(tmp_path), pinhole)


def test_matrices_in_rows_or_by_columns(tmp_path: Path) -> None:
    write_scanner_3d_app(tmp_path, extra=0)
    change(tmp_path, 1, cameraPoseARFrame=arkit_matrix(1).tolist())
    change(tmp_path, 2, cameraPoseARFrame=arkit_matrix(2).T.flatten().tolist())
    change(tmp_path, 3, intrinsics=[[FOCAL, 0, 203], [0, 385.0, 148], [0, 0, 1]])
    assert_same_pixels(found(tmp_path), pinhole)


def test_shrunken_photos(tmp_path: Path) -> None:
    write_scanner_3d_app(tmp_path, extra=0)
    for index in range(COUNT):
        change(tmp_path, index, intrinsics=[1350.0, 0, 962, 0, 1350.0, 718, 0, 0, 1])
    lens = found(tmp_path).views[0].intrinsics  # of ARKit's 1920 × 1440
    assert (lens.width, lens.height) == (WIDTH, HEIGHT)
    np.testing.assert_allclose([lens.fx, lens.cx, lens.cy], np.array([1350, 962, 718]) * WIDTH / 1920)


@pytest.mark.parametrize("fault", ["photos", "pose", "lens", "turned"])
def test_refusals(tmp_path: Path, fault: str) -> None:
    write_scanner_3d_app(tmp_path, extra=0)
    if fault == "photos":
        for path in tmp_path.glob("frame_*.jpg"):
            path.unlink()
    elif fault == "pose":
        change(tmp_path, 1, cameraPoseARFrame=[1.0] * 15)
    elif fault == "lens":
        change(tmp_path, 1, intrinsics=None)
    else:
        write_photos(tmp_path, [f"frame_{i:05d}.jpg" for i in range(COUNT)], (HEIGHT, WIDTH))
    error_of(tmp_path)

"""Polycam's and Record3D's cameras: read back, they project as they were written."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_cases import COUNT, FOCAL, assert_same_pixels, pinhole, write_photos
from phone_app_cases import record3d, write_polycam, write_record3d
from posed_captures import error_of, found

from nerfscene.capture.footage import is_video
from nerfscene.formats.phone_apps import MOST_FRAMES
from nerfscene.intake import open_posed


@pytest.mark.parametrize("place", [".", "keyframes"])
def test_polycam(tmp_path: Path, place: str) -> None:
    write_polycam(tmp_path / place)
    (tmp_path / "mesh_info.json").write_text("{}")
    posed = found(tmp_path)
    assert posed.source == "polycam" and posed.warnings == () and posed.photos_given == COUNT
    assert_same_pixels(posed, pinhole)


def test_polycams_corrected_cameras_are_preferred(tmp_path: Path) -> None:
    write_polycam(tmp_path / "keyframes")
    write_polycam(tmp_path / "keyframes", "corrected_")
    assert {v.path.parent.name for v in found(tmp_path).views} == {"corrected_images"}
    shutil.rmtree(tmp_path / "keyframes/corrected_images")
    assert {v.path.parent.name for v in found(tmp_path).views} == {"images"}


def test_polycam_frames_without_photo_are_left_out(tmp_path: Path) -> None:
    write_polycam(tmp_path)
    (tmp_path / "images/1001.jpg").unlink()
    posed = found(tmp_path)
    assert len(posed.views) == COUNT - 1 and posed.left_out[0].name == "1001"
    (warning,) = posed.warnings
    assert "1 of the 5" in warning


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_record3d(tmp_path: Path, suffix: str) -> None:
    write_record3d(tmp_path, record3d(), suffix)
    for path in (tmp_path, tmp_path / "metadata.json"):
        posed = found(path)
        assert posed.source == "record3d" and posed.warnings == () and posed.root == tmp_path
        assert_same_pixels(posed, pinhole)


def test_record3d_frames_have_lenses_of_their_own(tmp_path: Path) -> None:
    each = [[FOCAL + i, 385.0 - i, 203 + i, 148 - i] for i in range(COUNT)]
    write_record3d(tmp_path, record3d() | {"perFrameIntrinsicCoeffs": each})
    lenses = [view.intrinsics for view in found(tmp_path).views]
    assert [[k.fx, k.fy, k.cx, k.cy] for k in lenses] == each


def test_long_recordings_are_thinned_evenly(tmp_path: Path) -> None:
    write_record3d(tmp_path, record3d(MOST_FRAMES + 50))
    posed = found(tmp_path)
    numbers = [int(view.path.stem) for view in posed.views]
    assert len(numbers) == MOST_FRAMES and numbers[0] == 0 and numbers[-1] == MOST_FRAMES + 49
    assert set(np.diff(numbers)) == {1, 2}
    (warning,) = posed.warnings
    assert str(MOST_FRAMES) in warning


def test_record3d_photos_without_a_pose_are_told(tmp_path: Path) -> None:
    write_record3d(tmp_path, record3d())
    write_photos(tmp_path / "rgb", ["5.jpg", "6.jpg"])
    posed = found(tmp_path)
    assert len(posed.views) == COUNT and [left.name for left in posed.left_out] == ["5.jpg", "6.jpg"]
    assert "2 photos have no pose" in posed.warnings[0]


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", ["walk.r3d", "download"])
def test_record3ds_own_files(tmp_path: Path, packing: int, name: str) -> None:
    values = record3d(12)  # more than nine, so that 10 must come after 9
    write_photos(tmp_path, ["photo.jpg"])
    with zipfile.ZipFile(tmp_path / name, "w", packing) as packed:
        for index in range(len(values["poses"])):
            packed.write(tmp_path / "photo.jpg", f"rgbd/{index}.jpg")
            packed.writestr(f"rgbd/{index}.depth", b"depth")
            packed.writestr(f"rgbd/{index}.conf", b"confidence")
        packed.writestr("metadata", json.dumps(values))
        packed.write(tmp_path / "photo.jpg", "icon")
    assert not is_video(tmp_path / name)
    posed = open_posed(tmp_path / name, tmp_path / "work")
    assert posed.source == "record3d" and posed.warnings == () and len(posed.views) == 12
    assert_same_pixels(replace(posed, views=posed.views[:COUNT]), pinhole)
    assert not [*posed.root.rglob("*.depth"), *posed.root.rglob("*.conf")]
    assert len(found(posed.root / "metadata").views) == 12


def test_record3d_cameras_without_their_photos(tmp_path: Path) -> None:
    (tmp_path / "rgbd").mkdir()
    (tmp_path / "metadata").write_text(json.dumps(record3d()))
    message = error_of(tmp_path)
    assert str(tmp_path / "rgbd") in message and ".r3d" in message

"""Polycam's, Record3D's and NeRFCapture's cameras: read back, they project as they were written."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_cases import COUNT, FOCAL, HEIGHT, WIDTH, assert_same_pixels, pinhole, write_photos
from phone_app_cases import record3d, write_nerf_capture, write_polycam, write_record3d, zipped
from posed_captures import error_of, found

from nerfscene.capture.footage import is_video
from nerfscene.formats.phone_apps import MOST_FRAMES, poseless_record3d
from nerfscene.formats.readers import find_posed
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


def without_size(folder: Path) -> None:
    """Leaves out what Polycam of 2025 leaves out of its corrected cameras."""
    for path in folder.glob("*.json"):
        values = json.loads(path.read_text())
        values = {k: v for k, v in values.items() if k not in ("width", "height", "blur_score")}
        path.write_text(json.dumps(values | {"neighbors": [1001, 1002], "center_depth": 2.5}))


@pytest.mark.parametrize("beside", ["as large", "missing", "of other proportions"])
def test_polycams_sizes_that_are_not_stated(tmp_path: Path, beside: str) -> None:
    base = tmp_path / "keyframes"
    write_polycam(base)
    write_polycam(base, "corrected_")
    without_size(base / "corrected_cameras")
    if beside == "missing":
        shutil.rmtree(base / "cameras")
    elif beside != "as large":
        for path in (base / "cameras").glob("*.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"width": 402, "height": 341}))
    posed = found(tmp_path)
    assert posed.warnings == () and {v.path.parent.name for v in posed.views} == {"corrected_images"}
    assert_same_pixels(posed, pinhole)


def test_polycams_shrunken_photos_without_a_size(tmp_path: Path) -> None:
    write_polycam(tmp_path)
    write_polycam(tmp_path, "corrected_", (WIDTH // 2, HEIGHT // 2))
    without_size(tmp_path / "corrected_cameras")
    lens = found(tmp_path).views[0].intrinsics
    assert (lens.width, lens.height, lens.fx, lens.cx) == (WIDTH // 2, HEIGHT // 2, FOCAL / 2, 203 / 2)


def test_polycams_photos_without_a_camera_are_told(tmp_path: Path) -> None:
    write_polycam(tmp_path)
    (tmp_path / "cameras/1002.json").unlink()
    (tmp_path / "cameras/._1001.json").write_bytes(b"of the file system")
    posed = found(tmp_path)
    assert len(posed.views) == COUNT - 1 and posed.photos_given == COUNT
    assert [left.name for left in posed.left_out] == ["1002.jpg"] and "1 photo has" in posed.warnings[0]


def test_polycams_corrected_photo_without_a_camera_is_told_once(tmp_path: Path) -> None:
    write_polycam(tmp_path)
    write_polycam(tmp_path, "corrected_")
    (tmp_path / "corrected_cameras/1002.json").unlink()
    posed = found(tmp_path)
    assert len(posed.views) == COUNT - 1 and posed.photos_given == COUNT
    assert [left.name for left in posed.left_out] == ["1002.jpg"] and len(posed.warnings) == 1


@pytest.mark.parametrize(("corrected", "used"), [(4, 4), (2, COUNT)])
def test_polycams_correction_that_is_not_through(tmp_path: Path, corrected: int, used: int) -> None:
    write_polycam(tmp_path)
    write_polycam(tmp_path, "corrected_")
    for index in range(corrected, COUNT):
        (tmp_path / f"corrected_cameras/{1000 + index}.json").unlink()
        (tmp_path / f"corrected_images/{1000 + index}.jpg").unlink()
    posed = found(tmp_path)
    assert len(posed.views) == used and posed.photos_given == COUNT
    assert [("not corrected" in warning) for warning in posed.warnings] == [True] * (used < COUNT)


def test_nerf_capture(tmp_path: Path) -> None:
    write_nerf_capture(tmp_path / "221107101500")
    archive = zipped(tmp_path / "221107101500", tmp_path / "221107101500.zip")
    for source in (tmp_path / "221107101500", archive):
        posed = open_posed(source, tmp_path / "work", given="read")
        assert posed.source == "transforms" and posed.warnings == () and posed.photos_given == COUNT
        assert [view.path.name for view in posed.views] == [f"{i}.png" for i in range(COUNT)]
        assert_same_pixels(posed, pinhole)


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


def test_recordings_of_the_front_camera_have_no_poses(tmp_path: Path) -> None:
    values = record3d() | {"poses": [[0, 0, 0, 1, 0, 0, 0]] * COUNT}
    write_record3d(tmp_path, values)
    assert find_posed(tmp_path) is None
    (warning,) = poseless_record3d(tmp_path)
    assert "same pose" in warning and "posed anew" in warning
    write_record3d(tmp_path, record3d())
    assert poseless_record3d(tmp_path) == ()


def test_record3d_frames_that_were_not_tracked(tmp_path: Path) -> None:
    values = record3d()
    values["poses"][2] = [0.0] * 7
    write_record3d(tmp_path, values)
    posed = found(tmp_path)
    assert [view.path.stem for view in posed.views] == ["0", "1", "3", "4"]
    assert "1 photo has no pose" in posed.warnings[0] and posed.left_out[0].name == "2.jpg"

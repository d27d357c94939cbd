"""LLFF's poses_bounds.npy: read back, its cameras project as they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from app_cases import CAMERAS, COUNT, FOCAL, HEIGHT, WIDTH, assert_same_pixels, pinhole, write_photos
from PIL import Image
from posed_captures import error_of, found

from nerfscene.errors import NerfsceneError
from nerfscene.formats import llff
from nerfscene.formats.llff import why_llff_is_unread
from nerfscene.formats.readers import find_posed, unread_cameras


def rows() -> np.ndarray:
    """(COUNT, 17) as imgs2poses writes them: cameras' axes point down, right and backwards."""
    result = []
    for rotation, centre in CAMERAS:
        right, down, forward = rotation
        matrix = np.stack([down, right, -forward, centre, [HEIGHT, WIDTH, FOCAL]], axis=1)
        result.append(np.concatenate([matrix.ravel(), [1.5, 8.0]]))
    return np.stack(result)


def write_llff(root: Path, names: list[str], place: str = "images", shrunk: int = 1) -> Path:
    write_photos(root / place, names, (WIDTH // shrunk, HEIGHT // shrunk))
    np.save(root / "poses_bounds.npy", rows())
    return root / "poses_bounds.npy"


NAMES = ["img1.jpg", "img10.jpg", "img11.jpg", "img2.jpg", "img9.jpg"]  # as Python sorts them


def project(cam: np.ndarray) -> np.ndarray:
    return pinhole(cam, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2)


@pytest.mark.parametrize("place", ["images", "."])
def test_llff(tmp_path: Path, place: str) -> None:
    path = write_llff(tmp_path, NAMES, place)
    for given in (tmp_path, path):
        posed = found(given)
        assert posed.source == "llff" and posed.warnings == () and posed.photos_given == COUNT
        assert [view.path.name for view in posed.views] == NAMES
        assert_same_pixels(posed, project)


def test_cameras_in_a_folder_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "llff").mkdir()
    write_llff(tmp_path, NAMES).rename(tmp_path / "llff/poses_bounds.npy")
    for given in (tmp_path, tmp_path / "llff"):
        assert [view.path.name for view in found(given).views] == NAMES


def test_letter_case_of_the_file_and_its_folder(tmp_path: Path) -> None:
    path = write_llff(tmp_path, NAMES, "Images").rename(tmp_path / "Poses_Bounds.npy")
    for given in (tmp_path, path):
        assert [view.path.name for view in found(given).views] == NAMES


def test_cameras_of_videos_are_told(tmp_path: Path) -> None:
    """Neural 3D Video's recordings: a row for each of several videos."""
    np.save(tmp_path / "poses_bounds.npy", rows())
    (tmp_path / "cam00.mp4").write_bytes(b"")
    (told,) = unread_cameras(tmp_path)
    assert "poses_bounds.npy are not used" in told and "there are none beside it" in told


def test_smaller_copies_are_used_where_the_photos_are_gone(tmp_path: Path) -> None:
    write_llff(tmp_path, NAMES, "images_4", 4)
    views = found(tmp_path).views
    assert {(v.intrinsics.width, v.intrinsics.fx) for v in views} == {(WIDTH // 4, FOCAL / 4)}
    write_photos(tmp_path / "images", NAMES)
    assert {v.path.parent.name for v in found(tmp_path).views} == {"images"}


def test_depth_maps_beside_the_photos_are_not_counted(tmp_path: Path) -> None:
    write_llff(tmp_path, NAMES)
    for name in NAMES:
        Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "images" / f"{Path(name).stem}_depth.png")
    posed = found(tmp_path)
    assert [view.path.name for view in posed.views] == NAMES and posed.warnings == ()


def test_photos_whose_order_says_nothing_are_posed_anew_and_that_is_told(tmp_path: Path) -> None:
    path = write_llff(tmp_path, [*NAMES, "img12.jpg"])
    assert find_posed(tmp_path) is None
    (told,) = unread_cameras(tmp_path)
    assert "poses_bounds.npy are not used" in told and "5 photos" in told and "holds 6" in told
    assert "holds 6" in error_of(path)
    assert why_llff_is_unread(tmp_path / "images") is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((COUNT, 15)), "5×15 numbers"),
        (np.zeros(17), "17 numbers"),
        (np.zeros((0, 17)), "0×17"),
        (np.array([None] * 17), "can't be read"),
        (np.zeros((COUNT, 17)), "picture of 0×0"),
        (np.full((COUNT, 17), np.nan), "not finite"),
    ],
)
def test_other_arrays(tmp_path: Path, values: np.ndarray, said: str) -> None:
    path = write_llff(tmp_path, NAMES)
    np.save(path, values, allow_pickle=True)
    assert said in error_of(path)


def test_a_damaged_file_beside_photos_is_told(tmp_path: Path) -> None:
    write_llff(tmp_path, NAMES).write_bytes(b"\x93NUMPY\x01\x00")
    assert find_posed(tmp_path) is None and "can't be read" in unread_cameras(tmp_path)[0]


@pytest.mark.parametrize("cut", [b"{'descr': '<f8', 'shape': (", b"{'descr': '<f8' 'shape': }", b"{1: [}"])
def test_a_damaged_header_is_refused_in_one_sentence(tmp_path: Path, cut: bytes) -> None:
    """numpy parses a header as Python's text, and lets errors of its tokenizer and parser through."""
    header = cut.ljust(117) + b"\n"
    file = tmp_path / "poses_bounds.npy"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(17 * 8))
    (tmp_path / "images").mkdir()
    with pytest.raises(NerfsceneError, match="can't be read as LLFF's cameras"):
        llff._rows(file)

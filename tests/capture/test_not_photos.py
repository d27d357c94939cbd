"""Depth maps, confidences, normals and thumbnails are not taken for photos; photos with such names are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerfscene.capture.folder import find_photos, open_capture
from nerfscene.errors import NerfsceneError
from nerfscene.intake import find_videos


def write(root: Path, names: str, kind: str = "colour", count: int = 4) -> None:
    """Pictures called ``names`` with {} replaced by a number: colour, depth (16 bits) or grey (8 bits)."""
    for index in range(count):
        path = root / names.format(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "depth":
            Image.fromarray(np.full((6, 8), 1000 + index, np.uint16)).save(path)
        else:
            Image.new("RGB" if kind == "colour" else "L", (8, 6), index).save(path)


def found(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in find_photos(root)}


@pytest.mark.parametrize(
    ("photos", "maps"),
    [
        ("frame_{:05d}.jpg", [("depth_{:05d}.png", "depth"), ("conf_{:05d}.png", "grey")]),  # 3D Scanner App
        ("images/{}.png", [("images/{}.depth.png", "depth")]),  # NeRFCapture
        (
            "r_{}.png",
            [("r_{}_depth_0001.png", "colour"), ("r_{}_normal_0001.png", "colour")],
        ),  # NeRF-synthetic
        ("frame-{:06d}.color.png", [("frame-{:06d}.depth.png", "depth")]),  # 7-Scenes
        ("{:05d}-color.png", [("{:05d}-depth.png", "depth")]),  # 3DMatch
        ("frame_{:04d}.jpg", [("frame_{:04d}_depth.png", "grey"), ("frame_{:04d}_confidence.png", "grey")]),
        ("color_{}.jpg", [("depth_{}.png", "depth"), ("disparity_{}.jpg", "colour")]),
        ("a_{}.jpg", [("Depth-Maps/a_{}.jpg", "colour"), ("conf/a_{}.jpg", "colour")]),
        (
            "rgb/{:06d}.jpg",
            [("depth/{:06d}.png", "depth"), ("confidence/{:06d}.png", "grey")],
        ),  # Stray Scanner
        ("lowres_wide/1_{}.png", [("lowres_depth/1_{}.png", "depth"), ("highres_depth/1_{}.png", "depth")]),
        (
            "images/{}.jpg",
            [("normals/{}.png", "colour"), ("normal/{}.png", "colour"), ("depth_maps/{}.png", "grey")],
        ),
    ],
)
def test_maps_beside_photos(tmp_path: Path, photos: str, maps: list[tuple[str, str]]) -> None:
    write(tmp_path, photos)
    for names, kind in maps:
        write(tmp_path, names, kind, 9)  # for frames without a photo as well
    assert found(tmp_path) == {photos.format(index) for index in range(4)}


def test_one_thumbnail_is_enough(tmp_path: Path) -> None:
    write(tmp_path, "frame_{:05d}.jpg")
    write(tmp_path, "thumb_{:05d}.jpg", count=1)
    assert len(found(tmp_path)) == 4


@pytest.mark.parametrize(
    "names", ["depth-of-field.jpg", "chair-depth.jpg", "depth {}.jpg", "conf/IMG_{}.jpg", "Normal/IMG_{}.jpg"]
)
def test_photos_with_such_names(tmp_path: Path, names: str) -> None:
    write(tmp_path, "chair.jpg", count=1)
    write(tmp_path, "IMAG{}.jpg")
    write(tmp_path, names)
    assert names.format(0) in found(tmp_path)


def test_a_video_is_taken_where_only_maps_lie_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "confidence/{:06d}.png", "grey", 9)
    write(tmp_path, "depth_{:05d}.png", "depth", 9)
    (tmp_path / "rgb.mp4").write_bytes(b"video")
    assert find_videos(tmp_path) == [tmp_path / "rgb.mp4"]


def test_a_folder_of_maps_alone_says_so(tmp_path: Path) -> None:
    write(tmp_path, "depth/{}.png", "depth")
    with pytest.raises(NerfsceneError, match="depth maps, masks or thumbnails"):
        open_capture(tmp_path)


def test_a_folder_given_by_itself_is_searched(tmp_path: Path) -> None:
    write(tmp_path, "depth/IMG_{}.jpg")
    assert len(found(tmp_path / "depth")) == 4


def test_videos_of_depth_are_not_taken_beside_others(tmp_path: Path) -> None:
    (tmp_path / "depth_video.mp4").write_bytes(b"video")
    assert find_videos(tmp_path) == [tmp_path / "depth_video.mp4"]
    (tmp_path / "rgb.mp4").write_bytes(b"video")
    assert find_videos(tmp_path) == [tmp_path / "rgb.mp4"]

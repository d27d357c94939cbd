"""BlocksExchange: its cameras, read back, project as they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from app_cases import CAMERAS, COUNT, NAMES, assert_same_pixels, write_photos
from blocks_exchange_cases import (
    ORIENTATIONS,
    block,
    every_photo,
    lens,
    photo,
    project,
    project_fisheye,
    xml,
)
from posed_captures import error_of, found
from realitycapture_cases import degrees

from nerfscene.formats.readers import find_posed


def write(root: Path, text: str) -> Path:
    write_photos(root / "images", NAMES)
    (root / "block.xml").write_text(text, encoding="utf-8")
    return root / "block.xml"


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["pixels", "mm"])
def test_blocks_exchange(tmp_path: Path, kind: str, orientation: str) -> None:
    path = write(tmp_path, xml(block(lens(kind, orientation), every_photo(orientation))))
    for given in (tmp_path, path):
        posed = found(given)
        assert posed.source == "blocksexchange" and posed.warnings == () and posed.photos_given == COUNT
        assert_same_pixels(posed, project)


def test_photos_listed_beside_their_groups(tmp_path: Path) -> None:
    photos = [photo(i, more="<PhotogroupIndex>0</PhotogroupIndex>") for i in range(COUNT)]
    write(tmp_path, xml(block(lens(), photos, bulk=True)))
    assert_same_pixels(found(tmp_path), project)


def test_fisheyes_are_approximated(tmp_path: Path) -> None:
    write(tmp_path, xml(block(lens("fisheye"), every_photo())))
    assert_same_pixels(found(tmp_path), project_fisheye, within=0.5)


def test_longitudes_and_latitudes_become_metres(tmp_path: Path) -> None:
    write(tmp_path, xml(block(lens(), every_photo(place=degrees))))
    posed = found(tmp_path)
    assert "longitudes and latitudes" in posed.warnings[0]
    middle = np.mean([centre for _, centre in CAMERAS], axis=0)
    assert_same_pixels(posed, project, lambda p: p - middle, within=0.05)


def test_photos_without_a_pose_and_smaller_blocks_are_told(tmp_path: Path) -> None:
    bare = "<Photo><Id>4</Id><ImagePath>IMG_4.jpg</ImagePath></Photo>"
    one, other = [*every_photo()[:4], bare], every_photo()[:2]
    write(tmp_path, xml(block(lens(), other), block(lens(), one)))
    posed = found(tmp_path)
    assert len(posed.views) == 4 and [left.name for left in posed.left_out] == ["IMG_4.jpg"]
    blocks, no_pose = posed.warnings
    assert "2 blocks" in blocks and "1 of the 5 photos" in no_pose


def test_blocks_without_poses_are_passed_over_beside_photos(tmp_path: Path) -> None:
    path = write(tmp_path, xml(block(lens(), ["<Photo><ImagePath>IMG_0.jpg</ImagePath></Photo>"])))
    assert find_posed(tmp_path) is None
    assert "BlocksExchange" in error_of(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<M_01>", "<M_01>x", "M_01"),
        ("<M_11>", "<M_11>7", "not a rotation"),
        ("XRightYDown", "XLeftYRight", "CameraOrientation"),
        ("XRightYDown", "sideways", "CameraOrientation"),
        ("<FocalLengthPixels>380.0</FocalLengthPixels>", "", "focal length of 0"),
        ("<FocalLengthPixels>", "<CameraModelType>Cubic</CameraModelType><FocalLengthPixels>", "Cubic"),
        ("<FocalLengthPixels>", "<CameraModelType>Spherical</CameraModelType><FocalLengthPixels>", "twice"),
        ("</Block>", "", "cannot be read"),
    ],
)
def test_malformed_blocks(tmp_path: Path, old: str, new: str, said: str) -> None:
    good = xml(block(lens(), every_photo()))
    assert old in good
    assert said in error_of(write(tmp_path, good.replace(old, new, 1)))

"""Captures that come with cameras: which kind is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from colmap_cases import edit, synthetic, without_frames, write_colmap
from posed_captures import error_of, found
from transforms_cases import transforms, write_photo, write_synthetic, write_transforms

from nerfscene.formats.readers import find_posed

DATA = Path(os.environ.get("NERFSCENE_DATA", Path(__file__).parents[3] / "shared/data"))


def test_nothing_known_is_none(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    assert find_posed(tmp_path) is None
    assert find_posed(tmp_path / "a.jpg") is None
    assert find_posed(tmp_path / "nowhere") is None


def test_transforms_json_is_preferred(tmp_path: Path) -> None:
    write_colmap(tmp_path, "sparse/0", synthetic())
    write_synthetic(tmp_path, 0)
    assert found(tmp_path).source == "synthetic"
    write_transforms(tmp_path, transforms())
    assert found(tmp_path).source == "transforms"


def test_cameras_one_folder_deeper_are_used_whatever_lies_beside_that_folder(tmp_path: Path) -> None:
    write_transforms(tmp_path / "house" / "scan", transforms())
    (tmp_path / "README.txt").write_text("photos of a house")
    (tmp_path / "house" / "scan.zip").write_bytes(b"PK")
    (tmp_path / "__MACOSX").mkdir()
    assert found(tmp_path).source == "transforms"


def test_cameras_in_a_folder_beside_the_photos_are_used(tmp_path: Path) -> None:
    values = transforms()
    names = [frame["file_path"] for frame in values["frames"]]
    for name, prefix in (("a", "../"), ("b", "")):  # b is a copy whose paths are of another place
        for frame, path in zip(values["frames"], names, strict=True):
            write_photo(tmp_path / name / path)
            frame["file_path"] = prefix + path
        write_transforms(tmp_path / name / "export", values, present=0)
        posed = found(tmp_path / name)
        assert posed.source == "transforms" and len(posed.views) == 4 and posed.warnings == ()


def test_fox(tmp_path: Path) -> None:
    if not (DATA / "fox").is_dir():
        pytest.skip(f"no fox capture in {DATA}")
    posed = found(DATA / "fox")
    assert len(posed.views) == 50 and "17 of the 67" in posed.warnings[0]
    assert len(posed.warnings) == 1


@pytest.mark.long
def test_chair(tmp_path: Path) -> None:
    if not (DATA / "chair").is_dir():
        pytest.skip(f"no chair capture in {DATA}")
    posed = found(DATA / "chair")
    assert [sum(v.split == s for v in posed.views) for s in ("train", "test")] == [100, 200]
    assert posed.has_alpha and posed.given_split and posed.warnings == ()


@pytest.mark.parametrize("focal", [1e-310, 1e-30, 0.001, 1e300])
@pytest.mark.parametrize("kind", ["transforms", "colmap"])
def test_focal_lengths_that_no_photo_has(tmp_path: Path, kind: str, focal: float) -> None:
    """They would overflow in the kernels, or make a scene of nothing."""
    if kind == "transforms":
        write_transforms(tmp_path, transforms(fl_x=focal))
    else:
        folder = without_frames(write_colmap(tmp_path, "sparse/0", synthetic(), text=True))
        edit(folder / "cameras.txt", "OPENCV 64 48 60 61", f"OPENCV 64 48 {focal!r} 61")
    assert "focal length can't be that of a photo" in error_of(tmp_path)


def test_a_camera_too_far_away(tmp_path: Path) -> None:
    values = transforms()
    values["frames"][1]["transform_matrix"][0][3] = 1e200
    write_transforms(tmp_path, values)
    assert "too far away" in error_of(tmp_path)

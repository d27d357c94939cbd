"""Cameras beside others, in folders below a capture's own, and above its photos: used, or told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from colmap_cases import synthetic, write_colmap
from posed_captures import error_of, found
from transforms_cases import transforms, write_photo, write_transforms

from nerfscene.formats.readers import find_posed, unread_cameras


def test_cameras_in_a_folder_of_their_own(tmp_path: Path) -> None:
    write_transforms(tmp_path / "export", transforms())
    shutil.move(tmp_path / "export/images", tmp_path / "images")
    posed = found(tmp_path)
    assert posed.source == "transforms" and posed.warnings == ()
    assert {view.path.parent for view in posed.views} == {tmp_path / "images"}


def test_processed_copies_below_the_originals(tmp_path: Path) -> None:
    """ns-process-data copies the photos under other names into the folder that it makes."""
    write_transforms(tmp_path / "processed", transforms())
    write_photo(tmp_path / "IMG_1.jpg")
    posed = found(tmp_path)
    assert posed.root == tmp_path / "processed"
    assert "1 photo (IMG_1.jpg) elsewhere" in posed.warnings[-1]


def test_cameras_of_few_of_the_photos_are_told(tmp_path: Path) -> None:
    write_transforms(tmp_path / "try", transforms())
    for i in range(40):
        write_photo(tmp_path / f"IMG_{i}.jpg")
    assert find_posed(tmp_path) is None
    (told,) = unread_cameras(tmp_path)
    assert "the cameras in try are not used" in told and f"give {tmp_path / 'try'}" in told


def test_broken_cameras_below_are_told(tmp_path: Path) -> None:
    values = transforms()
    values["frames"][0]["transform_matrix"] = [[1.0]]
    write_transforms(tmp_path / "export", values)
    write_photo(tmp_path / "IMG_1.jpg")
    assert find_posed(tmp_path) is None
    assert "the cameras in export are not used" in unread_cameras(tmp_path)[0]


def test_several_captures_in_one_folder(tmp_path: Path) -> None:
    for name in ("chair", "lego"):
        write_transforms(tmp_path / name, transforms())
    assert "2 folders (chair, lego)" in error_of(tmp_path)


def test_photos_whose_cameras_lie_above(tmp_path: Path) -> None:
    write_transforms(tmp_path / "a", transforms())
    write_colmap(tmp_path / "b", "sparse/0", synthetic())
    for name, place in (("a", "transforms.json"), ("b", "sparse")):
        images = tmp_path / name / "images"
        assert find_posed(images) is None
        (told,) = unread_cameras(images)
        assert told.startswith(f"{place} in ") and f"give {tmp_path / name} to use them" in told


def test_other_photos_beside_cameras_are_none_of_theirs(tmp_path: Path) -> None:
    write_transforms(tmp_path, transforms())
    write_photo(tmp_path / "holiday/beach.jpg")
    assert unread_cameras(tmp_path / "holiday") == ()


def test_cameras_beside_those_used_are_told(tmp_path: Path) -> None:
    write_colmap(tmp_path, "sparse/0", synthetic(), images="photos")
    write_transforms(tmp_path, transforms()).rename(tmp_path / "cameras.json")
    posed = found(tmp_path)
    assert posed.source == "colmap"
    assert "the cameras in cameras.json are not used" in posed.warnings[-1]
    assert found(tmp_path / "cameras.json").source == "transforms"  # the way out


def test_a_model_that_transforms_were_made_from_is_not_told(tmp_path: Path) -> None:
    write_colmap(tmp_path, "colmap/sparse/0", synthetic(), images="photos")
    write_transforms(tmp_path, transforms())
    assert found(tmp_path).warnings == ()


def test_cameras_that_cannot_be_read_in_a_folder_below(tmp_path: Path) -> None:
    write_photo(tmp_path / "images/IMG_1.jpg")
    (tmp_path / "vsfm").mkdir()
    (tmp_path / "vsfm/out.nvm").write_text("NVM_V3\n")
    assert find_posed(tmp_path) is None
    (told,) = unread_cameras(tmp_path)
    assert "vsfm/out.nvm (VisualSFM)" in told
    np.save(tmp_path / "vsfm/poses_bounds.npy", np.zeros((2, 17)))
    assert "vsfm/poses_bounds.npy are not used" in unread_cameras(tmp_path)[0]


def test_folders_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither one below, such as lost+found, nor the one above keeps the photos from being used."""
    write_photo(tmp_path / "cap/images/IMG_1.jpg")
    (tmp_path / "cap/lost+found").mkdir()
    closed = {tmp_path, tmp_path / "cap/lost+found"}
    within = Path.iterdir

    def guarded(path: Path) -> Iterator[Path]:
        if path in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return within(path)

    monkeypatch.setattr(Path, "iterdir", guarded)
    assert find_posed(tmp_path / "cap") is None and unread_cameras(tmp_path / "cap") == ()

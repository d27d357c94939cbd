"""OpenSfM's, OpenMVG's and OpenDroneMap's cameras: read back, they project as they were written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_cases import COUNT, HEIGHT, NAMES, POINTS, WIDTH, assert_same_pixels, write_json, write_photos
from open_sfm_cases import (
    NEAR_LENSES,
    OPENSFM_LENSES,
    openmvg,
    openmvg_project,
    opensfm,
    opensfm_project,
    rigged,
    write_openmvg,
)
from phone_app_cases import record3d, write_record3d
from PIL import Image
from posed_captures import error_of, found

from nerfscene import intake
from nerfscene.formats.readers import find_posed, unread_cameras
from nerfscene.intake import open_posed


@pytest.mark.parametrize("lens", OPENSFM_LENSES, ids=lambda lens: lens["projection_type"])
def test_opensfm(tmp_path: Path, lens: dict[str, Any]) -> None:
    path = write_json(tmp_path, "reconstruction.json", [opensfm(lens, 2), opensfm(lens)])
    for given in (tmp_path, path):
        posed = found(given)
        assert posed.source == "opensfm" and posed.photos_given == COUNT
        assert_same_pixels(posed, lambda cam: opensfm_project(cam, lens))
        np.testing.assert_allclose(posed.points, POINTS, atol=1e-12)
        assert posed.point_colors[4].tolist() == [10, 20, 34]
        (warning,) = posed.warnings
        assert "2 reconstructions" in warning and "5 of 7" in warning


@pytest.mark.parametrize("lens", NEAR_LENSES, ids=["mostly perspective", "mostly fisheye", "fisheye62"])
def test_opensfms_other_lenses_are_approximated(tmp_path: Path, lens: dict[str, Any]) -> None:
    write_json(tmp_path, "reconstruction.json", [opensfm(lens)])
    assert_same_pixels(found(tmp_path), lambda cam: opensfm_project(cam, lens), within=0.5)


@pytest.mark.parametrize("bare", [False, True])
def test_opensfms_rigs(tmp_path: Path, bare: bool) -> None:
    lens = OPENSFM_LENSES[0]
    write_json(tmp_path, "reconstruction.json", [rigged(opensfm(lens), bare)])
    posed = found(tmp_path)
    assert posed.warnings == ()
    assert_same_pixels(posed, lambda cam: opensfm_project(cam, lens))


def test_panoramas_of_opensfm_and_openmvg(tmp_path: Path) -> None:
    height = WIDTH // 2
    write_photos(tmp_path / "images", NAMES, (WIDTH, height))
    sphere = {"projection_type": "spherical", "height": height}
    openmvg_sphere = json.dumps(openmvg("spherical", "", [], True)).replace(f": {HEIGHT}", f": {height}")
    for name, text in (("reconstruction", json.dumps([opensfm(sphere)])), ("sfm_data", openmvg_sphere)):
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        views = found(path).views
        lenses = {(v.intrinsics.lens, v.intrinsics.width, v.intrinsics.height) for v in views}
        assert lenses == {("equirectangular", WIDTH, height)} and len(views) == COUNT


def test_opensfm_refuses_what_has_no_such_lens(tmp_path: Path) -> None:
    write_json(tmp_path, "reconstruction.json", [opensfm({"projection_type": "spherical"})])
    assert "not twice as wide as high" in error_of(tmp_path)
    write_json(tmp_path, "reconstruction.json", [opensfm({"projection_type": "cubic"})])
    assert "cubic" in error_of(tmp_path)
    thin = NEAR_LENSES[2] | {"projection_type": "fisheye624", "s1": 0.01}
    write_json(tmp_path, "reconstruction.json", [opensfm(thin)])
    assert "s0 to s3" in error_of(tmp_path)


def test_photos_that_are_in_no_reconstruction_are_told(tmp_path: Path) -> None:
    whole = opensfm(OPENSFM_LENSES[0])
    small = whole | {"shots": {f"IMG_{i}.jpg": whole["shots"].pop(f"IMG_{i}.jpg") for i in (0, 1)}}
    write_json(tmp_path, "reconstruction.json", [small, whole])
    write_photos(tmp_path / "images", ["IMG_7.JPG", "IMG_8.jpg"])
    write_photos(tmp_path / "images/thumbs", ["IMG_2.jpg", "IMG_9.jpg"])
    posed = found(tmp_path)
    assert [view.path.name for view in posed.views] == ["IMG_2.jpg", "IMG_3.jpg", "IMG_4.jpg"]
    assert posed.photos_given == 7
    reasons = {left.name: left.reason for left in posed.left_out}
    assert reasons.keys() == {"IMG_0.jpg", "IMG_1.jpg", "IMG_7.JPG", "IMG_8.jpg"}
    assert "another reconstruction" in reasons["IMG_1.jpg"] and "no pose" in reasons["IMG_7.JPG"]
    assert "3 of 5 photos" in posed.warnings[0]
    assert posed.warnings[1].startswith("2 photos have no pose in reconstruction.json")
    assert "IMG_0" not in posed.warnings[1]


@pytest.mark.parametrize("place", [".", "shots"])
def test_photos_themselves_go_before_what_was_made_of_them(tmp_path: Path, place: str) -> None:
    (tmp_path / "reconstruction.json").write_text(json.dumps([opensfm(OPENSFM_LENSES[0])]))
    write_photos(tmp_path / place, NAMES)
    write_photos(tmp_path / "undistorted/images", [f"{name}.jpg" for name in NAMES[:3]] + NAMES[3:])
    assert {view.path.parent for view in found(tmp_path).views} == {tmp_path / place}


def test_openmvgs_folder_of_photos_tells_those_of_a_name_apart(tmp_path: Path) -> None:
    path = write_openmvg(tmp_path, openmvg("pinhole", "", [], False) | {"root_path": "D:\\castle\\originals"})
    for folder in ("a", "originals", "z"):
        write_photos(tmp_path / folder, NAMES)
    assert {view.path.parent.name for view in found(tmp_path).views} == {"originals"}
    write_openmvg(tmp_path)
    assert "3 of that name" in error_of(path)


def test_openmvgs_pipelines_leave_cameras_in_a_folder_beside_the_photos(tmp_path: Path) -> None:
    write_openmvg(tmp_path / "matches", openmvg("pinhole", "", [], False) | {"extrinsics": []})
    path = write_openmvg(tmp_path / "reconstruction_sequential")
    write_photos(tmp_path / "images", NAMES)
    write_photos(tmp_path / "masks", ["IMG_2.jpg.png"])
    for given in (tmp_path, path.parent, path):
        posed = found(given)
        assert posed.source == "openmvg" and posed.root == tmp_path and posed.photos_given == COUNT
        assert {view.path.parent for view in posed.views} == {tmp_path / "images"}
        assert sum(view.mask is not None for view in posed.views) == 1
    (tmp_path / "images").rename(tmp_path / "shots")
    for given in (tmp_path, path.parent, path):
        assert {view.path.parent for view in found(given).views} == {tmp_path / "shots"}
    shutil.rmtree(tmp_path / "shots")
    assert "put them into a folder images beside it" in error_of(path)
    write_openmvg(tmp_path / "reconstruction_global")
    message = error_of(tmp_path)
    assert "reconstruction_global/sfm_data.json, reconstruction_sequential/sfm_data.json" in message


@pytest.mark.parametrize("undistorted", ["{}.tif", "{}.jpg", "{}"])
@pytest.mark.parametrize("photos", ["images", "photos"])
def test_opendronemaps_cameras_are_found_with_the_photos_they_are_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undistorted: str, photos: str
) -> None:
    (tmp_path / "opensfm").mkdir()
    path = tmp_path / "opensfm/reconstruction.json"
    path.write_text(json.dumps([opensfm(OPENSFM_LENSES[0])]))
    write_photos(tmp_path / photos, NAMES)
    made = tmp_path / "opensfm/undistorted/images"
    write_photos(made, [undistorted.format(name) for name in NAMES])
    monkeypatch.chdir(path.parent)
    for given in (tmp_path, path.parent, path, Path(".")):
        posed = found(given)
        assert posed.source == "opensfm" and posed.warnings == ()
        assert {view.path.parent.resolve() for view in posed.views} == {tmp_path / photos}
    assert {view.path.parent for view in found(path, made).views} == {made}
    shutil.rmtree(tmp_path / photos)
    assert "none of the 5 photos" in error_of(path)
    shutil.move(path, tmp_path / "opensfm/undistorted")
    assert {view.path.parent for view in found(made.parent).views} == {made}


@pytest.mark.parametrize(("place", "taken"), [(".", "opensfm"), ("small", "images")])
def test_images_beside_go_before_folders_within(tmp_path: Path, place: str, taken: str) -> None:
    (tmp_path / "opensfm").mkdir()
    path = tmp_path / "opensfm/reconstruction.json"
    path.write_text(json.dumps([opensfm(OPENSFM_LENSES[0])]))
    write_photos(tmp_path / "images", NAMES)
    write_photos(tmp_path / "opensfm" / place, NAMES)
    assert {view.path.parent for view in found(path).views} == {tmp_path / taken}


def test_a_file_is_named_from_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_openmvg(tmp_path / "reconstruction_global")
    write_photos(tmp_path / "images", NAMES)
    monkeypatch.chdir(tmp_path / "reconstruction_global")
    assert len(found(Path("sfm_data.json")).views) == COUNT


def test_a_folder_that_holds_but_one_folder(tmp_path: Path) -> None:
    (tmp_path / "2024/EXR_RGBD").mkdir(parents=True)
    write_record3d(tmp_path / "2024/EXR_RGBD", record3d())
    (tmp_path / ".DS_Store").write_text("")
    assert found(tmp_path).root == tmp_path / "2024/EXR_RGBD"
    write_photos(tmp_path, ["more.jpg"])
    posed = found(tmp_path)
    assert posed.root == tmp_path / "2024/EXR_RGBD" and "1 photo (more.jpg) elsewhere" in posed.warnings[-1]
    (tmp_path / "round").mkdir()
    (tmp_path / "round/again").symlink_to(tmp_path / "round")
    assert find_posed(tmp_path / "round") is None


@pytest.mark.parametrize("place", [".", "reconstruction_sequential"])
def test_openmvgs_binary_file_is_to_be_converted(tmp_path: Path, place: str) -> None:
    root = tmp_path / "wrapper/project"
    path = root / place / "sfm_data.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(40))
    command_ = "openMVG_main_ConvertSfM_DataFormat -i sfm_data.bin -o sfm_data.json"
    for given in (path, path.parent):
        message = error_of(given)
        assert command_ in message and str(path) in message
    assert unread_cameras(path) == ()
    write_photos(root / "photos", NAMES)
    assert find_posed(root) is None
    (warning,) = unread_cameras(root)
    assert command_ in warning and str(path.relative_to(root)) in warning
    assert find_posed(root.parent) is None
    assert unread_cameras(root.parent) == (warning,)


def test_openmvgs_binary_file_beside_videos_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "sfm_data.bin").write_bytes(bytes(40))
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/.walk.mp4").write_bytes(b"")
    assert "can't be read here" in error_of(tmp_path)
    (tmp_path / "clips/walk.MP4").write_bytes(b"")
    assert intake.find_videos(tmp_path) and find_posed(tmp_path) is None
    assert "sfm_data.bin are not used" in unread_cameras(tmp_path)[0]


def test_photos_posed_anew_beside_cameras_that_were_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(3):
        noise = np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"IMG_{index}.jpg")
    (tmp_path / "sfm_data.bin").write_bytes(bytes(40))
    monkeypatch.setattr(intake, "pose", lambda capture, *_: capture)
    assert "sfm_data.bin are not used" in open_posed(tmp_path, tmp_path / "work").warnings[0]


def test_lists_of_photos_without_poses_are_passed_over_beside_photos(tmp_path: Path) -> None:
    values = openmvg("pinhole", "", [], False) | {"extrinsics": []}
    assert "no views with poses" in error_of(write_json(tmp_path / "a", "sfm_data.json", values))
    assert find_posed(tmp_path / "a") is None and unread_cameras(tmp_path / "a") == ()
    path = write_json(tmp_path / "b", "reconstruction.json", [opensfm(OPENSFM_LENSES[0], 0)])
    assert "no shots with poses" in error_of(path)
    assert find_posed(tmp_path / "b") is None


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("kind", "key", "terms"),
    [
        ("pinhole", "", []),
        ("pinhole_radial_k1", "disto_k1", [-0.1]),
        ("pinhole_radial_k3", "disto_k3", [-0.1, 0.03, 0.01]),
        ("pinhole_brown_t2", "disto_t2", [-0.1, 0.03, 0.01, 0.002, -0.003]),
        ("fisheye", "fisheye", [-0.05, 0.01, 0.002, -0.001]),
    ],
)
def test_openmvg(tmp_path: Path, kind: str, key: str, terms: list[float], nested: bool) -> None:
    path = write_json(tmp_path, "sfm_data.json", openmvg(kind, key, terms, nested))
    for given in (tmp_path, path):
        posed = found(given)
        assert posed.source == "openmvg" and posed.warnings == ()
        assert_same_pixels(posed, lambda cam: openmvg_project(cam, kind, terms))
        np.testing.assert_allclose(posed.points, POINTS)

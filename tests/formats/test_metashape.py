"""Metashape's cameras: read back, they project as they were written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from app_cases import CAMERAS, COUNT, FOCAL, WIDTH, assert_same_pixels, write_photos
from metashape_cases import (
    LENS,
    metashape_equisolid,
    metashape_fisheye,
    metashape_frame,
    metashape_rig,
    metashape_xml,
    to_world,
    write_metashape,
)
from posed_captures import error_of, found

from nerfscene.formats.readers import find_posed


@pytest.mark.parametrize("components", [True, False])
@pytest.mark.parametrize("ending", ["", ".JPG"])
@pytest.mark.parametrize("place", [".", "images", "images/100CANON"])
def test_metashape_frame_cameras(tmp_path: Path, place: str, ending: str, components: bool) -> None:
    path = write_metashape(tmp_path, metashape_xml(LENS, ending=ending, components=components), place)
    for given in (tmp_path, path):
        posed = found(given)
        assert posed.source == "metashape" and posed.warnings == () and posed.photos_given == COUNT
        assert_same_pixels(posed, lambda cam: metashape_frame(cam, LENS), to_world)


def test_metashape_fisheye_cameras(tmp_path: Path) -> None:
    terms = {"f": 300.0, "cx": -4.0, "cy": 2.0, "k1": 0.05, "k2": -0.02, "k3": 0.01, "k4": -0.004}
    write_metashape(tmp_path, metashape_xml(terms, "fisheye"))
    posed = found(tmp_path)
    assert posed.warnings == () and {v.intrinsics.lens for v in posed.views} == {"fisheye"}
    assert_same_pixels(posed, lambda cam: metashape_fisheye(cam, terms), to_world)


@pytest.mark.parametrize(
    ("kind", "more", "within"),
    [("frame", {"k4": 0.02}, 0.3), ("frame", {"b2": 0.4}, 0.5), ("fisheye", {"p1": 1e-4}, 0.3)],
)
def test_small_foreign_terms_are_approximated(
    tmp_path: Path, kind: str, more: dict[str, float], within: float
) -> None:
    terms = ({"f": FOCAL, "k1": -0.05} if kind == "fisheye" else LENS) | more
    write_metashape(tmp_path, metashape_xml(terms, kind))
    posed = found(tmp_path)
    formula = metashape_fisheye if kind == "fisheye" else metashape_frame
    assert posed.warnings == ()
    assert_same_pixels(posed, lambda cam: formula(cam, terms), to_world, within)


def test_large_foreign_terms_are_told(tmp_path: Path) -> None:
    write_metashape(tmp_path, metashape_xml(LENS | {"b2": 9.0}))
    (warning,) = found(tmp_path).warnings
    assert "off by up to" in warning and "undistorted" in warning


def test_a_lens_that_folds_is_refused(tmp_path: Path) -> None:
    write_metashape(tmp_path, metashape_xml({"f": FOCAL, "k1": -3.0, "k4": 0.5}))
    assert "folds" in error_of(tmp_path)


@pytest.mark.parametrize("focal", [300.0, 125.0])
def test_metashape_equisolid_cameras(tmp_path: Path, focal: float) -> None:
    terms = {"f": focal, "cx": -4.0, "cy": 2.0, "k1": 0.05, "k2": 0.02, "k3": -0.01}
    write_metashape(tmp_path, metashape_xml(terms, "equisolid_fisheye"))
    posed = found(tmp_path)
    assert {v.intrinsics.lens for v in posed.views} == {"fisheye"}
    assert_same_pixels(posed, lambda cam: metashape_equisolid(cam, terms), to_world, within=0.3)


def test_metashape_panoramas(tmp_path: Path) -> None:
    """Sensors of the type spherical have no calibration, and others may have none of their own size."""
    text = re.sub("<calibration.*</calibration>", "", metashape_xml(LENS, "spherical"))
    text = text.replace('height="300"', 'height="200"')
    path = write_metashape(tmp_path, text)
    write_photos(tmp_path, [f"IMG_{i}.JPG" for i in range(COUNT)], (WIDTH, 200))
    for view, (rotation, centre) in zip(found(path).views, CAMERAS, strict=True):
        k = view.intrinsics
        assert (k.lens, k.width, k.height, k.cx, k.cy) == ("equirectangular", WIDTH, 200, 200, 100)
        assert k.fx == k.fy == pytest.approx(WIDTH / (2 * np.pi))
        np.testing.assert_allclose(view.world_from_cam[:3, 3], to_world(centre), atol=1e-9)
        forward = (to_world(rotation[2]) - to_world(np.zeros(3))) / 4.5
        np.testing.assert_allclose(view.world_from_cam[:3, 2], forward, atol=1e-9)


def test_a_spherical_sensor_of_other_proportions_is_refused(tmp_path: Path) -> None:
    write_metashape(tmp_path, re.sub("<calibration.*</calibration>", "", metashape_xml(LENS, "spherical")))
    message = error_of(tmp_path)
    assert "spherical" in message and "400×300" in message and "cube maps" in message


def test_metashapes_multi_camera_systems(tmp_path: Path) -> None:
    write_metashape(tmp_path, metashape_rig(LENS))
    posed = found(tmp_path)
    assert posed.warnings == () and posed.photos_given == COUNT
    assert_same_pixels(posed, lambda cam: metashape_frame(cam, LENS), to_world)


def test_slaves_without_an_offset_have_no_pose(tmp_path: Path) -> None:
    text = re.sub("<rotation>[^<]*</rotation><location>[^<]*</location>", "", metashape_rig(LENS), count=2)
    write_metashape(tmp_path, text)
    posed = found(tmp_path)
    assert len(posed.views) == COUNT - 2 and "2 of the 5 cameras" in posed.warnings[0]


def test_bands_of_a_multispectral_camera(tmp_path: Path) -> None:
    bands = (("Green",), ("Red",), ("Green",), ("Green",), ("NIR",))
    write_metashape(tmp_path, metashape_rig(LENS, bands))
    posed = found(tmp_path)
    (warning,) = posed.warnings
    assert len(posed.views) == 3 and "2 of the 5 cameras" in warning and "bands" in warning
    assert {left.name for left in posed.left_out} == {"IMG_1", "IMG_4"}


def test_cameras_that_were_disabled_are_left_out(tmp_path: Path) -> None:
    text = metashape_xml(LENS).replace('label="IMG_2"', 'label="IMG_2" enabled="false"')
    write_metashape(tmp_path, text)
    posed = found(tmp_path)
    (warning,) = posed.warnings
    assert len(posed.views) == COUNT - 1 and "disabled" in warning and "IMG_2" in warning
    every = text.replace(' enabled="false"', "").replace("<camera ", '<camera enabled="0" ')
    write_metashape(tmp_path, every)
    assert len(found(tmp_path).views) == COUNT


@pytest.mark.parametrize(
    ("version", "told"), [("1.5.0", False), ("2.3.0", False), ("2.4.0", True), ("3", True)]
)
def test_newer_versions_are_read_and_told(tmp_path: Path, version: str, told: bool) -> None:
    text = metashape_xml(LENS).replace('document version="2.0.0"', f'document version="{version}"')
    write_metashape(tmp_path, text)
    posed = found(tmp_path)
    assert [version in warning for warning in posed.warnings] == [True] * told
    assert_same_pixels(posed, lambda cam: metashape_frame(cam, LENS), to_world)


def test_chunks_on_the_earth_stay_exact(tmp_path: Path) -> None:
    shift = np.array([4278990.25, 642570.5, 4670300.75])  # metres from the earth's centre, as of WGS 84
    text = metashape_xml(LENS).replace("10.0 -20.0 30.0", " ".join(map(str, shift)))
    write_metashape(tmp_path, text)
    moved = shift - [10, -20, 30]
    assert_same_pixels(found(tmp_path), lambda cam: metashape_frame(cam, LENS), lambda p: to_world(p) + moved)


@pytest.mark.parametrize("kind", ["cylindrical", "rpc"])
def test_other_metashape_sensors_are_refused(tmp_path: Path, kind: str) -> None:
    write_metashape(tmp_path, metashape_xml(LENS, kind))
    message = error_of(tmp_path)
    assert kind in message and "frame" in message


def test_metashape_cameras_without_a_pose_are_left_out(tmp_path: Path) -> None:
    extra = '<group id="0" label="more"><camera id="8" sensor_id="0" label="IMG_8"/></group>'
    write_metashape(tmp_path, metashape_xml(LENS, extra=extra))
    posed = found(tmp_path)
    (warning,) = posed.warnings
    assert "1 of the 6 cameras" in warning and "IMG_8" in warning
    assert [left.name for left in posed.left_out] == ["IMG_8"] and len(posed.views) == COUNT


def test_the_largest_of_metashapes_parts_is_taken(tmp_path: Path) -> None:
    text = metashape_xml(LENS)
    other = text.replace('component_id="0"', 'component_id="1"', 2)
    write_metashape(tmp_path, other)
    posed = found(tmp_path)
    assert len(posed.views) == 3 and "2 components" in posed.warnings[0]
    assert {left.name for left in posed.left_out} == {"IMG_0", "IMG_1"}
    small = metashape_xml(LENS, count=2)
    chunk = small[small.index("<chunk") : small.index("</document>")]
    (tmp_path / "cameras.xml").write_text(text.replace("</document>", chunk + "</document>"))
    posed = found(tmp_path)
    assert len(posed.views) == COUNT and "2 chunks" in posed.warnings[0]


def test_photos_may_be_elsewhere(tmp_path: Path) -> None:
    path = write_metashape(tmp_path / "export", metashape_xml(LENS))
    shutil.copytree(tmp_path / "export", tmp_path / "photos", ignore=shutil.ignore_patterns("*.xml"))
    for photo in (tmp_path / "export").glob("*.JPG"):
        photo.unlink()
    assert "none of the 5 photos" in error_of(path)
    posed = found(path, tmp_path / "photos")
    assert {view.path.parent for view in posed.views} == {tmp_path / "photos"}


def test_two_photos_of_a_name_are_told_apart_by_their_folders_or_refused(tmp_path: Path) -> None:
    text = metashape_xml(LENS)
    write_metashape(tmp_path, text, "images/a")
    write_photos(tmp_path / "images/b", ["IMG_3.JPG"])
    message = error_of(tmp_path)
    assert "IMG_3" in message and "2 of that name" in message
    (tmp_path / "cameras.xml").write_text(text.replace('"IMG_3"', '"a/IMG_3.JPG"'))
    assert [v.path.parent.name for v in found(tmp_path).views] == ["a"] * COUNT


def test_cameras_of_one_name_are_not_told_apart_by_how_deep_their_photos_lie(tmp_path: Path) -> None:
    text = metashape_xml(LENS).replace('"IMG_4"', '"IMG_3"')
    write_metashape(tmp_path, text, "images")
    write_photos(tmp_path / "images/second card", ["IMG_3.JPG"])
    assert "2 of that name" in error_of(tmp_path)


def test_metashape_files_without_a_pose(tmp_path: Path) -> None:
    """Given itself, the file is refused with a reason; beside photos it is ignored, and they can be posed."""
    path = write_metashape(tmp_path, re.sub("<transform>[-0-9. e]+</transform>", "", metashape_xml(LENS)))
    message = error_of(path)
    assert "no camera with a pose" in message and str(path) in message
    assert find_posed(tmp_path) is None


def test_a_doctype_is_refused_before_it_can_grow(tmp_path: Path) -> None:
    lines = "".join(f'<!ENTITY x{i} "{f"&x{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE document [<!ENTITY x0 "ha">{lines}]>'
    text = metashape_xml(LENS, extra="<note>&x11;</note>").replace("<document", f"{bomb}<document", 1)
    write_metashape(tmp_path, text)
    assert "DOCTYPE" in error_of(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[: len(t) // 2], "cannot be read"),
        (lambda t: t.replace("</chunk>", "", 1), "cannot be read"),
        (lambda t: t.replace('encoding="UTF-8"', 'encoding="klingon"'), "cannot be read"),
        (lambda t: t.replace("<f>380.0</f>", "<f>long</f>"), "no f"),
        (lambda t: t.replace("<f>380.0</f>", "<f>nan</f>"), "not finite"),
        (lambda t: t.replace("<f>380.0</f>", "<f>-1</f>"), "focal length"),
        (lambda t: t.replace("<f>380.0</f>", ""), "focal length"),
        (lambda t: t.replace("<cx>3.5</cx>", "<cx>3000</cx>"), "principal point"),
        (lambda t: t.replace(f'width="{WIDTH}"', 'width="wide"'), "picture of 0"),
        (lambda t: t.replace('<scale locked="true">4.5', "<scale>-4.5"), "scale"),
        (lambda t: t.replace("<transform>", "<transform>1 ", 2), "16 numbers"),
        (lambda t: t.replace('sensor_id="0"', 'sensor_id="7"'), "sensor 7"),
        (lambda t: t.replace("calibration", "kalibration"), "no calibration"),
    ],
)
def test_malformed_metashape_files(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    good = metashape_xml(LENS, components=False)
    changed = change(good)
    assert changed != good
    path = write_metashape(tmp_path, changed)
    message = error_of(path)
    assert said in message and str(path) in message

"""The lenses in transforms.json, in all the ways that programs write them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posed_captures import error_of, found
from transforms_cases import transforms, write_photo, write_transforms

from nerfscene.cameras.lens_fit import projection
from nerfscene.types import Intrinsics, PosedCapture

BARE = ("fl_x", "fl_y", "cx", "cy", "w", "h")


def without(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def read(root: Path, **extra: Any) -> PosedCapture:
    """The capture of a transforms.json with these keys."""
    return found(write_transforms(root, transforms(**extra)))


def lens_of(root: Path, **extra: Any) -> Intrinsics:
    return read(root, **extra).views[0].intrinsics


def test_angles_of_view_and_size_from_the_photo(tmp_path: Path) -> None:
    values = transforms(camera_angle_x=0.8)
    for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
        del values[key]
    lens = found(write_transforms(tmp_path, values)).views[0].intrinsics
    focal = 20 / math.tan(0.4)
    assert (lens.width, lens.height, lens.cx, lens.cy) == (40, 30, 20, 15)
    assert lens.fx == pytest.approx(focal) and lens.fy == pytest.approx(focal)
    values["camera_angle_y"] = 0.5
    lens = found(write_transforms(tmp_path, values)).views[0].intrinsics
    assert lens.fx == pytest.approx(focal) and lens.fy == pytest.approx(15 / math.tan(0.25))


def test_a_frames_own_lens_wins(tmp_path: Path) -> None:
    values = transforms()
    values["frames"][2] |= {"fl_x": 70.0, "k1": 0.25}
    views = found(write_transforms(tmp_path, values)).views
    assert [view.intrinsics.fx for view in views] == [50, 50, 70, 50]
    assert [view.intrinsics.distortion[0] for view in views] == [0, 0, 0.25, 0]


def test_broken_lens_values(tmp_path: Path) -> None:
    values = transforms()
    del values["fl_x"], values["fl_y"]
    write_transforms(tmp_path, values)
    assert "no focal length" in error_of(tmp_path)
    write_transforms(tmp_path, transforms(fl_x="long"))
    assert "fl_x = long" in error_of(tmp_path)
    write_transforms(tmp_path, transforms(cx=math.nan))
    assert "cx = nan" in error_of(tmp_path)


TERMS = {"k1": 0.1, "k2": 0.2, "k3": 0.3, "k4": 0.4}


@pytest.mark.parametrize(
    "extra",
    [
        {"camera_model": "OPENCV_FISHEYE"},
        {"camera_model": "opencv_fisheye"},
        {"camera_model": "OpenCV_Fisheye"},
        {"camera_model": "fisheye"},
        {"is_fisheye": True, "p1": 0, "p2": 0},  # as colmap2nerf.py writes it
    ],
)
def test_fisheyes(tmp_path: Path, extra: dict[str, Any]) -> None:
    lens = lens_of(tmp_path, **TERMS, **extra)
    assert (lens.lens, lens.distortion) == ("fisheye", (0.1, 0.2, 0.3, 0.4, 0.0))


@pytest.mark.parametrize("model", ["OPENCV", "opencv", "perspective", "Simple_Radial", " radial", None])
def test_perspective_lenses_in_any_letter_case(tmp_path: Path, model: str | None) -> None:
    lens = lens_of(tmp_path, k1=0.1, k2=0.02, k3=0, k4=0, p1=1e-3, p2=2e-3, camera_model=model)
    assert (lens.lens, lens.distortion) == ("perspective", (0.1, 0.02, 1e-3, 2e-3, 0.0))


def test_a_camera_model_in_each_frame(tmp_path: Path) -> None:
    """ns-process-data writes one per frame where COLMAP has several cameras."""
    values = transforms(k1=0.1)
    for i, model in enumerate(("OPENCV", "OPENCV_FISHEYE", "OPENCV", "opencv_fisheye")):
        values["frames"][i]["camera_model"] = model
    views = found(write_transforms(tmp_path, values)).views
    assert [view.intrinsics.lens for view in views] == ["perspective", "fisheye"] * 2


def test_a_pinhole_has_no_distortion_and_says_so(tmp_path: Path) -> None:
    posed = read(tmp_path, k1=0.1, p2=0.2, camera_model="pinhole")
    assert posed.views[0].intrinsics.distortion == (0,) * 5
    (warning,) = posed.warnings
    assert "k1, p2 are not used" in warning


def test_a_list_of_distortion_terms(tmp_path: Path) -> None:
    assert not any(lens_of(tmp_path, distortion_params=[]).distortion)
    lens = lens_of(tmp_path, distortion_params=[0.1, 0.02, 0.003, 0.0, 1e-3, 2e-3])
    assert lens.distortion == (0.1, 0.02, 1e-3, 2e-3, 0.003)
    write_transforms(tmp_path, transforms(distortion_params="none"))
    assert "distortion_params" in error_of(tmp_path)


def test_angles_of_view_in_degrees_for_each_frame(tmp_path: Path) -> None:
    """instant-ngp's x_fov and y_fov; a frame's own goes before the file's, whatever its unit."""
    values = without(transforms(fl_x=50.0), "fl_y")
    values["frames"][1] |= {"x_fov": 60.0, "y_fov": 50.0}
    values["frames"][2] |= {"camera_angle_x": math.radians(70)}
    values["frames"][3] |= {"fovx": 80.0, "fovy": 65.0}  # colmap2nerf.py's names
    lenses = [view.intrinsics for view in found(write_transforms(tmp_path, values)).views]
    expected = [
        (50, 50),
        (20 / math.tan(math.radians(30)), 15 / math.tan(math.radians(25))),
        (20 / math.tan(math.radians(35)), 20 / math.tan(math.radians(35))),
        (20 / math.tan(math.radians(40)), 15 / math.tan(math.radians(32.5))),
    ]
    np.testing.assert_allclose([(lens.fx, lens.fy) for lens in lenses], expected)


def test_two_focal_lengths_that_differ_are_told(tmp_path: Path) -> None:
    right = math.degrees(2 * math.atan(20 / 50))
    assert read(tmp_path, x_fov=right).warnings == ()
    posed = read(tmp_path, x_fov=right + 5)
    assert posed.views[0].intrinsics.fx == 50 and "4 frames" in posed.warnings[0]


def test_numbers_as_text(tmp_path: Path) -> None:
    assert lens_of(tmp_path, fl_x="50.5", w="40", h="30").fx == 50.5


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"camera_angle_x": 60.0}, "camera_angle_x = 60"),
        ({"x_fov": 190.0}, "x_fov = 190"),
        ({"fl_x": -50.0}, "fl_x = -50"),
        ({"fl_x": 50.0, "cx": 0.5, "cy": 0.5}, "multiply them by w and h"),
        ({"fl_x": 50.0, "camera_model": "THIN_PRISM_FISHEYE"}, "THIN_PRISM_FISHEYE, which is not supported"),
        ({"fl_x": 50.0, "camera_model": "VR180_L"}, "stereo panorama"),
        ({"fl_x": 50.0, "camera_model": "ORTHOPHOTO"}, "orthographic"),
        ({"fl_x": 50.0, "orthographic": True}, "orthographic"),
        ({"fl_x": 50.0, "equirectangular": True}, '"latlong": true'),
    ],
)
def test_lenses_without_a_meaning_here(tmp_path: Path, extra: dict[str, Any], said: str) -> None:
    values = without(transforms(), "fl_x", "fl_y", "cx", "cy") | extra
    write_transforms(tmp_path, values)
    message = error_of(tmp_path)
    assert said in message and "frame 0 (images/0.png)" in message


def pixels_off(posed: PosedCapture, base: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(projection(posed.views[0].intrinsics)(base) - theirs).max())


def test_k4_of_a_perspective_lens_is_fitted(tmp_path: Path) -> None:
    """nerfstudio's converter for Metashape writes k1 to k4; the formula is that of its camera_utils.py."""
    terms = {"k1": -0.1, "k2": 0.05, "k3": -0.02, "k4": 0.01, "p1": 1e-3, "p2": -1e-3}
    posed = read(tmp_path, **terms)
    x, y = base = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 50))
    r2 = x * x + y * y
    radial = 1 - 0.1 * r2 + 0.05 * r2**2 - 0.02 * r2**3 + 0.01 * r2**4
    u = x * radial + 2e-3 * x * y - 1e-3 * (r2 + 2 * x * x)
    v = y * radial + 1e-3 * (r2 + 2 * y * y) - 2e-3 * x * y
    theirs = np.stack([50 * u + 19, 51 * v + 16], axis=1)
    assert pixels_off(posed, base.T, theirs) < 0.01 and posed.warnings == ()


def test_a_rational_lens_is_fitted(tmp_path: Path) -> None:
    """COLMAP's FULL_OPENCV, where k4 to k6 stand below the fraction line."""
    posed = read(tmp_path, camera_model="FULL_OPENCV", k1=0.1, k4=0.05, k5=0.01)
    x, y = base = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 50))
    r2 = x * x + y * y
    radial = (1 + 0.1 * r2) / (1 + 0.05 * r2 + 0.01 * r2**2)
    theirs = np.stack([50 * x * radial + 19, 51 * y * radial + 16], axis=1)
    assert pixels_off(posed, base.T, theirs) < 0.01


def test_a_fit_that_is_visibly_off_is_told(tmp_path: Path) -> None:
    values = transforms(w=4000, h=3000, fl_x=1500.0, fl_y=1500.0, cx=2000.0, cy=1500.0)
    values |= {"k1": 0.05, "k4": 0.02}
    (warning,) = found(write_transforms(tmp_path, values)).warnings
    assert "off by up to" in warning
    write_transforms(tmp_path, transforms(k1=-5.0, k4=1.0))
    assert "folds the picture" in error_of(tmp_path)
    write_transforms(tmp_path, transforms(ftheta_p0=0, ftheta_p1=0.02, ftheta_p2=-0.01))
    assert "no lens of OpenCV comes near" in error_of(tmp_path)


def test_open_exr_is_told(tmp_path: Path) -> None:
    """instant-ngp reads it."""
    values = transforms()
    for frame in values["frames"]:
        frame["file_path"] = frame["file_path"].replace(".png", ".exr")
    path = write_transforms(tmp_path, values, present=0)
    (tmp_path / "images").mkdir()
    for frame in values["frames"]:
        (tmp_path / frame["file_path"]).write_bytes(b"v/1\x01")
    assert "OpenEXR" in error_of(path)
    for frame in values["frames"]:
        (tmp_path / frame["file_path"]).unlink()
        write_photo((tmp_path / frame["file_path"]).with_suffix(".png"))
    assert len(found(path).views) == 4


def test_f_theta_is_fitted_by_a_fisheye(tmp_path: Path) -> None:
    """instant-ngp: a pixel r away from the principal point is seen at p0 + p1 r + … + p4 r⁴ radians."""
    p = [0.0, 0.02, 1e-5, -1e-6, 0.0]
    values = without(transforms(), "fl_x", "fl_y") | {f"ftheta_p{i}": v for i, v in enumerate(p)}
    posed = found(write_transforms(tmp_path, values))
    radius = np.linspace(0.1, 20, 30)
    theta = sum(term * radius**i for i, term in enumerate(p))
    turned = np.stack([np.cos(radius), np.sin(radius)], axis=1)
    theirs = turned * radius[:, None] + [19, 16]
    assert posed.views[0].intrinsics.lens == "fisheye" and posed.warnings == ()
    assert pixels_off(posed, turned * np.asarray(theta)[:, None], theirs) < 0.05


def test_project_aria_s_lens_is_fitted(tmp_path: Path) -> None:
    """FISHEYE624 as nerfstudio's converter for Project Aria writes it."""
    k = [-0.02, 0.1, -0.07, 0.01, 0.002, -0.0005]
    values = transforms(camera_model="FISHEYE624", fisheye_crop_radius=15)
    for frame in values["frames"]:
        frame["distortion_params"] = [*k, 5e-4, -5e-4, 0, 0, 0, 0]
    posed = found(write_transforms(tmp_path, values))
    theta = np.linspace(0.01, 0.4, 30)
    radius = theta * (1 + sum(term * theta ** (2 * i + 2) for i, term in enumerate(k)))
    turned = np.stack([np.cos(50 * theta), np.sin(50 * theta)], axis=1)
    theirs = turned * radius[:, None] * [50, 51] + [19, 16]
    assert posed.views[0].intrinsics.lens == "fisheye"
    assert pixels_off(posed, turned * theta[:, None], theirs) < 0.05
    (warning,) = posed.warnings
    assert "fisheye_crop_radius" in warning


def test_nerfstudio_s_files_from_metashape_are_told_of(tmp_path: Path) -> None:
    """Its converter exchanges p1 and p2; this is how it turns the world."""
    turn = [[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    sizes = {"w": 4000, "h": 3000, "fl_x": 3000.0, "fl_y": 3000.0, "cx": 2000.0, "cy": 1500.0}
    (warning,) = read(tmp_path, applied_transform=turn, p1=1e-3, **sizes).warnings
    assert "exchanges p1 and p2" in warning and ".xml" in warning
    assert read(tmp_path, applied_transform=turn, p1=1e-6, **sizes).warnings == ()
    assert read(tmp_path, p1=1e-3, **sizes).warnings == ()


@pytest.mark.parametrize(
    "extra",
    [
        {"camera_model": "EQUIRECTANGULAR", "fl_x": 32.0, "fl_y": 32.0},  # nerfstudio's Metashape converter
        {"camera_model": "equirectangular"},
        {"latlong": True, "camera_angle_x": 1.0},  # instant-ngp wants an angle that it doesn't use
    ],
)
def test_panoramas(tmp_path: Path, extra: dict[str, Any]) -> None:
    values = without(transforms(), *BARE) | extra
    for frame in values["frames"]:
        write_photo(tmp_path / frame["file_path"], 64, 32)
    (tmp_path / "transforms.json").write_text(json.dumps(values))
    focal = 64 / (2 * math.pi)
    lens = found(tmp_path).views[0].intrinsics
    assert lens == Intrinsics(64, 32, focal, focal, 32, 16, "equirectangular")


def test_a_part_of_a_panorama_is_refused(tmp_path: Path) -> None:
    write_transforms(tmp_path, transforms(camera_model="EQUIRECTANGULAR"))
    assert "panorama of 40×30 pixels" in error_of(tmp_path)


def test_an_angle_of_view_belongs_to_the_stored_pixels(tmp_path: Path) -> None:
    """instant-ngp reads the size from the photo and passes over its EXIF orientation."""
    values = without(transforms(), *BARE) | {"camera_angle_x": 0.8}
    for frame in values["frames"]:
        frame["file_path"] = frame["file_path"].replace(".png", ".jpg")
        write_photo(tmp_path / frame["file_path"], 40, 30, orientation=6)
    (tmp_path / "transforms.json").write_text(json.dumps(values))
    lens = found(tmp_path).views[0].intrinsics
    assert (lens.width, lens.height) == (30, 40)
    assert lens.fx == pytest.approx(20 / math.tan(0.4))

"""COLMAP's lens models as lenses of this package."""

from __future__ import annotations

import math

import numpy as np
import pycolmap
import pytest

from nerfscene.errors import NerfsceneError
from nerfscene.posing.model_lenses import lens_of_camera
from nerfscene.types import Intrinsics

EXACT: dict[str, list[float]] = {
    "SIMPLE_PINHOLE": [60, 32, 24],
    "PINHOLE": [60, 61, 32, 24],
    "SIMPLE_RADIAL": [60, 32, 24, 0.05],
    "RADIAL": [60, 32, 24, 0.05, -0.03],
    "OPENCV": [60, 61, 32, 24, 0.05, -0.03, 0.002, 0.003],
    "FULL_OPENCV": [60, 61, 32, 24, 0.05, -0.03, 0.002, 0.003, 0.01, 0, 0, 0],
    "OPENCV_FISHEYE": [60, 61, 32, 24, 0.05, -0.03, 0.02, -0.01],
    "SIMPLE_RADIAL_FISHEYE": [60, 32, 24, 0.05],
    "RADIAL_FISHEYE": [60, 32, 24, 0.05, -0.03],
    "SIMPLE_FISHEYE": [60, 32, 24],
    "FISHEYE": [60, 61, 32, 24],
}
# The others, with parameters as real lenses have them, and the largest error (pixels) of the nearest lens.
NEAREST: list[tuple[str, list[float], float]] = [
    ("FOV", [900, 905, 800, 600, 0.5], 0.05),
    ("FOV", [700, 700, 800, 600, 0.95], 0.05),  # a wide one
    ("FULL_OPENCV", [900, 905, 800, 600, 0.1, 0.05, 0.001, 0.001, 0.01, 0.2, 0.1, 0.01], 1.5),
    ("THIN_PRISM_FISHEYE", [700, 705, 800, 600, 0.01, 0.002, 5e-4, 3e-4, 1e-3, 1e-4, 5e-4, 2e-4], 3.0),
    (
        "RAD_TAN_THIN_PRISM_FISHEYE",
        [700, 700, 800, 600, 0.02, -0.01, 0.005, -0.002, 3e-4, 1e-4, 0, 0, 0, 0, 0, 0],
        0.1,
    ),
    ("SIMPLE_DIVISION", [900, 800, 600, -0.1], 0.1),
    ("DIVISION", [900, 905, 800, 600, 0.05], 0.1),
    ("EUCM", [900, 905, 800, 600, 0.6, 1.1], 0.05),
    ("EUCM", [700, 700, 800, 600, 0.65, 1.0], 0.05),  # a wide one
]


def camera_of(model: str, params: list[float], width: int = 64, height: int = 48) -> pycolmap.Camera:
    camera = pycolmap.Camera.create_from_model_name(1, model, 60.0, width, height)
    camera.params = params
    return camera


def project(lens: Intrinsics, point: np.ndarray) -> tuple[float, float]:
    """Pixel of a point in camera coordinates, by OpenCV's formulas."""
    x, y = point[0] / point[2], point[1] / point[2]
    if lens.lens == "fisheye":
        radius = math.hypot(x, y)
        angle = math.atan(radius)
        terms = sum(k * angle ** (2 * i + 2) for i, k in enumerate(lens.distortion[:4]))
        stretch = angle * (1 + terms) / radius
        return lens.fx * x * stretch + lens.cx, lens.fy * y * stretch + lens.cy
    k1, k2, p1, p2, k3 = lens.distortion
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return lens.fx * u + lens.cx, lens.fy * v + lens.cy


@pytest.mark.parametrize("name", EXACT)
def test_lenses_of_the_same_model_project_as_colmap_does(name: str) -> None:
    camera = camera_of(name, EXACT[name])
    lens, deviation = lens_of_camera(camera, "here")
    assert deviation == 0
    for point in ([0.1, 0.2, 1.0], [-0.5, 0.3, 1.2], [0.4, -0.6, 0.9]):
        expected = camera.img_from_cam(np.array(point))
        np.testing.assert_allclose(project(lens, np.array(point)), expected, atol=1e-9)


@pytest.mark.parametrize(("name", "params", "most"), NEAREST)
def test_other_lenses_are_replaced_by_the_nearest(name: str, params: list[float], most: float) -> None:
    camera = camera_of(name, params, 1600, 1200)
    lens, deviation = lens_of_camera(camera, "here")
    assert deviation < most
    for pixel in ([810, 590], [200, 300], [1500, 1100], [50, 1150], [900, 40]):
        ray = camera.cam_from_img(np.array(pixel, float))
        assert ray is not None
        got = project(lens, np.array([*ray, 1.0]))
        np.testing.assert_allclose(got, pixel, atol=deviation + 0.05)


def test_a_panorama_s_lens_looks_where_colmap_s_does() -> None:
    camera = camera_of("EQUIRECTANGULAR", [200, 100], 200, 100)
    lens, deviation = lens_of_camera(camera, "here")
    assert deviation == 0 and lens.lens == "equirectangular" and (lens.width, lens.height) == (200, 100)
    for point in ([0, 0, 1], [1, 0, 0.1], [0.3, -1, -0.7], [-0.1, 0.5, -1]):
        x, y, z = point
        u = lens.cx + lens.fx * math.atan2(x, z)
        v = lens.cy + lens.fy * math.atan2(y, math.hypot(x, z))
        np.testing.assert_allclose(camera.img_from_cam(np.array(point, float)), [u, v], atol=1e-9)


def test_every_model_that_pycolmap_knows_has_a_lens() -> None:
    for name, kind in pycolmap.CameraModelId.__members__.items():
        if name != "INVALID":
            camera = pycolmap.Camera.create_from_model_id(1, kind, 900.0, 1600, 800)
            lens, deviation = lens_of_camera(camera, "here")
            assert deviation < 0.5 and (lens.width, lens.height) == (1600, 800), name


def test_a_lens_that_nothing_comes_near_is_refused() -> None:
    # The picture's corners are beyond what this lens maps anywhere: 2 r tan(ω/2) has no direction there.
    camera = camera_of("FOV", [300, 300, 800, 600, 1.5], 1600, 1200)
    with pytest.raises(NerfsceneError, match=r"here uses the lens model FOV.*image_undistorter"):
        lens_of_camera(camera, "here")

"""Which numbers can be a camera's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from path_cases import LENS

from nerfscene.cameras.plausible import camera_doubt, lens_doubt, pose_doubt
from nerfscene.types import Intrinsics, Lens

NAN = float("nan")


@pytest.mark.parametrize(
    ("degrees", "lens"),
    [(0.2, "perspective"), (60, "perspective"), (179.8, "perspective"), (60, "fisheye"), (280, "fisheye")],
)
def test_lenses_from_telescopes_to_fisheyes(degrees: float, lens: Lens) -> None:
    angle = np.radians(degrees)
    focal = 400 / angle if lens == "fisheye" else 200 / np.tan(angle / 2)
    assert lens_doubt(Intrinsics(400, 300, focal, focal, 200.0, 150.0, lens)) is None


def test_a_crop_and_strong_distortion_are_lenses() -> None:
    assert lens_doubt(replace(LENS, cx=-900.0)) is None
    assert lens_doubt(replace(LENS, distortion=(-0.4, 0.3, 0.01, -0.01, -0.2))) is None
    wide = Intrinsics(400, 300, 130.0, 130.0, 200.0, 150.0, "fisheye", (0.1, -0.05, 0.03, -0.01, 0.0))
    assert lens_doubt(wide) is None


@pytest.mark.parametrize("focal", [1e-310, 1e-30, 0.001, 1e6, 1e300, -350.0, 0.0])
@pytest.mark.parametrize("axis", ["fx", "fy"])
@pytest.mark.parametrize("lens", ["perspective", "fisheye"])
def test_impossible_focal_lengths(focal: float, axis: str, lens: Lens) -> None:
    said = lens_doubt(replace(LENS, lens=lens, **{axis: focal}))
    side = "400 wide" if axis == "fx" else "300 high"
    assert said is not None and f"the focal length can't be that of a photo {side}" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fx": NAN}, "NaN or infinite"),
        ({"cx": 1e7}, "principal point"),
        ({"distortion": (0.0, 0.0, 0.0, 0.0, float("inf"))}, "NaN or infinite"),
        ({"distortion": (1e30, 0.0, 0.0, 0.0, 0.0)}, "distortion"),
        ({"width": 10**9}, "pixels large"),
    ],
)
def test_other_impossible_lenses(change: dict[str, float], said: str) -> None:
    assert said in (lens_doubt(replace(LENS, **change)) or "")


def test_poses() -> None:
    assert camera_doubt(LENS, np.eye(4)) is None
    far, scaled, mirrored, nan, row = (np.eye(4) for _ in range(5))
    far[0, 3], nan[1, 1], row[3, 0] = 1e15, NAN, -1e308
    scaled[:3, :3] *= 2
    mirrored[0, 0] = -1
    assert "too far away" in (pose_doubt(far) or "")
    assert "finite" in (pose_doubt(nan) or "") and "4×4" in (pose_doubt(np.eye(3)) or "")
    for pose in (scaled, mirrored, row):
        assert "not a rotation and a translation" in (pose_doubt(pose) or "")

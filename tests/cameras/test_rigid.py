"""The nearest rigid transform: rounding is taken off, and what no camera can do is refused."""

from __future__ import annotations

import numpy as np
import pytest
from path_cases import a_motion

from nerfscene.cameras.rigid import nearest_rigid
from nerfscene.types import Array


def with_rotation(rotation: Array) -> Array:
    pose = a_motion()
    pose[:3, :3] = rotation
    return pose


def test_rounding_is_taken_off() -> None:
    for rows in (3, 4):
        found = nearest_rigid(np.round(a_motion(), 4)[:rows], 1e-3)
        assert found is not None
        np.testing.assert_allclose(found, a_motion(), atol=1e-4)
        np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-14)


@pytest.mark.parametrize("scale", [1e-4, 0.35, 1.0, 2.0, 1e5])
def test_a_scale_that_all_axes_share_is_divided_out_where_it_may_be(scale: float) -> None:
    scaled = with_rotation(scale * a_motion()[:3, :3])
    found = nearest_rigid(scaled, 1e-3, any_scale=True)
    assert found is not None
    np.testing.assert_allclose(found, a_motion(), atol=1e-12)
    assert (nearest_rigid(scaled, 1e-3) is None) == (scale != 1)


@pytest.mark.parametrize("any_scale", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        np.diag([-1.0, 1, 1]),
        -np.eye(3),
        np.diag([1.0, 1, 1.1]),
        np.array([[1, 0.2, 0], [0, 1, 0], [0, 0, 1]]),
        np.zeros((3, 3)),
        1e-30 * np.eye(3),
        1e200 * np.eye(3),
    ],
    ids=["mirrored", "mirrored on all axes", "stretched", "sheared", "zeros", "tiny", "huge"],
)
def test_what_no_camera_does_is_refused(change: Array, any_scale: bool) -> None:
    assert nearest_rigid(with_rotation(0.5 * a_motion()[:3, :3] @ change), 1e-3, any_scale) is None


def test_the_last_row_must_be_that_of_a_pose() -> None:
    pose = a_motion()
    pose[3, 0] = 0.5
    assert nearest_rigid(pose, 1e-3, any_scale=True) is None

"""Captures for the tests of camera paths, and measures of a path's poses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nerfscene.films.paths import CameraPath, look_at
from nerfscene.types import Array, Intrinsics, View

UP = np.array([0.0, 0.0, 1.0])
SUBJECT = np.array([1.0, -2.0, 0.5])
LENS = Intrinsics(400, 300, 350.0, 350.0, 200.0, 150.0)


def ring(
    degrees: Array, radius: float = 3.0, rise: float = 1.0, seed: int = 0, shake: float = 0.02
) -> list[View]:
    """Photos from these directions of a subject at SUBJECT, a little shaken."""
    rng = np.random.default_rng(seed)
    views = []
    for i, a in enumerate(np.radians(degrees)):
        position = SUBJECT + [radius * np.cos(a), radius * np.sin(a), rise] + shake * rng.normal(size=3)
        pose = look_at(position, SUBJECT + shake * rng.normal(size=3), UP)
        views.append(View(Path(f"img{i}.jpg"), LENS, pose))
    return views


def poses_of(path: CameraPath) -> Array:
    return np.stack([c.world_from_cam for c in path.cameras])


def moved(views: list[View], m: Array) -> list[View]:
    return [replace(v, world_from_cam=m @ v.world_from_cam) for v in views]


def a_motion() -> Array:
    m = np.eye(4)
    m[:3, :3] = Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
    m[:3, 3] = [5.0, -7.0, 2.0]
    return m


def assert_rigid(poses: Array) -> None:
    r = poses[:, :3, :3]
    np.testing.assert_allclose(r @ r.transpose(0, 2, 1), np.tile(np.eye(3), (len(r), 1, 1)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(r), 1.0, atol=1e-9)
    np.testing.assert_array_equal(poses[:, 3], np.tile([0.0, 0, 0, 1], (len(r), 1)))


def sides(poses: Array) -> Array:
    """Directions in degrees from which the poses see the subject."""
    return np.degrees(np.arctan2(poses[:, 1, 3] - SUBJECT[1], poses[:, 0, 3] - SUBJECT[0]))

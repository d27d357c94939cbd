"""Cameras with known truth, and photos for them, that tests of other apps' files export and read back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nerfscene.types import PosedCapture, View

WIDTH, HEIGHT = 400, 300
FOCAL = 380.0
COUNT = 5
POINTS = np.random.default_rng(5).uniform(-0.8, 0.8, (30, 3))  # in sight of every camera
OPENGL = np.diag([1.0, -1.0, -1.0])
Project = Callable[[np.ndarray], np.ndarray]  # (n, 3) in camera axes, OpenCV's → pixels (n, 2)


def camera(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation of cam_from_world (OpenCV axes) and centre of a camera that looks at the origin from 3 off."""
    angle = 0.5 * index
    centre = 3 * np.array([math.cos(angle), math.sin(angle), 0.2 + 0.05 * index])
    forward = -centre / np.linalg.norm(centre)
    right = np.cross(forward, [0.1, 0, 1])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward]), centre


CAMERAS = [camera(index) for index in range(COUNT)]


def write_photos(folder: Path, names: list[str], size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size, (90, 100, 110)).save(folder / name)


def projected(view: View, points: np.ndarray) -> np.ndarray:
    """Pixels (n, 2) of world points, by OpenCV's formulas."""
    lens = view.intrinsics
    cam = (points - view.world_from_cam[:3, 3]) @ view.world_from_cam[:3, :3]
    assert (cam[:, 2] > 0).all()
    x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    k = lens.distortion
    if lens.lens == "fisheye":
        r = np.hypot(x, y)
        t = np.arctan(r)
        s = t * (1 + k[0] * t**2 + k[1] * t**4 + k[2] * t**6 + k[3] * t**8) / r
        u, v = x * s, y * s
    else:
        r2 = x * x + y * y
        d = 1 + k[0] * r2 + k[1] * r2**2 + k[4] * r2**3
        u = x * d + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x)
        v = y * d + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y
    return np.stack([lens.fx * u + lens.cx, lens.fy * v + lens.cy], axis=1)


def assert_same_pixels(
    posed: PosedCapture,
    project: Project,
    world: Callable[[np.ndarray], np.ndarray] = lambda p: p,
    within: float = 0.01,
) -> None:
    """Checks that each view sees POINTS, moved by ``world``, at the pixels of the app's own formulas."""
    assert len(posed.views) == COUNT
    for view, (rotation, centre) in zip(posed.views, CAMERAS, strict=True):
        expected = project((POINTS - centre) @ rotation.T)
        np.testing.assert_allclose(projected(view, world(POINTS)), expected, rtol=0, atol=within)
        turn = view.world_from_cam[:3, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        assert (view.intrinsics.width, view.intrinsics.height) == (WIDTH, HEIGHT)


def pinhole(
    cam: np.ndarray, fx: float = FOCAL, fy: float = 385.0, cx: float = 203, cy: float = 148
) -> np.ndarray:
    return cam[:, :2] / cam[:, 2:] * [fx, fy] + [cx, cy]


def write_json(root: Path, name: str, values: Any) -> Path:
    write_photos(root / "images", [f"IMG_{i}.jpg" for i in range(COUNT)])
    (root / name).write_text(json.dumps(values))
    return root / name


NAMES = [f"IMG_{i}.jpg" for i in range(COUNT)]

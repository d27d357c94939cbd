"""Small pictures of the lenses that films have, and what each of their pixels should show."""

from __future__ import annotations

import numpy as np

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.field.rendering import Renderer, render
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Camera, Intrinsics, Lens

TILT = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
ACROSS = 2.5  # world units across the orthographic camera's picture


def intrinsics(lens: Lens) -> Intrinsics:
    """A lens for 48×24 pixels."""
    a_radian = 48 / (2 * np.pi)
    return {
        "equirectangular": Intrinsics(48, 24, a_radian, a_radian, 24, 12, "equirectangular"),
        "stereo180": Intrinsics(48, 24, a_radian, a_radian, 12, 12, "stereo180", (0.4, 0, 0, 0, 0)),
        "fisheye": Intrinsics(48, 24, 24 / np.pi, 24 / np.pi, 24, 12, "fisheye"),
        "orthographic": Intrinsics(48, 24, 48 / ACROSS, 48 / ACROSS, 24, 12, "orthographic"),
    }[lens]


def ray(lens: Lens, x: float, y: float) -> tuple[Array, Array]:
    """Where the ray through a point of the picture of ``intrinsics`` begins, and its direction, in the
    camera's axes: the lens's definition, in degrees of longitude and latitude."""
    start = np.zeros(3)
    if lens == "orthographic":
        return np.array([(x - 24) * ACROSS / 48, (y - 12) * ACROSS / 48, 0]), np.array([0.0, 0.0, 1.0])
    if lens == "fisheye":  # 180° across 24 pixels
        away = np.radians(np.hypot(x - 24, y - 12) * 180 / 24)
        around = np.arctan2(y - 12, x - 24)
        return start, np.array([np.sin(away) * np.cos(around), np.sin(away) * np.sin(around), np.cos(away)])
    longitude = np.radians(-180 + x * 360 / 48)
    if lens == "stereo180":
        start[0] = 0.2 if x > 24 else -0.2
        longitude = np.radians(-90 + (x % 24) * 180 / 24)
    latitude = np.radians(90 - y * 180 / 24)
    level_part = np.cos(latitude)
    return start, np.array(
        [level_part * np.sin(longitude), -np.sin(latitude), level_part * np.cos(longitude)]
    )


def alone(renderer: Renderer, pose: Array, start: Array, direction: Array) -> tuple[Array, float, float]:
    """What a perspective camera sees that looks along this ray of the camera ``pose``, in one pixel."""
    z = pose[:3, :3] @ direction
    x = np.cross([0.3, -0.8, 0.5], z)
    x /= np.linalg.norm(x)
    made = np.eye(4)
    made[:3, :3] = np.stack([x, np.cross(z, x), z], 1)
    made[:3, 3] = pose[:3, 3] + pose[:3, :3] @ start
    frame = render(renderer, Camera(Intrinsics(1, 1, 50, 50, 0.5, 0.5), made))
    return frame.rgb[0, 0], float(frame.depth[0, 0]), float(frame.accumulation[0, 0])


def box_of(loaded: Scene) -> Array:
    """A crop that stands at an angle about the subject's middle, and cuts through it."""
    half = 0.6 / similarity_scale(loaded.scene_from_world)
    crop = np.eye(4)
    crop[:3, :3] = TILT * [half, 0.5 * half, half]
    crop[:3, 3] = np.linalg.inv(loaded.scene_from_world)[:3, 3]
    return crop

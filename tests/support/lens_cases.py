"""Lenses, poses and pixels for the tests of rays, and a module's rays through them."""

from __future__ import annotations

from typing import Any

import numpy as np

WIDTH, HEIGHT = 640, 480
PERSPECTIVE = [
    [600.0, 600.0, 320.0, 240.0, 0, 0, 0, 0, 0],
    [500.0, 520.0, 310.0, 250.0, 0.1, -0.05, 0.002, -0.003, 0.01],
    [450.0, 450.0, 320.0, 240.0, -0.25, 0.08, 0.0, 0.001, -0.01],
]
FISHEYE = [
    [300.0, 300.0, 320.0, 240.0, 0, 0, 0, 0, 0],
    [280.0, 285.0, 325.0, 236.0, 0.05, -0.01, 0.003, -0.0005, 0],
]
A_RADIAN = WIDTH / (2 * np.pi)  # pixels, of a picture of all round
OF_FILMS = [  # equirectangular, orthographic, stereo180
    ([A_RADIAN, A_RADIAN, 320.0, 160.0, 0, 0, 0, 0, 0], 2),
    ([200.0, 210.0, 320.0, 240.0, 0, 0, 0, 0, 0], 3),
    ([A_RADIAN, A_RADIAN, 160.0, 160.0, 0.3, 0, 0, 0, 0], 4),
]
LENSES = [(k, 0) for k in PERSPECTIVE] + [(k, 1) for k in FISHEYE]


def random_pose(seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.linalg.det(q))
    return np.concatenate([q, rng.normal(size=(3, 1))], 1).astype(np.float32).ravel().tolist()


def some_pixels(n: int = 500) -> np.ndarray[Any, Any]:
    pixels = np.random.default_rng(1).uniform((0, 0), (WIDTH, HEIGHT), (n, 2))
    special = np.array([[0, 0], [WIDTH, HEIGHT], [0.5, 0.5], [320, 240], [325, 236]])
    pixels[:5] = special[: len(pixels)]
    return pixels.astype(np.float32)


def native_rays(module: Any, k: Any, kind: int, pose: Any, pixels: Any) -> tuple[Any, Any]:
    o, d = (np.full((len(pixels), 3), np.nan, np.float32) for _ in range(2))
    module.pixel_rays(k, kind, WIDTH, HEIGHT, pose, pixels, o, d)
    return o, d

"""Fits the camera of a held-out photo to the finished scene, before the photo is compared with it.

Training may move the cameras of its photos (``refinement``), while those of held-out photos only follow their
neighbours. A scene that became sharper could therefore score worse. The accepted remedy (Lin et al., "BARF",
2021) is to fit each held-out camera first, with the scene fixed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.field.refinement import moved
from nerfscene.field.rendering import (
    MIN_WEIGHT,
    STOP_TRANSMITTANCE,
    Renderer,
    behind,
    brighten,
    dimmed,
    kernel_camera,
)
from nerfscene.ops import backend
from nerfscene.types import Array, View

PIXELS = 1200  # pixels of a photo that are compared
ROUNDS = 2  # Gauss-Newton steps
NUDGE = 0.7  # pixels that a far point moves by, for slopes by finite differences
ROBUST = 0.1  # errors (0…1) above this get less weight
DAMPING = 1e-3  # of the normal equations' diagonal
MOST = 0.05  # radians, and scene units: a fit that moves the camera farther is discarded

Floats = NDArray[np.float32]


def aligned(
    renderer: Renderer, view: View, photo: Floats, used: NDArray[np.bool_] | None = None, seed: int = 0
) -> View:
    """The view with its camera moved so that the scene fits its photo (height, width, 3), 0…1, best.

    ``used`` (height, width): the pixels that count; None: all. Runs Gauss-Newton on a random sample of them
    (by ``seed``), with slopes by finite differences, and also fits the photo's gain in each channel. Returns
    the camera with the smallest error, which may be the given one. Raises NerfsceneError if the GPU fails.
    """
    k = view.intrinsics
    candidates = np.arange(k.width * k.height) if used is None else np.flatnonzero(used)
    if len(candidates) == 0:
        return view
    chosen = np.random.default_rng(seed).choice(candidates, min(PIXELS, len(candidates)), replace=False)
    rows, columns = np.divmod(chosen, k.width)
    pixels = np.stack([columns, rows], 1).astype(np.float32) + np.float32(0.5)
    target = photo[rows, columns].astype(np.float64)
    nudge = NUDGE / ((k.fx + k.fy) / 2)
    change = best = np.zeros(6)
    least = np.inf
    for iteration in range(ROUNDS + 1):
        rendered = colors(renderer, view, change, pixels)
        gain = (rendered * target).sum(0) / np.maximum((rendered * rendered).sum(0), 1e-9)
        residual = (rendered * gain - target).ravel()
        weight = np.minimum(1.0, ROBUST / np.maximum(np.abs(residual), 1e-9))
        error = float(np.mean(weight * residual**2))
        if error < least:
            best, least = change, error
        if iteration == ROUNDS:
            break
        nudged = [colors(renderer, view, change + e, pixels) for e in np.eye(6) * nudge]
        slopes = np.stack([((c - rendered) * gain).ravel() / nudge for c in nudged], 1)
        normal = slopes.T @ (weight[:, None] * slopes)
        normal += DAMPING * np.diag(np.diag(normal)) + 1e-9 * np.eye(6)
        change = change - np.linalg.solve(normal, slopes.T @ (weight * residual))
        if np.abs(change).max() > MOST:
            break
    return replace(view, world_from_cam=moved(view.world_from_cam, best, renderer.scene_from_world))


def colors(renderer: Renderer, view: View, change: Array, pixels: Floats) -> Array:
    """Rendered colours (n, 3), 0 or more, at pixel coordinates (n, 2) of a view whose camera is ``moved``
    first."""
    n = len(pixels)
    pose = moved(view.world_from_cam, change, renderer.scene_from_world)
    camera = kernel_camera(view.intrinsics, pose_in_scene(renderer.scene_from_world, pose))
    origins, directions, rgb = np.empty((3, n, 3), np.float32)
    depth, accumulation = np.empty((2, n), np.float32)
    back = np.tile(np.asarray(renderer.background, np.float32), (n, 1))
    with backend.device_errors():
        backend.load(renderer.backend).pixel_rays(*camera, pixels, origins, directions)
        if renderer.shown_backdrop is not None:
            back = np.ascontiguousarray(behind(renderer.shown_backdrop, directions))
        renderer.native.trace(
            origins, directions, np.full(n, 0.5, np.float32), dimmed(renderer, back), MIN_WEIGHT,
            STOP_TRANSMITTANCE, 1.0, rgb, depth, accumulation, threads=backend.thread_count(renderer.threads),
        )  # fmt: skip
    brighten(renderer, rgb)
    return np.maximum(rgb, 0).astype(np.float64)

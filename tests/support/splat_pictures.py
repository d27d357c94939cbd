"""Draws Gaussian splats with numpy, as splatting is defined (Zwicker et al. 2001, Kerbl et al. 2023)."""

from __future__ import annotations

import numpy as np

from nerfscene.splatting.gaussians import Splats, basis
from nerfscene.types import Array, Camera

LOW_PASS = 0.3  # square pixels by which every splat is widened, as 3D Gaussian splatting does
FAINTEST = 1 / 255


def covariances(splats: Splats) -> Array:
    """(n, 3, 3), world units²."""
    w, x, y, z = splats.quaternions.astype(np.float64).T
    turn = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
                     2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                     2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1)  # fmt: skip
    axes = turn.reshape(-1, 3, 3) * splats.scales[:, None, :]
    return axes @ axes.transpose(0, 2, 1)


def picture(splats: Splats, camera: Camera, background: tuple[float, float, float] = (0, 0, 0)) -> Array:
    """(h, w, 3), 0…1, by a lens without distortion."""
    k, pose = camera.intrinsics, camera.world_from_cam
    local = (splats.positions - pose[:3, 3]) @ pose[:3, :3]
    order = np.argsort(local[:, 2], kind="stable")
    limit = 1.3 * np.array([k.width / 2 / k.fx, k.height / 2 / k.fy])
    with np.errstate(divide="ignore", invalid="ignore"):
        aside = np.abs(local[:, :2] / local[:, 2:])
    order = order[(local[order, 2] > 1e-3) & (aside[order] < 4 * limit + 1).all(1)]
    p = local[order]
    z = p[:, 2]
    t = np.clip(p[:, :2] / z[:, None], -limit, limit)
    jacobian = np.zeros((len(p), 2, 3))
    jacobian[:, 0, 0], jacobian[:, 0, 2] = k.fx / z, -k.fx * t[:, 0] / z
    jacobian[:, 1, 1], jacobian[:, 1, 2] = k.fy / z, -k.fy * t[:, 1] / z
    m = jacobian @ pose[:3, :3].T
    flat = m @ covariances(splats)[order] @ m.transpose(0, 2, 1) + LOW_PASS * np.eye(2)
    centre = p[:, :2] / z[:, None] * [k.fx, k.fy] + [k.cx, k.cy]
    toward = splats.positions[order] - pose[:3, 3]
    toward = toward / np.linalg.norm(toward, axis=1, keepdims=True)
    colours = 0.5 + np.einsum("nk,nkc->nc", basis(toward, splats.degree), splats.sh[order])
    return _blended(
        centre, flat, splats.opacities[order], np.maximum(colours, 0), (k.height, k.width), background
    )


def _blended(centre: Array, flat: Array, opacity: Array, colours: Array, shape: tuple[int, int],
             background: tuple[float, float, float]) -> Array:  # fmt: skip
    """Gaussians in the picture's plane, from front to back."""
    h, w = shape
    reach = np.sqrt(2 * np.log(np.maximum(opacity / FAINTEST, 1)))[:, None] * np.sqrt(flat[:, [0, 1], [0, 1]])
    low = np.clip(np.ceil(centre - reach - 0.5), 0, [w, h]).astype(int)
    high = np.clip(np.floor(centre + reach - 0.5) + 1, 0, [w, h]).astype(int)
    size = np.maximum(high - low, 0)
    n = size[:, 0] * size[:, 1]
    which = np.repeat(np.arange(len(n)), n)
    place = np.arange(len(which)) - np.repeat(np.cumsum(n) - n, n)
    column = (low[which, 0] + place % size[which, 0]).astype(np.int32)
    row = (low[which, 1] + place // size[which, 0]).astype(np.int32)
    inverse = np.linalg.inv(flat)
    dx = (column + 0.5 - centre[which, 0]).astype(np.float32)
    dy = (row + 0.5 - centre[which, 1]).astype(np.float32)
    a, b, c = (inverse[:, i, j].astype(np.float32)[which] for i, j in ((0, 0), (0, 1), (1, 1)))
    alpha = np.minimum(opacity[which] * np.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy), 0.99)
    seen = alpha >= FAINTEST
    pixel, alpha, which = (row * w + column)[seen], alpha[seen], which[seen]
    order = np.argsort(pixel, kind="stable")
    pixel, alpha, which = pixel[order], alpha[order].astype(np.float64), which[order]
    passing = np.cumsum(np.log1p(-alpha))
    before = passing - np.log1p(-alpha)
    starts = np.flatnonzero(np.diff(pixel, prepend=-1))
    counts = np.diff(starts, append=len(pixel))
    weight = alpha * np.exp(before - np.repeat(before[starts], counts))
    out = np.stack([np.bincount(pixel, weight * colours[which, i], h * w) for i in range(3)], 1)
    left = 1 - np.bincount(pixel, weight, h * w)
    return (out + left[:, None] * np.asarray(background)).reshape(h, w, 3).clip(0, 1)

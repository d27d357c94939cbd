"""How far cameras that were found lie from the true ones, once both worlds are laid over each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerfscene.types import Array


def similarity(a: Array, b: Array) -> tuple[float, Array, Array]:
    """Scale, rotation (3, 3) and shift (3,) that take points a (n, 3) to b best (Umeyama 1991)."""
    mean_a, mean_b = a.mean(0), b.mean(0)
    u, s, vt = np.linalg.svd((b - mean_b).T @ (a - mean_a) / len(a))
    d = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ d @ vt
    scale = float(np.trace(np.diag(s) @ d) / ((a - mean_a) ** 2).sum(1).mean())
    return scale, rotation, mean_b - scale * rotation @ mean_a


def pose_errors(found: Sequence[Array], true: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Compares poses world_from_cam (n, 4, 4) with the true ones, after the best similarity.

    Returns the cameras' distances (n,) in units of the true world, the angles between them (n,) in degrees,
    and the rotation (3, 3) from the found world to the true one.
    """
    a, b = np.stack(found), np.stack(true)
    scale, rotation, shift = similarity(a[:, :3, 3], b[:, :3, 3])
    distances = np.linalg.norm(scale * a[:, :3, 3] @ rotation.T + shift - b[:, :3, 3], axis=1)
    turned = np.swapaxes(rotation @ a[:, :3, :3], 1, 2) @ b[:, :3, :3]
    cosines = (np.trace(turned, axis1=1, axis2=2) - 1) / 2
    return distances, np.degrees(np.arccos(np.clip(cosines, -1, 1))), rotation


def extent(poses: Sequence[Array]) -> float:
    """The diagonal of the box around the cameras' centres."""
    return float(np.linalg.norm(np.ptp(np.stack(poses)[:, :3, 3], axis=0)))

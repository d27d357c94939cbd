"""A scene's fitted splats as an export wants them: in its world, within its crop, at most so many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.scene.scene import Scene
from nerfscene.splatting.gaussians import Splats, basis, moved, picked
from nerfscene.types import Array

CHUNK = 16384  # splats looked at together, which bounds memory
AT_MOST = 64  # photos whose places count
HELD = 0.05  # how strongly coefficients are held to their values before, for those that hardly a photo shows


def fitted_splats(scene: Scene, count: int | None = None, degree: int = 3) -> Splats | None:
    """The scene's fitted splats in its world, without those outside its crop; None if it has none.

    count: how many at most, of those that show most; None: all. degree: of their harmonics, at most; of
    fewer, colours are still those that the photos' cameras see.
    """
    if scene.splats is None:
        return None
    made = moved(scene.splats, np.linalg.inv(scene.scene_from_world).astype(np.float64))
    if scene.crop is not None:
        inverse = np.linalg.inv(scene.crop)
        box = made.positions @ inverse[:3, :3].T + inverse[:3, 3]
        made = picked(made, (np.abs(box) <= 1).all(1))
    if count is not None and len(made) > count:
        made = picked(made, np.arange(count))
    return made if degree >= made.degree else fewer_harmonics(made, degree, _photo_poses(scene))


def _photo_poses(scene: Scene) -> Array:
    """world_from_cam (m, 4, 4) of the training photos, of at most AT_MOST of them, evenly."""
    poses = [v.world_from_cam for v in scene.views if v.split == "train"]
    poses = poses or [v.world_from_cam for v in scene.views]
    chosen = np.linspace(0, len(poses) - 1, min(len(poses), AT_MOST)).round().astype(int)
    return np.stack([poses[i] for i in chosen]).astype(np.float64)


def fewer_harmonics(splats: Splats, degree: int, poses: Array) -> Splats:
    """Splats with harmonics up to a lower degree, whose colours from these cameras are about the same.

    poses: (m, 4, 4), world_from_cam, OpenCV's axes. The first coefficients alone are the mean over all
    directions, also those from which nobody ever looked at a surface, and where colours may be anything.
    So the coefficients are least squares over the cameras that have a splat before them, the near ones most.
    """
    terms = (degree + 1) ** 2
    out = np.empty((len(splats), terms, 3), np.float32)
    for first in range(0, len(splats), CHUNK):
        part = slice(first, first + CHUNK)
        out[part] = _least_squares(splats.positions[part], splats.sh[part], terms, poses)
    return replace(splats, sh=out)


def _least_squares(
    positions: NDArray[np.float32], sh: NDArray[np.float32], terms: int, poses: Array
) -> NDArray[np.float32]:
    """The first ``terms`` coefficients (n, terms, 3) that replace all of sh (n, k, 3)."""
    n, k = sh.shape[:2]
    products, sums = np.zeros((n, terms, terms)), np.zeros((n, terms, 3))
    nearest = np.min([np.linalg.norm(positions - p[:3, 3], axis=1) for p in poses], axis=0)
    for pose in poses:
        toward = positions.astype(np.float64) - pose[:3, 3]
        away = np.maximum(np.linalg.norm(toward, axis=1), 1e-12)
        toward /= away[:, None]
        weight = np.maximum(toward @ pose[:3, 2], 0) * (nearest / away) ** 2
        b = basis(toward, int(np.sqrt(k)) - 1)
        weighted = weight[:, None] * b[:, :terms]
        products += weighted[:, :, None] * b[:, None, :terms]
        sums += weighted[:, :, None] * np.einsum("nk,nkc->nc", b, sh)[:, None, :]
    held = np.full(terms, HELD * len(poses))
    held[0] = 1e-6
    products += np.diag(held)
    sums += held[:, None] * sh[:, :terms]
    out: NDArray[np.float32] = np.linalg.solve(products, sums).astype(np.float32)
    return out

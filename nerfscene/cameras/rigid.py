"""Rigid transforms from numbers that were rounded in a file."""

from __future__ import annotations

import numpy as np

from nerfscene.types import Array

LARGEST_SCALE = 1e9  # beyond it, or below its inverse, numbers are broken rather than a scale


def nearest_rigid(matrix: Array, tolerance: float, any_scale: bool = False) -> Array | None:
    """The rigid transform (4, 4) nearest to a 3×4 or 4×4 matrix of finite numbers.

    tolerance: how far an entry of R·Rᵀ may be from the identity's, and one of the last row from 0 0 0 1.
    any_scale: divides R by a scale first that all three axes share; the translation stays as it is. This is
    right for a camera's pose: Blender lets people scale cameras, which changes nothing that they see. It is
    wrong for a transform between two worlds, whose scale moves what it transforms.
    None when the matrix is farther from rigid than that (it shears, mirrors or scales its axes unlike).
    """
    rotation = matrix[:3, :3]
    if not 1 / LARGEST_SCALE < np.abs(rotation).max() < LARGEST_SCALE:
        return None
    if any_scale:
        rotation = rotation * np.sqrt(3 / np.square(rotation).sum())
    off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    bottom = np.abs(matrix[3:] - [0, 0, 0, 1]).max(initial=0.0)
    if off > tolerance or bottom > tolerance or np.linalg.det(rotation) < 0:
        return None
    u, _, vt = np.linalg.svd(rotation)
    result = np.eye(4)
    result[:3, :3] = u @ vt
    result[:3, 3] = matrix[:3, 3]
    return result

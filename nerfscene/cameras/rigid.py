"""Rigid transforms from numbers that were rounded in a file."""

from __future__ import annotations

import numpy as np

from nerfscene.types import Array


def nearest_rigid(matrix: Array, tolerance: float) -> Array | None:
    """The rigid transform (4, 4) nearest to a 3×4 or 4×4 matrix of finite numbers.

    tolerance: how far an entry of R·Rᵀ may be from the identity's, and one of the last row from 0 0 0 1.
    None when the matrix is farther from rigid than that (it scales, shears or mirrors).
    """
    rotation = matrix[:3, :3]
    off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    bottom = np.abs(matrix[3:] - [0, 0, 0, 1]).max(initial=0.0)
    if off > tolerance or bottom > tolerance or np.linalg.det(rotation) < 0:
        return None
    u, _, vt = np.linalg.svd(rotation)
    result = np.eye(4)
    result[:3, :3] = u @ vt
    result[:3, 3] = matrix[:3, 3]
    return result

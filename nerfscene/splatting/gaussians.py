"""Gaussian splats in memory: what is made from a field, fitted, and written in each of the formats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.equality import equal_fields, hash_fields
from nerfscene.loading import loading
from nerfscene.types import Array

# Real spherical harmonics up to degree 3 as 3D Gaussian splatting has them (Kerbl et al. 2023): 1, then y, z,
# x, then xy, yz, 2z²-x²-y², xz, x²-y², and so on.
C0 = 0.28209479177387814
C1 = 0.4886025119029199
C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
C3 = (
    *(-0.5900435899266435, 2.890611442640554, -0.4570457994644658, 0.3731763325901154),
    *(-0.4570457994644658, 1.445305721320277, -0.5900435899266435),
)


@dataclass(frozen=True)
class Splats:
    """Gaussians in one world's units and axes.

    positions: (n, 3). quaternions: (n, 4), unit, w first, which turn the splat's axes to the world's. scales:
    (n, 3), standard deviations along the splat's axes. opacities: (n,), 0…1. sh: (n, k, 3), coefficients of
    ``basis`` for red, green and blue, k = 1, 4, 9 or 16; a colour is 0.5 plus their sum, sRGB.
    """

    positions: NDArray[np.float32]
    quaternions: NDArray[np.float32]
    scales: NDArray[np.float32]
    opacities: NDArray[np.float32]
    sh: NDArray[np.float32]

    __eq__ = equal_fields
    __hash__ = hash_fields

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def degree(self) -> int:
        """Of the spherical harmonics, 0 to 3."""
        return int(np.sqrt(self.sh.shape[1])) - 1


def picked(splats: Splats, keep: NDArray[np.generic]) -> Splats:
    """Some of the splats, by a mask or by indices."""
    return Splats(**{name: value[keep] for name, value in vars(splats).items()})


def in_space(positions: NDArray[np.float32]) -> NDArray[np.intp]:
    """An order of splats at positions (n, 3) in which neighbours in space are mostly neighbours in memory.

    It is Morton's: by the bits of the three coordinates in turn. Pictures are drawn faster in it.
    """
    if not len(positions):
        return np.zeros(0, np.intp)
    low, high = np.percentile(positions, [2, 98], axis=0)
    cells = (np.clip((positions - low) / np.maximum(high - low, 1e-12), 0, 1) * 1023).astype(np.uint32)
    code = np.zeros(len(positions), np.uint32)
    for bit in range(10):
        for axis in range(3):
            code |= (cells[:, axis] >> np.uint32(bit) & np.uint32(1)) << np.uint32(3 * bit + axis)
    return np.argsort(code, kind="stable")


def joined(*parts: Splats) -> Splats:
    """All splats of several sets of the same degree."""
    return Splats(*(np.concatenate(x) for x in zip(*(vars(p).values() for p in parts), strict=True)))


def basis(directions: Array, degree: int) -> Array:
    """The spherical harmonics (n, (degree + 1)²) in unit directions (n, 3) away from the camera."""
    x, y, z = np.asarray(directions, np.float64).T
    parts = [np.full_like(x, C0)]
    if degree > 0:
        parts += [-C1 * y, C1 * z, -C1 * x]
    xx, yy, zz = x * x, y * y, z * z
    if degree > 1:
        second = (x * y, y * z, 2 * zz - xx - yy, x * z, xx - yy)
        parts += [c * v for c, v in zip(C2, second, strict=True)]
    if degree > 2:
        third = (y * (3 * xx - yy), x * y * z, y * (4 * zz - xx - yy), z * (2 * zz - 3 * xx - 3 * yy),
                 x * (4 * zz - xx - yy), z * (xx - yy), x * (xx - 3 * yy))  # fmt: skip
        parts += [c * v for c, v in zip(C3, third, strict=True)]
    return np.stack(parts, 1)


def axes_of(quaternions: NDArray[np.float32]) -> Array:
    """The axes of splats turned by quaternions (n, 4), w first, of any length: the columns of (n, 3, 3)."""
    with loading():
        from scipy.spatial.transform import Rotation

    matrices: Array = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]].astype(np.float64)).as_matrix()
    return matrices


def covariances_of(splats: Splats) -> NDArray[np.float32]:
    """The splats' covariances (n, 3, 3) along the world's axes, square units."""
    axes = axes_of(splats.quaternions) * splats.scales[:, None, :]
    out: NDArray[np.float32] = (axes @ axes.transpose(0, 2, 1)).astype(np.float32)
    return out


def moved(splats: Splats, matrix: Array) -> Splats:
    """The splats after a similarity (4, 4): positions, sizes, orientations and harmonics together."""
    with loading():
        from scipy.spatial.transform import Rotation

    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    turn = matrix[:3, :3] / scale
    before = Rotation.from_quat(splats.quaternions[:, [1, 2, 3, 0]].astype(np.float64))
    quaternions = (Rotation.from_matrix(turn) * before).as_quat()[:, [3, 0, 1, 2]]
    return replace(
        splats,
        positions=(splats.positions @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32),
        quaternions=quaternions.astype(np.float32),
        scales=(splats.scales * scale).astype(np.float32),
        sh=turned_harmonics(splats.sh, turn),
    )


def turned_harmonics(sh: NDArray[np.float32], turn: Array) -> NDArray[np.float32]:
    """The coefficients (n, k, 3) by which colours look the same in directions turned by (3, 3)."""
    degree = int(np.sqrt(sh.shape[1])) - 1
    if degree == 0:
        return sh
    # Each degree's functions turn among themselves; enough directions determine how.
    rng = np.random.default_rng(0)
    toward = rng.normal(size=(64, 3))
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    change = np.linalg.pinv(basis(toward, degree)) @ basis(toward @ turn, degree)  # values before, by turn⁻¹
    change[np.abs(change) < 1e-12] = 0
    out: NDArray[np.float32] = np.einsum("ij,njc->nic", change, sh).astype(np.float32)
    return out

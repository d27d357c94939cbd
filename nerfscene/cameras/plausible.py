"""Whether numbers can be those of a camera: what a damaged file says of one mostly can't.

The limits are far beyond any real camera. They keep out what would only make numbers overflow later on.
"""

from __future__ import annotations

import math

import numpy as np

from nerfscene.types import Array, Intrinsics

NARROWEST, WIDEST = 0.1, 179.9  # degrees across a perspective picture
WIDEST_FISHEYE = 720.0  # degrees across a fisheye's picture without distortion; its corners may be black
FARTHEST_CENTRE = 10.0  # pictures that the principal point may lie away from the middle
STRONGEST = 1e4  # factor by which distortion may change the radius at a picture's corner
FARTHEST = 1e12  # world units from the origin
LARGEST = 1e15  # number in a map between coordinates, or in its inverse
LARGEST_SIDE = 1_000_000  # pixels
NOT_RIGID = 1e-3  # how far R·Rᵀ may be from 1, and the last row from 0 0 0 1


def lens_doubt(lens: Intrinsics) -> str | None:
    """Why a lens can't be that of its picture, as a clause; None if it can."""
    if not (1 <= lens.width <= LARGEST_SIDE and 1 <= lens.height <= LARGEST_SIDE):
        return f"a photo can't be {lens.width:.6g}×{lens.height:.6g} pixels large"
    numbers = (lens.fx, lens.fy, lens.cx, lens.cy, *lens.distortion)
    if not all(map(math.isfinite, numbers)):
        return "the lens has NaN or infinite numbers"
    if lens.lens == "equirectangular":
        return None
    sides = ((lens.fx, lens.width, "wide"), (lens.fy, lens.height, "high"))
    for focal, side, how in sides:
        shortest, longest = focal_limits(side, lens.lens == "fisheye")
        if not shortest <= focal <= longest:
            return f"the focal length can't be that of a photo {side} {how} ({focal:.4g} pixels)"
    off = max(abs(lens.cx / lens.width - 0.5), abs(lens.cy / lens.height - 0.5))
    if off > FARTHEST_CENTRE:
        return (
            f"the principal point ({lens.cx:.4g}, {lens.cy:.4g}) is too far from a photo of "
            f"{lens.width}×{lens.height} pixels"
        )
    if not _bend(lens) <= STRONGEST:
        return f"the distortion ({', '.join(f'{k:.4g}' for k in lens.distortion)}) is impossibly strong"
    return None


def focal_limits(side: int, fisheye: bool) -> tuple[float, float]:
    """The shortest and the longest focal length, in pixels, of a picture with a side of so many pixels."""
    longest = side / 2 / math.tan(math.radians(NARROWEST / 2))
    if fisheye:
        return side / math.radians(WIDEST_FISHEYE), longest
    return side / 2 / math.tan(math.radians(WIDEST / 2)), longest


def _bend(lens: Intrinsics) -> float:
    """The sum of the sizes of all distortion terms at the corner farthest from the principal point."""
    x = max(lens.cx, lens.width - lens.cx) / lens.fx
    y = max(lens.cy, lens.height - lens.cy) / lens.fy
    r = math.hypot(x, y)
    powers = (2, 4, 6, 8, 0) if lens.lens == "fisheye" else (2, 4, 1, 1, 6)
    return sum(abs(k) * r**power for k, power in zip(lens.distortion, powers, strict=True))


def pose_doubt(pose: Array) -> str | None:
    """Why a matrix (4, 4) can't be a camera's pose, as a clause; None if it can."""
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        return "the pose is not a 4×4 matrix of finite numbers"
    with np.errstate(over="ignore", invalid="ignore"):
        turn = pose[:3, :3]
        off = max(np.abs(turn @ turn.T - np.eye(3)).max(), np.abs(pose[3] - [0, 0, 0, 1]).max())
    if not off <= NOT_RIGID or np.linalg.det(turn) < 0:
        return "the pose is not a rotation and a translation"
    if np.abs(pose[:3, 3]).max() > FARTHEST:
        return f"the camera's position ({', '.join(f'{x:.4g}' for x in pose[:3, 3])}) is too far away"
    return None


def invertible(matrix: Array) -> bool:
    """Whether neither a matrix (4, 4) nor its inverse has numbers that are not finite or beyond LARGEST."""
    if not np.abs(matrix).max() <= LARGEST:  # nor NaN
        return False
    try:
        return bool(np.abs(np.linalg.inv(matrix)).max() <= LARGEST)
    except np.linalg.LinAlgError:
        return False


def camera_doubt(lens: Intrinsics, pose: Array) -> str | None:
    """What ``lens_doubt`` or ``pose_doubt`` says."""
    return lens_doubt(lens) or pose_doubt(pose)

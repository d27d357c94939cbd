"""Camera algebra: intrinsics at another size, poses, and where the subject lies.

``place`` chooses the scene's coordinates: the transform ``scene_from_world`` puts the subject into
[-1, 1]³ with the cameras' common up along +z, and says whether there is anything beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nerfscene.types import Array, Intrinsics, PosedCapture, View

# Unbounded scenes: the cameras stand this far from the subject's centre (median), in scene units, so
# that the subject has the uncontracted part of space and they still see it whole.
CAMERA_DISTANCE = 1.5
UNCERTAIN = 0.2  # of its distance: a point where axes meet is known less well than that, or not
# Where no point is what all photos look at, so many per cent of the sparse points have that part of space.
POINTS_WITHIN = 60.0
ONE_WAY = 0.8  # length of the mean of unit axes that all look about the same way
FEW_POINTS = 100  # too few to say where things are


@dataclass(frozen=True)
class Placement:
    """Scene coordinates for a capture.

    ``scene_from_world`` is a similarity (4, 4). ``near`` is the closest distance from a camera, in
    scene units, at which anything is looked for. ``unbounded``: space beyond [-1, 1]³ exists.
    """

    scene_from_world: Array
    unbounded: bool
    near: float


def scaled(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """The same lens on a picture of another size; pixel centres stay at half-integers."""
    sx, sy = width / intrinsics.width, height / intrinsics.height
    return replace(
        intrinsics,
        width=width,
        height=height,
        fx=intrinsics.fx * sx,
        fy=intrinsics.fy * sy,
        cx=intrinsics.cx * sx,
        cy=intrinsics.cy * sy,
    )


def vertical_fov(intrinsics: Intrinsics) -> float:
    """The angle, radians, that an undistorted picture spans from top to bottom."""
    return float(2 * np.arctan(intrinsics.height / 2 / intrinsics.fy))


def similarity_scale(m: Array) -> float:
    """Scale factor of a similarity (4, 4)."""
    return float(np.cbrt(np.linalg.det(m[:3, :3])))


def pose_in_scene(scene_from_world: Array, world_from_cam: Array) -> Array:
    """Camera pose (4, 4), rigid, in scene units, from one in world units."""
    pose = scene_from_world @ world_from_cam
    pose[:3, :3] /= similarity_scale(scene_from_world)
    return pose


def nearest_point_to_axes(centres: Array, axes: Array) -> Array:
    """The point (3,) closest to all optical axes, robustly (three rounds of reweighting).

    centres (n, 3), axes (n, 3) unit. Where the axes are so nearly parallel that the point is not
    determined, a weak pull keeps it in front of the cameras, at twice their spread.
    """
    spread = float(np.linalg.norm(centres - centres.mean(0), axis=1).mean())
    prior = centres.mean(0) + axes.mean(0) * 2.0 * max(spread, 1e-9)
    weights = np.ones(len(centres))
    point = prior
    for _ in range(3):
        across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
        a = (weights[:, None, None] * across).sum(0) + 1e-3 * weights.sum() * np.eye(3)
        b = (weights[:, None, None] * across @ centres[:, :, None]).sum(0)[:, 0]
        point = np.linalg.solve(a, b + 1e-3 * weights.sum() * prior)
        miss = np.linalg.norm((across @ (point - centres)[:, :, None])[:, :, 0], axis=1)
        weights = 1.0 / (miss + 0.1 * np.median(miss) + 1e-9)
        weights /= weights.mean()
    return point


def axes_meet(centres: Array, axes: Array, focus: Array) -> bool:
    """Whether the optical axes say by themselves how far the point nearest to them is.

    They don't where they are parallel but for a shaky hand, as along a front: by how much they miss the
    point, and how little they differ, it could be anywhere.
    """
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    miss = np.median(np.linalg.norm((across @ (focus - centres)[:, :, None])[:, :, 0], axis=1))
    least = max(float(np.linalg.eigvalsh(across.mean(0))[0]), 1e-12)  # sin² of how far the axes spread
    distance = np.median(np.linalg.norm(focus - centres, axis=1))
    return bool(miss / np.sqrt(len(centres) * least) < UNCERTAIN * distance)


def looked_at(centres: Array, axes: Array, focus: Array) -> bool:
    """Whether cameras stand around or before the focus and look at it, by the mean cosine."""
    toward = focus - centres
    distance = np.maximum(np.linalg.norm(toward, axis=1), 1e-12)
    return bool(((toward * axes).sum(1) / distance).mean() > 0.5)


def look_one_way(axes: Array) -> bool:
    """Whether all cameras look about the same way, as before a front or along a street."""
    return bool(np.linalg.norm(axes.mean(0)) >= ONE_WAY)


def walks_ahead(centres: Array, axes: Array) -> bool:
    """Whether cameras were carried where they look, as along a street: what they look at is passed by."""
    if not look_one_way(axes):
        return False
    ahead = axes.mean(0) / np.linalg.norm(axes.mean(0))
    moved = centres - centres.mean(0)
    along = moved @ ahead
    across = moved - along[:, None] * ahead
    return bool(np.linalg.norm(along) > 2 * np.linalg.norm(across))


def up_direction(views: Sequence[View]) -> Array:
    """The cameras' common up (3,), unit: the mean of -y, made orthogonal to a common plane of x."""
    rotations = np.stack([v.world_from_cam[:3, :3] for v in views])
    mean_up = -rotations[:, :, 1].mean(0)
    # People tilt a camera up and down but hold it level: up is what all x axes are orthogonal to.
    x = rotations[:, :, 0]
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    level = vectors[:, 0] * np.sign(vectors[:, 0] @ mean_up or 1.0)
    upright = level @ mean_up > 0.5 * np.linalg.norm(mean_up)  # short where cameras look down all round
    agree = values[1] > 0.05 and values[0] < 0.25 * values[1] and upright
    up = level if agree else mean_up
    norm = float(np.linalg.norm(up))
    return up / norm if norm > 1e-6 else np.array([0.0, 0.0, 1.0])


def rotation_to_z(up: Array) -> Array:
    """A rotation (3, 3) that takes the unit vector ``up`` to +z."""
    z = np.array([0.0, 0.0, 1.0])
    v, c = np.cross(up, z), float(up @ z)
    if c < -0.999999:
        return np.diag([1.0, -1.0, -1.0])
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + c)


def point_depths(posed: PosedCapture) -> Array:
    """Depth (m,) along the optical axis of every sparse point in every photo that frames it."""
    out = []
    for v in posed.views:
        cam = (posed.points - v.world_from_cam[:3, 3]) @ v.world_from_cam[:3, :3]
        z = cam[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            u = cam[:, 0] / z * v.intrinsics.fx + v.intrinsics.cx
            w = cam[:, 1] / z * v.intrinsics.fy + v.intrinsics.cy
        inside = (z > 0) & (u > 0) & (u < v.intrinsics.width) & (w > 0) & (w < v.intrinsics.height)
        out.append(z[inside])
    return np.concatenate(out) if out else np.zeros(0)


def place(posed: PosedCapture, subject_radius: float | None = None) -> Placement:
    """Scene coordinates from the cameras and the sparse points alone.

    Where the cameras look at one thing from around or before it, that is the centre. Where they don't (a walk
    along a front, a room from its middle), the sparse points say where things are, and how large all is.
    ``subject_radius``, in world units, is known for cut-out photos: everything lies within it of the
    point that the cameras look at, and the scene is bounded.
    """
    centres = np.stack([v.world_from_cam[:3, 3] for v in posed.views])
    axes = np.stack([v.world_from_cam[:3, 2] for v in posed.views])
    rotation = rotation_to_z(up_direction(posed.views))
    focus = nearest_point_to_axes(centres, axes)
    if subject_radius is not None:
        scale = 1.0 / subject_radius
        near = 0.05
    else:
        distance = float(np.median(np.linalg.norm(centres - focus, axis=1)))
        scale = CAMERA_DISTANCE / max(distance, 1e-12)
        one_subject = axes_meet(centres, axes, focus) and looked_at(centres, axes, focus)
        if not one_subject and len(posed.points) >= FEW_POINTS:
            focus = np.median(posed.points, axis=0)
            reach = np.abs((posed.points - focus) @ rotation.T).max(1)
            scale = 1.0 / max(float(np.percentile(reach, POINTS_WITHIN)), 1e-12)
        near = NEAR_FRACTION * CAMERA_DISTANCE
        if len(posed.points):
            depths = point_depths(posed)
            if len(depths) > 100:
                near = float(np.clip(0.7 * np.percentile(depths, 0.5) * scale, 0.05, near))
    m = np.eye(4)
    m[:3, :3] = scale * rotation
    m[:3, 3] = -scale * rotation @ focus
    return Placement(scene_from_world=m, unbounded=subject_radius is None, near=near)


# Nothing is looked for closer to a camera than this fraction of its distance to the subject, unless
# the sparse points say that something is there.
NEAR_FRACTION = 1.0 / 3.0

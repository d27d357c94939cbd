"""Camera algebra: scaling intrinsics, transforming poses, and finding where the subject is.

``place`` chooses the scene coordinates: its ``scene_from_world`` maps the subject into [-1, 1]³, with the
cameras' common up direction along +z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nerfscene.types import Array, Intrinsics, PosedCapture, View

# Unbounded scenes: median distance, in scene units, of the cameras from the subject's centre. This gives the
# subject the uncontracted part of space, and the cameras still see all of it.
CAMERA_DISTANCE = 1.5
# Largest standard error of the point where the optical axes meet, as a fraction of its distance.
UNCERTAIN = 0.2
# If the photos don't all look at one point, the uncontracted part of space gets this percentage of the sparse
# points.
POINTS_WITHIN = 60.0
ONE_WAY = 0.8  # least length of the mean of unit axes for cameras that look about the same way
FEW_POINTS = 100  # fewer sparse points don't show reliably where things are
# Without sparse points that come closer, nothing is expected nearer to a camera than this fraction of its
# distance to the subject.
NEAR_FRACTION = 1.0 / 3.0


@dataclass(frozen=True)
class Placement:
    """Scene coordinates for a capture.

    ``scene_from_world`` is a similarity (4, 4). ``unbounded``: the scene continues beyond [-1, 1]³. ``near``
    is the distance from a camera, in scene units, at which rays start.
    """

    scene_from_world: Array
    unbounded: bool
    near: float


def scaled(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """The same lens for the picture resized to ``width`` × ``height`` pixels, centres at half-integers."""
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
    """Vertical field of view, in radians, of the picture without distortion."""
    return float(2 * np.arctan(intrinsics.height / 2 / intrinsics.fy))


def similarity_scale(m: Array) -> float:
    """Scale factor of a similarity transform (4, 4)."""
    return float(np.cbrt(np.linalg.det(m[:3, :3])))


def pose_in_scene(scene_from_world: Array, world_from_cam: Array) -> Array:
    """The rigid camera pose scene_from_cam (4, 4), in scene units, from ``world_from_cam`` in world units."""
    pose = scene_from_world @ world_from_cam
    pose[:3, :3] /= similarity_scale(scene_from_world)
    return pose


def nearest_point_to_axes(centres: Array, axes: Array) -> Array:
    """The point (3,) closest to all optical axes: least squares, reweighted three times against outliers.

    centres (n, 3): camera centres; axes (n, 3): unit viewing directions. A weak prior keeps the point in
    front of the cameras, at twice their spread, when the axes are too nearly parallel to determine it.
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
    """Whether the optical axes alone determine how far away ``focus`` is, the point nearest to them.

    centres (n, 3), axes (n, 3) unit, focus (3,). They don't if they are parallel except for a shaky hand, as
    in a walk along a façade: the standard error of the distance is then larger than UNCERTAIN of it.
    """
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    miss = np.median(np.linalg.norm((across @ (focus - centres)[:, :, None])[:, :, 0], axis=1))
    spread = max(float(np.linalg.eigvalsh(across.mean(0))[0]), 1e-12)  # sin² of the axes' angular spread
    distance = np.median(np.linalg.norm(focus - centres, axis=1))
    return bool(miss / np.sqrt(len(centres) * spread) < UNCERTAIN * distance)


def looked_at(centres: Array, axes: Array, focus: Array) -> bool:
    """Whether the cameras look towards ``focus``: on average, the cosine of the angle to it exceeds 0.5.

    centres (n, 3), axes (n, 3) unit, focus (3,).
    """
    toward = focus - centres
    distance = np.maximum(np.linalg.norm(toward, axis=1), 1e-12)
    return bool(((toward * axes).sum(1) / distance).mean() > 0.5)


def look_one_way(axes: Array) -> bool:
    """Whether all cameras look about the same way, as in front of a façade; axes (n, 3) unit."""
    return bool(np.linalg.norm(axes.mean(0)) >= ONE_WAY)


def walks_ahead(centres: Array, axes: Array) -> bool:
    """Whether the cameras moved in the direction they look, as on a walk along a street.

    centres (n, 3), axes (n, 3) unit.
    """
    if not look_one_way(axes):
        return False
    ahead = axes.mean(0) / np.linalg.norm(axes.mean(0))
    moved = centres - centres.mean(0)
    along = moved @ ahead
    across = moved - along[:, None] * ahead
    return bool(np.linalg.norm(along) > 2 * np.linalg.norm(across))


def up_direction(views: Sequence[View]) -> Array:
    """The cameras' common up direction (3,), unit, in world axes.

    It is the direction orthogonal to all x axes if they lie in one plane, otherwise the mean of the -y axes.
    """
    rotations = np.stack([v.world_from_cam[:3, :3] for v in views])
    mean_up = -rotations[:, :, 1].mean(0)
    # People tilt a camera up and down but hold it level, so up is orthogonal to all x axes.
    x = rotations[:, :, 0]
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    level = vectors[:, 0] * np.sign(vectors[:, 0] @ mean_up or 1.0)
    # Relative to its length: mean_up is short when cameras all around look down.
    upright = level @ mean_up > 0.5 * np.linalg.norm(mean_up)
    agree = values[1] > 0.05 and values[0] < 0.25 * values[1] and upright
    up = level if agree else mean_up
    norm = float(np.linalg.norm(up))
    return up / norm if norm > 1e-6 else np.array([0.0, 0.0, 1.0])


def rotation_to_z(up: Array) -> Array:
    """A rotation (3, 3) that maps the unit vector ``up`` (3,) to +z."""
    z = np.array([0.0, 0.0, 1.0])
    v, c = np.cross(up, z), float(up @ z)
    if c < -0.999999:
        return np.diag([1.0, -1.0, -1.0])
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + c)


def point_depths(posed: PosedCapture) -> Array:
    """Depths (m,) of the sparse points, along the optical axis and in world units.

    A point counts once for every photo whose picture contains its projection (distortion ignored).
    """
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
    """Scene coordinates, from the cameras and the sparse points alone.

    If the cameras look at one subject, it is the centre. If they don't (a walk along a façade, a room seen
    from its middle), the sparse points give the centre and the scale.
    ``subject_radius``, in world units, is known for cut-out photos: everything lies within that distance of
    the point that the cameras look at, and the scene is bounded.
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

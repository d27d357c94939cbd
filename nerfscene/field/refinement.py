"""Refines the photos' cameras during training, to correct errors that COLMAP left or a phone made.

The kernels sum up the loss's gradient for each photo's camera over some steps (``refine.h`` in
``cuda_ext/include``). Here these gradients become changes of pose, one for each photo, and of lens, one for
all photos that share it. Changes that would only move, rotate or scale the whole capture are removed. Views
that are not trained on follow the trained ones next to them, because cameras drift together, neighbours most
of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale
from nerfscene.field.rendering import kernel_camera
from nerfscene.loading import loading
from nerfscene.types import Array, Intrinsics, View

CAMERA_GRADIENT = 15  # numbers that the kernels compute for each camera, see refine.h
LENS = 5  # a lens's changes: log focal length, cx and cy in focal lengths, first two radial coefficients
BETA1, BETA2 = 0.9, 0.99  # Adam's
SHARED_BY = 5  # photos: a lens that fewer photos share is not changed

NEIGHBOURS = 4  # trained cameras whose changes an untrained one follows
TURN_AS_FAR = 1.5  # scene units: a rotation by one radian counts as much as this distance

Floats = NDArray[np.float32]


@dataclass
class CameraFit:
    """How far cameras have moved from where they started, and Adam's state.

    views: the training photos with their original cameras
    poses: (photos, 6), a rotation about the camera's centre (rotation vector, radians, scene axes), then a
        shift of the centre (scene units)
    lenses: (lenses, 5), see LENS
    pose_moments, lens_moments: (photos, 2, 6), (lenses, 2, 5)
    gradients: (photos, 15), to which the kernels add theirs
    lens_of: (photos,), index of each photo's lens
    gauge: (7 or fewer, photos · 6), orthonormal, see ``gauge_directions``
    """

    views: tuple[View, ...]
    scene_from_world: Array
    poses: Floats
    lenses: Floats
    pose_moments: Floats
    lens_moments: Floats
    gradients: Floats
    lens_of: NDArray[np.int64]
    gauge: Array


def start_fit(views: Sequence[View], scene_from_world: Array) -> CameraFit:
    """A fit in which no camera has moved yet."""
    n = len(views)
    lenses = list(dict.fromkeys(v.intrinsics for v in views))
    lens_of = np.array([lenses.index(v.intrinsics) for v in views])
    centres = np.stack([pose_in_scene(scene_from_world, v.world_from_cam)[:3, 3] for v in views])
    return CameraFit(
        views=tuple(views),
        scene_from_world=scene_from_world,
        poses=np.zeros((n, 6), np.float32),
        lenses=np.zeros((len(lenses), LENS), np.float32),
        pose_moments=np.zeros((n, 2, 6), np.float32),
        lens_moments=np.zeros((len(lenses), 2, LENS), np.float32),
        gradients=np.zeros((n, CAMERA_GRADIENT), np.float32),
        lens_of=lens_of,
        gauge=gauge_directions(centres),
    )


def gauge_directions(centres: Array) -> Array:
    """Changes of poses (at most 7, n · 6) that shift, rotate or scale the whole capture, as orthonormal rows.

    centres (n, 3). There are fewer than 7 rows if the cameras' positions make some of these changes equal.
    """
    n = len(centres)
    out = np.zeros((7, n, 6))
    around = centres - centres.mean(0)
    for a in range(3):
        axis = np.eye(3)[a]
        out[a, :, 3 + a] = 1
        out[3 + a, :, a] = 1
        out[3 + a, :, 3:] = np.cross(axis, around)
    out[6, :, 3:] = around
    _, sizes, rows = np.linalg.svd(out.reshape(7, n * 6), full_matrices=False)
    return np.asarray(rows[sizes > 1e-6 * sizes.max()])


def update(fit: CameraFit, rate: float) -> None:
    """One step of Adam with learning rate ``rate`` along the summed gradients, which are then cleared.

    Focal lengths and principal points change by fractions of a focal length, so that all parts of a camera
    move its rays by about the same amount. If the gradients are not finite, nothing moves.
    """
    g = np.asarray(fit.gradients, np.float64)
    if not g.any() or not np.isfinite(g).all():
        fit.gradients[:] = 0
        return
    focal = np.array([(v.intrinsics.fx + v.intrinsics.fy) / 2 for v in fit.views])
    fx_fy = np.array([(v.intrinsics.fx, v.intrinsics.fy) for v in fit.views])
    by_lens = np.zeros((len(fit.lenses), LENS))
    by_photo = np.stack([(g[:, 6:8] * fx_fy).sum(1), g[:, 8] * focal, g[:, 9] * focal, g[:, 10], g[:, 11]], 1)
    np.add.at(by_lens, fit.lens_of, by_photo)
    seen = g.any(1)
    fit.poses[seen] = _adam(fit.poses, g[:, :6], fit.pose_moments, rate, seen)
    shared = np.bincount(fit.lens_of, minlength=len(fit.lenses)) >= SHARED_BY
    fit.lenses[shared] = _adam(fit.lenses, by_lens, fit.lens_moments, rate, shared)
    flat = fit.poses.reshape(-1).astype(np.float64)
    fit.poses[:] = (flat - fit.gauge.T @ (fit.gauge @ flat)).reshape(fit.poses.shape)
    fit.gradients[:] = 0


def _adam(values: Floats, gradient: Array, moments: Floats, rate: float, rows: Any) -> Floats:
    m = BETA1 * moments[rows, 0] + (1 - BETA1) * gradient[rows]
    v = BETA2 * moments[rows, 1] + (1 - BETA2) * gradient[rows] ** 2
    moments[rows, 0], moments[rows, 1] = m, v
    # No bias correction: at a camera's first step the corrections of the two moments cancel.
    return np.asarray(values[rows] - rate * m / np.sqrt(np.maximum(v, 1e-30)), np.float32)


def give_up(fit: CameraFit) -> None:
    """Puts every camera back to where it started and clears Adam's state."""
    for array in (fit.poses, fit.lenses, fit.pose_moments, fit.lens_moments, fit.gradients):
        array[:] = 0


def refined_lens(intrinsics: Intrinsics, change: Floats) -> Intrinsics:
    """Intrinsics after a change (5,), see LENS."""
    k = intrinsics
    focal = (k.fx + k.fy) / 2
    gain = float(np.exp(change[0]))
    distortion = (k.distortion[0] + float(change[3]), k.distortion[1] + float(change[4]), *k.distortion[2:])
    return replace(
        k,
        fx=k.fx * gain,
        fy=k.fy * gain,
        cx=k.cx + focal * float(change[1]),
        cy=k.cy + focal * float(change[2]),
        distortion=distortion,
    )


def moved(world_from_cam: Array, change: Array, scene_from_world: Array) -> Array:
    """A pose (4, 4) after a change (6,): a rotation about its centre and a shift, in scene axes and units."""
    with loading():
        from scipy.spatial.transform import Rotation  # not at the top: importing it takes half a second

    scale = similarity_scale(scene_from_world)
    axes = scene_from_world[:3, :3] / scale  # rotates world axes to scene axes
    out = world_from_cam.copy()
    out[:3, :3] = axes.T @ Rotation.from_rotvec(change[:3]).as_matrix() @ axes @ world_from_cam[:3, :3]
    out[:3, 3] += axes.T @ np.asarray(change[3:], np.float64) / scale
    return out


def refined_views(fit: CameraFit) -> tuple[View, ...]:
    """The training views with their refined cameras."""
    return tuple(
        replace(
            v,
            intrinsics=refined_lens(v.intrinsics, fit.lenses[lens]),
            world_from_cam=moved(v.world_from_cam, pose, fit.scene_from_world),
        )
        for v, pose, lens in zip(fit.views, fit.poses, fit.lens_of, strict=True)
    )


def standing(views: Sequence[View], scene_from_world: Array) -> Array:
    """Views' camera centres and viewing directions (n, 6), scene units, to measure distances between them."""
    poses = np.array([pose_in_scene(scene_from_world, v.world_from_cam) for v in views]).reshape(-1, 4, 4)
    return np.concatenate([poses[:, :3, 3], TURN_AS_FAR * poses[:, :3, 2]], axis=1)


def neighbours(place: Array, places: Array, count: int) -> tuple[NDArray[np.intp], Array]:
    """Indices and weights of the ``count`` places (n, 6) nearest to ``place`` (6,); the weights sum to 1.

    Places are from ``standing``; weights fall with the distance.
    """
    distance = np.linalg.norm(places - place, axis=1)
    nearest = np.argsort(distance, kind="stable")[:count]
    weights = 1 / (distance[nearest] + 1e-3)
    return nearest, weights / weights.sum()


def neighbours_changes(fit: CameraFit, views: Sequence[View]) -> Array:
    """For each view, the pose change (n, 6) that the trained cameras next to it have in common.

    It keeps the view in place among its neighbours. The mean of their changes is shrunk the more they
    disagree: then each corrects an error of its own, which is not this camera's.
    """
    trained = standing(fit.views, fit.scene_from_world)
    out = np.zeros((len(views), 6))
    for change, place in zip(out, standing(views, fit.scene_from_world), strict=True):
        nearest, weights = neighbours(place, trained, NEIGHBOURS)
        for part in (slice(0, 3), slice(3, 6)):
            changes = fit.poses[nearest, part].astype(np.float64)
            mean = weights @ changes
            # James-Stein shrinkage by the variance of the mean, for the weights' effective number of cameras.
            count = 1 / np.sum(weights**2)
            variance = weights @ np.sum((changes - mean) ** 2, axis=1) / max(count - 1, 1e-6)
            change[part] = mean * max(0.0, 1 - variance / max(float(mean @ mean), 1e-30))
    return out


def kernel_cameras(views: Sequence[View], scene_from_world: Array) -> list[tuple[Any, ...]]:
    """Views' cameras in the form that the kernels take, see ``rendering.kernel_camera``."""
    return [kernel_camera(v.intrinsics, pose_in_scene(scene_from_world, v.world_from_cam)) for v in views]


def turned(fit: CameraFit) -> float:
    """By how much cameras have rotated, radians, as a root mean square."""
    return float(np.sqrt(np.mean(np.sum(fit.poses[:, :3].astype(np.float64) ** 2, axis=1))))


def pixels_moved(fit: CameraFit) -> float:
    """How many pixels of the photos a far point has moved by, because cameras rotated: root mean square."""
    focal = np.array([(v.intrinsics.fx + v.intrinsics.fy) / 2 for v in fit.views])
    return float(np.sqrt(np.mean((focal[:, None] * fit.poses[:, :3]) ** 2) * 3))

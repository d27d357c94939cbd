"""Cameras that move a little while the field is trained: what COLMAP left over, or a phone got wrong.

The kernels sum up the loss's gradient for every photo's camera over some steps (``refine.h`` in
``cuda_ext/include``); here they become changes of pose, one for each photo, and of lens, one for all photos
that share it. What would only move, turn or scale the whole capture is taken out, and views that are not
trained on follow the trained ones next to them: cameras drift together, neighbours most of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale
from nerfscene.field.rendering import kernel_camera
from nerfscene.types import Array, Intrinsics, View

CAMERA_GRADIENT = 15  # numbers that the kernels give for each camera, see refine.h
LENS = 5  # log of the focal length, cx and cy as parts of it, and the first two radial coefficients
BETA1, BETA2 = 0.9, 0.99
SHARED_BY = 5  # photos: a lens that fewer have in common stays as it is

NEIGHBOURS = 4  # whose changes an untrained camera follows
TURN_AS_FAR = 1.5  # scene units: turning by a radian sets cameras apart by about as much as that

Floats = NDArray[np.float32]


@dataclass
class CameraFit:
    """How far cameras have moved from where they started, and what Adam remembers.

    poses: (photos, 6), a turn about the camera's centre (radians, rotation vector, scene axes), then the
    centre's shift (scene units). lenses: (lenses, 5), as LENS says. pose_moments (photos, 2, 6) and
    lens_moments (lenses, 2, 5). gradients: (photos, 15), where the kernels add theirs. lens_of: (photos,),
    each photo's lens. gauge: (7, photos · 6), orthonormal: what moves all cameras as one.
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


def start_fit(views: Sequence[View], scene_from_world: Array, gradients: Floats | None = None) -> CameraFit:
    """Cameras that have not moved. ``gradients``: (photos, 15) zeros where the kernels reach them."""
    n = len(views)
    lenses = list(dict.fromkeys(v.intrinsics for v in views))
    lens_of = np.array([lenses.index(v.intrinsics) for v in views])
    if gradients is None:
        gradients = np.zeros((n, CAMERA_GRADIENT), np.float32)
    centres = np.stack([pose_in_scene(scene_from_world, v.world_from_cam)[:3, 3] for v in views])
    return CameraFit(
        views=tuple(views),
        scene_from_world=scene_from_world,
        poses=np.zeros((n, 6), np.float32),
        lenses=np.zeros((len(lenses), LENS), np.float32),
        pose_moments=np.zeros((n, 2, 6), np.float32),
        lens_moments=np.zeros((len(lenses), 2, LENS), np.float32),
        gradients=gradients,
        lens_of=lens_of,
        gauge=gauge_directions(centres),
    )


def gauge_directions(centres: Array) -> Array:
    """Changes of poses (at most 7, n · 6) that shift, turn or scale all of them as one; orthonormal rows.

    centres (n, 3). Fewer than 7 where cameras stand so that some of those are the same.
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
    """One step of Adam, ``rate`` long, along the gradients summed up so far, which are cleared.

    Focal lengths move by ``rate`` of themselves and principal points by ``rate`` of a focal length, so that
    all parts of a camera move its rays by about as much.
    """
    g = np.asarray(fit.gradients, np.float64)
    if not g.any() or not np.isfinite(g).all():
        fit.gradients[:] = 0
        return
    focal = np.array([(v.intrinsics.fx + v.intrinsics.fy) / 2 for v in fit.views])
    both = np.array([(v.intrinsics.fx, v.intrinsics.fy) for v in fit.views])
    by_lens = np.zeros((len(fit.lenses), LENS))
    mine = np.stack([(g[:, 6:8] * both).sum(1), g[:, 8] * focal, g[:, 9] * focal, g[:, 10], g[:, 11]], 1)
    np.add.at(by_lens, fit.lens_of, mine)
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
    # At a camera's first step the two corrections for the zeros that moments start with cancel.
    return np.asarray(values[rows] - rate * m / np.sqrt(np.maximum(v, 1e-30)), np.float32)


def give_up(fit: CameraFit) -> None:
    """Puts every camera back where it started."""
    for array in (fit.poses, fit.lenses, fit.pose_moments, fit.lens_moments, fit.gradients):
        array[:] = 0


def refined_lens(intrinsics: Intrinsics, change: Floats) -> Intrinsics:
    """A lens after a change, (5,) as LENS says."""
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
    """A pose (4, 4) after a change (6,): a turn about its centre and a shift, in scene axes and units."""
    from scipy.spatial.transform import Rotation  # not at the top: it takes half a second

    scale = similarity_scale(scene_from_world)
    turn = scene_from_world[:3, :3] / scale  # world axes → scene axes
    out = world_from_cam.copy()
    out[:3, :3] = turn.T @ Rotation.from_rotvec(change[:3]).as_matrix() @ turn @ world_from_cam[:3, :3]
    out[:3, 3] += turn.T @ np.asarray(change[3:], np.float64) / scale
    return out


def refined_views(fit: CameraFit) -> tuple[View, ...]:
    """The views with their cameras where they have moved to."""
    return tuple(
        replace(
            v,
            intrinsics=refined_lens(v.intrinsics, fit.lenses[lens]),
            world_from_cam=moved(v.world_from_cam, pose, fit.scene_from_world),
        )
        for v, pose, lens in zip(fit.views, fit.poses, fit.lens_of, strict=True)
    )


def standing(views: Sequence[View], scene_from_world: Array) -> Array:
    """Where views stand and look, (n, 6): centres and directions, so that both set views apart as much."""
    poses = np.array([pose_in_scene(scene_from_world, v.world_from_cam) for v in views]).reshape(-1, 4, 4)
    return np.concatenate([poses[:, :3, 3], TURN_AS_FAR * poses[:, :3, 2]], axis=1)


def neighbours(place: Array, places: Array, count: int) -> tuple[NDArray[np.intp], Array]:
    """Which ``count`` of the places (n, 6) are nearest to a place (6,), and their weights, of sum 1."""
    apart = np.linalg.norm(places - place, axis=1)
    nearest = np.argsort(apart, kind="stable")[:count]
    weights = 1 / (apart[nearest] + 1e-3)
    return nearest, weights / weights.sum()


def neighbours_changes(fit: CameraFit, views: Sequence[View]) -> Array:
    """How the trained cameras next to each view's moved, (n, 6): what it takes to keep its place among them.

    Only as far as they agree: what each had to move by itself, for its own mistake, averages to something
    that is not this camera's.
    """
    trained = standing(fit.views, fit.scene_from_world)
    out = np.zeros((len(views), 6))
    for change, place in zip(out, standing(views, fit.scene_from_world), strict=True):
        nearest, weights = neighbours(place, trained, NEIGHBOURS)
        for part in (slice(0, 3), slice(3, 6)):
            changes = fit.poses[nearest, part].astype(np.float64)
            mean = weights @ changes
            # The mean's own variance, of as many cameras as the weights come to: James and Stein's shrinking.
            count = 1 / np.sum(weights**2)
            variance = weights @ np.sum((changes - mean) ** 2, axis=1) / max(count - 1, 1e-6)
            change[part] = mean * max(0.0, 1 - variance / max(float(mean @ mean), 1e-30))
    return out


def kernel_cameras(views: Sequence[View], scene_from_world: Array) -> list[tuple[Any, ...]]:
    """Views' cameras as the kernels take them."""
    return [kernel_camera(v.intrinsics, pose_in_scene(scene_from_world, v.world_from_cam)) for v in views]


def turned(fit: CameraFit) -> float:
    """By how much cameras have turned, radians: root mean square."""
    return float(np.sqrt(np.mean(np.sum(fit.poses[:, :3].astype(np.float64) ** 2, axis=1))))


def pixels_moved(fit: CameraFit) -> float:
    """How far cameras have moved, as the pixels of the photos that a far point moves by: root mean square."""
    focal = np.array([(v.intrinsics.fx + v.intrinsics.fy) / 2 for v in fit.views])
    return float(np.sqrt(np.mean((focal[:, None] * fit.poses[:, :3]) ** 2) * 3))

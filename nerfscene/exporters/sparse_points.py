"""The sparse model's points in an export's world, with their colours and the photos that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import scaled
from nerfscene.cameras.lens_fit import projection
from nerfscene.exporters.shots import Shot
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import Renderer, render
from nerfscene.scene.scene import Scene
from nerfscene.types import Array, Camera, Intrinsics

LOOKED_AT = 160  # pixels, the longer side of the pictures that tell what hides what
SAME_DEPTH = 0.04  # relative difference of a point's distance from that of the surface that hides nothing
GREY = 128  # of points that no photo shows
AHEAD = 1e-6


@dataclass(frozen=True)
class SparsePoints:
    """Points, and where photos show them.

    positions: (n, 3), world. colours: (n, 3). seen: of each shot, the indices (m,) of the points that it
    shows. pixels: of each shot, where (m, 2), in its picture's pixels.
    """

    positions: Array
    colours: NDArray[np.uint8]
    seen: tuple[NDArray[np.int64], ...]
    pixels: tuple[Array, ...]


def sparse_points(scene: Scene, shots: Sequence[Shot], renderer: Renderer, told: Told) -> SparsePoints:
    """The points of the scene that lie within its crop, and which shots show them.

    A scene doesn't keep in which photos COLMAP found a point. So the pictures that the field gives from the
    shots' cameras say in which it is not hidden, and what colour it has there; its place in a photo is its
    projection. renderer: of the whole scene, without its crop.
    """
    world_from_scene = np.linalg.inv(scene.scene_from_world)
    positions = scene.points.astype(np.float64) @ world_from_scene[:3, :3].T + world_from_scene[:3, 3]
    if scene.crop is not None and len(positions):
        box = np.linalg.inv(scene.crop)
        inside = (np.abs(positions @ box[:3, :3].T + box[:3, 3]) <= 1).all(1)
        if not inside.all():
            told.warn(
                f"{(~inside).sum():,} of {len(inside):,} sparse points lie outside the crop and are left "
                "out; the photos show all of the scene"
            )
        positions = positions[inside]
    sums, counts = np.zeros((len(positions), 3)), np.zeros(len(positions))
    seen, pixels = [], []
    for i, shot in enumerate(shots):
        told.progress("looking for the points in the photos", i / len(shots))
        index, at, colours = _shown(shot, positions, renderer)
        sums[index] += colours
        counts[index] += 1
        seen.append(index)
        pixels.append(at)
    mean = np.where(counts[:, None] > 0, 255 * sums / np.maximum(counts, 1)[:, None], GREY)
    return SparsePoints(positions, mean.round().clip(0, 255).astype(np.uint8), tuple(seen), tuple(pixels))


def _shown(shot: Shot, positions: Array, renderer: Renderer) -> tuple[NDArray[np.int64], Array, Array]:
    """The points that a shot shows: their indices (m,), pixels (m, 2) and colours (m, 3), 0…1."""
    k = shot.lens
    index, at, distance = projected(k, shot.world_from_cam, positions)
    if not len(index):
        return index, at, np.zeros((0, 3))
    shrink = min(LOOKED_AT / max(k.width, k.height), 1.0)
    small = scaled(k, max(round(k.width * shrink), 2), max(round(k.height * shrink), 2))
    frame = render(renderer, Camera(small, shot.world_from_cam))
    cell = np.floor(at * [small.width / k.width, small.height / k.height]).astype(int)
    column, row = np.clip(cell[:, 0], 0, small.width - 1), np.clip(cell[:, 1], 0, small.height - 1)
    surface = frame.depth[row, column]
    clear = (frame.accumulation[row, column] > 0.5) & (np.abs(distance - surface) <= SAME_DEPTH * surface)
    return index[clear], at[clear], frame.rgb[row, column][clear].astype(np.float64)


def projected(
    k: Intrinsics, world_from_cam: Array, positions: Array
) -> tuple[NDArray[np.int64], Array, Array]:
    """The points (n, 3) that lie within a picture: their indices (m,), pixels (m, 2) and distances (m,)."""
    local = (positions - world_from_cam[:3, 3]) @ world_from_cam[:3, :3]
    distance = np.linalg.norm(local, axis=1)
    plain = replace(k, distortion=(0.0,) * 5)
    if k.lens == "fisheye":
        radius = np.hypot(local[:, 0], local[:, 1])
        angle = np.arctan2(radius, local[:, 2])
        base = local[:, :2] * (angle / np.maximum(radius, 1e-12))[:, None]
        ahead = (distance > AHEAD) & (angle < np.pi)
    else:
        ahead = local[:, 2] > AHEAD * np.maximum(distance, AHEAD)
        base = local[:, :2] / np.where(ahead, local[:, 2], 1.0)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        at, straight = projection(k)(base), projection(plain)(base)
        inside = ahead & (at >= 0).all(1) & (at[:, 0] < k.width) & (at[:, 1] < k.height)
        # Far outside of the picture, a lens's polynomial may come back into it.
        near = (np.abs(straight - [k.width / 2, k.height / 2]) < [k.width, k.height]).all(1)
    index = np.flatnonzero(inside & near)
    return index, at[index], distance[index]

"""Where light goes through a thin lens, for each kind of lens, and pictures of lenses that see round them.

Each picture of a frame is taken through another point of the aperture, so that what is in focus stays in its
place and all else moves; ``shutter`` makes the mean of them.

- perspective: the camera moves sideways, and its picture against it. In focus is a plane.
- orthographic: as with a telecentric lens, the aperture is the same for every ray, so all rays of a picture
  stay parallel and are only slanted. In focus is a plane.
- fisheye, equirectangular, stereo180: the aperture lies across each ray, since a lens that sees behind itself
  can't lie in one plane, and in focus is a sphere about the camera, or about each eye. Blender's Cycles
  blurs its panoramic cameras so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene, scaled, similarity_scale
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import (
    MIN_WEIGHT,
    RAYS_A_CALL,
    STOP_TRANSMITTANCE,
    Renderer,
    behind,
    brighten,
    crop_in_scene,
    dimmed,
    rays_through,
    render,
)
from nerfscene.films.lens import ROUND, Lens
from nerfscene.ops import backend
from nerfscene.types import Array, Camera, Frame

MOST_RAYS = 1 << 18  # at once: each takes about 150 bytes
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Across:
    """A picture through a point of an aperture that lies across each ray.

    place: (2,), world units, of that point: to the right and down as seen along the ray. focus: how far along
    each ray it is sharp, world units.
    """

    camera: Camera
    place: Array
    focus: float


Shot = Camera | Across


def through_lens(lens: Lens, camera: Camera, place: Array) -> Shot:
    """The camera's picture through a point of the lens: what is in focus stays in its place.

    place: (2,), in a disc of diameter 1, to the right and down.
    """
    k, distance = camera.intrinsics, lens.distance(camera)
    x, y = lens.diameter(k, distance) * place
    if k.lens in ROUND:
        return Across(camera, np.array([x, y]), distance)
    pose = np.array(camera.world_from_cam, np.float64)
    right, down, ahead = pose[:3, 0], pose[:3, 1], pose[:3, 2]
    pose[:3, 3] += right * x + down * y
    if k.lens == "orthographic":
        slanted = ahead * distance - right * x - down * y
        pose[:3, 2] = slanted / np.linalg.norm(slanted)
        return Camera(k, pose)
    return Camera(replace(k, cx=k.cx + k.fx * x / distance, cy=k.cy + k.fy * y / distance), pose)


def refuse_lens(camera: Camera) -> None:
    """Raises NerfsceneError for a camera with whose lens no depth of field can be shown."""
    k = camera.intrinsics
    if k.lens == "perspective" and any(k.distortion):
        raise NerfsceneError(
            "--aperture is for lenses without distortion, and this path has one with it: leave it out"
        )


def nudged(shot: Shot, by: Array) -> Shot:
    """The picture moved by a part of a pixel, (2,), unless it has two halves."""
    if isinstance(shot, Across):
        camera = nudged(shot.camera, by)
        assert isinstance(camera, Camera)
        return replace(shot, camera=camera)
    k = shot.intrinsics
    if k.lens == "stereo180":
        return shot
    return replace(shot, intrinsics=replace(k, cx=k.cx + float(by[0]), cy=k.cy + float(by[1])))


def size_of(shot: Shot) -> tuple[int, int]:
    """The picture's (width, height)."""
    k = shot.camera.intrinsics if isinstance(shot, Across) else shot.intrinsics
    return k.width, k.height


def shown(renderer: Renderer, shot: Shot, samples: int) -> Frame:
    """The picture, with ``samples`` rays along a pixel's side; it has no depth if it is ``Across``."""
    return (
        render(renderer, shot, samples)
        if isinstance(shot, Camera)
        else _shown_across(renderer, shot, samples)
    )


def _shown_across(renderer: Renderer, shot: Across, samples: int) -> Frame:
    """The picture through a point of an aperture across each ray; its depth is (0,). Made in strips."""
    k, n = shot.camera.intrinsics, samples
    fine = scaled(k, k.width * n, k.height * n)
    pose = pose_in_scene(renderer.scene_from_world, shot.camera.world_from_cam)
    scale = similarity_scale(renderer.scene_from_world)
    at_once = min(RAYS_A_CALL * backend.thread_count(renderer.threads), MOST_RAYS)
    rows = max(at_once // (fine.width * n), 1)
    rgb, accumulation = (
        np.empty((k.height, k.width, 3), np.float32),
        np.empty((k.height, k.width), np.float32),
    )
    for first in range(0, k.height, rows):
        last = min(first + rows, k.height)
        every = np.ones(((last - first) * n, fine.width), bool)
        origins, directions = rays_through(renderer, fine, pose, every, (first * n, last * n, 0, fine.width))
        begin, toward = refocused(origins, directions, pose, scale * shot.place, scale * shot.focus)
        light, opaque = _traced(renderer, begin, toward)
        shape = (last - first, n, k.width, n)
        rgb[first:last] = light.reshape(*shape, 3).mean((1, 3))
        accumulation[first:last] = opaque.reshape(shape).mean((1, 3))
    return Frame(rgb, np.zeros(0, np.float32), accumulation)


def refocused(
    origins: Floats, directions: Floats, pose: Array, place: Array, focus: float
) -> tuple[Floats, Floats]:
    """Rays that begin at ``place`` of an aperture across each ray, and meet it again at a distance.

    origins, directions: (n, 3), unit; pose: scene_from_cam (4, 4). place: (2,), along the camera's x and y
    axes as the shortest turn from its z axis to the ray takes them; focus: the distance; both in the rays'
    units.
    """
    x, y, z = pose[:3, :3].T.astype(np.float32)
    offset = np.float32(place[0]) * x + np.float32(place[1]) * y
    # The turn of a vector v across z: v - (d · v) / (1 + d · z) (d + z). Straight behind, any will do.
    share = (directions @ offset) / np.maximum(1 + directions @ z, np.float32(1e-6))
    across = offset - share[:, None] * (directions + z)
    toward = directions * np.float32(focus) - across
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    return origins + across, toward


def _traced(renderer: Renderer, origins: Floats, directions: Floats) -> tuple[Floats, Floats]:
    """Colours (n, 3), with what is behind the scene, and accumulations (n,) along rays in scene units."""
    n = len(origins)
    rgb, depth, accumulation = np.empty((n, 3), np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    backdrop = renderer.shown_backdrop
    back = (
        np.tile(np.asarray(renderer.background, np.float32), (n, 1))
        if backdrop is None
        else np.ascontiguousarray(behind(backdrop, directions))
    )
    with backend.device_errors():
        renderer.native.trace(
            origins, directions, np.full(n, 0.5, np.float32), dimmed(renderer, back), MIN_WEIGHT,
            STOP_TRANSMITTANCE, 1.0, rgb, depth, accumulation, threads=backend.thread_count(renderer.threads),
            crop=crop_in_scene(renderer),
        )  # fmt: skip
    brighten(renderer, rgb)
    return rgb, accumulation

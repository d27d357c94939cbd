"""A scene in other world coordinates: which way is up, where the origin is, how long a unit.

COLMAP's world is turned, placed and scaled at will. A person sets it right by pointing; from then on
``world_from_capture`` (a similarity) is kept with the scene, whose world has +z up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene, rotation_to_z
from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.types import Array

LEAST_SINE = 0.02  # of an angle in a triangle of floor points: about 1°


@dataclass(frozen=True)
class Kept:
    """What a person set by hand, in the world's coordinates, and the world: training leaves it alone."""

    world_from_capture: Array | None = None
    up: Array | None = None
    crop: Array | None = None


def in_world(scene: Scene, new_from_world: Array) -> Scene:
    """The same scene, sharing its arrays, told in coordinates that a similarity (4, 4) leads to.

    Every camera in the new world sees what it saw from the same place in the old one.
    """
    rotation = new_from_world[:3, :3] / np.cbrt(np.linalg.det(new_from_world[:3, :3]))
    before = np.eye(4) if scene.world_from_capture is None else scene.world_from_capture
    return replace(
        scene,
        views=tuple(
            replace(v, world_from_cam=pose_in_scene(new_from_world, v.world_from_cam)) for v in scene.views
        ),
        scene_from_world=scene.scene_from_world @ np.linalg.inv(new_from_world),
        crop=None if scene.crop is None else new_from_world @ scene.crop,
        world_from_capture=new_from_world @ before,
        up=None if scene.up is None else rotation @ scene.up,
    )


def kept(folder: Path) -> Kept:
    """What was set in the scene of a folder; nothing where there is no scene yet."""
    if not scenes.is_scene(folder):
        return Kept()
    data = scenes.read_manifest(folder)
    try:
        return Kept(*(scenes.optional_array(data, name) for name in ("world_from_capture", "up", "crop")))
    except (TypeError, ValueError) as error:
        raise NerfsceneError(f"{folder / scenes.SCENE_JSON} is damaged ({error}); train it again") from error


def keeping(scene: Scene, given: Kept) -> Scene:
    """A scene in the capture's own coordinates, with what was set for it."""
    if given.world_from_capture is not None:
        scene = in_world(scene, given.world_from_capture)
    return replace(scene, up=given.up, crop=given.crop)


def save_world(folder: Path, new_from_world: Array, up: Array) -> None:
    """Puts the scene of a folder into another world, whose up (3,) is known from then on.

    The field's own file stays as it is. Raises NerfsceneError as scene.load and scene.save do.
    """
    changed = replace(in_world(scenes.load(folder), new_from_world), up=up)
    data = scenes.read_manifest(folder)
    scenes.write_json({**data, **scenes.described(changed, folder)}, folder / scenes.SCENE_JSON)


def on_floor(points: Array, above: Array) -> Array:
    """new_from_world: the floor through points (3, 3) becomes z = 0, the first of them the origin.

    ``above`` (3,) is on its upper side. Scale stays. Raises NerfsceneError for points in a line.
    """
    a, b = points[1] - points[0], points[2] - points[0]
    normal = np.cross(a, b)
    size = float(np.linalg.norm(normal))
    longest = max(float(np.linalg.norm(x)) for x in (a, b, b - a))
    if not size > LEAST_SINE * longest**2:
        raise NerfsceneError("these three points lie in a line; choose three that are spread over the floor")
    normal *= (1.0 if normal @ (above - points[0]) > 0 else -1.0) / size
    return _placed(rotation_to_z(normal), points[0])


def at_origin(point: Array, up: Array) -> Array:
    """new_from_world: a point (3,) becomes the origin, ``up`` (3,) the direction +z."""
    return _placed(rotation_to_z(up / np.linalg.norm(up)), point)


def to_scale(points: Array, distance: float, up: Array) -> Array:
    """new_from_world: two points (2, 3) come to lie ``distance`` apart, ``up`` becomes +z.

    Raises NerfsceneError where they are one point or the distance is no positive number.
    """
    apart = float(np.linalg.norm(points[1] - points[0]))
    if not (apart > 0 and 0 < distance < np.inf):
        raise NerfsceneError("a scale needs two different points and the distance between them, above 0")
    m = _placed(rotation_to_z(up / np.linalg.norm(up)), np.zeros(3))
    m[:3] *= distance / apart
    return m


def _placed(rotation: Array, origin: Array) -> Array:
    m = np.eye(4)
    m[:3, :3] = rotation
    m[:3, 3] = -rotation @ origin
    return m

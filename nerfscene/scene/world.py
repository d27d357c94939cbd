"""Changes a scene's world coordinates: which way is up, where the origin is, how long a unit is.

COLMAP's world has an arbitrary rotation, origin and scale. In the viewer, a user sets them by clicking on
points. From then on ``world_from_capture`` (a similarity) is saved with the scene, and +z is up in its world.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene, rotation_to_z
from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder as scenes
from nerfscene.scene.atomic import write_json
from nerfscene.scene.folder import Scene
from nerfscene.types import Array

LEAST_SINE = 0.02  # sine of the smallest angle allowed in a triangle of floor points, about 1°


@dataclass(frozen=True)
class Kept:
    """What a user has set for a scene and training leaves unchanged, see ``Scene``."""

    world_from_capture: Array | None = None
    up: Array | None = None
    crop: Array | None = None


def in_world(scene: Scene, new_from_world: Array) -> Scene:
    """The same scene, sharing its arrays, in the world that a similarity (4, 4) maps the present one to.

    Every camera, moved along with the world, sees the same as before.
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
    """What has been set for the scene in a folder; nothing if there is no scene yet.

    Raises NerfsceneError if the scene is damaged or of another version.
    """
    if not scenes.is_scene(folder):
        return Kept()
    data = scenes.read_manifest(folder)
    try:
        return Kept(*(scenes.optional_array(data, name) for name in ("world_from_capture", "up", "crop")))
    except (TypeError, ValueError) as error:
        raise NerfsceneError(
            f"{folder / scenes.SCENE_JSON} is damaged ({error}); train it again with --overwrite"
        ) from error


def keeping(scene: Scene, given: Kept) -> Scene:
    """A scene that is in the capture's own coordinates, changed to what has been set for it."""
    if given.world_from_capture is not None:
        scene = in_world(scene, given.world_from_capture)
    return replace(scene, up=given.up, crop=given.crop)


def moved(given: Kept, new_from_world: Array, up: Array) -> Kept:
    """What has been set for a scene, after its world was changed as ``save_world`` changes it."""
    before = np.eye(4) if given.world_from_capture is None else given.world_from_capture
    crop = None if given.crop is None else new_from_world @ given.crop
    return Kept(new_from_world @ before, np.asarray(up, np.float64), crop)


def save_world(folder: Path, new_from_world: Array, up: Array) -> None:
    """Changes the world of the scene in a folder, as ``in_world`` does, and sets its ``up`` (3,).

    Only scene.json is written. Raises NerfsceneError as ``folder.load`` and ``folder.save`` do.
    """
    changed = replace(in_world(scenes.load(folder), new_from_world), up=up)
    data = scenes.read_manifest(folder)
    write_json({**data, **scenes.described(changed, folder)}, folder / scenes.SCENE_JSON)


def on_floor(points: Array, above: Array) -> Array:
    """new_from_world (4, 4) by which the floor through three points (3, 3) becomes z = 0.

    The first point becomes the origin. ``above`` (3,) is a point on the floor's upper side. The scale stays
    the same. Raises NerfsceneError for points in a line.
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
    """new_from_world (4, 4) by which a point (3,) becomes the origin and ``up`` (3,) the direction +z."""
    return _placed(rotation_to_z(up / np.linalg.norm(up)), point)


def to_scale(points: Array, distance: float, up: Array) -> Array:
    """new_from_world (4, 4) by which two points (2, 3) get this distance and ``up`` becomes +z.

    Raises NerfsceneError if the points are the same or the distance is not a positive number.
    """
    current = float(np.linalg.norm(points[1] - points[0]))
    if not (current > 0 and 0 < distance < np.inf):
        raise NerfsceneError("a scale needs two different points and the distance between them, above 0")
    m = _placed(rotation_to_z(up / np.linalg.norm(up)), np.zeros(3))
    m[:3] *= distance / current
    return m


def _placed(rotation: Array, origin: Array) -> Array:
    """The pose (4, 4) that rotates by (3, 3) and maps ``origin`` (3,) to 0."""
    m = np.eye(4)
    m[:3, :3] = rotation
    m[:3, 3] = -rotation @ origin
    return m

"""The world that all exports share, so that a mesh, splats and cameras of one scene lie on each other."""

from __future__ import annotations

from typing import Literal

import numpy as np

from nerfscene.cameras.algebra import rotation_to_z, similarity_scale
from nerfscene.films.orbit import subject_of
from nerfscene.scene.scene import Scene
from nerfscene.scene.world import in_world
from nerfscene.types import Array

# (4, 4): from a world whose +z is up to one whose +y is up and whose -z leads forward, as glTF and USD have.
Y_UP_FROM_Z_UP: Array = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
USUAL_SIDES = (0.2, 200.0)  # world units: a subject's box within these needs no other scale
USUAL_SIDE = 2.0  # of a subject's box whose scale means nothing


def placed(scene: Scene, world: Literal["upright", "capture"] = "upright") -> Scene:
    """The scene, sharing its arrays, in the world in which it is exported; its crop and up move along.

    "upright": the world as set in the viewer. If none was set, +z is up, the subject's middle is the origin,
    and a unit is as long as in the capture, or, where that means nothing, such that the subject's box is 2
    wide. "capture": the coordinates in which the cameras came.
    """
    if world == "capture":
        if scene.world_from_capture is None:
            return scene
        return in_world(scene, np.linalg.inv(scene.world_from_capture).astype(np.float64))
    if scene.world_from_capture is not None:
        return scene
    return in_world(scene, _upright_from_world(scene))


def _upright_from_world(scene: Scene) -> Array:
    """The similarity (4, 4) from a scene's world, which nobody has set, to an upright one."""
    subject = subject_of(scene.views, _points_in_world(scene), scene.up)
    side = 2.0 / similarity_scale(scene.scene_from_world)
    usual = USUAL_SIDES[0] <= side <= USUAL_SIDES[1]
    scale = 1.0 if usual and scene.figures.source != "photos" else USUAL_SIDE / side
    middle = np.linalg.inv(scene.scene_from_world)[:3, 3]  # of the box that training put around the subject
    upright = np.eye(4)
    upright[:3, :3] = scale * rotation_to_z(subject.up)
    upright[:3, 3] = -upright[:3, :3] @ middle
    return upright


def _points_in_world(scene: Scene) -> Array:
    """The sparse model's points (n, 3), in world coordinates."""
    world_from_scene = np.linalg.inv(scene.scene_from_world)
    points: Array = scene.points @ world_from_scene[:3, :3].T + world_from_scene[:3, 3]
    return points

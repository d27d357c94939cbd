"""The world that all exports share, so that a mesh, splats and cameras of one scene lie on each other."""

from __future__ import annotations

from typing import Literal

import numpy as np

from nerfscene.films.export_world import upright_from_world
from nerfscene.scene.scene import Scene
from nerfscene.scene.world import in_world


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
    return in_world(scene, upright_from_world(scene))

"""Camera path files as nerfstudio and instant-ngp lay them out, and scenes to film along them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from path_cases import ring

from nerfscene.exporters.placement import placed
from nerfscene.field.hash_grid import RadianceField
from nerfscene.films.path_parts import FLIP
from nerfscene.scene.scene import Figures, Scene
from nerfscene.scene.world import in_world
from nerfscene.types import Array, View

FILMED = np.arange(0, 60, 10.0)  # degrees round the subject at which the paths' cameras stand


def frame_of(pose: Array, fov: float = 50.0) -> dict[str, Any]:
    return {"camera_to_world": (pose @ FLIP).ravel().tolist(), "fov": fov, "aspect": 1.5}


def positions() -> Array:
    """Where the cameras of ``save`` stand, (n, 3)."""
    return np.stack([v.world_from_cam[:3, 3] for v in ring(FILMED)])


def save(folder: Path, **changes: Any) -> Path:
    """A path as nerfstudio's viewer writes it; a change to ... leaves the entry out."""
    poses = [v.world_from_cam for v in ring(FILMED)]
    data = {
        "default_fov": 50.0,
        "default_transition_sec": 2.0,
        "keyframes": [],
        "camera_type": "perspective",
        "render_height": 400,
        "render_width": 600,
        "fps": 24,
        "seconds": 0.25,
        "is_cycle": False,
        "smoothness_value": 0.0,
        "camera_path": [frame_of(p) for p in poses],
    }
    data = {k: v for k, v in (data | changes).items() if v is not ...}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "camera_path.json"
    file.write_text(json.dumps(data))
    return file


def scene_of(folder: Path, views: Sequence[View] | None = None, source: str = "transforms") -> Scene:
    """A scene of photos in folder/images that was never trained: enough for its cameras and its world."""
    views = ring(np.arange(0, 360, 15.0)) if views is None else views
    placed = tuple(replace(v, path=folder / "images" / v.path.name) for v in views)
    no_field = cast(RadianceField, None)
    return Scene(
        no_field, placed, np.diag([0.5, 0.5, 0.5, 1]), (0.0, 0.0, 0.0), False, Figures(source=source)
    )


def exported(scene: Scene, file_from_upright: Array, world: Any = "upright") -> Array:
    """The photos' cameras (n, 4, 4) about what was exported of a scene, in a file's axes and OpenCV's.

    file_from_upright: (3, 3), the file's own axes for the upright world, whose z is up.
    """
    poses = np.stack([view.world_from_cam for view in placed(scene, world).views])
    if world == "upright":
        poses[:, :3] = file_from_upright @ poses[:, :3]
    return poses


def lying(scene: Scene) -> Scene:
    """The scene in a world that lies on its side and has another scale, as COLMAP may give it."""
    tilt, m = np.radians(35), np.eye(4)
    m[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    m[:3, :3] *= 3.0
    m[:3, 3] = (5, -7, 3)
    return replace(in_world(scene, m), world_from_capture=None)

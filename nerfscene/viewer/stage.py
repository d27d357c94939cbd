"""Where a scene stands in the page: upright, its middle, how far one stands from it; cameras put there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from nerfscene import paths
from nerfscene.filming import world_points
from nerfscene.scene import Scene
from nerfscene.types import Array, View


@dataclass(frozen=True)
class Shot:
    """A camera as a tab has it: pose, vertical field of view in radians, and its window in pixels."""

    world_from_cam: Array
    fov: float
    width: int
    height: int


@dataclass(frozen=True)
class Training:
    """What the page can ask of a training under way, and do to it."""

    figures: Callable[[], dict[str, Any]]
    pause: Callable[[bool], None]
    stop: Callable[[], None]
    save: Callable[[], None]


@dataclass
class Crop:
    """The box that is shown, the same in every tab; ``changed`` tells them."""

    world_from_box: Array | None
    changed: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Stage:
    """A scene and its place: home is the camera (4, 4) that a page opens with, distance in world units."""

    scene: Scene
    folder: Path | None
    backend: str
    training: Training | None
    up: Array
    home: Array
    distance: float
    fov: float
    focus: Array
    crop: Crop


def stage_of(scene: Scene, folder: Path | None, backend: str, training: Training | None) -> Stage:
    """The scene seen from where the photos were taken, at their distance, upright."""
    views = scene.views
    subject = paths.subject_of(views, world_points(scene))
    home = paths.orbit(subject, 8)[2] if len(views) > 1 else views[0].world_from_cam
    distance = float(np.linalg.norm(home[:3, 3] - subject.focus)) if subject.inward else 1.0
    k = views[0].intrinsics
    fov = float(min(max(2 * np.arctan(k.height / 2 / k.fy), 0.3), 1.6))
    return Stage(
        scene,
        folder,
        backend,
        training,
        subject.up,
        home,
        max(distance, 1e-6),
        fov,
        subject.focus,
        Crop(scene.crop),
    )


def triple(v: Any) -> tuple[float, float, float]:
    """Three numbers as viser takes them."""
    return float(v[0]), float(v[1]), float(v[2])


def quaternion(world_from_cam: Array) -> tuple[float, float, float, float]:
    """A pose's rotation as viser writes it: w, x, y, z."""
    x, y, z, w = Rotation.from_matrix(world_from_cam[:3, :3]).as_quat()
    return float(w), float(x), float(y), float(z)


def pose_of(thing: Any) -> Array:
    """The pose (4, 4) of something in viser's scene, or of its camera."""
    pose = np.eye(4)
    w, x, y, z = thing.wxyz
    pose[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    pose[:3, 3] = thing.position
    return pose


def shot_of(camera: Any) -> Shot:
    """A viser camera's state."""
    return Shot(pose_of(camera), float(camera.fov), int(camera.image_width), int(camera.image_height))


def shot_at(view: View, camera: Any) -> Shot:
    """A tab's camera as it would be where a photo was taken, as wide as the photo needs."""
    k = view.intrinsics
    aspect = max(float(camera.aspect), 1e-3)
    high = max(k.height / k.fy, k.width / k.fx / aspect)
    fov = float(2 * np.arctan(high / 2))
    return Shot(view.world_from_cam, fov, int(camera.image_width), int(camera.image_height))


def put_camera(client: Any, stage: Stage, world_from_cam: Array, fov: float | None = None) -> None:
    """Moves a tab's camera at once."""
    with client.atomic():
        client.camera.wxyz = quaternion(world_from_cam)
        client.camera.position = triple(world_from_cam[:3, 3])
        client.camera.look_at = triple(world_from_cam[:3, 3] + stage.distance * world_from_cam[:3, 2])
        if fov is not None:
            client.camera.fov = fov

"""Where a scene stands in the page: upright, its middle, how far one stands from it; cameras put there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale, vertical_fov
from nerfscene.errors import NerfsceneError
from nerfscene.film import paths
from nerfscene.film.filming import world_points
from nerfscene.scene.folder import Scene
from nerfscene.scene.world import in_world, save_world
from nerfscene.types import Array, View
from nerfscene.viewer import keyframes

DISTANCE = 3.0  # units of the page from its first camera to the subject: keys walk two in a second
PATH_FILE = "camera_path.json"
Say = Callable[..., None]  # (title, body, colour): tells the tab


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

    page_from_box: Array | None
    changed: Callable[[], None] = lambda: None


@dataclass
class World:
    """The world that the page shows, in whose terms paths, boxes and depths are told and saved.

    ``up`` is a direction (3,) of the page, ``home`` the camera (4, 4) that it opens with; ``changed``
    tells every tab.
    """

    world_from_page: Array
    up: Array
    home: Array
    changed: Callable[[], None] = lambda: None

    @property
    def unit(self) -> float:
        """How many of the world's units one of the page's is long."""
        return similarity_scale(self.world_from_page)


@dataclass
class Stage:
    """A scene as the page has it: its subject in the middle, seen from a distance that is always the same.

    So whatever the capture's own scale, keys walk at a sensible speed and nothing is lost to rounding in
    the browser. ``scene`` and all else here is in the page's coordinates; ``world`` leads out of them. The
    scene is another once it has been trained: its backdrop is known then.
    """

    scene: Scene
    folder: Path | None
    backend: str
    training: Training | None
    distance: float
    fov: float
    focus: Array
    crop: Crop
    world: World


def stage_of(scene: Scene, folder: Path | None, backend: str, training: Training | None) -> Stage:
    """The scene seen from where the photos were taken, at their distance, upright."""
    subject = paths.subject_of(scene.views, world_points(scene), scene.up)
    home = home_of(scene, scene.up)
    apart = float(np.linalg.norm(home[:3, 3] - subject.focus)) if subject.inward else 0.0
    page_from_world = np.eye(4)
    page_from_world[:3, :3] *= DISTANCE / apart if apart > 0 else similarity_scale(scene.scene_from_world)
    page_from_world[:3, 3] = -page_from_world[:3, :3] @ subject.focus
    fov = min(max(vertical_fov(scene.views[0].intrinsics), 0.3), 1.6)
    page = in_world(scene, page_from_world)
    world_from_page = np.asarray(np.linalg.inv(page_from_world), np.float64)
    world = World(world_from_page, subject.up, pose_in_scene(page_from_world, home))
    return Stage(page, folder, backend, training, DISTANCE, fov, np.zeros(3), Crop(page.crop), world)


def home_of(scene: Scene, up: Array | None) -> Array:
    """The camera (4, 4) from which a scene is seen at first."""
    if len(scene.views) < 2:
        return scene.views[0].world_from_cam
    return paths.orbit(paths.subject_of(scene.views, world_points(scene), up), 8)[2]


def set_world(stage: Stage, new_from_page: Array, up: Array) -> None:
    """Shows another world in the page, and keeps it with the scene.

    ``new_from_page`` is a similarity (4, 4), ``up`` (3,) the new world's, in the page. A camera path that
    lies beside the scene goes along. Raises NerfsceneError where the scene's folder can't be written.
    """
    world = stage.world
    if stage.folder is not None:
        new_from_world = new_from_page @ np.linalg.inv(world.world_from_page)
        save_world(stage.folder, new_from_world, new_from_page[:3, :3] @ up / similarity_scale(new_from_page))
        file = stage.folder / PATH_FILE
        if file.is_file():
            keyframes.save(keyframes.transformed(keyframes.load(file), new_from_world), file)
    world.world_from_page, world.up, world.home = new_from_page, up, home_of(stage.scene, up)
    world.changed()


def guarded(say: Say, work: Callable[[Any], None]) -> Callable[[Any], None]:
    """A callback whose NerfsceneError is told instead of lost in a log."""

    def run(event: Any) -> None:
        try:
            work(event)
        except NerfsceneError as error:
            say("That didn't work", str(error), "red")

    return run


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

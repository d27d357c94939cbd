"""A scene in the page's own coordinates, and helpers to convert cameras between viser and nerfscene."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale, vertical_fov
from nerfscene.config import CredentialsConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.filming import world_points
from nerfscene.films.orbit import orbit, subject_of
from nerfscene.loading import loading
from nerfscene.scene.folder import Scene
from nerfscene.scene.output_folder import CAMERA_PATH_FILE
from nerfscene.scene.world import Kept, in_world, moved, save_world
from nerfscene.types import Array, View
from nerfscene.viewer import keyframes, path_files
from nerfscene.viewer.film_settings import in_page
from nerfscene.viewer.keyframes import Plan
from nerfscene.viewer.replaced import Keeper

DISTANCE = 3.0  # page units from the first camera to the subject; keys walk two units a second
MOST_FILMS = 2  # and exports, made at the same time by all tabs together
BUSY = "other visitors' films or exports are being made; try again when one is ready"
Say = Callable[..., None]  # (title, body, colour): shows a notification in the tab


@dataclass(frozen=True)
class Shot:
    """A tab's camera: world_from_cam (4, 4), vertical field of view in radians, and its window in pixels."""

    world_from_cam: Array
    fov: float
    width: int
    height: int


@dataclass(frozen=True)
class Training:
    """How the page watches and controls a training run.

    figures: returns {"text", "seconds", "psnr", "loss"}: a line of text, and three lists of equal length.
    pause: called with True to pause and False to go on.
    keep: called with how a new world or crop changes what was set for the scene, and what writes it into the
        scene's folder; does one of them, depending on which scene is there.
    """

    figures: Callable[[], dict[str, Any]]
    pause: Callable[[bool], None]
    stop: Callable[[], None]
    save: Callable[[], None]
    keep: Callable[[Callable[[Kept], Kept], Callable[[], None]], None]


@dataclass
class Crop:
    """The box that is shown, the same in every tab; None: everything. ``changed()`` updates the tabs."""

    page_from_box: Array | None
    changed: Callable[[], None] = lambda: None


@dataclass
class World:
    """The scene's world, in whose coordinates and units paths, boxes and depths are shown and saved.

    world_from_page: a similarity (4, 4). up: (3,), a direction in the page. home: the camera (4, 4) that
    the page opens with. ``changed()`` updates the tabs.
    """

    world_from_page: Array
    up: Array
    home: Array
    changed: Callable[[], None] = lambda: None

    @property
    def unit(self) -> float:
        """The length of one page unit in world units."""
        return similarity_scale(self.world_from_page)


@dataclass
class Stage:
    """A scene in the page's coordinates: the subject at the origin, the first camera DISTANCE away from it.

    This keeps walking speed sensible and rounding in the browser small at any scale of the capture.
    ``scene`` and everything else here is in the page's coordinates; ``world`` converts to the world's.
    ``scene`` is replaced when training ends, because its backdrop is known only then.
    distance: page units from the first camera to the subject. fov: vertical, radians. focus: (3,).
    keeper: what may be saved into ``folder``, None without a folder. draft: the owner's path that was edited
    last, and before it when, in nanoseconds since 1970. films: limits how many films and exports are made at
    once. credentials: how films and pages are signed.
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
    keeper: Keeper | None = None
    draft: tuple[int, Plan] | None = None
    films: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MOST_FILMS))
    credentials: CredentialsConfig = field(default_factory=CredentialsConfig)


def stage_of(scene: Scene, folder: Path | None, backend: str, training: Training | None) -> Stage:
    """The stage of a scene: first seen from the photos' height and distance, upright."""
    subject = subject_of(scene.views, world_points(scene), scene.up)
    home = home_of(scene, scene.up)
    distance = float(np.linalg.norm(home[:3, 3] - subject.focus)) if subject.inward else 0.0
    page_from_world = np.eye(4)
    scale = DISTANCE / distance if distance > 0 else similarity_scale(scene.scene_from_world)
    page_from_world[:3, :3] *= scale
    page_from_world[:3, 3] = -page_from_world[:3, :3] @ subject.focus
    fov = min(max(vertical_fov(scene.views[0].intrinsics), 0.3), 1.6)
    page = in_world(scene, page_from_world)
    world_from_page = np.asarray(np.linalg.inv(page_from_world), np.float64)
    world = World(world_from_page, subject.up, pose_in_scene(page_from_world, home))
    keeper = None if folder is None else Keeper(folder)
    return Stage(page, folder, backend, training, DISTANCE, fov, np.zeros(3), Crop(page.crop), world, keeper)


def home_of(scene: Scene, up: Array | None) -> Array:
    """The camera (4, 4) from which a scene is first seen. up: (3,); estimated from the cameras if None."""
    if len(scene.views) < 2:
        return scene.views[0].world_from_cam
    return orbit(subject_of(scene.views, world_points(scene), up), 8)[2]


def set_world(stage: Stage, new_from_page: Array, up: Array) -> None:
    """Changes the scene's world in the page and in the scene's folder.

    new_from_page: a similarity (4, 4) to the new world. up: (3,), the new world's, in the page. A camera
    path saved in the scene's folder is converted too. Raises NerfsceneError when the folder can't be
    written.
    """
    world = stage.world
    if stage.folder is not None and stage.keeper is not None:
        stage.keeper.check()
        folder, file, path = stage.folder, stage.folder / CAMERA_PATH_FILE, None
        new_from_world = new_from_page @ np.linalg.inv(world.world_from_page)
        new_up = new_from_page[:3, :3] @ up / similarity_scale(new_from_page)
        if file.is_file():  # a damaged one is found before anything is changed
            path = path_files.load(file, in_world(stage.scene, world.world_from_page))
        draft = path_files.read_draft(folder)
        keep(
            stage,
            lambda given: moved(given, new_from_world, new_up),
            lambda: save_world(folder, new_from_world, new_up),
        )
        if path is not None:
            path_files.save(keyframes.transformed(path, new_from_world), file)
        if draft is not None:
            path_files.write_draft(keyframes.transformed(draft, new_from_world), folder)
    world.world_from_page, world.up, world.home = new_from_page, up, home_of(stage.scene, up)
    if stage.draft is not None and stage.folder is not None:  # it may not have been written yet
        path_files.write_draft(keyframes.transformed(stage.draft[1], new_from_page), stage.folder)
    world.changed()


def keep(stage: Stage, change: Callable[[Kept], Kept], write: Callable[[], None]) -> None:
    """Saves a new world or crop with the scene, see ``Training.keep``.

    Raises NerfsceneError without a folder, when another scene is in it, and when it can't be written.
    """
    keeper = stage.keeper
    if keeper is None:
        raise NerfsceneError("this scene has no folder to keep this in; save the scene first")
    if stage.training is None:
        keeper.saving(write)
    else:
        stage.training.keep(change, lambda: keeper.saving(write))


def guarded(
    say: Say,
    work: Callable[[Any], None],
    lock: contextlib.AbstractContextManager[Any] | None = None,
    failed: Callable[[], None] = lambda: None,
) -> Callable[[Any], None]:
    """A callback that shows a NerfsceneError in the tab; viser would only log it.

    lock: held meanwhile, because viser runs callbacks in many threads. failed: called after an error.
    """

    def run(event: Any) -> None:
        try:
            with lock or contextlib.nullcontext():
                work(event)
        except NerfsceneError as error:
            say("That didn't work", in_page(str(error)), "red")
            failed()

    return run


def triple(v: Any) -> tuple[float, float, float]:
    """Three numbers as viser expects them."""
    return float(v[0]), float(v[1]), float(v[2])


def quaternion(world_from_cam: Array) -> tuple[float, float, float, float]:
    """A pose's rotation as viser's quaternion (w, x, y, z)."""
    with loading():
        from scipy.spatial.transform import Rotation  # not at the top: importing it takes a while
    x, y, z, w = Rotation.from_matrix(world_from_cam[:3, :3]).as_quat()
    return float(w), float(x), float(y), float(z)


def pose_of(thing: Any) -> Array:
    """The pose (4, 4) of a viser object or camera."""
    with loading():
        from scipy.spatial.transform import Rotation
    pose = np.eye(4)
    w, x, y, z = thing.wxyz
    pose[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    pose[:3, 3] = thing.position
    return pose


def shot_of(camera: Any) -> Shot:
    """The state of a viser camera."""
    return Shot(pose_of(camera), float(camera.fov), int(camera.image_width), int(camera.image_height))


def shot_at(view: View, camera: Any) -> Shot:
    """A tab's camera where a photo was taken, wide enough to show the whole photo."""
    k = view.intrinsics
    aspect = max(float(camera.aspect), 1e-3)
    height = max(k.height / k.fy, k.width / k.fx / aspect)  # of the view at distance 1
    fov = float(2 * np.arctan(height / 2))
    return Shot(view.world_from_cam, fov, int(camera.image_width), int(camera.image_height))


def put_camera(client: Any, stage: Stage, world_from_cam: Array, fov: float | None = None) -> None:
    """Moves a tab's camera; ``fov``: vertical, radians; unchanged if None."""
    with client.atomic():
        client.camera.wxyz = quaternion(world_from_cam)
        client.camera.position = triple(world_from_cam[:3, 3])
        client.camera.look_at = triple(world_from_cam[:3, 3] + stage.distance * world_from_cam[:3, 2])
        if fov is not None:
            client.camera.fov = fov

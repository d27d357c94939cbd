"""Where a page to send opens, and the camera path that it plays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale
from nerfscene.config import RenderConfig
from nerfscene.exporters.placement import placed
from nerfscene.field.rendering import Renderer, render
from nerfscene.films.filming import film_path, film_size, world_points
from nerfscene.films.orbit import Subject, subject_of
from nerfscene.films.paths import CameraPath, look_at
from nerfscene.films.presets import film_intrinsics
from nerfscene.scene.scene import Scene
from nerfscene.scene.world import in_world
from nerfscene.types import Array, Camera, Intrinsics

# viser's covariances are half floats, which hold splats of 2e-4 to 256 units, and its keys walk two units a
# second. So the photographer stands this many units from the subject.
DISTANCE = 6.0
# Of a picture shown on a screen of another shape: 1 fits it in whole, 0 fills the screen and cuts it.
WHOLE = 0.6
WIDEST = 2.0  # half of what a camera shows, at distance 1, at most: 127°
FRAMES = 900  # of a camera path, at most; the page goes evenly from one to the next


@dataclass(frozen=True)
class Place:
    """A camera of the page: where it is, what it looks at and turns around, its up (all (3,)), and its lens.

    lens: half the height that a picture of this aspect (width / height) shows at distance 1.
    """

    position: Array
    target: Array
    up: Array
    lens: float
    aspect: float

    def numbers(self) -> list[float]:
        """The place as the page takes it: 11 numbers."""
        values = [*self.position, *self.target, *self.up, self.lens, self.aspect]
        return [round(float(v), 5) for v in values]


@dataclass(frozen=True)
class Staged:
    """A scene in a page's world: +z is up, the subject at the origin, the photographer DISTANCE away.

    page_from_scene: the similarity (4, 4) from the world of the scene that was given.
    """

    scene: Scene
    subject: Subject
    page_from_given: Array


def staged(scene: Scene) -> Staged:
    """The scene in the page's world, upright as every export is."""
    upright = placed(scene)
    up = np.array([0.0, 0.0, 1.0])
    subject = subject_of(upright.views, world_points(upright), up)
    distances = np.linalg.norm(subject.centres - subject.focus, axis=1)
    distance = float(np.median(distances)) if subject.inward else 0.0
    scale = DISTANCE / distance if distance > 0 else DISTANCE / 3 * similarity_scale(upright.scene_from_world)
    page_from_upright = np.diag([scale, scale, scale, 1.0])
    page_from_upright[:3, 3] = -scale * subject.focus
    page = in_world(upright, page_from_upright)
    given_from_field = np.linalg.inv(scene.scene_from_world)
    page_from_given = np.linalg.inv(page.scene_from_world) @ np.linalg.inv(given_from_field)
    return Staged(
        page, subject_of(page.views, world_points(page), up), np.asarray(page_from_given, np.float64)
    )


def opening(stage: Staged, renderer: Renderer) -> Place:
    """Where a photographer stood: the photo that shows the subject most usually, held upright.

    It turns about what it has in its middle.
    """
    s = stage.subject
    toward = s.focus - s.centres if s.inward else np.broadcast_to(s.axes.mean(0), s.axes.shape)
    aside = 1 - (s.axes * toward).sum(1) / np.maximum(np.linalg.norm(toward, axis=1), 1e-9)
    heights = s.centres @ s.up
    off = np.abs(heights - np.median(heights)) / DISTANCE
    # Of photos from one side, one from the middle.
    sides = (s.centres - s.focus) / np.maximum(np.linalg.norm(s.centres - s.focus, axis=1), 1e-9)[:, None]
    if s.inward and np.linalg.norm(sides.mean(0)) > 0.5:
        off = off + 1 - sides @ sides.mean(0) / np.linalg.norm(sides.mean(0))
    steep = np.abs(s.axes @ s.up) > 0.9  # has no upright picture
    i = int(np.argmin(aside + off + 10 * steep))
    k = film_intrinsics(stage.scene.views, *film_size(stage.scene, None, None))
    lens = lens_of(k)
    pose = look_at(s.centres[i], s.centres[i] + s.axes[i], s.up)
    depth = _depth_ahead(renderer, pose, lens)
    ahead = depth or (_distance(s, s.centres[i], s.axes[i]))
    return Place(s.centres[i], s.centres[i] + ahead * s.axes[i], s.up, lens, k.width / k.height)


def _depth_ahead(renderer: Renderer, pose: Array, lens: float) -> float:
    """How far away the middle of a picture is, 0 if there is nothing."""
    k = Intrinsics(16, 16, 40 / lens, 40 / lens, 8.0, 8.0)  # a fifth of the picture
    frame = render(renderer, Camera(k, pose))
    hit = (frame.accumulation > 0.5) & (frame.depth > 0)
    return float(np.median(frame.depth[hit])) if hit.mean() > 0.3 else 0.0


def _distance(s: Subject, position: Array, axis: Array) -> float:
    """How far ahead of a camera the subject is, as far as it is ahead."""
    return max(float((s.focus - position) @ axis), DISTANCE / 4)


def lens_of(k: Intrinsics) -> float:
    """A place's lens from a camera's."""
    return min(0.5 * k.height / k.fy, WIDEST)


def picture(place: Place, width: int, height: int) -> Camera:
    """The camera with which a page's screen of ``width``×``height`` pixels shows a place."""
    narrower = place.aspect * height / width
    half = min(place.lens * narrower ** (WHOLE if narrower > 1 else 1 - WHOLE), WIDEST)
    focal = 0.5 * height / half
    pose = look_at(place.position, place.target, place.up)
    return Camera(Intrinsics(width, height, focal, focal, width / 2, height / 2), pose)


def playable(scene: Scene, stage: Staged, path: str, warn: Callable[[str], None]) -> dict[str, object] | None:
    """A camera path as the page plays it: {"frames": the places' numbers, "seconds", "loop"}; None: none.

    scene: as it was given, in whose world a path's file is. path: as RenderConfig's. warn: called with each
    sentence about the path. Raises NerfsceneError for a path that can't be used.
    """
    if path == "auto" and len(scene.views) < 2:
        return None
    film, fps = film_path(scene, RenderConfig(path=path, lens="perspective"))  # as the page shows it
    for note in film.notes:
        warn(note)
    if film.crop is not None:
        warn("the camera path's own crop is left out; the page shows the scene's")
    if film.tracks.aperture or film.tracks.exposure:
        warn("the camera path's exposure and depth of field are left out; the page shows neither")
    if len(film.cameras) < 2:
        return None
    frames = [place.numbers() for place in _places(film, stage)]
    if all(frame == frames[0] for frame in frames):
        warn("the camera path stands still, so the page has none to play")
        return None
    return {
        "frames": [x for frame in frames for x in frame],
        "seconds": round(len(film.cameras) / fps, 3),
        "loop": film.loop,
    }


def _places(film: CameraPath, stage: Staged) -> list[Place]:
    """The path's places in the page's world, thinned evenly to FRAMES at most."""
    n = len(film.cameras)
    if film.loop:
        kept = np.arange(min(n, FRAMES)) * n // min(n, FRAMES)
    else:
        kept = np.linspace(0, n - 1, min(n, FRAMES)).round().astype(int)
    places = []
    for i in kept:
        camera = film.cameras[i]
        pose = pose_in_scene(stage.page_from_given, camera.world_from_cam)
        position, axis = pose[:3, 3], pose[:3, 2]
        target = position + _distance(stage.subject, position, axis) * axis
        k = camera.intrinsics
        places.append(Place(position, target, _up(pose, stage.subject.up), lens_of(k), k.width / k.height))
    return places


def _up(pose: Array, up: Array) -> Array:
    """The up by which a camera at this pose is turned; the world's own if it is held level."""
    right, own = pose[:3, 0], -pose[:3, 1]
    level = abs(right @ up) < 2e-3 and own @ up > 0.05
    return up if level else own

"""The lenses of films that aren't perspective: fisheye, all round, half of it for each eye, orthographic.

A path is first made as for a perspective film; ``with_lens`` then gives its cameras another lens and size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.cameras.plausible import NARROWEST
from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.moves import goes_round
from nerfscene.films.orbit import subject_of
from nerfscene.films.paths import CameraPath
from nerfscene.films.presets import PRESETS, film_intrinsics
from nerfscene.keyed import numbers_of
from nerfscene.scene.scene import Scene
from nerfscene.types import Array, Camera, Frame, Intrinsics, Lens, View

LEVEL: tuple[Lens, ...] = ("equirectangular", "stereo180")  # the horizon is the middle row
WIDEST_PANORAMA, WIDEST_DOME = 3840, 1920  # pixels along a film's width if no size is given
MOST_FOV = 170.0  # degrees across a perspective film
DOME = 180.0  # degrees across a fisheye film if no field of view is given
BETWEEN_EYES = 0.063  # metres, of people on average
COMFORTABLE = 1 / 30  # of the distance to the subject: what stereo photographers keep their lenses apart
METRIC = ("polycam", "record3d", "stray-scanner", "3d-scanner-app")  # phone apps measure in metres
MOST_ZOOM = 1e4  # times the subject's box that an orthographic film may show, or that may show the box
STEEP = 0.2  # sine of the angle to straight up or down, below which a camera's heading is taken from its side


def with_lens(path: CameraPath, scene: Scene, config: RenderConfig, up: Array, points: Array) -> CameraPath:
    """The path with the lens that ``config`` asks for; without one, the path's own stays.

    up: (3,), unit; points: (n, 3), the sparse model's; both in world axes. Panoramas are level: their
    cameras look along the horizon below or above where the path's do. A file's own panoramas are held as it
    says.
    Raises NerfsceneError for settings that don't go with the lens.
    """
    own = path.cameras[0].intrinsics
    lens: Lens = own.lens if config.lens is None else config.lens
    _refuse_what_does_not_apply(config, lens)
    if lens == "perspective":
        return _perspective(path, scene.views, config)
    if lens == own.lens == "fisheye" and config.lens is None and config.fov is None:
        return path  # from a file, with its own fields of view
    if lens == "fisheye":
        k = _dome(scene.views, config)
    elif lens == "orthographic":
        k = _flat(scene, own, config)
    else:
        of_file = lens == own.lens and config.width is None and config.height is None
        size = (own.width, own.height) if of_file else (config.width, config.height)
        k = panorama(lens, scene.views, *size)
    if lens == "stereo180":
        places = np.stack([camera.world_from_cam[:3, 3] for camera in path.cameras])
        apart = config.eye_distance or eye_distance(scene, places, up, points)
        k = replace(k, distortion=(apart, 0.0, 0.0, 0.0, 0.0))
    levelled = lens in LEVEL and lens != own.lens
    cameras = tuple(
        Camera(k, level(c.world_from_cam, up) if levelled else c.world_from_cam) for c in path.cameras
    )
    notes = path.notes
    if lens != own.lens and config.through is None and config.path not in ("auto", *PRESETS):
        notes = (*notes, f"{config.path}: its fields of view are not those of {_a(lens)} film.")
    tracks = path.tracks if lens == own.lens else replace(path.tracks, fov=())  # they were for another lens
    return replace(path, cameras=cameras, notes=notes, tracks=tracks)


def path_settings(config: RenderConfig) -> RenderConfig:
    """The settings to make a path with: without a size that is meant for another lens than a path's own."""
    if config.lens in (None, "perspective", "orthographic"):
        return config
    return replace(config, width=None, height=None)


def _refuse_what_does_not_apply(config: RenderConfig, lens: Lens) -> None:
    """Raises NerfsceneError for settings that don't go with the lens."""
    if config.view_width is not None and lens != "orthographic":
        raise NerfsceneError(
            f"--view-width is for --lens orthographic: leave it out, or give --fov for a {lens} film"
            if lens in ("perspective", "fisheye")
            else f"--view-width is for --lens orthographic, and {_a(lens)} film shows all of its view: "
            "leave it out"
        )
    if config.eye_distance is not None and lens != "stereo180":
        raise NerfsceneError(
            f"--eye-distance is for --lens stereo180: {_a(lens)} film is for one eye; leave it out"
        )
    if config.fov is None:
        return
    if lens == "orthographic":
        raise NerfsceneError("an orthographic film has no --fov: give --view-width, in world units, instead")
    if lens in LEVEL:
        degrees = 360 if lens == "equirectangular" else 180
        raise NerfsceneError(f"{_a(lens)} film always shows {degrees}°: leave out --fov")
    for _, fov in numbers_of(config.fov, "fov", "--fov"):
        if lens == "perspective" and not NARROWEST <= fov <= MOST_FOV:
            raise NerfsceneError(
                f"a perspective film can't have a --fov of {fov:g} degrees: give {NARROWEST:g} to "
                f"{MOST_FOV:g}, or --lens fisheye"
            )


def _a(lens: Lens) -> str:
    return f"an {lens}" if lens[0] in "eo" else f"a {lens}"


def _perspective(path: CameraPath, views: Sequence[View], config: RenderConfig) -> CameraPath:
    """The path with perspective cameras: its own, those of ``config.fov``, or as wide as the photos."""
    k = path.cameras[0].intrinsics
    if config.fov is None and k.lens == "perspective":
        return path
    k = film_intrinsics(views, k.width, k.height)
    tracks = path.tracks
    if config.fov is not None:
        focal = 0.5 * min(k.width, k.height) / math.tan(math.radians(first_fov(config)) / 2)
        k = replace(k, fx=focal, fy=focal)
    else:
        tracks = replace(tracks, fov=())  # they were for another lens
    cameras = tuple(replace(camera, intrinsics=k) for camera in path.cameras)
    return replace(path, cameras=cameras, tracks=tracks)


def first_fov(config: RenderConfig) -> float:
    """The first field of view of ``config.fov``, degrees; a dome's if none is given."""
    keys = numbers_of(config.fov, "fov", "--fov")
    return keys[0][1] if keys else DOME


def _dome(views: Sequence[View], config: RenderConfig) -> Intrinsics:
    """A fisheye lens whose circle fills a film's shorter side; the film is square if no size is given."""
    angle = math.radians(first_fov(config))
    side = config.width or config.height or min(WIDEST_DOME, round(_pixels_a_radian(views) * angle))
    width, height = max(config.width or side, 16) // 2 * 2, max(config.height or side, 16) // 2 * 2
    focal = min(width, height) / angle
    return Intrinsics(width, height, focal, focal, width / 2, height / 2, "fisheye")


def _flat(scene: Scene, own: Intrinsics, config: RenderConfig) -> Intrinsics:
    """An orthographic lens that shows ``config.view_width``, or all of the subject's box or of the crop.

    Raises NerfsceneError for a width at which nothing of the scene would be seen.
    """
    across = 2 / similarity_scale(scene.scene_from_world)
    if config.view_width is not None:
        if not across / MOST_ZOOM <= config.view_width <= across * MOST_ZOOM:
            raise NerfsceneError(
                f"a --view-width of {config.view_width:g} world units shows nothing of this scene, whose "
                f"subject is about {across:.3g} wide: give a width like that"
            )
        scale = own.width / config.view_width
    else:
        half = scene.crop[:3, :3] if scene.crop is not None else None
        if half is not None:
            across = 2 * float(np.linalg.norm(np.linalg.norm(half, axis=0)))  # from whichever side
        scale = min(own.width, own.height) / across
    return Intrinsics(own.width, own.height, scale, scale, own.width / 2, own.height / 2, "orthographic")


def panorama(lens: Lens, views: Sequence[View], width: int | None, height: int | None) -> Intrinsics:
    """The lens of a film that shows all round, or half of it for each eye; ``lens``: one of LEVEL.

    Without a size it has as many pixels as the photos' detail fills, at most 3840×1920.
    Raises NerfsceneError for a size that isn't twice as wide as high.
    """
    if width is None and height is None:
        width = min(WIDEST_PANORAMA, round(2 * math.pi * _pixels_a_radian(views)))
    elif width is None:
        assert height is not None
        width = 2 * height
    elif height is not None and width != 2 * height:
        raise NerfsceneError(
            f"{_a(lens)} film is twice as wide as high, not {width}×{height}: give --width {width} --height "
            f"{width // 2}"
        )
    if not 16 <= width <= 8192:
        raise NerfsceneError(f"{_a(lens)} film of {width}×{width // 2} can't be made; give 16 to 8192 pixels")
    width = width // 4 * 4  # both sides of a film are even
    focal, middle = width / (2 * math.pi), width / 4 if lens == "stereo180" else width / 2
    return Intrinsics(width, width // 2, focal, focal, middle, width / 4, lens)


def _pixels_a_radian(views: Sequence[View]) -> float:
    """How many pixels the photos have for a radian, in their middle."""
    return float(np.median([view.intrinsics.fx for view in views]))


def level(pose: Array, up: Array) -> Array:
    """The pose (4, 4) turned so that its -y axis is ``up`` (3,), unit, and it keeps its heading."""
    ahead = pose[:3, 2] - (pose[:3, 2] @ up) * up
    if np.linalg.norm(ahead) < STEEP:  # looks almost straight up or down
        ahead = np.cross(up, pose[:3, 0])
        if np.linalg.norm(ahead) < STEEP:
            ahead = np.eye(3)[np.abs(up).argmin()]
            ahead = ahead - (ahead @ up) * up
    z = ahead / np.linalg.norm(ahead)
    made = pose.copy()
    made[:3, :3] = np.stack([np.cross(z, up), -up, z], axis=1)
    return made


def in_metres(scene: Scene) -> bool:
    """Whether a scene's world is in metres: a scale was set in the viewer, or a phone app measured it."""
    set_there = scene.world_from_capture
    if set_there is not None and abs(similarity_scale(set_there) - 1) > 1e-6:
        return True
    return scene.figures.source in METRIC


def eye_distance(scene: Scene, places: Array, up: Array, points: Array) -> float:
    """How far apart the eyes of a film along ``places`` (n, 3) are, in world units.

    People's 63 mm where the world is in metres.
    Otherwise a thirtieth of the distance to the subject, the rule of thumb of stereo photography.
    """
    if in_metres(scene):
        return BETWEEN_EYES
    distance = 1 / similarity_scale(scene.scene_from_world)  # half the side of the subject's box
    subject = subject_of(scene.views, points, up)
    if goes_round(subject):
        distance = float(np.median(np.linalg.norm(places - subject.focus, axis=1)))
    return COMFORTABLE * max(distance, 1e-9)


def unseen(k: Intrinsics, in_circle: bool) -> NDArray[np.bool_] | None:
    """The pixels (height, width) of a fisheye picture that show nothing; None for other lenses.

    in_circle: only the circle that fills the picture's shorter side shows something; otherwise everything
    does that is not beyond straight behind.
    """
    if k.lens != "fisheye":
        return None
    x = (np.arange(k.width) + 0.5 - k.cx) / k.fx
    y = (np.arange(k.height) + 0.5 - k.cy) / k.fy
    most = min(k.width / k.fx, k.height / k.fy) / 2 if in_circle else math.pi
    beyond: NDArray[np.bool_] = x**2 + y[:, None] ** 2 > most**2
    return beyond


def blacked_out(frame: Frame, k: Intrinsics, in_circle: bool) -> None:
    """Makes the pixels that are ``unseen`` black, transparent and empty, in place."""
    nothing = unseen(k, in_circle)
    if nothing is None:
        return
    for values in (frame.rgb, frame.depth, frame.accumulation):
        if values.size:  # a mean has no depth
            values[nothing] = 0

"""Takes the frames of a film: with its background, blur, exposure and passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.config import RenderConfig
from nerfscene.field.finer import with_finer_grid
from nerfscene.field.footprint import photos_of, pixel_samples
from nerfscene.field.rendering import Renderer, render
from nerfscene.films.lenses import blacked_out
from nerfscene.films.light import picture_of, sees_through, with_background
from nerfscene.films.passes import Passes, passes_made, passes_of
from nerfscene.films.paths import CameraPath
from nerfscene.films.pulling import exposures_of
from nerfscene.films.shutter import Shutter, cameras_of, shutter_of, taken
from nerfscene.scene.folder import Scene

Frame = tuple[NDArray[np.uint8], NDArray[np.float32], Passes]
"""A frame of a film: its picture (height, width, 3), or (…, 4) if it is transparent; its depth (height,
width) in world units, 0 where there is nothing, or empty if the film has none; and its passes."""
JUDGED_EVERY = 4  # frames, for the first of which is found out how many rays a pixel of these needs
MANY_RAYS = 4_000_000  # from which on a finer grid saves more time than it takes to make
HIT = 0.5  # accumulation above which a pixel shows something, so that its depth means something


def world_points(scene: Scene) -> NDArray[np.float64]:
    """The sparse model's points (n, 3) in world coordinates."""
    world_from_scene = np.linalg.inv(scene.scene_from_world)
    return scene.points @ world_from_scene[:3, :3].T + world_from_scene[:3, 3]


def as_filmed(scene: Scene, path: CameraPath, config: RenderConfig) -> Scene:
    """The scene with the crop and background of a path that has its own, and with ``config.background``."""
    if path.crop is not None:
        scene = replace(scene, crop=path.crop, background=path.background or scene.background)
    return with_background(scene, config.background)


def shutter_for(scene: Scene, path: CameraPath, config: RenderConfig, renderer: Renderer) -> Shutter:
    """The shutter of a film along this path. Raises NerfsceneError for a focus that isn't there."""
    return shutter_of(scene, world_points(scene), path, config, renderer)


def film_renderer(scene: Scene, path: CameraPath, config: RenderConfig) -> Renderer:
    """The renderer for all frames of a film: that of ``as_filmed``, faster if there is much to render."""
    renderer = scene.renderer(config.backend, config.threads)
    k = path.cameras[0].intrinsics
    rays = len(path.cameras) * k.width * k.height * max(config.samples, 1) ** 2
    return with_finer_grid(renderer) if rays >= MANY_RAYS else renderer


def rendered(
    scene: Scene,
    path: CameraPath,
    config: RenderConfig,
    renderer: Renderer,
    numbers: Sequence[int],
    shutter: Shutter | None = None,
) -> Iterator[Frame]:
    """Renders the frames with these numbers, one after the other.

    shutter: what ``shutter_for`` returns, where it is known already.
    """
    photos = photos_of(scene.views)
    shutter = shutter or shutter_for(scene, path, config, renderer)
    stops = exposures_of(path, config, scene.views)
    judged: dict[int, int] = {}  # by frame
    for number in numbers:
        judge = number // JUDGED_EVERY * JUDGED_EVERY  # the same in whichever part of the film
        if not config.samples and judge not in judged:
            judged[judge] = pixel_samples(photos, renderer, path.cameras[judge])
        samples = config.samples or judged[judge]
        yield _frame(shutter, config, renderer, number, samples, float(stops[number]))  # not held on to here


def _frame(
    shutter: Shutter, config: RenderConfig, renderer: Renderer, number: int, samples: int, stops: float
) -> Frame:
    """Takes one frame, with so many rays along a pixel's side, brighter by these stops."""
    camera, passes = shutter.path.cameras[number], passes_of(config.passes)
    cameras = cameras_of(shutter, renderer, number)
    clear, in_circle = sees_through(config.background), config.lens == "fisheye"
    frame = taken(renderer, cameras, samples, clear)
    blacked_out(frame, camera.intrinsics, in_circle)
    picture = picture_of(frame, config.background, stops)
    if (config.depth or passes) and len(cameras) > 1:  # a mean of depths would be no surface's
        del frame  # two at once would be 330 MB of a 4K film
        frame = render(renderer, camera, samples)
        blacked_out(frame, camera.intrinsics, in_circle)
    depth = np.zeros(0, np.float32)
    if frame.depth.size:
        depth = np.where(frame.accumulation > HIT, frame.depth, np.float32(0))
    return picture, depth, passes_made(passes, renderer, camera, frame)

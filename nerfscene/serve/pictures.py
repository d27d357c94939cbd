"""Pictures of a scene for the gallery: while it trains, and once it is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.exporters.page_cameras import Place, Staged, opening, picture, staged
from nerfscene.field.footprint import photos_of, pixel_samples
from nerfscene.field.rendering import Renderer, render
from nerfscene.films.filming import world_points
from nerfscene.films.presets import preset
from nerfscene.films.video import to_bytes
from nerfscene.scene.atomic import writing
from nerfscene.scene.scene import Scene
from nerfscene.serve.scenes import Places
from nerfscene.types import Camera

POSTER = 1280  # pixels along the longer side, at most
TURNS, TURN_SIZE = 12, (320, 240)  # pictures in the strip, and pixels of each
# Pixels along the longer side of pictures during training, and of what is rendered to see how long they take:
# at first, in fog, a hundred times longer than later.
SIZES, PROBE = (960, 640, 480, 320, 192, 96, 64), 16
SHARE = 0.04  # of the training's time that they may take
AT_ONCE = 0.5  # seconds by which the first may exceed that
FIRST, APART, GROWING = 0.5, 2.0, 0.1  # seconds until the first, between two at least, and per second so far


class NowPictures:
    """Pictures of a scene in training, in ``file``: the first at once, then less and less often.

    Together they take about SHARE of the training's time, so that they grow as rendering becomes faster.
    """

    def __init__(self, file: Path, backend: str, threads: int, total: float) -> None:
        """total: seconds that the training is to last, at most."""
        self.file, self.backend, self.threads, self.total = file, backend, threads, total
        self.view: Staged | None = None
        self.place: Place | None = None
        self.renderer: Renderer | None = None
        self.spent, self.looked_at = 0.0, 0.0  # seconds
        self.shown = False

    def started(self, scene: Scene) -> None:
        """The scene whose training begins; it shares the arrays that are trained."""
        self.view = staged(scene)
        self.renderer = self.view.scene.renderer(self.backend, self.threads)
        self.place = None

    def trained(self, seconds: float) -> None:
        """Takes a picture if it is time for one. seconds: of training so far, in this process."""
        if self.view is None or self.renderer is None or not due(seconds, self.looked_at):
            return
        began = time.perf_counter()
        if self.place is None:
            self.place = opening(self.view, self.renderer)
        probing = time.perf_counter()
        width, height = sides(self.place.aspect, PROBE)
        render(self.renderer, picture(self.place, width, height))
        per_pixel = (time.perf_counter() - probing) / (width * height)
        size = affordable(allowed(seconds, self.total) - self.spent, per_pixel, self.place.aspect)
        if size is None and not self.shown:
            size = SIZES[-1]  # whatever it takes: people wait for it
        if size is not None:
            self.shown = True
            frame = render(self.renderer, picture(self.place, *sides(self.place.aspect, size)))
            save(to_bytes(frame.rgb), self.file)
        self.spent, self.looked_at = self.spent + time.perf_counter() - began, seconds


def due(seconds: float, last: float) -> bool:
    """Whether it is time for a picture. seconds: of training so far; last: when one was due, 0 at first."""
    if not last:
        return seconds >= FIRST
    return seconds - last >= max(APART, GROWING * seconds)


def allowed(seconds: float, total: float) -> float:
    """Seconds that pictures may have taken so far, of a training of ``total`` seconds.

    More of them early, when a picture takes longest and is most waited for.
    """
    early = math.sqrt(seconds / total) if 0 < seconds < total < math.inf else 1.0
    return AT_ONCE + SHARE * min(seconds, total) / early


def affordable(seconds: float, per_pixel: float, aspect: float) -> int | None:
    """The largest of SIZES that is rendered in so many seconds; None if none is.

    per_pixel: seconds; aspect: width / height.
    """
    return next((size for size in SIZES if per_pixel * math.prod(sides(aspect, size)) <= seconds), None)


def gallery_pictures(
    scene: Scene, at: Places, backend: str, threads: int, told: Callable[[float], None]
) -> None:
    """Writes the poster, from where a photographer stood, and the strip of pictures all around the scene.

    told: called with the fraction that is done. Raises NerfsceneError if they can't be written.
    """
    view = staged(scene)
    renderer = view.scene.renderer(backend, threads)
    told(0.0)
    place = opening(view, renderer)
    k = view.scene.views[0].intrinsics
    size = min(POSTER, max(k.width, k.height, TURN_SIZE[0]))
    camera = picture(place, *sides(place.aspect, size))
    samples = min(pixel_samples(photos_of(view.scene.views), renderer, camera), 2)
    save(to_bytes(render(renderer, camera, samples).rgb), at.poster)
    width, height = TURN_SIZE
    strip = np.zeros((height, TURNS * width, 3), np.uint8)
    for i, camera in enumerate(_around(view.scene, place)):
        told((i + 2) / (TURNS + 2))
        strip[:, i * width : (i + 1) * width] = to_bytes(render(renderer, camera).rgb)
    save(strip, at.turning)
    told(1.0)


def _around(scene: Scene, place: Place) -> list[Camera]:
    """The cameras of the strip: an orbit, or the same one again where there is too little for an orbit."""
    if len(scene.views) < 2:
        return [picture(place, *TURN_SIZE)] * TURNS
    return list(preset("orbit", scene.views, TURNS, *TURN_SIZE, world_points(scene), scene.up).cameras)


def sides(aspect: float, longest: int) -> tuple[int, int]:
    """(width, height) of a picture, pixels. aspect: width / height."""
    if aspect >= 1:
        return longest, max(round(longest / aspect), 1)
    return max(round(longest * aspect), 1), longest


def save(pixels: NDArray[np.uint8], file: Path) -> None:
    """Writes a JPEG, whole or not at all. Raises NerfsceneError if it can't be written."""
    with writing(file) as temporary:
        Image.fromarray(pixels).save(temporary, "JPEG", quality=84, optimize=True)

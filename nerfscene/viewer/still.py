"""A tab's picture of a camera at rest: how it should look, and the photo to compare it with."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale
from nerfscene.capture.folder import photo_size, read_pixels
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import Renderer, render_part
from nerfscene.films.light import exposed
from nerfscene.types import Array, Camera, Frame, Intrinsics, View
from nerfscene.viewer.pictures import MODES, Picture, develop, error_map, fitted, wiped
from nerfscene.viewer.stage import Shot

COMPARE = ("no", "wipe", "error")
COARSE = 8  # a coarse picture's sides are this many times shorter


@dataclass(frozen=True)
class Look:
    """What a tab wants to see; every change of it makes a new picture.

    mode: one of pictures.MODES. longest: pixels along the picture's longer side, at most. splats: draw
    splats while the camera moves. background: colour, 0…1. compare: one of COMPARE, the comparison with
    the photo that the camera stands at. share: the part of the picture that the wipe gives to the photo, 0…1.
    exposure: stops by which colours are brighter, except beside a photo.
    """

    mode: str = MODES[0]
    longest: int = 1280
    splats: bool = True
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    compare: str = COMPARE[0]
    share: float = 0.5
    exposure: float = 0.0


@dataclass
class Still:
    """A picture of a camera at rest, rendered tile by tile.

    frame: (height, width), what is rendered so far. photo: the photo to compare with, of any size, None
    if there is none. where: (first row, row after the last, first column, column after the last) that the
    photo covers. gain: (3,), the photo's exposure; the render is multiplied by it before they are compared.
    shown: when the picture was last sent, by time.perf_counter.
    """

    camera: Camera
    look: Look
    frame: Frame
    photo: Picture | None
    where: tuple[int, int, int, int]
    gain: NDArray[np.float32]
    shown: float

    def picture(self, world_from_page: Array) -> Picture:
        """What is rendered so far as a person sees it, uint8 (height, width, 3)."""
        if self.photo is None:
            return developed(self.frame, self.look, self.camera, world_from_page)
        frame = replace(self.frame, rgb=self.gain * self.frame.rgb)
        picture = developed(frame, replace(self.look, exposure=0.0), self.camera, world_from_page)
        if self.look.compare == "wipe":
            return wiped(picture, self.photo, self.where, self.look.share)
        return error_map(picture, self.photo, self.where)


def still_of(shot: Shot, look: Look, size: tuple[int, int], view: View | None, now: float) -> Still:
    """An empty picture (width, height) for a tab's camera; ``view``: the photo it stands at, if any."""
    width, height = size
    lens, where, photo = lens_of(shot, width, height), (0, height, 0, width), None
    gain = np.ones(3, np.float32)
    if view is not None and look.compare != "no":
        lens, where = fitted(view.intrinsics, width, height)
        photo = load_photo(view)
        gain = np.exp(np.asarray(view.exposure, np.float32))
    empty = Frame(
        np.zeros((height, width, 3), np.float32),
        np.zeros((height, width), np.float32),
        np.zeros((height, width), np.float32),
    )
    return Still(Camera(lens, shot.world_from_cam), look, empty, photo, where, gain, now)


def lens_of(shot: Shot, width: int, height: int) -> Intrinsics:
    """The lens of a tab's camera, without distortion, for a picture of this size."""
    f = height / 2 / math.tan(shot.fov / 2)
    return Intrinsics(width, height, f, f, width / 2, height / 2)


def developed(frame: Frame, look: Look, camera: Camera, world_from_page: Array) -> Picture:
    """A frame as a tab wants to see it, with normals and depths in the world's axes and units."""
    mode = look.mode
    if mode == MODES[0]:
        frame = replace(frame, rgb=exposed(frame.rgb, look.exposure))
    pose = pose_in_scene(world_from_page, camera.world_from_cam)
    return develop(frame, mode, camera.intrinsics, pose, similarity_scale(world_from_page))


def fill_coarsely(frame: Frame, renderer: Renderer, camera: Camera) -> None:
    """Fills a frame with a render of an eighth of its width and height."""
    k = camera.intrinsics
    width, height = max(k.width // COARSE, 1), max(k.height // COARSE, 1)
    sx, sy = width / k.width, height / k.height
    small = replace(k, width=width, height=height, fx=k.fx * sx, fy=k.fy * sy, cx=k.cx * sx, cy=k.cy * sy)
    coarse = render_part(renderer, Camera(small, camera.world_from_cam), (0, height, 0, width))
    rows = np.minimum(np.arange(k.height) * height // k.height, height - 1)[:, None]
    columns = np.minimum(np.arange(k.width) * width // k.width, width - 1)[None, :]
    frame.rgb[:] = coarse.rgb[rows, columns]
    frame.depth[:] = coarse.depth[rows, columns]
    frame.accumulation[:] = coarse.accumulation[rows, columns]


def load_photo(view: View) -> Picture | None:
    """A view's photo at full size, uint8 (height, width, 3), a cut-out on white; None if it can't be read."""
    try:
        pixels = read_pixels(view.path, *photo_size(view.path))
    except NerfsceneError:
        return None
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        pixels = ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return pixels

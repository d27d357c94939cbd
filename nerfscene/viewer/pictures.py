"""Rendered frames as pictures (colour, depth, accumulation, normals), and comparisons with a photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nerfscene.films import passes, video
from nerfscene.types import Array, Frame, Intrinsics

MODES = ("colour", "depth", "accumulation", "normals")
Picture = NDArray[np.uint8]


def develop(frame: Frame, mode: str, camera: Intrinsics, world_from_cam: Array, unit: float = 1.0) -> Picture:
    """A frame as a picture in one of MODES, uint8 (height, width, 3).

    camera, world_from_cam: those of the frame, for normals in the world's axes. unit: world units per unit
    of the frame's depth, for the depth's legend.
    """
    if mode == "depth":
        near, far = video.depth_range(frame.depth, frame.accumulation)
        depth = np.where(frame.accumulation > 0.5, frame.depth, 0)
        return with_legend(video.color_depth(unit * depth, unit * near, unit * far), unit * near, unit * far)
    if mode == "accumulation":
        return video.to_bytes(np.repeat(frame.accumulation[..., None], 3, axis=2))
    if mode == "normals":
        n = normals(frame, camera, world_from_cam)
        return video.to_bytes((0.5 + 0.5 * n) * (frame.accumulation > 0.5)[..., None])
    return video.to_bytes(frame.rgb)


def normals(frame: Frame, camera: Intrinsics, world_from_cam: Array) -> NDArray[np.float32]:
    """Unit normals (height, width, 3) in world axes, facing the camera, as ``passes.normals`` makes them.

    The lens must have no distortion, as the viewer's has none.
    """
    height, width = frame.depth.shape
    x = (np.arange(width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(height) + 0.5 - camera.cy) / camera.fy
    rays = np.stack(np.broadcast_arrays(x[None, :], y[:, None], 1.0), -1)
    rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    return (passes.normals(frame.depth, rays) @ world_from_cam[:3, :3].T).astype(np.float32)


def with_legend(picture: Picture, near: float, far: float) -> Picture:
    """The picture with a bar of the depth colours at the lower left, labelled with its nearest and farthest
    distance. Small pictures are returned without one.
    """
    height, width = picture.shape[:2]
    if width < 200 or height < 80:
        return picture
    bar_width, bar_height = min(width // 4, 220), 12
    inverse = np.linspace(1 / near, 1 / far, bar_width) if near > 0 else np.linspace(0, 1, bar_width)
    bar = video.color_depth(np.tile(1 / np.maximum(inverse, 1e-9), (bar_height, 1)), near, far)
    image = Image.fromarray(picture)
    left, top = 64, height - 30  # beside the page's axes
    image.paste(Image.fromarray(bar), (left, top))
    draw = ImageDraw.Draw(image)
    for text, x in ((f"{near:.3g}", left), (f"{far:.3g} units", left + bar_width - 50)):
        draw.text(
            (x, top + bar_height + 1), text, fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0)
        )
    return np.asarray(image)


def fitted(camera: Intrinsics, width: int, height: int) -> tuple[Intrinsics, tuple[int, int, int, int]]:
    """A photo's lens for a picture of another size, in which the photo is centred and as large as fits.

    Returns the lens (distortion kept) and where the photo lies: (first row, row after the last, first
    column, column after the last).
    """
    s = min(width / camera.width, height / camera.height)
    w, h = min(round(camera.width * s), width), min(round(camera.height * s), height)
    left, top = (width - w) // 2, (height - h) // 2
    lens = Intrinsics(
        width, height, camera.fx * s, camera.fy * s, camera.cx * s + left, camera.cy * s + top,
        camera.lens, camera.distortion,
    )  # fmt: skip
    return lens, (top, top + h, left, left + w)


def wiped(render: Picture, photo: Picture, where: tuple[int, int, int, int], share: float) -> Picture:
    """The render with the photo over the left ``share`` (0…1) of ``where``, and a white line between them."""
    top, bottom, left, right = where
    out = render.copy()
    edge = left + round((right - left) * min(max(share, 0.0), 1.0))
    sized = np.asarray(Image.fromarray(photo).resize((right - left, bottom - top), Image.Resampling.LANCZOS))
    out[top:bottom, left:edge] = sized[:, : edge - left]
    if left < edge < right:
        out[top:bottom, edge - 1 : edge + 1] = 255
    return out


def error_map(render: Picture, photo: Picture, where: tuple[int, int, int, int]) -> Picture:
    """The difference of render and photo, coloured as in ``video.color_error``; black outside ``where``."""
    top, bottom, left, right = where
    sized = np.asarray(Image.fromarray(photo).resize((right - left, bottom - top), Image.Resampling.LANCZOS))
    difference = np.abs(render[top:bottom, left:right].astype(np.float32) - sized).mean(-1) / 255
    out = np.zeros_like(render)
    out[top:bottom, left:right] = video.color_error(difference)
    return out

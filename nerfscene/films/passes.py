"""Passes: what else a film's pictures know, as files for compositing beside the PNG frames.

``depth`` is the distance along a pixel's ray in world units, ``normal`` the surface's unit normal in the
world's axes, and ``accumulation`` how opaque a pixel is, 0…1. Depth and normal are 0 where nothing was hit.
They are of the sharp frame: blurred depths and normals would belong to no surface.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import Renderer, rays_through
from nerfscene.films import video
from nerfscene.films.strips import strips
from nerfscene.loading import loading
from nerfscene.scene.atomic import writing
from nerfscene.types import Camera, Frame, Lens

PASSES = ("depth", "normal", "accumulation")
Passes = Mapping[str, NDArray[np.float32]]  # (height, width), and (height, width, 3) for normals
HIT = 0.5  # accumulation above which a pixel shows something


def passes_of(text: str | None) -> tuple[str, ...]:
    """The passes that --passes names, in the order of PASSES; raises NerfsceneError for others."""
    if text is None:
        return ()
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    names = ["normal" if name == "normals" else name for name in names]
    wrong = [name for name in names if name not in PASSES]
    if wrong or not names:
        raise NerfsceneError(
            f"--passes takes some of {','.join(PASSES)}, not {', '.join(wrong) or text!r:.60}"
        )
    return tuple(name for name in PASSES if name in names)


def passes_made(names: tuple[str, ...], renderer: Renderer, camera: Camera, frame: Frame) -> Passes:
    """The passes of a frame. Raises NerfsceneError if the GPU fails."""
    hit = frame.accumulation > HIT
    made: dict[str, NDArray[np.float32]] = {}
    for name in names:
        if name == "depth":
            made[name] = np.where(hit, frame.depth, 0).astype(np.float32)
        elif name == "accumulation":
            made[name] = np.clip(frame.accumulation, 0, 1)
        else:
            made[name] = normals(frame.depth, *camera_rays(renderer, camera), camera.intrinsics.lens)
            to_world = camera.world_from_cam[:3, :3].T.astype(np.float32)
            for rows in strips(len(hit)):
                made[name][rows] = made[name][rows] @ to_world * hit[rows, :, None]
    return made


def camera_rays(renderer: Renderer, camera: Camera) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The rays through a camera's pixels, in its axes: unit directions and origins (height, width, 3).

    The origins, in world units, are None where they all are the camera's centre.
    """
    k = camera.intrinsics
    apart = k.lens in ("orthographic", "stereo180")
    rays = np.empty((k.height, k.width, 3), np.float32)
    origins = np.empty_like(rays) if apart else None
    scale = np.float32(similarity_scale(renderer.scene_from_world))
    for rows in strips(k.height):
        first, last = rows.start, rows.stop
        every = np.ones((last - first, k.width), bool)
        begin, part = rays_through(renderer, k, np.eye(4), every, (first, last, 0, k.width))
        rays[rows] = part.reshape(last - first, k.width, 3)
        if origins is not None:
            origins[rows] = begin.reshape(last - first, k.width, 3) / scale
    return rays, origins


def normals(
    depth: NDArray[np.float32],
    rays: NDArray[np.floating],
    origins: NDArray[np.float32] | None = None,
    lens: Lens = "perspective",
) -> NDArray[np.float32]:
    """Unit normals (height, width, 3), towards the camera, from neighbouring depths (height, width).

    rays: unit directions (height, width, 3), in whose axes the normals are. origins: of the rays, if they
    aren't one point. lens: that of the picture; an equirectangular one closes at its sides, and a stereo180
    one is two. Depth is smoothed a little first:
    its noise is small compared with depth itself, but not with the differences between pixels.
    """
    with loading():
        from scipy.ndimage import gaussian_filter

    height, width = depth.shape
    if lens == "stereo180":
        eyes = np.s_[:, : width // 2], np.s_[:, width // 2 :]
        seen = [normals(depth[eye], rays[eye], None if origins is None else origins[eye]) for eye in eyes]
        return np.concatenate(seen, axis=1)
    if min(height, width) < 2:
        return np.zeros((height, width, 3), np.float32)
    closes = lens == "equirectangular"
    beside = "wrap" if closes else "nearest"
    smooth = gaussian_filter(depth, min(1.0 + height / 400, 3.0), mode=("nearest", beside))
    made = np.empty((height, width, 3), np.float32)
    for rows in strips(height):  # a picture of 4K would take half a gigabyte at once
        first, last = rows.start, rows.stop
        above, below = max(first - 1, 0), min(last + 1, height)
        points = rays[above:below] * smooth[above:below, :, None]
        if origins is not None:
            points = points + origins[above:below]
        if closes:
            points = np.concatenate([points[:, -1:], points, points[:, :1]], axis=1)
        down, right = (g[first - above : last - above] for g in np.gradient(points, axis=(0, 1)))
        n = np.cross(down, right)
        n = n[:, 1:-1] if closes else n
        n /= np.maximum(np.linalg.norm(n, axis=-1, keepdims=True), 1e-12)
        n *= np.where((n * rays[rows]).sum(-1, keepdims=True) > 0, -1.0, 1.0)
        made[rows] = n
    return made


def pass_file(folder: Path, name: str, number: int, kind: str) -> Path:
    """Where a pass of a frame lies; kind: exr or png."""
    return folder / f"{name}-{number:05d}.{kind}"


def write_pass(values: NDArray[np.float32], file: Path, unit: float) -> None:
    """Writes a pass (height, width), or (height, width, 3) of normals, as its file's ending says.

    OpenEXR has 32-bit floats: channel Y, or R, G and B for the x, y and z of normals. A PNG has 16 bits: a
    depth in steps of ``unit`` world units, an accumulation times 65535, and of normals (1 + n) · 32767.5, or
    0 0 0 where there is none. Raises NerfsceneError when the disk is full or the folder can't be written.
    """
    if file.suffix == ".exr":
        _write("exr", values, "grayf32le" if values.ndim == 2 else "gbrpf32le", file)
    elif file.name.startswith("depth-"):
        video.write_depth(values, file, unit)
    elif values.ndim == 2:
        video.write_picture(np.rint(values * 65535).astype(np.uint16), file)
    else:
        steps = np.empty(values.shape, np.uint16)
        for rows in strips(len(values)):
            part = values[rows]
            steps[rows] = np.rint((1 + np.clip(part, -1, 1)) * 32767.5) * part.any(-1, keepdims=True)
        _write("png", steps, "rgb48be", file)


def _write(codec: str, values: NDArray[Any], pixels: str, file: Path) -> None:
    """Writes one picture as FFmpeg's ``codec`` does, from pixels of the format ``pixels``."""
    try:
        context = av.CodecContext.create(codec, "w")
    except (av.codec.codec.UnknownCodecError, ValueError) as error:
        raise NerfsceneError(
            f"this machine's PyAV can't write {codec} files; install PyAV from PyPI: pip install av"
        ) from error
    context.height, context.width = values.shape[:2]  # type: ignore[attr-defined]
    context.pix_fmt = pixels  # type: ignore[attr-defined]
    context.time_base = Fraction(1)
    context.options = {"format": "float", "compression": "zip16"} if codec == "exr" else {}
    plain: NDArray[Any] = np.ascontiguousarray(values)
    picture = av.VideoFrame.from_ndarray(plain, format=pixels)
    picture.pts = 0
    with writing(file) as temporary, temporary.open("wb") as out:
        for packet in (*context.encode(picture), *context.encode(None)):  # type: ignore[attr-defined]
            out.write(packet)

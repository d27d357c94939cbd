"""Photos without lens distortion: what a pinhole camera in the same place would have taken."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.cameras.lens_fit import projection, unprojected
from nerfscene.capture.photos import is_plain, read_mask, read_pixels
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.shots import Shot
from nerfscene.loading import loading
from nerfscene.types import Array, Intrinsics

Floats = NDArray[np.float32]

EDGE = 64  # points along each side of the picture, whose directions are looked at
WIDEST = 60.0  # degrees from the axis: beyond, a plain picture stretches things too much
FARTHEST = np.radians(89)  # from the axis: beyond, rays hardly meet the plane z = 1
MIDDLE_WORTH = 0.9  # of a side that must be left for the principal point to be put in the middle
SMALLEST = 16  # pixels along a side
ROWS = 256  # resampled at once, which bounds memory
QUALITY = 96  # of the JPEGs


def pinhole_of(lens: Intrinsics, where: Path) -> Intrinsics:
    """A lens without distortion whose picture lies within that of ``lens``, at the scale of its middle.

    Its principal point is in the middle unless that costs a tenth of a side: some programs take it to be
    there. It sees at most WIDEST to each side. ``where``: names the photo in the error.
    Raises NerfsceneError when the lens can't be undistorted.
    """
    t = np.linspace(0, 1, EDGE)
    x, y = t * (lens.width - 1) + 0.5, t * (lens.height - 1) + 0.5  # centres of the outermost pixels
    first = np.full(EDGE, 0.5)
    left, right = (plane_points(lens, np.stack([at, y], 1))[:, 0] for at in (first, lens.width - first))
    top, bottom = (plane_points(lens, np.stack([x, at], 1))[:, 1] for at in (first, lens.height - first))
    most = np.tan(np.radians(WIDEST))
    half_pixel = 0.5 / lens.fx, 0.5 / lens.fy  # from these centres to the picture's edges
    x0, x1 = max(left.max() - half_pixel[0], -most), min(right.min() + half_pixel[0], most)
    y0, y1 = max(top.max() - half_pixel[1], -most), min(bottom.min() + half_pixel[1], most)
    width, cx = _side(x0, x1, lens.fx)
    height, cy = _side(y0, y1, lens.fy)
    if min(width, height) < SMALLEST:
        raise NerfsceneError(f"the lens of {where} can't be undistorted: export the cameras without --photos")
    return Intrinsics(width, height, lens.fx, lens.fy, cx, cy)


def kept_share(lens: Intrinsics, pinhole: Intrinsics) -> float:
    """The share (0…1) of a picture's area that its undistorted picture shows, about."""
    n = 48
    u, v = np.meshgrid((np.arange(n) + 0.5) / n * lens.width, (np.arange(n) + 0.5) / n * lens.height)
    plane = plane_points(lens, np.stack([u.ravel(), v.ravel()], 1))
    x = plane[:, 0] * pinhole.fx + pinhole.cx
    y = plane[:, 1] * pinhole.fy + pinhole.cy
    return float(((x >= 0) & (x <= pinhole.width) & (y >= 0) & (y <= pinhole.height)).mean())


def _side(low: float, high: float, focal: float) -> tuple[int, float]:
    """The pixels and the principal point of a side that spans low … high in the plane z = 1."""
    half = min(-low, high)
    if 2 * half >= MIDDLE_WORTH * (high - low):
        size = int(2 * half * focal + 1e-6)
        return size, size / 2
    return int((high - low) * focal + 1e-6), -low * focal


def plane_points(lens: Intrinsics, pixels: Array) -> Array:
    """Where the rays through pixels (n, 2) meet the plane z = 1; very far away for those that don't."""
    base, found = unprojected(lens, pixels)
    if lens.lens == "fisheye":
        angle = np.linalg.norm(base, axis=1, keepdims=True)
        found = found & (angle[:, 0] < FARTHEST)
        base = base * np.tan(np.minimum(angle, FARTHEST)) / np.maximum(angle, 1e-12)
    outward = 1e9 * np.sign(pixels - [lens.cx, lens.cy])
    return np.where(found[:, None] & np.isfinite(base), base, outward)


def source_pixels(lens: Intrinsics, pinhole: Intrinsics, rows: slice) -> Array:
    """Where the pixels of some rows of the pinhole's picture lie in that of ``lens``: (rows, width, 2)."""
    x = (np.arange(pinhole.width) + 0.5 - pinhole.cx) / pinhole.fx
    y = (np.arange(pinhole.height)[rows] + 0.5 - pinhole.cy) / pinhole.fy
    base = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), -1).reshape(-1, 2)
    if lens.lens == "fisheye":
        radius = np.linalg.norm(base, axis=1, keepdims=True)
        base = base * np.where(radius > 1e-9, np.arctan(radius) / np.maximum(radius, 1e-12), 1.0)
    return projection(lens)(base).reshape(len(y), pinhole.width, 2)


def resampled(pixels: NDArray[np.uint8], lens: Intrinsics, pinhole: Intrinsics) -> NDArray[np.uint8]:
    """The picture (h, w, channels) of ``lens`` as the pinhole would have taken it.

    Bicubic, because a bilinear mean would blur detail at the same scale; with alpha, colours are weighted by
    it.
    """
    with loading():
        import torch
        from torch.nn.functional import grid_sample

    height, width, channels = pixels.shape
    picture = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float()[None]
    if channels == 4:
        picture[:, :3] *= picture[:, 3:] / 255
    size = np.array([width, height])
    out = np.empty((pinhole.height, pinhole.width, channels), np.uint8)
    for first in range(0, pinhole.height, ROWS):
        rows = slice(first, min(first + ROWS, pinhole.height))
        grid = torch.from_numpy((source_pixels(lens, pinhole, rows) / size * 2 - 1).astype(np.float32))
        found = grid_sample(picture, grid[None], "bicubic", "border", align_corners=False)[0]
        if channels == 4:
            found[:3] *= 255 / found[3:].clamp(min=1)
        out[rows] = found.permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
    return out


def undistorted_mask(mask: NDArray[np.bool_], lens: Intrinsics, pinhole: Intrinsics) -> NDArray[np.bool_]:
    """A mask (h, w) of the picture of ``lens`` for the pinhole's: of each pixel, where its centre lies."""
    out = np.empty((pinhole.height, pinhole.width), bool)
    for first in range(0, pinhole.height, ROWS):
        rows = slice(first, min(first + ROWS, pinhole.height))
        at = np.floor(source_pixels(lens, pinhole, rows)).astype(int)
        out[rows] = mask[np.clip(at[..., 1], 0, lens.height - 1), np.clip(at[..., 0], 0, lens.width - 1)]
    return out


def write_photo(shot: Shot, pinhole: Intrinsics, file: Path, alpha: bool) -> None:
    """Writes a shot's photo, upright, in sRGB, as the pinhole would have taken it.

    It is copied if its lens has no distortion and any program reads it as it is. alpha: whether its
    transparency means something. Raises NerfsceneError if the photo can't be decoded, OSError for ``file``.
    """
    path, lens = shot.view.path, shot.lens
    file.parent.mkdir(parents=True, exist_ok=True)
    same_ending = path.suffix.lower() == file.suffix.lower()
    if lens == pinhole and same_ending and is_plain(path, ("RGB", "RGBA") if alpha else ("RGB",)):
        shutil.copyfile(path, file)
        return
    pixels = read_pixels(path, lens.width, lens.height)
    if not alpha or file.suffix.lower() != ".png":
        pixels = pixels[..., :3]
    if lens != pinhole:
        pixels = resampled(pixels, lens, pinhole)
    Image.fromarray(pixels).save(file, quality=QUALITY, subsampling=0)  # a PNG has neither


def write_mask(shot: Shot, pinhole: Intrinsics | None, file: Path) -> None:
    """Writes the mask of a shot's picture, grey, black where the picture is to be ignored; white without one.

    pinhole: that of the picture as written; None: the picture is the photo as stored.
    Raises NerfsceneError if the mask can't be decoded, OSError for ``file``.
    """
    view, lens = shot.view, shot.lens
    if view.mask is None:
        target = pinhole or lens
        keep = np.ones((target.height, target.width), bool)
    else:
        shown = (lens.height, lens.width) if shot.turns % 2 else (lens.width, lens.height)
        keep = np.rot90(read_mask(view.mask, *shown, view.mask_turns), shot.turns)
        if pinhole is not None and pinhole != lens:
            keep = undistorted_mask(keep, lens, pinhole)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(keep, 255, 0).astype(np.uint8)).save(file)


def undistorting(shot: Shot) -> Intrinsics:
    """The lens of a shot's picture as ``write_photo`` writes it."""
    return pinhole_of(shot.lens, shot.view.path) if shot.has_distortion else shot.lens


def without_distortion(shot: Shot, pinhole: Intrinsics) -> Shot:
    """The shot of the picture as written."""
    return replace(shot, lens=pinhole)

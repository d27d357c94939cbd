"""Captures as phones make them, from the demo's pictures, and how well their cameras were recovered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from footage_cases import DEMO, write_video
from photo_cases import exif
from PIL import Image, ImageFilter
from pose_errors import extent, pose_errors

from nerfscene.capture.folder import FILM_DIAGONAL
from nerfscene.formats.readers import find_posed
from nerfscene.types import Array, View

TRUTH = DEMO.parent
DIAGONAL, FOCAL = 800.0, 577.5  # pixels, of the demo's pictures
LARGE, MEDIUM = (4032, 3024), (2016, 1512)
WIDE = (0, 60, 640, 420)  # what a video shows of a picture: left, top, right, bottom


def demo_picture(number: int) -> Image.Image:
    """The demo's picture of this number, from 1 on."""
    with Image.open(DEMO / f"{number:04d}.jpg") as image:
        return image.convert("RGB")


@dataclass(frozen=True)
class PhonePhotos:
    """A folder of photos, with the names of the good ones, of the blurred one and of the copy."""

    folder: Path
    good: tuple[str, ...]
    blurred: str
    copy: str


def write_phone_photos(folder: Path, first: int, count: int) -> PhonePhotos:
    """Writes ``count`` pictures of the demo as a phone would, a blurred one, and a copy of one of them.

    Every other one is HEIC, the rest are JPEGs that lie on their side, as EXIF says; every sixth is upright,
    by another lens. The exposure drifts. 12 megapixels take a second or two to write: one of each kind is so
    large, the others have a quarter of its pixels.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(4)
    drift = np.cumsum(rng.normal(0, 0.03, (count + 1, 3)), 0)
    good = []
    for i in range(count):
        number = first + i
        picture = exposed(demo_picture(number), drift[i])
        size = LARGE if i in (1, 2) else MEDIUM
        if i % 6 == 3:
            upright = picture.crop((140, 0, 500, 480))
            good.append(save_on_its_side(upright, folder / f"IMG_{number:04d}.JPG", size[::-1]))
        elif i % 2:
            good.append(save_on_its_side(picture, folder / f"IMG_{number:04d}.JPG", size))
        else:
            good.append(save_heic(picture, folder / f"IMG_{number:04d}.HEIC", size))
    moved = exposed(demo_picture(first + count), drift[count])
    soft = moved.filter(ImageFilter.GaussianBlur(4))  # out of focus
    blurred = save_on_its_side(soft, folder / f"IMG_{first + count:04d}.JPG", MEDIUM)
    sent = exposed(demo_picture(first + 4), drift[4]).resize((1600, 1200), Image.Resampling.BICUBIC)
    sent.save(folder / "sent.jpg", quality=80)  # as a messenger sends it: smaller, and without EXIF
    return PhonePhotos(folder, tuple(good), blurred, "sent.jpg")


def exposed(picture: Image.Image, gains: Array) -> Image.Image:
    """The picture under exp(gains), red, green and blue."""
    brighter = np.asarray(picture, float) * np.exp(gains)
    return Image.fromarray(np.clip(brighter, 0, 255).astype(np.uint8))


def equivalent(picture: Image.Image) -> int:
    """The focal length that a phone notes for a picture cut from the demo's, in mm on 35 mm film."""
    return round(FOCAL / float(np.hypot(*picture.size)) * FILM_DIAGONAL)


def save_on_its_side(picture: Image.Image, path: Path, size: tuple[int, int]) -> str:
    stored = picture.resize(size, Image.Resampling.BICUBIC).transpose(Image.Transpose.ROTATE_90)
    stored.save(path, quality=88, exif=exif(6, equivalent=equivalent(picture)))
    return path.name


def save_heic(picture: Image.Image, path: Path, size: tuple[int, int]) -> str:
    large = picture.resize(size, Image.Resampling.BICUBIC)
    told = exif(equivalent=equivalent(picture))
    large.save(path, quality=70, exif=told, enc_params={"preset": "ultrafast"})
    return path.name


def write_phone_video(path: Path, numbers: Sequence[int]) -> Path:
    """Writes a video of 1920×1080 that shows each of these pictures for a third of a second.

    Two frames in ten are sharp; between them the picture is out of focus, smeared, or half the next one.
    """
    stills = [demo_picture(n).crop(WIDE) for n in numbers]
    return write_video(path, (np.asarray(in_full_hd(frame)) for frame in _footage(stills)))


def full_hd(number: int) -> Image.Image:
    return in_full_hd(demo_picture(number).crop(WIDE))


def in_full_hd(picture: Image.Image) -> Image.Image:
    return picture.resize((1920, 1080), Image.Resampling.BICUBIC)


def _footage(stills: Sequence[Image.Image]) -> Iterator[Image.Image]:
    for i, still in enumerate(stills):
        after = stills[min(i + 1, len(stills) - 1)]
        for soft in (3.0, 2.0, 1.3, 0.0, 0.0, 1.3, 2.0):
            yield still.filter(ImageFilter.GaussianBlur(soft)) if soft else still
        for share in (0.3, 0.5, 0.7):
            yield Image.blend(still, after, share).filter(ImageFilter.GaussianBlur(2.0))


@dataclass(frozen=True)
class CameraErrors:
    """How far cameras are from the demo's: places as shares of the extent of the true places, turns in
    degrees, focal lengths as shares; and the direction that is up in the world of the cameras found (3,)."""

    places: Array
    turns: Array
    focals: Array
    up: Array


def camera_errors(views: Sequence[View], numbers: Sequence[int], focals: Sequence[float]) -> CameraErrors:
    """Compares views with the demo's cameras of these numbers; ``focals``: the true ones, in pixels."""
    demo = find_posed(TRUTH)
    assert demo is not None
    named = {v.path.name: v.world_from_cam for v in demo.views}
    true = [named[f"{number:04d}.jpg"] for number in numbers]
    distances, degrees, rotation = pose_errors([v.world_from_cam for v in views], true)
    lenses = np.array([v.intrinsics.fx for v in views]) / np.asarray(focals) - 1
    return CameraErrors(distances / extent(true), degrees, lenses, rotation.T[:, 2])

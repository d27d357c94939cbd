"""Writes upright copies of photos and masks at working size, for COLMAP.

COLMAP reads photos at full size and ignores their EXIF orientation. With these copies its poses refer to the
photos as an image viewer shows them, and its memory use is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from nerfscene.capture.folder import StageListener, read_mask, read_pixels, worker_count
from nerfscene.types import Photo

FINE_BELOW = 800  # px, longest side: in smaller pictures, features are found at twice their size


def working_size(photo: Photo, longest: int) -> tuple[int, int]:
    """(width, height) of the photo's copy in pixels: the longer side at most ``longest``.

    A photo that would be doubled to find features, to more pixels than ``longest``, is enlarged to that
    instead, which takes half the time and places cameras as well.
    """
    side = max(photo.width, photo.height)
    enlarged = side < FINE_BELOW <= longest < 2 * side
    scale = longest / side if enlarged else min(1.0, longest / side)
    return max(round(photo.width * scale), 1), max(round(photo.height * scale), 1)


def copy_name(index: int) -> str:
    """File name of the copy of the photo at ``index`` in the capture."""
    return f"{index:05d}.jpg"


def copy_index(name: str) -> int:
    """The index of the photo whose copy has this name: the inverse of copy_name."""
    return int(Path(name).stem)


def write_masks(folder: Path, photos: Sequence[Photo], sizes: Sequence[tuple[int, int]]) -> bool:
    """Writes masks at ``sizes`` (width, height) into the new ``folder``, named as COLMAP expects.

    A photo without a mask gets a white one: COLMAP finds no features in a photo whose mask is missing.
    Writes nothing and returns False if no photo has a mask. Raises NerfsceneError if a mask can't be read.
    """
    if all(photo.mask is None for photo in photos):
        return False
    folder.mkdir()
    for index, photo in enumerate(photos):
        width, height = sizes[index]
        mask = np.ones((height, width), bool)
        if photo.mask is not None:
            mask = read_mask(photo.mask, width, height, photo.mask_turns)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{copy_name(index)}.png")
    return True


def write_copies(
    folder: Path, photos: Sequence[Photo], sizes: Sequence[tuple[int, int]], progress: StageListener
) -> None:
    """Writes a JPEG copy of every photo at its size (width, height) into the new ``folder``.

    Raises NerfsceneError when a photo can't be read any more.
    """
    folder.mkdir()

    def write(index: int) -> None:
        photo, size = photos[index], sizes[index]
        enlarged = size[0] > photo.width
        pixels = read_pixels(photo.path, *((photo.width, photo.height) if enlarged else size))
        if pixels.shape[2] == 4:  # a cut-out: colours under transparent pixels must not give features
            alpha = pixels[..., 3:].astype(np.uint16)
            pixels = ((pixels[..., :3] * alpha + 127) // 255).astype(np.uint8)
        copy = Image.fromarray(pixels)
        if enlarged:
            copy = copy.resize(size, Image.Resampling.BICUBIC)
        copy.save(folder / copy_name(index), quality=95)

    with ThreadPoolExecutor(worker_count()) as pool:
        for count, _ in enumerate(pool.map(write, range(len(photos))), 1):
            progress("shrinking photos", count / len(photos))

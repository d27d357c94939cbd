"""Upright copies of the photos at working size, for COLMAP.

COLMAP reads raw pixels, EXIF orientation unheeded, at full size. From such copies its poses are
those of the photos as shown, and its memory is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from nerfscene.capture.folder import Progress, read_mask, read_pixels, worker_count
from nerfscene.types import Photo


def working_size(photo: Photo, longest: int) -> tuple[int, int]:
    """(width, height) in pixels, the longer side at most ``longest``."""
    scale = min(1.0, longest / max(photo.width, photo.height))
    return max(round(photo.width * scale), 1), max(round(photo.height * scale), 1)


def copy_name(index: int) -> str:
    """File name of the copy of the capture's photo number ``index``."""
    return f"{index:05d}.jpg"


def copy_index(name: str) -> int:
    """The inverse of copy_name."""
    return int(Path(name).stem)


def write_masks(folder: Path, photos: Sequence[Photo], sizes: Sequence[tuple[int, int]]) -> bool:
    """Masks at the photos' sizes (width, height), named as COLMAP wants them; returns whether any has one.

    A photo without gets one that is all white: COLMAP finds nothing in a photo whose mask is missing.
    """
    if all(photo.mask is None for photo in photos):
        return False
    folder.mkdir()
    for index, photo in enumerate(photos):
        width, height = sizes[index]
        used = np.ones((height, width), bool) if photo.mask is None else read_mask(photo.mask, width, height)
        Image.fromarray(used.astype(np.uint8) * 255).save(folder / f"{copy_name(index)}.png")
    return True


def write_copies(
    folder: Path, photos: Sequence[Photo], sizes: Sequence[tuple[int, int]], progress: Progress
) -> None:
    """Writes every photo at its size (width, height) into the new ``folder``.

    Raises NerfsceneError when a photo cannot be read any more.
    """
    folder.mkdir()

    def write(index: int) -> None:
        pixels = read_pixels(photos[index].path, *sizes[index])
        if pixels.shape[2] == 4:  # cut-outs: hidden colours must not give features
            alpha = pixels[..., 3:].astype(np.uint16)
            pixels = ((pixels[..., :3] * alpha + 127) // 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / copy_name(index), quality=95)

    with ThreadPoolExecutor(worker_count()) as pool:
        for count, _ in enumerate(pool.map(write, range(len(photos))), 1):
            progress("shrinking photos", count / len(photos))

"""The training photos' pixels: each photo is decoded straight into its place, in one array or in a file."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture import decoded
from nerfscene.capture.folder import StageListener, read_each, silent
from nerfscene.errors import NerfsceneError
from nerfscene.training.pixel_file import HELD, PixelFile, free_memory, holdable, new_file
from nerfscene.types import View

Pixels = NDArray[np.uint8]
FOR_SCENE = 512 << 20  # bytes that stay free on the disk: a scene is saved beside the one before


@dataclass(frozen=True)
class Joined:
    """Photos' pixels one after another, (all, channels), their mean colour, 0…1, and the file they are in.

    file: None if they are in memory
    """

    pixels: Pixels
    mean: tuple[float, float, float]
    file: PixelFile | None


def join_photos(
    train: Sequence[View], channels: int, folder: Path | None = None, progress: StageListener = silent
) -> Joined:
    """The pixels of all training photos.

    channels: 3 or 4; a photo without an alpha channel is opaque. folder: where there may be a file for more
    pixels than should be in memory; None: nowhere. Raises NerfsceneError if a photo can't be read, or if the
    photos fit neither in memory nor on the disk.
    """
    sizes = [(v.path, v.intrinsics.width, v.intrinsics.height) for v in train]
    ends = np.cumsum([width * height for _, width, height in sizes], dtype=np.int64)
    count = int(ends[-1]) if sizes else 0
    file = None if folder is None else _file_for(count, channels, folder)
    try:
        pixels = np.empty((count, channels), np.uint8) if file is None else file.array()
    except MemoryError as error:
        raise NerfsceneError(
            f"{len(train)} photos of this size don't fit in memory; downscale them with --downscale 2"
        ) from error
    sums = np.zeros((len(train), 3), np.int64)

    def place(index: int, photo: Pixels) -> None:
        rows = with_channels(photo.reshape(-1, photo.shape[2]), channels)
        start = int(ends[index]) - len(rows)
        if file is None:
            pixels[start : ends[index]] = rows
        else:
            file.write(start, rows)
        # Down the columns first, which is many times as fast as adding up one colour after the other.
        sums[index] = photo[..., :3].sum(0, dtype=np.uint32).sum(0, dtype=np.int64)

    try:
        read_each(sizes, place, progress)
    except OSError as error:
        assert folder is not None
        raise _no_room(count * channels, folder, error) from error
    finally:
        if file is not None:
            file.file.close()
    decoded.forget()
    red, green, blue = (float(c) for c in sums.sum(0) / (255 * max(count, 1)))
    return Joined(pixels, (red, green, blue), file)


def with_channels(rows: Pixels, channels: int) -> Pixels:
    """Pixels (n, 3 or 4) with so many channels; alpha is left out, or opaque where there was none."""
    if rows.shape[1] == channels:
        return rows
    if channels == 3:
        return rows[:, :3]
    return np.concatenate([rows, np.full((len(rows), 1), 255, np.uint8)], axis=1)


def _file_for(count: int, channels: int, folder: Path) -> PixelFile | None:
    """A file for so many pixels, None if they are better kept in memory.

    Raises NerfsceneError if neither has room for them.
    """
    size, most = count * channels, holdable()
    if size <= most:
        return None
    try:
        if shutil.disk_usage(folder).free < size + FOR_SCENE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return new_file(count, channels, folder, int(HELD * most))
    except OSError as error:
        if 2 * size < free_memory():
            return None
        raise _no_room(size, folder, error) from error


def _no_room(size: int, folder: Path, error: OSError) -> NerfsceneError:
    return NerfsceneError(
        f"the photos' pixels take {size / 1e9:.1f} GB, for which there is too little memory, and no room in "
        f"{folder} ({error.strerror or error}): free some space there, choose another folder with -o, or "
        "downscale the photos with --downscale 2"
    )

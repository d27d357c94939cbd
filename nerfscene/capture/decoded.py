"""Keeps photos' pixels between the stages that want the same ones, so that each photo is decoded less often.

Checking photos, finding features and training each want every photo. Decoding takes most of the time that
reading does, up to half a second for a HEIC. What one stage has decoded lies in a file without a name until
the last one has read it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 1 << 30  # bytes kept
SHARE = 1 / 8  # and at most this share of the room on the disk, where posing and training want some too

Key = tuple[
    str, int, int, int, int
]  # path, its time of change and size in bytes; the pixels' width and height


@dataclass
class _Kept:
    """What is kept: where in the file, and the shape of the pixels. longest, again: see ``keeping``.

    most: bytes
    """

    file: Any
    most: int
    longest: int
    again: bool
    places: dict[Key, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    used: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


_kept: _Kept | None = None


@contextlib.contextmanager
def keeping(folder: Path, longest: int, again: bool) -> Iterator[None]:
    """Keeps pixels during the block, or until ``forget``. Not for two threads at once.

    folder: on its disk; where there is no room, nothing is kept. longest: pixels of the longer side of the
    photos that features are found in. again: whether training reads photos of that size too.
    """
    global _kept
    try:
        most = min(MOST, int(SHARE * shutil.disk_usage(folder).free))
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below
    except OSError:
        yield
        return
    with file:
        _kept = _Kept(file, most, longest, again)
        try:
            yield
        finally:
            _kept = None


def forget() -> None:
    """Lets go of all that is kept: nobody will ask for it any more."""
    global _kept
    if _kept is not None:
        _kept.file.truncate(0)
    _kept = None


def size_to_keep(width: int, height: int) -> tuple[int, int] | None:
    """The size (width, height) in which a photo of that size will be read next, None if nothing is kept."""
    if _kept is None:
        return None
    scale = min(1.0, _kept.longest / max(width, height))
    return max(round(width * scale), 1), max(round(height * scale), 1)


def read_again(width: int, height: int) -> bool:
    """Whether pixels of this size will be asked for once more."""
    return _kept is not None and _kept.again and max(width, height) == _kept.longest


def keep(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Keeps a photo's pixels (height, width, channels), if there is room."""
    kept, key = _kept, _key(path, pixels.shape[1], pixels.shape[0])
    if kept is None or key is None:
        return
    with kept.lock:
        start = kept.used
        if key in kept.places or start + pixels.nbytes > kept.most:
            return
        kept.used += pixels.nbytes
    left, at = np.ascontiguousarray(pixels).reshape(-1).data, start
    try:
        while left:
            written = os.pwrite(kept.file.fileno(), left, at)
            at, left = at + written, left[written:]
    except (OSError, ValueError):  # the disk is full, or the file was closed
        return
    kept.places[key] = start, pixels.shape


def find(path: Path, width: int, height: int) -> NDArray[np.uint8] | None:
    """The pixels (height, width, channels) kept of a photo of this size, None if there are none."""
    kept = _kept
    key = None if kept is None or not kept.places else _key(path, width, height)
    place = None if kept is None or key is None else kept.places.get(key)
    if kept is None or place is None:
        return None
    pixels = np.empty(place[1], np.uint8)
    try:
        got = os.preadv(kept.file.fileno(), [pixels.reshape(-1).data], place[0])
    except (OSError, ValueError):
        return None
    return pixels if got == pixels.nbytes else None


def _key(path: Path, width: int, height: int) -> Key | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path), found.st_mtime_ns, found.st_size, width, height

"""Keeps the training photos' pixels in a file where they would fill too much of the memory.

The file has no name, so nothing is left of it however the process ends. It is mapped into memory. Its pages
are the operating system's to drop and read again. But while they are mapped they count as this process's, and
reading single pixels from a disk takes far too long. So training draws its pixels from a part of the file at
a time, with blocks from all photos; ``turn`` goes on to the next part, which is then read at once.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

MOST = 512 << 20  # bytes of pixels that are kept in memory, without a file
SHARE = 1 / 8  # and at most this share of the memory that is free
LEAST = 32 << 20  # bytes; less is not worth a file
HELD = 0.5  # of these bytes are drawn from at a time if there is a file
BLOCK = 1 << 20  # bytes that are read together: a few hundred rows of a photo
# Bytes written together. Linux maps what was written together as a whole, and all of that counts.
WRITTEN = 1 << 16
STEPS = 512  # training steps with the same part of the pixels: two or three seconds on two cores


@dataclass
class PixelFile:
    """An open file without a name, mapped into memory, for pixels of so many channels.

    file: open as long as there is something to write, the map stays
    held: bytes of them in memory at most; turned: the number of the part that is drawn from
    """

    file: Any
    map: mmap.mmap
    channels: int
    held: int
    turned: int = -1

    def array(self) -> Pixels:
        """All pixels (all, channels), as an array that keeps the file open."""
        return np.frombuffer(self.map, np.uint8).reshape(-1, self.channels)

    def write(self, start: int, pixels: Pixels) -> None:
        """Writes pixels, the first as number ``start``. Raises OSError if there is no room."""
        start *= self.channels
        left = np.ascontiguousarray(pixels).reshape(-1).data
        while left:
            written = os.pwrite(self.file.fileno(), left[: WRITTEN - start % WRITTEN], start)
            start, left = start + written, left[written:]

    def forget(self) -> None:
        """Unmaps all pages. They stay in the file, and mostly in memory that is there for any process."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED)

    def fetch(self, start: int, stop: int) -> None:
        """Begins to read the bytes from ``start`` to ``stop``."""
        if hasattr(mmap, "MADV_WILLNEED"):
            start -= start % mmap.PAGESIZE
            self.map.madvise(mmap.MADV_WILLNEED, start, stop - start)


def new_file(count: int, channels: int, folder: Path, held: int) -> PixelFile:
    """A file for ``count`` pixels on the disk of ``folder``. Raises OSError if there is no room for it."""
    size = count * channels
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - whoever has written to it closes it
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        return PixelFile(file, mmap.mmap(file.fileno(), size), channels, held)
    except BaseException:
        file.close()
        raise


def turn(
    file: PixelFile, trainer: Any, count: int, chosen: NDArray[np.uint32] | None, step: int, seed: int
) -> None:
    """Has the trainer draw from the part of the pixels whose turn it is, and begins to read that part.

    count: of the pixels to train on; chosen: their indices among all pixels in the file, None: these are all;
    step: how many training steps are done. The same seed gives the same parts.
    """
    number = step // STEPS
    if number == file.turned:
        return
    file.turned = number
    begin, size = parts(count, file.channels, file.held, number, seed)
    file.forget()
    for first, last in zip(begin.tolist(), (begin + np.uint64(size - 1)).tolist(), strict=True):
        if chosen is not None:
            first, last = int(chosen[first]), int(chosen[last])
        file.fetch(first * file.channels, (last + 1) * file.channels)
    trainer.draw_from(begin, size)


def parts(count: int, channels: int, held: int, number: int, seed: int) -> tuple[NDArray[np.uint64], int]:
    """Where the blocks of the ``number``-th part of ``count`` pixels begin, and how many pixels each has.

    A part has at most ``held`` bytes, and blocks from all over the photos. As many parts as cover all pixels
    follow each other, then come others. No blocks if all pixels fit in one part.
    """
    size = min(BLOCK // channels, count)
    blocks = -(-count // size)
    needed = -(-blocks // max(held // (size * channels), 1))
    if needed <= 1:
        return np.zeros(0, np.uint64), size
    turn_of_all, index = divmod(number, needed)
    order = np.random.default_rng([seed, turn_of_all]).permutation(blocks)
    # The last block ends with the last pixel, and shares some with the one before.
    begin = np.minimum(np.sort(np.array_split(order, needed)[index]) * size, count - size)
    return begin.astype(np.uint64), size


def holdable() -> int:
    """Bytes of pixels that are kept in memory without a file."""
    return max(min(MOST, int(SHARE * free_memory())), LEAST)


def free_memory() -> int:
    """Bytes of memory that this process can still get: the machine's, or fewer where a limit is set.

    Pages of files that the operating system can drop count as free.
    """
    free = [_machine_has()]
    for folder, names in _limits():
        limit, used, dropped = names
        try:
            most, now = int((folder / limit).read_text()), int((folder / used).read_text())
            lines = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            free.append(max(most - now + int(lines[dropped]), 0))
        except (OSError, ValueError, KeyError):  # "max" is no limit
            continue
    return min(free)


def _limits() -> list[tuple[Path, tuple[str, str, str]]]:
    """Folders that may limit this process's memory (control groups), and the names of what they hold."""
    root = Path("/sys/fs/cgroup")
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, kinds, path = line.split(":", 2)
        places = [Path(path), *Path(path).parents]
        if number == "0":
            names = ("memory.max", "memory.current", "inactive_file")
            found += [(root / place.relative_to("/"), names) for place in places]
        elif "memory" in kinds.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            found += [(root / "memory" / place.relative_to("/"), names) for place in places]
    return found


def _machine_has() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, ValueError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2

"""Files that have no name, or none until they are complete: however the process ends, nothing is left."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nerfscene.scene.atomic import telling, writing

OPEN_FILES = Path("/proc/self/fd")


@contextlib.contextmanager
def writing_unnamed(path: Path) -> Iterator[Path]:
    """Another path to write to; the file becomes ``path`` on success and is gone on failure or `kill -9`.

    That takes Linux and a file system that has unnamed files; elsewhere it is ``atomic.writing``, of which
    `kill -9` leaves the temporary file. The file is in the folder of ``path``, so that it needs no copying.
    Raises NerfsceneError if the disk is full or the folder can't be written.
    """
    opened = _unnamed_in(path.parent)
    if opened is None:
        with writing(path) as temporary:
            yield temporary
        return
    try:
        place = OPEN_FILES / str(opened)
        with telling(path):
            yield place
        with writing(path) as temporary:
            temporary.unlink()
            # With a folder's descriptor, os.link follows the link that ``place`` is.
            os.link(place, temporary, src_dir_fd=opened, follow_symlinks=True)
    finally:
        os.close(opened)


@contextlib.contextmanager
def unnamed(folder: Path | None = None) -> Iterator[Path]:
    """A path to write to and read from; the file is gone after the block.

    folder: where it lies, the one for temporary files if not given. On Linux it never has a name, so that
    nothing is left after `kill -9` either. Raises OSError.
    """
    folder = Path(tempfile.gettempdir()) if folder is None else folder
    opened = _unnamed_in(folder)
    if opened is None:
        with tempfile.TemporaryDirectory(prefix="nerfscene-") as place:
            yield Path(place, "file")
        return
    try:
        yield OPEN_FILES / str(opened)
    finally:
        os.close(opened)


def _unnamed_in(folder: Path) -> int | None:
    """The descriptor of a new file without a name; None where there can't be one."""
    if not hasattr(os, "O_TMPFILE") or not OPEN_FILES.is_dir():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    except OSError:  # ``writing`` says why, if no other file can be written either
        return None

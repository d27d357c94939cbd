"""Room on the disk for COLMAP's database and models.

COLMAP 4 ends the whole process when its database can't be written, and doesn't notice when a model can't. So
both are checked here: before each of its calls there must be room for what it may write, and afterwards
models must have their full size.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pycolmap

PROBE = 1 << 16  # bytes: more than file systems keep for small files
# Bytes that one call may write to the database and its journal: for each photo whose features it finds, for
# each pair of photos that it matches, and besides.
A_PHOTO, A_PAIR, BESIDES = 4 << 20, 1 << 18, 8 << 20


def check_room(folder: Path, photos: int = 0, pairs: int = 0) -> None:
    """Raises OSError unless ``folder`` can be written and has room for a call of COLMAP."""
    check_writable(folder)
    if shutil.disk_usage(folder).free < A_PHOTO * photos + A_PAIR * pairs + BESIDES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def check_writable(folder: Path) -> None:
    """Raises OSError unless a small file can be written to ``folder``."""
    probe = folder / f".probe.{os.getpid()}.tmp"
    try:
        probe.write_bytes(bytes(PROBE))
    finally:
        probe.unlink(missing_ok=True)


def write_model(model: pycolmap.Reconstruction, folder: Path) -> None:
    """Writes a model to the new ``folder`` in COLMAP's binary format. Raises OSError if it isn't complete."""
    folder.mkdir()
    model.write_binary(str(folder))
    # The layout is in COLMAP's documentation, "Output format".
    images = [model.images[key] for key in model.reg_image_ids()]
    expected = {
        "cameras": sum(24 + 8 * len(camera.params) for camera in model.cameras.values()),
        "images": sum(64 + len(i.name.encode()) + 1 + 8 + 24 * i.num_points2D() for i in images),
        "points3D": sum(43 + 8 + 8 * point.track.length() for point in model.points3D.values()),
    }
    for name, size in expected.items():
        file = folder / f"{name}.bin"
        if file.stat().st_size != 8 + size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

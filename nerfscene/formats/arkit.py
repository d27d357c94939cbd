"""What the apps share that write ARKit's cameras: its axes, and lenses whose picture's size is not stated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import lens_of
from nerfscene.formats.listing import rigid
from nerfscene.types import Array, Intrinsics

# ARKit's video formats, (width, height): a lens is that of the recording, also when the pictures were shrunk.
RECORDED = ((1920, 1440), (1920, 1080), (1280, 720), (3840, 2160), (4032, 3024), (1440, 1080), (640, 480))
OFF_CENTRE = 0.1  # of the side: how far a phone's principal point may be from the picture's centre


def arkit_lens(values: Sequence[float] | Array, size: tuple[int, int], where: str) -> Intrinsics:
    """The lens (fx, fy, cx, cy), in pixels of a picture whose size the app does not state.

    size: (width, height) of the picture as stored. If the principal point is not near its centre, the lens is
    taken for that of the format of ARKit with the same proportions in whose centre it is.
    Raises NerfsceneError, beginning with ``where``, when there is no such format.
    """
    fx, fy, cx, cy = (float(value) for value in values)
    for width, height in (size, *RECORDED):
        same_shape = abs(width * size[1] - height * size[0]) <= max(width, height)
        if same_shape and max(abs(cx / width - 0.5), abs(cy / height - 0.5)) <= OFF_CENTRE:
            return lens_of(width, height, (fx, fy), (cx, cy), where)
    raise NerfsceneError(
        f"{where} has a lens with its centre at ({cx:.0f}, {cy:.0f}), which is not near the centre of a "
        f"picture of {size[0]}×{size[1]} pixels: use the pictures as the app recorded them, neither turned "
        "nor cropped."
    )


def arkit_pose(entries: Sequence[float] | Array, where: str) -> Array:
    """world_from_cam (4, 4) in ARKit's axes from 16 numbers, by rows or by columns: the last row is 0 0 0 1.

    Raises NerfsceneError, beginning with ``where``, when it is no rigid transform.
    """
    matrix = np.asarray(entries, np.float64).reshape(4, 4)
    if np.abs(matrix[3, :3]).max() > 1e-6 and np.abs(matrix[:3, 3]).max() <= 1e-6:
        matrix = matrix.T
    return rigid(matrix, where)

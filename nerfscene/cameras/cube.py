"""The six faces of a cube into which a panorama is cut, and which views belong to one panorama.

A panorama (equirectangular, 360° × 180°) has the axes of a camera that looks at its middle: x right, y down,
z forward.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nerfscene.types import Array, Photo, View


def _looking(right: tuple[int, int, int], forward: tuple[int, int, int]) -> Array:
    """The rotation (3, 3) panorama_from_face of a face with these x and z axes."""
    x, z = np.array(right, float), np.array(forward, float)
    return np.stack([x, np.cross(z, x), z], axis=1)


# panorama_from_face. Four faces lie round the horizon, and their x axes are level; at the lower edge of the
# upper face and the upper edge of the lower one is the front.
FACES: dict[str, Array] = {
    "front": _looking((1, 0, 0), (0, 0, 1)),
    "right": _looking((0, 0, -1), (1, 0, 0)),
    "back": _looking((-1, 0, 0), (0, 0, -1)),
    "left": _looking((0, 0, 1), (-1, 0, 0)),
    "up": _looking((1, 0, 0), (0, -1, 0)),
    "down": _looking((1, 0, 0), (0, 1, 0)),
}


def face_size(width: float) -> int:
    """Pixels along a side of the faces of a panorama that is ``width`` pixels wide over 360°.

    A face spans 90°. In its middle it has as many pixels per degree as the panorama, so that none is lost;
    the six together have 1.2 times as many pixels as the panorama.
    """
    return 2 * max(round(width / (2 * np.pi)), 8)


def face_rays(face: str, size: int, rows: slice) -> NDArray[np.float32]:
    """The directions (rows, size, 3) in which the pixels of a face look, in the panorama's axes; not unit.

    size: pixels along the face's sides; rows: of the face.
    """
    centre = (np.arange(size) + 0.5) / (0.5 * size) - 1
    x, y = np.meshgrid(centre, centre[rows])
    rays = np.stack([x, y, np.ones_like(x)], -1) @ FACES[face].T
    return rays.astype(np.float32)


def face_of(world_from_panorama: Array, points: Array) -> NDArray[np.int64]:
    """The face that shows each point (n, 3), by its place in ``FACES``. world_from_panorama: (4, 4)."""
    local = (points - world_from_panorama[:3, 3]) @ world_from_panorama[:3, :3]
    ahead = np.stack([local @ panorama_from_face[:, 2] for panorama_from_face in FACES.values()])  # (6, n)
    return ahead.argmax(0)


def shots(taken: Sequence[Photo | View]) -> list[int]:
    """For each photo or view, the number of the shot that it is from, 0 … in the order of the shots.

    All views cut from one panorama are one shot; every other photo is a shot of its own.
    """
    numbers: dict[object, int] = {}
    found = []
    for i, each in enumerate(taken):
        key = i if each.panorama is None else each.panorama
        found.append(numbers.setdefault(key, len(numbers)))
    return found

"""How large a picture may be while the camera moves, and in which order one at rest is refined."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nerfscene.field.rendering import Rect

FLOOR = 2e4  # pixels a second: one bad measurement must not end in a picture of a few pixels
SMALLEST = 64  # pixels along the longer side
TILE = 128  # pixels along a tile's sides


@dataclass
class Pace:
    """A smoothed measurement of how many pixels a second are rendered.

    It is kept in logarithms and moves by a third at each picture, so that one slow picture (another tab,
    a busy moment) changes little; it never falls below FLOOR and knows nothing of the sizes that it led
    to, so that it can't pull itself down.
    """

    pixels_per_second: float = 5e5

    def note(self, pixels: int, seconds: float) -> None:
        """A picture of so many pixels took so long."""
        if pixels <= 0 or seconds <= 0:
            return
        seen = max(pixels / seconds, FLOOR)
        self.pixels_per_second = math.exp(math.log(self.pixels_per_second) * 2 / 3 + math.log(seen) / 3)

    def moving_size(self, width: int, height: int, frames_per_second: float) -> tuple[int, int]:
        """The size, at most (width, height) and of its aspect, that holds this frame rate.

        In steps of an eighth of the full size, so that the picture's sharpness doesn't flicker.
        """
        share = math.sqrt(self.pixels_per_second / frames_per_second / max(width * height, 1))
        eighths = min(max(math.floor(share * 8), 1), 8)
        scale = max(eighths / 8, min(SMALLEST / max(width, height, 1), 1.0))
        return max(round(width * scale), 1), max(round(height * scale), 1)


def tiles_from_centre(width: int, height: int, tile: int = TILE) -> list[Rect]:
    """Rectangles that cover a picture once, those nearest its middle first."""
    rects = [
        (row, min(row + tile, height), column, min(column + tile, width))
        for row in range(0, height, tile)
        for column in range(0, width, tile)
    ]

    def off_centre(r: Rect) -> float:
        return math.hypot((r[0] + r[1] - height) / 2, (r[2] + r[3] - width) / 2)

    return sorted(rects, key=off_centre)

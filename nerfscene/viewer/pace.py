"""The size of pictures while the camera moves, and the order of tiles when it is at rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nerfscene.field.rendering import Rect

FLOOR = 2e4  # pixels a second at least: one bad measurement must not shrink the picture to a few pixels
SMALLEST = 64  # pixels along the longer side
TILE = 128  # pixels along a tile's sides


@dataclass
class Pace:
    """A smoothed measurement of how many pixels a second are rendered.

    The logarithm moves by a third of the way at each picture, so that one slow picture (another tab, a busy
    moment) changes little. It never falls below FLOOR, and doesn't depend on the sizes chosen by it, so that
    it can't spiral down.
    """

    pixels_per_second: float = 5e5

    def note(self, pixels: int, seconds: float) -> None:
        """Updates the estimate: ``pixels`` took ``seconds`` to render."""
        if pixels <= 0 or seconds <= 0:
            return
        measured = max(pixels / seconds, FLOOR)
        self.pixels_per_second = math.exp(math.log(self.pixels_per_second) * 2 / 3 + math.log(measured) / 3)

    def moving_size(self, width: int, height: int, frames_per_second: float) -> tuple[int, int]:
        """The largest size (width, height) that can be rendered at this frame rate.

        The size is a multiple of an eighth of the given full size, so that sharpness doesn't flicker,
        and never below SMALLEST pixels along the longer side.
        """
        share = math.sqrt(self.pixels_per_second / frames_per_second / max(width * height, 1))
        eighths = min(max(math.floor(share * 8), 1), 8)
        scale = max(eighths / 8, min(SMALLEST / max(width, height, 1), 1.0))
        return max(round(width * scale), 1), max(round(height * scale), 1)


def tiles_from_centre(width: int, height: int, tile: int = TILE) -> list[Rect]:
    """Rectangles that together cover a picture once, the nearest to its middle first."""
    rects = [
        (row, min(row + tile, height), column, min(column + tile, width))
        for row in range(0, height, tile)
        for column in range(0, width, tile)
    ]

    def off_centre(r: Rect) -> float:
        return math.hypot((r[0] + r[1] - height) / 2, (r[2] + r[3] - width) / 2)

    return sorted(rects, key=off_centre)

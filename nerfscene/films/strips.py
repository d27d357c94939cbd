"""Large pictures a few rows at a time, so that what is computed on the way takes little memory."""

from __future__ import annotations

from collections.abc import Iterator

ROWS = 128  # of a 4K picture, each float32 colour of which takes 100 MB: about 6 MB


def strips(height: int) -> Iterator[slice]:
    """The rows of a picture as slices of at most ROWS, from top to bottom."""
    for first in range(0, height, ROWS):
        yield slice(first, min(first + ROWS, height))

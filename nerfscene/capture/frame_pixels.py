"""Decoded frames of videos → pixels in an ordinary screen's colours, as players show them."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from nerfscene.capture import dynamic_range
from nerfscene.capture.motion import COPY_SIDE
from nerfscene.types import Array

SCORED = 5 * COPY_SIDE  # px, the shorter side of the copy on which sharpness is measured
QUALITY = 95  # of JPEG


def srgb_pixels(frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The frame as stored, at ``size`` (width, height) in pixels, in sRGB: (height, width, 3)."""
    matrix = frame.colorspace
    if matrix == 2:  # unspecified: players assume BT.709 for HD, otherwise BT.601
        matrix = 1 if max(frame.width, frame.height) >= 1280 else 5
    primaries = frame.color_primaries
    if primaries not in dynamic_range.CHROMATICITIES and frame.color_trc in dynamic_range.NAMES:
        primaries = dynamic_range.BT2020
    # The primaries of old television differ little from sRGB's, and players don't convert them.
    coded = frame.color_trc in dynamic_range.NAMES or primaries in dynamic_range.WIDE
    layout = "rgb48le" if coded else "rgb24"
    pixels: NDArray[Any] = frame.reformat(
        *size, layout, src_colorspace=matrix, src_color_range=frame.color_range, interpolation="AREA"
    ).to_ndarray()
    return dynamic_range.to_srgb(pixels, frame.color_trc, primaries) if coded else pixels


def as_players_show(frame: av.VideoFrame, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame's ``pixels`` (height, width, 3) turned and mirrored as its display matrix says."""
    return np.ascontiguousarray(_shown(pixels, _display_matrix(frame)))


def _display_matrix(frame: av.VideoFrame) -> Array:
    """The matrix (2, 2) from directions (right, down) in the stored frame to those in which players show it.

    PyAV's own figure of a frame, its rotation, does not say whether the frame is mirrored.
    """
    side_data: Any = frame.side_data
    for item in side_data:
        if item.type.name == "DISPLAYMATRIX":  # a b u / c d v / x y w, as ISO/IEC 14496-12 has it
            a, b, _, c, d = np.frombuffer(item, np.int32, 5)
            return np.array([[a, c], [b, d]], float)
    return np.eye(2)


def _shown(pixels: NDArray[Any], matrix: Array) -> NDArray[Any]:
    """The picture (height, width, …) turned by quarters and mirrored, as is nearest to the matrix (2, 2)."""
    straight, crossed = matrix[0, 0] + 1j * matrix[1, 1], matrix[0, 1] + 1j * matrix[1, 0]
    swapped = abs(crossed) > abs(straight)
    across, down = (crossed.real, crossed.imag) if swapped else (straight.real, straight.imag)
    if swapped:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def grey_copy(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A grey copy (height, width) whose shorter side is SCORED; smaller frames keep their size."""
    scale = min(1.0, SCORED / min(frame.width, frame.height))
    width, height = max(round(frame.width * scale), 1), max(round(frame.height * scale), 1)
    grey = frame.reformat(width, height, "gray", interpolation="AREA")
    return grey.to_ndarray().astype(np.uint8, copy=False)

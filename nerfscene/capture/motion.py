"""Measures from small grey copies how far a video's view moves and how sharp its frames are; chooses frames.

The motion between two frames is the median shift of blocks, found by phase correlation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerfscene.loading import loading
from nerfscene.types import Array

Grey = NDArray[np.float32]  # (height, width), 0…255

COPY_SIDE = 108  # px, the shorter side of the small copy; all lengths here are in its pixels
BLOCK = 64  # px, the side of a block; shifts up to half of it can be measured
ANCHOR_KEPT = 6.0  # px: after a larger motion, the current frame becomes the new reference
LOST = 8.0  # px: assumed motion when nothing in the reference is found again
TRUSTED = 0.3  # least height of a trusted peak; 1 if blocks differ by a shift alone, 0.2 if unrelated
BLANK = 2.0  # grey levels, standard deviation: blocks with less have nothing to track
CLOSEST = 2.2  # px between two chosen frames; closer ones show the same
STILL = 10.0  # px: a video that moves less shows only one view, and so no depth
ENOUGH = 20  # frames that a short video may give even if it leaves little choice
CANDIDATES = 3  # frames to choose each one from, in longer videos


@dataclass(frozen=True)
class Spectra:
    """The blocks of a small copy: their Fourier transforms, and which have enough texture to track.

    ``values`` (n, BLOCK, BLOCK // 2 + 1), ``textured`` (n,).
    """

    values: NDArray[np.complex64]
    textured: NDArray[np.bool_]


_HANN = np.hanning(BLOCK + 2)[1:-1].astype(np.float32)
_WINDOW = _HANN[:, None] * _HANN[None, :]
# A low-pass filter: the highest frequencies are mostly noise, and without them the peak is smooth enough to
# be located between pixels.
_FREQUENCIES = np.hypot(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None, :])
_LOW_PASS = np.exp(-((_FREQUENCIES / 0.18) ** 2)).astype(np.float32)
# The height of the peak for two equal blocks; irfft2 restores the half of the spectrum that rfft leaves out.
_HIGHEST = float(np.fft.irfft2(_LOW_PASS, (BLOCK, BLOCK)).max())


def spectra(grey: Grey) -> Spectra:
    """The overlapping blocks that cover a small copy, whose sides must be at least BLOCK."""
    with loading():
        from scipy import fft  # imported here because it takes half a second

    height, width = grey.shape
    rows = np.unique(np.linspace(0, height - BLOCK, -(-2 * height // BLOCK) - 1).round().astype(int))
    columns = np.unique(np.linspace(0, width - BLOCK, -(-2 * width // BLOCK) - 1).round().astype(int))
    blocks = np.stack([grey[y : y + BLOCK, x : x + BLOCK] for y in rows for x in columns])
    blocks = blocks - blocks.mean((1, 2), keepdims=True)
    textured = blocks.std((1, 2)) > BLANK
    return Spectra(fft.rfft2(blocks * _WINDOW, axes=(1, 2)).astype(np.complex64), textured)


def moved(a: Spectra, b: Spectra) -> float | None:
    """The motion from ``a`` to ``b``: the median shift of their blocks, in pixels of the small copy.

    0 if all blocks are blank; None if nothing in ``a`` is found again in ``b``.
    """
    with loading():
        from scipy import fft  # imported here because it takes half a second

    if a.textured.shape != b.textured.shape:  # the video changes its size here
        return None
    tracked = a.textured & b.textured
    if not tracked.any():
        return 0.0
    cross = a.values[tracked] * b.values[tracked].conj()
    cross *= _LOW_PASS / np.maximum(np.abs(cross), 1e-6)
    surface = fft.irfft2(cross, (BLOCK, BLOCK), axes=(1, 2)) / _HIGHEST
    peaks = surface.reshape(len(surface), -1).argmax(1)
    found = np.take_along_axis(surface.reshape(len(surface), -1), peaks[:, None], 1)[:, 0] > TRUSTED
    if not found.any():
        return None
    block = np.arange(len(surface))
    y, x = np.divmod(peaks, BLOCK)
    down = y + _subpixel(*(surface[block, (y + step) % BLOCK, x] for step in (-1, 0, 1)))
    across = x + _subpixel(*(surface[block, y, (x + step) % BLOCK] for step in (-1, 0, 1)))
    half = BLOCK / 2
    lengths = np.hypot((down + half) % BLOCK - half, (across + half) % BLOCK - half)
    return float(np.median(lengths[found]))


def _subpixel(before: Array, peak: Array, after: Array) -> Array:
    """Offset of the peak between pixels, -0.5…0.5, from the parabola through three neighbouring values."""
    curvature = np.minimum(before + after - 2 * peak, -1e-9)
    return np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)


def sharpness(grey: NDArray[np.uint8]) -> float:
    """Mean difference of neighbouring pixels, in grey levels; only comparable between pictures of one scene.

    The geometric mean of the horizontal and the vertical difference, so that motion blur in either direction
    counts.
    """
    signed = grey.astype(np.int16)
    across = np.abs(signed[:, 1:] - signed[:, :-1]).mean()
    down = np.abs(signed[1:] - signed[:-1]).mean()
    return float(np.sqrt(across * down))


def choose(travel: Array, sharp: Array, most: int) -> NDArray[np.int64]:
    """Indices of the frames to take, ascending: the sharpest in each of equally long stretches of motion.

    travel (n,): how far the view has moved by each frame, in pixels of the small copy, never decreasing;
    sharp (n,): sharpness. At most ``most`` frames; fewer if the video leaves little choice or hardly moves.
    """
    n, total = len(travel), float(travel[-1])
    available = max(n // CANDIDATES, min(n, ENOUGH))
    count = max(min(most, available, int(total / CLOSEST) + 1), 1)
    position = travel / max(total, 1e-9) * count
    stretch = np.minimum(position.astype(np.int64), count - 1)
    # Slightly prefers the middle of a stretch, so that frames close together at a border are not both taken.
    score = sharp * (1 - 0.5 * np.abs(position - stretch - 0.5))
    best: dict[int, int] = {}
    for index in range(n):
        current = best.setdefault(int(stretch[index]), index)
        if score[index] > score[current]:
            best[int(stretch[index])] = index
    return np.array(sorted(best.values()), np.int64)

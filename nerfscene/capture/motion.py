"""How far a video's view moved and how sharp its frames are, from small grey copies; which to take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerfscene.types import Array

Grey = NDArray[np.float32]  # (height, width), 0…255

BLOCK = 64  # px of the small copy; shifts up to half of it are seen
COPY_SIDE = 108  # px, the shorter side of the small copy: the unit of all lengths below
ANCHOR_KEPT = 6.0  # px; a view that moved further is measured from anew
LOST = 8.0  # px; what counts as moved where nothing is seen again
TRUSTED = 0.3  # height of the peak: 1 where blocks are the same but for a shift, 0.2 where nothing is
BLANK = 2.0  # grey levels, standard deviation: a block with less has nothing to follow
CLOSEST = 2.2  # px between two frames that are taken: closer ones show the same
STILL = 10.0  # px; a video that moves less has one view and no depth
ENOUGH = 20  # frames, that a short video may give though there is little to choose from
CANDIDATES = 3  # frames to choose each one from, where a video is longer


@dataclass(frozen=True)
class Spectra:
    """A small copy cut into blocks: ``values`` (n, BLOCK, BLOCK // 2 + 1), ``textured`` (n,) bool."""

    values: NDArray[np.complex64]
    textured: NDArray[np.bool_]


_HANN = np.hanning(BLOCK + 2)[1:-1].astype(np.float32)
_WINDOW = _HANN[:, None] * _HANN[None, :]
# Noise lives in the finest waves; without them the peak is also smooth enough to place between pixels.
_WAVES = np.hypot(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None, :])
_PASSED = np.exp(-((_WAVES / 0.18) ** 2)).astype(np.float32)
# The peak of two equal blocks; the waves that rfft leaves out count as much as their mirror images.
_HIGHEST = float(np.fft.irfft2(_PASSED, (BLOCK, BLOCK)).max())


def spectra(grey: Grey) -> Spectra:
    """A copy with sides of at least BLOCK, cut into overlapping blocks that cover it."""
    from scipy import fft  # not at the top: it takes half a second

    height, width = grey.shape
    rows = np.unique(np.linspace(0, height - BLOCK, -(-2 * height // BLOCK) - 1).round().astype(int))
    columns = np.unique(np.linspace(0, width - BLOCK, -(-2 * width // BLOCK) - 1).round().astype(int))
    blocks = np.stack([grey[y : y + BLOCK, x : x + BLOCK] for y in rows for x in columns])
    blocks = blocks - blocks.mean((1, 2), keepdims=True)
    textured = blocks.std((1, 2)) > BLANK
    return Spectra(fft.rfft2(blocks * _WINDOW, axes=(1, 2)).astype(np.complex64), textured)


def moved(a: Spectra, b: Spectra) -> float | None:
    """Median shift of the blocks in pixels of the copy, 0 where all are blank; None where nothing
    that was in ``a`` is seen in ``b``."""
    from scipy import fft  # not at the top: it takes half a second

    if a.textured.shape != b.textured.shape:  # the video changes its shape here
        return None
    followed = a.textured & b.textured
    if not followed.any():
        return 0.0
    cross = a.values[followed] * b.values[followed].conj()
    cross *= _PASSED / np.maximum(np.abs(cross), 1e-6)
    surface = fft.irfft2(cross, (BLOCK, BLOCK), axes=(1, 2)) / _HIGHEST
    peaks = surface.reshape(len(surface), -1).argmax(1)
    seen = np.take_along_axis(surface.reshape(len(surface), -1), peaks[:, None], 1)[:, 0] > TRUSTED
    if not seen.any():
        return None
    number = np.arange(len(surface))
    y, x = np.divmod(peaks, BLOCK)
    down = _refined(*(surface[number, (y + step) % BLOCK, x] for step in (-1, 0, 1))) + y
    across = _refined(*(surface[number, y, (x + step) % BLOCK] for step in (-1, 0, 1))) + x
    half = BLOCK / 2
    lengths = np.hypot((down + half) % BLOCK - half, (across + half) % BLOCK - half)
    return float(np.median(lengths[seen]))


def _refined(before: Array, at: Array, after: Array) -> Array:
    """Where between the pixels a peak is, by the parabola through three values: -0.5…0.5."""
    bend = np.minimum(before + after - 2 * at, -1e-9)
    return np.clip(0.5 * (before - after) / bend, -0.5, 0.5)


def sharpness(grey: NDArray[np.uint8]) -> float:
    """How much neighbouring pixels differ, in grey levels; for comparing pictures of the same thing.

    The geometric mean of across and down, so that a motion in either direction counts.
    """
    signed = grey.astype(np.int16)
    across = np.abs(signed[:, 1:] - signed[:, :-1]).mean()
    down = np.abs(signed[1:] - signed[:-1]).mean()
    return float(np.sqrt(across * down))


def choose(travel: Array, sharp: Array, most: int) -> NDArray[np.int64]:
    """Which frames to take: the sharpest on each of equally long stretches of the way.

    travel (n,): how far the view had moved by each frame, px of the small copy, never decreasing;
    sharp (n,): sharpness. At most ``most``, fewer where there is little to choose from or the
    view hardly moves.
    """
    n, total = len(travel), float(travel[-1])
    room = max(n // CANDIDATES, min(n, ENOUGH))
    count = max(min(most, room, int(total / CLOSEST) + 1), 1)
    place = travel / max(total, 1e-9) * count
    stretch = np.minimum(place.astype(np.int64), count - 1)
    # Somewhat in favour of the middle, lest two neighbours are taken at a border.
    score = sharp * (1 - 0.5 * np.abs(place - stretch - 0.5))
    best: dict[int, int] = {}
    for index in range(n):
        other = best.setdefault(int(stretch[index]), index)
        if score[index] > score[other]:
            best[int(stretch[index])] = index
    return np.array(sorted(best.values()), np.int64)

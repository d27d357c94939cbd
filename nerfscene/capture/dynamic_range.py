"""Tone mapping: HDR video frames, as phones record them → sRGB pictures for ordinary screens."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18  # numbers of the transfer functions in ITU-T H.273
NAMES = {PQ: "PQ", HLG: "HLG"}
WHITE = 203.0  # cd/m²: HDR reference white (ITU-R BT.2408), which becomes an ordinary screen's white
PEAK = 1000.0  # cd/m²: peak luminance of HLG's nominal display
KNEE = 0.7  # fraction of white above which highlights are compressed
LUMINANCE = (0.2627, 0.6780, 0.0593)  # weights of red, green and blue (ITU-R BT.2020)
# Linear BT.709 colours (sRGB has the same primaries) from linear BT.2020 ones (ITU-R BT.2087).
NARROW_FROM_WIDE = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
LEVELS = 4096  # entries of the lookup table for sRGB's curve


def to_srgb(signal: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """An sRGB picture (height, width, 3) of an HDR one with BT.2020 colours.

    ``signal`` (height, width, 3) is full-range 16 bit; ``transfer`` is PQ or HLG. Light up to ``KNEE`` of
    white stays as it is; everything brighter is compressed into the rest of the range.
    """
    light = _light(transfer)[signal]  # as a fraction of white
    if transfer == HLG:  # scene light so far; HLG's system gamma of 1.2 makes it the display's
        luminance = light @ np.array(LUMINANCE, np.float32)
        light *= (PEAK / WHITE * luminance**0.2)[..., None]
    light = np.maximum(light @ np.array(NARROW_FROM_WIDE, np.float32).T, 0)
    compressed = 1 - (1 - KNEE) * np.exp((KNEE - light) / (1 - KNEE))
    shown = np.where(light > KNEE, compressed, light)
    return _srgb()[np.round(shown * (LEVELS - 1)).astype(np.uint16)]


@cache
def _light(transfer: int) -> NDArray[np.float32]:
    """Linear light (65536,) for each 16-bit signal value, by the curves of ITU-R BT.2100.

    PQ: display light as a fraction of white. HLG: scene light as a fraction of the largest value.
    """
    e = np.arange(65536) / 65535
    if transfer == PQ:
        root = e ** (32 / 2523)
        power = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
        return (10000 / WHITE * power ** (16384 / 2610)).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(e <= 0.5, e**2 / 3, (np.exp((e - c) / a) + b) / 12).astype(np.float32)


@cache
def _srgb() -> NDArray[np.uint8]:
    """sRGB values (LEVELS,) of linear light from 0 to 1."""
    light = np.arange(LEVELS) / (LEVELS - 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)

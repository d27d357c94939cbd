"""Pictures of high dynamic range, as phones film → what they look like on ordinary screens."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18  # transfer characteristics, by their numbers in ITU-T H.273
NAMES = {PQ: "PQ", HLG: "HLG"}
WHITE = 203.0  # cd/m², of paper under HDR (ITU-R BT.2408): ordinary screens' white
PEAK = 1000.0  # cd/m², of the screen that HLG is made for
KNEE = 0.7  # of white, from which on highlights are pressed together
LUMINANCE = (0.2627, 0.6780, 0.0593)  # of red, green and blue (ITU-R BT.2020)
# Linear colours of BT.709, which sRGB has too, from BT.2020's (ITU-R BT.2087).
NARROW_FROM_WIDE = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
LEVELS = 4096  # of light, between which sRGB's curve is looked up


def to_srgb(signal: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """A picture (height, width, 3) under ``transfer``, PQ or HLG with BT.2020's colours, as sRGB.

    What is darker than ``KNEE`` of paper keeps its light; what is brighter, up to the sun, shares the rest.
    """
    light = _light(transfer)[signal]  # of white
    if transfer == HLG:  # so far the scene's: a screen's is steeper
        luminance = light @ np.array(LUMINANCE, np.float32)
        light *= (PEAK / WHITE * luminance**0.2)[..., None]
    light = np.maximum(light @ np.array(NARROW_FROM_WIDE, np.float32).T, 0)
    pressed = 1 - (1 - KNEE) * np.exp((KNEE - light) / (1 - KNEE))
    shown = np.where(light > KNEE, pressed, light)
    return _srgb()[np.round(shown * (LEVELS - 1)).astype(np.uint16)]


@cache
def _light(transfer: int) -> NDArray[np.float32]:
    """Light of each value of a signal in 16 bits, by the curves of ITU-R BT.2100.

    PQ: the screen's, as a share of white; HLG: the scene's, as a share of the most that it can say.
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
    light = np.arange(LEVELS) / (LEVELS - 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)

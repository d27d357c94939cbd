"""Pictures and video frames whose colours are given by numbers of ITU-T H.273 → sRGB, for ordinary screens.

HEIC and AVIF note two such numbers in their nclx profile, PNG in its cICP chunk, and videos in their headers.
One is for the primaries (which red, green and blue), one for the transfer function (how much light a value
means).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from nerfscene.types import Array

PQ, HLG = 16, 18  # transfer functions of high dynamic range
NAMES = {PQ: "PQ", HLG: "HLG"}
ADOBE = -1  # stands for the primaries and the transfer function of Adobe RGB, which H.273 doesn't number
# Exponents of other transfer functions. All those not named count as sRGB's: viewers don't tell them apart.
POWERS = {4: 2.2, 5: 2.8, 8: 1.0, ADOBE: 563 / 256}
WHITE = 203.0  # cd/m²: HDR reference white (ITU-R BT.2408), which becomes an ordinary screen's white
PEAK = 1000.0  # cd/m²: peak luminance of HLG's nominal display
KNEE = 0.7  # fraction of white above which highlights are compressed
LEVELS = 4096  # entries of the lookup table for sRGB's curve
ROWS = 256  # converted at a time, which bounds memory
SRGB, BT2020 = 1, 9  # primaries; sRGB has those of BT.709
WIDE = (BT2020, 11, 12)  # BT.2020, DCI-P3, Display P3
D65 = (0.3127, 0.3290)
# Primaries by number: x and y of red, green, blue and white (H.273, table 2). Others count as sRGB's.
CHROMATICITIES = {
    SRGB: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *D65),
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, 0.310, 0.316),
    BT2020: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *D65),
    ADOBE: (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *D65),  # Adobe RGB (1998) colour image encoding
}
# From XYZ to responses of the eye's cones, in which a white is adapted to another (Bradford; ICC.1, annex E).
CONES = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))


def is_srgb(primaries: int, transfer: int) -> bool:
    """Whether colours of these numbers are sRGB's as they stand."""
    same_primaries = primaries == SRGB or primaries not in CHROMATICITIES
    return same_primaries and transfer not in NAMES and transfer not in POWERS


def to_srgb(signal: NDArray[np.uint16], transfer: int, primaries: int = BT2020) -> NDArray[np.uint8]:
    """An sRGB picture (height, width, 3) of one with this transfer function and these primaries.

    ``signal`` (height, width, 3) is full-range 16 bit. Of high dynamic range, light up to ``KNEE`` of white
    stays as it is, and everything brighter is compressed into the rest of the range. Colours that sRGB does
    not have are clipped.
    """
    out = np.empty(signal.shape, np.uint8)
    for top in range(0, len(signal), ROWS):
        out[top : top + ROWS] = _converted(signal[top : top + ROWS], transfer, primaries)
    return out


def _converted(signal: NDArray[np.uint16], transfer: int, primaries: int) -> NDArray[np.uint8]:
    light = _light(transfer)[signal]  # as a fraction of white
    if transfer == HLG:  # scene light so far; HLG's system gamma of 1.2 makes it the display's
        luminance = light @ _luminance(primaries)
        light *= (PEAK / WHITE * luminance**0.2)[..., None]
    light = np.maximum(light @ _to_srgb_primaries(primaries).T, 0)
    if transfer in NAMES:
        compressed = 1 - (1 - KNEE) * np.exp((KNEE - light) / (1 - KNEE))
        light = np.where(light > KNEE, compressed, light)
    return _srgb()[np.round(np.minimum(light, 1) * (LEVELS - 1)).astype(np.uint16)]


@cache
def _light(transfer: int) -> NDArray[np.float32]:
    """Linear light (65536,) for each 16-bit signal value; PQ and HLG by the curves of ITU-R BT.2100.

    A fraction of white; for HLG, scene light as a fraction of the largest value.
    """
    e = np.arange(65536) / 65535
    if transfer == PQ:
        root = e ** (32 / 2523)
        power = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
        return (10000 / WHITE * power ** (16384 / 2610)).astype(np.float32)
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(e <= 0.5, e**2 / 3, (np.exp((e - c) / a) + b) / 12).astype(np.float32)
    if transfer in POWERS:
        return (e ** POWERS[transfer]).astype(np.float32)
    return np.where(e <= 0.04045, e / 12.92, ((e + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _srgb() -> NDArray[np.uint8]:
    """sRGB values (LEVELS,) of linear light from 0 to 1."""
    light = np.arange(LEVELS) / (LEVELS - 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)


@cache
def _luminance(primaries: int) -> NDArray[np.float32]:
    """The weights (3,) of linear red, green and blue in luminance."""
    return _to_xyz(primaries)[1].astype(np.float32)


@cache
def _to_srgb_primaries(primaries: int) -> NDArray[np.float32]:
    """The matrix (3, 3) from linear colours of these primaries to linear ones of sRGB's."""
    return np.linalg.solve(_to_xyz(SRGB), _to_xyz(primaries)).astype(np.float32)


def _to_xyz(primaries: int) -> Array:
    """The matrix (3, 3) from linear colours to CIE XYZ, white adapted to D65."""
    xy = np.array(CHROMATICITIES.get(primaries, CHROMATICITIES[SRGB])).reshape(4, 2)
    xyz = np.column_stack([xy, 1 - xy.sum(1)]).T  # a column each for red, green, blue and white
    white = xyz[:, 3] / xyz[1, 3]
    matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], white)
    cones = np.array(CONES)
    wanted = np.array([D65[0], D65[1], 1 - sum(D65)]) / D65[1]
    adapted = np.linalg.solve(cones, np.diag(cones @ wanted / (cones @ white)) @ cones)
    return np.asarray(adapted @ matrix)

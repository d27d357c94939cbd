"""FLIP: how different two pictures look to somebody who flips between them, 0 (alike) to 1.

Andersson et al., "FLIP: A Difference Evaluator for Alternating Images", 2020: its LDR variant. Colours are
blurred as eyes blur them from where the pictures are looked at, and compared by a difference of colour that
still holds for large ones; where an edge or a point is in one picture and not in the other, the difference
counts for more. No learnt weights are needed. Formulas and constants are the paper's.
"""

from __future__ import annotations

from math import ceil, pi, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nerfscene.loading import loading

Floats = NDArray[np.float32]
# Pixels that a degree of sight has for somebody 0.7 m from a screen 0.7 m wide with 3840 pixels: the paper's
# usual one.
PIXELS_PER_DEGREE = 67.0

# XYZ from linear sRGB (IEC 61966-2-1), and the white that both pictures are seen under.
XYZ_FROM_RGB = np.array(
    [[0.4123908, 0.3575843, 0.1804808], [0.2126390, 0.7151687, 0.0721923], [0.0193308, 0.1191948, 0.9505322]],
    np.float32,
)
RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB.astype(np.float64)).astype(np.float32)
WHITE = XYZ_FROM_RGB.sum(1)


class Blur(NamedTuple):
    """A Gaussian of the eye's blur: weight · √(π / spread) · exp(-π² x² / spread), x in degrees."""

    weight: float
    spread: float


# Of light and dark, red and green, yellow and blue.
SENSITIVITY = ((Blur(1.0, 0.0047),), (Blur(1.0, 0.0053),), (Blur(34.1, 0.04), Blur(13.5, 0.025)))
WIDEST = 0.04  # of these spreads
COLOR_POWER, FEATURE_POWER = 0.7, 0.5
# Differences of colour up to a share of the largest one take up most of the range.
SMALL, SMALL_TAKES = 0.4, 0.95
FEATURE_WIDTH = 0.082  # degrees, of the edges and points that are looked for
LAB_EDGE = 6 / 29  # CIE 1976: below it, the cube root is a line


def flip_map(photo: Floats, render: Floats, pixels_per_degree: float = PIXELS_PER_DEGREE) -> Floats:
    """How different each pixel looks, (height, width), 0…1; photo, render: (height, width, 3), sRGB in 0…1.

    pixels_per_degree: of sight, from where the pictures are looked at. It doesn't matter which picture is
    which. Raises ValueError when shapes differ or aren't those of colour pictures, or a number is not finite.
    """
    if photo.shape != render.shape or photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(f"pictures must both be (height, width, 3): {photo.shape}, {render.shape}")
    if not (np.isfinite(photo).all() and np.isfinite(render).all()):
        raise ValueError("pictures must be finite")
    a, b = (_opponent(_linear(np.clip(x, 0, 1).astype(np.float32))) for x in (photo, render))
    color = _color_difference(a, b, pixels_per_degree)
    features = _feature_difference(a[0], b[0], pixels_per_degree)
    return np.asarray(color ** (1 - features), np.float32)


def flip(photo: Floats, render: Floats, pixels_per_degree: float = PIXELS_PER_DEGREE) -> float:
    """The mean of ``flip_map``. Raises ValueError as it does."""
    return float(flip_map(photo, render, pixels_per_degree).mean())


def _linear(rgb: Floats) -> Floats:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _opponent(light: Floats) -> Floats:
    """Linear light (h, w, 3) as (3, h, w): light and dark, red and green, yellow and blue (YCxCz)."""
    x, y, z = np.einsum("ij,hwj->ihw", XYZ_FROM_RGB / WHITE[:, None], light, optimize=True)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _light(opponent: Floats) -> Floats:
    """The inverse of ``_opponent`` but for the axes' order, clipped to what a screen shows: (3, h, w)."""
    y = (opponent[0] + 16) / 116
    xyz = np.stack([y + opponent[1] / 500, y, y - opponent[2] / 200])
    light = np.einsum("ij,jhw->ihw", RGB_FROM_XYZ * WHITE, xyz, optimize=True)
    return np.clip(light, 0, 1).astype(np.float32)


def _hunt_lab(light: Floats) -> Floats:
    """CIELAB (3, …) of linear light (3, …), whose colours count for less where it is dark (Hunt's effect)."""
    share = np.tensordot(XYZ_FROM_RGB / WHITE[:, None], light, 1)
    bent = np.where(share > LAB_EDGE**3, np.cbrt(share), share / (3 * LAB_EDGE**2) + 4 / 29)
    lightness = 116 * bent[1] - 16
    a, b = 500 * (bent[0] - bent[1]), 200 * (bent[1] - bent[2])
    return np.stack([lightness, 0.01 * lightness * a, 0.01 * lightness * b])


def _hyab(a: Floats, b: Floats) -> Floats:
    """The difference of colours (3, …) that also holds for large ones: by lightness, plus by chroma."""
    d = a - b
    return np.asarray(np.abs(d[0]) + np.hypot(d[1], d[2]), np.float32)


def _passed(planes: Floats, down: Floats, along: Floats) -> Floats:
    """A plane (h, w) correlated with ``down`` in its columns and ``along`` in its rows; edges go on."""
    with loading():
        from scipy.ndimage import correlate1d  # imported here because it takes half a second

    passed = correlate1d(planes, down, axis=0, mode="nearest")
    return np.asarray(correlate1d(passed, along, axis=1, mode="nearest"), np.float32)


def _color_difference(a: Floats, b: Floats, pixels_per_degree: float) -> Floats:
    """Differences of colour as eyes blur them (h, w), 0…1; a, b: as ``_opponent`` makes them."""
    hunted = (_hunt_lab(_light(_blurred(x, pixels_per_degree))) for x in (a, b))
    difference = _hyab(*hunted) ** COLOR_POWER
    green, blue = (_hunt_lab(np.array(c, np.float32)) for c in ((0, 1, 0), (0, 0, 1)))
    largest = float(_hyab(green, blue)) ** COLOR_POWER
    small = SMALL * largest
    above = SMALL_TAKES + (difference - small) / (largest - small) * (1 - SMALL_TAKES)
    return np.asarray(np.where(difference < small, difference * (SMALL_TAKES / small), above), np.float32)


def _blurred(opponent: Floats, pixels_per_degree: float) -> Floats:
    radius = ceil(3 * sqrt(WIDEST / (2 * pi**2)) * pixels_per_degree)
    x = np.arange(-radius, radius + 1) / pixels_per_degree
    out = np.zeros_like(opponent)
    for plane, blurs, into in zip(opponent, SENSITIVITY, out, strict=True):
        taps = [np.exp(-(pi**2) * x**2 / blur.spread) for blur in blurs]
        # Of each of the two dimensions: the sum of both Gaussians is no product, so they are added up.
        shares = [b.weight * sqrt(pi / b.spread) * t.sum() ** 2 for b, t in zip(blurs, taps, strict=True)]
        for t, share in zip(taps, shares, strict=True):
            t = (t / t.sum()).astype(np.float32)
            into += np.float32(share / sum(shares)) * _passed(plane, t, t)
    return out


def _feature_difference(a: Floats, b: Floats, pixels_per_degree: float) -> Floats:
    """Where edges and points differ (h, w), 0…1; a, b: light and dark (h, w), not blurred."""
    width = 0.5 * FEATURE_WIDTH * pixels_per_degree  # standard deviation, pixels
    x = np.arange(-ceil(3 * width), ceil(3 * width) + 1)
    bell = np.exp(-(x**2) / (2 * width**2))
    smooth = (bell / bell.sum()).astype(np.float32)
    edge, point = (_halves_to_one(k * bell) for k in (-x, x**2 / width**2 - 1))
    worst: Floats = np.zeros_like(a)
    for kernel in (edge, point):
        found = [np.hypot(_passed(y, smooth, kernel), _passed(y, kernel, smooth)) for y in _shares(a, b)]
        worst = np.maximum(worst, np.abs(found[0] - found[1]))
    return np.asarray((worst / sqrt(2)) ** FEATURE_POWER, np.float32)


def _shares(*planes: Floats) -> list[Floats]:
    return [np.asarray((y + 16) / 116, np.float32) for y in planes]


def _halves_to_one(kernel: NDArray[Any]) -> Floats:
    """A kernel whose positive values sum to 1 and its negative ones to -1."""
    positive, negative = kernel[kernel > 0].sum(), -kernel[kernel < 0].sum()
    return np.where(kernel > 0, kernel / positive, kernel / negative).astype(np.float32)

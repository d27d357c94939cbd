"""Lens projection, and fitting the package's lens models to one with terms that they lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.loading import loading
from nerfscene.types import Array, Intrinsics

GRID = 25  # sample points across and down the picture, at which the two lenses are compared
INVERSION_STEPS = 30
STEP = 1e-6  # in base coordinates, for numerical derivatives
RIGHT, DOWN = np.array([STEP, 0.0]), np.array([0.0, STEP])
NOTICEABLE = 0.5  # pixels: a fit with a larger error deserves a warning

# Maps the base coordinates (n, 2) of directions to pixels (n, 2). The base coordinates of a direction
# (x, y, z) are (x/z, y/z) for a perspective lens; for a fisheye lens θ (x, y) / |(x, y)|, where θ is the
# angle in radians from the optical axis.
Projection = Callable[[Array], Array]


def projection(lens: Intrinsics) -> Projection:
    """The projection of one of the package's lenses (OpenCV's formulas)."""
    k = lens.distortion

    def project(base: Array) -> Array:
        x, y = base.T
        r2 = x * x + y * y
        if lens.lens == "fisheye":
            radial = 1 + r2 * (k[0] + r2 * (k[1] + r2 * (k[2] + r2 * k[3])))
            u, v = x * radial, y * radial
        else:
            radial = 1 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))
            u = x * radial + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x)
            v = y * radial + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y
        return np.stack([lens.fx * u + lens.cx, lens.fy * v + lens.cy], axis=1)

    return project


def unprojected(
    start: Intrinsics, pixels: Array, theirs: Projection | None = None
) -> tuple[Array, NDArray[np.bool_]]:
    """The base coordinates (n, 2) of pixels (n, 2), and which of them could be found (n,).

    theirs: the projection; None: that of the lens ``start``, whose focal lengths and centre are begun with.
    """
    theirs = projection(start) if theirs is None else theirs
    focal, centre = np.array([start.fx, start.fy]), np.array([start.cx, start.cy])
    with np.errstate(all="ignore"):
        base = (pixels - centre) / focal
        for _ in range(INVERSION_STEPS):  # Newton's method
            projected = theirs(base)
            miss = pixels - projected
            a, c = ((theirs(base + RIGHT) - projected) / STEP).T
            b, d = ((theirs(base + DOWN) - projected) / STEP).T
            det = a * d - b * c
            step = np.stack([d * miss[:, 0] - b * miss[:, 1], a * miss[:, 1] - c * miss[:, 0]], axis=1)
            base = base + step / det[:, None]
        inverted = np.abs(theirs(base) - pixels).max(axis=1) < 1e-3  # false for NaN too
    return base, inverted


def fitted(start: Intrinsics, theirs: Projection) -> tuple[Intrinsics, float]:
    """The lens that fits ``theirs`` best, and its largest error in pixels.

    Least squares over a grid of points in the picture. ``start`` has the picture's size, the kind of lens,
    and all terms that the two lenses have in common. The error is infinite, and the lens ``start``, if
    ``theirs`` can't be inverted at more than a tenth of the points, as where it folds the picture over; a
    fisheye may show nothing outside of a circle, so that for it a third of the points are allowed.
    """
    u, v = np.meshgrid(np.linspace(0, start.width, GRID), np.linspace(0, start.height, GRID))
    pixels = np.stack([u.ravel(), v.ravel()], axis=1)
    base, inverted = unprojected(start, pixels, theirs)
    focal, centre = np.array([start.fx, start.fy]), np.array([start.cx, start.cy])
    if inverted.mean() < (0.66 if start.lens == "fisheye" else 0.9):
        return start, float("inf")
    base, pixels = base[inverted], pixels[inverted]
    count = 4 if start.lens == "fisheye" else 5

    def lens(parameters: Array) -> Intrinsics:
        fx, fy, cx, cy, *terms = (float(p) for p in parameters)
        terms += [0.0] * (5 - count)
        return replace(start, fx=fx, fy=fy, cx=cx, cy=cy, distortion=tuple(terms))  # type: ignore[arg-type]

    def residuals(parameters: Array) -> Array:
        return (projection(lens(parameters))(base) - pixels).ravel()

    with loading():
        from scipy.optimize import least_squares  # imported here because it takes half a second

    first = np.array([*focal, *centre, *start.distortion[:count]])
    found = least_squares(residuals, first, x_scale="jac", method="lm")
    best = lens(found.x)
    return best, float(np.linalg.norm(residuals(found.x).reshape(-1, 2), axis=1).max())

"""The lens of ours that comes closest to one with terms that ours lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nerfscene.types import Array, Intrinsics

GRID = 25  # places across and down the picture where the two are compared
INVERSION_STEPS = 30
STEP = 1e-6  # of base coordinates, for derivatives
RIGHT, DOWN = np.array([STEP, 0.0]), np.array([0.0, STEP])
NOTICEABLE = 0.5  # pixels: a fit that is farther off deserves a warning

# Base coordinates (n, 2) of directions → pixels (n, 2). A direction at the angle θ from the axis has
# the base coordinates (x/z, y/z) for a perspective lens, and θ (x, y) / |(x, y)| for a fisheye lens.
Projection = Callable[[Array], Array]


def projection(lens: Intrinsics) -> Projection:
    """How a lens of ours projects (OpenCV's formulas)."""
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


def fitted(start: Intrinsics, theirs: Projection) -> tuple[Intrinsics, float]:
    """The lens nearest to ``theirs`` in the mean over the picture, and how far off it is at most, pixels.

    ``start`` has the picture's size, the kind of lens, and all terms that the two have in common.
    Infinite where ``theirs`` folds the picture over, so that hardly a pixel has one direction.
    """
    u, v = np.meshgrid(np.linspace(0, start.width, GRID), np.linspace(0, start.height, GRID))
    pixels = np.stack([u.ravel(), v.ravel()], axis=1)
    focal, centre = np.array([start.fx, start.fy]), np.array([start.cx, start.cy])
    base = (pixels - centre) / focal
    with np.errstate(all="ignore"):
        for _ in range(INVERSION_STEPS):  # Newton's method
            here = theirs(base)
            miss = pixels - here
            a, c = ((theirs(base + RIGHT) - here) / STEP).T
            b, d = ((theirs(base + DOWN) - here) / STEP).T
            det = a * d - b * c
            turn = np.stack([d * miss[:, 0] - b * miss[:, 1], a * miss[:, 1] - c * miss[:, 0]], axis=1)
            base = base + turn / det[:, None]
        seen = np.abs(theirs(base) - pixels).max(axis=1) < 1e-3  # false for NaN too
    if seen.mean() < 0.9:
        return start, float("inf")
    base, pixels = base[seen], pixels[seen]
    count = 4 if start.lens == "fisheye" else 5

    def lens(given: Array) -> Intrinsics:
        fx, fy, cx, cy, *terms = (float(p) for p in given)
        terms += [0.0] * (5 - count)
        return replace(start, fx=fx, fy=fy, cx=cx, cy=cy, distortion=tuple(terms))  # type: ignore[arg-type]

    def off(given: Array) -> Array:
        return (projection(lens(given))(base) - pixels).ravel()

    from scipy.optimize import least_squares  # not at the top: it takes half a second

    first = np.array([*focal, *centre, *start.distortion[:count]])
    found = least_squares(off, first, x_scale="jac", method="lm")
    best = lens(found.x)
    return best, float(np.linalg.norm(off(found.x).reshape(-1, 2), axis=1).max())

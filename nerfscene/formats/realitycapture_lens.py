"""RealityCapture's (RealityScan's) lenses → ours.

The focal length is in mm for film 36 mm wide; the principal point is an offset from the picture's centre, to
the right and down, as a fraction of its longer side. Lenses follow Brown's model with up to four radial
terms, or the division model. The first tangential term is OpenCV's second and the other way round: so the
makers' "On the Coordinate Systems Employed in the Import, Estimation, and Export of Camera Geometry by
RealityScan" (June 2026, sections 3 and 4), and so the program's own exporter in OpenCV's order. The older
"RealityCapture XMP camera math" is cited with the two exchanged, by people whom it gave wrong pixels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nerfscene.cameras.lens_fit import Projection
from nerfscene.formats.app_files import lens_of, nearest_lens
from nerfscene.types import Array, Intrinsics

TERMS = ("k1", "k2", "k3", "k4", "t1", "t2")  # in the order that the program writes them
FILM_WIDTH = 36.0  # mm
FOURTH_TERM = "the term k4"
DIVISION = "the division model's form"


def lens_in_shares(
    focal: float,
    centre: tuple[float, float],
    terms: tuple[float, ...],
    size: tuple[int, int],
    where: str,
) -> tuple[Intrinsics, float]:
    """A lens by Brown's model, and by how many pixels it differs from the program's at most.

    focal: mm for film FILM_WIDTH wide. centre: the principal point as an offset from the picture's centre, a
    fraction of its longer side. terms: TERMS. size: width and height of the stored picture in pixels.
    Raises NerfsceneError, beginning with ``where``, when that makes no lens.
    """
    width, height = size
    longer = max(width, height)
    middle = width / 2 + centre[0] * longer, height / 2 + centre[1] * longer
    return lens_in_pixels(focal / FILM_WIDTH * longer, middle, terms, size, where)


def lens_in_pixels(
    focal: float,
    centre: tuple[float, float],
    terms: tuple[float, ...],
    size: tuple[int, int],
    where: str,
) -> tuple[Intrinsics, float]:
    """As lens_in_shares, with the focal length and the principal point in pixels."""
    k1, k2, k3, k4, t1, t2 = terms
    lens = lens_of(*size, (focal, focal), centre, where, (k1, k2, t2, t1, k3))
    if k4 == 0:
        return lens, 0.0
    return nearest_lens(lens, _brown(lens, terms), where)


def divided(lens: Intrinsics, k1: float, where: str) -> tuple[Intrinsics, float]:
    """The nearest to the division model with the coefficient ``k1`` and ``lens``'s other values.

    Also returns by how many pixels the two differ at most.
    """
    if k1 == 0:
        return lens, 0.0

    def project(base: Array) -> Array:
        by = 1 + k1 * (base**2).sum(axis=1, keepdims=True)
        return base / by * [lens.fx, lens.fy] + [lens.cx, lens.cy]

    return nearest_lens(replace(lens, distortion=(-k1, 0.0, 0.0, 0.0, 0.0)), project, where)


def _brown(lens: Intrinsics, terms: tuple[float, ...]) -> Projection:
    """RealityCapture's projection, from base coordinates as in lens_fit to pixels."""
    k1, k2, k3, k4, t1, t2 = terms

    def project(base: Array) -> Array:
        x, y = base.T
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
        u = x * radial + t1 * (r2 + 2 * x * x) + 2 * t2 * x * y
        v = y * radial + t2 * (r2 + 2 * y * y) + 2 * t1 * x * y
        return np.stack([lens.fx * u + lens.cx, lens.fy * v + lens.cy], axis=1)

    return project


def approximated(name: str, what: str, off: float) -> str:
    """The warning that lenses are only approximated. name: the file's; off: pixels."""
    return (
        f"lenses in {name} have {what}, which is not supported: the nearest lens without it is off by up to "
        f"{off:.1f} pixels; align with the lens model Brown3 for sharper results."
    )

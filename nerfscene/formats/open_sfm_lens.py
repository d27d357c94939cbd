"""OpenSfM's cameras → our lenses.

Focal lengths and principal points are fractions of the picture's longer side; formulas are in OpenSfM's
documentation (Geometric Models) and, for fisheye62, fisheye624 and dual, in its source (the cameras'
projection and distortion functions).
"""

from __future__ import annotations

import numpy as np

from nerfscene.cameras.lens_fit import Projection
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import Values, lens_of, nearest_lens, number, panorama_lens, printable
from nerfscene.types import Array, Intrinsics, Lens

# Projection type → the names of its coefficients, in the order of Intrinsics.distortion.
PERSPECTIVE = {
    "perspective": ("k1", "k2"),
    "simple_radial": ("k1",),
    "radial": ("k1", "k2"),
    "brown": ("k1", "k2", "p1", "p2", "k3"),
}
FISHEYE = {
    "fisheye": ("k1", "k2"),
    "fisheye_opencv": ("k1", "k2", "k3", "k4"),
    "fisheye62": ("k1", "k2", "k3", "k4"),
    "fisheye624": ("k1", "k2", "k3", "k4"),
}
PANORAMAS = ("spherical", "equirectangular")
DUAL = "dual"  # between perspective and fisheye
RADIAL = ("k1", "k2", "k3", "k4", "k5", "k6")
KNOWN = (*PERSPECTIVE, *FISHEYE, DUAL, *PANORAMAS)
PRISM = ("s0", "s1", "s2", "s3")


def opensfm_lens(values: Values, where: str) -> tuple[Intrinsics, float]:
    """A camera's lens, and by how many pixels it differs from OpenSfM's at most.

    Raises NerfsceneError, beginning with ``where``, when it is of another type or makes no sense.
    """
    kind = str(values.get("projection_type", "perspective"))
    if kind not in KNOWN or any(number(values, term, where, 0.0) != 0 for term in PRISM):
        prism = " with s0 to s3" if kind in KNOWN else ""
        raise NerfsceneError(
            f"{where} has the projection {printable(kind)}{prism}, which is not supported: reconstruct with "
            f"{', '.join(KNOWN)}."
        )
    width, height = number(values, "width", where), number(values, "height", where)
    if kind in PANORAMAS:
        return panorama_lens(width, height, where, "give uncropped panoramas"), 0.0
    longer = max(width, height)
    if "focal" in values:
        focal = (number(values, "focal", where),) * 2
    else:
        focal = number(values, "focal_x", where), number(values, "focal_y", where)
    share = number(values, "transition", where, 0.5) if kind == DUAL else 0.0
    ours: Lens = "fisheye" if kind in FISHEYE or (kind == DUAL and share < 0.5) else "perspective"
    terms = {**PERSPECTIVE, **FISHEYE, DUAL: ("k1", "k2")}[kind]
    lens = lens_of(
        width,
        height,
        (focal[0] * longer, focal[1] * longer),
        (
            width / 2 + number(values, "c_x", where, 0.0) * longer,
            height / 2 + number(values, "c_y", where, 0.0) * longer,
        ),
        where,
        [number(values, term, where, 0.0) for term in terms],
        ours,
    )
    if kind == DUAL:
        return nearest_lens(lens, _dual(lens, share), where)
    radial = tuple(number(values, term, where, 0.0) for term in RADIAL)
    tangential = number(values, "p1", where, 0.0), number(values, "p2", where, 0.0)
    if ours == "fisheye" and (radial[4:] != (0, 0) or tangential != (0, 0)):
        return nearest_lens(lens, _fisheye62(lens, radial, tangential), where)
    return lens, 0.0


def _dual(lens: Intrinsics, share: float) -> Projection:
    """The projection ``dual``, from base coordinates as in lens_fit to pixels.

    share: of the perspective projection in the mixture; the rest is the fisheye's.
    """
    k1, k2 = lens.distortion[:2]

    def project(base: Array) -> Array:
        given = np.linalg.norm(base, axis=1, keepdims=True)
        angle = given if lens.lens == "fisheye" else np.arctan(given)
        radius = share * np.tan(angle) + (1 - share) * angle
        x = base * np.where(given > 1e-12, radius / np.maximum(given, 1e-12), 1.0)
        r2 = (x**2).sum(axis=1, keepdims=True)
        return x * (1 + r2 * (k1 + r2 * k2)) * [lens.fx, lens.fy] + [lens.cx, lens.cy]

    return project


def _fisheye62(lens: Intrinsics, radial: tuple[float, ...], tangential: tuple[float, float]) -> Projection:
    """The projection ``fisheye62``, from base coordinates as in lens_fit to pixels."""
    p1, p2 = tangential

    def project(base: Array) -> Array:
        x, y = base.T
        r2 = x * x + y * y
        factor = 1 + sum(k * r2 ** (i + 1) for i, k in enumerate(radial))
        u = x * factor + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        v = y * factor + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
        return np.stack([lens.fx * u + lens.cx, lens.fy * v + lens.cy], axis=1)

    return project

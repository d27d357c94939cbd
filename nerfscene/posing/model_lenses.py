"""COLMAP's cameras as lenses of this package: exactly where it has the model, else the nearest of its own."""

from __future__ import annotations

import math

import numpy as np
import pycolmap

from nerfscene.cameras.lens_fit import Projection, fitted
from nerfscene.errors import NerfsceneError
from nerfscene.types import Array, Intrinsics, Lens

PERSPECTIVE = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
FISHEYE = ("SIMPLE_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE")
# The names that COLMAP's models have for the coefficients of types.Intrinsics, in that order.
TERMS: dict[Lens, tuple[str, ...]] = {
    "perspective": ("k1", "k2", "p1", "p2", "k3"),
    "fisheye": ("k1", "k2", "k3", "k4"),
}
CLOSE = 0.05  # pixels: a fit of this kind of lens needs no comparison with the other kind


def lens_of_camera(camera: pycolmap.Camera, where: str) -> tuple[Intrinsics, float]:
    """A camera's lens, and by how many pixels it differs from COLMAP's at most.

    A lens of a kind that types.Intrinsics lacks (FOV, DIVISION, EUCM, thin prisms, FULL_OPENCV's k4 to k6) is
    replaced by the nearest one. ``where`` begins the message of the NerfsceneError that is raised when no
    lens comes near it, or the model is one of whole panoramas other than EQUIRECTANGULAR.
    """
    model = camera.model_name
    if model == "EQUIRECTANGULAR":
        return _panorama(camera), 0.0
    known = _parameters(camera)
    try:
        focal = float(camera.focal_length_x), float(camera.focal_length_y)
        centre = float(camera.principal_point_x), float(camera.principal_point_y)
    except (ValueError, RuntimeError, IndexError) as error:
        raise NerfsceneError(_unsupported(where, model)) from error
    lens: Lens = "fisheye" if "FISHEYE" in model else "perspective"
    start = _lens(camera, focal, centre, lens, known)
    higher = any(known.get(name, 0.0) != 0 for name in ("k4", "k5", "k6"))
    if model in FISHEYE or (model in PERSPECTIVE and not higher):
        return start, 0.0
    if not (np.isfinite(camera.params).all() and min(focal) > 0):
        return start, 0.0  # such numbers are refused by whoever checks lenses, with the right reason
    return _nearest(camera, start, known, where)


def _panorama(camera: pycolmap.Camera) -> Intrinsics:
    """The lens of a panorama: longitude across, latitude down, the forward direction in the middle."""
    focal = camera.width / (2 * math.pi)
    return Intrinsics(
        camera.width, camera.height, focal, focal, camera.width / 2, camera.height / 2, "equirectangular"
    )


def _parameters(camera: pycolmap.Camera) -> dict[str, float]:
    """COLMAP's parameters by name. (It lists some models' names as "a, b", others' as "a,b".)"""
    names = [name.strip() for name in camera.params_info.split(",")]
    values = [float(value) for value in camera.params]
    known = dict(zip(names, values, strict=len(names) == len(values)))
    if "k0" in known:  # numbered from 0, one less than everywhere else
        known = {f"k{int(name[1:]) + 1}" if name[0] == "k" else name: v for name, v in known.items()}
    known.setdefault("k1", known.get("k", 0.0) if "RADIAL" in camera.model_name else 0.0)
    return known


def _lens(
    camera: pycolmap.Camera,
    focal: tuple[float, float],
    centre: tuple[float, float],
    kind: Lens,
    known: dict[str, float],
) -> Intrinsics:
    """The lens of one kind with those of COLMAP's terms that the kind has."""
    terms = [known.get(name, 0.0) for name in TERMS[kind]] + [0.0]
    return Intrinsics(
        camera.width,
        camera.height,
        *focal,
        *centre,
        lens=kind,
        distortion=tuple(terms[:5]),  # type: ignore[arg-type]
    )


def _nearest(
    camera: pycolmap.Camera, start: Intrinsics, known: dict[str, float], where: str
) -> tuple[Intrinsics, float]:
    """The lens nearest to COLMAP's, of either kind, and the largest difference in pixels."""
    focal, centre = (start.fx, start.fy), (start.cx, start.cy)
    other: Lens = "perspective" if start.lens == "fisheye" else "fisheye"
    found: list[tuple[Intrinsics, float]] = []
    for begin in (start, _lens(camera, focal, centre, other, {})):
        found.append(fitted(begin, _projection(camera, begin.lens)))
        if found[-1][1] < CLOSE:
            break
    best = min(found, key=lambda item: item[1])
    if not math.isfinite(best[1]):
        raise NerfsceneError(_unsupported(where, camera.model_name))
    return best


def _projection(camera: pycolmap.Camera, kind: Lens) -> Projection:
    """COLMAP's projection, from base coordinates as in lens_fit to pixels."""

    def project(base: Array) -> Array:
        if kind == "fisheye":
            angle = np.linalg.norm(base, axis=1, keepdims=True)
            # np.sinc(x) is sin(πx) / πx, so this is base · sin θ / θ.
            rays = np.hstack([base * np.sinc(angle / np.pi), np.cos(angle)])
        else:
            rays = np.hstack([base, np.ones((len(base), 1))])
        return np.asarray(camera.img_from_cam(rays, check_cheirality=False), np.float64)

    return project


def _unsupported(where: str, model: str) -> str:
    return (
        f"{where} uses the lens model {model} in a way that no supported lens comes near: undistort the "
        "photos with COLMAP's image_undistorter, or run COLMAP with OPENCV or OPENCV_FISHEYE."
    )

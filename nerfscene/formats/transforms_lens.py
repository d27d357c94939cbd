"""The lens of a frame in ``transforms.json``, in all the ways that programs write it.

The keys and lens models are those of instant-ngp (``nerf_loader.cu``) and nerfstudio
(``nerfstudio_dataparser.py``, ``camera_utils.py``). A frame's own keys go before the file's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from nerfscene.cameras.lens_fit import Projection
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import Values, nearest_lens, printable
from nerfscene.formats.listing import size_of_stored
from nerfscene.types import Array, Intrinsics, Lens

PINHOLE = ("PINHOLE", "SIMPLE_PINHOLE")
PERSPECTIVE = (*PINHOLE, "OPENCV", "FULL_OPENCV", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE", "BROWN")
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
ARIA = ("FISHEYE624",)
PANORAMA = ("EQUIRECTANGULAR", "EQUIRECT", "SPHERICAL", "SPHERE", "PANORAMA", "LATLONG", "360")
STEREO = ("OMNIDIRECTIONALSTEREO_L", "OMNIDIRECTIONALSTEREO_R", "VR180_L", "VR180_R")
UNDISTORT = (
    "undistort the photos (COLMAP's image_undistorter does it; its folder is read here), or export them with "
    "the camera_model OPENCV or OPENCV_FISHEYE"
)
FTHETA_STEPS = 8  # of Newton's method; the polynomial is nearly straight
FARTHEST = 0.01  # of the picture's width; a lens that is off by more is no likeness
DISAGREE = 0.01  # relative; focal lengths farther apart than this come from different lenses


@dataclass(frozen=True)
class FrameLens:
    """A frame's lens, and what a message should say of it.

    deviation: by how many pixels, at most, the lens differs from the one in the file.
    unused: names of the file's lens terms that its camera_model does not have.
    two_focals: whether x_fov or y_fov contradicts fl_x or fl_y, which is then used.
    """

    lens: Intrinsics
    deviation: float = 0.0
    unused: tuple[str, ...] = ()
    two_focals: bool = False


def frame_lens(top: Values, frame: Values, photo: Path, where: str) -> FrameLens:
    """The lens of a frame.

    top, frame: the file's values and the frame's. photo: the frame's photo, whose size is used if the file
    gives none. where: names the frame in messages.
    The lens belongs to the photo's pixels as they are stored, without its EXIF orientation.
    Raises NerfsceneError, beginning with ``where``, when a number is broken or there is no such lens here.
    """
    if photo.suffix.lower() == ".exr":
        raise NerfsceneError(
            f"{where} is an OpenEXR picture, which is not read: save the photos as PNG or JPEG under the "
            "same names, remove the .exr files, and leave the cameras as they are."
        )
    values = top | frame
    kind, model = _kind(values, where)
    width, height = (round(_number(values, key, where)) for key in ("w", "h"))
    if width <= 0 or height <= 0:
        width, height = size_of_stored(photo)
    if kind == "equirectangular":
        return FrameLens(_panorama(width, height, where))
    centre = _number(values, "cx", where, width / 2), _number(values, "cy", where, height / 2)
    if min(centre) >= 0 and max(centre) <= 1 < min(width, height) / 2:
        raise NerfsceneError(
            f"{where} has its principal point at ({centre[0]:g}, {centre[1]:g}) pixels, which is a corner of "
            "the picture: if cx and cy are fractions of the picture, multiply them by w and h."
        )
    start = Intrinsics(width, height, 1.0, 1.0, *centre, lens=kind)
    if "ftheta_p0" in values:
        return FrameLens(*_ftheta(start, values, where))
    fx, fy, two = _focal(top, frame, width, height, where)
    start = replace(start, fx=fx, fy=fy)
    return replace(_with_terms(start, model, values, where), two_focals=two)


def has_own_size(values: Values) -> bool:
    """Whether the lens is known for photos of any size: its own size is given, or nothing is in pixels."""
    model = str(values.get("camera_model", "")).upper()
    in_pixels = {"fl_x", "fl_y", "cx", "cy", "ftheta_p0"} & set(values)
    return all(values.get(key) for key in ("w", "h")) or not in_pixels or model in PANORAMA


def _kind(values: Values, where: str) -> tuple[Lens, str]:
    """The kind of lens, and the name of its model in capitals."""
    given = values.get("camera_model")
    model = str(given or "OPENCV").strip().upper().replace("-", "_").replace(" ", "_")
    if _is_set(values, "equirectangular") and given is None:
        raise NerfsceneError(
            f"{where} has instant-ngp's equirectangular lens, which is not what others call so: it is "
            'equal-area. If your photos are ordinary panoramas, write "latlong": true instead.'
        )
    if _is_set(values, "orthographic") or model == "ORTHOPHOTO":
        raise NerfsceneError(
            f"{where} has an orthographic camera, which sees no depth the way photos do: render the photos "
            "with a perspective camera."
        )
    if _is_set(values, "latlong") or model in PANORAMA:
        return "equirectangular", model
    if "ftheta_p0" in values or _is_set(values, "is_fisheye") or model in (*FISHEYE, *ARIA):
        return "fisheye", model
    if model in PERSPECTIVE:
        return "perspective", model
    if model in STEREO:
        raise NerfsceneError(
            f"{where} uses the camera_model {model}, half of a stereo panorama, which is not supported: cut "
            "it into perspective photos, or give panoramas of one lens (EQUIRECTANGULAR)."
        )
    raise NerfsceneError(
        f"{where} uses the camera_model {printable(given)}, which is not supported: {UNDISTORT}."
    )


def _is_set(values: Values, key: str) -> bool:
    """Whether a switch is on: true, 1 or the same as text."""
    return str(values.get(key)).lower() in ("true", "1", "1.0")


def _number(values: Values, key: str, where: str, default: float = 0.0) -> float:
    """The number under ``key``, which may be written as text; ``default`` if it is absent or null."""
    value = values.get(key)
    if value is None:
        return default
    try:
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise NerfsceneError(
            f"{where} has {key} = {printable(value)}, which is not a finite number: correct it."
        )
    return number


def _panorama(width: int, height: int, where: str) -> Intrinsics:
    """The lens of a panorama of 360° × 180°; its focal length follows from its size."""
    if abs(width - 2 * height) > max(2, 0.01 * width):
        raise NerfsceneError(
            f"{where} is a panorama of {width}×{height} pixels: only whole ones of 360° × 180°, twice as "
            "wide as they are high, can be used."
        )
    focal = width / (2 * math.pi)
    return Intrinsics(width, height, focal, focal, width / 2, height / 2, lens="equirectangular")


def _focal(top: Values, frame: Values, width: int, height: int, where: str) -> tuple[float, float, bool]:
    """fx, fy, and whether the file contradicts itself. One that is missing is as long as the other.

    If a frame gives any focal length, the file's are not used for it, as in instant-ngp.
    """
    for level in (frame, top):
        fx, two_x = _focal_along("x", level, width, where)
        fy, two_y = _focal_along("y", level, height, where)
        if fx or fy:
            return fx or fy, fy or fx, two_x or two_y
    raise NerfsceneError(
        f"{where} has no focal length (fl_x in pixels, camera_angle_x in radians, or x_fov in degrees): add "
        "it, or give only the folder of photos, and nerfscene finds their cameras."
    )


def _focal_along(axis: str, values: Values, pixels: int, where: str) -> tuple[float, bool]:
    """The focal length along one axis in pixels, 0 if there is none, and whether x_fov contradicts fl_x."""

    def from_angle(key: str, half_turn: float) -> float:
        angle = _number(values, key, where)
        if not 0 <= angle < half_turn:
            unit = "radians (x_fov is in degrees)" if half_turn < 4 else "degrees"
            raise NerfsceneError(
                f"{where} has {key} = {angle:g}, which is no angle of view in {unit}: correct it."
            )
        return pixels / 2 / math.tan(angle / half_turn * math.pi / 2) if angle else 0.0

    focal = _number(values, f"fl_{axis}", where)
    if focal < 0:
        raise NerfsceneError(f"{where} has fl_{axis} = {focal:g}, which is no focal length: correct it.")
    of_view = from_angle(f"{axis}_fov", 180.0)
    if focal:
        return focal, bool(of_view) and abs(of_view / focal - 1) > DISAGREE
    # fovx and fovy: colmap2nerf.py writes them beside the others, in degrees.
    return of_view or from_angle(f"camera_angle_{axis}", math.pi) or from_angle(f"fov{axis}", 180.0), False


def _with_terms(start: Intrinsics, model: str, values: Values, where: str) -> FrameLens:
    """The lens with the distortion that the file gives; ``start`` has none yet."""
    listed = values.get("distortion_params") or None  # an empty list of terms says that there are none
    if model in ARIA:
        terms = _listed(listed, 12, where)
        start = replace(start, distortion=(*terms[:4], 0.0))  # type: ignore[arg-type]
        return FrameLens(*_fitted(start, "aria", terms, where))
    k = [_number(values, f"k{i}", where) for i in range(1, 7)]
    p = [_number(values, key, where) for key in ("p1", "p2")]
    if listed is not None:
        given = _listed(listed, 6, where)
        k, p = [*given[:4], 0.0, 0.0], given[4:]
    if start.lens == "fisheye":
        # instant-ngp keeps p1 and p2 where a fisheye has k3 and k4, so the zeros of colmap2nerf.py wipe these
        # out there. The file itself says what COLMAP found.
        return FrameLens(replace(start, distortion=(*k[:4], 0.0)))  # type: ignore[arg-type]
    if model in PINHOLE:
        named = {**{f"k{i}": term for i, term in enumerate(k, 1)}, "p1": p[0], "p2": p[1]}
        return FrameLens(start, unused=tuple(key for key, term in named.items() if term))
    start = replace(start, distortion=(k[0], k[1], p[0], p[1], k[2]))
    if not any(k[3:]):
        return FrameLens(start)
    rational = model == "FULL_OPENCV" or any(k[4:])  # else nerfstudio's k4, which is Metashape's too
    return FrameLens(*_fitted(start, "rational" if rational else "brown", (*k, *p), where))


def _listed(listed: object, least: int, where: str) -> list[float]:
    """``distortion_params`` as numbers; missing ones at the end are 0."""
    if not isinstance(listed, list) or not 1 <= len(listed) <= 12:
        raise NerfsceneError(f"{where} has distortion_params that are not a list of numbers: correct them.")
    numbers = [_number({"distortion_params": item}, "distortion_params", where) for item in listed]
    return numbers + [0.0] * (least - len(numbers))


@lru_cache(maxsize=256)  # all frames of a lens have the same terms
def _nearest(start: Intrinsics, model: str, terms: tuple[float, ...]) -> tuple[Intrinsics, float]:
    projections = {"brown": _brown, "rational": _rational, "aria": _aria, "ftheta": _ftheta_projection}
    return nearest_lens(start, projections[model](start, terms), "")


def _fitted(start: Intrinsics, model: str, terms: Sequence[float], where: str) -> tuple[Intrinsics, float]:
    """The lens of ours nearest to the model's, and by how many pixels it is off at most.

    Raises NerfsceneError, beginning with ``where``, when none is near enough to be of use.
    """
    try:
        lens, deviation = _nearest(start, model, tuple(terms))
    except NerfsceneError as error:
        raise NerfsceneError(f"{where}{error}") from None
    if deviation > FARTHEST * start.width:
        raise NerfsceneError(
            f"{where} has a lens that no lens of OpenCV comes near (it is off by {deviation:.0f} pixels): "
            f"{UNDISTORT}."
        )
    return lens, deviation


def _brown(lens: Intrinsics, terms: Sequence[float]) -> Projection:
    """nerfstudio's perspective lens: a factor of 1 + k1 r² + k2 r⁴ + k3 r⁶ + k4 r⁸."""
    k1, k2, k3, k4, _, _, p1, p2 = terms

    def factor(r2: Array) -> Array:
        return 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))

    return _decentred(lens, factor, p1, p2)


def _rational(lens: Intrinsics, terms: Sequence[float]) -> Projection:
    """OpenCV's rational lens, COLMAP's FULL_OPENCV."""
    k1, k2, k3, k4, k5, k6, p1, p2 = terms

    def factor(r2: Array) -> Array:
        return (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))

    return _decentred(lens, factor, p1, p2)


def _decentred(lens: Intrinsics, factor: Callable[[Array], Array], p1: float, p2: float) -> Projection:
    """The projection with a radial ``factor`` of r², and OpenCV's tangential terms."""

    def project(base: Array) -> Array:
        x, y = base.T
        r2 = x * x + y * y
        u = x * factor(r2) + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        v = y * factor(r2) + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return np.stack([lens.fx * u + lens.cx, lens.fy * v + lens.cy], axis=1)

    return project


def _aria(lens: Intrinsics, terms: Sequence[float]) -> Projection:
    """Project Aria's FISHEYE624: six radial terms, two tangential and four of a thin prism."""
    *k, p0, p1, s0, s1, s2, s3 = terms

    def project(base: Array) -> Array:
        theta2 = np.square(base).sum(1)
        radial = np.polyval([*reversed(k), 1.0], theta2)
        x, y = base.T * radial
        r2 = x * x + y * y
        u = x + p0 * (2 * x * x + r2) + 2 * p1 * x * y + r2 * (s0 + s1 * r2)
        v = y + p1 * (2 * y * y + r2) + 2 * p0 * x * y + r2 * (s2 + s3 * r2)
        return np.stack([lens.fx * u + lens.cx, lens.fy * v + lens.cy], axis=1)

    return project


def _ftheta(start: Intrinsics, values: Values, where: str) -> tuple[Intrinsics, float]:
    """instant-ngp's f-theta lens: a polynomial p0 … p4 from a pixel's distance to the angle in radians."""
    terms = [_number(values, f"ftheta_p{i}", where) for i in range(5)]
    if terms[1] <= 0:
        raise NerfsceneError(f"{where} has ftheta_p1 = {terms[1]:g}, which must be positive: correct it.")
    return _fitted(replace(start, fx=1 / terms[1], fy=1 / terms[1]), "ftheta", terms, where)


def _ftheta_projection(lens: Intrinsics, terms: Sequence[float]) -> Projection:
    backwards = np.array(terms[::-1])
    slope = np.polyder(backwards)

    def project(base: Array) -> Array:
        theta = np.sqrt(np.square(base).sum(1))
        radius = theta / terms[1]
        for _ in range(FTHETA_STEPS):
            radius = radius - (np.polyval(backwards, radius) - theta) / np.polyval(slope, radius)
        outwards = base / np.maximum(theta, 1e-12)[:, None] * radius[:, None]
        return outwards + np.array([lens.cx, lens.cy])

    return project

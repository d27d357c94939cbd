"""The lenses of Agisoft Metashape's sensors → ours.

The formulas are in the user manual's appendix on camera models (of Metashape 1.8, and 2.3 for the equisolid
fisheye). A fisheye of the type ``fisheye`` is the one that is called equidistant since version 2.3. A
spherical sensor has no calibration: its picture spans 360° × 180°, and its middle looks along the camera's z
axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element

import numpy as np

from nerfscene.cameras.lens_fit import Projection
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import lens_of, nearest_lens, number, numbers, panorama_lens, printable
from nerfscene.types import Array, Intrinsics, Lens

LENSES: dict[str, Lens] = {
    "frame": "perspective",
    "fisheye": "fisheye",
    "equidistant_fisheye": "fisheye",
    "equisolid_fisheye": "fisheye",
    "spherical": "equirectangular",
    "equirectangular": "equirectangular",
}
TO_FRAMES = "have Metashape convert the photos to frame cameras (for panoramas: cube maps) first"
TERMS = ("cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4", "b1", "b2")


def floats_in(element: Element | None, count: int, where: str, what: str) -> Array:
    """The numbers in an element's text, (count,)."""
    text = "" if element is None else element.text or ""
    try:
        values: object = [float(word) for word in text.split()]
    except ValueError:
        values = None
    return numbers(values, (count,), where, what)


def sensor_lenses(
    ids: Iterable[str], sensors: dict[str, Element], path: object
) -> tuple[dict[str, Intrinsics], float]:
    """The lens of each sensor in ``ids``, and by how many pixels one differs from Metashape's at most."""
    result = {}
    worst = 0.0
    for key in sorted(ids):
        if key not in sensors:
            raise NerfsceneError(
                f"{path} has cameras of a sensor {printable(key) or '(none)'} that it doesn't "
                "describe: export it again."
            )
        sensor = sensors[key]
        where = f"sensor {printable(sensor.get('label') or sensor.get('id'))} in {path}"
        result[key], deviation = _lens(sensor, where)
        worst = max(worst, deviation)
    return result, worst


def _lens(sensor: Element, where: str) -> tuple[Intrinsics, float]:
    """A sensor's lens, and by how many pixels it differs from Metashape's at most."""
    calibrations = sensor.findall("calibration")
    adjusted = [c for c in calibrations if c.get("class") == "adjusted"]
    calibration = (adjusted or calibrations)[-1] if calibrations else None
    kind = ("" if calibration is None else calibration.get("type")) or sensor.get("type") or "frame"
    if kind not in LENSES:
        raise NerfsceneError(
            f"{where} is of the type {printable(kind)}; only frame, fisheye and spherical are supported: "
            f"{TO_FRAMES}."
        )
    width, height = _resolution(sensor, calibration)
    if LENSES[kind] == "equirectangular":
        return panorama_lens(width, height, where, TO_FRAMES), 0.0
    if calibration is None:
        raise NerfsceneError(f"{where} has no calibration: align the photos before you export the cameras.")
    return _calibrated(calibration, kind, (width, height), where)


def _calibrated(
    calibration: Element, kind: str, size: tuple[float, float], where: str
) -> tuple[Intrinsics, float]:
    """The lens of a calibration, and by how many pixels it differs from Metashape's at most."""
    width, height = size
    elements = {element.tag: element for element in calibration}

    def value(name: str, what: str) -> float:
        return float(floats_in(elements.get(name), 1, where, what)[0])

    terms: dict[str, object] = {term: value(term, term) for term in TERMS if term in elements}
    cx, cy, k1, k2, k3, k4, p1, p2, p3, p4, b1, b2 = (number(terms, term, where, 0.0) for term in TERMS)
    if "f" in elements:
        fy = value("f", "f")
        fx, skew = fy + b1, b2
        cx, cy = cx + width / 2, cy + height / 2  # given relative to the picture's centre
    else:  # PhotoScan before 1.2
        fx, fy = value("fx", "focal length f"), value("fy", "focal length fy")
        skew = value("skew", "skew") if "skew" in elements else 0.0
    fisheye = LENSES[kind] == "fisheye"
    # Metashape's p1 and p2 are our p2 and p1.
    distortion = (k1, k2, k3, k4) if fisheye else (k1, k2, p2, p1, k3)
    ours = lens_of(width, height, (fx, fy), (cx, cy), where, distortion, LENSES[kind])
    tangential = p1 != 0 or p2 != 0  # p3 and p4 scale p1 and p2
    unsupported = tangential if fisheye else k4 != 0 or (tangential and (p3 != 0 or p4 != 0))
    equisolid = kind == "equisolid_fisheye"
    if not unsupported and skew == 0 and not equisolid:
        return ours, 0.0
    theirs = _projection(ours, (k1, k2, k3, k4), (p1, p2, p3, p4), skew, equisolid)
    return nearest_lens(ours, theirs, where)


def _resolution(sensor: Element, calibration: Element | None) -> tuple[float, float]:
    """(width, height) in pixels; 0 if the file doesn't give them, which lens_of refuses."""
    resolution = None if calibration is None else calibration.find("resolution")
    if resolution is None:
        resolution = sensor.find("resolution")
    size = {} if resolution is None else dict(resolution.attrib)
    try:
        return float(size.get("width", 0)), float(size.get("height", 0))
    except ValueError:
        return 0.0, 0.0


def _projection(
    lens: Intrinsics, k: tuple[float, ...], p: tuple[float, ...], skew: float, equisolid: bool
) -> Projection:
    """Metashape's projection, from base coordinates as in lens_fit to pixels."""

    def project(base: Array) -> Array:
        if equisolid:  # the radius is 2 sin(θ/2) instead of θ
            angle = np.linalg.norm(base, axis=1, keepdims=True)
            base = base * np.sinc(angle / (2 * np.pi))
        x, y = base.T
        r2 = x * x + y * y
        radial = 1 + r2 * (k[0] + r2 * (k[1] + r2 * (k[2] + r2 * k[3])))
        higher = 1 + r2 * (p[2] + r2 * p[3])
        u = x * radial + (p[0] * (r2 + 2 * x * x) + 2 * p[1] * x * y) * higher
        v = y * radial + (p[1] * (r2 + 2 * y * y) + 2 * p[0] * x * y) * higher
        return np.stack([lens.fx * u + skew * v + lens.cx, lens.fy * v + lens.cy], axis=1)

    return project

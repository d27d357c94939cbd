"""Agisoft Metashape's cameras (File > Export > Export Cameras, Agisoft XML) → PosedCapture.

A camera's ``transform`` takes its own axes (x right, y down, z forward, as ours) to the chunk's; that
of the chunk, or of the component that the camera is in, takes these to the world: rotated, scaled,
shifted. Formulas of lenses are those of the user manual's appendix on camera models; a pixel's centre
is at + 0.5 there too, and pixels are those of the file, whatever EXIF says of its orientation. Tried on
exports of PhotoScan and Metashape 1, whose XML has versions 1.1 to 1.5; that of Metashape 2 is read as
its documentation has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from nerfscene.cameras.lens_fit import NOTICEABLE, Projection, fitted
from nerfscene.capture.folder import name_some, natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import (
    as_shown,
    capture_root,
    lens_of,
    load_xml,
    number,
    numbers,
    photo_finder,
    photos_beside,
    said,
)
from nerfscene.formats.listing import Listed, finish, rigid, with_masks
from nerfscene.types import Array, Intrinsics, LeftOut, Lens, PosedCapture

LENSES: dict[str, Lens] = {
    "frame": "perspective",
    "fisheye": "fisheye",
    "equidistant_fisheye": "fisheye",
}
TERMS = ("cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4", "b1", "b2")
HEAD = 1 << 16  # bytes of a file that show what it is
COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)


def is_metashape(path: Path) -> bool:
    """Whether a file is one of Metashape's, by the look of its beginning; it need hold no cameras."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return re.search(rb"<document\b", head) is not None and re.search(rb"<chunk[\s>]", head) is not None


def is_posed_metashape(path: Path) -> bool:
    """Whether a file is an export with at least one posed camera, by the look of its text."""
    try:
        text = path.read_bytes() if is_metashape(path) else b""
    except OSError:
        return False
    return re.search(rb"<camera\s", text) is not None and _POSE.search(COMMENT.sub(b"", text)) is not None


_POSE = re.compile(rb"<transform>\s*[-+.\d]")  # numbers: those of chunks hold elements


@dataclass(frozen=True)
class _Similarity:
    """world_from_chunk: X → scale · rotation X + shift."""

    rotation: Array  # (3, 3)
    shift: Array  # (3,)
    scale: float

    def pose(self, chunk_from_cam: Array) -> Array:
        """world_from_cam, rigid: the scale acts on the position alone."""
        result = np.eye(4)
        result[:3, :3] = self.rotation @ chunk_from_cam[:3, :3]
        result[:3, 3] = self.scale * self.rotation @ chunk_from_cam[:3, 3] + self.shift
        return result


def read_metashape(path: Path, images: Path | None = None) -> PosedCapture:
    """A cameras XML and its photos, which are in ``images``, or in ``images`` or right beside it.

    The world is the chunk's, in its units: metres where it was given a scale. Of several chunks, or
    components that don't connect, the one with most cameras is taken, with a warning; cameras that
    were not aligned are left out with one. Lenses of the types frame and fisheye; the terms k4, p3,
    p4, b2 of frame and the tangential ones of fisheye, where not 0, are approximated by the nearest
    lens without them, with a warning where that is visibly off.
    Raises NerfsceneError when the file is broken, a lens is of another type, or photos don't fit.
    """
    document = load_xml(path)
    chunks = [chunk for chunk in document.iter("chunk") if _posed(chunk)]
    if document.tag != "document" or not chunks:
        raise NerfsceneError(
            f"{path} has no camera with a pose in it: align the photos in Metashape, and export the cameras "
            "as Agisoft XML."
        )
    chunk = max(chunks, key=lambda c: len(_posed(c)))
    warnings: list[str] = []
    if len(chunks) > 1:
        warnings.append(
            f"{path.name} holds {len(chunks)} chunks with cameras: took the largest, "
            f"{said(chunk.get('label', 'without a name'))}, with {len(_posed(chunk))}."
        )
    cameras = [c for group in chunk.iter("cameras") for c in group.iter("camera")]
    groups: dict[str, list[Element]] = {}
    for camera in _posed(chunk):
        groups.setdefault(camera.get("component_id", ""), []).append(camera)
    component, taken = max(groups.items(), key=lambda item: len(item[1]))
    if len(groups) > 1:
        warnings.append(
            f"{path.name} holds {len(groups)} components that don't connect: took the largest, with "
            f"{len(taken)} of {sum(map(len, groups.values()))} cameras."
        )
    world = _similarity(_chunk_transform(chunk, component), str(path))
    lenses = {s.get("id", ""): s for group in chunk.iter("sensors") for s in group.iter("sensor")}
    read = _lenses({c.get("sensor_id", "") for c in taken}, lenses, path, warnings)
    find = photo_finder(path.parent, images, [c.get("label", "") for c in taken], path)
    listed = []
    for camera in sorted(taken, key=lambda c: natural_key(c.get("label", ""))):
        label = camera.get("label", "")
        where = f"camera {said(label)} in {path}"
        matrix = rigid(_floats(camera.find("transform"), 16, where, "transform").reshape(4, 4), where)
        lens = read[camera.get("sensor_id", "")]
        listed.append(as_shown(Listed(said(label), find(label), lens, world.pose(matrix))))
    posed = {id(camera) for group in groups.values() for camera in group}
    lost = [said(c.get("label", "")) for c in cameras if id(c) not in posed]
    if lost:
        warnings.append(
            f"{len(lost)} of the {len(cameras)} cameras in {path.name} have no pose and were left out "
            f"({name_some(lost)})."
        )
    apart = [said(c.get("label", "")) for c in cameras if id(c) in posed and c not in taken]
    left_out = [LeftOut(name, f"has no pose in {path.name}") for name in lost]
    left_out += [LeftOut(name, "is in another component than most cameras") for name in apart]
    root = capture_root(path, listed)
    return finish(
        path,
        root,
        "metashape",
        with_masks(root, listed),
        warnings=tuple(warnings),
        photos_given=len(photos_beside(listed)),
        left_out=left_out,
    )


def _posed(chunk: Element) -> list[Element]:
    every = [c for group in chunk.iter("cameras") for c in group.iter("camera")]
    return [c for c in every if c.find("transform") is not None]


def _floats(element: Element | None, count: int, where: str, what: str) -> Array:
    """The numbers in an element's text, (count,)."""
    text = "" if element is None else element.text or ""
    try:
        values: object = [float(word) for word in text.split()]
    except ValueError:
        values = None
    return numbers(values, (count,), where, what)


def _chunk_transform(chunk: Element, component: str) -> Element | None:
    """Older files have one for the chunk, newer ones one for each component."""
    for found in chunk.iterfind("components/component"):
        if found.get("id") == component and found.find("transform") is not None:
            return found.find("transform")
    return chunk.find("transform")


def _similarity(element: Element | None, where: str) -> _Similarity:
    if element is None:  # neither scaled nor placed
        return _Similarity(np.eye(3), np.zeros(3), 1.0)
    rotation, shift, scale = (element.find(tag) for tag in ("rotation", "translation", "scale"))
    matrix = np.eye(4)
    if rotation is not None:
        turn = _floats(rotation, 9, where, "rotation of the chunk").reshape(3, 3)
        matrix[:3, :3] = rigid(np.column_stack([turn, np.zeros(3)]), where)[:3, :3]
    factor = 1.0 if scale is None else float(_floats(scale, 1, where, "scale of the chunk")[0])
    if factor <= 0:
        raise NerfsceneError(f"{where} has a chunk with the scale {factor:g}: export the cameras again.")
    at = np.zeros(3) if shift is None else _floats(shift, 3, where, "translation of the chunk")
    return _Similarity(matrix[:3, :3], at, factor)


def _lenses(
    wanted: set[str], sensors: dict[str, Element], path: Path, warnings: list[str]
) -> dict[str, Intrinsics]:
    """The lens of each sensor; a warning is added where one is only approximated."""
    result = {}
    worst = 0.0
    for key in sorted(wanted):
        if key not in sensors:
            raise NerfsceneError(
                f"{path} has cameras of a sensor {said(key) or '(none)'} that it doesn't "
                "describe: export it again."
            )
        result[key], off = _lens(sensors[key], path)
        worst = max(worst, off)
    if worst > NOTICEABLE:
        warnings.append(
            f"a lens in {path.name} has terms that are not known here (k4, b2, or p1 and p2 of a fisheye): "
            f"the nearest lens without them is off by up to {worst:.1f} pixels; export undistorted photos "
            "for sharper results."
        )
    return result


def _lens(sensor: Element, path: Path) -> tuple[Intrinsics, float]:
    """A sensor's lens, and how far it is off at most, pixels."""
    where = f"sensor {said(sensor.get('label') or sensor.get('id'))} in {path}"
    calibrations = sensor.findall("calibration")
    adjusted = [c for c in calibrations if c.get("class") == "adjusted"]
    if not calibrations:
        raise NerfsceneError(f"{where} has no calibration: align the photos before the cameras are exported.")
    calibration = (adjusted or calibrations)[-1]
    kind = calibration.get("type") or sensor.get("type") or "frame"
    if kind not in LENSES:
        raise NerfsceneError(
            f"{where} is of the type {said(kind)}, and only frame and fisheye are supported: have Metashape "
            "convert the photos to frame cameras first."
        )
    resolution = calibration.find("resolution")
    if resolution is None:
        resolution = sensor.find("resolution")
    size = {} if resolution is None else dict(resolution.attrib)
    try:
        width, height = float(size.get("width", 0)), float(size.get("height", 0))
    except ValueError:
        width = height = 0.0
    given = {e.tag: e for e in calibration}
    values: dict[str, object] = {
        term: float(_floats(given[term], 1, where, term)[0]) for term in TERMS if term in given
    }
    if "f" in given:
        focal = float(_floats(given["f"], 1, where, "f")[0])
        fx = focal + number(values, "b1", where, 0.0)
        skew = number(values, "b2", where, 0.0)
    else:  # PhotoScan before 1.2
        fx = float(_floats(given.get("fx"), 1, where, "focal length f")[0])
        focal = float(_floats(given.get("fy"), 1, where, "focal length fy")[0])
        skew = float(_floats(given["skew"], 1, where, "skew")[0]) if "skew" in given else 0.0
    k1, k2, k3, k4, p1, p2, p3, p4 = (number(values, t, where, 0.0) for t in TERMS[2:10])
    centre = number(values, "cx", where, 0.0), number(values, "cy", where, 0.0)
    if "f" in given:  # from the picture's middle
        centre = centre[0] + width / 2, centre[1] + height / 2
    lens = LENSES[kind]
    ours = (k1, k2, k3, k4) if lens == "fisheye" else (k1, k2, p2, p1, k3)  # p1, p2: theirs is our p2, p1
    start = lens_of(width, height, (fx, focal), centre, where, ours, lens)
    foreign = (p1, p2) if lens == "fisheye" else (k4, (p1 or p2) and p3, (p1 or p2) and p4)
    if not any((*foreign, skew)):
        return start, 0.0
    best, off = fitted(start, _projection(start, (k1, k2, k3, k4), (p1, p2, p3, p4), skew))
    if not np.isfinite(off):
        raise NerfsceneError(
            f"{where} has a lens that folds its picture over, so it can't be right: calibrate it again, or "
            "export undistorted photos."
        )
    return best, off


def _projection(lens: Intrinsics, k: tuple[float, ...], p: tuple[float, ...], skew: float) -> Projection:
    """Metashape's own, of base coordinates as in lens_fit."""

    def project(base: Array) -> Array:
        x, y = base.T
        r2 = x * x + y * y
        radial = 1 + r2 * (k[0] + r2 * (k[1] + r2 * (k[2] + r2 * k[3])))
        higher = 1 + r2 * (p[2] + r2 * p[3])
        u = x * radial + (p[0] * (r2 + 2 * x * x) + 2 * p[1] * x * y) * higher
        v = y * radial + (p[1] * (r2 + 2 * y * y) + 2 * p[0] * x * y) * higher
        return np.stack([lens.fx * u + skew * v + lens.cx, lens.fy * v + lens.cy], axis=1)

    return project

"""Agisoft Metashape's cameras (File > Export > Export Cameras, Agisoft XML) → PosedCapture.

A camera's ``transform`` takes its own axes (x right, y down, z forward, as ours) to the chunk's axes. The
transform of the chunk, or of the camera's component, takes those to the world (rotation, scale,
translation). The formulas of lenses are in the user manual's appendix on camera models. Pixel centres lie
at + 0.5, as ours do; pixels are the stored ones, whatever EXIF says about orientation.

Tried on exports of PhotoScan and Metashape 1 (XML versions 1.1 to 1.5). For Metashape 2 the reader follows
the documentation.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.cameras.lens_fit import NOTICEABLE, Projection
from nerfscene.capture.folder import name_some, natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import (
    lens_of,
    load_xml,
    nearest_lens,
    number,
    numbers,
    printable,
)
from nerfscene.formats.listing import PosedFrame, rigid
from nerfscene.formats.photo_search import finish_app_export, photo_finder
from nerfscene.types import Array, Intrinsics, LeftOut, Lens, PosedCapture

LENSES: dict[str, Lens] = {
    "frame": "perspective",
    "fisheye": "fisheye",
    "equidistant_fisheye": "fisheye",
}
TERMS = ("cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4", "b1", "b2")
HEAD = 1 << 16  # bytes at the beginning of a file that are enough to recognise it
COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
POSE = re.compile(rb"<transform>\s*[-+.\d]")  # numbers: a chunk's transform holds elements instead


def is_metashape(path: Path) -> bool:
    """Whether a file looks like Metashape's, judged by its beginning; it may hold no cameras."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return re.search(rb"<document\b", head) is not None and re.search(rb"<chunk[\s>]", head) is not None


def is_posed_metashape(path: Path) -> bool:
    """Whether a file looks like an export with at least one posed camera, judged by its text."""
    try:
        text = path.read_bytes() if is_metashape(path) else b""
    except OSError:
        return False
    return re.search(rb"<camera\s", text) is not None and POSE.search(COMMENT.sub(b"", text)) is not None


def read_metashape(path: Path, images: Path | None = None) -> PosedCapture:
    """Reads a cameras XML; its photos are in ``images``, or where photo_search.photo_finder looks.

    World coordinates and units are the chunk's: metres if it was given a scale. If there are several
    chunks, or components that don't connect, the one with most cameras is used, with a warning. Cameras
    that were not aligned are left out with a warning. Lens types: frame and fisheye. The terms k4, p3, p4
    and b2 of a frame lens, and the tangential terms of a fisheye, are approximated by the nearest lens
    without them if they are not 0, with a warning if the difference is visible.
    Raises NerfsceneError when the file is broken, a lens is of another type, or photos don't fit.
    """
    chunk, warnings = _largest_chunk(path)
    component, used, in_other_components = _largest_component(chunk)
    if in_other_components:
        n_components = len({camera.get("component_id", "") for camera in [*used, *in_other_components]})
        warnings.append(
            f"{path.name} holds {n_components} components that don't connect: took the largest, with "
            f"{len(used)} of {len(used) + len(in_other_components)} cameras."
        )
    frames = _frames(path, images, chunk, component, used, warnings)
    cameras = _cameras(chunk)
    no_pose = [_label(camera) for camera in cameras if camera.find("transform") is None]
    if no_pose:
        warnings.append(
            f"{len(no_pose)} of the {len(cameras)} cameras in {path.name} have no pose and were left out "
            f"({name_some(no_pose)})."
        )
    left_out = [LeftOut(name, f"has no pose in {path.name}") for name in no_pose]
    left_out += [LeftOut(_label(c), "is in another component than most cameras") for c in in_other_components]
    return finish_app_export(path, "metashape", frames, tuple(warnings), left_out)


def _largest_chunk(path: Path) -> tuple[Element, list[str]]:
    """The chunk with most posed cameras, and a warning if there are others with some."""
    document = load_xml(path)
    chunks = [chunk for chunk in document.iter("chunk") if _posed(chunk)]
    if document.tag != "document" or not chunks:
        raise NerfsceneError(
            f"{path} has no camera with a pose: align the photos in Metashape, then export the cameras as "
            "Agisoft XML."
        )
    chunk = max(chunks, key=lambda c: len(_posed(c)))
    if len(chunks) == 1:
        return chunk, []
    return chunk, [
        f"{path.name} holds {len(chunks)} chunks with cameras: took the largest, "
        f"{printable(chunk.get('label', 'without a name'))}, with {len(_posed(chunk))}."
    ]


def _largest_component(chunk: Element) -> tuple[str, list[Element], list[Element]]:
    """The id of the component with most posed cameras, its cameras, and those of other components."""
    components: dict[str, list[Element]] = {}
    for camera in _posed(chunk):
        components.setdefault(camera.get("component_id", ""), []).append(camera)
    largest = max(components, key=lambda key: len(components[key]))
    others = [camera for key, group in components.items() if key != largest for camera in group]
    return largest, components[largest], others


def _frames(
    path: Path,
    images: Path | None,
    chunk: Element,
    component: str,
    cameras: list[Element],
    warnings: list[str],
) -> list[PosedFrame]:
    """A frame for each camera, in the natural order of labels; warnings about lenses are appended."""
    world_from_chunk = _similarity(_chunk_transform(chunk, component), str(path))
    sensors = {s.get("id", ""): s for group in chunk.iter("sensors") for s in group.iter("sensor")}
    lenses = _lenses({c.get("sensor_id", "") for c in cameras}, sensors, path, warnings)
    find = photo_finder(path.parent, images, [c.get("label", "") for c in cameras], path)
    frames = []
    for camera in sorted(cameras, key=lambda c: natural_key(c.get("label", ""))):
        where = f"camera {_label(camera)} in {path}"
        matrix = _floats(camera.find("transform"), 16, where, "transform").reshape(4, 4)
        world_from_cam = pose_in_scene(world_from_chunk, rigid(matrix, where))
        lens = lenses[camera.get("sensor_id", "")]
        photo = find(camera.get("label", ""))
        frames.append(PosedFrame(_label(camera), photo, lens, world_from_cam))
    return frames


def _label(camera: Element) -> str:
    return printable(camera.get("label", ""))


def _cameras(chunk: Element) -> list[Element]:
    return [camera for group in chunk.iter("cameras") for camera in group.iter("camera")]


def _posed(chunk: Element) -> list[Element]:
    return [camera for camera in _cameras(chunk) if camera.find("transform") is not None]


def _floats(element: Element | None, count: int, where: str, what: str) -> Array:
    """The numbers in an element's text, (count,)."""
    text = "" if element is None else element.text or ""
    try:
        values: object = [float(word) for word in text.split()]
    except ValueError:
        values = None
    return numbers(values, (count,), where, what)


def _chunk_transform(chunk: Element, component: str) -> Element | None:
    """The transform to the world: newer files have one per component, older ones one per chunk."""
    for found in chunk.iterfind("components/component"):
        if found.get("id") == component and found.find("transform") is not None:
            return found.find("transform")
    return chunk.find("transform")


def _similarity(element: Element | None, where: str) -> Array:
    """world_from_chunk (4, 4) from a chunk's or a component's transform; missing parts change nothing."""
    result = np.eye(4)
    if element is None:
        return result
    rotation, translation, scale = (element.find(tag) for tag in ("rotation", "translation", "scale"))
    if rotation is not None:
        matrix = _floats(rotation, 9, where, "rotation of the chunk").reshape(3, 3)
        result[:3, :3] = rigid(np.column_stack([matrix, np.zeros(3)]), where)[:3, :3]
    if scale is not None:
        factor = float(_floats(scale, 1, where, "scale of the chunk")[0])
        if factor <= 0:
            raise NerfsceneError(f"{where} has a chunk with scale {factor:g}: export the cameras again.")
        result[:3, :3] *= factor
    if translation is not None:
        result[:3, 3] = _floats(translation, 3, where, "translation of the chunk")
    return result


def _lenses(
    ids: set[str], sensors: dict[str, Element], path: Path, warnings: list[str]
) -> dict[str, Intrinsics]:
    """The lens of each sensor in ``ids``; a warning is appended if one is only approximated."""
    result = {}
    worst = 0.0
    for key in sorted(ids):
        if key not in sensors:
            raise NerfsceneError(
                f"{path} has cameras of a sensor {printable(key) or '(none)'} that it doesn't "
                "describe: export it again."
            )
        result[key], deviation = _lens(sensors[key], path)
        worst = max(worst, deviation)
    if worst > NOTICEABLE:
        warnings.append(
            f"a lens in {path.name} has terms that are not supported (k4, b2, or p1 and p2 of a fisheye): "
            f"the nearest lens without them is off by up to {worst:.1f} pixels; export undistorted photos "
            "for sharper results."
        )
    return result


def _lens(sensor: Element, path: Path) -> tuple[Intrinsics, float]:
    """A sensor's lens, and by how many pixels it differs from Metashape's at most."""
    where = f"sensor {printable(sensor.get('label') or sensor.get('id'))} in {path}"
    calibrations = sensor.findall("calibration")
    adjusted = [c for c in calibrations if c.get("class") == "adjusted"]
    if not calibrations:
        raise NerfsceneError(f"{where} has no calibration: align the photos before you export the cameras.")
    calibration = (adjusted or calibrations)[-1]
    kind = calibration.get("type") or sensor.get("type") or "frame"
    if kind not in LENSES:
        raise NerfsceneError(
            f"{where} is of the type {printable(kind)}; only frame and fisheye are supported: let Metashape "
            "convert the photos to frame cameras first."
        )
    width, height = _resolution(sensor, calibration)
    elements = {element.tag: element for element in calibration}

    def value(name: str, what: str) -> float:
        return float(_floats(elements.get(name), 1, where, what)[0])

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
    if not unsupported and skew == 0:
        return ours, 0.0
    theirs = _projection(ours, (k1, k2, k3, k4), (p1, p2, p3, p4), skew)
    return nearest_lens(ours, theirs, where)


def _resolution(sensor: Element, calibration: Element) -> tuple[float, float]:
    """(width, height) in pixels; 0 if the file doesn't give them, which lens_of refuses."""
    resolution = calibration.find("resolution")
    if resolution is None:
        resolution = sensor.find("resolution")
    size = {} if resolution is None else dict(resolution.attrib)
    try:
        return float(size.get("width", 0)), float(size.get("height", 0))
    except ValueError:
        return 0.0, 0.0


def _projection(lens: Intrinsics, k: tuple[float, ...], p: tuple[float, ...], skew: float) -> Projection:
    """Metashape's projection, from base coordinates as in lens_fit to pixels."""

    def project(base: Array) -> Array:
        x, y = base.T
        r2 = x * x + y * y
        radial = 1 + r2 * (k[0] + r2 * (k[1] + r2 * (k[2] + r2 * k[3])))
        higher = 1 + r2 * (p[2] + r2 * p[3])
        u = x * radial + (p[0] * (r2 + 2 * x * x) + 2 * p[1] * x * y) * higher
        v = y * radial + (p[1] * (r2 + 2 * y * y) + 2 * p[0] * x * y) * higher
        return np.stack([lens.fx * u + skew * v + lens.cx, lens.fy * v + lens.cy], axis=1)

    return project

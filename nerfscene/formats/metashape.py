"""Agisoft Metashape's cameras (File > Export > Export Cameras, Agisoft XML) → PosedCapture.

A camera's ``transform`` takes its own axes (x right, y down, z forward, as ours) to the chunk's axes. The
transform of the chunk, or of the camera's component, takes those to the world (rotation, scale,
translation). In a multi-camera system only the master has a transform; the other cameras name it as their
``master_id``, and their sensor's ``rotation`` and ``location`` take their axes to the master's, in the
chunk's units. Pixel centres lie at + 0.5, as ours do; pixels are the stored ones, whatever EXIF says about
orientation. Lenses are described in metashape_lens.

Tried on exports of PhotoScan and Metashape 1 (XML versions 1.1 to 1.5). For Metashape 2, for spherical
sensors and for multi-camera systems the reader follows the documentation and public files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.cameras.lens_fit import NOTICEABLE
from nerfscene.capture.folder import name_some, natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import load_xml, printable
from nerfscene.formats.listing import PosedFrame, rigid
from nerfscene.formats.metashape_lens import floats_in, sensor_lenses
from nerfscene.formats.photo_search import finish_app_export, photo_finder
from nerfscene.types import Array, LeftOut, PosedCapture

NEWEST = (2, 3)  # the newest XML version whose layout is known
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


@dataclass(frozen=True)
class _Chunk:
    """A chunk with its sensors and cameras, by id; cameras without an id are only in the list."""

    element: Element
    sensors: dict[str, Element]
    cameras: list[Element]
    by_id: dict[str, Element]

    def master(self, camera: Element) -> Element | None:
        """The camera whose pose determines this one's, if it has none of its own."""
        master = self.by_id.get(camera.get("master_id", ""))
        own = camera.find("transform") is not None or master is camera
        return None if own else master

    def offset(self, camera: Element) -> tuple[Element | None, Element | None]:
        """Rotation and location of a camera's sensor relative to its master's."""
        sensor = self.sensors.get(camera.get("sensor_id", ""))
        return (None, None) if sensor is None else (sensor.find("rotation"), sensor.find("location"))

    def is_posed(self, camera: Element) -> bool:
        """Whether a camera has a pose, of its own or by its master."""
        if camera.find("transform") is not None:
            return True
        master = self.master(camera)
        placed = any(part is not None for part in self.offset(camera))
        return master is not None and placed and master.find("transform") is not None

    def component(self, camera: Element) -> str:
        """The id of the component that a camera belongs to."""
        master = self.master(camera)
        own = camera.get("component_id", "")
        return own if own or master is None else master.get("component_id", "")

    def bands(self, camera: Element) -> tuple[str, ...]:
        """The names of the colours that a camera's sensor sees; () if the file doesn't say."""
        sensor = self.sensors.get(camera.get("sensor_id", ""))
        found = [] if sensor is None else sensor.findall("bands/band")
        return tuple(band.get("label", "") for band in found)


def _chunk(element: Element) -> _Chunk:
    sensors = {s.get("id", ""): s for group in element.iter("sensors") for s in group.iter("sensor")}
    cameras = [c for group in element.iter("cameras") for c in group.iter("camera")]
    return _Chunk(element, sensors, cameras, {c.get("id", ""): c for c in cameras if c.get("id")})


def read_metashape(path: Path, images: Path | None = None) -> PosedCapture:
    """Reads a cameras XML; its photos are in ``images``, or where photo_search.photo_finder looks.

    World coordinates and units are the chunk's: metres if it was given a scale. If there are several
    chunks, or components that don't connect, the one with most cameras is used, with a warning. Cameras
    that were not aligned, that are disabled, or that hold further bands of a multispectral camera are left
    out with a warning. Lens types: frame, the fisheyes and spherical. The terms k4, p3, p4 and b2 of a frame
    lens, the tangential terms of a fisheye and the equisolid fisheye's own formula are approximated by the
    nearest lens without them, with a warning if the difference is visible.
    Raises NerfsceneError when the file is broken, a lens is of another type, or photos don't fit.
    """
    document = load_xml(path)
    chunk, warnings = _largest_chunk(document, path)
    warnings += _version(document, path)
    cameras, left_out = _usable(chunk, path, warnings)
    component, used, in_other_components = _largest_component(chunk, cameras)
    if in_other_components:
        n_components = len({chunk.component(camera) for camera in [*used, *in_other_components]})
        warnings.append(
            f"{path.name} holds {n_components} components that don't connect: took the largest, with "
            f"{len(used)} of {len(used) + len(in_other_components)} cameras."
        )
    frames = _frames(path, images, chunk, component, used, warnings)
    left_out += [LeftOut(_label(c), "is in another component than most cameras") for c in in_other_components]
    return finish_app_export(path, "metashape", frames, tuple(warnings), left_out)


def _version(document: Element, path: Path) -> list[str]:
    """A warning if the file is of a newer version than any known."""
    version = document.get("version", "")
    parts = re.findall(r"\d+", version)
    if tuple(int(part) for part in parts[:2]) <= NEWEST:
        return []
    return [
        f"{path.name} is of the version {printable(version)}, newer than {'.'.join(map(str, NEWEST))}, the "
        "newest that is known: it was read by the same rules."
    ]


def _largest_chunk(document: Element, path: Path) -> tuple[_Chunk, list[str]]:
    """The chunk with most posed cameras, and a warning if there are others with some."""
    chunks = [_chunk(element) for element in document.iter("chunk")]
    counts = [sum(chunk.is_posed(camera) for camera in chunk.cameras) for chunk in chunks]
    if document.tag != "document" or not any(counts):
        raise NerfsceneError(
            f"{path} has no camera with a pose: align the photos in Metashape, then export the cameras as "
            "Agisoft XML."
        )
    best = max(range(len(chunks)), key=lambda i: counts[i])
    if sum(map(bool, counts)) == 1:
        return chunks[best], []
    label = printable(chunks[best].element.get("label", "without a name"))
    return chunks[best], [
        f"{path.name} holds {sum(map(bool, counts))} chunks with cameras: took the largest, {label}, with "
        f"{counts[best]}."
    ]


def _usable(chunk: _Chunk, path: Path, warnings: list[str]) -> tuple[list[Element], list[LeftOut]]:
    """The cameras to use, and those that are left out; a warning is appended for each reason.

    A chunk whose posed cameras are all disabled keeps them.
    """
    disabled = [c for c in chunk.cameras if c.get("enabled", "true").lower() in ("false", "0")]
    if all(camera in disabled for camera in chunk.cameras if chunk.is_posed(camera)):
        disabled = []
    others = [c for c in chunk.cameras if c not in disabled and _is_further_band(chunk, c)]
    taken = [c for c in chunk.cameras if c not in disabled and c not in others]
    no_pose = [c for c in taken if not chunk.is_posed(c)]
    reasons = (
        (no_pose, "have no pose", f"has no pose in {path.name}"),
        (disabled, "are disabled", f"is disabled in {path.name}"),
        (
            others,
            "are further bands of a multispectral camera",
            "is a further band of a multispectral camera",
        ),
    )
    left_out = []
    for cameras, why, reason in reasons:
        if cameras:
            warnings.append(
                f"{len(cameras)} of the {len(chunk.cameras)} cameras in {path.name} {why} and were left out "
                f"({name_some([_label(camera) for camera in cameras])})."
            )
            left_out += [LeftOut(_label(camera), reason) for camera in cameras]
    return [c for c in taken if c not in no_pose], left_out


def _is_further_band(chunk: _Chunk, camera: Element) -> bool:
    """Whether a camera of a multi-camera system has one colour, which is not its master's."""
    master = chunk.master(camera)
    bands = chunk.bands(camera)
    return master is not None and len(bands) == 1 and bands != chunk.bands(master)


def _largest_component(chunk: _Chunk, cameras: Sequence[Element]) -> tuple[str, list[Element], list[Element]]:
    """The id of the component with most of the cameras, its cameras, and those of other components."""
    components: dict[str, list[Element]] = {}
    for camera in cameras:
        components.setdefault(chunk.component(camera), []).append(camera)
    largest = max(components, key=lambda key: len(components[key]))
    others = [camera for key, group in components.items() if key != largest for camera in group]
    return largest, components[largest], others


def _frames(
    path: Path,
    images: Path | None,
    chunk: _Chunk,
    component: str,
    cameras: list[Element],
    warnings: list[str],
) -> list[PosedFrame]:
    """A frame for each camera, in the natural order of labels; warnings about lenses are appended."""
    world_from_chunk = _similarity(_chunk_transform(chunk.element, component), str(path))
    lenses, worst = sensor_lenses({c.get("sensor_id", "") for c in cameras}, chunk.sensors, path)
    if worst > NOTICEABLE:
        warnings.append(
            f"a lens in {path.name} has terms that are not supported (k4, b2, p1 and p2 of a fisheye, or an "
            f"equisolid fisheye): the nearest lens without them is off by up to {worst:.1f} pixels; export "
            "undistorted photos for sharper results."
        )
    find = photo_finder(path.parent, images, [c.get("label", "") for c in cameras], path)
    frames = []
    for camera in sorted(cameras, key=lambda c: natural_key(c.get("label", ""))):
        where = f"camera {_label(camera)} in {path}"
        world_from_cam = pose_in_scene(world_from_chunk, _pose(chunk, camera, where))
        lens = lenses[camera.get("sensor_id", "")]
        frames.append(PosedFrame(_label(camera), find(camera.get("label", "")), lens, world_from_cam))
    return frames


def _pose(chunk: _Chunk, camera: Element, where: str) -> Array:
    """A camera's pose in the chunk, (4, 4), rigid."""
    master = chunk.master(camera)
    source = camera if master is None else master
    matrix = floats_in(source.find("transform"), 16, where, "transform").reshape(4, 4)
    pose = rigid(matrix, where)
    if master is None:
        return pose
    rotation, location = chunk.offset(camera)
    offset = np.eye(4)
    if rotation is not None:
        offset[:3, :3] = floats_in(rotation, 9, where, "rotation of its sensor").reshape(3, 3)
    if location is not None:
        offset[:3, 3] = floats_in(location, 3, where, "location of its sensor")
    return pose @ rigid(offset, where)


def _label(camera: Element) -> str:
    return printable(camera.get("label", ""))


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
        matrix = floats_in(rotation, 9, where, "rotation of the chunk").reshape(3, 3)
        result[:3, :3] = rigid(np.column_stack([matrix, np.zeros(3)]), where)[:3, :3]
    if scale is not None:
        factor = float(floats_in(scale, 1, where, "scale of the chunk")[0])
        if factor <= 0:
            raise NerfsceneError(f"{where} has a chunk with scale {factor:g}: export the cameras again.")
        result[:3, :3] *= factor
    if translation is not None:
        result[:3, 3] = floats_in(translation, 3, where, "translation of the chunk")
    return result

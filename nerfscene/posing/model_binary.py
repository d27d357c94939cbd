"""COLMAP's binary models, as far as pycolmap doesn't read them well.

pycolmap 4.2.1 takes a cameras.bin that was cut off for a whole one. It fails on names that aren't UTF-8, and
on points whose tracks name features that don't exist. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pycolmap

from nerfscene.errors import NerfsceneError
from nerfscene.posing.model_text import unknown_lens

COUNT = struct.Struct("<Q")
CAMERA = struct.Struct("<IiQQ")  # id, model, width, height; then the parameters, a double each
IMAGE = struct.Struct("<I7dI")  # id, quaternion, translation, camera; then name, 0, and the features
FEATURE = 24  # bytes: x, y, id of the point
POINT = struct.Struct("<Q3d3BdQ")  # id, position, colour, error, length of the track; then the track
ELEMENT = 8  # bytes of a track for each image
RIG = struct.Struct("<II")  # id, number of sensors; then the reference, then the others with their poses
SENSOR, POSED_SENSOR, POSE = struct.Struct("<iI"), struct.Struct("<iIB"), 56  # type, id, whether it has one
FRAME, DATUM = struct.Struct("<II7dI"), 16  # id, rig, pose, number of photos; bytes for each photo
CUT_OFF = (struct.error, OverflowError)  # for an entry behind the end; for one farther than memory reaches


def check_cameras(path: Path) -> None:
    """Raises NerfsceneError if a cameras.bin is cut off or has a lens model that pycolmap doesn't know."""
    data = path.read_bytes()
    kinds = {int(kind): kind for kind in pycolmap.CameraModelId.__members__.values()}
    at = COUNT.size
    try:
        for _ in range(COUNT.unpack_from(data)[0]):
            model = CAMERA.unpack_from(data, at)[1]
            if model < 0 or model not in kinds:
                raise NerfsceneError(unknown_lens(path, f"number {model}"))
            parameters = pycolmap.Camera.create_from_model_id(1, kinds[model], 1.0, 1, 1).params
            at += CAMERA.size + 8 * len(parameters)
    except CUT_OFF:
        at = len(data) + 1
    if at > len(data):
        raise NerfsceneError(_cut_off(path))


def image_names(path: Path) -> dict[int, str]:
    """The names in an images.bin, by id; what is not UTF-8 in them is replaced by U+FFFD.

    Raises NerfsceneError if the file is cut off.
    """
    data = path.read_bytes()
    names, at = {}, COUNT.size
    try:
        for _ in range(COUNT.unpack_from(data)[0]):
            image_id = IMAGE.unpack_from(data, at)[0]
            end = data.index(b"\0", at + IMAGE.size)
            names[image_id] = data[at + IMAGE.size : end].decode("utf-8", errors="replace")
            features = COUNT.unpack_from(data, end + 1)[0]
            at = end + 1 + COUNT.size + FEATURE * features
    except (*CUT_OFF, ValueError):
        at = len(data) + 1
    if at > len(data):
        raise NerfsceneError(_cut_off(path))
    return names


def check_points(path: Path) -> None:
    """Raises NerfsceneError if a points3D.bin is cut off, or has tracks longer than the file.

    pycolmap would ask for memory for a track of any length.
    """
    data = path.read_bytes()
    at = COUNT.size
    try:
        for _ in range(COUNT.unpack_from(data)[0]):
            at += POINT.size
            at += ELEMENT * COUNT.unpack_from(data, at - COUNT.size)[0]
    except CUT_OFF:
        at = len(data) + 1
    if at > len(data):
        raise NerfsceneError(_cut_off(path))


def rigs_are_whole(rigs: Path, frames: Path) -> bool:
    """Whether a rigs.bin and a frames.bin have as many entries as they say.

    pycolmap would read on behind the end of the file, for hours.
    """
    return _rigs_fit(rigs.read_bytes()) and _frames_fit(frames.read_bytes())


def _rigs_fit(data: bytes) -> bool:
    at = COUNT.size
    try:
        for _ in range(COUNT.unpack_from(data)[0]):
            _rig, sensors = RIG.unpack_from(data, at)
            at += RIG.size + SENSOR.size * (sensors > 0)
            for _ in range(sensors - 1):
                *_sensor, posed = POSED_SENSOR.unpack_from(data, at)
                at += POSED_SENSOR.size + POSE * bool(posed)
    except CUT_OFF:
        return False
    return at <= len(data)


def _frames_fit(data: bytes) -> bool:
    at = COUNT.size
    try:
        for _ in range(COUNT.unpack_from(data)[0]):
            at += FRAME.size + DATUM * FRAME.unpack_from(data, at)[-1]
    except CUT_OFF:
        return False
    return at <= len(data)


def points_without_tracks(path: Path, copy: Path) -> None:
    """Writes a points3D.bin anew, without tracks and without points that are not numbers.

    Raises NerfsceneError if the file is cut off.
    """
    data = path.read_bytes()
    points, at = [], COUNT.size
    try:
        for _ in range(COUNT.unpack_from(data)[0]):
            *point, track = POINT.unpack_from(data, at)
            at += POINT.size + ELEMENT * track
            if np.isfinite(point[1:4]).all():
                points.append(POINT.pack(*point, 0))
    except CUT_OFF as error:
        raise NerfsceneError(_cut_off(path)) from error
    copy.write_bytes(COUNT.pack(len(points)) + b"".join(points))


def _cut_off(path: Path) -> str:
    return f"{path} cannot be read as a part of a COLMAP model (it is cut off): copy or export it again."

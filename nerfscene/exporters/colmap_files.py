"""Models of COLMAP 4, binary or text: cameras, images and points, as all versions read them, rigs and frames.

Formats: colmap.github.io/format.html, and ``src/colmap/scene/reconstruction_io_*.cc`` for rigs and frames.
A photo alone is a frame of a rig with one camera; the views cut from a panorama are a frame of a rig with a
camera a face, whose places in the rig are exact.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.cube import FACES
from nerfscene.exporters.shots import Shot
from nerfscene.exporters.sparse_points import SparsePoints
from nerfscene.loading import loading
from nerfscene.types import Array, Intrinsics

RIGID = 1e-6  # largest difference of the places of a panorama's views from those on a cube
CAMERA_SENSOR = 0  # COLMAP's number for sensors that are cameras
NO_ERROR = -1.0  # the reprojection error of points for which it isn't known
COMMENTS = {  # the first lines of text files
    "cameras": "CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]",
    "images": "IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME; then "
    "a line of POINTS2D[] as (X, Y, POINT3D_ID)",
    "points3D": "POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)",
    "rigs": "RIG_ID, NUM_SENSORS, REF_SENSOR_TYPE, REF_SENSOR_ID, SENSORS[] as (SENSOR_TYPE, SENSOR_ID, "
    "HAS_POSE, QW, QX, QY, QZ, TX, TY, TZ)",
    "frames": "FRAME_ID, RIG_ID, RIG_FROM_WORLD as (QW, QX, QY, QZ, TX, TY, TZ), NUM_DATA_IDS, DATA_IDS[] as "
    "(SENSOR_TYPE, SENSOR_ID, DATA_ID)",
}

Pose = tuple[float, ...]  # a quaternion (w, x, y, z) and a translation


@dataclass(frozen=True)
class _Frame:
    """Pictures taken at once: a rig's number, its pose (rig_from_world), and (camera, image) of each."""

    rig: int
    pose: Pose
    members: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Model:
    """A model; cameras, rigs, images, frames and points are numbered from 1.

    cameras: lenses. rigs: of each, its cameras and their poses (sensor_from_rig), the first of which is the
    rig's own. images: of each, its pose (cam_from_world), camera and name.
    """

    cameras: tuple[Intrinsics, ...]
    rigs: tuple[tuple[tuple[int, Pose], ...], ...]
    images: tuple[tuple[Pose, int, str], ...]
    frames: tuple[_Frame, ...]
    points: SparsePoints


def model_of(shots: Sequence[Shot], points: SparsePoints) -> Model:
    """The model of all shots. Photos of the same lens have the same camera, and each face one of its own."""
    cubes = _cubes(shots)
    cameras: dict[tuple[Intrinsics, str], int] = {}
    for i, shot in enumerate(shots):
        cameras.setdefault((shot.lens, shot.view.face if i in cubes else ""), len(cameras) + 1)
    # A rig of each lens of ordinary photos, and one of all faces of the panoramas of one size.
    rigs: dict[tuple[Intrinsics, bool], list[tuple[int, str]]] = {}
    for (lens, face), camera in cameras.items():
        rigs.setdefault((lens, bool(face)), []).append((camera, face))
    number = {key: i + 1 for i, key in enumerate(rigs)}
    images = []
    frames: dict[object, _Frame] = {}
    for i, shot in enumerate(shots):
        face = shot.view.face if i in cubes else ""
        camera, rig = cameras[shot.lens, face], (shot.lens, bool(face))
        images.append((_seven(np.linalg.inv(shot.world_from_cam)), camera, shot.name))
        key = (shot.view.panorama, shot.lens) if face else i
        world_from_rig = shot.world_from_cam @ _face_from(face, rigs[rig][0][1])
        others = frames[key].members if key in frames else ()
        pose = frames[key].pose if key in frames else _seven(np.linalg.inv(world_from_rig))
        frames[key] = _Frame(number[rig], pose, (*others, (camera, i + 1)))
    placed = [tuple((c, _seven(_face_from(f, faces[0][1]))) for c, f in faces) for faces in rigs.values()]
    lenses = tuple(lens for lens, _ in cameras)
    return Model(lenses, tuple(placed), tuple(images), tuple(frames.values()), points)


def _face_from(face: str, other: str) -> Array:
    """The rotation (4, 4) from the axes of another face of a cube to those of one."""
    turn = np.eye(4)
    if face != other:
        turn[:3, :3] = FACES[face].T @ FACES[other]
    return turn


def _cubes(shots: Sequence[Shot]) -> set[int]:
    """The shots that are faces of a panorama and lie as on a cube, which training may have changed."""
    found: dict[object, list[int]] = {}
    for i, shot in enumerate(shots):
        if shot.view.panorama is not None and shot.view.face in FACES:
            found.setdefault((shot.view.panorama, shot.lens), []).append(i)
    exact = set()
    for members in found.values():
        poses = [shots[i].world_from_cam for i in members]
        turned = [p[:3, :3] @ FACES[shots[i].view.face].T for p, i in zip(poses, members, strict=True)]
        reach = max(float(np.abs(poses[0][:3, 3]).max()), 1.0)
        still = all(np.abs(p[:3, 3] - poses[0][:3, 3]).max() <= RIGID * reach for p in poses)
        if still and all(np.abs(t - turned[0]).max() <= RIGID for t in turned):
            exact.update(members)
    return exact


def _seven(matrix: NDArray[np.floating]) -> Pose:
    """A rigid transform (4, 4) as a quaternion (w, x, y, z; w not negative) and a translation."""
    with loading():
        from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    sign = -1.0 if w < 0 else 1.0
    return tuple(float(v) for v in (sign * w, sign * x, sign * y, sign * z, *matrix[:3, 3]))


def colmap_lens(lens: Intrinsics) -> tuple[int, str, tuple[float, ...]]:
    """COLMAP's model (number, name) and parameters of a lens: the simplest that has all its terms."""
    k1, k2, p1, p2, k3 = lens.distortion
    base = (lens.fx, lens.fy, lens.cx, lens.cy)
    if lens.lens == "fisheye":
        return 5, "OPENCV_FISHEYE", (*base, k1, k2, p1, p2)  # the last two are k3 and k4 of a fisheye
    if k3:
        return 6, "FULL_OPENCV", (*base, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)
    if any(lens.distortion):
        return 4, "OPENCV", (*base, k1, k2, p1, p2)
    return 1, "PINHOLE", base


def _tracks(points: SparsePoints) -> list[list[tuple[int, int]]]:
    """Of each point, the images that show it, by number, and the place among their features."""
    tracks: list[list[tuple[int, int]]] = [[] for _ in range(len(points.positions))]
    for image, seen in enumerate(points.seen):
        for place, point in enumerate(seen.tolist()):
            tracks[point].append((image + 1, place))
    return tracks


# --- binary ---------------------------------------------------------------------------------------


def write_binary(model: Model, folder: Path) -> None:
    """Writes the model's .bin files into ``folder``, which is there."""
    cameras = []
    for i, lens in enumerate(model.cameras):
        number, _, numbers = colmap_lens(lens)
        cameras.append(struct.pack("<IiQQ", i + 1, number, lens.width, lens.height) + _doubles(numbers))
    _write(folder / "cameras.bin", cameras)
    feature = np.dtype([("xy", "<f8", 2), ("point", "<i8")])
    images = []
    for i, (pose, camera, name) in enumerate(model.images):
        seen = model.points.seen[i]
        features = np.empty(len(seen), feature)
        features["xy"], features["point"] = model.points.pixels[i], seen + 1
        head = struct.pack("<I", i + 1) + _doubles(pose) + struct.pack("<I", camera)
        images.append(head + name.encode() + b"\0" + struct.pack("<Q", len(seen)) + features.tobytes())
    _write(folder / "images.bin", images)
    points = []
    for i, track in enumerate(_tracks(model.points)):
        x, y, z = (float(v) for v in model.points.positions[i])
        colour = bytes(model.points.colours[i])
        head = struct.pack("<Q3d", i + 1, x, y, z) + colour + struct.pack("<dQ", NO_ERROR, len(track))
        points.append(head + struct.pack(f"<{2 * len(track)}I", *(n for pair in track for n in pair)))
    _write(folder / "points3D.bin", points)
    _write(folder / "rigs.bin", [_rig(i + 1, sensors) for i, sensors in enumerate(model.rigs)])
    _write(folder / "frames.bin", [_frame(i + 1, frame) for i, frame in enumerate(model.frames)])


def _rig(number: int, sensors: Sequence[tuple[int, Pose]]) -> bytes:
    head = struct.pack("<IIiI", number, len(sensors), CAMERA_SENSOR, sensors[0][0])
    others = [struct.pack("<iIB", CAMERA_SENSOR, c, 1) + _doubles(pose) for c, pose in sensors[1:]]
    return head + b"".join(others)


def _frame(number: int, frame: _Frame) -> bytes:
    head = struct.pack("<II7dI", number, frame.rig, *frame.pose, len(frame.members))
    return head + b"".join(struct.pack("<iIQ", CAMERA_SENSOR, c, image) for c, image in frame.members)


def _doubles(numbers: Iterable[float]) -> bytes:
    return np.array(list(numbers), "<f8").tobytes()


def _write(path: Path, entries: Sequence[bytes]) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(entries)))
        file.writelines(entries)


# --- text -----------------------------------------------------------------------------------------


def write_text(model: Model, folder: Path) -> None:
    """Writes the model's .txt files into ``folder``, which is there."""
    points = model.points
    cameras = []
    for i, lens in enumerate(model.cameras):
        _, kind, numbers = colmap_lens(lens)
        cameras.append(f"{i + 1} {kind} {lens.width} {lens.height} {_words(numbers)}")
    images = []
    for i, (pose, camera, name) in enumerate(model.images):
        images.append(f"{i + 1} {_words(pose)} {camera} {name}")
        seen = zip(points.pixels[i].tolist(), points.seen[i].tolist(), strict=True)
        images.append(" ".join(f"{x!r} {y!r} {point + 1}" for (x, y), point in seen))
    lines = []
    for i, track in enumerate(_tracks(points)):
        colour = " ".join(str(int(c)) for c in points.colours[i])
        shown = "".join(f" {image} {place}" for image, place in track)
        lines.append(f"{i + 1} {_words(points.positions[i])} {colour} {NO_ERROR}{shown}")
    rigs = []
    for i, sensors in enumerate(model.rigs):
        others = "".join(f" CAMERA {camera} 1 {_words(pose)}" for camera, pose in sensors[1:])
        rigs.append(f"{i + 1} {len(sensors)} CAMERA {sensors[0][0]}{others}")
    frames = []
    for i, frame in enumerate(model.frames):
        members = "".join(f" CAMERA {camera} {image}" for camera, image in frame.members)
        frames.append(f"{i + 1} {frame.rig} {_words(frame.pose)} {len(frame.members)}{members}")
    for name, entries in (
        *(("cameras", cameras), ("images", images), ("points3D", lines)),
        *(("rigs", rigs), ("frames", frames)),
    ):
        text = "\n".join([f"# {COMMENTS[name]}", *entries]) + "\n"
        (folder / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")


def _words(numbers: Iterable[float] | NDArray[np.floating]) -> str:
    return " ".join(repr(float(number)) for number in numbers)

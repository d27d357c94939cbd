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

PINHOLE, OPENCV, OPENCV_FISHEYE, FULL_OPENCV = (1, "PINHOLE"), (4, "OPENCV"), (5, "OPENCV_FISHEYE"), (6, "FULL_OPENCV")
RIGID = 1e-6  # largest difference of the places of a panorama's views from those on a cube
CAMERA_SENSOR = 0  # COLMAP's number for sensors that are cameras
NO_ERROR = -1.0  # the reprojection error of points for which it isn't known


@dataclass(frozen=True)
class _Frame:
    """Pictures taken at once: a rig's number, its pose (7,), and its cameras' and images' numbers."""

    rig: int
    pose: tuple[float, ...]
    members: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Model:
    """A model; numbers of cameras, rigs, images and frames count from 1.

    cameras: lenses. rigs: of each, its cameras with their poses (sensor_from_rig, quaternion w x y z and
    translation); None for the first, which is the rig. images: of each, its pose (cam_from_world) and camera.
    """

    cameras: tuple[Intrinsics, ...]
    rigs: tuple[tuple[tuple[int, tuple[float, ...] | None], ...], ...]
    images: tuple[tuple[tuple[float, ...], int, str], ...]
    frames: tuple[_Frame, ...]
    points: SparsePoints


def model_of(shots: Sequence[Shot], points: SparsePoints) -> Model:
    """The model of all shots. Photos of the same lens have the same camera."""
    cubes = _cubes(shots)
    cameras: dict[tuple[Intrinsics, str], int] = {}
    images = []
    for i, shot in enumerate(shots):
        face = shot.view.face if i in cubes else ""
        camera = cameras.setdefault((shot.lens, face), len(cameras) + 1)
        images.append((_seven(np.linalg.inv(shot.world_from_cam)), camera, shot.name))
    # A rig for each lens of the ordinary photos, and one for all faces of panoramas of one size.
    rigs: dict[object, list[tuple[int, tuple[float, ...] | None]]] = {}
    for (lens, face), camera in cameras.items():
        members = rigs.setdefault(lens if face else camera, [])
        first = next((f for (other, f) in cameras if f and other == lens), "")
        turn = np.eye(4)
        if face:
            turn[:3, :3] = FACES[face].T @ FACES[first]
        members.append((camera, _seven(turn) if members else None))
    numbers = {key: i + 1 for i, key in enumerate(rigs)}
    first_face = {lens: next(f for (o, f) in cameras if f and o == lens) for (lens, face) in cameras if face}
    frames: dict[object, _Frame] = {}
    for i, shot in enumerate(shots):
        _, camera, _ = images[i]
        if i not in cubes:
            frames[i] = _Frame(numbers[camera], images[i][0], ((camera, i + 1),))
            continue
        key = (shot.view.panorama, shot.lens)
        before = frames.get(key)
        if before is None:
            pose = shot.world_from_cam.copy()
            pose[:3, :3] = pose[:3, :3] @ FACES[shot.view.face].T @ FACES[first_face[shot.lens]]
            before = _Frame(numbers[shot.lens], _seven(np.linalg.inv(pose)), ())
        frames[key] = _Frame(before.rig, before.pose, (*before.members, (camera, i + 1)))
    return Model(
        tuple(lens for lens, _ in cameras), tuple(map(tuple, rigs.values())), tuple(images),
        tuple(frames.values()), points,
    )  # fmt: skip


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


def _seven(matrix: Array) -> tuple[float, ...]:
    """A rigid transform (4, 4) as a quaternion (w, x, y, z; w not negative) and a translation."""
    with loading():
        from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    sign = -1.0 if w < 0 else 1.0
    return tuple(float(v) for v in (sign * w, sign * x, sign * y, sign * z, *matrix[:3, 3]))


def colmap_lens(lens: Intrinsics) -> tuple[tuple[int, str], tuple[float, ...]]:
    """COLMAP's model (number and name) and parameters of a lens: the simplest that has all its terms."""
    k1, k2, p1, p2, k3 = lens.distortion
    base = (lens.fx, lens.fy, lens.cx, lens.cy)
    if lens.lens == "fisheye":
        return OPENCV_FISHEYE, (*base, k1, k2, p1, p2)  # which are k1 to k4 here
    if k3:
        return FULL_OPENCV, (*base, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)
    return (OPENCV, (*base, k1, k2, p1, p2)) if any(lens.distortion) else (PINHOLE, base)


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
        (number, _), numbers = colmap_lens(lens)
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
    rigs = []
    for i, sensors in enumerate(model.rigs):
        data = struct.pack("<IIiI", i + 1, len(sensors), CAMERA_SENSOR, sensors[0][0])
        for camera, place in sensors[1:]:
            data += struct.pack("<iIB", CAMERA_SENSOR, camera, 1) + _doubles(place or ())
        rigs.append(data)
    _write(folder / "rigs.bin", rigs)
    frames = []
    for i, frame in enumerate(model.frames):
        data = struct.pack("<II", i + 1, frame.rig) + _doubles(frame.pose) + struct.pack("<I", len(frame.members))
        for camera, image in frame.members:
            data += struct.pack("<iIQ", CAMERA_SENSOR, camera, image)
        frames.append(data)
    _write(folder / "frames.bin", frames)


def _doubles(numbers: Iterable[float]) -> bytes:
    return np.array(list(numbers), "<f8").tobytes()


def _write(path: Path, entries: Sequence[bytes]) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(entries)))
        file.writelines(entries)


# --- text -----------------------------------------------------------------------------------------


def write_text(model: Model, folder: Path) -> None:
    """Writes the model's .txt files into ``folder``, which is there."""
    lines = []
    for i, lens in enumerate(model.cameras):
        (_, kind), numbers = colmap_lens(lens)
        lines.append(f"{i + 1} {kind} {lens.width} {lens.height} {_words(numbers)}")
    _write_lines(folder / "cameras.txt", "CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]", lines)
    lines = []
    for i, (pose, camera, name) in enumerate(model.images):
        lines.append(f"{i + 1} {_words(pose)} {camera} {name}")
        seen = zip(model.points.pixels[i].tolist(), model.points.seen[i].tolist(), strict=True)
        lines.append(" ".join(f"{x!r} {y!r} {point + 1}" for (x, y), point in seen))
    what = "IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME; then a line of POINTS2D[] as (X, Y, POINT3D_ID)"
    _write_lines(folder / "images.txt", what, lines)
    lines = []
    for i, track in enumerate(_tracks(model.points)):
        colour = " ".join(str(int(c)) for c in model.points.colours[i])
        seen_in = "".join(f" {image} {place}" for image, place in track)
        lines.append(f"{i + 1} {_words(model.points.positions[i])} {colour} {NO_ERROR}{seen_in}")
    _write_lines(folder / "points3D.txt", "POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)", lines)
    lines = []
    for i, sensors in enumerate(model.rigs):
        others = "".join(f" CAMERA {camera} 1 {_words(place or ())}" for camera, place in sensors[1:])
        lines.append(f"{i + 1} {len(sensors)} CAMERA {sensors[0][0]}{others}")
    what = "RIG_ID, NUM_SENSORS, REF_SENSOR_TYPE, REF_SENSOR_ID, SENSORS[] as (TYPE, ID, HAS_POSE, QW QX QY QZ TX TY TZ)"
    _write_lines(folder / "rigs.txt", what, lines)
    lines = []
    for i, frame in enumerate(model.frames):
        members = "".join(f" CAMERA {camera} {image}" for camera, image in frame.members)
        lines.append(f"{i + 1} {frame.rig} {_words(frame.pose)} {len(frame.members)}{members}")
    what = "FRAME_ID, RIG_ID, RIG_FROM_WORLD (QW QX QY QZ TX TY TZ), NUM_DATA_IDS, DATA_IDS[] as (SENSOR_TYPE, SENSOR_ID, DATA_ID)"
    _write_lines(folder / "frames.txt", what, lines)


def _words(numbers: Iterable[float] | NDArray[np.floating]) -> str:
    return " ".join(repr(float(number)) for number in numbers)


def _write_lines(path: Path, what: str, lines: Sequence[str]) -> None:
    path.write_text("\n".join([f"# {what}", *lines]) + "\n", encoding="utf-8", newline="\n")

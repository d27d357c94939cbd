"""Recordings of Stray Scanner, a video with ARKit's camera of each frame → PosedCapture.

A recording is a folder with ``rgb.mp4``, ``odometry.csv`` and ``camera_matrix.csv``, ``imu.csv``, ``depth``
and ``confidence`` (docs/format.md in strayrobots/scanner). By the app's source, the quaternion is ARKit's
camera turned by 180° about its x axis: world_from_cam in OpenCV's axes. The world's y is up, in metres.
Video, lens and pose belong to the sensor's landscape picture, however the phone is held.

Frames are numbered from 0, one per row. The app gives the first frame a time before 0, which the MP4's edit
list hides: other readers find one frame fewer than there are poses, and all of them a frame late.

The layout was followed as the app's source and people's notes on their recordings describe it; it was not
tried on a file of the app.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.folder import (
    MIN_PHOTOS,
    StageListener,
    find_photos,
    name_some,
    only_folder,
    short_names,
    silent,
)
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import FARTHEST, rotation_of, text_of
from nerfscene.formats.arkit import arkit_lens
from nerfscene.formats.listing import Export, PosedFrame, finish, size_of_stored, with_masks
from nerfscene.loading import loading
from nerfscene.types import Array, Intrinsics, PosedCapture

if TYPE_CHECKING:
    from nerfscene.capture.numbered_frames import FrameTimes

POSES, LENS, VIDEOS = "odometry.csv", "camera_matrix.csv", ("rgb.mp4", "rgb.mov", "rgb.m4v")
PLACE = ("x", "y", "z")
TURN = ("qx", "qy", "qz", "qw")
FOCAL = ("fx", "fy", "cx", "cy")  # of each frame, since 2026
MOST_FRAMES = 300  # used of one recording: at 60 a second, neighbouring frames hardly differ
HIGHEST = 1_000_000  # number of a frame, that of the fifth hour; more is a mistake, and would fill the memory
WAY_OUT = f"export the recording again, or rename {POSES} to have the cameras found from the pictures"


@dataclass(frozen=True)
class _Poses:
    """The rows of odometry.csv that can be used.

    numbers: (n,) of the frames. seconds: (n,), NaN if unknown. world_from_cam: (n, 4, 4).
    lenses: (n, 4) fx, fy, cx, cy in pixels, NaN if unknown. unusable: rows without a pose.
    """

    numbers: NDArray[np.int64]
    seconds: Array
    world_from_cam: Array
    lenses: Array
    unusable: int


def find_stray_scanner(path: Path) -> Path | None:
    """The folder of a recording: ``path``, its only_folder, or the folder of a given file of it."""
    if path.is_file():
        return find_stray_scanner(path.parent) if path.name.lower() in (POSES, LENS, *VIDEOS) else None
    if not path.is_dir():
        return None
    if (path / POSES).is_file() and {*PLACE, "qx"} <= set(_header(path / POSES)):
        return path if _video(path) is not None or find_photos(path) else None
    inside = only_folder(path)
    return None if inside is None else find_stray_scanner(inside)


def several_recordings(path: Path) -> tuple[str, ...]:
    """A warning if a folder holds folders of recordings: their cameras don't share a world."""
    if not path.is_dir() or find_stray_scanner(path) is not None:
        return ()
    found = sorted(p.name for p in path.iterdir() if p.is_dir() and (p / POSES).is_file())
    found = [name for name in found if find_stray_scanner(path / name) is not None]
    if not found:
        return ()
    if len(found) == 1:
        return (
            f"the cameras in {found[0]}/{POSES} are not used, because other photos or videos lie beside "
            "that recording of Stray Scanner: give its folder to use its cameras.",
        )
    return (
        f"the cameras in {POSES} of {name_some(found)} are not used, because each recording of Stray Scanner "
        "has a world of its own: give one of these folders to use its cameras.",
    )


def read_stray_scanner(root: Path, frames: Path, progress: StageListener = silent) -> PosedCapture:
    """Reads a recording; frames of its video are written to the folder ``frames``.

    If the folder has pictures that are called by the numbers of their frames (``rgb/000012.png``), as some
    converters leave them, these are used instead of the video. Of more than MOST_FRAMES frames, the sharpest
    of MOST_FRAMES equal stretches are used. A lens of each frame is preferred to ``camera_matrix.csv``, which
    has the last frame's.
    Raises NerfsceneError when the files make no sense or don't belong together.
    """
    path = root / POSES
    poses = _read_poses(path)
    pictures = _numbered_pictures(root, poses)
    warnings: tuple[str, ...] = ()
    if pictures:
        size = None
        photos = pictures
        pose_of = {int(number): i for i, number in enumerate(poses.numbers)}
        rows = {number: pose_of[number] for number in pictures if number in pose_of}
    else:
        video = _video(root)
        if video is None:
            raise NerfsceneError(f"{root} has no rgb.mp4, which the poses in {path} belong to: {WAY_OUT}.")
        videos = _reader_of_videos()
        times = videos.frame_times(video)
        rows = _rows_of_frames(times, poses, video, path)
        photos = videos.take_numbered(video, list(rows), MOST_FRAMES, frames, progress)
        size = times.width, times.height
        others = find_photos(root)
        if others:
            warnings += (
                f"not used: {len(others)} picture{'s' * (len(others) > 1)} beside {video.name} "
                f"({name_some(short_names(others))}), whose names are not the numbers of frames.",
            )
        if len(photos) < min(len(rows), MOST_FRAMES):
            warnings += (f"{video} is damaged: only {len(photos)} of {len(rows)} frames could be decoded.",)
        elif len(photos) < len(rows):
            warnings += (
                f"{video} has {len(rows)} frames with a pose: took {len(photos)} of them, the sharpest of "
                "equal stretches.",
            )
        if len(rows) < len(times.keys):
            warnings += (
                f"{len(times.keys) - len(rows)} frames of {video.name} have no pose in {path.name}.",
            )
        lost = len(poses.numbers) - len(rows)
        if lost:
            warnings += (
                f"{lost} pose{'s' * (lost > 1)} in {path.name} {'have' if lost > 1 else 'has'} no frame in "
                f"{video.name}.",
            )
    if poses.unusable:
        warnings += (f"{poses.unusable} of the rows of {path.name} have no pose: left out.",)
    matrix = _matrix(root / LENS)
    listed = []
    for number in sorted(photos):
        if number in rows:
            row = rows[number]
            lens = _lens(poses.lenses[row], matrix, size, photos[number], path)
            listed.append(PosedFrame(f"{number:06d}", photos[number], lens, poses.world_from_cam[row]))
    return finish(Export(path, root, "stray-scanner", with_masks(root, listed), warnings))


def _header(path: Path) -> list[str]:
    """The names of the columns, in lower case."""
    return [name.strip().lower() for name in text_of(path).lstrip("\ufeff").partition("\n")[0].split(",")]


def _video(root: Path) -> Path | None:
    files = {p.name.lower(): p for p in root.iterdir() if p.is_file()}
    return next((files[name] for name in VIDEOS if name in files), None)


def _read_poses(path: Path) -> _Poses:
    """The poses in odometry.csv; raises NerfsceneError when fewer than MIN_PHOTOS rows have one."""
    rows = list(csv.DictReader(io.StringIO(text_of(path).lstrip("\ufeff")), skipinitialspace=True))
    numbers, seconds, poses, lenses = [], [], [], []
    for index, row in enumerate(rows):
        values = {(key or "").strip().lower(): value for key, value in row.items() if isinstance(value, str)}
        values.setdefault("qw", values.get("w", ""))  # so called before version 1.3
        pose = np.array([_number(values.get(name)) for name in (*PLACE, *TURN)])
        number = _number(values.get("frame"))
        number = float(index) if np.isnan(number) else number
        if not (np.abs(pose) < FARTHEST).all() or not 0.5 < np.linalg.norm(pose[3:]) < 2:
            continue
        if not 0 <= number < HIGHEST:
            continue
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_of(pose[3:], f"row {index + 1} of {path}")
        matrix[:3, 3] = pose[:3]
        numbers.append(int(number))
        seconds.append(_number(values.get("timestamp")))
        poses.append(matrix)
        lenses.append([_number(values.get(name)) for name in FOCAL])
    if len(set(numbers)) < MIN_PHOTOS:
        raise NerfsceneError(
            f"{path} has {len(poses)} poses, but at least {MIN_PHOTOS} are needed: {WAY_OUT}."
        )
    order = np.unique(numbers, return_index=True)[1]
    return _Poses(
        np.array(numbers, np.int64)[order],
        np.array(seconds)[order],
        np.array(poses)[order],
        np.array(lenses)[order],
        len(rows) - len(poses),
    )


def _number(text: str | None) -> float:
    """The number in a cell; NaN if it is empty or none."""
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _reader_of_videos() -> ModuleType:
    with loading():
        from nerfscene.capture import numbered_frames  # loads av
    return numbered_frames


def _numbered_pictures(root: Path, poses: _Poses) -> dict[int, Path]:
    """Pictures called by nothing but a number, by that; {} unless MIN_PHOTOS of them have poses."""
    found = {int(p.stem): p for p in find_photos(root) if p.stem.isascii() and p.stem.isdigit()}
    return found if len(set(found) & {int(n) for n in poses.numbers}) >= MIN_PHOTOS else {}


def _rows_of_frames(times: FrameTimes, poses: _Poses, video: Path, path: Path) -> dict[int, int]:
    """Number of each frame in the video → row of its pose.

    Raises NerfsceneError when the frames and the poses can't belong together.
    """
    count = int(poses.numbers[-1]) + 1
    seconds = np.full(count, np.nan)
    seconds[poses.numbers] = poses.seconds
    pose_numbers = numbers_of_frames(times.seconds, seconds)
    if pose_numbers is None:
        raise NerfsceneError(
            f"{video} has {len(times.keys)} frames and {path} has {count} poses, and their times don't fit "
            f"each other, so nobody can say which belong together: {WAY_OUT}."
        )
    row_of = {int(number): row for row, number in enumerate(poses.numbers)}
    return {i: row_of[int(n)] for i, n in enumerate(pose_numbers) if int(n) in row_of}


def numbers_of_frames(shown: Array, taken: Array) -> NDArray[np.int64] | None:
    """The pose's number for each frame of a video; None if the two don't fit each other.

    shown: (n,) seconds at which the video's frames are shown. taken: (m,) seconds at which the poses were
    taken, on another clock, NaN where unknown.

    As many frames as poses belong together in order. If the video has fewer, its times tell where frames are
    missing: older versions of the app use the clock's, newer ones count frames at a fixed rate. Where the
    times don't tell, the first frame is missing: its time is before 0, and a writer may drop it.
    """
    n, m = len(shown), len(taken)
    if n == m:
        return np.arange(n)
    if not 2 <= n < m:
        return None
    by_clock = _nearest_in_time(shown, taken)
    if by_clock and (len(by_clock) == 1 or by_clock[0][0] < by_clock[1][0] / 2):
        return by_clock[0][1]
    counted = np.rint((shown - shown[0]) / np.median(np.diff(shown))).astype(np.int64)
    if len(np.unique(counted)) == n:
        for first in (1, 0):
            if counted[-1] + first == m - 1:
                return counted + first
    return by_clock[0][1] if by_clock else None


def _nearest_in_time(shown: Array, taken: Array) -> list[tuple[float, NDArray[np.int64]]]:
    """Ways to take the pose nearest in time for each frame: (mean error in seconds, numbers), best first.

    Each begins with another of the first poses, and fits well within the time from one pose to the next.
    """
    if not np.isfinite(taken).all() or (np.diff(taken) <= 0).any():
        return []
    found = []
    for first in range(min(len(taken) - len(shown), 10) + 1):
        wanted = shown - shown[0] + taken[first]
        after = np.clip(np.searchsorted(taken, wanted), 1, len(taken) - 1)
        nearest = np.where(wanted - taken[after - 1] < taken[after] - wanted, after - 1, after)
        error = float(np.abs(taken[nearest] - wanted).mean())
        if len(np.unique(nearest)) == len(shown) and error < 0.25 * float(np.median(np.diff(taken))):
            found.append((error, nearest.astype(np.int64)))
    return sorted(found, key=lambda way: way[0])


def _matrix(path: Path) -> Array:
    """(fx, fy, cx, cy) of camera_matrix.csv, NaN if it isn't there or is no 3×3 matrix."""
    rows = [
        [_number(cell) for cell in line.split(",")] for line in text_of(path).splitlines() if line.strip()
    ]
    if [len(row) for row in rows] != [3, 3, 3]:
        return np.full(4, np.nan)
    return np.array([rows[0][0], rows[1][1], rows[0][2], rows[1][2]])


def _lens(own: Array, matrix: Array, size: tuple[int, int] | None, photo: Path, path: Path) -> Intrinsics:
    """The lens of a frame: its own if it has one, else the recording's. ``size``: the video's, in pixels."""
    values = own if np.isfinite(own).all() else matrix
    if not np.isfinite(values).all():
        raise NerfsceneError(
            f"{path.parent} has no {LENS} of 3×3 numbers and {path.name} has no fx, fy, cx, cy: {WAY_OUT}."
        )
    return arkit_lens(values, size or size_of_stored(photo), str(path))

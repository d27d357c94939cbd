"""What people give → a folder of photos: an archive is unpacked, a video gives its frames."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from nerfscene.capture.archive import is_archive, unpack
from nerfscene.capture.folder import (
    MIN_PHOTOS,
    PHOTO_SUFFIXES,
    RAW_SUFFIXES,
    VIDEO_SUFFIXES,
    Progress,
    find_photos,
    name_some,
    natural_key,
    open_capture,
    short_names,
    silent,
    subfolders,
)
from nerfscene.capture.footage import is_video, take_frames
from nerfscene.config import FootageConfig, PoseConfig
from nerfscene.errors import NerfsceneError
from nerfscene.formats.readers import find_posed, unread_cameras
from nerfscene.posing.poses import pose
from nerfscene.posing.triangulation import with_points
from nerfscene.types import PosedCapture

FRAMES = "frames"
UNPACKED = "unpacked"
# What is made of cameras that came with the photos: nothing, points, or points and cameras that fit them.
Given = Literal["read", "measured", "fitted"]
UNREAD_SUFFIXES = (*RAW_SUFFIXES, ".gif", ".bmp", ".jxl", ".jp2", ".psd")  # of pictures
POSE_SUFFIXES = (".json", ".xml", ".csv")  # of files beside photos that say where these were taken


def open_posed(
    source: Path,
    workdir: Path,
    poses: PoseConfig | None = None,
    footage: FootageConfig | None = None,
    progress: Progress = silent,
    given: Given = "fitted",
) -> PosedCapture:
    """The capture at ``source`` with its cameras: read where it has them, else found by COLMAP.

    Cameras that were read get points to go with them (``triangulation.with_points``), as ``given`` says.
    ``source`` is a folder of photos, a posed capture (as readers.find_posed knows them), a video, a
    folder that holds videos and hardly a photo, or a .zip of any of these, a .r3d of Record3D too.
    ``workdir`` keeps what was unpacked, frames and COLMAP's files, so that a second call takes no time;
    it is made where needed.
    Raises NerfsceneError for anything wrong with what was given.
    """
    source = source.expanduser()
    if is_archive(source):
        source = unpack(source, workdir / UNPACKED, progress)
    try:
        found = find_posed(source)
        videos = find_videos(source)
        beside = _passed_over(source, videos) if found is None else ()
    except PermissionError as error:
        raise NerfsceneError(
            f"{error.filename} can't be read (permission denied); allow it, or copy the photos elsewhere"
        ) from error
    if found is None:
        told = unread_cameras(source)
        told += beside
        root = source
        if videos:
            root = workdir / FRAMES
            told += take_frames(videos, root, footage, progress)
        capture = open_capture(root, progress)
        capture = replace(capture, warnings=told + capture.warnings)
    elif given == "read":
        return found
    try:
        if found is not None:
            return with_points(found, workdir, poses, given == "fitted", progress)
        return pose(capture, workdir, poses, progress)
    except (OSError, sqlite3.Error) as error:
        raise NerfsceneError(
            f"posing stopped in {workdir} ({getattr(error, 'strerror', None) or error}); free some space "
            "there, or choose another folder with -o"
        ) from error


def find_videos(source: Path) -> list[Path]:
    """The video that ``source`` is, or the videos in a folder that has too few photos; [] otherwise."""
    if source.is_file():
        known = source.name.lower().endswith(PHOTO_SUFFIXES)
        return [source] if _is_video_name(source.name) or (not known and is_video(source)) else []
    if not source.is_dir() or len(find_photos(source)) >= MIN_PHOTOS:
        return []
    return _videos_within(source)


def _videos_within(folder: Path) -> list[Path]:
    """Videos of a folder and its sub-folders, in the natural order of names."""
    return [p for p in _files_within(folder) if _is_video_name(p.name)]


def _files_within(folder: Path) -> list[Path]:
    """Files of a folder and its sub-folders, in the natural order of names, but for hidden ones."""
    own = [p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file()]
    inner = sorted(subfolders(folder), key=lambda p: natural_key(p.name))
    return sorted(own, key=lambda p: natural_key(p.name)) + [p for f in inner for p in _files_within(f)]


def _passed_over(source: Path, videos: Sequence[Path]) -> tuple[str, ...]:
    """Warnings of what lies in a folder beside what is taken from it: photos, or else these videos."""
    if not source.is_dir():
        return ()
    photos, files = find_photos(source), _files_within(source)
    told = []
    if videos and photos:
        told.append(
            f"{_counted(photos, 'photo')} beside the video{'s' * (len(videos) > 1)} {_is(photos)} not used: "
            f"fewer than {MIN_PHOTOS} make no scene, and with videos no photos are taken."
        )
    # What a camera saves twice, as RAW and JPEG or as a photo that moves, is no other picture.
    stems = {p.stem.lower() for p in photos}
    others = [p for p in files if p.stem.lower() not in stems]
    beside = [] if videos else [p for p in others if _is_video_name(p.name)]
    if beside:
        told.append(
            f"{_counted(beside, 'video')} beside the photos {_is(beside)} not used: to make a scene of one, "
            "give the video itself."
        )
    unread = [] if videos else [p for p in others if p.suffix.lower() in UNREAD_SUFFIXES]
    if unread:
        told.append(
            f"{_counted(unread, 'picture')} {_is(unread)} of a kind that is not read and not used: export "
            "as JPEG what is missing."
        )
    return tuple(told)


def _counted(files: Sequence[Path], what: str) -> str:
    return f"{len(files)} {what}{'s' * (len(files) > 1)} ({name_some(short_names(files))})"


def _is(files: Sequence[Path]) -> str:
    return "is" if len(files) == 1 else "are"


def one_source(paths: Sequence[Path]) -> Path:
    """What several given paths are together: the folder that holds these photos or videos and no others.

    Raises NerfsceneError where they are none or not all that is in one folder.
    """
    if not paths:
        raise NerfsceneError("say what to make a scene of: a folder of photos, a .zip of them, or a video")
    if len(paths) == 1:
        return paths[0]
    given = [path.expanduser() for path in paths]
    folder = given[0].parent
    if all(path.is_file() for path in given) and folder.is_dir():
        for there in (find_photos(folder), find_videos(folder)):
            if sorted(there) == sorted(set(given)):
                return folder
    if len(given) == 2 and given[0].exists() and not given[1].exists():
        raise NerfsceneError(
            f"{paths[1]} is not there; if the scene is to go there, say so with --output {paths[1]}"
        )
    raise NerfsceneError(
        f"{len(paths)} paths are given ({name_some([str(path) for path in paths])}), and a scene is made of "
        "one: put what belongs together into a folder, and give that"
    )


def fingerprint(source: Path) -> list[list[str | int]]:
    """Names and sizes of what is taken from ``source``: the same for the same photos, wherever they lie.

    [] where there is nothing at ``source``, or nothing that may be read.
    """
    source = source.expanduser()
    try:
        if not source.is_dir():
            return [[source.name, source.stat().st_size]]
        files = [*find_photos(source), *find_videos(source), *sorted((source / "masks").rglob("*"))]
        files += sorted(p for p in source.iterdir() if p.suffix.lower() in POSE_SUFFIXES)
        return [[p.relative_to(source).as_posix(), p.stat().st_size] for p in files if p.is_file()]
    except OSError:
        return []


def _is_video_name(name: str) -> bool:
    return name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith(".")

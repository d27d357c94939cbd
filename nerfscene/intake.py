"""Any source → a posed capture: unpacks archives, takes frames from videos, reads or estimates the poses."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Literal

from nerfscene.capture.archive import is_archive, unpack
from nerfscene.capture.cutting import cut_photos, cut_views
from nerfscene.capture.endings import POSE_SUFFIXES, UNREAD_SUFFIXES
from nerfscene.capture.folder import (
    MIN_PHOTOS,
    PHOTO_SUFFIXES,
    VIDEO_SUFFIXES,
    StageListener,
    find_photos,
    name_some,
    natural_key,
    open_capture,
    short_names,
    silent,
    subfolders,
)
from nerfscene.capture.not_photos import without_map_videos
from nerfscene.config import FootageConfig, PoseConfig
from nerfscene.errors import NerfsceneError
from nerfscene.formats.phone_apps import poseless_record3d
from nerfscene.formats.readers import find_posed, unread_cameras
from nerfscene.formats.stray_scanner import find_stray_scanner, read_stray_scanner, several_recordings
from nerfscene.loading import loading
from nerfscene.posing.given_pairs import can_have_points
from nerfscene.types import Capture, PosedCapture

FRAMES = "frames"
UNPACKED = "unpacked"
PANORAMAS = "panoramas"
# The results that a folder of intermediate files may hold, in words, in the order in which they are made.
RESULTS = {
    UNPACKED: "the unpacked files",
    FRAMES: "the frames of the video",
    PANORAMAS: "the views cut from panoramas",
    "points": "the points found from the given cameras",
    "posing": "the poses found",
}
# What to do with cameras that came with the photos: take them as they are ("read"), also triangulate points
# from them ("measured"), or also move the cameras to fit if they are off ("fitted").
Given = Literal["read", "measured", "fitted"]


def open_posed(
    source: Path,
    workdir: Path,
    poses: PoseConfig | None = None,
    footage: FootageConfig | None = None,
    progress: StageListener = silent,
    given: Given = "fitted",
) -> PosedCapture:
    """The capture at ``source`` with its cameras: read if it comes with them, otherwise found by COLMAP.

    ``source`` is a folder of photos, a posed capture (see ``readers.find_posed``), a video, a folder that
    holds videos and fewer than MIN_PHOTOS photos, a recording of Stray Scanner, a .zip of any of these, or a
    .r3d of Record3D.
    ``given`` says what to do with cameras that were read (see ``triangulation.with_points``).
    Panoramas are cut into perspective views (see ``capture.cutting``).
    ``workdir`` keeps unpacked files, frames, views of panoramas and COLMAP's files, so that a second call is
    fast; it is created if needed.
    Raises NerfsceneError for anything wrong with the source or while writing to ``workdir``.
    """
    source = source.expanduser()
    if is_archive(source):
        source = unpack(source, workdir / UNPACKED, progress)
    try:
        found = find_posed(source)
        if found is not None:
            found = replace(found, warnings=found.warnings + _unused_videos(source))
        else:
            found = _recorded(source, workdir, progress)
        videos = find_videos(source)
        unused = _unused_files(source, videos) if found is None else ()
    except PermissionError as error:
        raise NerfsceneError(
            f"{error.filename} can't be read (permission denied): change its permissions, or copy the photos "
            "to another folder"
        ) from error
    if found is None:
        not_used = unread_cameras(source) + poseless_record3d(source) + several_recordings(source)
        warnings = not_used + unused
        root = source
        if videos:
            root = workdir / FRAMES
            warnings += _footage().take_frames(videos, root, footage, progress)
        capture = open_capture(root, progress)
        capture = replace(capture, warnings=warnings + capture.warnings)
    try:
        if found is not None:
            found = cut_views(found, workdir / PANORAMAS, progress)
        else:
            capture = cut_photos(capture, workdir / PANORAMAS, progress)
    except OSError as error:
        raise _no_room(error, "cutting panoramas", workdir) from error
    if found is not None and given == "read":
        return found
    try:
        if found is not None:
            return with_points(found, workdir, poses, given == "fitted", progress)
        return _posed(capture, workdir, poses, progress, not_used)
    except (OSError, sqlite3.Error) as error:
        raise _no_room(error, "posing", workdir) from error


def with_points(
    found: PosedCapture, workdir: Path, poses: PoseConfig | None, move: bool, progress: StageListener
) -> PosedCapture:
    """As ``triangulation.with_points``, which loads COLMAP; that takes a while, and not all need it."""
    if not can_have_points(found):
        return found
    with loading():
        from nerfscene.posing.triangulation import with_points
    return with_points(found, workdir, poses, move, progress)


def pose(capture: Capture, workdir: Path, poses: PoseConfig | None, progress: StageListener) -> PosedCapture:
    """As ``poses.pose``, which loads COLMAP."""
    with loading():
        from nerfscene.posing.poses import pose
    return pose(capture, workdir, poses, progress)


def _no_room(error: Exception, what: str, workdir: Path) -> NerfsceneError:
    """The error for something that failed to write to ``workdir``."""
    why = getattr(error, "strerror", None) or error
    return NerfsceneError(
        f"{what} failed in {workdir} ({why}): free some space there, or choose another folder with -o"
    )


def _posed(
    capture: Capture,
    workdir: Path,
    poses: PoseConfig | None,
    progress: StageListener,
    not_used: Sequence[str],
) -> PosedCapture:
    """The capture, posed by COLMAP. ``not_used``: what is said of cameras beside it, where that fails."""
    try:
        return pose(capture, workdir, poses, progress)
    except NerfsceneError as error:
        if not not_used:
            raise
        raise NerfsceneError(f"{str(error).rstrip('.')}. Also, {' '.join(not_used)}") from error


def _recorded(source: Path, workdir: Path, progress: StageListener) -> PosedCapture | None:
    """The capture of an app's video with the cameras of its frames beside it; None if ``source`` is none."""
    stray = find_stray_scanner(source)
    return None if stray is None else read_stray_scanner(stray, workdir / FRAMES, progress)


def find_videos(source: Path) -> list[Path]:
    """``source`` itself if it is a video, the videos in a folder of fewer than MIN_PHOTOS photos, or []."""
    if source.is_file():
        known = source.name.lower().endswith(PHOTO_SUFFIXES)
        return [source] if _is_video_name(source.name) or (not known and _footage().is_video(source)) else []
    if not source.is_dir() or len(find_photos(source)) >= MIN_PHOTOS:
        return []
    return _videos_within(source)


def _videos_within(folder: Path) -> list[Path]:
    """The videos of a folder and its sub-folders, in the natural order of their names, without depth's."""
    return without_map_videos([p for p in _files_within(folder) if _is_video_name(p.name)])


def _files_within(folder: Path) -> list[Path]:
    """The files of a folder and its sub-folders, without hidden ones, in the natural order of their names."""
    own = [p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file()]
    inner = sorted(subfolders(folder), key=lambda p: natural_key(p.name))
    return sorted(own, key=lambda p: natural_key(p.name)) + [p for f in inner for p in _files_within(f)]


def _unused_files(source: Path, videos: Sequence[Path]) -> tuple[str, ...]:
    """Warnings about pictures and videos in a folder that are not used. ``videos``: those used, if any."""
    if not source.is_dir():
        return ()
    photos, files = find_photos(source), _files_within(source)
    warnings = []
    if videos and photos:
        warnings.append(
            f"{_counted(photos, 'photo')} beside the video{'s' * (len(videos) > 1)} {_is(photos)} not used: "
            f"a scene takes either videos or at least {MIN_PHOTOS} photos."
        )
    # Files named like a photo are the same picture: its RAW file, or the video of a live photo.
    stems = {p.stem.lower() for p in photos}
    others = [p for p in files if p.stem.lower() not in stems]
    beside = [] if videos else [p for p in others if _is_video_name(p.name)]
    if beside:
        warnings.append(
            f"{_counted(beside, 'video')} beside the photos {_is(beside)} not used: give the video itself to "
            "make a scene of it."
        )
    depth = [p for p in files if videos and _is_video_name(p.name) and p not in videos]
    if depth:
        warnings.append(
            f"{_counted(depth, 'video')} {_is(depth)} not used, because the name says that it holds depth or "
            "the like: give the video itself to make a scene of it."
        )
    unread = [] if videos else [p for p in others if p.suffix.lower() in UNREAD_SUFFIXES]
    if unread:
        warnings.append(
            f"{_counted(unread, 'picture')} {_is(unread)} not used, because the format is not supported: "
            "export them as JPEG to use them."
        )
    return tuple(warnings)


def _unused_videos(source: Path) -> tuple[str, ...]:
    """A warning about videos in a folder of photos with cameras."""
    stems = {p.stem.lower() for p in find_photos(source)} if source.is_dir() else set()
    videos = [p for p in _videos_within(source) if p.stem.lower() not in stems] if source.is_dir() else []
    if not videos:
        return ()
    return (
        f"{_counted(videos, 'video')} beside the photos with cameras {_is(videos)} not used: give the video "
        "itself to make a scene of it.",
    )


def _counted(files: Sequence[Path], noun: str) -> str:
    return f"{len(files)} {noun}{'s' * (len(files) > 1)} ({name_some(short_names(files))})"


def _is(files: Sequence[Path]) -> str:
    return "is" if len(files) == 1 else "are"


def one_source(paths: Sequence[Path]) -> Path:
    """The one source that the paths stand for: the only path, or the folder that holds exactly these files.

    Shells expand ``photos/*`` to many paths. Raises NerfsceneError if there are no paths, or several that
    are not all the photos or all the videos of one folder.
    """
    if not paths:
        raise NerfsceneError("say what to make a scene of: a folder of photos, a .zip of them, or a video")
    if len(paths) == 1:
        return paths[0]
    given = [path.expanduser() for path in paths]
    folder = given[0].parent
    if all(path.is_file() for path in given) and folder.is_dir():
        for content in (find_photos(folder), find_videos(folder)):
            if sorted(content) == sorted(set(given)):
                return folder
    if len(given) == 2 and given[0].exists() and not given[1].exists():
        raise NerfsceneError(f"{paths[1]} does not exist; to write the scene there, use --output {paths[1]}")
    raise NerfsceneError(
        f"{len(paths)} paths were given ({name_some([str(path) for path in paths])}), but a scene is made of "
        "one: put the photos or videos into a folder, and give that folder"
    )


def fingerprint(source: Path) -> list[list[str | int]]:
    """[name, size in bytes] of every file used from ``source``: equal for equal photos, wherever they are.

    Names are relative to ``source``. [] if ``source`` doesn't exist or can't be read.
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


def _footage() -> ModuleType:
    with loading():
        from nerfscene.capture import footage  # loads av
    return footage


def _is_video_name(name: str) -> bool:
    return name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith(".")

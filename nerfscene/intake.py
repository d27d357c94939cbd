"""What people give → a folder of photos: an archive is unpacked, a video gives its frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nerfscene.archive import is_archive, unpack
from nerfscene.capture import VIDEO_SUFFIXES, Progress, find_photos, natural_key, open_capture, silent
from nerfscene.config import FootageConfig, PoseConfig
from nerfscene.errors import NerfsceneError
from nerfscene.footage import take_frames
from nerfscene.poses import pose
from nerfscene.readers import find_posed
from nerfscene.types import PosedCapture

FRAMES = "frames"
UNPACKED = "unpacked"
POSE_SUFFIXES = (".json", ".xml", ".csv")  # of files beside photos that say where these were taken


def open_posed(
    source: Path,
    workdir: Path,
    poses: PoseConfig | None = None,
    footage: FootageConfig | None = None,
    progress: Progress = silent,
) -> PosedCapture:
    """The capture at ``source`` with its cameras: read where it has them, else found by COLMAP.

    ``source`` is a folder of photos, a posed capture (as readers.find_posed knows them), a video, a
    folder that holds videos and no photos, or a .zip of any of these. ``workdir`` keeps what was
    unpacked, frames and COLMAP's files, so that a second call takes no time; it is made where needed.
    Raises NerfsceneError for anything wrong with what was given.
    """
    source = source.expanduser()
    if is_archive(source):
        source = unpack(source, workdir / UNPACKED, progress)
    try:
        found = find_posed(source)
        videos = find_videos(source)
    except PermissionError as error:
        raise NerfsceneError(
            f"{error.filename} can't be read (permission denied); allow it, or copy the photos elsewhere"
        ) from error
    if found is not None:
        return found
    told: tuple[str, ...] = ()
    root = source
    if videos:
        root = workdir / FRAMES
        told = take_frames(videos, root, footage, progress)
    capture = open_capture(root, progress)
    workdir.mkdir(parents=True, exist_ok=True)
    try:
        return pose(replace(capture, warnings=told + capture.warnings), workdir, poses, progress)
    except OSError as error:
        raise NerfsceneError(
            f"posing stopped in {workdir} ({error.strerror or error}); free some space there, or choose "
            "another folder with -o"
        ) from error


def find_videos(source: Path) -> list[Path]:
    """The video that ``source`` is, or the videos in a folder without photos; [] otherwise."""
    if source.is_file():
        return [source] if _is_video_name(source.name) else []
    if not source.is_dir() or find_photos(source):
        return []
    videos = (p for p in source.iterdir() if _is_video_name(p.name) and p.is_file())
    return sorted(videos, key=lambda p: natural_key(p.name))


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

"""Videos taken with a phone or camera → frames on disk, as photos to pose and train on.

Only this file and video.py import av. A video is decoded twice: once coarsely, to see how far the
view moves and how sharp the frames are, then to write those that are chosen. No more than a few
frames are held at a time.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.capture import dynamic_range
from nerfscene.capture.folder import MIN_PHOTOS, Progress, silent
from nerfscene.capture.motion import (
    ANCHOR_KEPT,
    BLOCK,
    COPY_SIDE,
    LOST,
    STILL,
    Spectra,
    choose,
    moved,
    sharpness,
    spectra,
)
from nerfscene.config import FootageConfig
from nerfscene.errors import NerfsceneError
from nerfscene.types import Array

VERSION = 2  # of how frames are chosen and written: another one means that they are taken anew
LONGEST = 1920  # px: full HD stays as it is, and training uses 1600 at most
SCORED = 5 * COPY_SIDE  # px, the shorter side of what sharpness is judged on
QUALITY = 95  # of JPEG
# Frames that no other refers to are the most compressed ones, and cost half the time.
USUAL, EVERY = "NONREF", "DEFAULT"
MANY = 600  # frames: shorter videos are cheap to decode whole
CUT_SHORT = 0.9  # share of its length, under which a video counts as cut off


@dataclass(frozen=True)
class _Look:
    """What a first look at a video found, for each frame (n,) that can be taken.

    keys: what a second look knows it by; travel: how far the view had moved; sharp: sharpness.
    """

    keys: tuple[int, ...]
    travel: Array
    sharp: Array
    skip: str
    warnings: tuple[str, ...]


def take_frames(
    videos: Sequence[Path],
    folder: Path,
    config: FootageConfig | None = None,
    progress: Progress = silent,
) -> tuple[str, ...]:
    """Frames of the videos as JPEG in ``folder``, chosen by sharpness and by how far the view moved.

    Several videos share ``config.frames`` by how far each moves. A complete result for the same
    unchanged videos and settings is kept; otherwise the folder is replaced once all is written.
    Returns warnings, of what is cut short or damaged for one.
    Raises NerfsceneError where no video has frames that can be decoded and a view that moves (one that
    has not is left out beside others, with a warning), and for a full disk.
    """
    config = config or FootageConfig()
    if config.frames < MIN_PHOTOS:
        raise NerfsceneError(f"--frames must be at least {MIN_PHOTOS}, and 50 to 200 work best")
    fingerprint = _fingerprint(videos, config)
    kept = _read_json(folder / "done.json")
    if isinstance(kept, dict) and kept.get("of") == fingerprint:
        return tuple(kept["warnings"])
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        warnings = _take_into(partial, videos, config, progress)
        (partial / "done.json").write_text(json.dumps({"of": fingerprint, "warnings": warnings}, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise NerfsceneError(
            f"the frames of {videos[0]} can't be written to {folder} ({error.strerror or error}): free some "
            "space, or choose another folder with -o"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return warnings


def is_video(path: Path) -> bool:
    """Whether a file, whatever its name, holds pictures that move: two frames can be decoded."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":  # of a .zip, whose JPEGs FFmpeg would take for a film
                return False
        with av.open(str(path)) as container:
            pictures: Any = container.streams.best("video")
            # FFmpeg draws any text as a film of a terminal, and takes single pictures too.
            if pictures is None or container.format.name == "tty" or "_pipe" in container.format.name:
                return False
            return sum(1 for _, _ in zip(range(2), container.decode(pictures), strict=False)) == 2
    except (av.FFmpegError, OSError):
        return False


def _take_into(
    folder: Path, videos: Sequence[Path], config: FootageConfig, progress: Progress
) -> tuple[str, ...]:
    looks: dict[Path, _Look] = {}
    refused: list[NerfsceneError] = []
    for index, video in enumerate(videos):
        try:
            looks[video] = _look(video, _part(progress, "looking through the video", index, len(videos)))
        except NerfsceneError as error:
            refused.append(error)
    if not looks:
        raise refused[0]
    whole = sum(float(look.travel[-1]) for look in looks.values())
    names = _file_names(list(looks))
    for index, (video, look) in enumerate(looks.items()):
        share = round(config.frames * float(look.travel[-1]) / whole)
        chosen = choose(look.travel, look.sharp, max(share, MIN_PHOTOS))
        if len(chosen) < MIN_PHOTOS:
            refused.append(NerfsceneError(_too_few(video, len(chosen))))
            continue
        told = _part(progress, "taking frames", index, len(looks))
        _write(video, look.skip, [look.keys[i] for i in chosen], folder / names[video], told)
    if len(refused) == len(videos):
        raise refused[0]
    left = tuple(f"left out a video: {error}." for error in refused)
    return left + tuple(warning for look in looks.values() for warning in look.warnings)


def _file_names(videos: Sequence[Path]) -> dict[Path, str]:
    """What each video's frames are called by, no two alike."""
    stems = Counter(video.stem.lower() for video in videos)
    names = {v: v.stem if stems[v.stem.lower()] == 1 else v.name.replace(".", "-") for v in videos}
    again = Counter(name.lower() for name in names.values())
    return {
        v: name if again[name.lower()] == 1 else f"{i}-{name}" for i, (v, name) in enumerate(names.items(), 1)
    }


def _part(progress: Progress, stage: str, index: int, count: int) -> Callable[[float], None]:
    """Progress within one of ``count`` videos."""
    return lambda done: progress(stage, (index + done) / count)


def _look(video: Path, progress: Callable[[float], None]) -> _Look:
    """A first look at all of a video; raises NerfsceneError where there is nothing to take."""
    with _opened(video) as (container, stream):
        expected = stream.frames or _length(container, stream) * float(stream.average_rate or 0)
    look = _look_once(video, USUAL if expected >= MANY else EVERY, progress)
    if look.skip == USUAL and len(look.keys) < expected / 8:  # written so that nothing refers to most of it
        look = _look_once(video, EVERY, progress)
    if not look.keys:
        raise NerfsceneError(
            f"{video} holds no frames that can be decoded: copy it again from where it came from, or "
            "export it as MP4"
        )
    if len(look.keys) < MIN_PHOTOS:
        raise NerfsceneError(_too_few(video, len(look.keys)))
    if look.travel[-1] < STILL:
        raise NerfsceneError(
            f"{video} shows one view that hardly moves, and there is no depth in one view: walk round the "
            "subject while recording"
        )
    return look


def _too_few(video: Path, count: int) -> str:
    return (
        f"{video} gives only {count} different frame{'' if count == 1 else 's'}, and {MIN_PHOTOS} are the "
        "least: half a minute or more, walking round the subject, works best"
    )


def _look_once(video: Path, skip: str, progress: Callable[[float], None]) -> _Look:
    keys: list[int] = []
    travel: list[float] = []
    sharp: list[float] = []
    warnings: list[str] = []
    failures: list[str] = []
    anchor: Spectra | None = None
    base = last = seconds = end = 0.0
    with _opened(video) as (container, stream):
        end = _length(container, stream)
        for key, frame in _decoded(container, stream, skip, failures):
            if not keys and frame.color_trc in dynamic_range.NAMES:
                warnings.append(
                    f"{video.name} is in high dynamic range ({dynamic_range.NAMES[frame.color_trc]}): its "
                    "colours are brought to an ordinary screen's, and its brightest parts look less bright."
                )
            grey = _grey(frame)
            now = spectra(_small(grey))
            step = 0.0 if anchor is None else moved(anchor, now)
            if anchor is None or step is None or step > ANCHOR_KEPT:
                base += LOST if step is None else step
                anchor, step = now, 0.0
            last = max(last, base + step)  # a hand that trembles does not go anywhere
            keys.append(key)
            travel.append(last)
            sharp.append(sharpness(grey))
            seconds = max(seconds, frame.time or 0.0)
            progress(min(seconds / end, 1.0) if end > 0 else 0.0)
    if end > 0 and seconds < CUT_SHORT * end - 1:
        warnings.append(
            f"{video.name} ends after {seconds:.0f} of {end:.0f} s, and what is there is used: copy it again "
            "for the rest."
        )
    elif failures:
        warnings.append(
            f"{video.name} is damaged in {len(failures)} place{'' if len(failures) == 1 else 's'} "
            f"({failures[0]}): these are left out."
        )
    progress(1.0)
    return _Look(tuple(keys), np.array(travel), np.array(sharp), skip, tuple(warnings))


def _write(
    video: Path, skip: str, keys: Sequence[int], name: Path, progress: Callable[[float], None]
) -> None:
    """Writes the frames with these keys as ``<name>-0001.jpg`` and so on."""
    wanted, written = set(keys), 0
    with _opened(video) as (container, stream):
        for key, frame in _decoded(container, stream, skip, []):
            if key not in wanted:
                continue
            wanted.discard(key)
            written += 1
            picture = _upright(frame, stream)
            picture.save(name.with_name(f"{name.name}-{written:04d}.jpg"), quality=QUALITY)
            progress(written / len(keys))
            if not wanted:
                return


def _upright(frame: av.VideoFrame, stream: Any) -> Image.Image:
    """The frame as a player shows it: turned, its pixels square, at most LONGEST a side."""
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    width, height = frame.width * max(aspect, 1.0), frame.height / min(aspect, 1.0)
    scale = min(1.0, LONGEST / max(width, height))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    matrix = frame.colorspace
    if matrix == 2:  # not said: what everyone assumes then
        matrix = 1 if max(frame.width, frame.height) >= 1280 else 5
    high = frame.color_trc in dynamic_range.NAMES
    kind = "rgb48le" if high else "rgb24"
    pixels: NDArray[Any] = frame.reformat(
        *size, kind, src_colorspace=matrix, src_color_range=frame.color_range, interpolation="AREA"
    ).to_ndarray()
    if high:
        pixels = dynamic_range.to_srgb(pixels, frame.color_trc)
    quarters = round(frame.rotation / 90) % 4  # counter-clockwise
    return Image.fromarray(np.ascontiguousarray(np.rot90(pixels, quarters)))


def _grey(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A grey copy (height, width), its shorter side SCORED or the frame's own if that is less."""
    scale = min(1.0, SCORED / min(frame.width, frame.height))
    width, height = max(round(frame.width * scale), 1), max(round(frame.height * scale), 1)
    grey = frame.reformat(width, height, "gray", interpolation="AREA")
    return grey.to_ndarray().astype(np.uint8, copy=False)


def _small(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The copy to follow motion on: the shorter side COPY_SIDE."""
    scale = COPY_SIDE / min(grey.shape)
    size = max(round(grey.shape[1] * scale), BLOCK), max(round(grey.shape[0] * scale), BLOCK)
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX), np.float32)


@contextlib.contextmanager
def _opened(video: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its main video stream; NerfsceneError for what is no video."""
    try:
        container = av.open(str(video))
    except (av.FFmpegError, OSError) as error:
        raise NerfsceneError(
            f"{video} can't be read as a video ({error.strerror or error}): copy it again from where it came "
            "from, or export it as MP4"
        ) from error
    with container:
        stream: Any = container.streams.best("video")
        if stream is None:
            raise NerfsceneError(
                f"{video} holds no pictures, only sound: give another video, or a folder of photos"
            )
        stream.thread_type = "AUTO"
        yield container, stream


def _decoded(
    container: Any, stream: Any, skip: str, failures: list[str]
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Every whole frame with its key; what can't be decoded is passed over and noted in ``failures``."""
    stream.codec_context.skip_frame = skip
    packets = container.demux(stream)
    number = 0
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:  # the rest of the file can't be read
            failures.append(error.strerror or str(error))
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            failures.append(error.strerror or str(error))
            continue
        for frame in frames:
            number += 1
            if frame.is_corrupt:
                failures.append("a corrupt frame")
            else:
                yield (number if frame.pts is None else frame.pts), frame


def _length(container: Any, stream: Any) -> float:
    """Seconds, 0 where the file doesn't say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / av.time_base


def _fingerprint(videos: Sequence[Path], config: FootageConfig) -> dict[str, object]:
    stats = [(video, video.stat()) for video in videos]
    return {
        "version": VERSION,
        "frames": config.frames,
        "videos": [[video.name, stat.st_size, stat.st_mtime_ns] for video, stat in stats],
    }


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None

"""Frames of a video by their number in the file, for apps that list a camera for each frame.

Players, and FFmpeg's readers with them, leave out the frames that an MP4's edit list hides, such as a first
frame before time 0. The app counted those as well, so edit lists are ignored here. Frames are recognised by
their time stamps, because a damaged frame must not shift the numbers of all that follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.capture.folder import StageListener, silent
from nerfscene.capture.frame_pixels import QUALITY, grey_copy, srgb_pixels
from nerfscene.capture.motion import sharpness
from nerfscene.capture.video_file import decoded, opened, unreadable
from nerfscene.capture.work_folder import read_done, replacing, write_done
from nerfscene.errors import NerfsceneError
from nerfscene.types import Array

VERSION = 1  # of how frames are chosen and written: frames by another version are taken again
LONGEST = 1920  # px, longest side of a frame, as for other videos


@dataclass(frozen=True)
class FrameTimes:
    """All frames of a video, in the order in which they are shown.

    keys: (n,) time stamps as in the file. seconds: (n,) the same in seconds. width, height: pixels as stored.
    """

    keys: NDArray[np.int64]
    seconds: Array
    width: int
    height: int


def frame_times(video: Path) -> FrameTimes:
    """When the frames of a video are shown, without decoding them.

    Raises NerfsceneError if the video can't be read.
    """
    with opened(video, hidden=True) as (container, stream):
        try:
            keys = np.unique([p.pts for p in container.demux(stream) if p.pts is not None]).astype(np.int64)
        except av.FFmpegError as error:
            raise unreadable(video, error) from error
        seconds = (keys * float(stream.time_base)).astype(np.float64)
        return FrameTimes(keys, seconds, stream.codec_context.width, stream.codec_context.height)


def take_numbered(
    video: Path, numbers: Sequence[int], most: int, folder: Path, progress: StageListener = silent
) -> dict[int, Path]:
    """Writes up to ``most`` of the frames with these numbers into ``folder``; returns number → photo.

    Numbers count all frames of the file from 0, in the order of display. Of more than ``most``, the sharpest
    of each of ``most`` equal stretches is taken. Photos are JPEGs called 000012.jpg, with the pixels as
    stored: not turned, at most LONGEST on the longer side. Frames that can't be decoded are skipped. A
    complete result for the same unchanged video and numbers is reused.
    Raises NerfsceneError if the video can't be read or the disk is full.
    """
    status = video.stat()
    of = [VERSION, video.name, status.st_size, status.st_mtime_ns, most, [int(n) for n in numbers]]
    kept = read_done(folder)
    taken = kept.get("taken") if isinstance(kept, dict) and kept.get("of") == of else None
    if isinstance(taken, list) and all(isinstance(number, int) for number in taken):
        return {number: folder / _name(number) for number in taken}
    try:
        with replacing(folder) as partial:
            partial.mkdir(parents=True)
            taken = _take_into(partial, video, numbers, most, progress)
            write_done(partial, {"of": of, "taken": taken})
    except OSError as error:
        raise NerfsceneError(
            f"the frames of {video} can't be written to {folder} ({error.strerror or error}): free some "
            "space, or choose another folder with -o"
        ) from error
    return {number: folder / _name(number) for number in taken}


def _name(number: int) -> str:
    return f"{number:06d}.jpg"


def _take_into(
    folder: Path, video: Path, numbers: Sequence[int], most: int, progress: StageListener
) -> list[int]:
    """Writes the frames and returns their numbers; arguments as in take_numbered."""
    keys = frame_times(video).keys
    wanted = [n for n in sorted(set(numbers)) if 0 <= n < len(keys)]
    stretches = np.array_split(np.array(wanted, np.int64), min(most, len(wanted)) or 1)
    stretch_of = {int(keys[n]): i for i, numbers_ in enumerate(stretches) for n in numbers_}
    number_of = {int(key): n for n, key in enumerate(keys)}
    taken: list[int] = []
    best: tuple[float, int, av.VideoFrame] | None = None  # of the stretch being decoded
    current = -1

    def keep() -> None:
        if best is not None:
            _picture(best[2]).save(folder / _name(best[1]), quality=QUALITY)
            taken.append(best[1])

    with opened(video, hidden=True) as (container, stream):
        for frame in decoded(container, stream, []):
            stretch = stretch_of.get(frame.pts if frame.pts is not None else -1)
            if stretch is None:
                continue
            if stretch != current:
                keep()
                best, current = None, stretch
                progress("taking frames", (stretch + 1) / len(stretches))
            score = sharpness(grey_copy(frame)) if len(stretches[stretch]) > 1 else 0.0
            if best is None or score > best[0]:
                best = score, number_of[int(frame.pts or 0)], frame
        keep()
    if not taken:
        raise NerfsceneError(
            f"none of the frames of {video} can be decoded: copy it again from where it came from"
        )
    return taken


def _picture(frame: av.VideoFrame) -> Image.Image:
    """The frame's pixels as stored, in an ordinary screen's colours."""
    scale = min(1.0, LONGEST / max(frame.width, frame.height))
    size = max(round(frame.width * scale), 1), max(round(frame.height * scale), 1)
    return Image.fromarray(srgb_pixels(frame, size))

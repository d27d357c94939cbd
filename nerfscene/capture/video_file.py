"""Opens a video and decodes it, past what is damaged. ``footage`` and ``numbered_frames`` choose frames."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from nerfscene.errors import NerfsceneError

AGAIN = "copy it again from where it came from, or export it as MP4"
# Values of FFmpeg's skip_frame. Non-reference frames are the most compressed; skipping them halves the time.
SKIP_NONREF, SKIP_NONE = "NONREF", "DEFAULT"


@contextlib.contextmanager
def opened(video: Path, hidden: bool = False) -> Iterator[tuple[Any, Any]]:
    """The container and its main video stream; hidden: with the frames that an edit list hides.

    Raises NerfsceneError if it can't be read or has no pictures.
    """
    options = {"ignore_editlist": "1"} if hidden else {}
    try:
        # Old cameras' notes aren't UTF-8.
        container = av.open(str(video), options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise unreadable(video, error) from error
    with container:
        stream: Any = container.streams.best("video")
        if stream is None:
            raise NerfsceneError(
                f"{video} holds no pictures, only sound: give another video, or a folder of photos"
            )
        if stream.codec_context is None:
            raise NerfsceneError(f"{video} can't be read as a video (its kind is unknown): {AGAIN}")
        stream.thread_type = "AUTO"
        yield container, stream


def unreadable(video: Path, error: av.FFmpegError | OSError) -> NerfsceneError:
    """What to raise for a video that FFmpeg refuses."""
    return NerfsceneError(f"{video} can't be read as a video ({error.strerror or error}): {AGAIN}")


def decoded(
    container: Any, stream: Any, failures: list[str], skip: str = SKIP_NONE
) -> Iterator[av.VideoFrame]:
    """Every intact frame; those that can't be decoded are passed over, each with a line in ``failures``.

    skip: frames that are left out, SKIP_NONREF or SKIP_NONE.
    """
    stream.codec_context.skip_frame = skip
    packets = container.demux(stream)
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
            if frame.is_corrupt:
                failures.append("a corrupt frame")
            else:
                yield frame

"""What a video's header says, and its first picture, of a file that may have been made to do harm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from PIL import Image

from nerfscene.errors import NerfsceneError

# FFmpeg's names for what VIDEO_SUFFIXES stand for. It would also open lists of other files, by their content.
KINDS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,ogg,flv,mxf,h264,hevc,mjpeg,m4v"
SAFELY = {"format_whitelist": KINDS, "protocol_whitelist": "file"}
BROKEN = (av.FFmpegError, OSError, ValueError, MemoryError)


@dataclass(frozen=True)
class VideoLook:
    """seconds: 0 if it isn't said; width, height: pixels; first: its first picture, upright, None if a frame
    is larger than was allowed; ending: of a file of its kind."""

    seconds: float
    width: int
    height: int
    first: Image.Image | None
    ending: str


def look_at_video(video: Path, most_pixels: int) -> VideoLook:
    """Opens a video without following what it refers to, and decodes one frame, of at most ``most_pixels``.

    Raises NerfsceneError if it is none, or holds no pictures.
    """
    try:
        with av.open(str(video), options=SAFELY, metadata_errors="replace") as container:
            stream: Any = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                raise NerfsceneError(f"{video} holds no pictures that can be read")
            known = [container.duration / 1e6 if container.duration else 0.0]
            if stream.frames and stream.average_rate:
                known.append(float(stream.frames / stream.average_rate))
            first = None
            if stream.width * stream.height <= most_pixels:
                stream.thread_count = 1
                frame = next(container.decode(stream), None)
                if frame is None:
                    raise NerfsceneError(f"{video} holds no pictures that can be read")
                first = frame.to_image().rotate(frame.rotation, expand=True)
            matroska = "matroska" in container.format.name
            ending = ".mkv" if matroska else ".mp4"
            return VideoLook(max(known), stream.width, stream.height, first, ending)
    except BROKEN as error:
        raise NerfsceneError(f"{video} can't be read as a video, or is cut off") from error

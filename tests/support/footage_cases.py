"""Short videos: a walk along a wide picture, or through the demo's pictures."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from colour_cases import BT2020, WEIGHTS, signal_of
from numpy.typing import NDArray
from PIL import Image, ImageFilter

DEMO = Path(__file__).parents[2] / "data/demo/images"
Picture = NDArray[np.uint8]


def write_video(
    path: Path, pictures: Iterable[Picture], codec: str = "libx264", turned: int = 0, fps: int = 30
) -> Path:
    """Pictures (height, width, 3) as a video; ``turned``: degrees counter-clockwise a player turns it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "18", "g": "30"}
        else:
            stream.bit_rate = 4_000_000
        if turned:
            stream.set_display_rotation(turned)
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_coded(path: Path, pictures: Iterable[Picture], transfer: int, primaries: int = BT2020) -> Path:
    """Writes sRGB pictures as a lossless video of these colours (numbers of ITU-T H.273), 10 bits."""
    weights = WEIGHTS[BT2020]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.pix_fmt = "yuv444p16le"
        context = stream.codec_context
        context.color_trc, context.color_primaries = transfer, primaries
        context.colorspace, context.color_range = 9, 1
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            signal = signal_of(picture, primaries, transfer)
            y = signal @ weights
            blue, red = (signal[..., 2] - y) / 1.8814, (signal[..., 0] - y) / 1.4746
            planes = np.stack([64 + 876 * y, 512 + 896 * blue, 512 + 896 * red], -1)
            frame = av.VideoFrame.from_ndarray((64 * planes.round()).astype(np.uint16), format="yuv444p16le")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def with_matrix(video: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """An MP4 with this display matrix (a, b, c, d) in its track header (tkhd; ISO/IEC 14496-12)."""
    at = video.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    return video[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + video[at + 36 :]


def demo_pictures(count: int, width: int = 640) -> list[Picture]:
    """The first pictures of the demo, shrunk to a width."""
    pictures = []
    for file in sorted(DEMO.iterdir())[:count]:
        with Image.open(file) as image:
            pictures.append(np.asarray(image.convert("RGB").resize((width, width * 3 // 4))))
    return pictures


@functools.cache
def _strip() -> Picture:
    return np.concatenate(demo_pictures(12, 320)[::2], axis=1)


def walk(
    steps: Iterable[float], blurred: Iterable[int] = (), size: tuple[int, int] = (320, 180)
) -> list[Picture]:
    """Windows of a wide picture, each ``step`` pixels to the right of the one before."""
    strip = _strip()
    pictures, x, soft = [], 0.0, set(blurred)
    for number, step in enumerate(steps):
        x += step
        window = Image.fromarray(strip[: size[1], round(x) : round(x) + size[0]])
        if number in soft:
            window = window.filter(ImageFilter.GaussianBlur(2.5))
        pictures.append(np.asarray(window))
    return pictures

"""Encodes frames with a codec into a container."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.errors import NerfsceneError
from nerfscene.films.codecs import Codec, film_size, rate, set_up
from nerfscene.films.priority import kept_priority

Color = tuple[int, int, int]
OPAQUE = 128  # alpha from which on a GIF's pixel is shown


def encode(
    frames: Iterable[NDArray[np.uint8]],
    file: Path,
    kind: str,
    codec: Codec,
    fps: float,
    size: tuple[int, int] | None = None,
    under: Color | None = None,
    progress: Callable[[int], None] = lambda written: None,
) -> int:
    """Writes frames into ``file``, a container of this kind (FFmpeg's name), see ``video.write_film``."""
    count, alpha = 0, False
    opened = av.open(str(file), "w", format=kind, options=_container_options(kind))
    with kept_priority() as restore, opened as container:
        stream = container.add_stream(codec.encoder, rate=rate(fps))
        assert isinstance(stream, av.VideoStream)
        for frame in frames:
            size = size or (frame.shape[1], frame.shape[0])
            frame = _checked(frame, size, codec, under)
            width, height = film_size(codec, size)
            if count == 0:
                alpha = frame.shape[2] == 4
                set_up(stream.codec_context, codec, (width, height), rate(fps), alpha)
                if codec.name == "h265" and kind in ("mp4", "mov"):
                    stream.codec_context.codec_tag = "hvc1"  # Apple's players know no other
            if (frame.shape[2] == 4) != alpha:
                raise ValueError("a film's frames must all have transparency, or none")
            picture = _picture(np.ascontiguousarray(frame[:height, :width]), codec)
            picture.pts, picture.time_base, picture.duration = count, 1 / rate(fps), 1
            container.mux(stream.encode(picture))
            if count == 0:  # the encoder has been opened
                restore()
            count += 1
            progress(count)
        if count == 0:
            raise NerfsceneError("a film needs at least one frame; give more --seconds or --fps")
        container.mux(stream.encode())
    return count


def _container_options(kind: str) -> dict[str, str]:
    """Films begin to play before they are loaded; GIF and WebP go on for ever."""
    if kind in ("mp4", "mov"):
        return {"movflags": "+faststart"}
    return {"loop": "0"} if kind in ("gif", "webp") else {}


def _checked(
    frame: NDArray[np.uint8], size: tuple[int, int], codec: Codec, under: Color | None
) -> NDArray[np.uint8]:
    """The frame, with ``under`` laid under it where it is transparent and the codec keeps that not.

    Raises ValueError for a frame of another type or size, and without ``under`` for such transparency.
    """
    channels = frame.shape[2] if frame.ndim == 3 else 0
    if frame.dtype != np.uint8 or frame.shape != (size[1], size[0], channels) or channels not in (3, 4):
        channels = 0
    if not channels or min(size) < 2:
        raise ValueError(
            f"a film's frames must be uint8 ({size[1]}, {size[0]}, 3 or 4), at least 2 pixels a side: "
            f"{frame.dtype} {frame.shape}"
        )
    if channels == 3 or (codec.clear is not None and under is None):
        return frame
    if under is None:
        raise ValueError(f"{codec.words} keeps no transparency: say what is laid under")
    return laid_over(frame, under)


def laid_over(frame: NDArray[np.uint8], color: Color) -> NDArray[np.uint8]:
    """A frame (height, width, 4) with straight alpha over a colour, 0…255: (height, width, 3)."""
    share = frame[..., 3:].astype(np.float32) / 255
    mixed = frame[..., :3] * share + np.array(color, np.float32) * (1 - share)
    return (mixed + 0.5).astype(np.uint8)


def _picture(frame: NDArray[np.uint8], codec: Codec) -> av.VideoFrame:
    """The frame (height, width, 3 or 4) as the codec takes it."""
    alpha = frame.shape[2] == 4
    if codec.plain == "pal8":
        return av.VideoFrame.from_ndarray(_indexed(frame), format="pal8")  # type: ignore[arg-type]
    picture = av.VideoFrame.from_ndarray(frame, format="rgba" if alpha else "rgb24")
    wanted = codec.clear if alpha else codec.plain
    if codec.yuv:
        picture = picture.reformat(format=wanted, dst_colorspace="ITU709", dst_color_range="MPEG")
        picture.color_primaries = picture.color_trc = 1  # ProRes is tagged with what the frames say
        return picture
    return picture.reformat(format=wanted)


def _indexed(frame: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A frame as indices (height, width) into a palette (256, 4), alpha first, of its own colours.

    Colours between those of the palette are mixed by dithering (Floyd and Steinberg). What is more than half
    transparent gets the last index, which isn't shown.
    """
    hidden = frame[..., 3] < OPAQUE if frame.shape[2] == 4 else None
    rgb = frame[..., :3] if hidden is None else np.where(hidden[..., None], 0, frame[..., :3])
    picture = Image.fromarray(np.ascontiguousarray(rgb, np.uint8))
    # Of Pillow's methods the one that is faithful to small coloured things, and the fastest.
    few = picture.quantize(256 if hidden is None else 255, Image.Quantize.FASTOCTREE)
    indices = np.array(picture.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG))
    colors = np.array(few.getpalette() or [], np.uint8).reshape(-1, 3)[:256]
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 0] = 255
    palette[: len(colors), 1:] = colors
    if hidden is not None:
        # Pillow fills the palette with black, which would make the last index a colour.
        indices[(indices == 255) & ~hidden] = palette[:255, 1:].sum(1, dtype=np.int64).argmin()
        indices[hidden] = 255
        palette[255] = 0
    return indices, palette

"""The codecs of films: which fits a file's ending, which keeps transparency, and the settings of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from nerfscene.errors import NerfsceneError
from nerfscene.films.priority import kept_priority

# FFmpeg's names of the containers.
KINDS = {
    ".mp4": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".gif": "gif",
    ".webp": "webp",
}
LEAST_FPS, MOST_FPS = 0.01, 1000
MOST_GIF_FPS = 50  # browsers slow delays below 2/100 s down to 10/100 s
LARGE = 2560 * 1440  # pixels from which on a codec's ``large`` options count
LARGE_GIF = 100e6  # bytes from which on a GIF is warned of
GIF_PIXEL = 0.8  # bytes that a pixel of a frame takes, roughly: photographs hardly shrink as GIF


@dataclass(frozen=True)
class Codec:
    """A codec and how it is used.

    name: as ``--codec`` has it. words: as people write it. encoder: FFmpeg's name of it. endings: of the
    files that may hold it. plain, clear: FFmpeg's pixel formats for frames without and with transparency;
    clear is None where there is none. options: FFmpeg's, of the encoder; large: those of large films instead,
    with which fewer frames wait in it, so that one of 4K takes a half to a third of the memory.
    """

    name: str
    words: str
    encoder: str
    endings: tuple[str, ...]
    plain: str
    clear: str | None
    options: tuple[tuple[str, str], ...] = ()
    large: tuple[tuple[str, str], ...] = ()

    @property
    def even(self) -> bool:
        """Whether width and height must be even, because colour is kept at half the size."""
        return self.plain == "yuv420p"

    @property
    def yuv(self) -> bool:
        """Whether colours are kept as brightness and colour differences, of BT.709."""
        return self.plain.startswith("yuv")


# Of the scales of quality (CRF), a lower one is better; these are close to indistinguishable from the frames.
CODECS = (
    Codec(
        "h264", "H.264", "libx264", (".mp4", ".mov", ".mkv"), "yuv420p", None,
        (("crf", "18"), ("preset", "fast")),
        (("rc-lookahead", "10"),),
    ),
    Codec(
        "h265", "H.265", "libx265", (".mp4", ".mov", ".mkv"), "yuv420p", None,
        (("crf", "20"), ("preset", "medium"), ("x265-params", "log-level=error")),
        (("x265-params", "log-level=error:rc-lookahead=5:bframes=3"),),
    ),
    Codec(
        "av1", "AV1", "libsvtav1", (".mp4", ".webm", ".mkv"), "yuv420p", None,
        (("crf", "24"), ("preset", "8")),
        (("svtav1-params", "pred-struct=1"),),  # each frame is made of earlier ones alone
    ),
    Codec(
        "vp9", "VP9", "libvpx-vp9", (".webm", ".mkv"), "yuv420p", "yuva420p",
        (("crf", "20"), ("b", "0"), ("deadline", "good"), ("cpu-used", "3"), ("row-mt", "1")),
    ),
    Codec(
        "prores", "ProRes 4444", "prores_ks", (".mov",), "yuv444p10le", "yuva444p10le",
        (("profile", "4444"), ("vendor", "apl0"), ("alpha_bits", "16")),
    ),
    Codec(
        "ffv1", "FFV1", "ffv1", (".mkv",), "bgr0", "bgra",
        (("level", "3"), ("g", "1"), ("slicecrc", "1"), ("slices", "16")),
    ),
    Codec("gif", "GIF", "gif", (".gif",), "pal8", "pal8"),
    Codec("webp", "animated WebP", "libwebp_anim", (".webp",), "bgra", "bgra", (("quality", "85"),)),
)  # fmt: skip
# What an ending stands for: without transparency, and with it.
USUAL = {
    ".mp4": ("h264", None),
    ".mov": ("h264", "prores"),
    ".mkv": ("h264", "ffv1"),
    ".webm": ("vp9", "vp9"),
    ".gif": ("gif", "gif"),
    ".webp": ("webp", "webp"),
}


def known(name: str) -> Codec:
    """The codec of this name. Raises NerfsceneError for another one."""
    for codec in CODECS:
        if codec.name == name:
            return codec
    raise NerfsceneError(f"there is no codec {name}; choose {_listed([codec.name for codec in CODECS])}")


def check_ending(file: Path) -> None:
    """Raises NerfsceneError when no film has this name's ending."""
    if file.suffix.lower() not in KINDS:
        raise NerfsceneError(
            f"{file} doesn't end in {', '.join(KINDS)}; name the film like film.mp4, or give "
            "--frames FOLDER for pictures"
        )


def chosen(file: Path, name: str | None = None, alpha: bool = False) -> Codec:
    """The codec for a film of this name: the one called ``name``, or the ending's usual one.

    alpha: whether the frames' transparency is to be kept.
    Raises NerfsceneError for an ending that no film has, a codec that the ending can't hold or that keeps no
    transparency, and for one that this PyAV lacks.
    """
    check_ending(file)
    ending = file.suffix.lower()
    name = name or USUAL[ending][alpha]
    if name is None:
        raise NerfsceneError(f"{ending} keeps no transparency; {_way_to_transparency(file)}")
    codec = known(name)
    if ending not in codec.endings:
        fitting = [c.name for c in CODECS if ending in c.endings]
        raise NerfsceneError(
            f"{codec.words} can't be in {ending}: name the film {file.with_suffix(codec.endings[0]).name}, "
            f"or choose --codec {_listed(fitting)}"
        )
    if alpha and codec.clear is None:
        raise NerfsceneError(f"{codec.words} keeps no transparency; {_way_to_transparency(file)}")
    if not has(codec):
        raise NerfsceneError(
            f"this PyAV ({av.__version__}) has no encoder for {codec.words} ({codec.encoder}); "
            f"{_instead(file, alpha)}"
        )
    return codec


def has(codec: Codec) -> bool:
    """Whether PyAV has been built with the codec's encoder."""
    try:
        av.codec.Codec(codec.encoder, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def encoders() -> dict[str, bool]:
    """The codecs, as people write them, and whether this PyAV has been built with their encoder."""
    return {codec.words: has(codec) for codec in CODECS}


def _way_to_transparency(file: Path) -> str:
    names = [f"{file.with_suffix(ending).name} ({words})" for ending, words in
             ((".webm", "VP9"), (".mov", "ProRes 4444"), (".webp", "animated WebP"))]  # fmt: skip
    return f"name the film {_listed(names)}, or choose a colour for the background"


def _instead(file: Path, alpha: bool) -> str:
    """What to choose when an encoder is missing: another codec for the same ending, or another ending."""
    there = [c for c in CODECS if (c.clear or not alpha) and has(c)]
    here = [c.name for c in there if file.suffix.lower() in c.endings]
    if here:
        return f"choose --codec {_listed(here)}, or install av from PyPI"
    if there:
        other = file.with_suffix(there[0].endings[0]).name
        return f"name the film {other} ({there[0].words}), or install av from PyPI"
    return "install av from PyPI, or write pictures with --frames FOLDER"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def rate(fps: float) -> Fraction:
    """Frames a second as a fraction, such as 30000/1001.

    Raises NerfsceneError outside 0.01 to 1000.
    """
    if not LEAST_FPS <= fps <= MOST_FPS:
        raise NerfsceneError(
            f"a film of {fps:g} frames a second can't be made; give {LEAST_FPS} to {MOST_FPS}"
        )
    return Fraction(fps).limit_denominator(1001)


def film_size(codec: Codec, size: tuple[int, int]) -> tuple[int, int]:
    """The film's (width, height) for frames of ``size``: an odd last column or row is lost if it must be."""
    return (size[0] // 2 * 2, size[1] // 2 * 2) if codec.even else size


def check_encodable(codec: Codec, size: tuple[int, int], fps: float, alpha: bool = False) -> None:
    """Raises NerfsceneError when frames of ``size`` (width, height) can't be encoded so; to be called first.

    The encoder is opened for that, and closed again.
    """
    frame_rate = rate(fps)
    if codec.name == "gif" and fps > MOST_GIF_FPS:
        raise NerfsceneError(
            f"a GIF shows at most {MOST_GIF_FPS} frames a second, not {fps:g}; give --fps {MOST_GIF_FPS} or "
            "less, or name the film like film.webp"
        )
    try:
        context = av.CodecContext.create(codec.encoder, "w")
        set_up(context, codec, film_size(codec, size), frame_rate, alpha)
        with kept_priority():
            context.open()
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NerfsceneError(
            f"{codec.words} can't encode {size[0]}×{size[1]} pixels at {fps:g} frames a second here "
            f"({reason}); give another --width and --height, or another --codec"
        ) from error


def set_up(context: Any, codec: Codec, size: tuple[int, int], fps: Fraction, alpha: bool) -> None:
    """Sets an encoder's size, pixels, options and colour tags.

    The tags: BT.709's primaries and transfer throughout; limited range and BT.709's matrix where colours are
    kept so, full range and no matrix where RGB is kept (numbers of ITU-T H.273). GIF and WebP have no tags.
    """
    if codec.encoder == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "0")  # else it prints what it does, and that a film was stopped
    context.width, context.height = size
    context.framerate, context.time_base = fps, 1 / fps
    context.pix_fmt = codec.clear if alpha else codec.plain
    context.options = dict(codec.options)
    if size[0] * size[1] > LARGE:
        context.options |= dict(codec.large)
    if codec.name == "vp9" and alpha:
        context.options |= {"auto-alt-ref": "0"}  # FFmpeg refuses hidden frames with transparency
    if codec.name in ("gif", "webp"):
        return
    context.color_primaries = context.color_trc = 1
    context.colorspace, context.color_range = (1, 1) if codec.yuv else (0, 2)


def warning(codec: Codec, size: tuple[int, int], count: int) -> str | None:
    """A sentence about a film of ``count`` frames of ``size`` pixels that would be oddly large, or None."""
    likely = size[0] * size[1] * count * GIF_PIXEL
    if codec.name != "gif" or likely < LARGE_GIF:
        return None
    return (
        f"a GIF of {count} frames of {size[0]}×{size[1]} will take about {likely / 1e6:.0f} MB, which few "
        "programs show well; --preset gif makes a small one, and .webp or .mp4 takes a quarter or less"
    )

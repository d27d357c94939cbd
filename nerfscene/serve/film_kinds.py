"""Which files films can be: the server's own table, because what encodes them stays in other processes."""

from __future__ import annotations

from typing import Any

from nerfscene.errors import NerfsceneError

# The codecs of each ending, the usual one first, as films.codecs has them.
CODECS = {
    "mp4": ("h264", "h265", "av1"),
    "mov": ("h264", "h265", "prores"),
    "mkv": ("h264", "h265", "av1", "vp9", "ffv1"),
    "webm": ("vp9", "av1"),
    "gif": ("gif",),
    "webp": ("webp",),
}
OF_PRESET = {"gif": "gif", "prores": "mov"}  # the endings of presets; of the others mp4
WIDTHS = {"social": 1080, "hd": 1920, "4k": 3840, "gif": 480, "prores": 1920}  # of presets
RATES = {"gif": 12.5}  # frames a second of presets; of the others 30
CLEAR = ("prores", "vp9", "ffv1", "gif", "webp")  # codecs that keep transparency
LARGE = {"prores": 0.7, "ffv1": 1.5, "gif": 0.8, "webp": 0.2}  # bytes that a pixel takes, roughly
MOST_BYTES = 4e9  # of a film of such a codec
PLAYED, PICTURES = (".mp4", ".webm"), (".gif", ".webp")  # what a page shows as a film, and as a picture


def ending_of(chosen: dict[str, Any], ending: str | None) -> str:
    """The ending of a film with these settings, such as "mp4"; ending: the one asked for, if any.

    Raises NerfsceneError for one that doesn't go with the codec, the preset or a transparent background.
    """
    codec, preset = chosen.get("codec"), chosen.get("preset")
    clear = str(chosen.get("background", "")).strip().lower() == "transparent"
    usual = OF_PRESET.get(preset or "")
    if ending is None:
        fitting = [e for e, codecs in CODECS.items() if codec in codecs]
        ending = usual or (fitting[0] if fitting else "webm" if clear else "mp4")
    ending = ending.lstrip(".").lower()
    if ending not in CODECS:
        raise NerfsceneError(f"a film can't be .{ending[:20]}; choose one of {', '.join(CODECS)}")
    if usual and ending != usual and not (usual == "gif" and ending == "webp"):
        raise NerfsceneError(f"the preset {preset} makes .{usual}, not .{ending}; leave out one of them")
    if codec is not None and codec not in CODECS[ending]:
        raise NerfsceneError(
            f"{codec} can't be in .{ending}; choose one of {', '.join(CODECS[ending])}, or another ending"
        )
    kept = [name for name in CODECS[ending] if name in CLEAR]
    if clear and (codec not in CLEAR if codec else not kept):
        raise NerfsceneError(
            f"{codec or '.' + ending} keeps no transparency; choose webm, mov, webp or gif, or a colour for "
            "the background"
        )
    return ending


def check_size(chosen: dict[str, Any], ending: str, most_frames: int) -> None:
    """Raises NerfsceneError for a film of too many frames, or that would take too much of the disk."""
    preset = chosen.get("preset") or ""
    seconds = chosen.get("seconds") or 8.0  # as RenderConfig has it when nothing is given
    frames = seconds * (chosen.get("fps") or RATES.get(preset, 30.0))
    if frames > most_frames:
        raise NerfsceneError(f"a film may have {most_frames} frames here; choose fewer seconds or frames")
    codec = chosen.get("codec") or ("prores" if preset == "prores" else CODECS[ending][0])
    width = chosen.get("width") or WIDTHS.get(preset, 960)
    likely = frames * width * (chosen.get("height") or 0.75 * width) * LARGE.get(codec, 0.0)
    if likely > MOST_BYTES:
        raise NerfsceneError(
            f"this film would take about {likely / 1e9:.0f} GB; choose fewer seconds, a smaller size or "
            "another kind of file"
        )

"""Videos from a phone or camera → frames on disk, to be used as photos.

A video is decoded twice: once to measure how far the view moves and how sharp the frames are, then to write
the chosen frames. Only a few frames are in memory at a time.
"""

from __future__ import annotations

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
from nerfscene.capture.folder import MIN_PHOTOS, StageListener, silent
from nerfscene.capture.frame_pixels import QUALITY, as_players_show, grey_copy, srgb_pixels
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
from nerfscene.capture.video_file import AGAIN, SKIP_NONE, SKIP_NONREF, decoded, opened
from nerfscene.capture.work_folder import read_done, replacing, write_done
from nerfscene.config import FootageConfig
from nerfscene.errors import NerfsceneError
from nerfscene.types import Array

VERSION = 3  # of how frames are chosen and written: frames by another version are taken again
LONGEST = 1920  # px, longest side of a frame: keeps full HD, and training uses at most 1600
ALL_ROUND = 4096  # the same for frames twice as wide as high: those of a 360° video are cut into six views
MANY = 600  # frames: shorter videos are cheap to decode in full
CUT_SHORT = 0.9  # a video with less than this fraction of its stated length counts as cut off


@dataclass(frozen=True)
class _Survey:
    """What the first pass through a video found.

    Of each frame that can be taken: ``keys``, by which the second pass recognises it; ``travel`` (n,), how
    far the view has moved so far, in pixels of the small copy; ``sharp`` (n,), its sharpness. ``skip``: the
    frames that decoding skipped.
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
    progress: StageListener = silent,
) -> tuple[str, ...]:
    """Writes frames of the videos as JPEG into ``folder``, chosen by sharpness and by how far the view moves.

    Several videos share ``config.frames`` in proportion to how far each moves. A complete result for the same
    unchanged videos and settings is reused. Returns warnings, for example of videos that are cut off or
    damaged; an unusable video is left out with a warning.
    Raises NerfsceneError if no video can be decoded and has a moving view, and if the disk is full.
    """
    config = config or FootageConfig()
    fingerprint = _fingerprint(videos, config)
    kept = read_done(folder)
    if isinstance(kept, dict) and kept.get("of") == fingerprint and isinstance(kept.get("warnings"), list):
        return tuple(map(str, kept["warnings"]))
    try:
        with replacing(folder) as partial:
            partial.mkdir(parents=True)
            warnings = _take_into(partial, videos, config, progress)
            write_done(partial, {"of": fingerprint, "warnings": warnings})
    except OSError as error:
        raise NerfsceneError(
            f"the frames of {videos[0]} can't be written to {folder} ({error.strerror or error}): free some "
            "space, or choose another folder with -o"
        ) from error
    return warnings


def is_video(path: Path) -> bool:
    """Whether a file, whatever its name, is a video: at least two frames can be decoded."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":  # a zip file; FFmpeg would take the JPEGs in it for a video
                return False
        with av.open(str(path), metadata_errors="replace") as container:
            pictures: Any = container.streams.best("video")
            # FFmpeg reads any text file as a video of a terminal (tty), and single pictures too (_pipe).
            if pictures is None or container.format.name == "tty" or "_pipe" in container.format.name:
                return False
            return sum(1 for _, _ in zip(range(2), container.decode(pictures), strict=False)) == 2
    except (av.FFmpegError, OSError, ValueError):
        return False


def _take_into(
    folder: Path, videos: Sequence[Path], config: FootageConfig, progress: StageListener
) -> tuple[str, ...]:
    """Writes the chosen frames into ``folder`` and returns warnings; raises as take_frames does."""
    surveys: dict[Path, _Survey] = {}
    refused: list[NerfsceneError] = []
    for index, video in enumerate(videos):
        try:
            surveys[video] = _survey(video, _part(progress, "looking through the video", index, len(videos)))
        except NerfsceneError as error:
            refused.append(error)
    if not surveys:
        raise refused[0]
    total = sum(float(survey.travel[-1]) for survey in surveys.values())
    names = _file_names(list(surveys))
    for index, (video, survey) in enumerate(surveys.items()):
        share = round(config.frames * float(survey.travel[-1]) / total)
        chosen = choose(survey.travel, survey.sharp, max(share, MIN_PHOTOS))
        if len(chosen) < MIN_PHOTOS:
            refused.append(NerfsceneError(_too_few(video, len(chosen))))
            continue
        report = _part(progress, "taking frames", index, len(surveys))
        _write(video, survey.skip, [survey.keys[i] for i in chosen], folder / names[video], report)
    if len(refused) == len(videos):
        raise refused[0]
    left_out = tuple(f"left out a video: {error}." for error in refused)
    return left_out + tuple(warning for survey in surveys.values() for warning in survey.warnings)


def _file_names(videos: Sequence[Path]) -> dict[Path, str]:
    """The names that each video's frames begin with: its stem, extended where two would be equal."""
    stems = Counter(video.stem.lower() for video in videos)
    names = {v: v.stem if stems[v.stem.lower()] == 1 else v.name.replace(".", "-") for v in videos}
    counts = Counter(name.lower() for name in names.values())
    return {
        v: name if counts[name.lower()] == 1 else f"{i}-{name}"
        for i, (v, name) in enumerate(names.items(), 1)
    }


def _part(progress: StageListener, stage: str, index: int, count: int) -> Callable[[float], None]:
    """Reports the fraction done of video ``index`` as a fraction of all ``count`` videos."""
    return lambda done: progress(stage, (index + done) / count)


def _survey(video: Path, progress: Callable[[float], None]) -> _Survey:
    """The first pass through a video; raises NerfsceneError if the video is unusable."""
    with opened(video) as (container, stream):
        expected = stream.frames or _length(container, stream) * float(stream.average_rate or 0)
    survey = _survey_once(video, SKIP_NONREF if expected >= MANY else SKIP_NONE, progress)
    if survey.skip == SKIP_NONREF and len(survey.keys) < expected / 8:  # almost all are non-reference frames
        survey = _survey_once(video, SKIP_NONE, progress)
    if not survey.keys:
        raise NerfsceneError(f"{video} holds no frames that can be decoded: {AGAIN}")
    if len(survey.keys) < MIN_PHOTOS:
        raise NerfsceneError(_too_few(video, len(survey.keys)))
    if survey.travel[-1] < STILL:
        raise NerfsceneError(
            f"the view in {video} hardly moves, so it shows no depth: walk around the subject while recording"
        )
    return survey


def _too_few(video: Path, count: int) -> str:
    return (
        f"{video} gives only {count} different frame{'' if count == 1 else 's'}, but at least {MIN_PHOTOS} "
        "are needed: record for half a minute or more, walking around the subject"
    )


def _survey_once(video: Path, skip: str, progress: Callable[[float], None]) -> _Survey:
    """Decodes the whole video but for the frames to skip, and measures each frame."""
    keys: list[int] = []
    travel: list[float] = []
    sharp: list[float] = []
    failures: list[str] = []
    transfer = 0
    anchor: Spectra | None = None  # the frame from which motion is measured
    base = last = seconds = end = 0.0
    with opened(video) as (container, stream):
        end = _length(container, stream)
        for key, frame in _keyed(container, stream, skip, failures):
            if not keys:
                transfer = frame.color_trc
            grey = grey_copy(frame)
            current = spectra(_small(grey))
            step = 0.0 if anchor is None else moved(anchor, current)
            if anchor is None or step is None or step > ANCHOR_KEPT:
                base += LOST if step is None else step
                anchor, step = current, 0.0
            last = max(last, base + step)  # so a trembling hand, which moves back, adds no travel
            keys.append(key)
            travel.append(last)
            sharp.append(sharpness(grey))
            seconds = max(seconds, frame.time or 0.0)
            progress(min(seconds / end, 1.0) if end > 0 else 0.0)
    progress(1.0)
    warnings = _video_warnings(video.name, transfer, seconds, end, failures)
    return _Survey(tuple(keys), np.array(travel), np.array(sharp), skip, warnings)


def _video_warnings(
    name: str, transfer: int, seconds: float, end: float, failures: Sequence[str]
) -> tuple[str, ...]:
    """Warnings for a video with this transfer function of which ``seconds`` of ``end`` could be decoded."""
    warnings = []
    if transfer in dynamic_range.NAMES:
        warnings.append(
            f"{name} has high dynamic range ({dynamic_range.NAMES[transfer]}): its colours are converted for "
            "ordinary screens, where its brightest parts look less bright."
        )
    if end > 0 and seconds < CUT_SHORT * end - 1:
        warnings.append(
            f"{name} ends after {seconds:.0f} of {end:.0f} s, so only this part is used: copy the video "
            "again to get the rest."
        )
    elif failures:
        warnings.append(
            f"{name} is damaged in {len(failures)} place{'' if len(failures) == 1 else 's'} ({failures[0]}): "
            "the damaged frames are left out."
        )
    return tuple(warnings)


def _write(
    video: Path, skip: str, keys: Sequence[int], name: Path, progress: Callable[[float], None]
) -> None:
    """Writes the frames with these keys as ``<name>-0001.jpg`` and so on."""
    wanted, written = set(keys), 0
    with opened(video) as (container, stream):
        for key, frame in _keyed(container, stream, skip, []):
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
    """The frame as a player shows it: turned or mirrored, with square pixels, no side above its limit."""
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    width, height = frame.width * max(aspect, 1.0), frame.height / min(aspect, 1.0)
    longest = ALL_ROUND if round(width) == 2 * round(height) else LONGEST
    scale = min(1.0, longest / max(width, height))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return Image.fromarray(as_players_show(frame, srgb_pixels(frame, size)))


def _small(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The copy on which motion is measured; its shorter side is COPY_SIDE."""
    scale = COPY_SIDE / min(grey.shape)
    size = max(round(grey.shape[1] * scale), BLOCK), max(round(grey.shape[0] * scale), BLOCK)
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX), np.float32)


def _keyed(
    container: Any, stream: Any, skip: str, failures: list[str]
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Every intact frame with its key: its time stamp, or its number where it has none."""
    for number, frame in enumerate(decoded(container, stream, failures, skip), 1):
        yield (number if frame.pts is None else frame.pts), frame


def _length(container: Any, stream: Any) -> float:
    """The video's length in seconds as its file states it; 0 if it doesn't."""
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

"""What ``--preset`` and ``--preview`` make of a film's other settings, and the codec that they lead to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nerfscene.cameras.algebra import scaled
from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films import codecs
from nerfscene.films.lenses import LEVEL
from nerfscene.films.paths import CameraPath

PREVIEW_STEP = 3  # of so many frames, a preview shows the first
PREVIEW_SIDE = 2  # by which each side is divided
LEAST_SIDE = 16  # pixels


@dataclass(frozen=True)
class Ready:
    """What a preset sets.

    height: None: as the photos' aspect ratio has it. endings: the only ones; (): any that the codec can have,
    and others with their own codec.
    """

    width: int
    height: int | None
    fps: float
    codec: str
    endings: tuple[str, ...] = ()


READY = {
    "social": Ready(1080, 1080, 30, "h264"),
    "hd": Ready(1920, 1080, 30, "h264"),
    "4k": Ready(3840, 2160, 30, "h264"),
    "gif": Ready(480, None, 12.5, "gif", (".gif", ".webp")),  # 12.5: 8/100 s exactly, GIF's own unit
    "prores": Ready(1920, 1080, 30, "prores", (".mov",)),
}


def settled(config: RenderConfig) -> RenderConfig:
    """The settings with what ``config.preset`` and ``config.preview`` set, where nothing else was given.

    A preset's aspect ratio gives the other side where only one was given; films of all round have their own.
    A preview has one ray a pixel.
    Doing it twice changes nothing.
    """
    if config.preview and config.samples == 0:
        config = replace(config, samples=1)
    if config.preset is None:
        return config
    ready = READY[config.preset]
    width, height = config.width, config.height
    if width is None and height is None:
        width, height = ready.width, ready.height
    elif ready.height is not None:
        aspect = ready.width / ready.height
        width = width or _even((height or 0) * aspect)
        height = height or _even(width / aspect)
    if config.lens in LEVEL and config.height is None:
        height = None  # half the width
    return replace(config, width=width, height=height, fps=config.fps or ready.fps)


def _even(side: float) -> int:
    return max(round(side / 2) * 2, LEAST_SIDE)


def codec_of(film: Path, config: RenderConfig, alpha: bool = False) -> codecs.Codec:
    """The codec of a film of this name: ``config.codec``, or the preset's, or the ending's usual one.

    alpha: whether transparency is to be kept. Raises NerfsceneError as ``codecs.chosen`` does, and for a
    preset that makes no such files.
    """
    name: str | None = config.codec
    ending = film.suffix.lower()
    if config.preset is not None and ending in codecs.KINDS:
        ready = READY[config.preset]
        if ready.endings and ending not in ready.endings:
            kinds = " or ".join(ready.endings)
            raise NerfsceneError(
                f"--preset {config.preset} makes {kinds}: name the film "
                f"{film.with_suffix(ready.endings[0]).name}, or choose another preset"
            )
        usual = codecs.known(ready.codec)
        if name is None and ending in usual.endings and (usual.clear is not None or not alpha):
            name = usual.name
    return codecs.chosen(film, name, alpha)


def quick(path: CameraPath, fps: float) -> tuple[CameraPath, float]:
    """A path for a quick look, and its frames per second: a quarter of the pixels, every third frame.

    It takes as long to watch as the whole film.
    """
    cameras = []
    for camera in path.cameras[::PREVIEW_STEP]:
        k = camera.intrinsics
        width, height = (max(side // PREVIEW_SIDE // 2 * 2, LEAST_SIDE) for side in (k.width, k.height))
        cameras.append(replace(camera, intrinsics=scaled(k, width, height)))
    fps = fps / PREVIEW_STEP
    times = None if path.times is None else path.times[::PREVIEW_STEP]
    return replace(path, cameras=tuple(cameras), fps=fps, times=times), fps

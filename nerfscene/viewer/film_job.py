"""Makes a film in the background while the viewer goes on: the one that ``nerfscene render`` would make."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerfscene.config import CredentialsConfig
from nerfscene.exporters.told import Told
from nerfscene.films import video
from nerfscene.films.codecs import Codec, check_encodable
from nerfscene.films.filming import render_film
from nerfscene.films.light import sees_through
from nerfscene.films.settings import codec_of
from nerfscene.scene.folder import Scene
from nerfscene.viewer import path_files
from nerfscene.viewer.export_job import ExportJob
from nerfscene.viewer.film_settings import config_of, without
from nerfscene.viewer.keyframes import Plan, tracks_of

FRAMES = "frames"  # the folder of PNG frames beside the film


def check_film(plan: Plan) -> None:
    """Raises NerfsceneError, in one sentence, when the film can't be encoded as it is to be."""
    film = plan.film
    config = config_of(film, Path("path"), (plan.width, plan.height))
    clear = sees_through(film.background) and not film.depth
    codec = codec_of(Path(film.name), config, clear)
    _check_encodable(codec, (plan.width, plan.height), plan.fps, clear)


@functools.lru_cache(32)
def _check_encodable(codec: Codec, size: tuple[int, int], fps: float, clear: bool) -> None:
    """As ``check_encodable``, once for what can be encoded: some encoders take half a second to open."""
    check_encodable(codec, size, fps, clear)


def film_job(
    scene: Scene,
    plan: Plan,
    backend: str,
    progress: Callable[[str, float], None],
    seen: Callable[[NDArray[np.uint8]], None],
    warn: Callable[[str], None],
    done: Callable[[Path | None, str], None],
    credentials: CredentialsConfig = CredentialsConfig(),  # noqa: B008 - frozen
) -> ExportJob:
    """A job that makes the plan's film, see ExportJob; with frames beside the film, both come as a .zip.

    scene, plan: in the scene's world. seen: called with each picture, in the job's thread.
    """
    film = plan.film

    def make(file: Path, told: Told) -> None:
        path = file.parent.parent / "camera_path.json"  # not among what is downloaded
        path_files.save(plan, path)
        config = config_of(without(film, tracks_of(plan)), path, (plan.width, plan.height), backend)
        frames = file.parent / FRAMES if film.beside else None

        def frame_done(count: int, total: int) -> None:
            told.progress(f"frame {count} of {total}", count / total)

        def said(text: str) -> None:
            for where, name in ((path, "the path"), (file, file.name)):
                text = text.replace(str(where), name)
            if film.lens == "perspective" or "fields of view" not in text:  # the page says that itself
                told.warn(text)

        made = render_film(scene, config, file, frames, frame_done, said, said, credentials, seen=seen)
        signed = made["credentials"]
        if isinstance(signed, list) and signed and str(file) not in signed:
            told.warn(f"{file.name} can't hold its content credentials, so they lie beside it, in the .zip.")

    return ExportJob(make, film.name, progress, warn, done)


def small(picture: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """A picture (height, width, 3 or 4) with a longer side of at most so many pixels, and no transparency."""
    height, width = picture.shape[:2]
    step = max(-(-max(height, width) // longest), 1)
    rows, columns = height // step or 1, width // step or 1
    cut = picture[: rows * step, : columns * step].astype(np.float32)
    if cut.shape[2] == 4:
        cut = (cut[..., :3] * cut[..., 3:] / 255 + 255 - cut[..., 3:]).astype(np.float32)
    if min(height, width) < step:
        return cut[::step, ::step].astype(np.uint8)
    means = cut.reshape(rows, step, columns, step, 3).mean((1, 3), dtype=np.float32)
    return video.to_bytes(means / np.float32(255))

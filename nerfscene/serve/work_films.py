"""A film, for the server."""

from __future__ import annotations

import shutil
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.filming import render_film
from nerfscene.films.presets import PRESETS
from nerfscene.scene import folder as scenes
from nerfscene.scene.atomic import remove_leftovers
from nerfscene.scene.output_folder import CAMERA_PATH_FILE
from nerfscene.serve.task import Ended, Task

SAVED = "saved"  # the path made in the viewer


def film(task: Task) -> Ended:
    """Films the scene. Frames are kept until it is complete, so that another process goes on after a kill.

    Raises NerfsceneError for settings that can't be used.
    """
    known = {f.name for f in fields(RenderConfig)}
    chosen: dict[str, Any] = {k: v for k, v in task.job.options.items() if k in known}
    config = RenderConfig(**{**chosen, "path": path_of(task, chosen.get("path", "auto"))})
    file = task.at.films / f"{task.job.id}.{task.job.options.get('ending', 'mp4')}"
    file.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(file.parent, file.name)
    began, first = time.monotonic(), 0

    def told(done: int, total: int) -> None:
        nonlocal first
        first = first or done
        made, spent = done - first, time.monotonic() - began
        left = spent / made * (total - done) if made > 2 else None
        task.line.progress("filming", done / total, left)

    task.line.progress("loading the scene", 0.0)
    scene = scenes.load(task.at.scene)
    config = replace(config, threads=task.threads)
    made = render_film(scene, config, file, frames_of(task), told, task.line.warn)
    shutil.rmtree(frames_of(task), ignore_errors=True)
    facts = {name: made[name] for name in ("frames", "fps", "width", "height", "seconds")}
    return Ended("done", {"files": [f"films/{file.name}"], **facts})


def frames_of(task: Task) -> Path:
    """Where a film's frames are until it is complete."""
    return task.at.films / f".{task.job.id}"


def tidy(task: Task) -> None:
    """After a stop or a failure: removes the frames."""
    shutil.rmtree(frames_of(task), ignore_errors=True)
    remove_leftovers(task.at.films)


def path_of(task: Task, path: str) -> str:
    """A camera path as ``RenderConfig`` takes it: none but presets and the scene's own.

    Raises NerfsceneError for another one, which would be a file of the server, and if none is saved.
    """
    if path == SAVED:
        file = task.at.scene / CAMERA_PATH_FILE
        if not file.is_file():
            raise NerfsceneError("no camera path is saved yet; step into the scene and make one there")
        return str(file)
    if path not in ("auto", *PRESETS):
        raise NerfsceneError(f"there is no camera path {path}; choose auto, saved, {', '.join(PRESETS)}")
    return path

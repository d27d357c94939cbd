"""A training, for the server: from what was uploaded to a scene with pictures and a page to send."""

from __future__ import annotations

import shutil
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from nerfscene.api import train as api_train
from nerfscene.capture.work_folder import read_json
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.intake import fingerprint
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.serve.pictures import NowPictures
from nerfscene.serve.task import Ended, Task
from nerfscene.serve.work_pages import make_pages
from nerfscene.training.progress import Control, Progress
from nerfscene.training.schedule import budget

# Seconds from the last step to the end, as a share of the training's and at least: for telling the time left.
AFTER, AFTER_LEAST = 0.1, 25.0


def train(task: Task) -> Ended:
    """Trains the scene as far as the job's options say, or goes on with what an earlier process has saved.

    Raises NerfsceneError if the photos can't be used.
    """
    run = _Run(task, config_of(task))
    resume, overwrite = _begin(task)
    if not resume:
        task.at.now.unlink(missing_ok=True)
    field = _field_of(task.at.scene) if resume else FieldConfig()
    scene = api_train(
        task.at.photos, task.at.scene, run.config, field, resume=resume, overwrite=overwrite,
        listener=run.heard, warn=task.line.warn, control=run.control,
    )  # fmt: skip
    task.line.stopped = None  # from here on, stopping leaves out what is left
    figures = scenes.read_figures(task.at.scene)
    make_pages(task, scene, run.remaining)
    task.at.now.unlink(missing_ok=True)
    stopped = run.control.stop and not figures.finished
    measured = {name: getattr(figures, name) for name in ("psnr", "ssim", "flip", "train_seconds")}
    return Ended("stopped" if stopped else "done", measured)


def config_of(task: Task) -> TrainConfig:
    """The job's options as settings; a training by steps also ends when the server's longest time is over."""
    known = {f.name for f in fields(TrainConfig)}
    chosen: dict[str, Any] = {k: v for k, v in task.job.options.items() if k in known}
    config = TrainConfig(**chosen)
    if budget(config)[0] > task.shop.config.longest:
        config = replace(config, time=task.shop.config.longest)
    return replace(config, threads=task.threads)


def _begin(task: Task) -> tuple[bool, bool]:
    """(resume, overwrite) for ``api.train``.

    What an earlier process of this job has saved is gone on with, unless photos came or went since. Raises
    NerfsceneError if ``more`` is asked of a scene of other photos.
    """
    folder = task.at.scene
    if not scenes.is_scene(folder):
        return False, False
    known = read_json(folder / scenes.SOURCE)
    same = not known or known == fingerprint(task.at.photos)
    if task.job.options.get("more"):
        if not same:
            raise NerfsceneError(
                "photos were added or removed since this scene was trained; to use them, train it from "
                "the start"
            )
        return True, False
    own = _saved_at(folder) > task.job.created
    if own and not same:
        task.line.warn("Photos were added or removed meanwhile, so the training began again.")
    return (True, False) if own and same else (False, True)


def _field_of(folder: Path) -> FieldConfig:
    """What a scene's field was begun with: it can also come from elsewhere than this server."""
    known = {f.name for f in fields(FieldConfig)}
    begun = scenes.read_figures(folder).settings.get("field", {})
    return FieldConfig(**{k: v for k, v in begun.items() if k in known})


def _saved_at(folder: Path) -> float:
    """When training last saved a scene; cropping it doesn't count."""
    try:
        return (folder / scenes.FIELD_FILE).stat().st_mtime
    except OSError:
        return 0.0


def tidy(task: Task) -> None:
    """After a stop: removes what is no scene yet, and what was half-written in an older scene's folder."""
    if not scenes.is_scene(task.at.scene):
        shutil.rmtree(task.at.scene, ignore_errors=True)
        task.at.now.unlink(missing_ok=True)
        return
    for partial in (task.at.scene / "poses").glob("*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


class _Run:
    """What the training tells, in words and pictures, and how it is stopped."""

    def __init__(self, task: Task, config: TrainConfig) -> None:
        self.task, self.config = task, config
        self.control = Control(started=self._started)
        self.pictures = NowPictures(task.at.now, config.backend, task.threads, budget(config)[0])
        self.began_with: float | None = None  # seconds of training before this process
        self.after = max(AFTER * min(budget(config)[0], 1e5), AFTER_LEAST)
        self.trained_at: float | None = None

    def _started(self, scene: Scene) -> None:
        self.pictures.started(scene)
        self.task.line.stopped = self._stop

    def _stop(self) -> None:
        """Ends the training with the scene so far, which is then measured and shown."""
        self.control.stop = True

    def heard(self, p: Progress) -> None:
        """Called by the training with how far it is."""
        if not p.step:
            # Where the cameras are sought nobody knows how long the rest takes.
            self.task.line.progress(p.stage, p.fraction, self.remaining() if self.trained_at else None)
            return
        self.task.line.progress(p.stage, p.fraction, p.remaining + self.after)
        self.trained_at = time.monotonic()
        if self.began_with is None:
            self.began_with = p.seconds
        self.pictures.trained(p.seconds - self.began_with)

    def remaining(self) -> float | None:
        """Seconds that are left after the last step, as far as anyone knows."""
        if self.trained_at is None:
            return None
        left = self.after - (time.monotonic() - self.trained_at)
        return left if left > 1 else None

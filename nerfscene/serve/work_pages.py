"""Pictures for the gallery and the page to send, for the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from nerfscene.config import CredentialsConfig, PageConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.page import page_of
from nerfscene.exporters.share import share
from nerfscene.exporters.told import Told
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.serve.pictures import gallery_pictures
from nerfscene.serve.task import Ended, Task, is_full
from nerfscene.serve.work_films import path_of

LIMIT = "20MB"


def page(task: Task) -> Ended:
    """Makes the page again, and the pictures with it. Raises NerfsceneError if that can't be."""
    settings_of(task)  # wrong ones are told at once
    scene = scenes.load(task.at.scene)
    _pictures(task, scene, lambda: None)
    _page(task, scene, lambda: None)
    return Ended("done", {"files": ["page/index.html"]})


def make_pages(task: Task, scene: Scene, remaining: Callable[[], float | None]) -> None:
    """The pictures and the page of a scene that has just been trained.

    What can't be made is told: a scene without a page is still a scene. A full disk is raised.
    """
    for make, what in ((_pictures, "The pictures for the gallery"), (_page, "The page to send")):
        try:
            make(task, scene, remaining)
        except (NerfsceneError, OSError) as error:
            if is_full(error):
                raise
            task.line.warn(f"{what} could not be made: {error}.")


def _pictures(task: Task, scene: Scene, remaining: Callable[[], float | None]) -> None:
    def told(done: float) -> None:
        task.line.progress("taking pictures", done, remaining())

    gallery_pictures(scene, task.at, "auto", task.threads, told)


def settings_of(task: Task) -> PageConfig:
    """The page's settings: the job's, if that is for a page. Raises NerfsceneError for wrong ones."""
    known = {f.name for f in fields(PageConfig)}
    chosen: dict[str, Any] = {"title": task.scene.title, "limit": LIMIT}
    if task.job.kind == "page":
        chosen |= {k: v for k, v in task.job.options.items() if k in known}
    chosen["path"] = path_of(task, chosen.get("path", "auto"))
    return replace(page_of(task.at.scene, PageConfig(**chosen)), threads=task.threads)


def _page(task: Task, scene: Scene, remaining: Callable[[], float | None]) -> None:
    def told(stage: str, done: float) -> None:
        task.line.progress(stage, done, remaining())

    # Of the page that a training makes nobody has chosen anything that a warning could be about.
    warn = task.line.warn if task.job.kind == "page" else lambda message: None
    share(scene, task.at.page, settings_of(task), Told(told, warn), CredentialsConfig())

"""A server's folder with people and scenes, and jobs done in this process or in processes of their own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nerfscene.config import ServeConfig
from nerfscene.serve import jobs, people, scenes, shop, work
from nerfscene.serve.jobs import Job
from nerfscene.serve.scenes import Places, SceneRow
from nerfscene.serve.shop import Shop
from nerfscene.serve.task import Ended, Task


def a_shop(folder: Path, **settings: Any) -> Shop:
    """A server's folder; settings: of ServeConfig."""
    return shop.opened(folder / "data", ServeConfig(**{"threads": 1, "spare": "0", **settings}))


def a_person(opened: Shop, name: str = "") -> str:
    """The id of the first person, or of one who is invited."""
    first = people.first_person(opened.db)
    return people.invited(opened.db, first, name, "owner")[0].id if name else first.id


def a_scene(opened: Shop, photos: Path | None = None, trained: Path | None = None) -> SceneRow:
    """A scene of the first person with copies of what is in ``photos``, and of a trained scene's folder."""
    row = scenes.new_scene(opened.db, opened.data, a_person(opened), "A room / of mine", {})
    at = places(opened, row)
    if photos is not None:
        shutil.copytree(photos, at.photos, dirs_exist_ok=True)
    if trained is not None:
        shutil.copytree(trained, at.scene)
    return row


def places(opened: Shop, row: SceneRow) -> Places:
    return scenes.places(opened.data, row.id)


def begun(opened: Shop, row: SceneRow, kind: jobs.Kind, **options: Any) -> Task:
    """A job that has been begun, for this process to do."""
    added = jobs.add(opened.db, row.id, row.person, kind, options)
    job = jobs.begin_next(opened.db, "here")
    assert job is not None and job.id == added.id
    task = work._task(opened, job.id)
    assert task is not None
    return task


def done_here(task: Task) -> Ended:
    """Does a job in this process, without a line to a server."""
    return work.here(task)


def wait_for(true: Callable[[], object], seconds: float = 300) -> None:
    """Waits until something is so. The time only keeps a broken test from waiting for ever."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.05)


def state_of(opened: Shop, job: Job) -> str:
    return jobs.job_of(opened.db, job.id).state

"""The process of one job: ``python -m nerfscene.serve.work DATA JOB [SETTINGS]``.

SETTINGS: fields of ``config.ServeConfig`` as JSON; its usual ones without. Whoever starts it begins the job
first (``jobs.begin_next``) and holds the other end of its standard input; see ``line.Line`` for how the two
talk, and the exit codes for how it ended. It sets the job's state itself, unless it leaves to wait again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.loading import loading
from nerfscene.scene.folder_lock import only_one
from nerfscene.serve import jobs, scenes, shop
from nerfscene.serve.line import Line
from nerfscene.serve.task import Ended, Task, for_owner, is_full

ENDED = 0  # the exit code once its state is set; else jobs.LEFT or jobs.FULL
NICER = 10  # by how much the system prefers the pages to the work
PREDECESSOR = 60.0  # seconds that an earlier process of the job, whose server was killed, gets to end
NO_ROOM = "the server's disk is full; this goes on when there is room again"
WHAT = {"train": "", "film": "The film of ", "export": "The export of ", "page": "The page of "}
NOTES = {"done": "is ready", "failed": "failed", "stopped": "was stopped"}


def main(words: list[str]) -> int:
    """Does one job; returns the exit code."""
    data, job = Path(words[0]), words[1]
    settings = json.loads(words[2]) if len(words) > 2 else {}
    if hasattr(os, "nice"):
        os.nice(NICER)
    opened = shop.opened(data, ServeConfig(**settings))
    with _alone(scenes.places(data, jobs.job_of(opened.db, job).scene).home, job):
        task = _task(opened, job)
        if task is None:
            return ENDED
        try:
            do = _doing(task)  # loaded before anything interrupts
            with task.line:
                ended = do(task)
            return _ends(task, ended.state, result=ended.result)
        except KeyboardInterrupt:
            return _interrupted(task)
        except (NerfsceneError, OSError, sqlite3.Error) as error:
            if is_full(error):
                traceback.print_exc()
                with contextlib.suppress(sqlite3.Error):
                    jobs.left(opened.db, job, NO_ROOM)
                return jobs.FULL
            _tidy(task)
            return _ends(task, "failed", for_owner(task, str(error)))
        except Exception as error:
            traceback.print_exc()
            if task.line.interrupted:  # some modules make another error of it
                return _interrupted(task)
            _tidy(task)
            why = f"an error of nerfscene itself stopped this ({type(error).__name__}: {error})"
            return _ends(task, "failed", for_owner(task, why))


@contextlib.contextmanager
def _alone(home: Path, job: str) -> Iterator[None]:
    """Waits until no other process does this job."""
    until = time.monotonic() + PREDECESSOR
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(only_one(home, jobs.lock_of(job), "working in"))
                break
            except NerfsceneError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
        yield


def _task(opened: shop.Shop, job: str) -> Task | None:
    """What is to be done; None if it isn't to be done any more."""
    found = jobs.job_of(opened.db, job)
    if found.state != "running":
        return None
    scene = scenes.scene_of(opened.db, found.scene)
    longest = float("inf") if found.kind == "train" else opened.config.longest

    def at_worst() -> None:  # in the line's thread
        os._exit(_interrupted(task))

    line = Line(opened.db, job, longest, at_worst)
    task = Task(opened, found, scene, scenes.places(opened.data, scene.id), line)
    return task


def _doing(task: Task) -> Callable[[Task], Ended]:
    """What does the job, here or on the cluster."""
    if not task.shop.config.ray:
        return _work_of(task)[0]
    with loading():
        from nerfscene.serve import ray_jobs, work

    # By the module's own name, which the cluster knows; here it may be __main__.
    return functools.partial(ray_jobs.worked, work=work.here)


def here(task: Task) -> Ended:
    """Does the job in this process, which is another machine's or a test's."""
    return _work_of(task)[0](task)


def _work_of(task: Task) -> tuple[Callable[[Task], Ended], Callable[[Task], None]]:
    """What does a kind of job, and what tidies up if it doesn't get done."""
    with loading():
        if task.job.kind == "train":
            from nerfscene.serve import work_train

            pair = work_train.train, work_train.tidy
        elif task.job.kind == "film":
            from nerfscene.serve import work_films

            pair = work_films.film, work_films.tidy
        elif task.job.kind == "export":
            from nerfscene.serve import work_exports

            pair = work_exports.export, work_exports.tidy
        else:
            from nerfscene.serve import work_pages

            pair = work_pages.page, lambda task: None
    return pair


def _tidy(task: Task) -> None:
    with contextlib.suppress(OSError):
        _work_of(task)[1](task)


def _interrupted(task: Task) -> int:
    """Ends a job that was interrupted as is wanted of it; returns the exit code."""
    wanted, db, job = task.line.wanted, task.shop.db, task.job.id
    if wanted == "pause":
        if task.job.kind == "export":  # begins again, unlike films and trainings
            _tidy(task)
        jobs.end(db, job, "paused", result=_result(task, {}))
        return ENDED
    if wanted == "stop":
        _tidy(task)
        return _ends(task, "stopped")
    if wanted == "too long":
        _tidy(task)
        most = f"{task.shop.config.longest:.0f} s"
        return _ends(task, "failed", f"this took longer than the {most} allowed here; ask for less")
    with contextlib.suppress(sqlite3.Error):
        jobs.left(db, job)
    return jobs.LEFT


def _ends(task: Task, state: jobs.State, message: str = "", result: dict[str, object] | None = None) -> int:
    """Sets the state, and leaves a note for the owner. message: why it failed; else the warnings."""
    db = task.shop.db
    said = message or " ".join(for_owner(task, text).rstrip(".") + "." for text in task.line.warnings)
    jobs.end(db, task.job.id, state, said, _result(task, result or {}))
    why = f": {message}" if message else ""
    title = scenes.scene_of(db, task.scene.id).title
    scenes.note(db, task.job.person, task.scene.id, f"{WHAT[task.job.kind]}{title} {NOTES[state]}{why}")
    return ENDED


def _result(task: Task, made: dict[str, object]) -> dict[str, object]:
    warnings = [for_owner(task, text) for text in task.line.warnings]
    return {**made, "warnings": warnings} if warnings else made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

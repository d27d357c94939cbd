"""The work that people asked for, its states, and whose turn it is.

A job waits, runs, and ends as done, failed or stopped. A paused job waits for its owner to go on. ``wanted``
is what its owner asked of a running one ("pause" or "stop"), which the working process reads.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from typing import Any, Literal

from nerfscene.errors import NerfsceneError
from nerfscene.serve.database import Database, new_id
from nerfscene.serve.limits import not_too_many

Kind = Literal["train", "film", "export", "page"]
State = Literal["waiting", "running", "paused", "done", "failed", "stopped"]
UNFINISHED = ("waiting", "running", "paused")
MOST_TRIES = 5  # of a job whose process ends without a word


class NotNow(NerfsceneError):
    """Something can't be done as things are, but could be at another time."""


@dataclass(frozen=True)
class Job:
    """One piece of work on a scene.

    options: of its kind, as JSON; wanted: "", "pause" or "stop"; stage, fraction (0…1), remaining (seconds,
    or None): how far it is; message: one sentence on why it failed, or what to know; result: what it made;
    tries: how often it was begun; place: what runs it; created, started, ended: seconds since 1970.
    """

    id: str
    scene: str
    person: str
    kind: Kind
    options: dict[str, Any]
    state: State
    wanted: str
    stage: str
    fraction: float
    remaining: float | None
    message: str
    result: dict[str, Any]
    tries: int
    place: str
    created: float
    started: float | None
    ended: float | None


def add(db: Database, scene: str, person: str, kind: Kind, options: dict[str, Any]) -> Job:
    """A new job, waiting. Raises NerfsceneError for a second training of a scene, or for too many jobs."""
    job = new_id()
    with db.change() as c:
        not_too_many(c, "jobs", person)
        if kind == "train" and _unfinished(c, scene, "train"):
            raise NotNow("this scene is already being trained; stop that first, or wait for it")
        c.execute(
            "insert into jobs (id, scene, person, kind, options, state, created) "
            "values (?, ?, ?, ?, ?, 'waiting', ?)",
            (job, scene, person, kind, json.dumps(options), time.time()),
        )
    return job_of(db, job)


def _unfinished(c: sqlite3.Connection, scene: str, kind: str) -> bool:
    row = c.execute(
        "select 1 from jobs where scene = ? and kind = ? and state in ('waiting', 'running', 'paused')",
        (scene, kind),
    ).fetchone()
    return row is not None


def job_of(db: Database, job: str) -> Job:
    """The job with this id. Raises NerfsceneError if there is none."""
    row = db.row("select * from jobs where id = ?", (job,))
    if row is None:
        raise NerfsceneError("there is no such job; look for its scene in the gallery")
    return _job(row)


def jobs_of(db: Database, scene: str) -> list[Job]:
    """A scene's jobs, the newest first."""
    return [_job(r) for r in db.rows("select * from jobs where scene = ? order by created desc", (scene,))]


def waiting(db: Database) -> list[Job]:
    """Jobs that wait, in the order in which they will be begun if none comes or ends."""
    with db.change() as c:
        return _in_turn(c)


def begin_next(db: Database, place: str) -> Job | None:
    """Begins the job whose turn it is, and returns it; None if none waits. place: what will run it."""
    with db.change() as c:
        queue = _in_turn(c)
        if not queue:
            return None
        c.execute(
            "update jobs set state = 'running', wanted = '', tries = tries + 1, place = ?, started = ?, "
            "message = '' where id = ?",
            (place, time.time(), queue[0].id),
        )
        row = c.execute("select * from jobs where id = ?", (queue[0].id,)).fetchone()
    return _job(row)


def _in_turn(c: sqlite3.Connection) -> list[Job]:
    """People take turns: first whose jobs run least now, then whose last one began longest ago."""
    found = [_job(r) for r in c.execute("select * from jobs where state = 'waiting' order by created, id")]
    running: dict[str, int] = {}
    last: dict[str, float] = {}
    for row in c.execute("select person, state, started from jobs where started is not null"):
        running[row["person"]] = running.get(row["person"], 0) + (row["state"] == "running")
        last[row["person"]] = max(last.get(row["person"], 0.0), row["started"])
    queue: list[Job] = []
    while found:
        job = min(found, key=lambda j: (running.get(j.person, 0), last.get(j.person, 0.0), j.created))
        found.remove(job)
        queue.append(job)
        last[job.person] = time.time() + len(queue)  # as if it were begun in its turn
    return queue


def tell(db: Database, job: str, stage: str, fraction: float, remaining: float | None = None) -> str:
    """Keeps how far a running job is; returns what its owner wants of it: "", "pause" or "stop"."""
    with db.change() as c:
        c.execute(
            "update jobs set stage = ?, fraction = ?, remaining = ? where id = ?",
            (stage, fraction, remaining, job),
        )
        row = c.execute("select wanted from jobs where id = ?", (job,)).fetchone()
    return "" if row is None else str(row["wanted"])


def end(
    db: Database, job: str, state: State, message: str = "", result: dict[str, Any] | None = None
) -> None:
    """Ends a running job, or pauses it. result: what it made, as JSON; kept as it was if None."""
    with db.change() as c:
        c.execute(
            "update jobs set state = ?, message = ?, result = coalesce(?, result), wanted = '', place = '', "
            "ended = ?, remaining = null where id = ?",
            (state, message, None if result is None else json.dumps(result), time.time(), job),
        )


def back_in_queue(db: Database, job: str, message: str = "") -> None:
    """Lets a job whose process ended without a word wait again; gives it up after MOST_TRIES."""
    with db.change() as c:
        c.execute(
            "update jobs set state = case when tries >= ? then 'failed' else 'waiting' end, message = ?, "
            "place = '' where id = ? and state = 'running'",
            (MOST_TRIES, message, job),
        )


def ask(db: Database, job: str, wanted: Literal["pause", "stop"]) -> None:
    """Asks a job to pause or to stop: at once if it doesn't run, else as soon as its process hears it."""
    ended: State = "paused" if wanted == "pause" else "stopped"
    with db.change() as c:
        c.execute("update jobs set wanted = ? where id = ? and state = 'running'", (wanted, job))
        c.execute(
            "update jobs set state = ?, ended = ? where id = ? and state in ('waiting', 'paused')",
            (ended, time.time(), job),
        )


def go_on(db: Database, job: str) -> None:
    """Lets a paused, stopped or failed job wait for its turn again; it goes on from what it saved.

    Raises NerfsceneError if the scene is being trained by another job.
    """
    with db.change() as c:
        row = c.execute("select * from jobs where id = ?", (job,)).fetchone()
        if row is None or row["state"] not in ("paused", "stopped", "failed"):
            return
        if row["kind"] == "train" and row["state"] != "paused" and _unfinished(c, row["scene"], "train"):
            raise NotNow("this scene is already being trained; stop that first, or wait for it")
        c.execute(
            "update jobs set state = 'waiting', wanted = '', tries = 0, ended = null where id = ?", (job,)
        )


def _job(row: Any) -> Job:
    values = dict(row)
    return Job(**{**values, "options": json.loads(values["options"]), "result": json.loads(values["result"])})

"""The work that people asked for, its states, and whose turn it is.

A job waits, runs, and ends as done, failed or stopped. A paused job waits for its owner to go on. ``wanted``
is what its owner asked of a running one ("pause" or "stop"), which the working process reads.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from nerfscene.errors import NerfsceneError
from nerfscene.serve.database import Database, new_id
from nerfscene.serve.limits import not_too_many

Kind = Literal["train", "film", "export", "page"]
State = Literal["waiting", "running", "paused", "done", "failed", "stopped"]
UNFINISHED = ("waiting", "running", "paused")
LEFT, FULL = 75, 74  # exit codes of a job's process that is to wait again; FULL: because of a full disk
MOST_TRIES = 5  # of a job whose process ends without a word
TWICE = 3.0  # seconds in which the same job, asked for again, is a second press or a repeated request


class NotNow(NerfsceneError):
    """Something can't be done as things are, but could be at another time."""


@dataclass(frozen=True)
class Job:
    """One piece of work on a scene.

    options: of its kind, as JSON; wanted: "", "pause" or "stop"; stage, fraction (of this stage, 0…1),
    remaining (seconds for the whole job, or None where nobody knows): how far it is; message: one sentence on
    why it failed, or what to know; result: what it made; tries: how often it was begun; place: what runs it;
    created, started, ended: seconds since 1970.
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
    """A new job, waiting; or, if it is asked for twice within moments, the one that there is.

    Raises NerfsceneError for a second training of a scene, or for too many jobs.
    """
    job = new_id()
    with db.change() as c:
        same = c.execute(
            "select id from jobs where scene = ? and person = ? and kind = ? and options = ? "
            "and state in ('waiting', 'running') and wanted = '' and created > ?",
            (scene, person, kind, json.dumps(options), time.time() - TWICE),
        ).fetchone()
        if same is not None:
            return _job(c.execute("select * from jobs where id = ?", (same["id"],)).fetchone())
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


def is_known(db: Database, job: str) -> bool:
    """Whether a job is there, and wasn't removed."""
    return db.row("select 1 from jobs where id = ?", (job,)) is not None


def jobs_of(db: Database, scene: str) -> list[Job]:
    """A scene's jobs, the newest first."""
    return [_job(r) for r in db.rows("select * from jobs where scene = ? order by created desc", (scene,))]


def waiting(db: Database) -> list[Job]:
    """Jobs that wait, in the order in which they will be begun if none comes or ends.

    Those of scenes in the bin are not among them.
    """
    return _in_turn(db.rows)


def running(db: Database) -> list[Job]:
    """Jobs that run, or whose process ended while no server noticed."""
    return [_job(r) for r in db.rows("select * from jobs where state = 'running'")]


def some_wait(db: Database) -> bool:
    """Whether a job waits; cheap, so that it can be asked all the time."""
    return db.row("select 1 from jobs where state = 'waiting' limit 1") is not None


def begin_next(db: Database, place: str) -> Job | None:
    """Begins the job whose turn it is, and returns it; None if none can begin. place: what will run it.

    Jobs of scenes in the bin wait until these are taken out. What trains a scene or makes its page waits for
    another such job of the scene.
    """
    with db.change() as c:
        busy = {
            row["scene"]
            for row in c.execute(
                "select scene from jobs where state = 'running' and kind in ('train', 'page')"
            )
        }
        queue = _in_turn(lambda sql: c.execute(sql).fetchall())
        job = next((j for j in queue if not (j.scene in busy and _alone(j))), None)
        if job is None:
            return None
        c.execute(
            "update jobs set state = 'running', wanted = '', tries = tries + 1, place = ?, started = ?, "
            "message = '' where id = ?",
            (place, time.time(), job.id),
        )
        row = c.execute("select * from jobs where id = ?", (job.id,)).fetchone()
    return _job(row)


def _alone(job: Job) -> bool:
    return job.kind in ("train", "page")


def _in_turn(rows: Callable[[str], list[sqlite3.Row]]) -> list[Job]:
    """People take turns: first whose jobs run least now, then whose last one began longest ago.

    Nobody waits for ever: whoever has jobs running goes first again when these end, and among equals each
    job that is begun puts its person last.
    """
    theirs: dict[str, deque[Job]] = {}
    waiting = rows(
        "select jobs.* from jobs join scenes on scenes.id = scene where state = 'waiting' "
        "and deleted is null order by jobs.created, jobs.id"
    )
    for row in waiting:
        job = _job(row)
        theirs.setdefault(job.person, deque()).append(job)
    known = rows(
        "select person, sum(state = 'running') as busy, max(started) as last from jobs "
        "where started is not null group by person"
    )
    before = {row["person"]: (int(row["busy"]), float(row["last"])) for row in known}
    turns = [(*before.get(person, (0, 0.0)), own[0].created, person) for person, own in theirs.items()]
    heapq.heapify(turns)
    queue: list[Job] = []
    while turns:
        busy, last, _, person = turns[0]
        queue.append(theirs[person].popleft())
        if theirs[person]:  # as if it were begun in its turn
            last = max(last, time.time()) + len(queue)
            heapq.heapreplace(turns, (busy, last, theirs[person][0].created, person))
        else:
            heapq.heappop(turns)
    return queue


def tell(db: Database, job: str, stage: str, fraction: float, remaining: float | None = None) -> str:
    """Keeps how far a running job is; returns what is wanted of it.

    "": to go on. "pause" or "stop": what its owner asks. "leave": to save and leave, and wait in the queue,
    because its scene was put into the bin.
    """
    with db.change() as c:
        c.execute(
            "update jobs set stage = ?, fraction = ?, remaining = ? where id = ?",
            (stage, fraction, remaining, job),
        )
        row = c.execute(
            "select wanted, deleted from jobs join scenes on scenes.id = scene where jobs.id = ?", (job,)
        ).fetchone()
    if row is None:
        return "leave"
    return str(row["wanted"]) or ("leave" if row["deleted"] is not None else "")


def end(
    db: Database, job: str, state: State, message: str = "", result: dict[str, Any] | None = None
) -> None:
    """Ends a running job, or pauses it. result: what it made, as JSON; kept as it was if None."""
    with db.change() as c:
        c.execute(
            "update jobs set state = ?, message = ?, result = coalesce(?, result), wanted = '', place = '', "
            "fraction = case when ? = 'done' then 1 else fraction end, ended = ?, remaining = null "
            "where id = ?",
            (state, message, None if result is None else json.dumps(result), state, time.time(), job),
        )


def back_in_queue(db: Database, job: str, message: str = "") -> None:
    """Lets a job whose process ended without a word wait again; gives it up after MOST_TRIES.

    What its owner has asked of it meanwhile is done instead. message: why; what was said before stays if "".
    """
    with db.change() as c:
        c.execute(
            "update jobs set state = case when wanted = 'stop' then 'stopped' when wanted = 'pause' then "
            "'paused' when tries >= ? then 'failed' else 'waiting' end, wanted = '', place = '', "
            "remaining = null, message = case when ? = '' then message else ? end where id = ? and "
            "state = 'running'",
            (MOST_TRIES, message, message, job),
        )
        c.execute(
            "update jobs set ended = ? where id = ? and state in ('failed', 'stopped')", (time.time(), job)
        )


def left(db: Database, job: str, message: str = "") -> None:
    """Says, before its process ends, that a running job leaves on purpose: that counts as no try.

    Whoever runs it then puts it ``back_in_queue``. message: why, as one sentence.
    """
    with db.change() as c:
        c.execute(
            "update jobs set tries = max(tries - 1, 0), message = ? where id = ? and state = 'running'",
            (message, job),
        )


def lock_of(job: str) -> str:
    """The name of the file in its scene's home that a job's process has locked."""
    return f".{job}.lock"


def remove(db: Database, job: str) -> Job:
    """Forgets a job, and returns it; its files are the caller's. Raises NotNow if it is under way."""
    found = job_of(db, job)
    if found.state in UNFINISHED:
        raise NotNow("this is still under way; stop it first")
    with db.change() as c:
        c.execute("delete from jobs where id = ?", (job,))
    return found


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

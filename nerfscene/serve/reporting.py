"""How the process that works on a job and the server hear of each other, and of nothing else.

On this machine both open the server's database. Elsewhere they must not: SQLite's log is shared memory, which
no network file system has (https://www.sqlite.org/wal.html). There ``ray_jobs`` carries the same words.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Protocol

from nerfscene.serve.database import Database
from nerfscene.serve.jobs import Job, State


class NotOurs(Exception):
    """The job has been given to another process, or was ended: this one must leave without a change."""


class Reporter(Protocol):
    """What a working process says of its job."""

    def tell(self, stage: str, fraction: float, remaining: float | None = None) -> str:
        """Says how far the job is; returns what its owner wants of it: "", "pause" or "stop".

        stage: in words; fraction: 0…1; remaining: seconds, or None. Raises NotOurs.
        """

    def end(self, state: State, message: str = "", result: dict[str, Any] | None = None) -> None:
        """Ends or pauses the job. result: what it made, as JSON; kept as it was if None. Raises NotOurs."""


@dataclass(frozen=True)
class DatabaseReporter:
    """Reports of one run of a job: ``job`` as ``jobs.begin_next`` returned it, running.

    When the job has been begun again since then, this run may not touch it any more: a process that was taken
    for dead, and comes back, finds out here.
    """

    db: Database
    job: Job

    def tell(self, stage: str, fraction: float, remaining: float | None = None) -> str:
        with self.db.change() as c:
            done = c.execute(
                "update jobs set stage = ?, fraction = ?, remaining = ? "
                "where id = ? and state = 'running' and started = ?",
                (stage, fraction, remaining, self.job.id, self.job.started),
            )
            self._check(done.rowcount)
            row = c.execute("select wanted from jobs where id = ?", (self.job.id,)).fetchone()
        return str(row["wanted"])

    def end(self, state: State, message: str = "", result: dict[str, Any] | None = None) -> None:
        with self.db.change() as c:
            done = c.execute(
                "update jobs set state = ?, message = ?, result = coalesce(?, result), wanted = '', "
                "place = '', ended = ?, remaining = null where id = ? and state = 'running' and started = ?",
                (
                    *(state, message, None if result is None else json.dumps(result)),
                    *(time.time(), self.job.id, self.job.started),
                ),
            )
            self._check(done.rowcount)

    def _check(self, changed: int) -> None:
        if not changed:
            raise NotOurs(f"job {self.job.id} is not this process's any more")

"""Runs the jobs that wait, each in a process of its own.

The queue is the table of jobs itself. A queue of a library (huey) beside it was tried on paper and left out:
it takes a job off its list when a worker gets it, so that a killed server forgets it; it knows no turns
between people; and its consumer wants the process's signals. All of that would have to be kept in the table
all the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from types import TracebackType

from nerfscene.errors import NerfsceneError
from nerfscene.scene.folder_lock import holder_of, only_one
from nerfscene.serve import jobs, webhooks
from nerfscene.serve.jobs import Job
from nerfscene.serve.scenes import empty_bin, note, places, scene_of
from nerfscene.serve.shop import Shop, queue_pause

log = logging.getLogger(__name__)
POLL = 0.5  # seconds between looks at the table and the processes
LEAVING = 90.0  # seconds that processes get to save and leave
ORPHANED = 45.0  # seconds that those of a killed server get to notice that
FULL_PAUSE = 60.0  # seconds without a new job after one found the disk full
HOUSEKEEPING = 600.0  # seconds between two looks into the bin
LOG = "work.log"  # in a scene's home: what its last job's process printed


class Queue:
    """Begins jobs while it is open. A context manager: at its end running jobs save what they have.

    One thread looks after all. Jobs whose server was killed go on from what they had saved.
    """

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._orphans: dict[str, float] | None = None  # job → when it is killed, by time.monotonic
        self._not_before = self._tidied = float("-inf")
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="nerfscene-queue", daemon=True)

    def __enter__(self) -> Queue:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        """Looks at the table at once, instead of within POLL seconds."""
        self._wake.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            for step in (self._recover, self._reap, self._begin, self._tidy):
                try:
                    step()
                except (sqlite3.Error, OSError, NerfsceneError):  # a full disk, a busy table: try again
                    log.exception("the queue could not do a step; it will try again")
            self._wake.wait(POLL)
            self._wake.clear()
        self._let_go()

    # --- beginning --------------------------------------------------------------------------------

    def _begin(self) -> None:
        while len(self._processes) < self.shop.config.jobs and not self._closing.is_set():
            if time.monotonic() < self._not_before or not jobs.some_wait(self.shop.db):
                return
            if queue_pause(self.shop):
                return
            job = jobs.begin_next(self.shop.db, socket.gethostname())
            if job is None:
                return
            try:
                self._processes[job.id] = self._start(job)
            except OSError as error:
                jobs.back_in_queue(self.shop.db, job.id, f"no process could be started ({error.strerror})")
                raise

    def _start(self, job: Job) -> subprocess.Popen[bytes]:
        settings = json.dumps(dataclasses.asdict(self.shop.config))
        words = [sys.executable, "-m", "nerfscene.serve.work", str(self.shop.data), job.id, settings]
        home = places(self.shop.data, job.scene).home
        home.mkdir(parents=True, exist_ok=True)
        with (home / LOG).open("wb") as printed:
            # A session of its own keeps Ctrl-C from it. The closing of its input, which the system does
            # however this process ends, tells it to save and leave.
            return subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=printed, stderr=printed, start_new_session=True
            )

    # --- ending -----------------------------------------------------------------------------------

    def _reap(self) -> None:
        for job, process in list(self._processes.items()):
            code = process.poll()
            if code is not None:
                self._close(process)
                del self._processes[job]
                self._after(job, code)

    def _after(self, job: str, code: int) -> None:
        """Interprets the end of a job's process."""
        if code == jobs.FULL:
            self._not_before = time.monotonic() + FULL_PAUSE
        db = self.shop.db
        if not jobs.is_known(db, job):  # its owner has removed it as soon as it had ended
            return
        if jobs.job_of(db, job).state == "running":
            jobs.back_in_queue(db, job, "" if code in (jobs.LEFT, jobs.FULL) else _why(code))
            found = jobs.job_of(db, job)
            if found.state == "failed":
                title = scene_of(db, found.scene).title
                note(db, found.person, found.scene, f"{title} failed: {found.message}")
        found = jobs.job_of(db, job)
        if found.state in ("done", "failed", "stopped"):
            webhooks.tell_in_background(self.shop, found)

    def _let_go(self) -> None:
        """Has all processes save and leave, and waits for them."""
        if any(process.poll() is None for process in self._processes.values()):
            log.warning("ending: what is under way is being saved, which can take a minute")
        for process in self._processes.values():
            self._close(process)
        until = time.monotonic() + LEAVING
        for process in self._processes.values():
            try:
                process.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        with contextlib.suppress(sqlite3.Error, OSError, NerfsceneError):
            self._reap()

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()

    # --- after a kill -----------------------------------------------------------------------------

    def _recover(self) -> None:
        """Lets jobs wait again whose server was killed, once their processes have ended."""
        if self._orphans is None:
            until = time.monotonic() + ORPHANED
            self._orphans = {job.id: until for job in jobs.running(self.shop.db)}
        for job in list(self._orphans):
            if not jobs.is_known(self.shop.db, job):
                del self._orphans[job]
                continue
            found = jobs.job_of(self.shop.db, job)
            if found.state == "running" and self._is_worked_on(found):
                if time.monotonic() > self._orphans[job]:
                    self._kill_holder(found)
                continue
            jobs.back_in_queue(self.shop.db, job)
            del self._orphans[job]

    def _is_worked_on(self, job: Job) -> bool:
        home = places(self.shop.data, job.scene).home
        if not home.is_dir():
            return False
        try:
            with only_one(home, jobs.lock_of(job.id)):
                return False
        except NerfsceneError:
            return True

    def _kill_holder(self, job: Job) -> None:
        holder = holder_of(places(self.shop.data, job.scene).home, jobs.lock_of(job.id))
        if holder is not None:
            with contextlib.suppress(OSError):
                os.kill(holder, signal.SIGKILL)

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied > HOUSEKEEPING:
            self._tidied = time.monotonic()
            empty_bin(self.shop.db, self.shop.data)


def _why(code: int) -> str:
    """Why a job's process ended without a word."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        hint = "; the server may be short of memory" if name == "SIGKILL" else ""
        return f"the process that worked on this was ended ({name}{hint})"
    return f"the process that worked on this ended by itself (exit code {code})"

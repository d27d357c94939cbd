"""Has uploads that have come checked, one after the other, and takes them into their scenes.

``checks`` looks at them in another process, which is started when there is something to check and ended when
there hasn't been for a while. People take turns, so that one person's thousand photos don't hold up another's
ten.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType

from nerfscene.serve import quota, receiving, taking
from nerfscene.serve.people import person_of
from nerfscene.serve.receiving import part_of, received
from nerfscene.serve.scenes import UploadedFile
from nerfscene.serve.shop import Shop
from nerfscene.serve.verdicts import Job, Verdict

IDLE = 30.0  # seconds without work after which the process is ended
SWEEP = 600.0  # seconds between two searches for what was given up
LONGEST = 120.0  # seconds that a photo may take
UNPACKED_A_SECOND = 2_000_000  # bytes of a zip, on a slow disk
MOST_DEATHS = 10  # of the process, by files in one zip
PATIENCE = 30.0  # seconds until another try, when the disk is full


class Closing(Exception):
    """The server ends."""


class Checking:
    """Checks what comes while it is open. A context manager; the next one checks what this one left."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._waiting: dict[str, deque[str]] = {}  # person → uploads; who was served last is last
        self._later: list[tuple[float, str, str]] = []  # when, person, upload
        self._news = threading.Condition()
        self._closing = False
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._swept = 0.0

    def __enter__(self) -> Checking:
        receiving.give_up_forms(self.shop)
        for row in self.shop.db.rows("select * from files where state = 'coming' order by created"):
            file = UploadedFile(**dict(row))
            # A file that isn't there was moved into its scene just before the server was killed.
            if received(self.shop, file) >= file.size or not part_of(self.shop, file.id).exists():
                self.put(file)
        self._thread = threading.Thread(target=self._work, name="checking", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            self._closing = True
            self._news.notify()
        while self._thread is not None and self._thread.is_alive():
            process = self._process  # the thread may just be starting one
            if process is not None:
                process.kill()
            self._thread.join(0.2)

    def put(self, file: UploadedFile) -> None:
        """Lets a whole upload wait for its turn."""
        with self._news:
            self._waiting.setdefault(file.person, deque()).append(file.id)
            self._news.notify()

    def _next(self) -> str | None:
        """The upload whose turn it is; None if there is none for IDLE seconds."""
        with self._news:
            if not self._waiting and not self._closing and self._swept:
                self._news.wait(min(IDLE, PATIENCE) if self._process or self._later else SWEEP)
            now = time.monotonic()
            for when, person, upload in [late for late in self._later if late[0] <= now]:
                self._later.remove((when, person, upload))
                self._waiting.setdefault(person, deque()).append(upload)
            if not self._waiting:
                return None
            person = next(iter(self._waiting))
            queue = self._waiting.pop(person)
            upload = queue.popleft()
            if queue:
                self._waiting[person] = queue
            return upload

    def _work(self) -> None:
        while not self._closing:
            upload = self._next()
            if upload is None:
                self._end_process()
            try:
                if upload is not None:
                    self._check(upload)
                if time.monotonic() - self._swept > SWEEP or not self._swept:
                    self._swept = time.monotonic()
                    receiving.sweep(self.shop)
            except Closing:
                break
            except (OSError, sqlite3.Error):  # above all a full disk
                if upload is not None:
                    self._try_later(upload)
            except Exception:  # a fault of ours must not stop what others upload
                traceback.print_exc()
        self._end_process()

    def _try_later(self, upload: str) -> None:
        with self._news, contextlib.suppress(sqlite3.Error):
            row = self.shop.db.row("select person from files where id = ?", (upload,))
            if row is not None:
                self._later.append((time.monotonic() + PATIENCE, row["person"], upload))

    def _check(self, upload: str) -> None:
        """Checks one upload, and ends it as whole or unusable."""
        row = self.shop.db.row("select * from files where id = ? and state = 'coming'", (upload,))
        if row is None:
            return
        file = UploadedFile(**dict(row))
        person = person_of(self.shop.db, file.person)
        job = taking.job_for(self.shop, file, person)
        if job is None:
            taking.lost(self.shop, file)
            return
        found: list[Verdict] = []
        for deaths in range(MOST_DEATHS):
            taking.drop_thumbnails(self.shop, file, found)
            found, reached = [], ""
            for verdict in self._answers(job):
                found.append(verdict)
                reached = verdict.name
            if found and found[-1].last:
                break
            if deaths:  # the first time, something else may have ended it
                job = replace(job, skipped=[*job.skipped, reached]) if reached else job
                if not reached:
                    break
        if not found or not found[-1].last:
            found = [*found, taking.deadly(file)]
        taking.take(self.shop, file, found)

    def _answers(self, job: Job) -> Iterator[Verdict]:
        """What the process finds; ends early if it dies, or is silent for too long."""
        if self._closing:
            raise Closing
        process = self._running()
        # Unpacking says nothing until it is done.
        longest = LONGEST + quota.size_on_disk(Path(job.path)) / UNPACKED_A_SECOND
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(asdict(job)) + "\n")
            process.stdin.flush()
            last = False
            while not last:
                timer = threading.Timer(longest, process.kill)
                timer.start()
                try:
                    line = process.stdout.readline()
                finally:
                    timer.cancel()
                if not line.endswith("\n"):
                    break
                verdict = Verdict(**json.loads(line))
                yield verdict
                last = verdict.last
            if last:
                return
        except (OSError, ValueError):  # it died before
            pass
        if self._closing:
            raise Closing
        self._end_process()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end_process()
            # One thread is enough, and each takes memory.
            few = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
            root = str(Path(__file__).parents[2])
            paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nerfscene.serve.checks"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
                env={**os.environ, **few, "PYTHONPATH": paths},
            )  # fmt: skip
        return self._process

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()

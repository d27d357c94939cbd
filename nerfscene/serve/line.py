"""What a job's process tells the server, and hears from it, while it works."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType

from nerfscene.serve import jobs
from nerfscene.serve.database import Database

TELL_EVERY = 0.5  # seconds
# Seconds in which the work must end once that is wanted. Where nothing is trained yet, COLMAP may not hear; a
# scene takes a while to save.
SOON, SAVED = 5.0, 90.0
ENDINGS = ("pause", "stop", "leave", "too long")


class Line:
    """A context manager around the work: tells how far it is twice a second, and ends it when asked to.

    The work is interrupted as by Ctrl-C, once: by a KeyboardInterrupt in the main thread. ``wanted`` says
    why, as one of ENDINGS; ``interrupted`` says whether that has happened. While ``stopped`` is set, it is
    called instead when the owner wants the work to stop.
    A thread of its own does all this, so that it goes on while COLMAP computes. If the work doesn't end soon,
    ``at_worst`` is called in that thread; it must end the process.

    The server holds the other end of this process's standard input: where that is closed, the server has
    ended, however that was, or wants this process to save what it has and leave.
    """

    def __init__(self, db: Database, job: str, longest: float, at_worst: Callable[[], None]) -> None:
        """longest: seconds after which the work is interrupted."""
        self.db, self.job, self.longest, self.at_worst = db, job, longest, at_worst
        self.wanted = ""
        self.stopped: Callable[[], None] | None = None
        self.warnings: list[str] = []
        self._now: tuple[str, float, float | None] = ("starting", 0.0, None)
        self._began = time.monotonic()
        self._asked, self.interrupted = 0.0, False
        self._left, self._over, self._guard = threading.Event(), threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._talk, name="nerfscene-line", daemon=True)

    def progress(self, stage: str, fraction: float, remaining: float | None = None) -> None:
        """stage: in words; fraction: of it, 0…1; remaining: seconds for the whole job, None: nobody knows."""
        self._now = (stage, min(max(float(fraction), 0.0), 1.0), remaining)

    def warn(self, message: str) -> None:
        """Keeps a sentence for the job's owner."""
        if message not in self.warnings:
            self.warnings.append(message)

    def __enter__(self) -> Line:
        threading.Thread(target=self._listen, name="nerfscene-server", daemon=True).start()
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, self._interrupt)
            # COLMAP, which is loaded by now, has its own answer to `kill`.
            signal.signal(signal.SIGTERM, lambda number, frame: self._left.set())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guard:
            self._over.set()
        self._thread.join()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Once only: a second one would cut off the saving that the first has begun."""
        if not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 1024):
                pass
        self._left.set()

    def _talk(self) -> None:
        while not self._over.is_set():
            wanted = self._exchange()
            if self._left.is_set():
                wanted = "leave"
            elif time.monotonic() - self._began > self.longest:
                wanted = "too long"
            with self._guard:
                if not self._over.is_set():
                    self._obey(wanted)
            self._over.wait(TELL_EVERY)

    def _exchange(self) -> str:
        """What is wanted, by the table."""
        try:
            return jobs.tell(self.db, self.job, *self._now)
        except sqlite3.Error:  # busy, or a full disk: the work itself will notice that
            return ""

    def _obey(self, wanted: str) -> None:
        if wanted and wanted != self.wanted:
            self.wanted = wanted
            if wanted == "stop" and self.stopped is not None:
                self.stopped()
            elif not self._asked:
                self._asked = time.monotonic()
                interrupt_main()
        elif self._asked:
            grace = SOON if self.stopped is None else SAVED
            if time.monotonic() - self._asked > grace:
                self.at_worst()


def interrupt_main() -> None:
    """Raises KeyboardInterrupt in the main thread, also where that waits for the system."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)

"""Where those who gave out work and those who do it leave word for each other.

The ``Desk`` runs as a Ray actor. A worker's ``Line`` calls it from a thread of its own twice a second, so
that the work itself never waits. A worker that hears nothing for LEASE seconds, or whose owner was silent
for so long, ends itself and saves nothing: its work may be another's by now.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any

LEASE = 60.0  # seconds: longer than a busy machine is silent, and than Ray waits for one that doesn't answer
EVERY = 0.5  # seconds between a worker's calls
ANSWER = 20.0  # seconds for one call
LEAVE = "leave"
CUT_OFF = 75  # exit code of a worker that ended itself


@dataclass
class Sheet:
    """Of one run: the newest report, lines to print, what is wanted, and when its owner last asked."""

    report: dict[str, Any] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)
    wanted: str = ""
    asked: float = field(default_factory=time.monotonic)


class Desk:
    """Keeps a sheet for each run that is under way; a run without one has been given to another worker."""

    def __init__(self) -> None:
        self.sheets: dict[str, Sheet] = {}

    def open(self, run: str) -> None:
        """Before the run begins."""
        self.sheets[run] = Sheet()

    def close(self, run: str) -> None:
        """After the run has ended, or is given up."""
        self.sheets.pop(run, None)

    def tell(self, run: str, report: dict[str, Any], lines: list[tuple[str, str]]) -> str:
        """A worker's call: what it reports and has to say since the last; returns what is wanted of it."""
        sheet = self.sheets.get(run)
        if sheet is None or time.monotonic() - sheet.asked > LEASE:
            return LEAVE
        sheet.report = report or sheet.report
        sheet.lines += lines
        return sheet.wanted

    def hear(self, run: str, wanted: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """The owner's call: what it wants of the worker; returns the newest report and the lines since."""
        sheet = self.sheets[run]
        sheet.asked = time.monotonic()
        sheet.wanted = wanted or sheet.wanted
        lines, sheet.lines = sheet.lines, []
        return sheet.report, lines


class Line:
    """A worker's line to the desk. A context manager; what was said has arrived when it ends.

    Reports are plain values. ``wanted`` is what the owner asked for last, "" for nothing.
    """

    def __init__(self, desk: Any, run: str) -> None:
        self.desk, self.run, self.wanted = desk, run, ""
        self._report: dict[str, Any] = {}
        self._lines: list[tuple[str, str]] = []
        self._guard, self._ends = threading.Lock(), threading.Event()
        self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="line", daemon=True)

    def __enter__(self) -> Line:
        self._call()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self._call()

    def tell(self, **report: Any) -> str:
        """Replaces the report; returns what is wanted. Never waits."""
        with self._guard:
            self._report = report
        return self.wanted

    def say(self, kind: str, text: str) -> None:
        """A line for the owner to print; kind: such as "warning"."""
        with self._guard:
            self._lines.append((kind, text))

    def _beat(self) -> None:
        while not self._ends.wait(EVERY):
            self._call()

    def _call(self) -> None:
        import ray
        from ray.exceptions import ActorDiedError, GetTimeoutError, RayError

        with self._guard:
            report, lines, self._lines = self._report, self._lines, []
        try:
            wanted = ray.get(self.desk.tell.remote(self.run, report, lines), timeout=ANSWER)
        except ActorDiedError:
            leave()
        except (GetTimeoutError, RayError):
            with self._guard:
                self._lines = lines + self._lines
            if time.monotonic() - self._heard > LEASE:
                leave()
        else:
            self._heard = time.monotonic()
            if wanted == LEAVE:
                leave()
            self.wanted = wanted


def leave() -> None:
    """Ends this process without saving anything: its work is another's by now."""
    with contextlib.suppress(OSError):
        os.write(2, b"nerfscene: this work was given to another machine\n")
    os._exit(CUT_OFF)

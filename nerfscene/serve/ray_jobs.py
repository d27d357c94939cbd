"""A job's work on a Ray cluster, where ``ServeConfig.ray`` names one.

The job's own process (``work``) stays on the server, as for any job: it alone opens the database, because
SQLite's log is shared memory, which no network file system has (https://www.sqlite.org/wal.html). It has the
work done by a process of the cluster, passes on what that reports and what is wanted of it, and sets how it
ended. The scene's files are written by the worker, in the data folder, which all machines see.
"""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from nerfscene.clusters.connecting import Cluster, connected
from nerfscene.clusters.desk import Line as Call
from nerfscene.clusters.runs import MOST_TRIES, Office, Outcome
from nerfscene.clusters.trainings import wait_for
from nerfscene.errors import NerfsceneError
from nerfscene.serve.line import interrupt_main
from nerfscene.serve.shop import Shop
from nerfscene.serve.task import Ended, Task

POLL = 0.3  # seconds between looks at the worker
LISTEN = 0.2  # seconds between a worker's looks at what is wanted
Work = Callable[[Task], Ended]


def worked(task: Task, work: Work) -> Ended:
    """As ``work(task)``, which is importable by name, but on the cluster.

    If a worker's process or machine dies, another goes on from what it saved. For the main thread.
    Raises what the work raises: NerfsceneError, and KeyboardInterrupt if it was interrupted.
    """
    with connected(task.shop.config.ray) as cluster:
        office = Office()
        for _ in range(MOST_TRIES):
            outcome = _Elsewhere(task, work, cluster, office).outcome()
            if outcome.state != "lost":
                break
    if outcome.state == "done":
        ended: Ended = outcome.value
        return ended
    if outcome.state == "stopped":
        raise KeyboardInterrupt
    if outcome.state == "lost":
        raise NerfsceneError(
            f"the cluster's process for this was lost {MOST_TRIES} times ({outcome.value}); look whether its "
            "machines are short of memory"
        )
    raise NerfsceneError(str(outcome.value))


class _Elsewhere:
    """One try."""

    def __init__(self, task: Task, work: Work, cluster: Cluster, office: Office) -> None:
        self.task = task
        backend = task.job.options.get("backend", "auto")
        needs = cluster.needs(task.threads, task.job.kind == "train" and backend in ("auto", "cuda"))
        config = dataclasses.replace(task.shop.config, threads=needs.cpus)
        nothing: Any = None
        shop = dataclasses.replace(task.shop, db=nothing, secret=b"", config=config)
        self.run = office.begin(_work, (work, shop, task.job, task.scene, task.at), needs)
        self.wanted = ""

    def outcome(self) -> Outcome:
        """Follows the worker to its end."""
        line = self.task.line
        line.progress("waiting for a machine of the cluster", 0.0)
        # ``line`` interrupts this process when something is wanted. Raised at any moment, that would end a
        # worker that has not saved.
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            while True:
                news = self.run.hear(self.wanted)
                if news.report:
                    line.progress(news.report["stage"], news.report["fraction"], news.report["remaining"])
                    line.stopped = self._stop if news.report["stoppable"] else None
                for _, text in news.lines:
                    line.warn(text)
                if news.outcome is not None:
                    lost = news.outcome.state == "lost" and self.wanted
                    return Outcome("stopped", "") if lost else news.outcome
                if self.wanted and self.wanted != "stop" and not news.report:  # it waits for a machine
                    return Outcome("stopped", "")
                time.sleep(POLL)
        finally:
            signal.signal(signal.SIGINT, before)
            self.run.give_up()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.wanted = "interrupt"

    def _stop(self) -> None:
        """Called by ``line`` when the work is to end with what it has."""
        self.wanted = self.wanted or "stop"


def _work(call: Call, work: Work, shop: Shop, job: Any, scene: Any, at: Any) -> Ended:
    """What runs on the worker."""
    if not at.home.is_dir():
        raise NerfsceneError("a machine of the cluster doesn't see the server's folder at the same path")
    with RemoteLine(call) as line:
        wait_for(at.scene)  # of a worker that was lost, and whose machine has not noticed yet
        return work(Task(shop, job, scene, at, line))  # type: ignore[arg-type]


class RemoteLine:
    """A worker's ``line.Line``: tells the job's process on the server, and hears from it.

    wanted: "stop", or "interrupt" for all else.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.wanted = ""
        self.stopped: Callable[[], None] | None = None
        self.warnings: list[str] = []
        self._guard, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._listen, name="nerfscene-line", daemon=True)
        self._now: tuple[str, float, float | None] = ("starting", 0.0, None)

    def progress(self, stage: str, fraction: float, remaining: float | None = None) -> None:
        """As ``line.Line.progress``."""
        self._now = (stage, min(max(float(fraction), 0.0), 1.0), remaining)

    def warn(self, message: str) -> None:
        """As ``line.Line.warn``."""
        if message not in self.warnings:
            self.warnings.append(message)
            self.call.say("warning", message)

    def heard_again(self) -> None:
        """Ray's own handlers of signals stay."""

    def __enter__(self) -> RemoteLine:
        if hasattr(signal, "pthread_sigmask"):  # Ray's workers don't hear Ctrl-C
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._over.wait(LISTEN):
            stage, fraction, remaining = self._now
            wanted = self.call.tell(
                stage=stage, fraction=fraction, remaining=remaining, stoppable=self.stopped is not None
            )
            with self._guard:
                if wanted == self.wanted or self._over.is_set():
                    continue
                self.wanted = wanted
                if wanted == "stop" and self.stopped is not None:
                    self.stopped()
                else:
                    interrupt_main()

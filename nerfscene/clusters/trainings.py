"""Trains several scenes at the same time, each in a process of its own somewhere in the cluster."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from nerfscene import api
from nerfscene.clusters.connecting import Cluster, Needs
from nerfscene.clusters.desk import Line
from nerfscene.clusters.runs import MOST_TRIES, Office, Outcome, Run
from nerfscene.config import FieldConfig, FootageConfig, PoseConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.scene.folder import SCENE_JSON, is_scene
from nerfscene.scene.folder_lock import only_one
from nerfscene.training.progress import Progress

POLL = 0.3  # seconds between looks at all trainings
GRACE = 60.0  # seconds that trainings have to save after Ctrl-C
LOCKED = (
    120.0  # seconds to wait for the folder of a training that was lost: its process may end a little later
)


@dataclass(frozen=True)
class Training:
    """What ``api.train`` is to be called with; source and output: absolute, the same on all machines."""

    source: Path
    output: Path
    config: TrainConfig
    field: FieldConfig
    poses: PoseConfig
    footage: FootageConfig
    resume: bool
    overwrite: bool
    splats: float = 0.0


class Told(Protocol):
    """Who is told of trainings, each named by its number."""

    def progress(self, number: int, report: dict[str, Any]) -> None:
        """report: as ``train_one`` gives them: the fields of Progress."""

    def line(self, number: int, kind: str, text: str) -> None:
        """kind: "warning" or "note"."""

    def ended(self, number: int, outcome: Outcome) -> None:
        """value: of a scene that is done, what ``api.info`` says of it."""


Work = Callable[[Line, Training, int, str | None], dict[str, Any]]  # as ``train_one``


def train_one(line: Line, training: Training, cpus: int, begun_on: str | None) -> dict[str, Any]:
    """What runs on a worker: a training, or the rest of one whose process was lost. Returns its facts.

    cpus: threads to use if its settings leave that open. begun_on: None at the first try; later, the mark of
    what lay in the folder before it, see ``mark``.
    KeyboardInterrupt is raised once "stop" is wanted; the scene is saved then.
    """
    line.tell(stage="beginning", fraction=0.0)
    if not training.source.exists():
        raise NerfsceneError(
            f"the machine {socket.gethostname()} doesn't see {training.source}; share it with all machines "
            "of the cluster, at the same path"
        )
    if begun_on is not None:
        training = again(training, begun_on)
        wait_for(training.output)

    def listener(p: Progress) -> None:
        if line.tell(**vars(p)) == "stop":
            raise KeyboardInterrupt

    api.train(
        training.source, training.output, with_threads(training.config, cpus), training.field, training.poses,
        footage=training.footage, resume=training.resume, overwrite=training.overwrite,
        splats=training.splats, listener=listener,
        warn=lambda text: line.say("warning", text), note=lambda text: line.say("note", text),
    )  # fmt: skip
    return api.info(training.output)


def again(training: Training, begun_on: str) -> Training:
    """The same training, going on from what a lost process of it saved, if it saved anything."""
    if is_scene(training.output) and mark(training.output) != begun_on:
        return replace(training, resume=True, overwrite=False)
    return training


def mark(folder: Path) -> str:
    """Differs once a training has saved to the folder."""
    try:
        return hashlib.sha256((folder / SCENE_JSON).read_bytes()).hexdigest()
    except OSError:
        return ""


def wait_for(folder: Path) -> None:
    """Waits up to LOCKED seconds for a lost training's process to let go of the folder's lock."""
    until = time.monotonic() + LOCKED
    while folder.is_dir() and time.monotonic() < until:
        with contextlib.suppress(NerfsceneError), only_one(folder):
            return
        time.sleep(POLL)


def with_threads(config: TrainConfig, cpus: int) -> TrainConfig:
    """Uses the cores that the worker was given: the rest are others'."""
    return replace(config, threads=cpus)


def train_all(
    cluster: Cluster, trainings: Sequence[Training], told: Told, work: Work = train_one
) -> list[Outcome]:
    """Trains them all, as many at once as the cluster has room for; one that fails stops no other.

    A training whose process or machine dies goes on from its last save on another. Ctrl-C once lets all save
    and end; twice ends them at once, and is raised.
    """
    batch = _Batch(cluster, trainings, told, work)
    until = float("inf")
    try:
        with _noted() as pressed:
            while not batch.look("stop" if pressed.is_set() else "") and time.monotonic() < until:
                time.sleep(POLL)
                if pressed.is_set():
                    until = min(until, time.monotonic() + GRACE)
    finally:
        batch.give_up()
    return batch.outcomes()


@contextlib.contextmanager
def _noted() -> Iterator[threading.Event]:
    """Notes the first Ctrl-C or `kill` in the block; the second raises KeyboardInterrupt.

    Raised at any moment, the first would end trainings that have not saved. A program's own handlers are left
    alone.
    """
    pressed = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is signal.default_int_handler:
                    stack.callback(signal.signal, number, signal.signal(number, note))
        yield pressed


class _Batch:
    """Trainings under way."""

    def __init__(self, cluster: Cluster, trainings: Sequence[Training], told: Told, work: Work) -> None:
        self.trainings, self.told, self.work = trainings, told, work
        self.office = Office()
        self.marks = [mark(t.output) for t in trainings]
        self.tries = [0] * len(trainings)
        self.ended: dict[int, Outcome] = {}
        self.needs = [
            cluster.needs(t.config.threads, t.config.backend in ("auto", "cuda")) for t in trainings
        ]
        self.runs: dict[int, Run] = {}
        for number in range(len(trainings)):
            self._begin(number)

    def _begin(self, number: int) -> None:
        needs: Needs = self.needs[number]
        begun_on = self.marks[number] if self.tries[number] else None
        self.tries[number] += 1
        self.runs[number] = self.office.begin(
            self.work, (self.trainings[number], needs.cpus, begun_on), needs
        )

    def look(self, wanted: str) -> bool:
        """Hears of each; whether all have ended. wanted: "stop" to let them save and end."""
        for number, run in list(self.runs.items()):
            news = run.hear(wanted)
            if news.report:
                self.told.progress(number, news.report)
            for kind, text in news.lines:
                self.told.line(number, kind, text)
            outcome = news.outcome
            if outcome is None and wanted and not news.report:  # it waits for room
                run.give_up()
                outcome = Outcome("stopped", "")
            if outcome is None:
                continue
            if outcome.state == "lost":
                outcome = self._lost(number, str(outcome.value), wanted)
            if outcome is not None:
                del self.runs[number]
                self.ended[number] = outcome
                self.told.ended(number, outcome)
        return not self.runs

    def _lost(self, number: int, why: str, wanted: str) -> Outcome | None:
        """Begins a lost training again, or says why not."""
        if wanted:
            self.told.line(number, "warning", f"its process or machine was lost before it saved ({why})")
            return Outcome("stopped", "")
        if self.tries[number] >= MOST_TRIES:
            return Outcome(
                "failed",
                f"its process ended {MOST_TRIES} times without a word ({why}); look at memory, and train "
                "with a larger --downscale",
            )
        self.told.line(number, "warning", f"its process or machine was lost ({why}); going on with another")
        self._begin(number)
        return None

    def give_up(self) -> None:
        for number, run in self.runs.items():
            run.give_up()
            self.ended[number] = Outcome("stopped", "")
        self.runs.clear()

    def outcomes(self) -> list[Outcome]:
        return [self.ended[number] for number in range(len(self.trainings))]

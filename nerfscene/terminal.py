"""What the commands print while they work and when they are done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from nerfscene.cameras.cube import shots
from nerfscene.types import View

if TYPE_CHECKING:  # films need nothing of what training loads
    from nerfscene.training.progress import Progress as TrainingProgress

SOONEST = 1.0  # seconds into a stage before which its pace says little
PRINT_EVERY = 5.0  # seconds between lines of progress where stderr is not a terminal


class Live:
    """Progress on stderr: a bar on a terminal, a line every few seconds elsewhere. A context manager."""

    def __init__(self, quiet: bool) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(24), TaskProgressColumn(),
            TextColumn("{task.fields[note]}"), console=self.console, transient=True,
            disable=not self.console.is_terminal,
        )  # fmt: skip
        self.stage, self.printed = "", 0.0
        self.began, self.first, self.last = 0.0, 0.0, 0.0  # when the stage began, and how far it was and is
        self.task: TaskID | None = None

    def __enter__(self) -> Live:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self.console.print(text, soft_wrap=True, markup=False)

    def warn(self, text: str) -> None:
        """Prints a warning above the bar."""
        self.say(f"warning: {text}")

    def show(self, stage: str, fraction: float, note: str = "") -> None:
        """Shows the fraction (0…1) of a stage that is done; a new stage begins a new bar.

        note: what else to say; when it is not given, about how long the rest of the stage takes.
        """
        now = time.monotonic()
        if stage != self.stage or fraction < self.last:
            self.began, self.first = now, fraction
        self.last = fraction
        note = note or self._left(fraction, now)
        if stage != self.stage:
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.stage, self.printed = stage, 0.0
            self.task = self.bar.add_task(stage, total=1.0, note=note)
        assert self.task is not None
        self.bar.update(self.task, completed=fraction, note=note)
        if not self.console.is_terminal and (now - self.printed > PRINT_EVERY or fraction >= 1.0):
            self.printed = now
            self.say(f"{stage}: {100 * fraction:.0f} % {note}".rstrip())

    def _left(self, fraction: float, now: float) -> str:
        """How long the rest of the stage takes at its pace so far; "" while nothing can be said."""
        spent, done = now - self.began, fraction - self.first
        if spent < SOONEST or done <= 0 or fraction >= 1:
            return ""
        return f"{clock(spent / done * (1 - fraction))} left"

    def training(self, p: TrainingProgress) -> None:
        """Shows the progress of posing, training or measuring."""
        note = p.note
        if p.step:
            note = (
                f"step {p.step}  loss {p.loss:.5f}  PSNR {p.psnr:.1f} dB  "
                f"{p.rate / 1e6:.2f} M samples/s  {clock(p.remaining)} left"
            )
        self.show(p.stage, p.fraction, note)


def posed_in_words(views: Sequence[View], given: int) -> str:
    """How many photos have a camera, as a sentence; given: how many photos or panoramas there are."""
    count = len(set(shots(views)))
    cut = [view.panorama for view in views if view.panorama is not None]
    if not cut:
        return f"{count} of {given} photos posed"
    panoramas = len(set(cut))
    most = max(Counter(cut).values())
    if count == panoramas:
        return f"{count} of {given} panoramas posed, cut into {most} views each"
    return f"{count} of {given} photos posed, of them {panoramas} panoramas, cut into {most} views each"


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds."""
    if not seconds < 1e7:
        return "some time"
    whole = max(round(seconds), 0)
    return f"{whole // 60}:{whole % 60:02d}"

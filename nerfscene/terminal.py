"""What the commands print while they work and when they are done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from nerfscene.cameras.cube import shots
from nerfscene.measuring.evaluate import WORTH_MENTIONING
from nerfscene.training.progress import Progress as TrainingProgress
from nerfscene.types import View

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
        """Shows the fraction (0…1) of a stage that is done; a new stage begins a new bar."""
        if stage != self.stage:
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.stage, self.printed = stage, 0.0
            self.task = self.bar.add_task(stage, total=1.0, note=note)
        assert self.task is not None
        self.bar.update(self.task, completed=fraction, note=note)
        now = time.monotonic()
        if not self.console.is_terminal and (now - self.printed > PRINT_EVERY or fraction >= 1.0):
            self.printed = now
            self.say(f"{stage}: {100 * fraction:.0f} % {note}".rstrip())

    def training(self, p: TrainingProgress) -> None:
        """Shows the progress of posing, training or measuring."""
        note = ""
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


def figures_line(d: dict[str, Any]) -> str:
    """PSNR and SSIM as a sentence; ``d``: psnr, psnr_matched, ssim, views and train_seconds."""
    if d.get("psnr") is None:
        return "no photos were held out, so nothing was measured"
    matched = d.get("psnr_matched") or d["psnr"]
    one = d["views"] == 1
    corrected = ""
    if matched > d["psnr"] + WORTH_MENTIONING:
        whose = "this photo's" if one else "these photos'"
        corrected = f" ({matched:.2f} dB corrected for {whose} exposure and camera)"
    return (
        f"{d['views']} held-out photo{'' if one else 's'}: PSNR {d['psnr']:.2f} dB{corrected}, "
        f"SSIM {d['ssim']:.3f} after {d['train_seconds']:.0f} s of training"
    )

"""What a training under way tells others, and what they may ask of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nerfscene.config import TrainConfig
from nerfscene.measure.evaluate import Seen, unseen
from nerfscene.scene.folder import Scene
from nerfscene.training.run import Run, fraction_done
from nerfscene.training.schedule import budget


@dataclass(frozen=True)
class Progress:
    """Where the work stands; sent a few times a second.

    ``fraction`` of this stage in 0…1; the rest is set while training: loss is the mean squared error
    of recent rays, ``psnr`` its decibels, ``rate`` trained samples a second, ``remaining`` seconds,
    ``seconds`` those spent.
    """

    stage: str
    fraction: float
    step: int = 0
    loss: float = 0.0
    psnr: float = 0.0
    rate: float = 0.0
    remaining: float = 0.0
    seconds: float = 0.0


Listener = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """The Listener that says nothing."""


@dataclass
class Control:
    """What others may ask of a training under way, from any thread; looked at a few times a second.

    ``started`` is called with the scene before the first step; it shares the arrays being trained.
    ``measured`` gets every held-out view at the end, as evaluate.measure's ``seen``.
    """

    started: Callable[[Scene], None] = lambda scene: None
    measured: Seen = unseen
    pause: bool = False
    stop: bool = False
    save: bool = False


def training_progress(run: Run, report: dict[str, Any], config: TrainConfig) -> Progress:
    """The report as a person reads it; also noted in the run's history, once per cent or so."""
    seconds, steps = budget(config)
    done = fraction_done(run, config)
    rays = max(report["rays"] - report["dropped"], 1)
    loss = report["squared_error"] / (3 * rays)
    psnr = -10 * math.log10(max(loss, 1e-10))
    spent = report["seconds_trace"] + report["seconds_table"] + report["seconds_occupancy"]
    remaining = seconds - run.seconds
    if steps is not None:
        remaining = min(remaining, run.seconds / max(done, 1e-6) * (1 - done))
    if not run.history or done - run.history[-1]["fraction"] >= 0.01:
        entry = {"fraction": done, "seconds": run.seconds, "step": run.steps, "psnr": psnr}
        run.history = (*run.history, entry)
    rate = report["survivors"] / max(spent, 1e-9)
    return Progress("training", done, run.steps, loss, psnr, rate, remaining, run.seconds)

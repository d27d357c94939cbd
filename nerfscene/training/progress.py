"""How others follow a training run (``Progress``) and control it (``Control``)."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from nerfscene.config import TrainConfig
from nerfscene.measuring.evaluate import Shown, unshown
from nerfscene.scene.folder import Scene
from nerfscene.scene.world import Kept
from nerfscene.training.run import Run, finished, fraction_done
from nerfscene.training.schedule import budget, rays_wanted


@dataclass(frozen=True)
class Progress:
    """How far the work has come; sent a few times a second.

    stage: what is being done, such as "training"
    fraction: how much of this stage is done, 0…1
    step: training steps so far
    loss: mean squared error of recent rays
    psnr: the same in dB
    rate: samples trained on per second
    remaining: seconds left
    seconds: time spent on training steps so far
    note: what else there is to say, in words

    All but stage, fraction and note are set only while training.
    """

    stage: str
    fraction: float
    step: int = 0
    loss: float = 0.0
    psnr: float = 0.0
    rate: float = 0.0
    remaining: float = 0.0
    seconds: float = 0.0
    note: str = ""


Listener = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """A Listener that ignores the progress."""


@dataclass
class Control:
    """Controls a training run from any thread; training checks it a few times a second.

    started: called before the first step with the scene, which shares the arrays being trained
    measured: called for each held-out view at the end, see ``shown`` of ``measuring.evaluate.measure``
    pause: while true, training waits
    stop: set to end training early; the scene is still saved and measured
    save: set to save the scene now; training resets it
    kept: what ``keep`` has set before the first save
    in_folder: whether that save is done
    lock: held while the scene is saved
    """

    started: Callable[[Scene], None] = lambda scene: None
    measured: Shown = unshown
    pause: bool = False
    stop: bool = False
    save: bool = False
    kept: Kept = field(default_factory=Kept)
    in_folder: bool = False
    lock: AbstractContextManager[Any] = field(default_factory=threading.RLock, repr=False, compare=False)

    def keep(self, change: Callable[[Kept], Kept], write: Callable[[], None]) -> None:
        """Sets the world or the crop of the scene that is being trained, from any thread.

        ``write`` does that in the scene's folder. Until the first save another scene may be there, or none;
        then ``change`` is applied to what goes into that save, which is done now.
        """
        with self.lock:
            if self.in_folder:
                write()
            else:
                self.kept, self.save = change(self.kept), True


def training_progress(run: Run, report: dict[str, Any], config: TrainConfig) -> Progress:
    """The kernels' report as Progress. It also goes into the run's history, once per percent and at the end.

    A longer budget makes the fraction that is done fall; then the history goes on from there.
    """
    seconds, steps = budget(config)
    done = fraction_done(run, config)
    rays = max(report["rays"] - report["dropped"], 1)
    loss = report["squared_error"] / (3 * rays)
    psnr = -10 * math.log10(max(loss, 1e-10))
    spent = report["seconds_trace"] + report["seconds_table"] + report["seconds_occupancy"]
    remaining = seconds - run.seconds
    if steps is not None or math.isfinite(rays_wanted(config, run.pixels)):
        remaining = min(remaining, run.seconds / max(done, 1e-6) * (1 - done))
    last = run.history[-1].get("fraction", 0.0) if run.history else -1.0
    if abs(done - last) >= 0.01 or finished(run, config):
        entry = {"fraction": done, "seconds": run.seconds, "step": run.steps, "psnr": psnr}
        run.history = (*run.history, entry)
    rate = report["survivors"] / max(spent, 1e-9)
    return Progress("training", done, run.steps, loss, psnr, rate, remaining, run.seconds)

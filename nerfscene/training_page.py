"""The page of ``nerfscene train --view``, which shows a scene while it trains."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Any

from nerfscene.config import TrainConfig
from nerfscene.loading import loading
from nerfscene.scene.folder import Scene
from nerfscene.terminal import Live, clock
from nerfscene.training.progress import Control, Progress

UPDATE_EVERY = 2.0  # seconds


class TrainingPage:
    """Opens the page at the first training step and serves it until Ctrl-C."""

    def __init__(
        self,
        output: Path,
        host: str,
        port: int,
        config: TrainConfig,
        live: Live,
        stack: contextlib.ExitStack,
    ) -> None:
        """output: the scene's folder. host, port: where to serve. stack: closes the page."""
        self.output, self.host, self.port, self.config = output, host, port, config
        self.live, self.stack = live, stack
        self.control = Control(started=self.started)
        self.viewer: Any = None
        self.updated = 0.0  # when the page was last updated, by time.monotonic
        self.history: list[tuple[float, float, float]] = []  # seconds, PSNR, loss
        self.text = "starting"
        # Loading the viewer takes a second, in which photos are read and cameras found as well.
        threading.Thread(target=_load_viewer, name="nerfscene-loading").start()

    def started(self, scene: Any) -> None:
        """Opens the page of a scene whose training begins."""
        with loading():
            from nerfscene.viewer.server import Viewer
            from nerfscene.viewer.stage import Training

        def request(name: str, value: bool = True) -> None:
            setattr(self.control, name, value)

        training = Training(
            figures=self.figures,
            pause=lambda on: request("pause", on),
            stop=lambda: request("stop"),
            save=lambda: request("save"),
            keep=self.control.keep,
        )
        backend, threads = self.config.backend, self.config.threads
        viewer = Viewer(scene, self.output, self.host, self.port, backend, threads, training)
        self.viewer = self.stack.enter_context(viewer)
        for line in self.viewer.in_words("look at it:"):
            self.live.say(line)

    def figures(self) -> dict[str, Any]:
        """What the page shows of the training, see viewer.stage.Training."""
        seconds, psnr, loss = zip(*self.history, strict=True) if self.history else ((), (), ())
        return {"text": self.text, "seconds": seconds, "psnr": psnr, "loss": loss}

    def training(self, p: Progress) -> None:
        """Shows the progress on the terminal and, now and then, on the page."""
        self.live.training(p)
        if self.viewer is None or not p.step or time.monotonic() - self.updated < UPDATE_EVERY:
            return
        self.updated = time.monotonic()
        self.history.append((p.seconds, p.psnr, p.loss))
        self.text = (
            f"step {p.step}, loss {p.loss:.5f}, **{p.psnr:.1f} dB** on the training photos, "
            f"{p.rate / 1e6:.2f} M samples/s, {clock(p.remaining)} left"
        )
        self.viewer.refresh()

    def wait(self, scene: Scene) -> None:
        """Serves the finished scene until Ctrl-C."""
        if self.viewer is None:  # training had been finished before
            self.live.say(f"already trained; nerfscene view {self.output} shows the scene")
            return
        self.text = "finished"
        self.viewer.trained(scene)
        self.live.say(f"the page stays open until Ctrl-C: {self.viewer.owner_url}")
        self.viewer.wait()


def _load_viewer() -> None:
    """Loads what a page needs. If that fails, it fails again where the page is opened, and is said there."""
    with contextlib.suppress(Exception):
        import scipy.spatial.transform  # noqa: F401

        import nerfscene.viewer.server  # noqa: F401

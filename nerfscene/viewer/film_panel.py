"""A tab's controls for making and downloading the film along the camera path."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerfscene.errors import NerfsceneError
from nerfscene.viewer import keyframes
from nerfscene.viewer.edits import Edits
from nerfscene.viewer.export_job import ExportJob
from nerfscene.viewer.export_panel import plain, shown
from nerfscene.viewer.film_controls import FilmControls
from nerfscene.viewer.film_job import check_film, film_job, small
from nerfscene.viewer.film_limits import check_size
from nerfscene.viewer.film_settings import command_of, config_of, in_page, without
from nerfscene.viewer.outcome import send
from nerfscene.viewer.picking import Picker
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import BUSY, Say, Stage

SHOWN_EVERY = 0.5  # seconds between two signs of progress in the tab
LONGEST = 320  # pixels of the small picture
PATIENCE = 3.0  # seconds that a frame waits for the tab's own picture, but no longer than it took itself
WHAT = "The film follows the path in the tab Path."


class FilmPanel:
    """Makes the plan of ``edits`` a film of the scene as the session shows it: its crop and background.

    ``say(title, body, color)`` shows a notification in the tab.
    """

    def __init__(self, stage: Stage, session: Session, edits: Edits, picker: Picker, say: Say) -> None:
        self.stage, self.session, self.client = stage, session, session.client
        self.edits, self.say = edits, say
        self.controls = FilmControls(stage, self.client, edits, picker)
        self.job: ExportJob | None = None
        self.file: Path | None = None
        self._lock = threading.Lock()
        self._running = False
        self._said: list[str] = []  # about the present film
        self._asked: tuple[object, ...] | None = None  # what was last found out to be possible, or not
        self._begun = self._told = self._pictured = self._seen_at = 0.0  # by time.monotonic

    def cancel(self) -> None:
        """Has a film that is being made stop after the current frame."""
        if self.job is not None:
            self.job.cancel()

    def close(self) -> None:
        """Cancels a film that is being made, waits for that, and removes what was made."""
        self.cancel()
        if self.job is not None:
            self.job.wait(30)  # no thread may still run a kernel when the process ends
            self.job.discard()

    def add(self) -> None:
        """Adds the controls to the tab that is open."""
        gui, on = self.client.gui, self.edits.by_visitor
        gui.add_markdown(WHAT)
        self.controls.add_first()
        self.start = gui.add_button("Make the film")
        self.start.on_click(on(lambda _: self.render()))
        self.doubt = gui.add_markdown("", visible=False)
        self.bar = gui.add_progress_bar(0.0, visible=False)
        self.text = gui.add_markdown("", visible=False)
        self.picture = gui.add_image(np.zeros((9, 16, 3), np.uint8), visible=False)
        self.stop = gui.add_button("Cancel", visible=False, color="gray")
        self.stop.on_click(lambda _: self.cancel())
        self.download = gui.add_button("Download", visible=False)
        self.download.on_click(on(lambda _: self._download()))
        self.controls.add_more()
        with gui.add_folder("As a command", expand_by_default=False):
            self.command = gui.add_markdown("")
        self.edits.shows.append(self._show)

    def _show(self) -> None:
        """Says what can't be made as it is chosen, and which command makes the same."""
        plan, folder = self.edits.plan, self.stage.folder
        asked = plan.film, plan.width, plan.height, plan.fps, plan.seconds
        if asked != self._asked:  # an encoder is opened for that
            self._asked = asked
            try:
                check_size(plan)
                check_film(plan)
                doubt = ""
            except NerfsceneError as error:
                doubt = f"**This film can't be made:** {plain(in_page(str(error)))}."
            self.doubt.content, self.doubt.visible = doubt, bool(doubt)
        film = without(plan.film, keyframes.tracks_of(plan))
        moved = film.moved(self.stage.world.world_from_page)
        name = folder.name if folder is not None and self.edits.owner else "my-scene"
        config = config_of(moved, Path(name) / "camera_path.json", (plan.width, plan.height))
        command = command_of(config, moved, name)
        text = f"Once the path is saved, this makes the same film:\n\n```\n{command}\n```"
        if text != self.command.content:
            self.command.content = text

    def render(self) -> None:
        """Starts making the film in the background.

        Raises NerfsceneError if the path has no keyframes, for a film that is too large, too long or can't be
        encoded, and while this tab's film, or as many as there may be, are being made.
        """
        plan = self.edits.plan
        keyframes.cameras(plan, 2)  # fails before the controls change
        check_size(plan)
        check_film(plan)
        with self._lock:
            if self._running:
                raise NerfsceneError("the film is being made already")
            if not self.stage.films.acquire(blocking=False):
                raise NerfsceneError(BUSY)
            self._running = True
        try:
            self._start(keyframes.transformed(plan, self.stage.world.world_from_page))
        except BaseException:
            self._done(None, "it could not be begun")
            raise

    def _start(self, plan: keyframes.Plan) -> None:
        if self.job is not None:
            self.job.discard()
        self.file, self._said = None, []
        self.start.disabled, self.bar.visible, self.stop.visible = True, True, True
        self.download.visible = self.picture.visible = False
        self.bar.value, self.text.content, self.text.visible = 0.0, "beginning", True
        self._begun = self._seen_at = time.monotonic()
        self._told = self._pictured = 0.0
        scene = shown(self.stage, self.session)
        self.job = film_job(
            scene, plan, self.stage.backend, self._progress, self._seen, self._said.append, self._done,
            self.stage.credentials,
        )  # fmt: skip
        self.job.start()

    def _progress(self, stage: str, fraction: float) -> None:
        now = time.monotonic()
        if fraction < 1 and now - self._told < SHOWN_EVERY:
            return
        self._told = now
        left = ""
        if 0.02 < fraction < 1 and now - self._begun > 2:
            left = f", {in_words((now - self._begun) / fraction * (1 - fraction))} left"
        self.bar.value, self.text.content = 100 * fraction, stage + left

    def _seen(self, picture: NDArray[np.uint8]) -> None:
        """Shows the film's latest picture, and lets the tab's own picture go first."""
        now = time.monotonic()
        if now - self._pictured > SHOWN_EVERY:
            self._pictured = now
            with contextlib.suppress(Exception):  # the tab may have been closed meanwhile
                self.picture.image = small(picture, LONGEST)
                self.picture.visible = True
        until = now + min(PATIENCE, now - self._seen_at)
        while self.session.busy and time.monotonic() < until:
            time.sleep(0.02)
        self._seen_at = time.monotonic()

    def _done(self, file: Path | None, reason: str) -> None:
        self.file = file
        with self._lock:
            self._running = False
        self.stage.films.release()
        with contextlib.suppress(Exception):  # the tab may have been closed meanwhile
            self.bar.visible, self.stop.visible = False, False
            self.text.content = "\n\n".join(map(plain, self._said))
            self.text.visible = bool(self._said)
            if file is None:
                self.picture.visible = False
            else:
                self.download.label, self.download.visible = f"Download {file.name}", True
            self.start.disabled = False  # once all else is as it stays
            if file is None:
                self.say("No film", in_page(reason), "red")
            else:
                self.say("The film is ready", f"{file.stat().st_size / 1e6:.1f} MB")

    def _download(self) -> None:
        if self.file is not None:
            send(self.client, self.file, "make the film again")


def in_words(seconds: float) -> str:
    """How long something lasts: "20 seconds", "3 minutes"."""
    if seconds < 50:
        return f"{max(5, 5 * round(seconds / 5))} seconds"
    minutes = max(round(seconds / 60), 1)
    if minutes < 60:
        return "about a minute" if minutes == 1 else f"about {minutes} minutes"
    return f"about {minutes / 60:.1f} hours"

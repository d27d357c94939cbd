"""A tab's controls for rendering and downloading the film along the camera path."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

from nerfscene.errors import NerfsceneError
from nerfscene.viewer import keyframes
from nerfscene.viewer.film_job import FilmJob
from nerfscene.viewer.keyframes import Editor, Plan
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import BUSY, Say, Stage, guarded


class FilmPanel:
    """Renders the plan of ``editor`` as the session shows the scene: with its crop and its background.

    ``say(title, body, color)`` shows a notification in the tab.
    """

    def __init__(self, stage: Stage, session: Session, editor: Editor, say: Say) -> None:
        self.stage, self.session, self.client = stage, session, session.client
        self.editor, self.say = editor, say
        self.job: FilmJob | None = None
        self.film: bytes | None = None
        self._lock = threading.Lock()
        self._running = False

    def cancel(self) -> None:
        """Has a film that is being rendered stop after the current frame."""
        if self.job is not None:
            self.job.cancel()

    def close(self) -> None:
        """Cancels a film that is being rendered, and waits for that."""
        self.cancel()
        if self.job is not None:
            self.job.wait(10)

    def add(self) -> None:
        """Adds the controls to the tab that is open."""
        gui = self.client.gui
        gui.add_markdown(
            "The film follows the path, at the size and length set there: at most 4096×2304 pixels and "
            "18,000 frames, fewer above 1920×1080. `nerfscene render` has no such limits."
        )
        self.start = gui.add_button("Render the film")
        self.start.on_click(guarded(self.say, lambda _: self.render()))
        self.bar = gui.add_progress_bar(0.0, visible=False)
        self.stop = gui.add_button("Cancel", visible=False, color="gray")
        self.stop.on_click(lambda _: self.cancel())
        self.download = gui.add_button("Download film.mp4", visible=False)
        self.download.on_click(lambda _: self._download())

    def render(self) -> None:
        """Starts rendering in the background.

        Raises NerfsceneError if the path has no keyframes, for a film that is too large or too long, and
        while this tab's film, or as many as there may be, are being rendered.
        """
        plan = self.editor.plan
        keyframes.cameras(plan, 2)  # fails before the controls change
        keyframes.check_size(plan)
        with self._lock:
            if self._running:
                raise NerfsceneError("the film is being rendered already")
            if not self.stage.films.acquire(blocking=False):
                raise NerfsceneError(BUSY)
            self._running = True
        try:
            self._start(plan)
        except BaseException:
            self._done(None, "it could not be begun")
            raise

    def _start(self, plan: Plan) -> None:
        self.start.disabled, self.bar.visible, self.stop.visible = True, True, True
        self.download.visible = False
        self.bar.value = 0.0
        background, backdrop = self.session.behind(self.session.look)
        crop = self.stage.crop.page_from_box
        scene = replace(self.stage.scene, crop=crop, background=background, backdrop=backdrop)
        self.job = FilmJob(
            scene, plan, self.stage.backend, self._progress, self._done, self.stage.credentials
        )

    def _progress(self, fraction: float) -> None:
        self.bar.value = 100 * fraction

    def _done(self, film: bytes | None, reason: str) -> None:
        self.film = film
        with self._lock:
            self._running = False
        self.stage.films.release()
        with contextlib.suppress(Exception):  # the tab may have been closed meanwhile
            self.start.disabled, self.bar.visible, self.stop.visible = False, False, False
            self.download.visible = film is not None
            if film is None:
                self.say("No film", reason, "red")
            else:
                self.say("The film is ready", f"{len(film) / 1e6:.1f} MB")

    def _download(self) -> None:
        if self.film is not None:
            self.client.send_file_download("film.mp4", self.film, save_immediately=True)

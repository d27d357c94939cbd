"""Renders a film in the background while the viewer goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from nerfscene.config import CredentialsConfig
from nerfscene.films.filming import film_in_memory
from nerfscene.scene.folder import Scene
from nerfscene.viewer import keyframes
from nerfscene.viewer.keyframes import Plan
from nerfscene.viewer.outcome import Cancelled, outcome

log = logging.getLogger(__name__)


class FilmJob:
    """One film. ``done(film, reason)`` gets the file's bytes and "", or None and why there is no film.

    It is called once, whatever happens.

    progress is called with the fraction done.
    """

    def __init__(
        self,
        scene: Scene,
        plan: Plan,
        backend: str,
        progress: Callable[[float], None],
        done: Callable[[bytes | None, str], None],
        credentials: CredentialsConfig = CredentialsConfig(),  # noqa: B008 - frozen
    ) -> None:
        self._scene, self._plan, self._backend = scene, plan, backend
        self._credentials = credentials
        self._progress, self._done = progress, done
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nerfscene-film", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stops after the current frame; no file is left behind."""
        self._cancelled.set()

    def wait(self, seconds: float) -> None:
        """Waits for the film to end, at most this many seconds."""
        self._thread.join(seconds)

    def _run(self) -> None:
        self._done(*outcome(self._film, "a film could not be rendered"))

    def _film(self) -> bytes:
        def frame_done(done: int, total: int) -> None:
            if self._cancelled.is_set():
                raise Cancelled
            self._progress(done / total)

        along = keyframes.cameras(self._plan)
        return film_in_memory(
            self._scene, along, self._plan.fps, self._backend, frame_done, self._credentials, log.warning
        )

"""A film rendered in the background while the viewer goes on."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.filming import render_film
from nerfscene.scene import Scene
from nerfscene.viewer import keyframes
from nerfscene.viewer.keyframes import Plan


class _Cancelled(Exception):
    pass


class FilmJob:
    """One film; ``done`` is called with its bytes, or with None and a sentence why there is none."""

    def __init__(
        self,
        scene: Scene,
        plan: Plan,
        backend: str,
        progress: Callable[[float], None],
        done: Callable[[bytes | None, str], None],
    ) -> None:
        self._cancelled = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(scene, plan, backend, progress, done), name="nerfscene-film", daemon=True
        )
        self._thread.start()

    def cancel(self) -> None:
        """Stops after the frame under way; nothing is left behind."""
        self._cancelled.set()

    def wait(self, seconds: float) -> None:
        """Until it has ended."""
        self._thread.join(seconds)

    def _run(
        self,
        scene: Scene,
        plan: Plan,
        backend: str,
        progress: Callable[[float], None],
        done: Callable[[bytes | None, str], None],
    ) -> None:
        def frame(made: int, total: int) -> None:
            if self._cancelled.is_set():
                raise _Cancelled
            progress(made / total)

        try:
            with tempfile.TemporaryDirectory(prefix="nerfscene-film-") as folder:
                path, film = Path(folder) / "path.json", Path(folder) / "film.mp4"
                keyframes.save(plan, path)
                config = RenderConfig(path=str(path), backend=backend)  # type: ignore[arg-type]
                render_film(scene, config, film, progress=frame)
                done(film.read_bytes(), "")
        except _Cancelled:
            done(None, "cancelled")
        except (NerfsceneError, OSError) as error:
            done(None, str(error))

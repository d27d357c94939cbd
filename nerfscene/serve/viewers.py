"""Shows scenes in 3D: a viewer process a scene, started when someone looks and ended when nobody does.

Its owner's viewer can change a scene; guests have one of their own, which can't. A viewer's port lets nobody
in but the server, which alone knows its cookie; ``view_routes`` lets people in.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from nerfscene.errors import NerfsceneError
from nerfscene.serve.facts import SCENE_FILE
from nerfscene.serve.scenes import SceneRow, places, scene_of
from nerfscene.serve.shop import Shop

log = logging.getLogger(__name__)
Audience = Literal["owner", "guest"]  # as nerfscene.viewer.gate calls them
LOOK = 2.0  # seconds between two looks at what may have to end
PATIENCE = 8.0  # seconds in which a process that should end does
LOGGED = 2000  # bytes of what a viewer that died wrote last


@dataclass(eq=False)
class Running:
    """A viewer process. state: starting, ready, or ended by itself; why: a sentence, if it ended.

    port, cookie: how to reach it, once it is ready. looks: open tabs; used: when one was last open, by
    time.monotonic. replaced: whether another scene is in its folder now.
    """

    scene: str
    audience: Audience
    process: subprocess.Popen[bytes]
    errors: Any  # the file that it writes to
    state: Literal["starting", "ready", "ended"] = "starting"
    why: str = ""
    port: int = 0
    cookie: str = ""
    looks: int = 0
    used: float = field(default_factory=time.monotonic)
    replaced: bool = False
    unwanted: bool = False


class Viewers:
    """The viewers that run. A context manager: at its end they all end."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._running: dict[tuple[str, Audience], Running] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="nerfscene-viewers", daemon=True)

    def __enter__(self) -> Viewers:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        with self._lock:
            left = list(self._running.values())
            self._running.clear()
        for viewer in left:
            _part_with(viewer)
        end = time.monotonic() + PATIENCE
        for viewer in left:
            with contextlib.suppress(subprocess.TimeoutExpired):
                viewer.process.wait(max(0.0, end - time.monotonic()))
            viewer.process.kill()
            viewer.process.wait()

    def of(self, scene: str, audience: Audience, fresh: bool = False) -> Running:
        """The viewer of a scene for its owner or for guests, started if there is none.

        One that died is given back as it is. fresh: start another one then, and also if it shows a scene that
        was replaced.
        """
        with self._lock:
            found = self._running.get((scene, audience))
            if found is not None and fresh and (found.state == "ended" or found.replaced):
                _part_with(found)
                found = None
            if found is None:
                found = self._started(scene, audience)
                self._running[scene, audience] = found
            found.used = time.monotonic()
            return found

    def end(self, scene: str) -> None:
        """Ends a scene's viewers."""
        with self._lock:
            keys = [key for key in self._running if key[0] == scene]
            for key in keys:
                _part_with(self._running.pop(key))

    def all(self) -> list[Running]:
        """The viewers that run, or died and weren't opened again."""
        with self._lock:
            return list(self._running.values())

    def _started(self, scene: str, audience: Audience) -> Running:
        folder = places(self.shop.data, scene).scene
        words = ["-m", "nerfscene.serve.viewer_process", str(folder), audience]
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - it is read when the process has ended
        process = subprocess.Popen(
            [sys.executable, *words, str(self.shop.config.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            start_new_session=True,  # Ctrl-C is for the server, which then ends its viewers
        )  # fmt: skip
        running = Running(scene, audience, process, errors)
        threading.Thread(target=_hear, args=(running,), name="nerfscene-viewer", daemon=True).start()
        return running

    # --- what may have to end ---------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            try:
                self._look()
            except Exception:
                log.exception("viewers could not be looked after; trying again")

    def _look(self) -> None:
        for viewer in self.all():
            if viewer.looks:
                viewer.used = time.monotonic()
            closed = why_not_to_look(self.shop, viewer.scene)
            with self._lock:  # under which someone may come
                idle = not viewer.looks and time.monotonic() - viewer.used > self.shop.config.idle
                if not (idle or closed):
                    continue
                if self._running.get((viewer.scene, viewer.audience)) is viewer:
                    del self._running[viewer.scene, viewer.audience]
            _part_with(viewer)


def why_not_to_look(shop: Shop, scene: SceneRow | str) -> str:
    """Why a scene can't be stepped into now, as a sentence; "" if it can."""
    try:
        row = scene_of(shop.db, scene) if isinstance(scene, str) else scene
    except NerfsceneError as error:
        return str(error)
    if row.deleted is not None:
        return "this scene is in the bin; take it out first"
    training = shop.db.row(
        "select 1 from jobs where scene = ? and kind = 'train' and state = 'running'", (row.id,)
    )
    if training is not None:
        return "this scene is being trained now; wait until that is done, or pause it, then step in"
    if not (places(shop.data, row.id).scene / SCENE_FILE).exists():
        return "the scene isn't there yet; wait until it has been trained"
    return ""


def _part_with(viewer: Running) -> None:
    """Has a viewer's process end, and waits for that in another thread."""
    viewer.unwanted = True
    viewer.state = "ended"
    with contextlib.suppress(OSError):
        assert viewer.process.stdin is not None
        viewer.process.stdin.close()
    threading.Thread(target=_reap, args=(viewer.process,), name="nerfscene-reap", daemon=True).start()


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _hear(viewer: Running) -> None:
    """Takes note of what a viewer's process says, until it ends."""
    assert viewer.process.stdout is not None
    error = ""
    for line in viewer.process.stdout:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # something that a library prints
        if "port" in said and not viewer.unwanted:
            viewer.port, viewer.cookie = int(said["port"]), str(said["cookie"])
            viewer.state = "ready"
        viewer.replaced = viewer.replaced or bool(said.get("replaced"))
        error = said.get("error", error)
    viewer.process.stdout.close()
    code = viewer.process.wait()
    if not viewer.unwanted:
        viewer.why = error or _ended(code)  # first: who sees that it has ended asks why
    viewer.state = "ended"
    if viewer.why:
        log.warning("the viewer of scene %s: %s%s", viewer.scene, viewer.why, _last_words(viewer.errors))
    viewer.errors.close()


def _ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the viewer was ended from outside, perhaps because the server's memory is full"
    return "the viewer has ended by itself, which it should not"


def _last_words(errors: Any) -> str:
    size = errors.seek(0, 2)
    errors.seek(max(0, size - LOGGED))
    words = errors.read().decode(errors="replace").strip()
    return f"\n{words}" if words else ""

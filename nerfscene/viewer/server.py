"""``view(scene)``: a page in which a person walks through a scene."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import viser
from numpy.typing import NDArray

from nerfscene.field.footprint import photos_of
from nerfscene.field.rendering import looking
from nerfscene.ops import backend as backends
from nerfscene.scene.folder import Scene
from nerfscene.viewer.gate import Gate, forbid_sharing, free_port
from nerfscene.viewer.panels import Panels
from nerfscene.viewer.proxy import Splats, inside, splats_of
from nerfscene.viewer.session import Look, Session
from nerfscene.viewer.stage import Training, shot_of, stage_of, triple

log = logging.getLogger(__name__)


class Viewer:
    """A running page. ``url`` is what to open; ``close`` ends it. Also a context manager."""

    def __init__(
        self,
        scene: Scene,
        folder: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 8080,
        backend: str = "auto",
        threads: int = 0,
        training: Training | None = None,
    ) -> None:
        self.stage = stage_of(scene, folder, backend, training)
        self.stage.crop.changed = self._cropped
        self.stage.world.changed = self._turned
        self.scene = self.stage.scene
        self.renderer = self.scene.renderer(backend, threads)
        self._photos = photos_of(self.scene.views)
        self.sessions: dict[int, Session] = {}
        self.panels: dict[int, Panels] = {}
        self._splats: Splats | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._finished = False
        inner = free_port()
        with _quiet():
            self.server = viser.ViserServer(host="127.0.0.1", port=inner, label="nerfscene", verbose=False)
        forbid_sharing(self.server)
        self.server.gui.configure_theme(show_share_button=False)
        self._set_up()
        self.server.on_client_connect(self._connect)
        self.server.on_client_disconnect(self._disconnect)
        self.gate = Gate(self.server.get_port(), host, port)
        self.url = self.gate.url
        self._aside = threading.Thread(target=self._prepare_splats, name="nerfscene-splats", daemon=True)
        self._aside.start()

    def _set_up(self) -> None:
        """viser's world stands as the scene does, and tabs open at its home."""
        stage, home = self.stage, self.stage.world.home
        self.server.scene.set_up_direction(triple(stage.world.up))
        camera = self.server.initial_camera
        camera.position = triple(home[:3, 3])
        camera.look_at = triple(home[:3, 3] + stage.distance * home[:3, 2])
        camera.up = triple(stage.world.up)
        camera.fov = stage.fov
        camera.near, camera.far = stage.distance * 1e-3, stage.distance * 1e4

    # --- tabs -------------------------------------------------------------------------------------

    def _connect(self, client: viser.ClientHandle) -> None:
        look = Look(background=self.scene.background)
        with self._lock:
            session = Session(client, self.renderer, look, self._photos)
            session.set_crop(self.stage.crop.page_from_box)
            session.set_world(self.stage.world.world_from_page)
            self.sessions[client.client_id] = session
        self.panels[client.client_id] = Panels(self.stage, client, session)
        moving = threading.Lock()

        def moved(camera: viser.CameraHandle) -> None:
            # viser calls this from several threads at once. Reading the camera and passing it on under one
            # lock keeps an older camera from arriving last, and the picture from resting on it.
            with moving:
                session.move(shot_of(camera))

        client.camera.on_update(moved)
        moved(client.camera)
        if self._splats is not None:
            session.show_splats(inside(self._splats, self.stage.crop.page_from_box))

    def _disconnect(self, client: viser.ClientHandle) -> None:
        with self._lock:
            session = self.sessions.pop(client.client_id, None)
        panels = self.panels.pop(client.client_id, None)
        if panels is not None:
            panels.close()
        if session is not None:
            session.close()

    def _cropped(self) -> None:
        """The box changed: every tab shows what is in it, and moves by splats from in it."""
        with self._lock:
            sessions = list(self.sessions.values())
        for session in sessions:
            session.set_crop(self.stage.crop.page_from_box)
            if self._splats is not None:
                session.show_splats(inside(self._splats, self.stage.crop.page_from_box))

    def _turned(self) -> None:
        """The world was set anew: every tab stands upright in it, and tells depths in its units."""
        self._set_up()
        with self._lock:
            sessions = list(self.sessions.values())
        for session in sessions:
            session.set_world(self.stage.world.world_from_page)
        for panels in list(self.panels.values()):
            panels.go_home()

    def _prepare_splats(self) -> None:
        """What tabs draw while they move; made aside, so that the first picture doesn't wait for it."""
        if self.stage.training is not None and not self._finished:
            return  # the field is still changing: moving tabs get rendered pictures
        try:
            splats = splats_of(
                replace(self.renderer, crop=None), self.scene.views, lambda: not self._closed.is_set()
            )
        except Exception:
            log.exception("no splats could be made; moving tabs get rendered pictures")
            return
        with self._lock:
            self._splats = splats
            waiting = list(self.sessions.values())
        for session in waiting:
            session.show_splats(inside(splats, self.stage.crop.page_from_box))

    # --- from outside -----------------------------------------------------------------------------

    def refresh(self) -> None:
        """The field changed: every tab gets a new picture."""
        with self._lock:
            sessions = list(self.sessions.values())
        for session in sessions:
            session.refresh()
        for panels in list(self.panels.values()):
            panels.show_training()

    def trained(self, backdrop: NDArray[np.float32] | None = None) -> None:
        """The training is over: the field stays as it is now, and tabs get splats to move by.

        ``backdrop``: what training found for the scene, see ``rendering.Renderer``.
        """
        self._finished = True
        self.scene = self.stage.scene = replace(self.scene, backdrop=backdrop)
        with self._lock:
            self.renderer = looking(self.renderer, self.renderer.background, self.renderer.crop, backdrop)
            sessions = list(self.sessions.values())
        for session in sessions:
            session.set_backdrop(backdrop)
        self.refresh()
        self._prepare_splats()

    def wait(self) -> None:
        """Until ``close`` is called, or Ctrl-C."""
        while not self._closed.wait(0.5):
            pass

    def close(self) -> None:
        """Ends the page and every tab's thread."""
        if self._closed.is_set():
            return
        self._closed.set()
        self.gate.close()
        for panels in list(self.panels.values()):
            panels.close()
        sessions = list(self.sessions.values())
        for session in sessions:
            session.close()
        # Nothing may be in the kernels any more when the process ends.
        for session in sessions:
            session.wait(10)
        self._aside.join(10)
        self.server.stop()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """viser prints a banner with an address that isn't ours."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def view(
    scene: Scene | Path | str,
    host: str = "127.0.0.1",
    port: int = 8080,
    backend: str = "auto",
    threads: int = 0,
) -> Viewer:
    """Opens a page for a scene (or the folder of one) and returns at once, so that a notebook goes on.

    ``viewer.url`` is the link, ``viewer.close()`` ends it. On another host than this machine's own address
    the link holds a token, and nobody gets in without. Where the port is taken, the next free one is used.
    Raises NerfsceneError for a scene, host or port that can't be used.
    """
    from nerfscene.scene import folder as scenes

    backends.load(backend)
    folder = None if isinstance(scene, Scene) else Path(scene).expanduser()
    loaded = scene if isinstance(scene, Scene) else scenes.load(Path(scene).expanduser())
    return Viewer(loaded, folder, host, port, backend, threads)

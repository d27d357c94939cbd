"""``view(scene)`` opens a web page to walk through a scene."""

from __future__ import annotations

import atexit
import logging
import threading
from dataclasses import replace
from pathlib import Path

import viser

from nerfscene.config import CredentialsConfig
from nerfscene.exporters.viser_server import free_port, quiet
from nerfscene.field.footprint import photos_of
from nerfscene.field.rendering import looking
from nerfscene.given import count_given, instance_given, path_given
from nerfscene.ops import backend as backends
from nerfscene.scene.folder import Scene
from nerfscene.viewer.gate import GUEST, OWNER, Gate, forbid_sharing, new_token
from nerfscene.viewer.inbox import Inbox
from nerfscene.viewer.panels import Panels
from nerfscene.viewer.session import Session
from nerfscene.viewer.splats import Splats, fitted_ones, inside, splats_of
from nerfscene.viewer.stage import Training, shot_of, stage_of, triple
from nerfscene.viewer.still import Look

log = logging.getLogger(__name__)
# For a page that has begun to fade in already; and on phones the panel leaves most of the view free.
STYLE = """<style>
canvas { opacity: 1 !important }
@media (max-width: 600px) {
  .mantine-Paper-root:has([role=tablist]) { max-height: 40% !important; width: 100% !important }
  .mantine-Paper-root .mantine-ScrollArea-content > div { width: 100% !important }
}
</style>"""
REPLACED = "This is the old scene"  # the title of a message


class Viewer:
    """A running page: open ``url`` in a browser, end it with ``close``. Also a context manager.

    folder: the scene's, where crops, worlds and camera paths are saved; None: they can't be saved.
    host, port: where to serve; if the port is taken, the next free one is used.
    training: how to watch and control the training, if the scene is still being trained.
    audience: for a page behind another server's gate, who is let through to it: gate.OWNER, or gate.GUEST,
    who then gets nothing but the look of things. Its links need their tokens even on this machine.
    ``url``: where only this machine can connect, the page's link. With any other host, the link for guests:
    it only looks, and ``owner_url`` is the one that may save as well. ``in_words``: both, in sentences.
    Raises NerfsceneError for a host or port that can't be used.
    """

    def __init__(
        self,
        scene: Scene,
        folder: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 8080,
        backend: str = "auto",
        threads: int = 0,
        training: Training | None = None,
        audience: str = "",
    ) -> None:
        self.audience = audience
        self.stage = stage_of(scene, folder, backend, training)
        self.stage.crop.changed = self._crop_changed
        self.stage.world.changed = self._world_changed
        self.scene = self.stage.scene
        self.renderer = self.scene.renderer(backend, threads)
        self._photos = photos_of(self.scene.views)
        self.sessions: dict[int, Session] = {}
        self.panels: dict[int, Panels] = {}
        self._splats: Splats | None = None
        self._leaving: list[tuple[Session | None, Panels | None]] = []  # of tabs that are being closed
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._finished = False
        inner, secret = free_port(), new_token()
        with quiet(threading.current_thread()):
            self.server = viser.ViserServer(host="127.0.0.1", port=inner, label="nerfscene", verbose=False)
        forbid_sharing(self.server)
        self.inbox = Inbox(self.server, secret)
        self.server.gui.configure_theme(show_share_button=False)
        # viser's page fades in from white while it loads light for objects, which the page doesn't need.
        self.server.scene.configure_environment_map(hdri=None)
        self.server.gui.add_html(STYLE)
        self._set_up()
        self.server.on_client_connect(self._connect)
        self.server.on_client_disconnect(self._disconnect)
        try:
            self.gate = Gate(
                self.server.get_port(), host, port, new_token() if audience else None, secret=secret
            )
        except BaseException:
            self._stop()
            raise
        self.url, self.owner_url = self.gate.url, self.gate.owner_url
        atexit.register(self.close)
        if self.stage.keeper is not None:
            self.stage.keeper.told = self._replaced
            if training is None:
                self.stage.keeper.start()
            self.stage.keeper.watch()
        self._splat_thread = threading.Thread(
            target=self._prepare_splats, name="nerfscene-splats", daemon=True
        )
        self._splat_thread.start()

    def _set_up(self) -> None:
        """Sets viser's up direction and the camera that new tabs open with."""
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
        saves = self.inbox.role(client.client_id) == OWNER
        panels = Panels(self.stage, client, session, saves, makes=self.audience != GUEST)
        self.panels[client.client_id] = panels
        if self.stage.keeper is not None and self.stage.keeper.replaced:
            panels.say_for_good(REPLACED, self.stage.keeper.replaced)
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
            leaving = self.sessions.pop(client.client_id, None), self.panels.pop(client.client_id, None)
            self._leaving.append(leaving)
        session, panels = leaving
        try:
            if session is not None:
                session.close()
            if panels is not None:
                panels.close()
        finally:
            self._leaving.remove(leaving)

    def _replaced(self, sentence: str) -> None:
        """Tells every tab that another scene is in the folder."""
        for panels in list(self.panels.values()):
            panels.say_for_good(REPLACED, sentence)

    def _crop_changed(self) -> None:
        """Applies the crop's box to every tab's pictures and splats."""
        with self._lock:
            sessions = list(self.sessions.values())
        for session in sessions:
            session.set_crop(self.stage.crop.page_from_box)
            if self._splats is not None:
                session.show_splats(inside(self._splats, self.stage.crop.page_from_box))

    def _world_changed(self) -> None:
        """Turns every tab upright in the new world, whose units it shows depths in from now on."""
        self._set_up()
        with self._lock:
            sessions = list(self.sessions.values())
        for session in sessions:
            session.set_world(self.stage.world.world_from_page)
        for panels in list(self.panels.values()):
            panels.go_home()

    def _prepare_splats(self) -> None:
        """Makes the splats that moving tabs draw. Has its own thread: first pictures needn't wait for it."""
        if self.stage.training is not None and not self._finished:
            return  # the field still changes, so moving tabs get rendered pictures
        try:
            splats = fitted_ones(self.scene) or splats_of(
                replace(self.renderer, crop=None), self.scene.views, lambda: not self._closed.is_set()
            )
        except Exception:
            log.exception("no splats could be made; moving tabs get rendered pictures")
            return
        with self._lock:
            self._splats = splats
            sessions = list(self.sessions.values())
        for session in sessions:
            session.show_splats(inside(splats, self.stage.crop.page_from_box))

    # --- for the program that opened the page -----------------------------------------------------

    def refresh(self) -> None:
        """Gives every tab a new picture, because the field changed."""
        with self._lock:
            sessions = list(self.sessions.values())
        for session in sessions:
            session.refresh()
        for panels in list(self.panels.values()):
            panels.show_training()

    def trained(self, made: Scene) -> None:
        """Tells the page that training is over: the field no longer changes, and tabs get splats.

        made: the scene that came of it. What lies behind it, its exposure and the photos', and its splats are
        shown from now on.
        """
        self._finished = True
        if self.stage.keeper is not None:
            self.stage.keeper.start()
        views = tuple(
            replace(shown, exposure=now.exposure)
            for shown, now in zip(self.scene.views, made.views, strict=True)
        )
        self.scene = self.stage.scene = replace(
            self.scene, views=views, backdrop=made.backdrop, splats=made.splats, gain=made.gain
        )
        with self._lock:
            now = self.renderer
            self.renderer = looking(now, now.background, now.crop, made.backdrop, made.gain)
            sessions = list(self.sessions.values())
        for session in sessions:
            session.set_trained(made.backdrop, made.gain)
        self.refresh()
        self._prepare_splats()

    def in_words(self, begin: str = "open") -> list[str]:
        """What to open, and what to give to others, one line each; ``begin``: the first words."""
        if self.owner_url == self.url:
            return [f"{begin} {self.url}"]
        return [
            f"{begin} {self.owner_url}   (your own link: what you save is saved with the scene)",
            f"for guests: {self.url}   (this link only looks: it can't save or change anything)",
        ]

    def wait(self) -> None:
        """Waits until ``close`` is called, or Ctrl-C."""
        while not self._closed.wait(0.5):
            pass

    def close(self) -> None:
        """Closes the page and ends every tab's thread."""
        if self._closed.is_set():
            return
        self._closed.set()
        atexit.unregister(self.close)
        if self.stage.keeper is not None:
            self.stage.keeper.close()
        with self._lock:  # the gate's closing takes tabs away, in other threads
            leaving = list(self._leaving)
            open_panels = [*self.panels.values(), *(panels for _, panels in leaving if panels)]
            sessions = [*self.sessions.values(), *(session for session, _ in leaving if session)]
        self.gate.close()
        for panels in open_panels:  # all, before the first is waited for
            panels.film.cancel()
            panels.export.cancel()
        for panels in open_panels:
            panels.close()
        sessions += self.sessions.values()  # of tabs that came meanwhile
        for session in sessions:
            session.close()
        # No thread may still run a kernel when the process ends.
        for session in sessions:
            session.wait(10)
        self._splat_thread.join(10)
        self._stop()

    def _stop(self) -> None:
        with quiet(self.server._websock_server._server_thread):
            self.server.stop()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def view(
    scene: Scene | Path | str,
    host: str = "127.0.0.1",
    port: int = 8080,
    backend: str = "auto",
    threads: int = 0,
    credentials: CredentialsConfig = CredentialsConfig(),  # noqa: B008 - frozen
) -> Viewer:
    """Opens a page for a scene, or for the scene in a folder, and returns at once.

    ``viewer.url`` is the link and ``viewer.close()`` ends the page; in a notebook the next cell can run
    meanwhile.

    scene: a Scene, or the folder of one. host: the address to serve on; with any but this machine's own
    address (127.0.0.1, localhost), the link contains an access token, and nobody gets in without it. Then
    ``viewer.url`` is for guests and only looks; ``viewer.owner_url`` may save into the scene's folder too.
    port: if it is taken, the next free one is used. backend: what computes: auto, cpu, cuda, torch or tcnn.
    threads: CPU threads to use, 0 for all. credentials: how films and pages made there are signed.
    Raises NerfsceneError for a scene, backend, host, port or key that can't be used.
    """
    from nerfscene.scene import folder as scenes

    backends.load(backend)
    instance_given(host, str, "host")
    instance_given(port, int, "port")
    count_given(threads, "threads", 0, 1024)
    instance_given(credentials, CredentialsConfig, "credentials")
    folder = None if isinstance(scene, Scene) else path_given(scene, "scene")
    loaded = scene if isinstance(scene, Scene) else scenes.load(scene)
    viewer = Viewer(loaded, folder, host, port, backend, threads)
    viewer.stage.credentials = credentials
    return viewer

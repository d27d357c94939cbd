"""A server with scenes to look at: its browsers, its real address, and a viewer that is none."""

from __future__ import annotations

import asyncio
import contextlib
import http
import io
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shared_checks  # noqa: F401  so that an application is made quickly
import uvicorn
import websockets
import websockets.asyncio.server
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from nerfscene.config import ServeConfig
from nerfscene.field.rendering import render
from nerfscene.scene import folder as scenes_on_disk
from nerfscene.serve import people, scenes
from nerfscene.serve.app import create_app
from nerfscene.serve.gate import COOKIE, session_for
from nerfscene.serve.people import Person
from nerfscene.serve.scenes import Places, SceneRow, places
from nerfscene.serve.server import listening
from nerfscene.serve.shop import Shop, opened
from nerfscene.serve.viewers import Audience, Running, Viewers
from nerfscene.types import Camera
from nerfscene.viewer.stage import Shot, stage_of
from nerfscene.viewer.still import Look, developed, lens_of

HOME = "http://localhost"
PATIENCE = 300.0  # seconds, on a busy machine


def shop(folder: Path, **config: Any) -> Shop:
    """A server's folder, with who started it."""
    made = opened(folder / "data", ServeConfig(**config))
    people.first_person(made.db)
    return made


def client(of: Shop, person: Person | None = None) -> TestClient:
    """A browser that follows no redirects; someone is logged in if given."""
    made = TestClient(create_app(of, working=False), HOME, follow_redirects=False)
    if person is not None:
        made.cookies.set(COOKIE, session_for(of, person))
    return made


def owner(of: Shop) -> Person:
    """Who started the server."""
    return people.first_person(of.db)


def invited(of: Shop, role: Any = "guest", name: str = "Ada") -> Person:
    """Someone whom the first person invited."""
    return people.invited(of.db, owner(of), name, role)[0]


def scene(of: Shop, trained: Path | None = None, title: str = "Grandma's kitchen") -> tuple[SceneRow, Places]:
    """A scene of the first person's, with a copy of a trained one or the file that tells that it is there."""
    made = scenes.new_scene(of.db, of.data, owner(of).id, title, {})
    at = places(of.data, made.id)
    if trained is not None:
        shutil.copytree(trained, at.scene)
    else:
        at.scene.mkdir()
        (at.scene / "scene.json").write_text("{}")
    return made, at


def until(condition: Callable[[], Any], what: str) -> Any:
    """Waits until a condition holds, and returns its value."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE} s in vain for {what}")


@contextlib.contextmanager
def at_an_address(of: Shop) -> Iterator[tuple[str, Viewers]]:
    """The server at a real address, in a thread, and its viewers."""
    app = create_app(of, working=False)
    with listening("127.0.0.1", 0) as sockets:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": sockets})
        thread.start()
        until(lambda: server.started, "the server")
        try:
            yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}", app.state.viewers
        finally:
            server.should_exit = True
            thread.join()


class Echo:
    """Stands for a viewer: answers "page PATH", and sends back what its WebSockets say.

    asked: the headers of each request. Used as ``started``, in place of a process that shows a scene.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.port = 0
        self.cookie = "nerfscene-1=secret"
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def __enter__(self) -> Echo:
        self._thread.start()
        until(lambda: self.port, "the stand-in")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _serve(self) -> None:
        async with websockets.asyncio.server.serve(
            self._echo, "127.0.0.1", 0, process_request=self._page, compression=None,
            select_subprotocol=lambda _, offered: offered[0] if offered else None,
        ) as server:  # fmt: skip
            self.port = server.sockets[0].getsockname()[1]
            await self._over.wait()

    def _page(self, connection: Any, request: Any) -> Any:
        self.asked.append({k.lower(): v for k, v in request.headers.raw_items()})
        if "upgrade" in self.asked[-1]:
            return None
        answer = connection.respond(http.HTTPStatus.OK, f"page {request.path}")
        answer.headers["Set-Cookie"] = self.cookie
        answer.headers["Access-Control-Allow-Origin"] = "*"
        return answer

    async def _echo(self, connection: Any) -> None:
        async for message in connection:
            if message == "leave":
                return
            await connection.send(message)

    def started(self, viewers: Viewers, scene: str, audience: Audience) -> Running:
        """What ``Viewers`` would start."""
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return Running(scene, audience, process, None, "ready", port=self.port, cookie=self.cookie)


@contextlib.contextmanager
def echo(patch: pytest.MonkeyPatch) -> Iterator[Echo]:
    """In place of viewers' processes."""
    with Echo() as stand_in:
        patch.setattr(Viewers, "_started", lambda self, scene, who: stand_in.started(self, scene, who))
        yield stand_in


Clear = tuple[slice, slice]  # the rows and columns of a picture in which nothing lies over the scene
WIDTH = 200  # pixels: what pictures are compared at


def expected(folder: Path, window: dict[str, int], clear: Clear) -> NDArray[np.float32]:
    """What the viewer's page shows when it opens, rendered here: (height, width, 3), 0…1.

    window: its width and height, in pixels; clear: of a picture that is WIDTH wide.
    """
    stage = stage_of(scenes_on_disk.load(folder), None, "auto", None)
    shot = Shot(stage.world.home, stage.fov, window["width"], window["height"])
    camera = Camera(lens_of(shot, *_size(window["width"], window["height"])), shot.world_from_cam)
    frame = render(stage.scene.renderer("auto", 1), camera)
    picture = Image.fromarray(developed(frame, Look(), camera, stage.world.world_from_page))
    return _small(picture, clear)


def seen(page: Any, clear: Clear) -> NDArray[np.float32]:
    """What a browser's page shows, to be compared with that."""
    return _small(Image.open(io.BytesIO(page.screenshot())), clear)


def _size(width: int, height: int) -> tuple[int, int]:
    return WIDTH, round(height * WIDTH / width)


def _small(picture: Image.Image, clear: Clear) -> NDArray[np.float32]:
    small = picture.convert("RGB").resize(_size(*picture.size), Image.Resampling.BOX)
    return np.asarray(small, np.float32)[clear] / 255

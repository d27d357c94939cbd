"""A client of the viewer's page that is no browser: it sends whatever a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import viser
import websockets.asyncio.client
import zstandard
from viser import _messages

from nerfscene.viewer.keyframes import Plan
from nerfscene.viewer.panels import Panels
from nerfscene.viewer.server import Viewer
from nerfscene.viewer.session import Session

CAMERA: dict[str, Any] = {
    "wxyz": (1.0, 0.0, 0.0, 0.0), "position": (0.0, 0.0, -3.0), "fov": 0.8, "near": 0.01, "far": 1000.0,
    "image_height": 24, "image_width": 32, "look_at": (0.0, 0.0, 0.0), "up_direction": (0.0, -1.0, 0.0),
}  # fmt: skip


def wait(condition: Callable[[], Any], seconds: float = 300, what: str = "") -> Any:
    """Waits until a condition holds, and returns its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain {what}")


def plan_of(client: Client) -> Plan:
    """What a client's tab edits, with every control of its path and its film showing that.

    viser runs callbacks in threads of its own. Each holds this lock until its change is shown.
    """
    with client.panels.path.edits.lock:
        return client.panels.path.editor.plan


def cookie_of(url: str) -> str:
    """The cookie that a link's page sets, "" if it sets none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=300)
    connection.request("GET", f"{parts.path}?{parts.query}")
    cookie = connection.getresponse().getheader("set-cookie", "")
    connection.close()
    return cookie.split(";")[0]


class Client:
    """A websocket to a viewer, opened with one of its links; a context manager.

    messages: every message received. ``panels`` and ``session`` are what the viewer has made for it.
    """

    def __init__(self, viewer: Viewer, url: str | None = None, port: int | None = None) -> None:
        """port: to connect to instead of the gate's."""
        self.viewer, self.url = viewer, url or viewer.url
        self.port = port or urlsplit(self.url).port
        self.messages: list[dict[str, Any]] = []
        self.panels: Panels
        self.session: Session
        self._loop = asyncio.new_event_loop()
        self._socket: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Client:
        before = set(self.viewer.panels)
        self._thread.start()
        wait(lambda: self._socket, what="for a connection")
        self.send(_messages.ViewerCameraMessage(**CAMERA))
        if self.port == self.viewer.gate.port:
            client = wait(lambda: set(self.viewer.panels) - before, what="for panels").pop()
            self.panels, self.session = self.viewer.panels[client], self.viewer.sessions[client]
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the connection has ended by itself
            self._loop.call_soon_threadsafe(self._leaving.cancel)
        self._thread.join(300)

    def send(self, message: Any) -> None:
        """Sends a message of viser's."""
        raw = msgspec.msgpack.encode(message.as_serializable_dict())
        asyncio.run_coroutine_threadsafe(self._socket.send(raw), self._loop).result(300)

    def set(self, handle: Any, value: Any, name: str = "value") -> None:
        """Sends a value for a widget, whatever it is."""
        self.send(_messages.GuiUpdateMessage(handle._impl.uuid, {name: value}))

    def after(self, condition: Callable[[], Any]) -> Any:
        """Waits until what was sent before has had its effect."""
        return wait(condition, what="for a message's effect")

    def heard(self, *texts: str) -> bool:
        """Whether a notification that holds these texts has come."""
        found = [str(m) for m in self.messages if "Notification" in str(m.get("type"))]
        return any(all(text in one for text in texts) for one in found)

    def _run(self) -> None:
        self._leaving = self._loop.create_task(self._listen())
        with contextlib.suppress(asyncio.CancelledError, websockets.exceptions.ConnectionClosed):
            self._loop.run_until_complete(self._leaving)
        self._loop.close()

    async def _listen(self) -> None:
        headers = {"Cookie": cookie_of(self.url)} if "token=" in self.url else {}
        async with websockets.asyncio.client.connect(
            f"ws://127.0.0.1:{self.port}/", additional_headers=headers, max_size=None,
            open_timeout=300, ping_interval=None,
            subprotocols=[f"viser-v{viser.__version__}"],  # type: ignore[list-item]
        ) as self._socket:  # fmt: skip
            async for raw in self._socket:
                self._note(raw)

    def _note(self, raw: bytes) -> None:
        # viser's framing: the sizes of the messages before and after compression, then those, then arrays.
        size, compressed = (int.from_bytes(raw[at : at + 8], "little") for at in (0, 8))
        data = zstandard.ZstdDecompressor().decompress(raw[16 : 16 + compressed], max_output_size=size)
        self.messages += msgspec.msgpack.decode(data)["messages"]

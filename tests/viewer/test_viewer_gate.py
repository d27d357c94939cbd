"""Who may see the page: the gate before a real viser server, with real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import viser
import websockets.asyncio.client
from conftest import ROOT
from viser import _messages

from nerfscene.errors import NerfsceneError
from nerfscene.exporters.viser_server import free_port
from nerfscene.viewer.gate import Gate, forbid_sharing, needs_token

TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def inner() -> Iterator[viser.ViserServer]:
    with contextlib.redirect_stdout(io.StringIO()):
        server = viser.ViserServer(host="127.0.0.1", port=free_port(), verbose=False)
    forbid_sharing(server)
    yield server
    server.stop()


@pytest.fixture
def local(inner: viser.ViserServer) -> Iterator[Gate]:
    with Gate(inner.get_port(), port=free_port()) as gate:
        yield gate


@pytest.fixture
def public(inner: viser.ViserServer) -> Iterator[Gate]:
    with Gate(inner.get_port(), "0.0.0.0", free_port(), TOKEN) as gate:
        yield gate


def get(gate: Gate, path: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=600)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body


def protocol() -> Any:
    return [f"viser-v{viser.__version__}"]


def first_message(gate: Gate, **headers: str) -> bytes:
    """The first message on the page's websocket; raises InvalidStatus if the gate refuses it."""

    async def listen() -> bytes:
        at = f"ws://127.0.0.1:{gate.port}/"
        origin = headers.pop("Origin", None)
        async with websockets.asyncio.client.connect(
            at,
            additional_headers=headers,
            origin=origin,
            subprotocols=protocol(),
            max_size=None,
            open_timeout=600,
        ) as connection:
            return bytes(await asyncio.wait_for(connection.recv(), 300))

    return asyncio.run(listen())


def refused(gate: Gate, **headers: str) -> int:
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        first_message(gate, **headers)
    return int(caught.value.response.status_code)


def test_this_machine_needs_no_token(local: Gate) -> None:
    assert local.url == f"http://127.0.0.1:{local.port}/" and local.token is None
    status, _, body = get(local)
    assert status == 200 and b"<html" in body.lower()
    assert first_message(local)
    assert first_message(local, Origin=f"http://127.0.0.1:{local.port}")


def test_other_sites_and_names_are_refused(local: Gate) -> None:
    assert refused(local, Origin="http://evil.example") == 403
    assert refused(local, Origin="null") == 403
    assert get(local, Host="evil.example")[0] == 403
    assert get(local, Host=f"evil.example:{local.port}")[0] == 403
    assert get(local, Host=f"localhost:{local.port}")[0] == 200


def test_others_need_the_token(public: Gate) -> None:
    assert public.url.endswith(f"?token={TOKEN}")
    for path in ("/", "/index.html", "/assets/anything.js", "/?token=wrong", "/?token="):
        status, headers, body = get(public, path)
        assert status == 401 and b"token" in body and "set-cookie" not in headers, path
    assert get(public, Cookie=f"nerfscene-{public.port}=wrong")[0] == 401
    assert refused(public) == 401
    assert refused(public, Cookie="nerfscene=" + TOKEN) == 401


def test_the_link_lets_in_and_leaves_the_token_behind(public: Gate) -> None:
    status, headers, _ = get(public, f"/?token={TOKEN}&initialDistanceScale=2")
    assert status == 302 and headers["location"] == "/?initialDistanceScale=2"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    pair = cookie.split(";")[0]
    assert get(public, Cookie=pair)[0] == 200
    assert first_message(public, Cookie=pair)
    assert refused(public, Cookie=pair, Origin="http://evil.example") == 403


def test_a_second_request_on_a_connection_is_not_passed_on(local: Gate) -> None:
    with socket.create_connection(("127.0.0.1", local.port), 300) as s:
        host = f"Host: 127.0.0.1:{local.port}\r\n"
        first = f"GET /nothing HTTP/1.1\r\n{host}Connection: keep-alive\r\n\r\n"
        second = f"GET / HTTP/1.1\r\n{host}Origin: http://evil.example\r\nUpgrade: websocket\r\n\r\n"
        s.sendall((first + second).encode())
        everything = b""
        while part := s.recv(65536):
            everything += part
    assert everything.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    ((b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n", b"431"), (b"rubbish\r\n\r\n", b"400"),
     (b"GET http://other/ HTTP/1.1\r\n\r\n", b"400"), (b"\xff\xfe\r\n\r\n", b"400")),
)  # fmt: skip
def test_malformed_requests_are_answered(local: Gate, request_: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", local.port), 300) as s:
        with contextlib.suppress(OSError):  # it may answer before all is sent
            s.sendall(request_)
        assert status in s.recv(65536)
    assert get(local)[0] == 200


def test_nobody_can_open_the_tunnel(inner: viser.ViserServer, local: Gate, monkeypatch: Any) -> None:
    called = []
    monkeypatch.setattr(type(inner), "request_share_url", lambda *a, **k: called.append(a))
    import msgspec

    async def ask() -> None:
        async with websockets.asyncio.client.connect(
            f"ws://127.0.0.1:{local.port}/", subprotocols=protocol(), max_size=None, open_timeout=600
        ) as connection:
            await asyncio.wait_for(connection.recv(), 300)
            message = _messages.ShareUrlRequest().as_serializable_dict()
            await connection.send(msgspec.msgpack.encode([message]))
            await asyncio.sleep(0.5)

    with contextlib.suppress(websockets.exceptions.ConnectionClosed):
        asyncio.run(ask())
    assert not called
    handlers = inner._websock_server._incoming_handlers
    assert _messages.ShareUrlRequest not in handlers and _messages.ShareUrlDisconnect not in handlers


def test_a_viser_of_another_kind_is_not_served() -> None:
    with pytest.raises(NerfsceneError, match="tunnel"):
        forbid_sharing(object())


def test_a_taken_port_makes_way(inner: viser.ViserServer, local: Gate) -> None:
    with Gate(inner.get_port(), port=local.port) as second:
        assert second.port > local.port and get(second)[0] == 200


def test_closing_frees_the_port_and_the_thread(inner: viser.ViserServer) -> None:
    gate = Gate(inner.get_port(), port=free_port())
    lingering = socket.create_connection(("127.0.0.1", gate.port), 300)
    gate.close()
    assert not gate._thread.is_alive()
    lingering.close()
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", gate.port))
    gate.close()  # once more does no harm


def test_a_viewer_that_has_ended_is_reported() -> None:
    with Gate(free_port(), port=free_port()) as gate:
        status, _, body = get(gate)
        assert status == 502 and b"ended" in body


@pytest.mark.parametrize(
    ("host", "port"), (("no.such.host.invalid", 0), ("127.0.0.1", 70000), ("8.8.8.8", 0))
)
def test_addresses_that_cannot_be_listened_on_are_refused(host: str, port: int) -> None:
    with pytest.raises(NerfsceneError, match=r"--(host|port)"):
        Gate(1, host, port)


def test_which_addresses_are_this_machines() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.3.2.1"):
        assert not needs_token(host)
    for host in ("0.0.0.0", "::", "192.168.1.5", "somewhere.example"):
        assert needs_token(host)


def read_until(process: subprocess.Popen[str], pattern: str, seconds: float = 300) -> str:
    """Reads a process's output until a line matches; returns the match. Kills it after ``seconds``."""
    assert process.stdout is not None
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    text = ""
    try:
        for line in process.stdout:
            text += line
            found = re.search(pattern, line)
            if found:
                return found.group(1)
    finally:
        timer.cancel()
    raise AssertionError(f"no {pattern!r} in:\n{text}")


def started(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nerfscene.cli", *map(str, arguments)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def page(url: str) -> int:
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=600)
    connection.request("GET", "/")
    return connection.getresponse().status


def test_the_command_serves_until_ctrl_c(trained: Path) -> None:
    process = started("view", trained, "--port", free_port())
    url = read_until(process, r"(http://\S+)")
    assert page(url) == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130


def test_viewing_what_is_no_scene_gives_one_sentence(tmp_path: Path) -> None:
    process = started("view", tmp_path)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 2 and "Traceback" not in said and str(tmp_path) in said


def test_training_can_be_watched(small_room: Path, tmp_path: Path) -> None:
    small = ("--field.log2-table", 12, "--field.finest-resolution", 64, "--field.occupancy-resolution", 32)
    watched = ("--view", "--port", free_port())
    process = started("train", small_room, "-o", tmp_path / "scene", "--steps", 100, *watched, *small)
    url = read_until(process, r"look at it: (http://\S+)")
    assert page(url) == 200
    read_until(process, r"the page (stays) open")
    assert page(url) == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    assert (tmp_path / "scene/scene.json").exists()

"""Passes requests and WebSockets on to a viewer process, and its answers back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import WebSocket
from fastapi.responses import Response, StreamingResponse
from starlette.websockets import WebSocketDisconnect, WebSocketState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

HEAD_LIMIT = 64 * 1024  # bytes of an answer's head, at most
CHUNK = 64 * 1024  # bytes passed on at a time
SECONDS = 20.0  # for a viewer to begin its answer
LARGEST = 1 << 28  # bytes of one message from a viewer: a film to download
QUEUED = 4  # messages from a viewer that wait for a slow browser; more wait in the viewer
KEPT = ("content-type", "content-length")  # of the headers of a viewer's answer
GOING, TRY_AGAIN, FORBIDDEN = 1001, 1013, 1008  # WebSocket's codes for why it is closed


class NotReached(Exception):
    """The viewer doesn't answer."""


async def fetched(port: int, cookie: str, method: str, path: str, headers: dict[str, str]) -> Response:
    """A viewer's answer to a GET or HEAD for a path such as "/". headers: to add to it. Raises NotReached.

    Nothing of the browser's own headers is passed on: a viewer's pages are the same for everyone.
    """
    # viser knows only GET.
    head = f"GET {quote(path)} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n"
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=HEAD_LIMIT)
            writer.write(head.encode("ascii"))
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(answer[0].split(" ")[1])
    except (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError) as error:
        raise NotReached from error
    found = dict(line.split(": ", 1) for line in answer[1:] if ": " in line)
    kept = {k.lower(): v for k, v in found.items() if k.lower() in KEPT}
    if method == "HEAD":
        writer.close()
        return Response(None, status, {**kept, **headers})

    async def body() -> AsyncIterator[bytes]:
        try:
            while data := await reader.read(CHUNK):
                yield data
        finally:
            writer.close()

    return StreamingResponse(body(), status, {**kept, **headers})


async def joined(browser: WebSocket, port: int, cookie: str, refused: Coroutine[Any, Any, None]) -> None:
    """Joins a browser's WebSocket to a viewer's, until either ends.

    refused: returns once the browser may look no longer, which ends both.
    """
    forbidden = asyncio.ensure_future(refused)
    protocols = [Subprotocol(p) for p in browser.scope.get("subprotocols", [])]
    try:
        async with connect(
            f"ws://127.0.0.1:{port}/", subprotocols=protocols or None, additional_headers={"Cookie": cookie},
            compression=None, max_size=LARGEST, max_queue=QUEUED, open_timeout=SECONDS, ping_interval=None,
            proxy=None, user_agent_header=None,
        ) as viewer:  # fmt: skip
            await browser.accept(viewer.subprotocol)
            await _both_ways(browser, viewer, forbidden)
    except (OSError, TimeoutError, InvalidHandshake):
        await _closed(browser, TRY_AGAIN)
    finally:
        forbidden.cancel()


async def _both_ways(browser: WebSocket, viewer: ClientConnection, forbidden: asyncio.Future[None]) -> None:
    ways = [asyncio.ensure_future(work) for work in (_up(browser, viewer), _down(browser, viewer))]
    try:
        await asyncio.wait([*ways, forbidden], return_when=asyncio.FIRST_COMPLETED)
        code = FORBIDDEN if forbidden.done() else GOING
    finally:
        for task in ways:
            task.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    await _closed(browser, code)


async def _up(browser: WebSocket, viewer: ClientConnection) -> None:
    with contextlib.suppress(WebSocketDisconnect, ConnectionClosed):
        while True:
            message = await browser.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            await viewer.send(data if data is not None else message["text"])


async def _down(browser: WebSocket, viewer: ClientConnection) -> None:
    with contextlib.suppress(WebSocketDisconnect, ConnectionClosed, RuntimeError):
        async for data in viewer:
            await (browser.send_text(data) if isinstance(data, str) else browser.send_bytes(data))


async def _closed(browser: WebSocket, code: int) -> None:
    """Closes a browser's WebSocket, unless it has gone already."""
    if WebSocketState.DISCONNECTED not in (browser.client_state, browser.application_state):
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await browser.close(code)

"""What holds for every request and answer: which names the server is known by, and headers for browsers."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

from nerfscene.serve.shop import Shop

Scope = dict[str, Any]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; frame-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# For every answer that doesn't say otherwise.
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
    b"cache-control": b"no-store",
}
# Frames within the server's own pages: viewers and pages to send.
FRAMED = {b"x-frame-options": b"SAMEORIGIN"}


class Guard:
    """Middleware: refuses requests to a name that is not the server's, and adds HEADERS.

    A page of another site whose name its owner lets point here (DNS rebinding) would otherwise be taken for
    the server's own.
    """

    def __init__(self, app: Any, shop: Shop) -> None:
        self.app = app
        self.names = known_names(shop)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        host = next((v for k, v in scope["headers"] if k == b"host"), b"").decode("latin-1")
        if not known(host, self.names):
            await _refuse(scope, send, host)
            return

        async def sent(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                there = {k.lower() for k, _ in message.get("headers", ())}
                message["headers"] = [
                    *message.get("headers", ()),
                    *((k, v) for k, v in HEADERS.items() if k not in there),
                ]
            await send(message)

        await self.app(scope, receive, sent)


def known_names(shop: Shop) -> set[str]:
    """The names by which requests may call the server; addresses in numbers may always be used."""
    own = socket.gethostname().lower()
    names = {"localhost", own, own.partition(".")[0], f"{own.partition('.')[0]}.local", shop.config.host}
    if shop.config.url:
        names.add((urlsplit(shop.config.url).hostname or "").lower())
    return names


def known(host: str, names: set[str]) -> bool:
    """Whether a Host header is one of the server's."""
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        if "@" in host or parts.port == 0:
            return False
    except ValueError:  # such as "[::1" or "localhost:x"
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.lower() in names
    return True


async def _refuse(scope: Scope, send: Any, host: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    text = f"this server isn't called {host}; start it with --url and the address that you use".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS.items()]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": text})

"""Holds back who guesses keys, and requests that are too large.

Who guesses must wait; keys that were right before are never held back, so that nobody else in the same
network is shut out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from fastapi import HTTPException, Request
from starlette.responses import Response

from nerfscene.serve.gate import HEARD
from nerfscene.serve.limits import in_words

WRONG_KEYS = 20  # of one address, before each further one costs a wait
WRONG_WAIT = 15.0  # seconds until one more may be tried
MOST_ADDRESSES = 10_000  # remembered; the oldest are forgotten first
LARGEST_BODY = 1 << 20  # bytes of a request that carries no files
TOO_LARGE = f"the request is too large; without files it may have {LARGEST_BODY >> 20} MiB"
LOGIN = "/login"

Scope = dict[str, Any]
Sentence = Callable[[Request, str, int, dict[str, str]], Response]


class WrongKeys:
    """How many wrong keys each address has tried lately, and which keys were right."""

    def __init__(self) -> None:
        self._tried: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address: (count, when)
        self._right: OrderedDict[str, None] = OrderedDict()

    def wait(self, address: str, key: str) -> float:
        """Seconds to wait before this address may try this key; 0 if it may now."""
        if _hash(key) in self._right:
            return 0.0
        over = self._count(address) - (WRONG_KEYS - 1)
        return over * WRONG_WAIT if over > 0 else 0.0

    def right(self, key: str) -> None:
        """This key was right."""
        self._right[_hash(key)] = None
        self._right.move_to_end(_hash(key))
        _forget_oldest(self._right)

    def wrong(self, address: str, key: str) -> None:
        """This key was wrong."""
        self._right.pop(_hash(key), None)
        self._tried[address] = self._count(address) + 1, monotonic()
        self._tried.move_to_end(address)
        _forget_oldest(self._tried)

    def _count(self, address: str) -> float:
        count, when = self._tried.get(address, (0.0, 0.0))
        return max(count - (monotonic() - when) / WRONG_WAIT, 0.0)


def _forget_oldest(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > MOST_ADDRESSES:
        kept.popitem(last=False)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def address_of(scope: Scope) -> str:
    """Who asks, as far as limits go: an address; of IPv6 a network, all of which one machine may have."""
    host = (scope.get("client") or ("",))[0]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if ip.version == 6 and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


class Throttle:
    """Middleware: refuses keys of who tried too many wrong ones, and requests that are too large.

    sentence: makes the answer that refuses.
    """

    def __init__(self, app: Any, sentence: Sentence) -> None:
        self.app, self.sentence, self.keys = app, sentence, WrongKeys()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        kind, key = scope["type"], _bearer(scope)
        if kind == "http" and not carries_files(scope["path"]):
            if _length(scope) > LARGEST_BODY:
                await self._refuse(scope, receive, send, TOO_LARGE, 413, {"Connection": "close"})
                return
            receive = _counted(receive)
        logs_in = kind == "http" and scope["path"] == LOGIN and scope["method"] == "POST"
        if key is None and not logs_in:
            await self.app(scope, receive, send)
            return
        address = address_of(scope)
        wait = self.keys.wait(address, key or "")
        if wait > 0:
            text = f"too many wrong keys came from your address; wait {in_words(wait)}, and try again"
            await self._refuse(scope, receive, send, text, 429, {"Retry-After": str(math.ceil(wait))})
            return

        heard: dict[str, bool] = {}  # what the gate finds of the key
        scope[HEARD] = heard

        async def sent(message: dict[str, Any]) -> None:
            refused = logs_in and message.get("status") in (401, 403)
            if refused or heard.get("right") is False:
                self.keys.wrong(address, key or "")
            elif key is not None and heard.get("right"):
                self.keys.right(key)
            heard.clear()
            await send(message)

        await self.app(scope, receive, sent)

    async def _refuse(
        self, scope: Scope, receive: Any, send: Any, text: str, status: int, headers: dict[str, str]
    ) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = self.sentence(Request(scope, receive), text, status, headers)
        await answer(scope, receive, send)


def carries_files(path: str) -> bool:
    """Whether requests to this path may be large; what takes files has limits of its own."""
    return path.startswith("/api/uploads") or (path.startswith("/scenes/") and path.endswith("/upload"))


def _counted(receive: Any) -> Callable[[], Awaitable[dict[str, Any]]]:
    came = 0

    async def counting() -> dict[str, Any]:
        nonlocal came
        message: dict[str, Any] = await receive()
        came += len(message.get("body", b""))
        if came > LARGEST_BODY:
            raise HTTPException(413, TOO_LARGE)
        return message

    return counting


def _bearer(scope: Scope) -> str | None:
    if scope["type"] not in ("http", "websocket"):
        return None
    scheme, _, key = (_header(scope, b"authorization") or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _length(scope: Scope) -> int:
    value = (_header(scope, b"content-length") or "0").strip()
    return int(value) if value.isdigit() and len(value) < 20 else 0


def _header(scope: Scope, name: bytes) -> str | None:
    found = next((v for k, v in scope["headers"] if k == name), None)
    return None if found is None else found.decode("latin-1")

"""Decides who may see the page, because viser itself has no access control.

viser has no authentication, doesn't check origins, and lets clients open a public tunnel. So viser listens
only on a loopback port of its own. The gate listens on the requested address and forwards requests to it.
If that address is any but the machine's own (127.0.0.1, localhost), requests need a token: the owner's or the
guests'. Websockets opened by other sites' pages, and Host headers that name another site, are always refused.
A header tells viser's side who is asking. It carries a secret, so that neither a client's own header nor a
connection that finds viser's port by itself counts as anybody: see ``inbox.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from nerfscene.errors import NerfsceneError

HEAD_LIMIT = 64 * 1024  # bytes of a request's head, at most
HEAD_SECONDS = 10.0  # to send the head in
CHUNK = 64 * 1024  # bytes forwarded at a time
PORTS = 100  # how many ports are tried, from the requested one upwards
LOCAL = {"localhost", "127.0.0.1", "::1"}
OWNER, GUEST = "owner", "guest"  # who may save into the scene, and who may only look
ROLE_HEADER = "X-Nerfscene-Role"  # "SECRET-owner" or "SECRET-guest", between the gate and viser


def needs_token(host: str) -> bool:
    """Whether other machines can reach an address, so that a token is needed."""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True  # a host name may stand for any address


def new_token() -> str:
    """A random token that can't be guessed."""
    return secrets.token_urlsafe(24)


def forbid_sharing(server: Any) -> None:
    """Removes the handlers with which a client opens or closes viser's public tunnel.

    Raises NerfsceneError when this version of viser is built differently, so that removal can't be verified.
    """
    from viser import _messages

    forbidden = [_messages.ShareUrlRequest, _messages.ShareUrlDisconnect]
    try:
        handlers = server._websock_server._incoming_handlers
        for message in forbidden:
            handlers.pop(message, None)
        gone = not any(message in server._websock_server._incoming_handlers for message in forbidden)
    except (AttributeError, TypeError):
        gone = False
    if not gone:
        raise NerfsceneError(
            "this version of viser could let a visitor open a public tunnel, so the page is not served; "
            "install another one: pip install 'viser==1.1.1'"
        )


@dataclass(frozen=True)
class Request:
    """The head of an HTTP request."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """The value of a header (lower-case name), "" if it is missing."""
        return next((v for k, v in self.headers if k.lower() == name), "")

    @property
    def upgrades(self) -> bool:
        """Whether the request asks for a websocket."""
        return "websocket" in self.get("upgrade").lower()


def parse_head(head: bytes) -> Request | None:
    """The parsed head of a request; None if it isn't valid HTTP/1, or asks for what is no path."""
    try:
        first, *rest = head.decode("latin-1").split("\r\n")
        if any(c in head.replace(b"\r\n", b"") for c in b"\r\n\0"):
            return None  # viser might see another line there than the gate does
        method, target, version = first.split(" ")
        urlsplit(target)
        headers = []
        for line in rest:
            if line:
                name, value = line.split(":", 1)
                headers.append((name, value.strip()))
    except ValueError:
        return None
    if not version.startswith("HTTP/1.") or not target.startswith("/") or target.startswith("//"):
        return None  # what follows two slashes would be a host's name
    return Request(method, target, version, tuple(headers))


def host_of(value: str) -> str:
    """The name in a Host header or an origin's authority, without its port."""
    try:
        return (urlsplit("//" + value).hostname or "").lower()
    except ValueError:
        return ""


def is_origin(value: str) -> bool:
    """Whether an Origin header names a site, as browsers send it; "null" is one that it doesn't tell."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError for one that is none
    except ValueError:
        return False
    return value == "null" or bool(parts.scheme and parts.hostname)


@dataclass(frozen=True)
class Rules:
    """Which requests are allowed, and whose they are.

    tokens: {role: token}, one of which is required; empty: everybody is the owner. local: the Host header
    must name this machine. cookie: the name of the cookie that holds the token.
    """

    tokens: dict[str, str]
    local: bool
    cookie: str

    def refuse(self, r: Request) -> tuple[str, str] | None:
        """(status, sentence) for a request that is not allowed; None for one that is."""
        if self.local and host_of(r.get("host")) not in LOCAL:
            return "403 Forbidden", "This page is only for this machine: open it as localhost."
        origin = r.get("origin")
        if origin and not is_origin(origin):
            return "400 Bad Request", "The Origin of this request is not an address."
        if origin and urlsplit(origin).netloc.lower() != r.get("host").lower():
            return "403 Forbidden", "Pages of other sites may not connect here."
        if self.role(r) is None:
            return "401 Unauthorized", "Open the complete link that nerfscene printed; it ends in a token."
        return None

    def role(self, r: Request) -> str | None:
        """Whose token a request carries, in its URL or else in the cookie; None: nobody's."""
        if not self.tokens:
            return OWNER
        given = [v for k, v in parse_qsl(urlsplit(r.target).query) if k == "token"]
        for part in r.get("cookie").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie:
                given.append(value)
        for g in given:
            for role, token in self.tokens.items():
                # Compared in constant time, so that the time doesn't reveal how much of a guess was right.
                if hmac.compare_digest(g.encode(), token.encode()):
                    return role
        return None

    def redirect(self, r: Request) -> str | None:
        """The URL of a link without its token, to redirect to; None for other requests."""
        parts = urlsplit(r.target)
        query = parse_qsl(parts.query, keep_blank_values=True)
        if not self.tokens or r.upgrades or not any(k == "token" for k, _ in query):
            return None
        rest = urlencode([(k, v) for k, v in query if k != "token"])
        return parts.path + ("?" + rest if rest else "")


def forwarded(r: Request, who: str = "") -> bytes:
    """The head to send to viser, without the token; one request a connection, so that each is checked.

    who: the value of ROLE_HEADER.
    """
    dropped = {ROLE_HEADER.lower()} | (set() if r.upgrades else {"connection", "keep-alive"})
    keep = [(k, v) for k, v in r.headers if k.strip().lower() not in dropped]
    keep.append((ROLE_HEADER, who))
    if not r.upgrades:
        keep.append(("Connection", "close"))
    parts = urlsplit(r.target)
    query = urlencode([(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k != "token"])
    target = parts.path + ("?" + query if query else "")
    lines = [f"{r.method} {target} {r.version}", *(f"{k}: {v}" for k, v in keep)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer(status: str, text: str, *headers: str) -> bytes:
    """A complete HTTP response of plain text."""
    body = (text + "\n").encode()
    lines = [f"HTTP/1.1 {status}", "Content-Type: text/plain; charset=utf-8", f"Content-Length: {len(body)}",
             "Connection: close", "Cache-Control: no-store", *headers]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Gate:
    """Forwards allowed requests to a viser server on a loopback port, until ``close``.

    inner_port: viser's. host, port: where to listen; if the port is taken, the next free one is used. token:
    the guests'; generated if one is needed and none is given, as the owner's always is. ``url`` is the
    guests' link and ``owner_url`` the owner's: both the same, without a token, if only this machine can
    connect. ``port`` is the port used, ``cookie`` the name of the cookie that may hold a token. secret:
    precedes the role in ROLE_HEADER.
    Raises NerfsceneError for a host or port that can't be listened on.
    """

    def __init__(
        self,
        inner_port: int,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
        secret: str = "",
    ) -> None:
        if not 0 <= port <= 65535:
            raise NerfsceneError(f"--port must be 0 to 65535, not {port}")
        self.token = token or (new_token() if needs_token(host) else None)
        tokens = {} if self.token is None else {OWNER: new_token(), GUEST: self.token}
        self._inner, self._secret = inner_port, secret
        self._socket = listen(host, port)
        self.port = int(self._socket.getsockname()[1])
        self.cookie = f"nerfscene-{self.port}"
        self._rules = Rules(tokens, not needs_token(host), self.cookie)
        self.url = link(host, self.port, self.token)
        self.owner_url = link(host, self.port, tokens.get(OWNER))
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(ready.set,), name="nerfscene-gate", daemon=True
        )
        self._thread.start()
        ready.wait()

    def close(self) -> None:
        """Closes every connection and frees the port."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, ready: Callable[[], None]) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, sock=self._socket, limit=HEAD_LIMIT)
        )
        ready()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            with contextlib.suppress(Exception):
                self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the visitor left, or the gate closes
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(Exception):
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
        except asyncio.LimitOverrunError:
            await reply(writer, answer("431 Request Header Fields Too Large", "This request is too long."))
            return
        except (TimeoutError, asyncio.IncompleteReadError):
            return
        request = parse_head(head[:-4])
        if request is None:
            await reply(writer, answer("400 Bad Request", "This is not a valid request."))
            return
        refused = self._rules.refuse(request)
        if refused is not None:
            await reply(writer, answer(*refused))
            return
        role = self._rules.role(request)
        assert role is not None
        target = self._rules.redirect(request)
        if target is not None:
            token = self._rules.tokens[role]
            cookie = f"Set-Cookie: {self._rules.cookie}={token}; Path=/; HttpOnly; SameSite=Strict"
            await reply(writer, answer("302 Found", "Welcome.", f"Location: {target}", cookie))
            return
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._inner)
        except OSError:
            await reply(writer, answer("502 Bad Gateway", "The viewer has ended."))
            return
        try:
            inner_writer.write(forwarded(request, f"{self._secret}-{role}"))
            to_client = asyncio.ensure_future(pipe(inner_reader, writer))
            # After the head, only a websocket may send more: a second request on the same connection would
            # not be checked.
            to_viser = asyncio.ensure_future(pipe(reader, inner_writer) if request.upgrades else to_client)
            await asyncio.wait({to_viser, to_client}, return_when=asyncio.FIRST_COMPLETED)
            for task in (to_viser, to_client):
                task.cancel()
            await asyncio.gather(to_viser, to_client, return_exceptions=True)
        finally:
            inner_writer.close()


async def reply(writer: asyncio.StreamWriter, response: bytes) -> None:
    """Sends a complete response."""
    writer.write(response)
    await writer.drain()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies bytes until the reader ends, no faster than the writer takes them."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on this port, or on the next free one.

    Raises NerfsceneError for a host that isn't this machine's, or when PORTS ports are taken.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NerfsceneError(f"--host {host} is not an address of this machine ({error})") from error
    family, _, _, _, address = found[0]
    reason: OSError | None = None
    for candidate in range(port, min(port + PORTS, 65536)):
        # With the protocol named, asyncio sends answers at once (TCP_NODELAY); else parts of them wait 40 ms.
        s = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address[0], candidate))
            s.listen(128)
            return s
        except OSError as error:
            s.close()
            reason = error
    raise NerfsceneError(f"no port of {host} from {port} upwards can be used ({reason}); give another --port")


def link(host: str, port: int, token: str | None) -> str:
    """The link to open. For a host that means all addresses, it has the machine's own name."""
    shown = host
    if host in ("0.0.0.0", "::", ""):
        shown = socket.gethostname()
    elif ":" in host:
        shown = f"[{host}]"
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")

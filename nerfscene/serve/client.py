"""Asks a server of ``nerfscene serve``: its API, and uploads that go on after a broken connection."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from nerfscene import __version__
from nerfscene.errors import NerfsceneError

CHUNK = 8 << 20  # bytes of a file that are sent at once
PATIENCE = 300.0  # seconds without any answer after which to give up
LONGEST_PAUSE = 15.0  # seconds between two attempts
BUSY = (423, 429, 502, 503, 504)  # try again later
GONE = (404, 410)
UPLOADS = "/api/uploads"


class Refused(NerfsceneError):
    """The server answered that it can't be. status: HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Server:
    """A server and how to talk to it. base: its address, without a slash at its end; told: called with what
    to know, such as that the connection broke."""

    base: str
    http: httpx.Client
    told: Callable[[str], None]
    patience: float = PATIENCE
    silent: dict[str, float] = field(default_factory=dict)  # since when nothing is answered

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers. Raises Refused with its sentence."""
        answer = self.request(method, path, json=body)
        return answer.json() if answer.content else None

    def request(
        self,
        method: str,
        path: str,
        passing: tuple[int, ...] = (),
        lost: Callable[[], None] = lambda: None,
        **more: Any,
    ) -> httpx.Response:
        """Asks until there is an answer. passing: statuses that are no refusal. lost: called before it asks
        again after a connection that broke. more: what httpx takes.

        Raises Refused, and NerfsceneError if there is no answer for long.
        """
        while True:
            try:
                answer = self.http.request(method, urljoin(self.base, path), **more)
            except httpx.TransportError as error:
                self.wait(error)
                lost()
                continue
            if answer.status_code in BUSY and answer.status_code not in passing:
                self.wait(answer)
                continue
            self.answered()
            if answer.is_success or answer.status_code in passing:
                return answer
            raise Refused(said_by(answer), answer.status_code)

    def wait(self, why: httpx.TransportError | httpx.Response) -> None:
        """Waits before the next attempt. Raises NerfsceneError after ``patience`` without an answer."""
        now = time.monotonic()
        refused = isinstance(why, httpx.Response)
        reason = said_by(why) if isinstance(why, httpx.Response) else in_words(why)
        if not self.silent:
            self.silent["since"] = now
            self.told(f"{self.base} {'says: ' if refused else ''}{reason}; trying again")
        waited = now - self.silent["since"]
        pause = min(max(waited, 0.5), LONGEST_PAUSE)
        if isinstance(why, httpx.Response) and why.headers.get("retry-after", "").isdigit():
            pause = max(pause, min(float(why.headers["retry-after"]), 60.0))
        if waited + pause > self.patience:
            raise NerfsceneError(
                f"{self.base} {'says: ' if refused else ''}{reason}; check the address and whether the "
                "server runs, and give the same command again, which goes on where it was"
            )
        time.sleep(pause)

    def answered(self) -> None:
        """Forgets that there was no answer."""
        self.silent.clear()

    def download(self, path: str, file: Path, told: Callable[[float], None]) -> None:
        """Writes what is at an address to a file. told: called with the fraction that has come."""
        while True:
            try:
                with self.http.stream("GET", urljoin(self.base, path)) as answer, file.open("wb") as out:
                    if not answer.is_success:
                        answer.read()
                        raise Refused(said_by(answer), answer.status_code)
                    size, came = int(answer.headers.get("content-length", 0)), 0
                    for block in answer.iter_raw(1 << 20):
                        out.write(block)
                        came += len(block)
                        self.answered()
                        told(came / size if size else 0.0)
                return
            except httpx.TransportError as error:
                self.wait(error)


def open_server(address: str, key: str, told: Callable[[str], None]) -> Server:
    """The server at an address, which may also be the link that it printed, with the key in it.

    Raises NerfsceneError for what is no address, or without a key.
    """
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NerfsceneError(
            f"--to must be a server's address such as http://192.168.1.5:8000, not {address}"
        )
    key = key or (parse_qs(parts.query).get("key") or [""])[0]
    if not key or not key.isascii() or not key.isprintable():
        raise NerfsceneError(
            "the server asks for your key: give --key, set NERFSCENE_KEY, or give --to the whole link with it"
        )
    headers = {"Authorization": f"Bearer {key}", "User-Agent": f"nerfscene/{__version__}"}
    http = httpx.Client(headers=headers, timeout=httpx.Timeout(60.0, connect=15.0))
    return Server(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", http, told)


def said_by(answer: httpx.Response) -> str:
    """The sentence of a refusal."""
    if answer.status_code == 401:  # of which the server says what programs must send
        return "the server doesn't know this key; copy it again from your link, or ask for a new one"
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = None
    if isinstance(detail, str) and detail:
        return detail
    text = (
        answer.text.strip().splitlines()[:1] if "html" not in answer.headers.get("content-type", "") else []
    )
    return text[0][:300] if text and text[0] else f"it answered {answer.status_code}"


def in_words(error: httpx.TransportError) -> str:
    """Why there is no answer."""
    if isinstance(error, httpx.TimeoutException):
        return "doesn't answer"
    if isinstance(error, httpx.ConnectError):
        return f"can't be reached ({error})"
    return f"broke the connection off ({error})"


# --- uploads by tus 1.0.0 (https://tus.io/protocols/resumable-upload) -----------------------------


def upload(
    server: Server,
    scene: str,
    file: Path,
    address: str,
    begun: Callable[[str], None],
    told: Callable[[int], None],
    lost: Callable[[], None] = lambda: None,
) -> str:
    """Uploads a file, or the rest of it; returns the upload's address.

    address: of an upload that was begun before, or "". begun: called with the address of a new one. told:
    called with how many bytes have come. lost: called when an upload may have begun without an answer that
    says so. Raises Refused, or NerfsceneError if the file can't be read.
    """
    size = file.stat().st_size
    offset = _offset(server, address) if address else None
    while True:
        if offset is None:
            address = _create(server, scene, file, size, lost)
            begun(address)
            offset = 0
        told(offset)
        if offset >= size:
            return address
        offset = _send(server, address, file, offset, size)


def _create(server: Server, scene: str, file: Path, size: int, lost: Callable[[], None]) -> str:
    named = {"scene": scene, "filename": file.name}
    metadata = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in named.items())
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(size), "Upload-Metadata": metadata}
    answer = server.request("POST", UPLOADS, lost=lost, headers=headers)
    location = answer.headers.get("location", "")
    # Only its path counts: a server behind a proxy may call itself otherwise.
    path = urlsplit(urljoin(f"{server.base}{UPLOADS}/", location)).path
    if not path.startswith(f"{UPLOADS}/"):
        raise NerfsceneError(
            f"{server.base} doesn't take uploads as nerfscene serve does; update one of them"
        )
    return path


def _offset(server: Server, address: str) -> int | None:
    """How many bytes of an upload have come; None if there is no such upload any more."""
    answer = server.request("HEAD", address, (*GONE, 403), headers={"Tus-Resumable": "1.0.0"})
    said = answer.headers.get("upload-offset", "")
    return int(said) if answer.is_success and said.isdigit() else None


def _send(server: Server, address: str, file: Path, offset: int, size: int) -> int | None:
    """Sends the next bytes of a file; returns how many have come now, None if the upload is gone."""
    with file.open("rb") as source:
        source.seek(offset)
        block = source.read(min(CHUNK, size - offset))
    if not block:
        raise NerfsceneError(f"{file} became shorter while it was uploaded; give the same command again")
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
    }
    try:
        answer = server.http.patch(urljoin(server.base, address), content=block, headers=headers)
    except httpx.TransportError as error:
        server.wait(error)
        return _offset(server, address)
    if answer.status_code in GONE:
        return None
    if answer.status_code == 409:
        return _offset(server, address)
    if answer.status_code in BUSY:
        server.wait(answer)
        return _offset(server, address)
    if not answer.is_success:
        raise Refused(said_by(answer), answer.status_code)
    server.answered()
    came = answer.headers.get("upload-offset", "")
    return int(came) if came.isdigit() else offset + len(block)

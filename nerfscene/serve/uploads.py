"""Takes files by tus, the protocol of uploads that go on where they were after a break (tus.io, 1.0.0).

The few routes of it that are needed are here: its core, creation (also with the first bytes), termination
and expiration. A ready-made router, tuspyserver 4.4.3, was tried, and can't do what this server must: it
writes down how much has come only at the end of a request, so that what a killed server had taken of one is
then appended a second time; a second request for an upload waits for the first in a way that lets no other
request be answered; and it asks for the kind of a file, which clients needn't send, before it lets them go
on. Here the size of the file is how much has come, and a client that comes back ends the request that its
broken connection left behind.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from nerfscene.serve import plain_upload, quota, receiving
from nerfscene.serve.checking import Checking
from nerfscene.serve.gate import Visitor, scene_to_change, visitor
from nerfscene.serve.people import may_change
from nerfscene.serve.receiving import KEPT, part_of, received
from nerfscene.serve.scenes import UploadedFile
from nerfscene.serve.shop import Shop

PATH = "/api/uploads"
VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,expiration"
BYTES = "application/offset+octet-stream"
BLOCK = 512 * 1024  # bytes that are gathered before they are written: 50 uploads at once hold 25 MB
WRITERS = 4  # threads that write
SILENT = 60.0  # seconds without a byte after which a request is ended; its upload may go on in another
LONGEST_METADATA = 8192  # letters
Who = Annotated[Visitor, Depends(visitor)]


@dataclass
class Writing:
    """A request that brings bytes of an upload. ended: set when it has written its last."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    leaving: bool = False
    patience: asyncio.Timeout | None = None  # while it waits for bytes

    def leave(self) -> None:
        """Ends the request as soon as what it has is written."""
        self.leaving = True
        if self.patience is not None:
            self.patience.reschedule(asyncio.get_running_loop().time())


class Uploads:
    """What comes now. A context manager, which checks what has come while it is open."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.checking = Checking(shop)
        self._threads = ThreadPoolExecutor(WRITERS, "uploads")
        self._writing: dict[str, Writing] = {}

    @contextlib.asynccontextmanager
    async def life(self, app: FastAPI) -> AsyncIterator[None]:
        """While the application runs."""
        with self.checking:
            yield
        self._threads.shutdown()

    async def end_writing(self, upload: str) -> None:
        """Ends the request that brings an upload's bytes, if there is one, and waits until it has."""
        while (other := self._writing.get(upload)) is not None:
            other.leave()
            await other.ended.wait()

    @contextlib.asynccontextmanager
    async def writing(self, upload: str) -> AsyncIterator[Writing]:
        """Lets one request alone write an upload."""
        await self.end_writing(upload)
        mine = self._writing[upload] = Writing()
        try:
            yield mine
        finally:
            del self._writing[upload]
            mine.ended.set()

    async def write(self, part: Path, offset: int, blocks: list[bytes]) -> None:
        """Writes bytes in another thread. Raises HTTPException as ``receiving.append`` does."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, receiving.append, self.shop, part, offset, blocks)

    async def take(self, request: Request, file: UploadedFile, offset: int) -> int:
        """Writes what a request brings to an upload's file; returns how much of it is there then.

        Raises HTTPException: 409 unless the file ends at ``offset``, 413 for more bytes than were announced.
        """
        async with self.writing(file.id) as mine:
            file = receiving.found(self.shop, file.id)  # another request may have brought the rest
            at = received(self.shop, file)
            if offset != at:
                raise HTTPException(409, f"the upload is at {at}, not at {offset}; go on from there")
            part, end = part_of(self.shop, file.id), min(file.size, at + _length(request, file.size))
            if _length(request, 0) > file.size - at:
                raise HTTPException(quota.TOO_LARGE, "there are more bytes than were announced")
            stream = request.stream()
            blocks: list[bytes] = []
            gathered, more = 0, True
            while more:
                chunk = await _next_chunk(stream, mine)
                more = chunk is not None and not mine.leaving
                if chunk:
                    blocks.append(chunk)
                    gathered += len(chunk)
                if at + gathered > end:
                    raise HTTPException(quota.TOO_LARGE, "there are more bytes than were announced")
                if gathered >= BLOCK or (gathered and not more):
                    await self.write(part, at, blocks)
                    at, gathered, blocks = at + gathered, 0, []
            if at == file.size:
                self.checking.put(file)
            return at


async def _next_chunk(stream: AsyncIterator[bytes], mine: Writing) -> bytes | None:
    """The next bytes of a request; None at its end, if it breaks off, is silent, or another takes over."""
    try:
        async with asyncio.timeout(SILENT) as mine.patience:
            return await anext(stream, None)
    except (TimeoutError, ClientDisconnect):
        return None
    finally:
        mine.patience = None


def _length(request: Request, unknown: int) -> int:
    """The length of a request's body; ``unknown`` if it doesn't say."""
    said = request.headers.get("content-length", "")
    return int(said) if said.isdecimal() else unknown


class Routes:
    """What requests for uploads are answered, one method a route."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.uploads = shop, Uploads(shop)

    def router(self) -> APIRouter:
        """The routes, and what runs beside them."""
        router = APIRouter(include_in_schema=False, lifespan=self.uploads.life)
        router.add_api_route(PATH, self.options, methods=["OPTIONS"])
        router.add_api_route(PATH, self.create, methods=["POST"])
        router.add_api_route(PATH + "/{upload}", self.head, methods=["HEAD"])
        router.add_api_route(PATH + "/{upload}", self.patch, methods=["PATCH"])
        router.add_api_route(PATH + "/{upload}", self.delete, methods=["DELETE"])
        router.add_api_route(PATH + "/{upload}", self.override, methods=["POST"])
        router.add_api_route("/scenes/{scene}/upload", self.form, methods=["POST"])
        return router

    async def options(self, who: Who) -> Response:
        """What this server can do."""
        left = quota.use_of(self.shop, who.person).left
        return _answer(204, {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS, "Tus-Max-Size": str(left)})

    async def create(self, request: Request, who: Who) -> Response:
        """Begins an upload, and says whether it has room."""
        _check_version(request)
        metadata = metadata_of(request.headers.get("upload-metadata", ""))
        scene = scene_to_change(request, who, metadata.get("scene", ""))
        size = _number(request, "upload-length", "an upload says its size in bytes first")
        await run_in_threadpool(quota.measure, self.shop)
        name = metadata.get("filename") or metadata.get("name") or ""
        file = receiving.begun(self.shop, scene, who.person, name, size)
        at = 0
        if request.headers.get("content-type") == BYTES:
            at = await self.uploads.take(request, file, 0)
        about = {"Location": f"{PATH}/{file.id}", "Upload-Offset": str(at)}
        return _answer(201, about | _expires(self.shop, file))

    async def head(self, request: Request, upload: str, who: Who) -> Response:
        """How much of an upload has come."""
        _check_version(request)
        file = self._own(who, upload)
        await self.uploads.end_writing(upload)  # so that the answer stays true
        file = receiving.found(self.shop, file.id)
        named = {"scene": file.scene, "filename": file.name}
        about = {
            "Upload-Offset": str(received(self.shop, file)),
            "Upload-Length": str(file.size),
            "Upload-Metadata": ",".join(
                f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in named.items()
            ),
        }
        return _answer(200, about | _expires(self.shop, file))

    async def patch(self, request: Request, upload: str, who: Who) -> Response:
        """Takes more bytes of an upload."""
        _check_version(request)
        file = self._own(who, upload)
        if request.headers.get("content-type") != BYTES:
            raise HTTPException(415, f"bytes of an upload are sent as {BYTES}")
        offset = _number(request, "upload-offset", "a part of an upload says where it begins")
        at = await self.uploads.take(request, file, offset)
        return _answer(204, {"Upload-Offset": str(at)} | _expires(self.shop, file))

    async def delete(self, request: Request, upload: str, who: Who) -> Response:
        """Removes an upload."""
        _check_version(request)
        file = self._own(who, upload)
        await self.uploads.end_writing(upload)
        await run_in_threadpool(receiving.remove, self.shop, receiving.found(self.shop, file.id))
        return _answer(204, {})

    async def override(self, request: Request, upload: str, who: Who) -> Response:
        """For clients in networks that let only GET and POST through (X-HTTP-Method-Override)."""
        asked = {"PATCH": self.patch, "DELETE": self.delete, "HEAD": self.head}
        route = asked.get(request.headers.get("x-http-method-override", "").upper())
        if route is None:
            raise HTTPException(405, "bytes of an upload are sent with PATCH")
        return await route(request, upload, who)

    async def form(self, request: Request, scene: str, who: Who) -> Response:
        """Takes files of a form, from browsers without script."""
        await run_in_threadpool(quota.measure, self.shop)
        write, put = self.uploads.write, self.uploads.checking.put
        return await plain_upload.take(request, self.shop, who, scene, write, put)

    def _own(self, who: Visitor, upload: str) -> UploadedFile:
        """An upload of whoever asks. Raises HTTPException (404): nobody is told of others' uploads."""
        file = receiving.found(self.shop, upload)
        if not may_change(who.person, file.person):
            raise HTTPException(404, "there is no such upload; begin it again")
        return file


def router_for(shop: Shop) -> APIRouter:
    """The routes that take files."""
    return Routes(shop).router()


def metadata_of(header: str) -> dict[str, str]:
    """The pairs of an Upload-Metadata header. Raises HTTPException (400) if it can't be read."""
    found = {}
    if len(header) > LONGEST_METADATA:
        raise HTTPException(400, "Upload-Metadata is too long")
    for pair in header.split(","):
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            raise HTTPException(400, f"Upload-Metadata's {name[:40]} is not in base 64") from None
    if not found.get("scene"):
        raise HTTPException(400, "an upload says which scene it is for, as scene in Upload-Metadata")
    return found


def _number(request: Request, header: str, what: str) -> int:
    """A whole number in a header. Raises HTTPException (400) with the sentence ``what`` if it is none."""
    said = request.headers.get(header, "")
    if not (said.isascii() and said.isdecimal()) or len(said) > 18:
        raise HTTPException(400, f"{what}, as {header.title()}")
    return int(said)


def _check_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != VERSION:
        what = f"uploads are taken by tus {VERSION}, which is said as Tus-Resumable"
        raise HTTPException(412, what, {"Tus-Version": VERSION})


def _expires(shop: Shop, file: UploadedFile) -> dict[str, str]:
    """When an upload is given up if nothing more comes; nothing of one that is whole or checked."""
    if file.state != "coming":
        return {}
    try:
        last = part_of(shop, file.id).stat().st_mtime
    except FileNotFoundError:  # once whole, it is checked beside, and moved or removed at any time
        return {}
    return {"Upload-Expires": formatdate(last + KEPT, usegmt=True)}


def _answer(status: int, headers: dict[str, str]) -> Response:
    return Response(None, status, {"Tus-Resumable": VERSION, **headers})

"""Takes files from a form, for browsers without script: one request, which can't go on after a break.

The request is written to disk as it comes. (Starlette's own reader would keep all of it in the folder for
temporary files first, whatever its size and whoever sends it.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from nerfscene.serve import file_names, quota, receiving
from nerfscene.serve.gate import Visitor, scene_to_change
from nerfscene.serve.receiving import FORM, part_of
from nerfscene.serve.scenes import SceneRow, UploadedFile
from nerfscene.serve.shop import Shop

BLOCK = 512 * 1024  # bytes that are gathered before they are written
SILENT = 60.0  # seconds without a byte after which the request is ended
DRAINED = 64 << 20  # bytes that are read of a refused request, so that browsers show the answer
Write = Callable[[Path, int, list[bytes]], Awaitable[None]]


@dataclass
class Part:
    """A part of the form. headers: as they come; file: what it is taken as, None for fields and for files
    that are not taken; blocks, gathered: bytes that wait to be written, and how many; at: how many are
    written."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    file: UploadedFile | None = None
    blocks: list[bytes] = field(default_factory=list)
    gathered: int = 0
    at: int = 0


async def take(
    request: Request,
    shop: Shop,
    who: Visitor,
    scene_id: str,
    write: Write,
    put: Callable[[UploadedFile], None],
) -> Response:
    """Takes the files of a form into a scene, and goes back to its page.

    write: writes bytes to a file; put: has a whole file checked.
    Raises HTTPException if the files have no room together, which is said before they are read.
    """
    scene = scene_to_change(request, who, scene_id)
    said = request.headers.get("content-length", "")
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise HTTPException(415, "files are sent as multipart/form-data")
    if not said.isdecimal() or len(said) > 18:
        raise HTTPException(411, "files are sent with their size; use another browser")
    refused = quota.refusal(quota.use_of(shop, who.person), "what you chose", int(said))
    form = Form(shop, scene, who, int(said), write, put)
    try:
        if refused is not None:
            raise HTTPException(*refused)
        await form.read(request, options[b"boundary"])
    except HTTPException:
        # Nothing else may look at what comes meanwhile, as request.is_disconnected does: it takes it away.
        if form.left > 0:
            await _drain(request)
        raise
    return RedirectResponse(f"/scenes/{scene.id}", 303)


class Form:
    """One form while it is read."""

    def __init__(
        self,
        shop: Shop,
        scene: SceneRow,
        who: Visitor,
        length: int,
        write: Write,
        put: Callable[[UploadedFile], None],
    ) -> None:
        self.shop, self.scene, self.who, self.write, self.put = shop, scene, who, write, put
        self.left = length  # bytes of the request that haven't come: no file in it is larger
        self.events: list[tuple[str, bytes]] = []  # what the parser found in the newest bytes
        self.part = Part()
        self.header = b""

    async def read(self, request: Request, boundary: bytes) -> None:
        """Reads a form to its end. Raises HTTPException for one that is damaged or has no files."""
        parser = MultipartParser(boundary, self._callbacks())
        files, done = 0, False
        stream = request.stream()
        try:
            while not done:
                async with asyncio.timeout(SILENT):
                    chunk = await anext(stream, None)
                if chunk is None:
                    break
                self.left -= len(chunk)
                parser.write(chunk)
                for name, data in self._taken():
                    files += await self._event(name, data)
                    done = done or name == "end"
            if not done:
                raise HTTPException(400, "the form was cut off; send it again")
        except (ClientDisconnect, TimeoutError):
            raise HTTPException(400, "the form was cut off; send it again") from None
        except FormParserError:
            raise HTTPException(400, "the form can't be read; send it again") from None
        finally:
            if self.part.file is not None:  # a form can't go on
                receiving.remove(self.shop, self.part.file)
        if not files:
            raise HTTPException(400, "no files were chosen; choose photos, a video or a zip")

    def _callbacks(self) -> Any:
        def data(name: str) -> Callable[[bytes, int, int], None]:
            return lambda block, start, end: self.events.append((name, block[start:end]))

        def mark(name: str) -> Callable[[], None]:
            return lambda: self.events.append((name, b""))

        return {
            "on_part_begin": mark("begin"),
            "on_header_begin": mark("header"),
            "on_header_field": data("field"),
            "on_header_value": data("value"),
            "on_headers_finished": mark("headers"),
            "on_part_data": data("data"),
            "on_part_end": mark("part"),
            "on_end": mark("end"),
        }

    def _taken(self) -> list[tuple[str, bytes]]:
        found, self.events = self.events, []
        return found

    async def _event(self, name: str, data: bytes) -> bool:
        """Does what follows from one thing in the form; returns whether that was the start of a file."""
        part = self.part
        if name == "begin":
            self.part = Part()
        elif name == "header":
            self.header = b""
        elif name == "field":
            self.header += data
        elif name == "value":
            key = self.header.lower()
            part.headers[key] = part.headers.get(key, b"") + data
        elif name == "headers":
            return self._begin()
        elif name == "data" and part.file is not None:
            part.blocks.append(data)
            part.gathered += len(data)
            if part.gathered >= BLOCK:
                await self._flush()
        elif name == "part" and part.file is not None:
            await self._flush()
            self._end()
        return False

    def _begin(self) -> bool:
        """Begins a file, or passes over a field, or a file that can't be used, which is noted."""
        name = file_name(self.part.headers.get(b"content-disposition", b""))
        if not name:
            return False
        try:
            # The rest of the request is the most that it can have; what it has is known at its end.
            self.part.file = receiving.begun(
                self.shop, self.scene, self.who.person, name, max(1, self.left + BLOCK), FORM
            )
        except HTTPException as error:
            if error.status_code != 415:
                raise
            receiving.refused(self.shop, self.scene, self.who.person, name, str(error.detail))
        return True

    async def _flush(self) -> None:
        part = self.part
        if part.file is not None and part.blocks:
            blocks, part.blocks = part.blocks, []
            await self.write(part_of(self.shop, part.file.id, FORM), part.at, blocks)
            part.at, part.gathered = part.at + part.gathered, 0

    def _end(self) -> None:
        """Ends a file: its size is known now."""
        file, self.part.file = self.part.file, None
        assert file is not None
        if self.part.at == 0:
            receiving.remove(self.shop, file)
            why = f"{file_names.shown(file.name)} is empty; choose another file"
            receiving.refused(self.shop, self.scene, self.who.person, file.name, why)
            return
        receiving.set_state(self.shop, file, "coming", "", self.part.at)
        part_of(self.shop, file.id, FORM).replace(part_of(self.shop, file.id))
        self.put(file)


def file_name(disposition: bytes) -> str:
    """The name of a file in a form, by its Content-Disposition; "" for a field, or if none was chosen."""
    _, options = parse_options_header(disposition)
    return options.get(b"filename", b"").decode("utf-8", "replace")


async def _drain(request: Request) -> bool:
    """Reads some of what a refused request still brings: browsers read no answer before they have sent it.

    Returns whether it came to its end, or the browser left.
    """
    read = 0
    try:
        async with asyncio.timeout(SILENT):
            while read < DRAINED:
                message = await request.receive()
                read += len(message.get("body", b""))
                if not message.get("more_body"):
                    return True
    except TimeoutError:
        pass
    return False

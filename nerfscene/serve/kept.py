"""Answers again with a page that was just made, without asking the application.

One server answers hundreds of pages a second beside a training: browsers look again and again whether
something has changed, and mostly nothing has. A page is the same for whoever sends the same cookies to the
same address, as long as no process changed the database, and for LONGEST at most, because a few pages also
say the time or how full the disk is.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from nerfscene.serve.shop import Shop

LONGEST = 1.0  # seconds
MOST = 256  # pages
# The browser keeps a page, and asks each time whether it is still right.
HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Cookie"}
MARK = "nerfscene.kept"  # in a request's scope: where a route leaves the page that may be kept

Scope = dict[str, Any]
Key = tuple[object, ...]


@dataclass(frozen=True)
class Page:
    """A page as it was sent. stamp: the database's before the page was made; at: when it was asked for."""

    stamp: object
    at: float
    body: bytes
    tag: str

    def answer(self, known: str | None) -> Response:
        """known: what the browser has already; if it is this page, it isn't sent again."""
        headers = {**HEADERS, "ETag": self.tag}
        if known == self.tag:
            return Response(None, 304, headers)
        return Response(self.body, 200, headers, "text/html; charset=utf-8")


def kept_page(request: Request, text: str) -> Response:
    """The answer of a route whose page depends on the database, the visitor and the address alone."""
    body = text.encode()
    page = Page(None, 0.0, body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')
    request.scope.get(MARK, {})["page"] = page
    return page.answer(request.headers.get("if-none-match"))


class Kept:
    """Middleware: keeps what ``kept_page`` made, and sends it again."""

    def __init__(self, app: Any, shop: Shop) -> None:
        self.app, self.shop = app, shop
        self._pages: OrderedDict[Key, Page] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        asked = _asked(scope) if scope["type"] == "http" and scope["method"] in ("GET", "POST") else None
        if asked is None:
            await self.app(scope, receive, send)
            return
        if scope["method"] == "POST":  # what it changes may be files
            await self.app(scope, receive, send)
            self._forget(asked[0][-1])
            return
        key, known = asked
        try:
            stamp = self.shop.db.stamp()
        except sqlite3.Error:  # of which the route will tell
            stamp = None
        now, found = time.monotonic(), self._pages.get(key)
        if found is not None and stamp is not None and found.stamp == stamp and now - found.at < LONGEST:
            await found.answer(known)(scope, receive, send)
            return
        left = scope[MARK] = dict[str, Page]()
        await self.app(scope, receive, send)
        page = left.get("page")
        if page is not None:
            self._pages[key] = Page(stamp, now, page.body, page.tag)
            self._pages.move_to_end(key)
            while len(self._pages) > MOST:
                self._pages.popitem(last=False)

    def _forget(self, cookie: object) -> None:
        for key in [key for key in self._pages if key[-1] == cookie]:
            del self._pages[key]


def _asked(scope: Scope) -> tuple[Key, str | None] | None:
    """What a page is kept by, and what the browser has of it; None if nobody is logged in by a cookie."""
    found: dict[bytes, bytes] = dict(scope["headers"])
    if b"cookie" not in found or b"authorization" in found:
        return None
    known = found.get(b"if-none-match")
    key = (scope["scheme"], scope["path"], scope["query_string"], found.get(b"host"), found[b"cookie"])
    return key, None if known is None else known.decode("latin-1")

"""Answers again with a page that was just made, without asking the application.

One server answers hundreds of pages a second beside a training: browsers look again and again whether
something has changed, and mostly nothing has. A page is the same for whoever sends the same cookies to the
same address, as long as no process changed the database, and for LONGEST at most, because a few pages also
say the time or how full the disk is.
"""

from __future__ import annotations

import sqlite3
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from nerfscene.serve.shop import Shop

LONGEST = 1.0  # seconds
MOST = 256  # pages
CHANGING = ("POST", "PUT", "DELETE")  # not PATCH: it brings bytes of uploads, or changes the database alone
MARK = "nerfscene.kept"  # in a request's scope: where a route leaves the page that may be kept

Scope = dict[str, Any]
Key = tuple[object, ...]


@dataclass(frozen=True)
class Page:
    """A page as it was sent. stamp: the database's before the page was made; at: when it was asked for.

    No browser keeps it: whoever goes back in a browser's history is shown what that has kept, without asking,
    also after someone logged out.
    """

    stamp: object
    at: float
    body: bytes

    def answer(self) -> Response:
        return HTMLResponse(self.body)


def kept_page(request: Request, text: str) -> Response:
    """The answer of a route whose page depends on the database, the visitor and the address alone."""
    page = Page(None, 0.0, text.encode())
    request.scope.get(MARK, {})["page"] = page
    return page.answer()


class Kept:
    """Middleware: keeps what ``kept_page`` made, and sends it again."""

    def __init__(self, app: Any, shop: Shop) -> None:
        self.app, self.shop = app, shop
        self._pages: OrderedDict[Key, Page] = OrderedDict()
        self._changes = 0

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        key = _asked(scope) if scope["type"] == "http" and scope["method"] in ("GET", *CHANGING) else None
        if key is None:
            await self.app(scope, receive, send)
            return
        if scope["method"] in CHANGING:  # what it changes may be files
            await self.app(scope, receive, send)
            self._forget(key[-1])
            return
        try:
            stamp = self.shop.db.stamp()
        except sqlite3.Error:  # of which the route will tell
            stamp = None
        now, found = time.monotonic(), self._pages.get(key)
        if found is not None and stamp is not None and found.stamp == stamp and now - found.at < LONGEST:
            await found.answer()(scope, receive, send)
            return
        left, changes = dict[str, Page](), self._changes
        scope[MARK] = left
        await self.app(scope, receive, send)
        page = left.get("page")
        if page is not None and self._changes == changes:  # else it may be from before a change
            self._pages[key] = Page(stamp, now, page.body)
            self._pages.move_to_end(key)
            while len(self._pages) > MOST:
                self._pages.popitem(last=False)

    def _forget(self, cookie: object) -> None:
        self._changes += 1
        for key in [key for key in self._pages if key[-1] == cookie]:
            del self._pages[key]


def _asked(scope: Scope) -> Key | None:
    """What a page is kept by; None if nobody is logged in by a cookie."""
    found: dict[bytes, bytes] = dict(scope["headers"])
    if b"cookie" not in found or b"authorization" in found:
        return None
    return scope["scheme"], scope["path"], scope["query_string"], found.get(b"host"), found[b"cookie"]

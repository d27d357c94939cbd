"""Makes pages from templates: cheaply, since one server answers hundreds a second beside a training."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nerfscene.serve import words
from nerfscene.serve.gate import Visitor, shop_of
from nerfscene.serve.scenes import unread_notes

HERE = Path(__file__).parent
STATIC = HERE / "static"
VENDOR = "vendor/tus.min.js"  # made by the build; without it, uploads are plain forms
# The browser keeps a page, and asks each time whether it is still right.
KEPT = {"Cache-Control": "private, no-cache", "Vary": "Cookie"}
YEAR = "public, max-age=31536000, immutable"
MOST_KEPT = 256  # pages, in memory


class Assets(StaticFiles):
    """The files of pages: kept for a year under an address that names their version, else asked for again."""

    async def get_response(self, path: str, scope: Any) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = YEAR if scope.get("query_string") else "no-cache"
        return answer


@functools.cache
def asset(name: str) -> str:
    """The address of a file in ``static``, which changes with its contents; "" if it isn't there."""
    file = STATIC / name
    if not file.is_file():
        return ""
    return f"/static/{name}?{hashlib.blake2b(file.read_bytes(), digest_size=6).hexdigest()}"


@functools.cache
def environment() -> Environment:
    """The templates, each read once."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        auto_reload=False, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.globals.update(asset=asset, words=words, len=len)
    return made


def page(
    request: Request, template: str, who: Visitor | None, values: Mapping[str, Any], status: int = 200
) -> HTMLResponse:
    """A page that is made anew and kept by no browser."""
    return HTMLResponse(html(request, template, who, values), status)


def html(request: Request, template: str, who: Visitor | None, values: Mapping[str, Any]) -> str:
    """What a template says, with what every page shows: who is logged in, and notes to them."""
    notes = unread_notes(shop_of(request).db, who.person.id) if who is not None else []
    common = {"who": who, "notes": notes, "path": request.url.path, "refresh": 0}
    return environment().get_template(template).render({**common, **values})


def kept_page(request: Request, who: Visitor, name: str, longest: float, make: Callable[[], str]) -> Response:
    """A page that is made only if the database changed since it was last made, or ``longest`` seconds passed.

    name: of the page, to tell it from this visitor's others. Answers 304 if the browser has it.
    """
    kept: dict[tuple[str, ...], tuple[Any, float, bytes, str]]
    state = request.app.state
    if not hasattr(state, "kept_pages"):
        state.kept_pages = {}
    kept = state.kept_pages
    key = (who.person.id, who.token, name)
    # Before it is made: what changes meanwhile makes it anew the next time.
    stamp, now = shop_of(request).db.stamp(), time.monotonic()
    found = kept.get(key)
    if found is None or found[0] != stamp or now - found[1] > longest:
        body = make().encode()
        tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        found = (stamp, now, body, tag)
        kept.pop(key, None)
        while len(kept) >= MOST_KEPT:
            del kept[next(iter(kept))]
        kept[key] = found
    headers = {**KEPT, "ETag": found[3]}
    if request.headers.get("if-none-match") == found[3]:
        return Response(None, 304, headers)
    return Response(found[2], 200, headers, "text/html; charset=utf-8")

"""Makes pages from templates."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
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
YEAR = "public, max-age=31536000, immutable"


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

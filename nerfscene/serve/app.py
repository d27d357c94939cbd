"""The application: its routes, what every answer carries, and what runs beside it.

``gate`` says who asks; ``pages`` and ``api`` answer people and programs; ``uploads`` takes files; ``queue``
runs ``work`` processes; ``viewers`` shows scenes in 3D; ``shared`` is what links show without a login.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from nerfscene import __version__
from nerfscene.errors import NerfsceneError
from nerfscene.serve import (
    api,
    files,
    pages,
    pages_changes,
    pages_people,
    pages_scene,
    pages_upload,
    shared,
    stepping,
    uploads,
    viewers,
)
from nerfscene.serve.gate import LoginNeeded
from nerfscene.serve.guard import Guard
from nerfscene.serve.jobs import NotNow
from nerfscene.serve.kept import Kept
from nerfscene.serve.limits import TooMany
from nerfscene.serve.pages_html import STATIC, Assets
from nerfscene.serve.queue import Queue
from nerfscene.serve.quota import NO_ROOM
from nerfscene.serve.shop import Shop
from nerfscene.serve.throttle import Throttle

API = "/api/"


def create_app(shop: Shop, working: bool = True) -> FastAPI:
    """The server's application. working: run the jobs too."""

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        with contextlib.ExitStack() as stack:
            app.state.viewers = stack.enter_context(viewers.Viewers(shop))
            if working:
                app.state.queue = stack.enter_context(Queue(shop))
            yield

    app = FastAPI(title="nerfscene", version=__version__, lifespan=life, openapi_url=None)
    app.state.shop = shop
    app.mount("/static", Assets(directory=STATIC), name="static")
    for part in (pages, pages_upload, pages_scene, pages_changes, pages_people):
        app.include_router(part.router)
    for router in (api.router, uploads.router_for(shop), files.router, stepping.router, shared.router):
        app.include_router(router)
    app.add_exception_handler(LoginNeeded, _login_needed)
    app.add_exception_handler(NerfsceneError, _refused)
    app.add_exception_handler(shared.NoLink, shared.no_link)
    app.add_exception_handler(StarletteHTTPException, _failed)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(NotNow, _not_now)
    app.add_exception_handler(TooMany, _too_many)
    app.add_exception_handler(sqlite3.OperationalError, _not_kept)
    app.add_middleware(Throttle, sentence=_sentence)
    app.add_middleware(Kept, shop=shop)
    app.add_middleware(Guard, shop=shop)
    return app


def _for_program(request: Request) -> bool:
    return request.url.path.startswith(API) or "application/json" in request.headers.get("accept", "")


async def _login_needed(request: Request, error: Exception) -> Response:
    if _for_program(request) or request.method not in ("GET", "HEAD"):
        return JSONResponse(
            {"detail": "log in first: send your key as Authorization: Bearer KEY"},
            401,
            {"WWW-Authenticate": "Bearer"},
        )
    return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)


async def _refused(request: Request, error: Exception) -> Response:
    """A NerfsceneError is a sentence for the person who asked."""
    return _sentence(request, str(error), 400)


async def _not_now(request: Request, error: Exception) -> Response:
    return _sentence(request, str(error), 409)


async def _too_many(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooMany)
    return _sentence(request, str(error), 429, {"Retry-After": str(math.ceil(error.wait))})


async def _not_kept(request: Request, error: Exception) -> Response:
    """Of a full disk and of a busy database people are told; anything else is an error of ours."""
    if "is full" in str(error):
        full = "the server's disk is full, so nothing was changed; tell whoever runs it, or try again later"
        return _sentence(request, full, NO_ROOM)
    if "locked" in str(error):
        busy = "the server is too busy to keep this now; try again in a few seconds"
        return _sentence(request, busy, 503, {"Retry-After": "5"})
    raise error


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    detail = error.detail if isinstance(error, HTTPException) else f"{error.detail}: {request.url.path}"
    return _sentence(request, str(detail), error.status_code, error.headers)


async def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _sentence(request, _in_a_sentence(error.errors()[0]), 422)


def _in_a_sentence(error: dict[str, Any]) -> str:
    """What is wrong with a request. error: the first of pydantic's."""
    where = ".".join(str(part) for part in error["loc"][1:]) or "the request"
    kind, said = error["type"], str(error["msg"])
    if kind == "json_invalid":
        return "the request is not valid JSON; send what /api/docs describes"
    if kind == "extra_forbidden":
        return f"there is no {where:.100}; /api/docs says what can be sent"
    if kind == "missing":
        return f"{where} is missing; /api/docs says what must be sent"
    return f"{where:.100}: {said[:1].lower()}{said[1:]}"


def _sentence(request: Request, text: str, status: int, headers: object = None) -> Response:
    kept = dict(headers) if isinstance(headers, dict) else None
    if _for_program(request):
        return JSONResponse({"detail": text}, status, kept)
    return pages.sentence(request, text, status, kept)

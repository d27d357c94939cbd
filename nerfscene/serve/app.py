"""The application: its routes, what every answer carries, and what runs beside it.

``gate`` says who asks; ``pages`` and ``api`` answer people and programs; ``uploads`` takes files; ``queue``
runs ``work`` processes; ``viewers`` shows scenes in 3D; ``shared`` is what links show without a login.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from nerfscene import __version__
from nerfscene.errors import NerfsceneError
from nerfscene.serve import (
    api,
    pages,
    pages_changes,
    pages_people,
    pages_scene,
    pages_upload,
    shared,
    uploads,
    viewers,
)
from nerfscene.serve.gate import LoginNeeded
from nerfscene.serve.guard import Guard
from nerfscene.serve.pages_html import STATIC, Assets
from nerfscene.serve.queue import Queue
from nerfscene.serve.shop import Shop

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

    app = FastAPI(title="nerfscene", version=__version__, lifespan=life, docs_url=None, redoc_url=None)
    app.state.shop = shop
    app.mount("/static", Assets(directory=STATIC), name="static")
    for part in (pages, pages_upload, pages_scene, pages_changes, pages_people):
        app.include_router(part.router)
    for router in (api.router, uploads.router_for(shop), viewers.router, shared.router):
        app.include_router(router)
    app.add_exception_handler(LoginNeeded, _login_needed)
    app.add_exception_handler(NerfsceneError, _refused)
    app.add_exception_handler(StarletteHTTPException, _failed)
    app.add_exception_handler(RequestValidationError, _not_understood)
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


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    detail = error.detail if isinstance(error, HTTPException) else f"{error.detail}: {request.url.path}"
    return _sentence(request, str(detail), error.status_code, error.headers)


async def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    return _sentence(request, f"{where}: {first['msg']}", 422)


def _sentence(request: Request, text: str, status: int, headers: object = None) -> Response:
    kept = dict(headers) if isinstance(headers, dict) else None
    if _for_program(request):
        return JSONResponse({"detail": text}, status, kept)
    return pages.sentence(request, text, status, kept)

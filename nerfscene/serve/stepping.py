"""Lets people step into scenes: a viewer's page and its WebSocket, behind the server's own gate."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, HTTPException, Request, WebSocket
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from nerfscene.serve import proxy
from nerfscene.serve.files import METHODS
from nerfscene.serve.gate import Visitor, from_here, scene_to_look_at, shop_of, visitor, visitor_of
from nerfscene.serve.pages_html import environment
from nerfscene.serve.people import may_change
from nerfscene.serve.scenes import SceneRow
from nerfscene.serve.shop import Shop
from nerfscene.serve.viewers import Audience, Running, Viewers, why_not_to_look

router = APIRouter(include_in_schema=False, prefix="/scenes/{scene}")
templates = Jinja2Templates(env=environment())
Who = Annotated[Visitor, Depends(visitor)]
# viser's client is one page with its script and style in it, which starts workers and WebAssembly out of
# itself, and makes what it shows of Markdown by evaluating it. Nothing may be loaded from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; worker-src blob:; "
    "style-src 'unsafe-inline'; img-src blob: data:; connect-src 'self' data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
AGAIN = 1  # seconds after which the page that waits for a viewer asks again
ASKED = 5.0  # seconds between two looks at whether a visitor may still look
OPENING = 60.0  # seconds that a WebSocket waits for a viewer, at most
SOON = 0.1  # seconds between two looks at whether a viewer is ready
HIDDEN = "this scene can't be shown now; its owner can find out why by stepping in"


def page_of(
    request: Request,
    template: str,
    values: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A page for anyone, logged in or not."""
    return templates.TemplateResponse(request, template, dict(values), status, dict(headers or {}))


def audience_of(who: Visitor, scene: SceneRow) -> Audience:
    """Which of a scene's viewers is for this visitor."""
    return "owner" if may_change(who.person, scene.person) else "guest"


@router.api_route("/view", methods=METHODS)
def without_slash(scene: str) -> Response:
    """Where the viewer is: its client finds its WebSocket below that."""
    return RedirectResponse(f"/scenes/{scene}/view/", 308)


@router.api_route("/view/{path:path}", methods=METHODS)
async def viewer_page(request: Request, who: Who, scene: str, path: str) -> Response:
    """The viewer; a page that waits for it while it is being opened; or a sentence on why it can't be.

    With ?again, one that died is opened again.
    """
    row = scene_to_look_at(request, who, scene)
    why_not = why_not_to_look(shop_of(request), row)
    if why_not:
        raise HTTPException(409, why_not)
    viewers: Viewers = request.app.state.viewers
    audience = audience_of(who, row)
    again = "again" in request.query_params
    viewer = await anyio.to_thread.run_sync(viewers.of, row.id, audience, again)
    if viewer.replaced:
        viewer = await anyio.to_thread.run_sync(viewers.of, row.id, audience, True)
    values = {"scene": row.id, "title": row.title, "why": _why(viewer)}
    if viewer.state == "ended":
        return page_of(request, "viewer_ended.html", values, 503)
    if again:  # so that reloading the page doesn't ask for that again
        return RedirectResponse(f"/scenes/{row.id}/view/", 303)
    if viewer.state == "starting":
        return page_of(request, "viewer_opening.html", values, 202, {"Refresh": str(AGAIN)})
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Frame-Options": "SAMEORIGIN",
        "Cache-Control": "private, no-cache",
        "ETag": f'"viser-{_viser()}"',
    }
    if not path and request.headers.get("if-none-match") == headers["ETag"]:
        return Response(None, 304, headers)
    try:
        return await proxy.fetched(viewer.port, viewer.cookie, request.method, f"/{path}", headers)
    except proxy.NotReached:
        # It is ending just now.
        return page_of(request, "viewer_opening.html", values, 202, {"Refresh": str(AGAIN)})


@functools.cache
def _viser() -> str:
    # Its client is the same for every scene, as long as this is.
    return importlib.metadata.version("viser")


def _why(viewer: Running) -> str:
    """Why a viewer ended. What is wrong with a scene's files is told to its owner alone."""
    return viewer.why if viewer.audience == "owner" else HIDDEN


@router.websocket("/view")  # where viser's client looks for it: the page's address without its last slash
async def viewer_socket(socket: WebSocket, scene: str) -> None:
    """The viewer's WebSocket, cut within seconds when who looks logs out or may look no longer."""
    shop: Shop = socket.app.state.shop
    audience = _may_look(socket, shop, scene)
    if not from_here(socket) or audience is None:
        await socket.close(proxy.FORBIDDEN)
        return
    viewers: Viewers = socket.app.state.viewers
    viewer = await anyio.to_thread.run_sync(viewers.of, scene, audience)
    viewer.looks += 1
    try:
        if not await _ready(viewer):
            await socket.close(proxy.TRY_AGAIN)
            return
        await proxy.joined(socket, viewer.port, viewer.cookie, _until_refused(socket, shop, scene, audience))
    finally:
        viewer.looks -= 1


def _may_look(socket: WebSocket, shop: Shop, scene: str) -> Audience | None:
    """Which viewer of a scene is for who holds this WebSocket; None if they may see none now."""
    who = visitor_of(socket, shop)
    if who is None:
        return None
    try:
        row = scene_to_look_at(socket, who, scene)
    except HTTPException:
        return None
    return None if why_not_to_look(shop, row) else audience_of(who, row)


async def _ready(viewer: Running) -> bool:
    for _ in range(round(OPENING / SOON)):
        if viewer.state != "starting":
            break
        await asyncio.sleep(SOON)
    return viewer.state == "ready"


async def _until_refused(socket: WebSocket, shop: Shop, scene: str, audience: Audience) -> None:
    while _may_look(socket, shop, scene) == audience:
        await asyncio.sleep(ASKED)

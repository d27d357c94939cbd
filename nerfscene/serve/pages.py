"""The pages for people: login, gallery, upload, and a page for each scene."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from nerfscene.serve import people, scenes
from nerfscene.serve.gate import COOKIE, DAYS, Visitor, end_session, session_for, shop_of, visitor

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(Path(__file__).parent / "templates")
Who = Annotated[Visitor, Depends(visitor)]


def sentence(request: Request, text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """A page that says one thing."""
    return templates.TemplateResponse(
        request, "sentence.html", {"text": text, "status": status}, status, headers
    )


@router.get("/login")
async def login_page(request: Request, next: str = "/", key: str = "") -> Response:
    """Where a key is typed. A link that contains one fills it in, and its button logs in."""
    return templates.TemplateResponse(
        request, "login.html", {"next": local(next), "key": key, "wrong": False}
    )


@router.post("/login")
async def login(
    request: Request, key: Annotated[str, Form()], next: Annotated[str, Form()] = "/"
) -> Response:
    """Sets the cookie."""
    shop = shop_of(request)
    person = people.by_key(shop.db, key.strip())
    if person is None:
        values = {"next": local(next), "key": "", "wrong": True}
        return templates.TemplateResponse(request, "login.html", values, 403)
    answer = RedirectResponse(local(next), 303)
    secure = request.url.scheme == "https" or shop.config.url.startswith("https://")
    answer.set_cookie(
        COOKIE, session_for(shop, person), max_age=DAYS * 86400, httponly=True, samesite="lax", secure=secure
    )
    return answer


@router.post("/logout")
async def logout(request: Request, who: Who) -> Response:
    """Ends the session, and removes the cookie."""
    end_session(shop_of(request), request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def local(address: str) -> str:
    """An address on this server to go on to; "/" for any other."""
    return address if address.startswith("/") and not address.startswith(("//", "/\\")) else "/"


@router.get("/")
async def gallery(request: Request, who: Who) -> HTMLResponse:
    """The scenes that this person sees."""
    shop = shop_of(request)
    owner = who.person.id if who.person.role == "owner" else who.person.invited_by or ""
    found = scenes.scenes_of(shop.db, owner)
    return templates.TemplateResponse(request, "gallery.html", {"who": who, "scenes": found})

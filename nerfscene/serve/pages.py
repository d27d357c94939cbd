"""The pages for people: logging in, the gallery, the bin, and notes.

Beside it: ``pages_scene`` (one scene and its changes), ``pages_upload``, ``pages_people``, ``pages_html``.
Every change is a form of its own, so that the pages work without script; scripts make them pleasant.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Request
from fastapi.responses import RedirectResponse, Response

from nerfscene.serve import people, scenes
from nerfscene.serve.api_models import Most
from nerfscene.serve.cards import PAGE, cards_of
from nerfscene.serve.gate import COOKIE, DAYS, Visitor, end_session, from_here, session_for, shop_of, visitor
from nerfscene.serve.kept import kept_page
from nerfscene.serve.pages_html import html, page
from nerfscene.serve.shop import queue_pause

router = APIRouter(include_in_schema=False)
Who = Annotated[Visitor, Depends(visitor)]
Number = Annotated[int, Path(ge=1, le=Most)]
EVERY = 5  # seconds after which a page without script asks again, while something runs


def sentence(request: Request, text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """A page that says one thing."""
    if text.startswith("Not Found: "):
        text = f"there is no page at {text.removeprefix('Not Found: ')}"
    try:
        came = urlsplit(request.headers.get("referer", ""))
    except ValueError:  # such as "http://["
        came = urlsplit("")
    back = local(came.path) if came.netloc == request.headers.get("host") else "/"
    values = {"text": text, "status": status, "back": back if back != request.url.path else "/"}
    answer = page(request, "sentence.html", None, values, status)
    answer.headers.update(headers or {})
    return answer


def see_other(address: str) -> Response:
    """Where to look after a change: reloading that page doesn't ask for the change again."""
    return RedirectResponse(address, 303)


def local(address: str) -> str:
    """An address on this server to go on to; "/" for any other."""
    plain = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if plain else "/"


@router.get("/login")
async def login_page(request: Request, next: str = "/", key: str = "") -> Response:
    """Where a key is typed. A link that contains one fills it in, and its button logs in."""
    return page(request, "login.html", None, {"next": local(next), "key": key, "wrong": False})


@router.post("/login")
async def login(
    request: Request, key: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/"
) -> Response:
    """Sets the cookie."""
    if not from_here(request):
        raise HTTPException(403, "another site asked for this; open the page itself and try again")
    shop = shop_of(request)
    person = people.by_key(shop.db, key.strip())
    if person is None:
        return page(request, "login.html", None, {"next": local(next), "key": "", "wrong": True}, 403)
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
    answer = see_other("/login")
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/")
async def gallery(request: Request, who: Who, nr: int = 1, deleted: str = "") -> Response:
    """The scenes that this person sees, PAGE on each page, the newest first."""
    nr = min(max(nr, 1), 10**6)
    deleted = deleted if deleted.isalnum() else ""
    pause = queue_pause(shop_of(request))

    return kept_page(request, _gallery(request, who, nr, deleted, pause))


def _gallery(request: Request, who: Visitor, nr: int, deleted: str, pause: str) -> str:
    shop, mine = shop_of(request), who.person.role == "owner"
    owner = who.person.id if mine else who.person.invited_by or ""
    found = cards_of(shop, owner, nr)
    host = None if mine else people.person_of(shop.db, owner)
    gone = shop.db.row(
        "select id, title from scenes where id = ? and person = ? and deleted is not null",
        (deleted, who.person.id),
    )
    busy = any(card.state in ("waiting", "running") for card in found)
    values = {
        "cards": found[:PAGE], "mine": mine, "gone": gone, "nr": nr, "more": len(found) > PAGE,
        "host": "" if host is None else host.name, "refresh": EVERY if busy else 0,
        "pause": pause if any(card.state == "waiting" for card in found) else "",
    }  # fmt: skip
    return html(request, "gallery.html", who, values)


@router.get("/bin")
async def deleted_scenes(request: Request, who: Who) -> Response:
    """What was deleted, and can still be taken back."""
    shop = shop_of(request)
    found = scenes.scenes_of(shop.db, who.person.id, deleted=True)
    return page(request, "bin.html", who, {"scenes": found, "undo": scenes.UNDO})


@router.post("/notes/{number}/read")
async def put_away(
    request: Request, who: Who, number: Number, back: Annotated[str, Form()] = "/"
) -> Response:
    """Puts a note away."""
    scenes.read_note(shop_of(request).db, who.person.id, number)
    return see_other(local(back))

"""Who asks, and whether they may: sessions, keys, and protection against requests that other sites forge.

A browser logs in with a key and gets a signed cookie. Programs send the key as ``Authorization: Bearer``.
A cookie is sent along by the browser whatever page asks, so that requests that change something need more:
they must come from the server's own pages, and carry a token that only these know.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import HTTPConnection

from nerfscene.errors import NerfsceneError
from nerfscene.serve.database import new_id
from nerfscene.serve.people import Person, by_key, may_change, may_look, person_of
from nerfscene.serve.scenes import SceneRow, scene_of
from nerfscene.serve.shop import Shop

COOKIE = "nerfscene"
DAYS = 30  # that a session lasts
HEARD = "nerfscene.key"  # in a connection's scope: where the throttle hears whether a key is right
SAFE = ("GET", "HEAD", "OPTIONS")
TOKEN_FIELD, TOKEN_HEADER = "token", "X-Token"


@dataclass(frozen=True)
class Visitor:
    """Who asks. token: what the forms of their pages carry; "" for programs, which need none."""

    person: Person
    token: str


class LoginNeeded(Exception):
    """Nobody is logged in."""


def shop_of(request: HTTPConnection) -> Shop:
    """The server that a request came to."""
    shop: Shop = request.app.state.shop
    return shop


def session_for(shop: Shop, person: Person) -> str:
    """The value of a cookie that logs a person in; each is another one, so that each can be ended alone."""
    return str(_signer(shop).dumps([person.id, person.sessions, new_id()]))


def _signer(shop: Shop) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(shop.secret, salt="session")


def end_session(shop: Shop, session: str) -> None:
    """Ends one session, the value of its cookie: who logs out is logged out wherever the cookie is kept."""
    now = time.time()
    with shop.db.change() as c:
        c.execute("delete from ended_sessions where until < ?", (now,))
        c.execute(
            "insert or replace into ended_sessions (hash, until) values (?, ?)",
            (_hash(session), now + DAYS * 86400),
        )


def _hash(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()


def token_for(shop: Shop, session: str) -> str:
    """What forms of this session's pages carry to show that they are the server's own."""
    return hmac.new(shop.secret, f"form {session}".encode(), hashlib.sha256).hexdigest()[:32]


def visitor_of(connection: Any, shop: Shop) -> Visitor | None:
    """Who asks, by the key or the cookie of an HTTP request or a WebSocket; None for nobody who is known."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        person = by_key(shop.db, key.strip())
        connection.scope.get(HEARD, {})["right"] = person is not None
        return None if person is None else Visitor(person, "")
    session = connection.cookies.get(COOKIE, "")
    if not session:
        return None
    try:
        person_id, number, _ = _signer(shop).loads(session, max_age=DAYS * 86400)
    except (BadSignature, ValueError, TypeError):
        return None
    person = person_of(shop.db, str(person_id))
    if person is None or person.sessions != number:
        return None
    if shop.db.row("select 1 from ended_sessions where hash = ?", (_hash(session),)):
        return None
    return Visitor(person, token_for(shop, session))


async def visitor(request: Request) -> Visitor:
    """The dependency of every route that is not for everyone.

    Raises LoginNeeded, and HTTPException (403) for a change that another site's page asks for.
    """
    found = visitor_of(request, shop_of(request))
    if found is None:
        raise LoginNeeded
    if request.method not in SAFE and found.token:
        if not from_here(request):
            raise HTTPException(403, "another site asked for this; open the page itself and try again")
        sent = request.headers.get(TOKEN_HEADER) or await _field(request)
        if not hmac.compare_digest(sent.encode(), found.token.encode()):
            raise HTTPException(403, "this page is too old; reload it and try again")
    return found


async def waking(request: Request) -> AsyncIterator[None]:
    """The dependency of routes by which work begins or ends: afterwards the queue looks at once."""
    yield
    queue = getattr(request.app.state, "queue", None)
    if queue is not None and request.method not in SAFE:
        queue.wake()


async def _field(request: Request) -> str:
    """The token in a form; "" if there is none. Files come with the token in the address instead."""
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return str((await request.form()).get(TOKEN_FIELD, ""))
    return request.query_params.get(TOKEN_FIELD, "")


def from_here(connection: Any) -> bool:
    """Whether the server's own page asks, as far as the browser says; programs say nothing."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    shop: Shop = connection.app.state.shop
    own = {f"{'https' if s else 'http'}://{connection.headers.get('host', '')}" for s in (0, 1)}
    return origin in own or origin == shop.config.url.rstrip("/")


def scene_to_look_at(request: HTTPConnection, who: Visitor, scene: str) -> SceneRow:
    """The scene, if its owner or one of their guests asks. Raises HTTPException (404) otherwise."""
    owner = _owner(request, scene)
    allowed = may_look(who.person, owner)
    if allowed and not may_change(who.person, owner):  # a guest doesn't see what is in the bin
        allowed = scene_of(shop_of(request).db, scene).deleted is None
    return _scene(request, who, scene, allowed)


def scene_to_change(request: HTTPConnection, who: Visitor, scene: str) -> SceneRow:
    """The scene, if its owner asks. Raises HTTPException: 404, or 403 for a guest who may only look."""
    owner = _owner(request, scene)
    if may_look(who.person, owner) and not may_change(who.person, owner):
        raise HTTPException(403, "you may look at this scene, but only its owner can change it")
    return _scene(request, who, scene, may_change(who.person, owner))


def _owner(request: HTTPConnection, scene: str) -> str:
    try:
        return scene_of(shop_of(request).db, scene).person
    except NerfsceneError as error:
        raise HTTPException(404, str(error)) from None


def _scene(request: HTTPConnection, who: Visitor, scene: str, allowed: bool) -> SceneRow:
    # Whoever may not see a scene isn't told that it is there.
    if not allowed:
        raise HTTPException(404, "there is no such scene; look for it in the gallery")
    return scene_of(shop_of(request).db, scene)

"""Who may come in: where the first person invites others, gives new keys, and sends people away."""

from __future__ import annotations

from typing import Annotated, Any

import segno
from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import Response

from nerfscene.errors import NerfsceneError
from nerfscene.given import size_of
from nerfscene.serve import actions, people
from nerfscene.serve.addresses import outside
from nerfscene.serve.gate import Visitor, shop_of
from nerfscene.serve.pages import Who, see_other
from nerfscene.serve.pages_html import page
from nerfscene.serve.people import Person
from nerfscene.serve.quota import use_of

router = APIRouter(include_in_schema=False, prefix="/people")
Text = Annotated[str, Form()]


@router.get("")
async def everyone(request: Request, who: Who) -> Response:
    """The list, and a form to invite by."""
    _first(who)
    shop = shop_of(request)
    found = [(person, use_of(shop, person)) for person in people.people(shop.db)]
    return page(request, "people.html", who, {"people": found, "usual": shop.bytes_of("quota")})


@router.post("")
async def invite(
    request: Request, who: Who, name: Text = "", role: Text = "guest", quota: Text = ""
) -> Response:
    """Someone new; the answer shows their link, once."""
    _first(who)
    if role not in ("owner", "guest"):
        raise NerfsceneError("someone is an owner or a guest; go back and choose one")
    known: people.Role = "owner" if role == "owner" else "guest"
    person, key = people.invited(shop_of(request).db, who.person, name, known, quota_of(quota))
    return link_page(request, who, person, key)


@router.post("/{person}/key")
async def new_key(request: Request, who: Who, person: str) -> Response:
    """A new key, for who lost theirs; the answer shows its link, once."""
    found = _other(request, who, person)
    return link_page(request, who, found, people.new_key(shop_of(request).db, found.id))


@router.post("/{person}/quota")
async def change_quota(request: Request, who: Who, person: str, quota: Text = "") -> Response:
    """How much someone may keep; empty: as much as everyone."""
    _first(who)
    people.set_quota(shop_of(request).db, person, quota_of(quota))
    return see_other("/people")


@router.post("/{person}/away")
async def send_away(request: Request, who: Who, person: str) -> Response:
    """Ends someone's access."""
    actions.send_away(shop_of(request), _other(request, who, person))
    return see_other("/people")


def link_page(request: Request, who: Visitor, person: Person, key: str) -> Response:
    """Shows a person's link and its QR code. No address contains the key, so that no log keeps it."""
    base, warning = outside(request, shop_of(request))
    link = f"{base}/login?key={key}"
    code = segno.make(link, error="m").svg_data_uri(scale=6, border=3, light="#fff")
    values: dict[str, Any] = {"person": person, "link": link, "code": code, "unreachable": warning}
    answer = page(request, "invited.html", who, values)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def quota_of(text: str) -> int | None:
    """Bytes of a quota that was typed, None for an empty field. Raises NerfsceneError for anything else."""
    if not text.strip():
        return None
    found = size_of(text)
    if found is None:
        raise NerfsceneError(
            "a quota is a size such as 20GB; correct it, or leave it empty for the usual one"
        )
    return found


def _first(who: Visitor) -> None:
    if not who.person.first:
        raise HTTPException(403, "only who started the server can invite people; ask them")


def _other(request: Request, who: Visitor, person: str) -> Person:
    _first(who)
    found = people.person_of(shop_of(request).db, person)
    if found is None or found.first:
        raise HTTPException(404, "there is no such person; look for them in the list of people")
    return found

"""The API's people: who asks, who is invited, and the notes that were left for them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import Response

from nerfscene.errors import NerfsceneError
from nerfscene.given import size_of
from nerfscene.serve import actions, people, quota, scenes
from nerfscene.serve.api_models import Id, KeyFacts, Me, Most, NewPerson, Note, PersonFacts
from nerfscene.serve.api_parts import BODY, PLAIN, Who, refusals
from nerfscene.serve.gate import Visitor, shop_of
from nerfscene.serve.jobs import NotNow
from nerfscene.serve.people import Person
from nerfscene.serve.shop import Shop, queue_pause

router = APIRouter(tags=["people"], generate_unique_id_function=lambda route: route.name)


@router.get("/me", responses=refusals(401))
def me(request: Request, who: Who) -> Me:
    """Who you are here, and how much you keep."""
    shop = shop_of(request)
    return Me(**_kept(shop, who.person), longest=shop.config.longest, pause=queue_pause(shop))


@router.get("/people", responses=refusals(401, 403))
def list_people(request: Request, who: Who) -> list[PersonFacts]:
    """Everyone who may log in. For who started the server alone."""
    _only_first(who)
    shop = shop_of(request)
    return [PersonFacts(**_kept(shop, person)) for person in people.people(shop.db)]


@router.post("/people", status_code=201, responses=refusals(400, *BODY))
def invite(request: Request, who: Who, sent: NewPerson) -> KeyFacts:
    """Invites someone; the answer has their key. For who started the server alone."""
    _only_first(who)
    shop = shop_of(request)
    size = size_of(sent.quota) if isinstance(sent.quota, str) else sent.quota
    if sent.quota is not None and (size is None or size > 10**15):
        raise NerfsceneError("a quota is a size such as 20GB; write it so, or leave it out")
    person, key = people.invited(shop.db, who.person, sent.name, sent.role, size)
    return _told(person, key)


@router.delete("/people/{person}", status_code=204, responses=refusals(404, 409, *PLAIN))
def send_away(request: Request, who: Who, person: Id) -> Response:
    """Ends someone's access at once, and their work; their scenes stay. For who started the server alone."""
    found = _person(request, who, person)
    if found.first:
        raise NotNow("who started the server can't be sent away; a new key shuts out who has the old one")
    actions.send_away(shop_of(request), found)
    return Response(status_code=204)


@router.post("/people/{person}/key", responses=refusals(404, *PLAIN))
def new_key(request: Request, who: Who, person: Id) -> KeyFacts:
    """Gives someone a new key; the old one ends, and all who are logged in by it are logged out."""
    found, shop = _person(request, who, person), shop_of(request)
    key = people.key_of_first_anew(shop.db, shop.data) if found.first else people.new_key(shop.db, found.id)
    return _told(found, key)


@router.get("/notes", tags=["notes"], responses=refusals(401))
def list_notes(request: Request, who: Who) -> list[Note]:
    """What happened while you were away, and hasn't been put away yet."""
    return [Note(**note) for note in scenes.unread_notes(shop_of(request).db, who.person.id)]


@router.post("/notes/{number}/read", status_code=204, tags=["notes"], responses=refusals(*PLAIN))
def read_note(
    request: Request, who: Who, number: Annotated[int, Path(ge=1, le=Most, description="The note's id.")]
) -> Response:
    """Puts a note away."""
    scenes.read_note(shop_of(request).db, who.person.id, number)
    return Response(status_code=204)


def _only_first(who: Visitor) -> None:
    if not who.person.first:
        raise HTTPException(403, "only who started the server manages its people; ask them")


def _person(request: Request, who: Visitor, person: str) -> Person:
    _only_first(who)
    found = people.person_of(shop_of(request).db, person)
    if found is None:
        raise HTTPException(404, "there is no such person; reload the page")
    return found


def _kept(shop: Shop, person: Person) -> dict[str, Any]:
    use = quota.use_of(shop, person)
    return {
        "id": person.id,
        "name": person.name,
        "role": person.role,
        "first": person.first,
        "quota": use.quota,
        "used": use.own,
        "left": use.left,
    }


def _told(person: Person, key: str) -> KeyFacts:
    return KeyFacts(person.id, person.name, key, f"/login?key={key}")

"""The page of one scene: how far it is, and, once it is there, all that can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import segno
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from nerfscene.serve import actions, film_form, film_kinds, jobs, offers, words
from nerfscene.serve.addresses import outside
from nerfscene.serve.cards import known_figures
from nerfscene.serve.facts import JobFacts, SceneFacts, scene_facts
from nerfscene.serve.gate import Visitor, scene_to_change, scene_to_look_at, shop_of
from nerfscene.serve.kept import kept_page
from nerfscene.serve.links import links_of
from nerfscene.serve.pages import EVERY, Who
from nerfscene.serve.pages_html import html, page
from nerfscene.serve.pages_upload import thumbnails_of, upload_page
from nerfscene.serve.people import may_change
from nerfscene.serve.quota import size_on_disk
from nerfscene.serve.scenes import SceneRow, places, read_notes_of
from nerfscene.serve.shop import Shop, queue_pause

router = APIRouter(include_in_schema=False)
GOING = ("waiting", "running", "paused")
SAVED_PATH = "camera_path.json"
THUMBNAILS = 12  # of the photos, beside a scene that is not there yet


@router.get("/scenes/{scene}")
async def scene_page(request: Request, who: Who, scene: str) -> Response:
    """A scene: to add photos to, to wait for, or to step into."""
    found = scene_to_look_at(request, who, scene)
    if found.deleted is not None:
        return page(request, "deleted.html", who, {"scene": found, "mine": found.person == who.person.id})
    read_notes_of(shop_of(request).db, who.person.id, found.id)
    trained = shop_of(request).db.row(
        "select 1 from jobs where scene = ? and kind = 'train' limit 1", (found.id,)
    )
    if trained is None and may_change(who.person, found.person):
        return upload_page(request, who, found)

    return kept_page(request, html(request, "scene.html", who, values_of(request, who, found)))


def values_of(request: Request, who: Visitor, scene: SceneRow) -> dict[str, Any]:
    """What the page of a scene shows."""
    shop = shop_of(request)
    facts = scene_facts(shop, scene, who.person)
    training = next((job for job in facts.jobs if job.kind == "train"), None)
    busy = any(job.state in ("waiting", "running") for job in facts.jobs)
    base, warning = outside(request, shop)
    small = [f"/scenes/{scene.id}/thumbnails/{name}.jpg" for name in sorted(thumbnails_of(shop, scene.id))]
    known = known_figures(places(shop.data, scene.id).scene)
    return {
        "scene": facts,
        "training": training,
        "busy": busy,
        "refresh": EVERY if busy else 0,
        "figures": figures_in_words(known),
        "films": made(facts, "film", facts.mine),
        "exports": made(facts, "export", facts.mine),
        "making_page": next((j for j in facts.jobs if j.kind == "page" and j.state in GOING), None),
        "thumbnails": small[:THUMBNAILS] if len(small) >= THUMBNAILS else small[:1],
        "photos": sum(f.state == "whole" for f in facts.files),
        "unusable": [f for f in facts.files if f.state == "unusable"],
        "has_path": (places(shop.data, scene.id).scene / SAVED_PATH).exists(),
        "cropped": bool(known and known.get("cropped")),
        "base": base,
        "unreachable": warning,
        "offers": offers,
        "film_form": film_form,
        "kinds": film_kinds,
        "longer": [q for q in offers.LONGER if q[0] in actions.qualities(shop)],
        "details": details_of(shop, scene),
        "pause": queue_pause(shop) if any(job.state == "waiting" for job in facts.jobs) else "",
    }


def made(facts: SceneFacts, kind: str, mine: bool) -> Sequence[JobFacts]:
    """The jobs of a kind that a page lists: what was made, and for owners all others."""
    shown = ("done", *GOING, "failed", "stopped") if mine else ("done",)
    return [job for job in facts.jobs if job.kind == kind and job.state in shown]


def details_of(shop: Shop, scene: SceneRow) -> dict[str, str]:
    """What the files of films and exports are, such as "8 s, 960 × 720, 2.3 MB", by address."""
    found = {}
    for job in jobs.jobs_of(shop.db, scene.id):
        for name in job.result.get("files", []) if job.kind in ("film", "export") else ():
            said = []
            if job.result.get("seconds"):
                said.append(f"{job.result['seconds']:.3g} s")
            if job.result.get("width"):
                said.append(f"{job.result['width']} × {job.result['height']}")
            size = size_on_disk(places(shop.data, scene.id).home / name)
            found[f"/scenes/{scene.id}/{name}"] = ", ".join([*said, words.size(size)])
    return found


def figures_in_words(figures: dict[str, Any] | None) -> list[tuple[str, str]]:
    """A scene's figures as (name, value) for people; empty if there is no scene yet."""
    if figures is None:
        return []
    photos, posed = figures.get("photos"), figures.get("photos_posed")
    found = []
    if photos:
        used = f"{posed:,} of {photos:,}" if posed is not None and posed < photos else f"{photos:,}"
        found.append(("Photos used", used))
    if quality := words.quality(figures):
        found.append(("How it looks", quality.capitalize()))
    if figures.get("train_seconds"):
        found.append(("Trained for", words.length(figures["train_seconds"]).removeprefix("about ")))
    return found


@router.get("/scenes/{scene}/links/{token}/qr.svg")
async def link_code(request: Request, who: Who, scene: str, token: str) -> Response:
    """A link as a QR code, for a phone that is pointed at the screen."""
    found = scene_to_change(request, who, scene)
    shop = shop_of(request)
    if all(link.token != token for link in links_of(shop.db, found.id)):
        raise HTTPException(404, "this link no longer holds; make a new one")
    code = segno.make(f"{outside(request, shop)[0]}/s/{token}", error="m")
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(code.svg_inline(scale=6, border=3, light="#fff"), 200, headers, "image/svg+xml")

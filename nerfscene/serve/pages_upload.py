"""Where a scene begins: its title, its photos, and how well it is to be trained."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import Response

from nerfscene.serve import actions, jobs, quota, scenes
from nerfscene.serve.facts import scene_facts
from nerfscene.serve.gate import Visitor, scene_to_change, shop_of
from nerfscene.serve.kept import kept_page
from nerfscene.serve.pages import Who, see_other
from nerfscene.serve.pages_html import VENDOR, asset, html, page
from nerfscene.serve.scenes import SceneRow
from nerfscene.serve.shop import Shop

router = APIRouter(include_in_schema=False)
# What browsers offer for picking. Which files can be used is checked when they have come.
ACCEPT = "image/*,video/*,.heic,.heif,.avif,.jxl,.dng,.insp,.insv,.mkv,.zip,application/zip"
QUALITIES = (
    ("1min", "Quick", "1 minute", "A first look, to see whether the photos are enough."),
    ("5min", "Good", "5 minutes", "Right for most scenes."),
    ("20min", "Best", "20 minutes", "Larger pictures and finer details."),
)
SHOWN_PHOTOS = 400  # thumbnails on one page


@router.get("/new")
async def new(request: Request, who: Who) -> Response:
    """An empty scene, which is made when its first photo comes."""
    _owner(who)
    return page(request, "upload.html", who, values_of(shop_of(request), who, None))


@router.post("/new")
async def make(
    request: Request, who: Who, title: Annotated[str, Form()] = "", quality: Annotated[str, Form()] = ""
) -> Response:
    """Makes a scene; its photos come on the next page."""
    _owner(who)
    shop = shop_of(request)
    chosen = actions.only({"quality": quality or None}, actions.TRAINING, actions.TrainConfig)
    scene = scenes.new_scene(shop.db, shop.data, who.person.id, title.strip() or usual_title(), chosen)
    return see_other(f"/scenes/{scene.id}")


@router.get("/scenes/{scene}/photos")
async def photos(request: Request, who: Who, scene: str) -> Response:
    """A scene's photos, to add to them or to take some out, and to train again."""
    found = scene_to_change(request, who, scene)
    return upload_page(request, who, found)


def upload_page(request: Request, who: Visitor, scene: SceneRow) -> Response:
    """The page on which a scene's photos are added."""
    return kept_page(request, html(request, "upload.html", who, values_of(shop_of(request), who, scene)))


def values_of(shop: Shop, who: Visitor, scene: SceneRow | None) -> dict[str, Any]:
    """What the upload page shows; scene: None if there is none yet."""
    facts = None if scene is None else scene_facts(shop, scene, who.person)
    files = [] if facts is None else facts.files
    coming = [f for f in files if f.state == "coming" and f.received < f.size]
    use = quota.use_of(shop, who.person)
    allowed = actions.qualities(shop)
    chosen = None if scene is None else scene.settings.get("quality")
    return {
        "scene": facts,
        "going": facts is not None and facts.state in jobs.UNFINISHED,
        "whole": [f for f in files if f.state == "whole"],
        "coming": coming,
        "checking": sum(f.state == "coming" for f in files) - len(coming),
        "unusable": [f for f in files if f.state == "unusable"],
        "thumbnails": set() if scene is None else thumbnails_of(shop, scene.id),
        "shown": SHOWN_PHOTOS,
        "accept": ACCEPT,
        "qualities": [q for q in QUALITIES if q[0] in allowed],
        "quality": chosen if chosen in allowed else actions.usual_quality(shop),
        "usual_title": usual_title(),
        "left": use.left,
        "quota": use.quota,
        "tus": asset(VENDOR),
        "upload": "" if scene is None else f"/scenes/{scene.id}/upload?token={quote(who.token)}",
    }


def usual_title() -> str:
    """What a scene is called whose owner doesn't say."""
    now = time.localtime()
    return f"Scene of {now.tm_mday} {time.strftime('%B', now)}, {time.strftime('%H:%M', now)}"


def thumbnails_of(shop: Shop, scene: str) -> set[str]:
    """The ids of the files that have a small picture."""
    try:
        return {p.stem for p in scenes.places(shop.data, scene).thumbnails.iterdir() if p.suffix == ".jpg"}
    except OSError:
        return set()


def _owner(who: Visitor) -> None:
    if who.person.role != "owner":
        raise HTTPException(403, "guests look at scenes; ask whoever invited you to make you an owner")

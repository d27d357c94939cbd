"""What the forms on a scene's page ask for. Each answers with the page that shows what became of it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import Response

from nerfscene.serve import actions, jobs, links, receiving, scenes
from nerfscene.serve.crop import set_crop
from nerfscene.serve.facts import SCENE_FILE
from nerfscene.serve.film_form import FilmForm, number
from nerfscene.serve.gate import scene_to_change, shop_of, waking
from nerfscene.serve.pages import Who, see_other
from nerfscene.serve.scenes import SceneRow, places

router = APIRouter(include_in_schema=False, prefix="/scenes/{scene}", dependencies=[Depends(waking)])
Text = Annotated[str, Form()]
PARTS = {"film": "#films", "export": "#exports"}  # of the page, by the kind of a job


@router.post("/title")
async def rename(request: Request, who: Who, scene: str, title: Text = "") -> Response:
    """Another title."""
    found = scene_to_change(request, who, scene)
    scenes.rename(shop_of(request).db, found.id, title)
    return back_to(found)


@router.post("/train")
async def train(
    request: Request, who: Who, scene: str, quality: Text = "", title: Text = "", more: Text = ""
) -> Response:
    """Trains the scene; with ``more`` it goes on with the scene that is there."""
    found, shop = scene_to_change(request, who, scene), shop_of(request)
    if title.strip() and title != found.title:
        scenes.rename(shop.db, found.id, title)
    going_on = bool(more) and (places(shop.data, found.id).scene / SCENE_FILE).exists()
    actions.train(shop, found, {"quality": quality or None}, more=going_on)
    return back_to(found)


@router.post("/films")
async def film(request: Request, who: Who, scene: str, form: Annotated[FilmForm, Form()]) -> Response:
    """A film."""
    found = scene_to_change(request, who, scene)
    actions.film(shop_of(request), found, form.settings())
    return back_to(found, "#films")


@router.post("/exports")
async def export(request: Request, who: Who, scene: str, what: Text = "") -> Response:
    """An export; what: kind and ending, such as mesh.glb."""
    found = scene_to_change(request, who, scene)
    kind, _, ending = what.partition(".")
    actions.export(shop_of(request), found, kind, ending, {})
    return back_to(found, "#exports")


@router.post("/pages")
async def make_page(request: Request, who: Who, scene: str) -> Response:
    """The page to send, made again."""
    found = scene_to_change(request, who, scene)
    actions.page(shop_of(request), found, {})
    return back_to(found, "#share")


@router.post("/links")
async def link(request: Request, who: Who, scene: str, days: Text = "") -> Response:
    """A link that lets anyone look; days: after which it ends, 0 or nothing for never."""
    found = scene_to_change(request, who, scene)
    links.new_link(shop_of(request).db, found.id, number(days, "days") or None)
    return back_to(found, "#share")


@router.post("/links/{token}/take-back")
async def take_back(request: Request, who: Who, scene: str, token: str) -> Response:
    """Ends a link."""
    found = scene_to_change(request, who, scene)
    links.take_back(shop_of(request).db, found.id, token)
    return back_to(found, "#share")


@router.post("/webhook")
async def webhook(request: Request, who: Who, scene: str, address: Text = "") -> Response:
    """The address to tell when the scene's work ends; empty for none."""
    found = scene_to_change(request, who, scene)
    actions.set_webhook(shop_of(request), found, address)
    return back_to(found)


@router.post("/uncrop")
def uncrop(request: Request, who: Who, scene: str) -> Response:
    """Shows all of a scene again."""
    found = scene_to_change(request, who, scene)
    set_crop(shop_of(request), found, None)
    return back_to(found)


@router.post("/delete")
async def delete(request: Request, who: Who, scene: str) -> Response:
    """Into the bin; what runs of it is stopped."""
    found = scene_to_change(request, who, scene)
    actions.delete(shop_of(request), found)
    return see_other(f"/?deleted={found.id}")


@router.post("/restore")
async def restore(request: Request, who: Who, scene: str) -> Response:
    """Out of the bin."""
    found = scene_to_change(request, who, scene)
    scenes.restore(shop_of(request).db, found.id)
    return back_to(found)


@router.post("/jobs/{job}/{wanted}")
async def control(
    request: Request, who: Who, scene: str, job: str, wanted: Literal["pause", "stop", "go-on", "remove"]
) -> Response:
    """Pauses or stops a job, lets it go on, or removes it with what it made."""
    found, shop = scene_to_change(request, who, scene), shop_of(request)
    work = next((one for one in jobs.jobs_of(shop.db, found.id) if one.id == job), None)
    part = PARTS.get(work.kind, "") if work is not None else ""
    if work is None:
        if wanted != "remove":  # removed twice is removed
            raise HTTPException(404, "there is no such film or export any more; look at its scene")
    elif wanted == "remove":
        actions.remove_job(shop, work)
    elif wanted == "go-on":
        jobs.go_on(shop.db, job)
    else:
        jobs.ask(shop.db, job, wanted)
    return back_to(found, part)


@router.post("/files/{file}/remove")
def remove(request: Request, who: Who, scene: str, file: str) -> Response:
    """Takes a photo out, or puts one that can't be used out of sight."""
    found, shop = scene_to_change(request, who, scene), shop_of(request)
    upload = next((f for f in scenes.files_of(shop.db, found.id) if f.id == file), None)
    if upload is not None:
        receiving.remove(shop, upload)
    return see_other(f"/scenes/{found.id}/photos")


def back_to(scene: SceneRow, part: str = "") -> Response:
    """The scene's page."""
    return see_other(f"/scenes/{scene.id}{part}")

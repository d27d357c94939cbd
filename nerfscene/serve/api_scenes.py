"""The API's scenes: their titles, uploads, crop, links, and the folder to take home."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response, StreamingResponse

from nerfscene.serve import actions, links, receiving, scenes
from nerfscene.serve.api_models import Crop, Id, NewLink, NewScene, SceneChange
from nerfscene.serve.api_parts import BODY, PLAIN, Change, LookAt, Scene, Who, refusals
from nerfscene.serve.cards import known_figures
from nerfscene.serve.crop import set_crop
from nerfscene.serve.facts import LinkFacts, SceneFacts, scene_facts
from nerfscene.serve.gate import Visitor, shop_of
from nerfscene.serve.scene_zip import ZIP, packed
from nerfscene.serve.scenes import SceneRow, places, scene_of

router = APIRouter(tags=["scenes"], generate_unique_id_function=lambda route: route.name)
ZIP_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}, "description": "A zip."}
}


def _facts(request: Request, who: Visitor, scene: SceneRow) -> SceneFacts:
    shop = shop_of(request)
    return scene_facts(shop, scene_of(shop.db, scene.id), who.person)


@router.get("/scenes", responses=refusals(401))
def list_scenes(request: Request, who: Who) -> list[SceneFacts]:
    """All scenes that you see, the newest first: your own, or, as a guest, those of who invited you."""
    shop, person = shop_of(request), who.person
    owner = person.id if person.role == "owner" else person.invited_by or ""
    return [scene_facts(shop, row, person) for row in scenes.scenes_of(shop.db, owner)]


@router.post("/scenes", status_code=201, responses=refusals(400, *BODY))
def new_scene(request: Request, who: Who, sent: NewScene) -> SceneFacts:
    """Begins a scene, to which photos can then be uploaded."""
    shop = shop_of(request)
    if who.person.role != "owner":
        raise HTTPException(403, "guests look at scenes; ask who invited you to make you an owner")
    settings = actions.training(shop, sent.settings.given()) if sent.settings is not None else {}
    row = scenes.new_scene(shop.db, shop.data, who.person.id, sent.title, settings)
    return scene_facts(shop, row, who.person)


@router.get("/scenes/{scene}", responses=refusals(401, 404))
def get_scene(request: Request, who: Who, row: LookAt, scene: Scene) -> SceneFacts:
    """One scene: its state, jobs, uploads, links, pictures and figures."""
    return _facts(request, who, row)


@router.patch("/scenes/{scene}", responses=refusals(400, 404, *BODY))
def change_scene(request: Request, who: Who, row: Change, scene: Scene, sent: SceneChange) -> SceneFacts:
    """Changes a scene's title, or its webhook."""
    shop = shop_of(request)
    if sent.webhook is not None:
        actions.set_webhook(shop, row, sent.webhook)
    if sent.title is not None:
        scenes.rename(shop.db, row.id, sent.title)
    return _facts(request, who, row)


@router.delete("/scenes/{scene}", responses=refusals(404, *PLAIN))
def delete_scene(request: Request, who: Who, row: Change, scene: Scene) -> SceneFacts:
    """Puts a scene into the bin. It is removed a day later, unless it is restored."""
    actions.delete(shop_of(request), row)
    return _facts(request, who, row)


@router.post("/scenes/{scene}/restore", responses=refusals(404, *PLAIN))
def restore_scene(request: Request, who: Who, row: Change, scene: Scene) -> SceneFacts:
    """Takes a scene out of the bin. Its paused training goes on when it is told to."""
    scenes.restore(shop_of(request).db, row.id)
    return _facts(request, who, row)


@router.get("/bin", responses=refusals(401))
def list_bin(request: Request, who: Who) -> list[SceneFacts]:
    """Your scenes in the bin."""
    shop, person = shop_of(request), who.person
    return [scene_facts(shop, row, person) for row in scenes.scenes_of(shop.db, person.id, deleted=True)]


@router.put("/scenes/{scene}/crop", responses=refusals(400, 404, 409, *BODY))
def crop_scene(request: Request, who: Who, row: Change, scene: Scene, sent: Crop) -> Crop:
    """Crops a scene to an upright box: viewer, films, exports and page show only what is in it."""
    set_crop(shop_of(request), row, sent.model_dump(mode="json"))
    return sent


@router.delete("/scenes/{scene}/crop", status_code=204, responses=refusals(400, 404, 409, *PLAIN))
def uncrop_scene(request: Request, who: Who, row: Change, scene: Scene) -> Response:
    """Shows all of a scene again."""
    shop = shop_of(request)
    if not (known_figures(places(shop.data, row.id).scene) or {}).get("cropped"):
        raise HTTPException(404, "this scene isn't cropped")
    set_crop(shop, row, None)
    return Response(status_code=204)


@router.delete("/scenes/{scene}/files/{file}", status_code=204, responses=refusals(400, 404, 409, *PLAIN))
def remove_file(request: Request, who: Who, row: Change, scene: Scene, file: Id) -> Response:
    """Removes a photo or video, also one that is still being uploaded."""
    shop = shop_of(request)
    found = next((f for f in scenes.files_of(shop.db, row.id) if f.id == file), None)
    if found is None:
        raise HTTPException(404, "this scene has no such photo; reload the page")
    receiving.remove(shop, found)
    return Response(status_code=204)


@router.get(
    "/scenes/{scene}/scene.zip",
    response_class=StreamingResponse,
    responses={**refusals(401, 403, 404, 409), **ZIP_ANSWER},
)
def take_home(
    request: Request,
    who: Who,
    row: Change,
    scene: Scene,
    photos: Annotated[bool, Query(description="Also the photos or videos, in the folder photos.")] = False,
) -> Response:
    """The scene's folder, for `nerfscene view`, `render`, `export` and `train --resume` at home."""
    size, parts = packed(places(shop_of(request).data, row.id).scene, photos)
    name = {"Content-Disposition": 'attachment; filename="scene.zip"', "Content-Length": str(size)}
    return StreamingResponse(parts, media_type=ZIP, headers=name)


@router.get("/scenes/{scene}/links", tags=["links"], responses=refusals(401, 403, 404))
def list_links(request: Request, who: Who, row: Change, scene: Scene) -> list[LinkFacts]:
    """The links that let anyone look at a scene, as long as they hold."""
    return [_link(link) for link in links.links_of(shop_of(request).db, row.id)]


@router.post(
    "/scenes/{scene}/links", status_code=201, tags=["links"], responses=refusals(400, 404, 409, *BODY)
)
def new_link(request: Request, who: Who, row: Change, scene: Scene, sent: NewLink | None = None) -> LinkFacts:
    """Makes a link by which anyone who has it can look at a scene, without a login."""
    actions.refuse_binned(row)
    return _link(links.new_link(shop_of(request).db, row.id, None if sent is None else sent.days))


@router.delete(
    "/scenes/{scene}/links/{token}", status_code=204, tags=["links"], responses=refusals(404, *PLAIN)
)
def take_back(request: Request, who: Who, row: Change, scene: Scene, token: Id) -> Response:
    """Takes a link back: it shows nothing from now on."""
    if all(link.token != token for link in links.links_of(shop_of(request).db, row.id)):
        raise HTTPException(404, "this scene has no such link; reload the page")
    links.take_back(shop_of(request).db, row.id, token)
    return Response(status_code=204)


def _link(link: links.Link) -> LinkFacts:
    return LinkFacts(link.token, f"/s/{link.token}", link.ends)

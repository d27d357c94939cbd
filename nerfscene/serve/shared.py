"""What a link shows to anyone who has it, without a login: one scene, to look at.

The link's token is all that lets in, so that it is told to nobody: browsers don't say where their reader came
from, and no search engine may keep the page. Once a link has ended, so have all of its addresses.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from nerfscene.serve import film_kinds
from nerfscene.serve.files import METHODS, file_answer, page_answer, saved_as, wanted
from nerfscene.serve.gate import shop_of
from nerfscene.serve.jobs import jobs_of
from nerfscene.serve.links import Link, link_of, shown_by
from nerfscene.serve.scenes import Places, SceneRow, places, scene_of
from nerfscene.serve.shop import Shop
from nerfscene.serve.stepping import page_of

router = APIRouter(include_in_schema=False, prefix="/s/{token}")
PRIVATE = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}
ENDED = "this link has ended, or was taken back; ask whoever sent it for a new one"
UNKNOWN = "there is no such link; check that all of it was copied"


class NoLink(Exception):
    """There is no such link (status 404), or it has ended (410); the text is a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def no_link(request: Request, error: Exception) -> Response:
    """The answer to NoLink."""
    assert isinstance(error, NoLink)
    return page_of(request, "shared_ended.html", {"text": str(error)}, error.status, PRIVATE)


def _shown(request: Request, token: str) -> tuple[Link, SceneRow, Places]:
    """What a link shows. Raises NoLink."""
    shop = shop_of(request)
    link = link_of(shop.db, token)
    if link is None:
        raise NoLink(404, UNKNOWN)
    if shown_by(shop.db, token) != link.scene:
        raise NoLink(410, ENDED)
    return link, scene_of(shop.db, link.scene), places(shop.data, link.scene)


@router.api_route("", methods=METHODS)
def shared(request: Request, token: str) -> Response:
    """The page of a link; with ?in, the scene stands in it, to look around in."""
    link, scene, at = _shown(request, token)
    base = f"/s/{token}"
    values = {
        "title": scene.title,
        "base": base,
        "address": (shop_of(request).config.url or str(request.base_url)).rstrip("/") + base,
        "poster": at.poster.exists(),
        "page": (at.page / "index.html").exists(),
        "within": "in" in request.query_params,
        "films": [f"{base}/films/{name}" for name in films_of(shop_of(request), scene, at)],
        "kinds": film_kinds,
        "ends": day_of(link.ends),
    }
    return page_of(request, "shared.html", values, 200, {**PRIVATE, "Cache-Control": "private, no-cache"})


@router.api_route("/", methods=METHODS)
def with_slash(token: str) -> Response:
    """The same page, without the slash that some programs add to an address."""
    return RedirectResponse(f"/s/{token}", 308, PRIVATE)


@router.api_route("/poster.jpg", methods=METHODS)
def poster(request: Request, token: str) -> Response:
    """A picture of the scene."""
    _, _, at = _shown(request, token)
    return file_answer(request, at.home, "poster.jpg", PRIVATE)


@router.api_route("/page", methods=METHODS)
def page_without_slash(token: str) -> Response:
    """Where the page is: its own addresses need the slash."""
    return RedirectResponse(f"/s/{token}/page/", 308, PRIVATE)


@router.api_route("/page/{name:path}", methods=METHODS)
def page(request: Request, token: str, name: str) -> Response:
    """The scene to look around in, and its files."""
    _, _, at = _shown(request, token)
    return page_answer(request, at, name, PRIVATE)


@router.api_route("/film.mp4", methods=METHODS)
def newest_film(request: Request, token: str) -> Response:
    """The newest film."""
    _, scene, at = _shown(request, token)
    made = [name for name in films_of(shop_of(request), scene, at) if name.endswith(".mp4")]
    return _film(request, scene, at, made[0] if made else "film.mp4")


@router.api_route("/films/{name}", methods=METHODS)
def film(request: Request, token: str, name: str) -> Response:
    """A film of the scene, to play or to save."""
    _, scene, at = _shown(request, token)
    return _film(request, scene, at, name)


def _film(request: Request, scene: SceneRow, at: Places, name: str) -> Response:
    download = saved_as(scene.title, Path(name).suffix) if wanted(request) else ""
    return file_answer(request, at.films, name, PRIVATE, download)


def films_of(shop: Shop, scene: SceneRow, at: Places) -> list[str]:
    """The names of a scene's films that are complete, the newest first."""
    made = [
        str(name).removeprefix("films/")
        for job in jobs_of(shop.db, scene.id)
        if job.kind == "film" and job.state == "done"
        for name in job.result.get("files", [])
    ]
    return [name for name in made if (at.films / name).is_file()]


def day_of(seconds: float | None) -> dict[str, Any] | None:
    """A day, for a machine and in words; None for never. seconds: since 1970."""
    if seconds is None:
        return None
    day = time.localtime(seconds)
    return {"iso": time.strftime("%Y-%m-%d", day), "words": f"{day.tm_mday} {time.strftime('%B %Y', day)}"}

"""A scene's files, for who may look at it: pictures, report, films, exports, and the page to send.

Nothing outside a scene's own places is given out, whatever the address says. Browsers keep what they got, but
ask each time whether it still holds, so that what was taken away is gone at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from nerfscene.serve.gate import Visitor, scene_to_look_at, shop_of, visitor
from nerfscene.serve.scenes import Places, SceneRow, places

router = APIRouter(include_in_schema=False, prefix="/scenes/{scene}")
Who = Annotated[Visitor, Depends(visitor)]
METHODS = ["GET", "HEAD"]
GONE = "there is no such file; look for it on the page of its scene"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".zip": "application/zip",
    ".glb": "model/gltf-binary",
    ".obj": "model/obj",
    ".stl": "model/stl",
    ".usdz": "model/vnd.usdz+zip",
}
ANY = "application/octet-stream"
# The page to send: its script and style are in it, and viser's client in a frame of its text. "self" is for
# the chunks beside it; nothing may be loaded from elsewhere, or sent there.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; worker-src blob: data:; "
    "style-src 'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self' blob: data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
# The report has no script; its pictures are in it.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox"
)
# A picture or download that is opened by itself runs nothing.
BARE_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"


def file_answer(
    request: Request, root: Path, name: str, headers: dict[str, str], download: str = ""
) -> Response:
    """The file ``name`` below the folder ``root``: whole, a range of it, or 304 if the browser has it.

    download: the name to save it under; "": it is shown. Raises HTTPException (404) if there is none.
    """
    file, found = _found(root, name)
    tag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
    answer = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": BARE_POLICY,
        **headers,
    }
    asked = request.headers.get("if-none-match", "")
    if asked.strip() == "*" or tag in (t.strip().removeprefix("W/") for t in asked.split(",")):
        return Response(None, 304, answer)
    kind = TYPES.get(file.suffix.lower(), ANY)
    return FileResponse(file, 200, answer, kind, filename=download or None, stat_result=found)


def _found(root: Path, name: str) -> tuple[Path, os.stat_result]:
    """A regular file below a folder, and what is known of it. Raises HTTPException (404) if there is none."""
    parts = name.split("/")
    plain = all(p and not p.startswith(".") and "\\" not in p and p.isprintable() for p in parts)
    if plain:
        with contextlib.suppress(OSError):
            home = root.resolve(strict=True)
            file = home.joinpath(*parts).resolve(strict=True)
            found = file.stat()
            # A link may lead elsewhere within the folder, but not to a hidden file, nor out of it.
            inside = file.is_relative_to(home) and not any(
                p.startswith(".") for p in file.relative_to(home).parts
            )
            if inside and stat.S_ISREG(found.st_mode):
                return file, found
    raise HTTPException(404, GONE)


def saved_as(title: str, ending: str) -> str:
    """A file name made of a scene's title that every system takes. ending: with its dot."""
    name = re.sub(r'[\\/:*?"<>|\x00-\x1f]+', " ", unicodedata.normalize("NFC", title))
    return (" ".join(name.split()).strip(" .")[:100] or "scene") + ending


def wanted(request: Request) -> bool:
    """Whether the address asks for a download."""
    return "download" in request.query_params


def _scene(request: Request, who: Visitor, scene: str) -> tuple[SceneRow, Places]:
    """The scene and its places. Raises HTTPException (404) for who may not look at it."""
    row = scene_to_look_at(request, who, scene)
    if row.deleted is not None and row.person != who.person.id:
        raise HTTPException(404, "there is no such scene; look for it in the gallery")
    return row, places(shop_of(request).data, row.id)


@router.api_route("/{picture}.jpg", methods=METHODS)
def picture(request: Request, who: Who, scene: str, picture: str) -> Response:
    """now, poster and turning: the scene's pictures."""
    row, at = _scene(request, who, scene)
    if picture not in ("now", "poster", "turning"):
        raise HTTPException(404, GONE)
    name = saved_as(row.title, ".jpg") if wanted(request) else ""
    return file_answer(request, at.home, f"{picture}.jpg", {}, name)


@router.api_route("/thumbnails/{name}", methods=METHODS)
def thumbnail(request: Request, who: Who, scene: str, name: str) -> Response:
    """A small picture of an uploaded photo: of the owner's alone, as the photos are."""
    row, at = _scene(request, who, scene)
    if row.person != who.person.id:
        raise HTTPException(404, GONE)
    return file_answer(request, at.thumbnails, name, {})


@router.api_route("/report.html", methods=METHODS)
def report(request: Request, who: Who, scene: str) -> Response:
    """What the scene is like."""
    row, at = _scene(request, who, scene)
    name = saved_as(f"{row.title} report", ".html") if wanted(request) else ""
    headers = {"Content-Security-Policy": REPORT_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return file_answer(request, at.scene, "report.html", headers, name)


@router.api_route("/films/{name}", methods=METHODS)
def film(request: Request, who: Who, scene: str, name: str) -> Response:
    """A film, to play or to save."""
    row, at = _scene(request, who, scene)
    download = saved_as(row.title, Path(name).suffix) if wanted(request) else ""
    return file_answer(request, at.films, name, {}, download)


@router.api_route("/exports/{name:path}", methods=METHODS)
def export(request: Request, who: Who, scene: str, name: str) -> Response:
    """A file to save, under the name that its job gave it."""
    _, at = _scene(request, who, scene)
    return file_answer(request, at.exports, name, {}, name.rpartition("/")[2])


@router.api_route("/page", methods=METHODS)
def page_without_slash(scene: str) -> Response:
    """Where the page is: its own addresses need the slash."""
    return RedirectResponse(f"/scenes/{scene}/page/", 308)


@router.api_route("/page/{name:path}", methods=METHODS)
def page(request: Request, who: Who, scene: str, name: str) -> Response:
    """The page to send, as those to whom it is sent see it."""
    _, at = _scene(request, who, scene)
    return page_answer(request, at, name)


def page_answer(request: Request, at: Places, name: str, headers: dict[str, str] | None = None) -> Response:
    """A file of the page to send; "" is the page itself."""
    framed = {"Content-Security-Policy": PAGE_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return file_answer(request, at.page, name or "index.html", {**framed, **(headers or {})})

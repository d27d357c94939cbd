"""The files of a page to send: what ``page_parts/`` holds, filled in, around a recording of viser's."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any

from nerfscene import __version__
from nerfscene.exporters.page_cameras import DISTANCE, WHOLE, Place
from nerfscene.exporters.page_recording import RANGE, Recording

PARTS = Path(__file__).with_name("page_parts")
INDEX, POSTERS, DATA, LICENCE = (
    "index.html",
    ("poster.jpg", "poster-portrait.jpg"),
    "data",
    "viser-licence.txt",
)
SCRIPTS = ("page.js", "splats.js")
PART = 1_000_000  # characters of a part of the scene, whose loading shows
SPEED = 3.0  # units a second, of walking by buttons
SIGN = 'name="generator" content="nerfscene '  # by which a page is known as ours
ICONS = {
    "play": '<path class="go solid" d="M7 4.5v15l12-7.5z"/><path class="pause" d="M8 5v14M16 5v14"/>',
    "home": '<path d="M4 11l8-7 8 7v9h-5v-6H9v6H4z"/>',
    "feet": '<circle cx="13" cy="4" r="1.6" class="solid"/>'
    '<path d="M12 8l-4 3v3M12 8l1 6 3 2 1 5M12 8l2 3 4 1M12.5 13.500L10 17l-2.500 4"/>',
    "sun": '<circle cx="12" cy="12" r="4"/>'
    '<path d="M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M5 19l2-2M17 7l2-2"/>',
    "full": '<path d="M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5"/>',
    "up": '<path d="M6 15l6-6 6 6"/>',
    "down": '<path d="M6 9l6 6 6-6"/>',
    "left": '<path d="M15 6l-6 6 6 6"/>',
    "right": '<path d="M9 6l6 6-6 6"/>',
}


@dataclass(frozen=True)
class PageText:
    """What a page says and shows, apart from its splats.

    title, date: as given, not yet escaped. photos: how many the scene is made from. opening: the first view.
    path: see ``page_cameras.playable``. posters: JPEG files, for wide and for tall screens. background: CSS.
    """

    title: str
    date: str
    photos: int
    opening: Place
    path: dict[str, Any] | None
    posters: tuple[bytes, bytes]
    background: str


def page_files(text: PageText, recording: Recording, splats: int, single: bool) -> dict[str, bytes]:
    """The page's files by their names in its folder; of a single page only index.html.

    splats: how many the recording holds.
    """
    scene, harmonics = _parts(recording.scene), _parts(recording.harmonics)
    parts = scene + harmonics
    scripts = {"viewer.js": _script(-1, [recording.before, recording.after])}
    scripts |= {f"scene-{i:02}.js": _script(i, part) for i, part in enumerate(parts)}
    data = {
        "parts": len(parts),
        "scene": len(scene),
        "range": RANGE if harmonics else 0,
        "files": [] if single else [f"{DATA}/{name}" for name in scripts],
        "count": splats,
        "open": text.opening.numbers(),
        "path": text.path,
        "background": text.background,
        "distance": DISTANCE,
        "whole": WHOLE,
        "speed": SPEED,
    }
    if single:
        wide, tall = (f"data:image/jpeg;base64,{base64.b64encode(p).decode()}" for p in text.posters)
        inline = "\n".join(f"<script>{script}</script>" for script in scripts.values())
        inline += f'\n<script type="text/plain" id="licence">{html.escape(_licence())}</script>'
        return {INDEX: _encoded(_index(text, data, (wide, tall), inline))}
    files = {INDEX: _encoded(_index(text, data, POSTERS, "")), LICENCE: _licence().encode()}
    files |= dict(zip(POSTERS, text.posters, strict=True))
    return files | {f"{DATA}/{name}": script.encode() for name, script in scripts.items()}


def _parts(text: str) -> list[str]:
    return [text[i : i + PART] for i in range(0, len(text), PART)]


def _encoded(page: str) -> bytes:
    """The page in UTF-8, with "?" for what isn't Unicode: a scene's folder can have such a name."""
    return page.encode("utf-8", "replace")


def _index(text: PageText, data: dict[str, Any], posters: tuple[str, str], parts: str) -> str:
    """The page itself. posters: their addresses. parts: scripts that hold the scene."""
    title, date = html.escape(text.title), html.escape(text.date)
    made = f"Rendered by nerfscene {__version__} from {text.photos} photographs."
    licence = "its licence stands at the end of this file"
    if data["files"]:
        licence = f'<a href="{LICENCE}">licence</a>'
    values = {
        "generator": f"nerfscene {__version__}",
        "title": title,
        "date": f'<p dir="auto">{date}</p>' if text.date else "",
        "description": f"{title}: a scene to look around in, made from {text.photos} photographs.",
        "alt": f"The scene “{title}” from its first view",
        "poster": posters[0],
        "poster_portrait": posters[1],
        "made": made,
        "viser": metadata.version("viser"),
        "licence": licence,
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "style": (PARTS / "page.css").read_text(encoding="utf-8"),
        "script": "".join((PARTS / name).read_text(encoding="utf-8") for name in SCRIPTS),
        "parts": parts,
        **{name: f'<svg viewBox="0 0 24 24" aria-hidden="true">{icon}</svg>' for name, icon in ICONS.items()},
    }
    return Template((PARTS / "page.html").read_text(encoding="utf-8")).substitute(values)


def _script(i: int, value: Any) -> str:
    """A script that hands a part of the scene to the page; no text in it can end the script."""
    quoted = json.dumps(value).replace("</", "<\\/").replace("<!--", "<\\u0021--")
    return f"nerfscenePart({i},{quoted})"


def _licence() -> str:
    """viser's licence, which goes with its client."""
    for file in metadata.files("viser") or []:
        if "LICENSE" in file.name.upper() and ".dist-info" in str(file):
            return file.read_text()
    return (
        "viser is licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0"
    )

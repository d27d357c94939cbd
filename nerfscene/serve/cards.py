"""What the gallery says of each scene: one query for all of them, and no look into what is large."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerfscene.serve import words
from nerfscene.serve.facts import SCENE_FILE, SceneState
from nerfscene.serve.jobs import waiting
from nerfscene.serve.scenes import Places, places
from nerfscene.serve.shop import Shop

PAGE = 48
QUERY = """
select s.id, s.title, s.created, j.id as job, j.state, j.stage, j.fraction, j.remaining, j.message,
  (select count(*) from files f where f.scene = s.id and f.state = 'whole') as files,
  (select group_concat(id) from (select id from files f where f.scene = s.id and f.state = 'whole' limit 4))
    as some
from scenes s left join jobs j on j.id =
  (select id from jobs where scene = s.id and kind = 'train' order by created desc limit 1)
where s.person = ? and s.deleted is null order by s.created desc limit ? offset ?
"""


@dataclass(frozen=True)
class Card:
    """A scene in the gallery. picture, turning: addresses, or ""; photos: those of some photos, small, where
    there is no picture; said: its figures, in words; looks: whether there is something to step into; line:
    how far it is, or what is wrong, or ""."""

    id: str
    title: str
    state: SceneState
    looks: bool
    picture: str
    turning: str
    photos: tuple[str, ...]
    said: str
    line: str
    fraction: float


def cards_of(shop: Shop, owner: str, nr: int) -> list[Card]:
    """The scenes on page ``nr`` (from 1) of an owner's, and one more if there are further pages."""
    rows = shop.db.rows(QUERY, (owner, PAGE + 1, PAGE * (nr - 1)))
    waits = any(row["state"] == "waiting" for row in rows)
    ahead = {job.id: i for i, job in enumerate(waiting(shop.db))} if waits else {}
    return [_card(shop, row, ahead) for row in rows]


def _card(shop: Shop, row: Any, ahead: dict[str, int]) -> Card:
    at, base = places(shop.data, row["id"]), f"/scenes/{row['id']}"
    home = str(at.home)  # strings are ten times faster to put together than paths
    state: SceneState = "collecting" if row["job"] is None else row["state"]
    state = "ready" if row["state"] == "done" else state
    known = known_figures(at.scene)
    names = ("now", "poster") if state in ("running", "waiting", "paused") else ("poster", "now")
    photos = (known or {}).get("photos") or row["files"]
    said = [words.count(photos, "photo") if photos else "No photos yet"]
    said += [word for word in (words.quality(known),) if word]
    said.append(words.day(row["created"]))
    picture = next((found for n in names if (found := _address(home, base, n))), "")
    return Card(
        id=row["id"],
        title=row["title"],
        state=state,
        looks=known is not None,
        picture=picture,
        turning=_address(home, base, "turning") if state == "ready" else "",
        photos=() if picture else _some(at, base, row["some"] or ""),
        said=" · ".join(said),
        line=_line(state, row, ahead),
        fraction=row["fraction"] or 0.0,
    )


def _line(state: SceneState, row: Any, ahead: dict[str, int]) -> str:
    if state == "waiting":
        return words.queue(ahead.get(row["job"]))
    if state == "running":
        left = f", {words.length(row['remaining'])} left" if row["remaining"] is not None else ""
        return f"{(row['stage'] or 'starting').capitalize()}{left}"
    if state == "failed":
        return words.sentence(row["message"]) or "The training failed."
    if state == "collecting":
        return "Not started yet"
    return {"paused": "Paused", "stopped": "Stopped early"}.get(state, "")


def _address(home: str, base: str, name: str) -> str:
    """Of a picture, with its age, so that a browser keeps it until it changes."""
    try:
        return f"{base}/{name}.jpg?{os.stat(f'{home}/{name}.jpg').st_mtime_ns}"
    except OSError:
        return ""


def _some(at: Places, base: str, files: str) -> tuple[str, ...]:
    """The addresses of four small pictures, or of one."""
    found = [f for f in files.split(",") if f and (at.thumbnails / f"{f}.jpg").exists()]
    return tuple(f"{base}/thumbnails/{f}.jpg" for f in (found if len(found) == 4 else found[:1]))


def known_figures(folder: Path) -> dict[str, Any] | None:
    """A scene's figures, and whether it is "cropped"; read once as long as its file doesn't change.

    None if there is none.
    """
    file = folder / SCENE_FILE
    try:
        return _figures(folder, file.stat().st_mtime_ns)
    except OSError:
        return None


KEPT = ("photos", "photos_posed", "psnr", "flip", "psnr_matched", "flip_matched", "train_seconds")


@functools.lru_cache(maxsize=2048)
def _figures(folder: Path, changed: int) -> dict[str, Any]:
    try:
        whole = json.loads((folder / SCENE_FILE).read_text())
    except ValueError:
        return {}
    found = whole.get("figures") or {}
    wanted = {name: found.get(name) for name in KEPT}
    return {**wanted, "cropped": whole.get("crop") is not None}

"""The scenes of a server, and their folders.

``DATA/scenes/ID/`` holds ``photos`` (as uploaded), ``scene`` (an ordinary scene folder, for every command of
nerfscene), ``films``, ``exports``, ``page`` (to send), and pictures for the gallery.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nerfscene.errors import NerfsceneError
from nerfscene.scene.atomic import telling
from nerfscene.serve.database import Database, new_id
from nerfscene.serve.limits import not_too_many

UNDO = 24 * 3600.0  # seconds for which a deleted scene is kept
LONGEST_TITLE = 120
JOINERS = "\u200c\u200d"  # in words of Persian and Indian languages, and in emoji of several people
FileState = Literal["coming", "whole", "unusable"]


@dataclass(frozen=True)
class SceneRow:
    """One scene. person: its owner's id; settings: of its training, as TrainConfig has them; webhook: an
    address to tell when it is done, or ""; created, deleted: seconds since 1970."""

    id: str
    person: str
    title: str
    settings: dict[str, Any]
    webhook: str
    created: float
    deleted: float | None


@dataclass(frozen=True)
class UploadedFile:
    """One file of a scene. size: bytes, whole; why: what is wrong with an unusable one, as a sentence."""

    id: str
    scene: str
    person: str
    name: str
    size: int
    state: FileState
    why: str
    created: float


@dataclass(frozen=True)
class Places:
    """A scene's files. ``now`` is the newest picture of a scene in training; ``turning`` a strip of TURNS
    pictures side by side, all around it; ``poster`` one of them, larger."""

    home: Path

    @property
    def photos(self) -> Path:
        """As uploaded."""
        return self.home / "photos"

    @property
    def scene(self) -> Path:
        """The scene folder."""
        return self.home / "scene"

    @property
    def films(self) -> Path:
        """One film a job: ID.mp4, or another ending."""
        return self.home / "films"

    @property
    def exports(self) -> Path:
        """One folder a job."""
        return self.home / "exports"

    @property
    def page(self) -> Path:
        """The page to send."""
        return self.home / "page"

    @property
    def thumbnails(self) -> Path:
        """ID.jpg of each uploaded photo."""
        return self.home / "thumbnails"

    @property
    def now(self) -> Path:
        return self.home / "now.jpg"

    @property
    def turning(self) -> Path:
        return self.home / "turning.jpg"

    @property
    def poster(self) -> Path:
        return self.home / "poster.jpg"


def places(data: Path, scene: str) -> Places:
    """Where a scene's files are. scene: its id, as ``SceneRow`` has it."""
    return Places(data / "scenes" / scene)


def new_scene(db: Database, data: Path, person: str, title: str, settings: dict[str, Any]) -> SceneRow:
    """A scene without photos yet. Raises NerfsceneError for too many scenes, or a title that can't be one."""
    scene = new_id()
    with db.change() as c:
        not_too_many(c, "scenes", person)
        c.execute(
            "insert into scenes (id, person, title, settings, created) values (?, ?, ?, ?, ?)",
            (scene, person, _title(title), json.dumps(settings), time.time()),
        )
        with telling(data):
            places(data, scene).photos.mkdir(parents=True)
    return scene_of(db, scene)


def scene_of(db: Database, scene: str) -> SceneRow:
    """The scene with this id, deleted or not. Raises NerfsceneError if there is none."""
    row = db.row("select * from scenes where id = ?", (scene,))
    if row is None:
        raise NerfsceneError("there is no such scene; look for it in the gallery")
    return _scene(row)


def scenes_of(db: Database, person: str, deleted: bool = False) -> list[SceneRow]:
    """A person's scenes, the newest first; those in the bin with ``deleted``."""
    is_set = "is not null" if deleted else "is null"
    rows = db.rows(
        f"select * from scenes where person = ? and deleted {is_set} order by created desc", (person,)
    )
    return [_scene(r) for r in rows]


def rename(db: Database, scene: str, title: str) -> None:
    """Raises NerfsceneError for an empty title."""
    with db.change() as c:
        c.execute("update scenes set title = ? where id = ?", (_title(title), scene))


def set_webhook(db: Database, scene: str, address: str) -> None:
    """The address that is told when the scene's work ends; "" for none."""
    with db.change() as c:
        c.execute("update scenes set webhook = ? where id = ?", (address, scene))


def set_settings(db: Database, scene: str, settings: dict[str, Any]) -> None:
    """The settings of its next training."""
    with db.change() as c:
        c.execute("update scenes set settings = ? where id = ?", (json.dumps(settings), scene))


def delete(db: Database, scene: str) -> None:
    """Puts a scene into the bin; ``restore`` takes it out again, for UNDO seconds."""
    with db.change() as c:
        c.execute("update scenes set deleted = ? where id = ? and deleted is null", (time.time(), scene))


def restore(db: Database, scene: str) -> None:
    """Takes a scene out of the bin."""
    with db.change() as c:
        c.execute("update scenes set deleted = null where id = ?", (scene,))


def empty_bin(db: Database, data: Path) -> int:
    """Removes what has been in the bin for UNDO seconds; returns how many scenes."""
    old = db.rows("select id from scenes where deleted < ?", (time.time() - UNDO,))
    for row in old:
        shutil.rmtree(places(data, row["id"]).home, ignore_errors=True)
        with db.change() as c:
            for table in ("files", "jobs", "links", "notes"):
                c.execute(f"delete from {table} where scene = ?", (row["id"],))
            c.execute("delete from scenes where id = ?", (row["id"],))
    return len(old)


def files_of(db: Database, scene: str) -> list[UploadedFile]:
    """A scene's uploads, in the order in which they began."""
    rows = db.rows("select * from files where scene = ? order by created, id", (scene,))
    return [UploadedFile(**dict(r)) for r in rows]


def note(db: Database, person: str, scene: str, text: str) -> None:
    """Leaves a note for a person, which their next page shows."""
    with db.change() as c:
        _note(c, person, scene, text)


def _note(c: sqlite3.Connection, person: str, scene: str, text: str) -> None:
    c.execute(
        "insert into notes (person, scene, text, created) values (?, ?, ?, ?)",
        (person, scene, text, time.time()),
    )


def unread_notes(db: Database, person: str) -> list[dict[str, Any]]:
    """A person's notes that they haven't put away: id, scene, text, created."""
    rows = db.rows(
        "select id, scene, text, created from notes where person = ? and read is null order by id", (person,)
    )
    return [dict(r) for r in rows]


def read_note(db: Database, person: str, number: int) -> None:
    """Puts a note away."""
    with db.change() as c:
        c.execute("update notes set read = ? where id = ? and person = ?", (time.time(), number, person))


def read_notes_of(db: Database, person: str, scene: str) -> None:
    """Puts a person's notes of a scene away: they look at it."""
    found = "person = ? and scene = ? and read is null"
    if db.row(f"select 1 from notes where {found}", (person, scene)) is not None:
        # A page is shown also when nothing can be written.
        with contextlib.suppress(sqlite3.OperationalError), db.change() as c:
            c.execute(f"update notes set read = ? where {found}", (time.time(), person, scene))


def _title(title: str) -> str:
    shown = "".join(ch if ch.isprintable() or ch in JOINERS else " " for ch in title)
    title = " ".join(shown.split())[:LONGEST_TITLE]
    if not title.strip(JOINERS + " "):
        raise NerfsceneError("a scene needs a title; type one")
    return title


def _scene(row: Any) -> SceneRow:
    values = dict(row)
    return SceneRow(**{**values, "settings": json.loads(values["settings"])})

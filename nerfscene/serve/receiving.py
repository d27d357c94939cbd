"""Uploads from their first byte to their last: a row in the database, and a file in DATA/uploads that grows.

The file's size is how much has come, and nothing else is written down, so that a server that is killed at any
moment knows it when it starts again. ``uploads`` and ``plain_upload`` bring bytes here; ``checking`` takes
what is whole.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from fastapi import HTTPException

from nerfscene.capture.endings import ARCHIVE_SUFFIXES
from nerfscene.serve import file_names, quota
from nerfscene.serve.database import new_id
from nerfscene.serve.jobs import UNFINISHED
from nerfscene.serve.people import Person
from nerfscene.serve.scenes import FileState, SceneRow, UploadedFile, places
from nerfscene.serve.shop import Shop

KEPT = 24 * 3600.0  # seconds without a byte after which an upload is given up
FORM = ".form"  # the ending of what comes by the plain form, which can't go on after a break
UNPACKED = ".unpacked"  # of the folder that a zip is unpacked into
NEW = 3600.0  # seconds for which a file without a row may belong to one that is being made


def begun(
    shop: Shop, scene: SceneRow, person: Person, name: str, size: int, ending: str = ""
) -> UploadedFile:
    """A new upload, of which nothing has come. ending: of its file in DATA/uploads, "" or FORM.

    Raises HTTPException with a sentence if it can't be used or has no room, and while the scene is trained.
    """
    why = file_names.why_unusable(name)
    if why:
        raise HTTPException(415, why)
    name = file_names.safe(name)
    if size <= 0:
        raise HTTPException(400, f"{file_names.shown(name)} is empty; choose another file")
    if scene.deleted is not None:
        raise HTTPException(409, "this scene is in the bin; restore it first")
    upload = new_id()
    with shop.db.change() as c:
        training = c.execute(
            f"select 1 from jobs where scene = ? and kind = 'train' and state in {UNFINISHED}", (scene.id,)
        )
        if training.fetchone():
            raise HTTPException(409, "this scene is being trained; add photos when that has ended")
        _check_count(c, scene)
        refused = quota.refusal(quota.use_of(shop, person, c), name, size)
        if refused is not None:
            raise HTTPException(*refused)
        taken = "select name from files where scene = ? and state <> 'unusable'"
        name = file_names.unique(name, [r["name"] for r in c.execute(taken, (scene.id,))])
        (part_of(shop, upload, ending)).touch(exist_ok=False)
        insert(c, [UploadedFile(upload, scene.id, person.id, name, size, "coming", "", time.time())])
    return found(shop, upload)


def _check_count(c: sqlite3.Connection, scene: SceneRow) -> None:
    (count,) = c.execute("select count(*) from files where scene = ?", (scene.id,)).fetchone()
    if count >= quota.MOST_FILES:
        raise HTTPException(
            quota.TOO_LARGE, f"this scene has {count} files, and can't have more; remove some, or use a video"
        )


def refused(shop: Shop, scene: SceneRow, person: Person, name: str, why: str) -> None:
    """Notes a file that wasn't taken, for the list of a scene's files."""
    with shop.db.change() as c:
        name = file_names.safe(name)
        _check_count(c, scene)
        insert(c, [UploadedFile(new_id(), scene.id, person.id, name, 0, "unusable", why, time.time())])


def insert(c: sqlite3.Connection, files: Sequence[UploadedFile]) -> None:
    """Adds rows, within a transaction."""
    c.executemany(
        "insert into files (id, scene, person, name, size, state, why, created) "
        "values (?, ?, ?, ?, ?, ?, ?, ?)",
        [(f.id, f.scene, f.person, f.name, f.size, f.state, f.why, f.created) for f in files],
    )


def found(shop: Shop, upload: str) -> UploadedFile:
    """The upload with this id. Raises HTTPException (404) if there is none."""
    row = shop.db.row("select * from files where id = ?", (upload,))
    if row is None:
        raise HTTPException(404, "there is no such upload; begin it again")
    return UploadedFile(**dict(row))


def part_of(shop: Shop, upload: str, ending: str = "") -> Path:
    """Where an upload's bytes are while it comes."""
    return shop.data / "uploads" / f"{upload}{ending}"


def received(shop: Shop, file: UploadedFile) -> int:
    """Bytes that have come."""
    return file.size if file.state != "coming" else quota.size_on_disk(part_of(shop, file.id))


def append(shop: Shop, part: Path, offset: int, blocks: Sequence[bytes]) -> None:
    """Writes bytes at ``offset``, which is where the file ends. Takes time.

    Raises HTTPException if less is free than should be spared, and if the upload was removed.
    """
    full = HTTPException(quota.NO_ROOM, "the server's disk is full; tell whoever runs it, or try again later")
    if shop.room() < 0:
        raise full
    try:
        # Opened for each block: a request that ends while another thread writes leaves no open file.
        with part.open("r+b", buffering=0) as file:
            file.seek(offset)
            for block in blocks:
                rest = memoryview(block)
                while rest:
                    rest = rest[file.write(rest) or 0 :]
    except FileNotFoundError:
        raise HTTPException(404, "this upload was removed; begin it again") from None
    except OSError:
        raise full from None


def set_state(
    shop: Shop, file: UploadedFile, state: FileState, why: str = "", size: int | None = None
) -> None:
    """Ends an upload as whole or unusable. size: bytes, if it is another than was said before."""
    with shop.db.change() as c:
        c.execute(
            "update files set state = ?, why = ?, size = coalesce(?, size) where id = ?",
            (state, why, size, file.id),
        )


def remove(shop: Shop, file: UploadedFile) -> None:
    """Removes an upload, whether it comes, is whole, or couldn't be used; with a zip, all that was in it.

    Raises HTTPException (409) for a photo of a scene that is being trained.
    """
    at, folder = places(shop.data, file.scene), f"{file_names.split(file.name)[0]}/"
    with shop.db.change() as c:
        training = c.execute(
            f"select 1 from jobs where scene = ? and kind = 'train' and state in {UNFINISHED}", (file.scene,)
        )
        if file.state == "whole" and training.fetchone():
            raise HTTPException(409, "this scene is being trained; remove photos when that has ended")
        gone = [file.id]
        packed = file.name.lower().endswith(ARCHIVE_SUFFIXES) and "/" not in file.name
        if packed and file.state == "whole":
            rows = c.execute("select id, name from files where scene = ?", (file.scene,)).fetchall()
            gone += [r["id"] for r in rows if r["name"].startswith(folder)]
        c.executemany("delete from files where id = ?", [(i,) for i in gone])
    for upload in gone:
        with contextlib.suppress(OSError):
            (at.thumbnails / f"{upload}.jpg").unlink(missing_ok=True)
    if file.state == "whole":
        target = at.photos / (folder if packed else file.name)
        shutil.rmtree(target, ignore_errors=True) if packed else target.unlink(missing_ok=True)
    forget(shop, file.id)


def forget(shop: Shop, upload: str) -> None:
    """Removes what has come of an upload."""
    for ending in ("", FORM):
        part_of(shop, upload, ending).unlink(missing_ok=True)
    shutil.rmtree(part_of(shop, upload, UNPACKED), ignore_errors=True)


def give_up_forms(shop: Shop) -> None:
    """Drops what came by plain forms when the server ended; called before any new one begins."""
    for part in (shop.data / "uploads").glob(f"*{FORM}"):
        with shop.db.change() as c:
            c.execute("delete from files where id = ? and state = 'coming'", (part.stem,))
        part.unlink(missing_ok=True)


def sweep(shop: Shop) -> int:
    """Gives up uploads of which nothing has come for KEPT seconds; returns how many.

    Also removes files that belong to no upload, such as those of scenes that were removed.
    """
    now, folder = time.time(), shop.data / "uploads"
    rows = shop.db.rows("select * from files where state = 'coming'")
    coming = [UploadedFile(**dict(r)) for r in rows]
    old = [f for f in coming if now - _last_change(shop, f) > KEPT]
    for file in old:
        with shop.db.change() as c:
            c.execute("delete from files where id = ? and state = 'coming'", (file.id,))
        forget(shop, file.id)
    known = {f.id for f in coming}
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.name.partition(".")[0] not in known and now - path.stat().st_mtime > NEW:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return len(old)


def _last_change(shop: Shop, file: UploadedFile) -> float:
    for ending in ("", FORM):
        with contextlib.suppress(OSError):
            return max(part_of(shop, file.id, ending).stat().st_mtime, file.created)
    return file.created

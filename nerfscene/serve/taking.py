"""Takes checked uploads into their scenes' folders, or drops them.

A file gets its place by one rename, and its row is changed right after; if the server is killed in between,
``checking`` looks at the file where it is, and changes the row then.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from nerfscene.capture.endings import ARCHIVE_SUFFIXES, PHOTO_SUFFIXES, VIDEO_SUFFIXES
from nerfscene.serve import file_names, quota, receiving
from nerfscene.serve.file_names import READ, shown, split
from nerfscene.serve.people import Person
from nerfscene.serve.receiving import UNPACKED, part_of
from nerfscene.serve.scenes import UploadedFile, places
from nerfscene.serve.shop import Shop
from nerfscene.serve.verdicts import Job, Verdict

# The video that a phone takes with a photo has its name, and up to this many bytes; it lasts 3 seconds.
LIVE = 30_000_000


def job_for(shop: Shop, file: UploadedFile, person: Person | None) -> Job | None:
    """What to check of an upload; None if its bytes are lost."""
    at, part = places(shop.data, file.scene), part_of(shop, file.id)
    path = part if part.exists() else at.photos / file.name
    if not path.is_file():
        return None
    sizes: dict[int, dict[str, str]] = {}
    rows = shop.db.rows("select name, size from files where scene = ? and state = 'whole'", (file.scene,))
    for row in rows:
        sizes.setdefault(row["size"], {})[str(at.photos / row["name"])] = row["name"]
    room = max(0, shop.room())
    if person is not None:  # the zip itself, which counts until it is unpacked, goes away
        room = quota.use_of(shop, person).left + file.size
    same = {k: v for k, v in sizes.get(file.size, {}).items() if k != str(path)}
    thumbnail = at.thumbnails / f"{file.id}.jpg"
    return Job(
        str(path), file.name, str(thumbnail), same, str(part_of(shop, file.id, UNPACKED)), str(at.thumbnails),
        max(0, quota.MOST_FILES - len(rows)), room, sizes,
    )  # fmt: skip


def lost(shop: Shop, file: UploadedFile) -> None:
    """Removes the row of an upload whose bytes are not there."""
    with shop.db.change() as c:
        c.execute("delete from files where id = ? and state = 'coming'", (file.id,))


def deadly(file: UploadedFile) -> Verdict:
    """For a file that ends whatever reads it."""
    return Verdict(
        "photo", f"{shown(file.name)} can't be read; export it again, as JPEG or MP4, and send that"
    )


def take(shop: Shop, file: UploadedFile, verdicts: Sequence[Verdict]) -> None:
    """Takes an upload by what was found: first of what is in it, last of itself. Raises OSError."""
    own = verdicts[-1]
    if own.why:
        drop_thumbnails(shop, file, verdicts)
        receiving.set_state(shop, file, "unusable", own.why)
        at = places(shop.data, file.scene)
        for left in (at.thumbnails / f"{file.id}.jpg", at.photos / file.name):
            left.unlink(missing_ok=True)
        receiving.forget(shop, file.id)
    elif own.kind == "zip":
        _take_folder(shop, file, verdicts)
    else:
        _take_file(shop, _with_ending(shop, file, own.ending))


def _with_ending(shop: Shop, file: UploadedFile, ending: str) -> UploadedFile:
    """The upload, called as what it is: an ending tells other programs, and the training, what to read."""
    stem, own = split(file.name)
    kinds = (PHOTO_SUFFIXES, VIDEO_SUFFIXES, ARCHIVE_SUFFIXES)
    if own.lower() == ending or any(own.lower() in k and ending in k for k in kinds):
        return file
    wanted = (stem if own.lower() in READ else file.name) + ending
    with shop.db.change() as c:
        rows = c.execute(
            "select name from files where scene = ? and state <> 'unusable' and id <> ?",
            (file.scene, file.id),
        )
        name = file_names.unique(wanted, [r["name"] for r in rows])
        c.execute("update files set name = ? where id = ?", (name, file.id))
    return receiving.found(shop, file.id)


def _take_file(shop: Shop, file: UploadedFile) -> None:
    at, part = places(shop.data, file.scene), part_of(shop, file.id)
    if part.exists():
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
    with shop.db.change() as c:
        row = c.execute("select 1 from files where id = ? and state = 'coming'", (file.id,)).fetchone()
        if row is None:  # it was removed meanwhile
            return
        at.photos.mkdir(parents=True, exist_ok=True)
        if part.exists():
            part.replace(at.photos / file.name)
        c.execute("update files set state = 'whole' where id = ?", (file.id,))
    _part_live_photos(shop, file)


def _part_live_photos(shop: Shop, file: UploadedFile) -> None:
    """Drops the moving part of a live photo, whichever of the two comes first, and says so."""
    stem, ending = split(file.name.casefold())
    rows = shop.db.rows("select * from files where scene = ? and state = 'whole'", (file.scene,))
    named = [UploadedFile(**dict(r)) for r in rows if split(r["name"].casefold())[0] == stem]
    photo = next((f for f in named if f.name.lower().endswith(PHOTO_SUFFIXES)), None)
    for video in named if photo is not None and ending in (*PHOTO_SUFFIXES, *VIDEO_SUFFIXES) else ():
        if photo is not None and video.name.lower().endswith(VIDEO_SUFFIXES) and video.size <= LIVE:
            why = f"{shown(video.name)} is the moving part of the live photo {shown(photo.name)}"
            receiving.set_state(shop, video, "unusable", f"{why}, which is used without it")
            at = places(shop.data, file.scene)
            (at.photos / video.name).unlink(missing_ok=True)
            (at.thumbnails / f"{video.id}.jpg").unlink(missing_ok=True)


def _take_folder(shop: Shop, file: UploadedFile, verdicts: Sequence[Verdict]) -> None:
    """Takes what a zip held, as a folder called as the zip."""
    at, own = places(shop.data, file.scene), verdicts[-1]
    file = _with_ending(shop, file, ".zip")
    name = split(file.name)[0]
    inside = [
        UploadedFile(
            v.id, file.scene, file.person, f"{name}/{v.name}", v.size, "unusable" if v.why else "whole",
            v.why, time.time(),
        )
        for v in verdicts if v.id
    ]  # fmt: skip
    shutil.rmtree(at.photos / name, ignore_errors=True)  # of a try that was killed
    os.sync()
    with shop.db.change() as c:
        row = c.execute("select 1 from files where id = ? and state = 'coming'", (file.id,)).fetchone()
        if row is not None:
            at.photos.mkdir(parents=True, exist_ok=True)
            Path(own.folder).replace(at.photos / name)
            receiving.insert(c, inside)
            c.execute("update files set state = 'whole', size = ? where id = ?", (own.size, file.id))
    if row is None:  # it was removed meanwhile
        drop_thumbnails(shop, file, verdicts)
    receiving.forget(shop, file.id)


def drop_thumbnails(shop: Shop, file: UploadedFile, verdicts: Iterable[Verdict]) -> None:
    """Removes the thumbnails of files in a zip that isn't taken."""
    for verdict in verdicts:
        if verdict.id:
            (places(shop.data, file.scene).thumbnails / f"{verdict.id}.jpg").unlink(missing_ok=True)

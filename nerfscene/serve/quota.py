"""How much each person, and all together, keep; whether another file has room. It is said before it comes."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from nerfscene.serve.file_names import shown
from nerfscene.serve.people import Person
from nerfscene.serve.scenes import places
from nerfscene.serve.shop import Shop

FRESH = 60.0  # seconds for which a folder's weight is taken as it was
MOST_FILES = 3000  # of a scene, with those that came in zips
TOO_LARGE, NO_ROOM = 413, 507  # HTTP's "content too large" and "insufficient storage"
_weights: dict[Path, tuple[float, int]] = {}


@dataclass(frozen=True)
class Use:
    """Bytes. own, quota: of one person; everyone, total: of all; free: what the disk takes beside what
    uploads that have begun will still bring."""

    own: int
    quota: int
    everyone: int
    total: int
    free: int

    @property
    def left(self) -> int:
        """What this person may still send."""
        return max(0, min(self.quota - self.own, self.total - self.everyone, self.free))


def use_of(shop: Shop, person: Person, c: sqlite3.Connection | None = None) -> Use:
    """What a person and all of them use now. c: a transaction to read in.

    Uploads that have begun count as if they were whole. What was made of photos (scenes, films, exports)
    counts too, as it was up to FRESH seconds ago.
    """
    ask = shop.db.rows if c is None else lambda sql: c.execute(sql).fetchall()
    kept: dict[str, int] = {}
    for row in ask("select person, sum(size) as bytes from files where state <> 'unusable' group by person"):
        kept[row["person"]] = row["bytes"]
    for row in ask("select id, person from scenes"):
        kept[row["person"]] = kept.get(row["person"], 0) + made_of(places(shop.data, row["id"]).home)
    coming = 0
    for row in ask("select id, size from files where state = 'coming'"):
        coming += max(0, row["size"] - size_on_disk(shop.data / "uploads" / row["id"]))
    quota = shop.bytes_of("quota") if person.quota is None else person.quota
    return Use(
        kept.get(person.id, 0), quota, sum(kept.values()), shop.bytes_of("total"), shop.room() - coming
    )


def measure(shop: Shop) -> None:
    """Weighs the folders that haven't been for a while, so that ``use_of`` needn't. Takes time."""
    for scene in (shop.data / "scenes").iterdir():
        made_of(scene)


def made_of(home: Path) -> int:
    """Bytes in a scene's folder, without its photos."""
    weighed, size = _weights.get(home, (-FRESH, 0))
    if time.monotonic() - weighed < FRESH:
        return size
    size = 0
    for folder, folders, files in os.walk(home):
        if folder == str(home) and "photos" in folders:
            folders.remove("photos")
        size += sum(size_on_disk(Path(folder, name)) for name in files)
    _weights[home] = time.monotonic(), size
    return size


def size_on_disk(file: Path) -> int:
    """A file's size in bytes; 0 if it isn't there."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def refusal(use: Use, name: str, size: int) -> tuple[int, str] | None:
    """An HTTP status and a sentence if a file of ``size`` bytes has no room; else None."""
    what = f"{shown(name)} ({in_words(size)})"
    if use.own + size > use.quota:
        return TOO_LARGE, (
            f"{what} doesn't fit: {in_words(use.own)} of your {in_words(use.quota)} are used; delete scenes "
            "or photos that you don't need, and empty the bin"
        )
    if use.everyone + size > use.total:
        return TOO_LARGE, (
            f"{what} doesn't fit: the {in_words(use.total)} that all may keep here are used; delete scenes "
            "that nobody needs, or ask whoever runs the server for more"
        )
    if size > use.free:
        return NO_ROOM, (
            f"{what} doesn't fit on the server's disk now; tell whoever runs it, or try again later"
        )
    return None


def in_words(size: int) -> str:
    """A size for people: "20 GB", "3.1 MB"."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{max(size, 0)} bytes"

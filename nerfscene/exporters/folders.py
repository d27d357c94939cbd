"""Folders that an export fills: complete or not there, and nothing of anybody else's in them is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from nerfscene.scene.atomic import LEFTOVER, runs, telling


def straight(place: Path) -> Path:
    """``place`` without ".." behind folders that aren't there, which would be made only to be left."""
    return Path(os.path.realpath(place)) if ".." in place.parts and not place.parent.exists() else place


@contextlib.contextmanager
def filling(folder: Path, own: Collection[str]) -> Iterator[Path]:
    """Yields a new folder for the block to fill; then its entries are put into ``folder``.

    own: the names of what an earlier export may have left in ``folder``; these entries are replaced or
    removed, and all others stay. If the block raises, ``folder`` stays as it was. A link to a folder stays.
    Raises NerfsceneError if the disk is full or nothing can be written there.
    """
    place = Path(os.path.realpath(folder))
    work = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    with telling(folder):
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(place)
        try:
            (work / "new").mkdir(parents=True)
            yield work / "new"
            if place.exists():
                _exchange(place, work, own)
            else:
                (work / "new").rename(place)
        finally:
            shutil.rmtree(work / "new", ignore_errors=True)
            with contextlib.suppress(OSError):
                (work / "old").rmdir()  # what could not be put back stays in it
            with contextlib.suppress(OSError):
                work.rmdir()


def _exchange(place: Path, work: Path, own: Collection[str]) -> None:
    """Moves the own entries of ``place`` to ``work``/old and those of ``work``/new in; all or nothing."""
    new, old = work / "new", work / "old"
    old.mkdir()
    coming = os.listdir(new)
    try:
        for name in own:
            if os.path.lexists(place / name):
                (place / name).rename(old / name)
        for name in coming:
            (new / name).rename(place / name)
    except BaseException:
        for name in coming:
            if not os.path.lexists(new / name):
                (place / name).rename(new / name)
        for name in os.listdir(old):
            (old / name).rename(place / name)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(place: Path) -> None:
    """Removes what killed processes left of this folder; of those that still run it stays."""
    for entry in place.parent.glob(".*.tmp"):
        made = LEFTOVER.fullmatch(entry.name)
        if made and made[1] == place.name and entry.is_dir() and not runs(int(made[2])):
            shutil.rmtree(entry, ignore_errors=True)

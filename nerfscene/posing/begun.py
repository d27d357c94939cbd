"""What an interrupted posing leaves for the next one: the photos' copies, their features and matches.

A file in the folder, begun.json, says what these were made from. It is there only as long as the database
holds nothing but the usual features and matches, so that who goes on finds the same cameras as who was never
interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycolmap

from nerfscene.capture.work_folder import read_json
from nerfscene.posing.copies import copy_index

FILE = "begun.json"
MADE_FROM, FEATURES = "made_from", "features"


def note(folder: Path, made_from: object, features: bool = False) -> None:
    """From here on, what is in ``folder`` can be gone on with. features: whether ``features`` is done."""
    temporary = folder / f".{FILE}"
    temporary.write_text(json.dumps({MADE_FROM: made_from, FEATURES: features}, indent=1))
    os.replace(temporary, folder / FILE)


def noted(folder: Path) -> dict[str, Any]:
    """What ``note`` wrote; {} if there is nothing to go on with."""
    content = read_json(folder / FILE)
    return content if isinstance(content, dict) else {}


def forget(folder: Path) -> None:
    """From here on, the database becomes another one than a new run makes first."""
    (folder / FILE).unlink(missing_ok=True)


def can_go_on(folder: Path, made_from: object) -> bool:
    """Whether an earlier run left in ``folder`` what this one would make first, and undamaged."""
    if noted(folder).get(MADE_FROM) != made_from:
        return False
    database = folder / "database.db"
    if not database.exists():
        return not noted(folder).get(FEATURES)
    try:
        with contextlib.closing(sqlite3.connect(database)) as db:
            return bool(db.execute("pragma quick_check").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def tidy(folder: Path) -> None:
    """Removes what an interrupted run was writing besides, such as models."""
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in ("images", "masks"):
            shutil.rmtree(entry)


def features(folder: Path, find: Callable[[], None]) -> None:
    """Has ``find`` write the features, unless an interrupted run did; it goes on with what it finds there."""
    content = noted(folder)
    if content.get(FEATURES):
        return
    find()
    if content:
        note(folder, content[MADE_FROM], features=True)


def without_features(database: Path, total: int) -> list[int] | None:
    """Those of ``total`` photos, by index and in order, that have no features yet; half of any is dropped.

    None if there is no database of all these photos; a part of one is removed.
    """
    if not database.exists():
        return None
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        # COLMAP writes these tables one after the other, and stumbles over one that is there already.
        for table, other in (("keypoints", "descriptors"), ("descriptors", "keypoints")):
            db.execute(f"delete from {table} where image_id not in (select image_id from {other})")
    with pycolmap.Database.open(database) as colmap:
        images = colmap.read_all_images()
        missing = [copy_index(i.name) for i in images if not colmap.exists_keypoints(i.image_id)]
    if len(images) == total:
        return sorted(missing)
    for file in database.parent.glob(f"{database.name}*"):  # with its journal
        file.unlink()
    return None

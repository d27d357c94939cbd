"""How often the server can be asked for new jobs, links and scenes.

What a person makes is counted in the database, which a new start doesn't forget. ``throttle`` holds back
wrong keys and large requests.
"""

from __future__ import annotations

import math
import sqlite3
import time
from typing import Literal

from nerfscene.errors import NerfsceneError

HOUR = 3600.0
PER_HOUR = {"jobs": 240, "links": 240, "scenes": 240}  # that one person can make


class TooMany(NerfsceneError):
    """Something was asked for too often. wait: seconds after which it can be asked for again."""

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.wait = wait


def not_too_many(c: sqlite3.Connection, table: Literal["jobs", "links", "scenes"], person: str) -> None:
    """Raises TooMany if this person made PER_HOUR of these within the last hour. c: in a transaction."""
    now, most = time.time(), PER_HOUR[table]
    column = "scenes.person" if table == "links" else "person"
    joined = "links join scenes on scenes.id = links.scene" if table == "links" else table
    row = c.execute(
        f"select {table}.created as created from {joined} where {column} = ? and {table}.created > ? "
        f"order by {table}.created desc limit 1 offset ?",
        (person, now - HOUR, most - 1),
    ).fetchone()
    if row is not None:
        wait = max(row["created"] + HOUR - now, 1.0)
        raise TooMany(
            f"at most {most} {table} can be made within an hour; wait {in_words(wait)}, and try again", wait
        )


def in_words(seconds: float) -> str:
    """A time to wait, rounded up."""
    whole = math.ceil(seconds)
    if whole < 90:
        return f"{whole} second{'' if whole == 1 else 's'}"
    return f"{math.ceil(whole / 60)} minutes"

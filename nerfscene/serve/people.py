"""Who may use the server: people with a key, by which they log in, and what each may do.

An owner uploads photos and does what they like with their own scenes. The first owner, who started the
server, also invites others. A guest looks at the scenes of the owner who invited them, and changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nerfscene.errors import NerfsceneError
from nerfscene.scene.atomic import telling
from nerfscene.serve.database import Database, new_id, new_secret

Role = Literal["owner", "guest"]
LONGEST_NAME = 60
KEY = "key"  # the file in the data folder that holds the first person's


@dataclass(frozen=True)
class Person:
    """id; name; role; first: whether they started the server; quota: bytes, None for the server's usual one;
    sessions: a number that sessions carry, so that a new key ends them all; invited_by: a person's id."""

    id: str
    name: str
    role: Role
    first: bool
    quota: int | None
    sessions: int
    invited_by: str | None


def first_person(db: Database) -> Person:
    """Who started the server; made if there is no one yet, without a key that is known."""
    with db.change() as c:
        row = c.execute("select * from people where invited_by is null order by created limit 1").fetchone()
        if row is None:
            _insert(c, "You", "owner", None)
            row = c.execute("select * from people where invited_by is null").fetchone()
    return _person(row)


def invited(db: Database, by: Person, name: str, role: Role, quota: int | None = None) -> tuple[Person, str]:
    """A new person, and their key. Raises NerfsceneError for an empty or taken name."""
    name = " ".join(name.split())[:LONGEST_NAME]
    if not name:
        raise NerfsceneError("a person needs a name; type one")
    with db.change() as c:
        if c.execute("select 1 from people where name = ?", (name,)).fetchone():
            raise NerfsceneError(f"there is already someone called {name}; choose another name")
        person, key = _insert(c, name, role, by.id)
        c.execute("update people set quota = ? where id = ?", (quota, person))
    found = person_of(db, person)
    assert found is not None
    return found, key


def _insert(c: sqlite3.Connection, name: str, role: Role, by: str | None) -> tuple[str, str]:
    person, key = new_id(), new_secret()
    c.execute(
        "insert into people (id, name, role, key_hash, invited_by, created) values (?, ?, ?, ?, ?, ?)",
        (person, name, role, _hash(key), by, time.time()),
    )
    return person, key


def new_key(db: Database, person: str) -> str:
    """A new key for a person; the old one and all that are logged in by it end."""
    key = new_secret()
    with db.change() as c:
        c.execute(
            "update people set key_hash = ?, sessions = sessions + 1 where id = ?", (_hash(key), person)
        )
    return key


def key_of_first(db: Database, data: Path) -> str:
    """The key of who started the server, the same at each start: it lies in DATA/key for them alone to read.

    Deleting that file gives a new key, and ends what is logged in by the old one.
    """
    person, file = first_person(db), data / KEY
    with telling(file):
        found = file.read_text().strip() if file.exists() else ""
        return found if by_key(db, found) == person else key_of_first_anew(db, data)


def key_of_first_anew(db: Database, data: Path) -> str:
    """A new key for who started the server, also in DATA/key; the old one ends."""
    file = data / KEY
    with telling(file):
        key = new_key(db, first_person(db).id)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IRUSR | stat.S_IWUSR)
        with os.fdopen(handle, "w") as stream:
            stream.write(key + "\n")
        return key


def by_key(db: Database, key: str) -> Person | None:
    """Whose key this is, or None."""
    wanted = _hash(key)
    row = db.row("select * from people where key_hash = ? and ended is null", (wanted,))
    return _person(row) if row is not None and hmac.compare_digest(row["key_hash"], wanted) else None


def person_of(db: Database, person: str) -> Person | None:
    """The person with this id, or None if there is none or they were sent away."""
    row = db.row("select * from people where id = ? and ended is null", (person,))
    return None if row is None else _person(row)


def people(db: Database) -> list[Person]:
    """Everyone who may log in, the first person first."""
    return [_person(r) for r in db.rows("select * from people where ended is null order by created")]


def send_away(db: Database, person: str) -> None:
    """Ends a person's access; their scenes stay. The first person can't be sent away."""
    with db.change() as c:
        c.execute(
            "update people set ended = ?, sessions = sessions + 1 where id = ? and invited_by is not null",
            (time.time(), person),
        )


def set_quota(db: Database, person: str, quota: int | None) -> None:
    """How many bytes a person may keep; None: as many as everyone."""
    with db.change() as c:
        c.execute("update people set quota = ? where id = ?", (quota, person))


def may_change(person: Person, owner: str) -> bool:
    """Whether this person may change what belongs to the person with the id ``owner``."""
    return person.role == "owner" and person.id == owner


def may_look(person: Person, owner: str) -> bool:
    """Whether this person may look at the scenes of the person with the id ``owner``."""
    return may_change(person, owner) or (person.role == "guest" and person.invited_by == owner)


def _hash(key: str) -> str:
    # Keys are long and random, so that a plain hash can't be turned back.
    return hashlib.sha256(key.encode()).hexdigest()


def _person(row: Any) -> Person:
    first = row["invited_by"] is None
    return Person(
        row["id"], row["name"], row["role"], first, row["quota"], row["sessions"], row["invited_by"]
    )

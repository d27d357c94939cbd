"""The server's memory: one SQLite file (WAL), which survives the end of any process at any moment.

``serve.work`` processes and the server open the same file. Times are seconds since 1970.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nerfscene.errors import NerfsceneError

FILE = "server.sqlite"
VERSION = 1
BUSY = 10.0  # seconds that a change waits for another process's
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # of ids: none is taken for another when read aloud
SCHEMA = """
create table people (
    id text primary key, name text not null unique, role text not null, key_hash text not null,
    sessions integer not null default 0, quota integer, invited_by text, created real not null, ended real
);
create table scenes (
    id text primary key, person text not null references people, title text not null, settings text not null,
    webhook text not null default '', created real not null, deleted real
);
create table files (
    id text primary key, scene text not null references scenes, person text not null references people,
    name text not null, size integer not null, state text not null, why text not null default '',
    created real not null
);
create table jobs (
    id text primary key, scene text not null references scenes, person text not null references people,
    kind text not null, options text not null, state text not null, wanted text not null default '',
    stage text not null default '', fraction real not null default 0, remaining real,
    message text not null default '', result text not null default '{}', tries integer not null default 0,
    place text not null default '', created real not null, started real, ended real
);
create table links (
    token text primary key, scene text not null references scenes, created real not null, ends real,
    taken_back real
);
create table notes (
    id integer primary key autoincrement, person text not null references people,
    scene text not null references scenes, text text not null, created real not null, read real
);
create table ended_sessions (hash text primary key, until real not null);
create index files_of_scene on files (scene);
create index jobs_of_scene on jobs (scene);
create index jobs_by_state on jobs (state);
create index links_of_scene on links (scene);
"""


class Database:
    """One connection a thread, closed with ``close``."""

    def __init__(self, folder: Path) -> None:
        """folder: the server's data folder, where FILE is made if it is not there.

        Raises NerfsceneError if it can't be opened, or if a newer version of nerfscene made it.
        """
        self.file = folder / FILE
        self._local = threading.local()
        self._opening = threading.Lock()
        self._opened: list[tuple[threading.Thread, sqlite3.Connection]] = []
        try:
            self._prepare()
        except sqlite3.Error as error:
            raise NerfsceneError(
                f"{self.file} can't be used ({error}); give nerfscene serve its own folder or a new one"
            ) from None

    def _prepare(self) -> None:
        connection = self._connection()
        connection.execute("pragma journal_mode = wal")
        version = connection.execute("pragma user_version").fetchone()[0]
        if version > VERSION:
            raise NerfsceneError(
                f"{self.file} was made by a newer nerfscene; update this one (pip install -U nerfscene)"
            )
        if version == 0:
            with self.change() as c:
                if c.execute("pragma user_version").fetchone()[0] == 0:
                    for statement in SCHEMA.split(";"):
                        c.execute(statement)
                    c.execute(f"pragma user_version = {VERSION}")

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self.file, timeout=BUSY, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.execute("pragma foreign_keys = on")
            connection.execute("pragma synchronous = normal")
            self._local.connection = connection
            with self._opening:  # threads come and go as requests do
                ended = [(t, c) for t, c in self._opened if not t.is_alive()]
                self._opened = [(t, c) for t, c in self._opened if t.is_alive()]
                self._opened.append((threading.current_thread(), connection))
            for _, old in ended:
                old.close()
        return connection

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows that a query finds."""
        return self._connection().execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row that a query finds, or None."""
        found: sqlite3.Row | None = self._connection().execute(sql, values).fetchone()
        return found

    def stamp(self) -> tuple[int, int, int]:
        """Numbers that differ from those before if any process changed anything. Each thread has its own."""
        connection = self._connection()
        version = connection.execute("pragma data_version").fetchone()[0]
        return id(connection), version, connection.total_changes

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of what the block does is kept, or, if it raises, nothing.

        It begins as a writer, so that what the block reads is still so when it writes.
        """
        connection = self._connection()
        connection.execute("begin immediate")
        try:
            yield connection
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:  # a full disk may have undone it already
                connection.execute("rollback")
            raise

    def close(self) -> None:
        """Closes all threads' connections."""
        for _, connection in self._opened:
            connection.close()
        self._opened.clear()
        self._local = threading.local()


def new_id() -> str:
    """An id of 12 letters (60 bits): short enough for an address, no secret."""
    return "".join(secrets.choice(LETTERS) for _ in range(12))


def new_secret() -> str:
    """A secret that can't be guessed, 160 bits in 32 letters."""
    return "".join(secrets.choice(LETTERS) for _ in range(32))

"""Where the server listens, who looks into its folder, and what it says when nothing can be written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import serve_cases as cases

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.serve.database import Database
from nerfscene.serve.scenes import note
from nerfscene.serve.server import listening
from nerfscene.serve.shop import opened
from nerfscene.viewer.gate import listen


def test_a_port_that_is_taken_is_passed_over() -> None:
    with listening("127.0.0.1", 0) as taken:
        port = taken[0].getsockname()[1]
        with listening("127.0.0.1", port) as found:
            assert found[0].getsockname()[1] > port


@pytest.mark.parametrize("socket_of", [lambda: listening("127.0.0.1", 0), lambda: viewers_socket()])
def test_answers_are_sent_at_once(
    socket_of: Callable[[], AbstractContextManager[list[socket.socket]]],
) -> None:
    async def delayed(at: socket.socket) -> int:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(reader: object, writer: asyncio.StreamWriter) -> None:
            of = writer.get_extra_info("socket")
            accepted.set_result(of.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(connected, sock=at):
            _, writer = await asyncio.open_connection(*at.getsockname())
            try:
                return await accepted
            finally:
                writer.close()

    with socket_of() as sockets:
        assert asyncio.run(delayed(sockets[0])) != 0


@contextlib.contextmanager
def viewers_socket() -> Iterator[list[socket.socket]]:
    with listen("127.0.0.1", 18000) as found:
        yield [found]


@pytest.mark.parametrize("host", ["203.0.113.7", "nowhere.invalid"])
def test_an_address_that_is_not_here_is_tried_once(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refused(address: tuple[str, int], **options: Any) -> socket.socket:
        tried.append(address)
        if host.endswith("invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket, "create_server", refused)
    with pytest.raises(NerfsceneError, match=f"{host}:8000 .*choose another"), listening(host, 8000):
        pass
    assert len(tried) == 1


@pytest.mark.skipif(os.name == "nt", reason="there are no such permissions")
def test_nobody_else_on_the_machine_looks_into_the_folder(tmp_path: Path) -> None:
    opened(tmp_path / "made", ServeConfig()).db.close()
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
    there = tmp_path / "there"
    there.mkdir(0o755)
    before = there.stat().st_mode
    opened(there, ServeConfig()).db.close()
    assert there.stat().st_mode == before  # whoever made it decides


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [("database or disk is full", 507, "disk is full"), ("database is locked", 503, "try again")],
)
def test_what_cannot_be_kept_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, status: int, said: str
) -> None:
    shop = cases.shop(tmp_path)
    scene = cases.scene(shop, state="ready")
    note(shop.db, scene.person, scene.id, "Kitchen is ready")
    with cases.logged_in(shop) as client:
        with monkeypatch.context() as patch:

            def refuse(self: Database) -> None:
                raise sqlite3.OperationalError(error)

            patch.setattr(Database, "change", refuse)
            for path in ("/", f"/scenes/{scene.id}", "/api/scenes"):
                assert client.get(path).status_code == 200
            answer = client.post("/api/scenes", json={"title": "New"})
            assert answer.status_code == status and said in answer.json()["detail"]
            answer = client.post(f"/scenes/{scene.id}/title", data={"title": "New"})
            assert answer.status_code == status and said in answer.text and "<html" in answer.text
        assert client.post("/api/scenes", json={"title": "New"}).status_code == 201


def test_a_full_disk_ends_one_change_only(tmp_path: Path) -> None:
    shop = cases.shop(tmp_path)
    shop.db.rows("pragma max_page_count = 1")  # of this connection: as if the disk were full
    with pytest.raises(sqlite3.OperationalError, match="full"), shop.db.change() as c:
        c.execute("create table big as select zeroblob(9999999)")
    shop.db.rows("pragma max_page_count = 1000000")
    assert cases.scene(shop).title == "Kitchen"

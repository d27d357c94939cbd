"""A server for programs: its API with people's keys, scenes that are trained, and a real address."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import shared_checks  # noqa: F401  so that an application is made quickly
import uvicorn
from fastapi.testclient import TestClient

from nerfscene.config import ServeConfig
from nerfscene.serve import jobs, people, scenes
from nerfscene.serve.app import create_app
from nerfscene.serve.people import Person
from nerfscene.serve.scenes import SceneRow
from nerfscene.serve.shop import Shop, opened

PATIENCE = 300.0  # seconds, on a busy machine


@dataclass(frozen=True)
class Program:
    """A program with a person's key, and the server's parts to look at."""

    shop: Shop
    http: Any
    person: Person
    key: str

    def scene(self, title: str = "Garden") -> SceneRow:
        """A scene of this person's."""
        return scenes.new_scene(self.shop.db, self.shop.data, self.person.id, title, {})

    def of(self, role: Literal["owner", "guest"], name: str = "Ada") -> Program:
        """A program of someone whom this person invites."""
        person, key = people.invited(self.shop.db, self.person, name, role)
        http = TestClient(self.http.app, "http://localhost", follow_redirects=False)
        http.headers["Authorization"] = f"Bearer {key}"
        return Program(self.shop, http, person, key)

    def job(self, scene: SceneRow, kind: jobs.Kind = "train", state: jobs.State = "waiting") -> str:
        """A job of a scene, in a state."""
        job = jobs.add(self.shop.db, scene.id, self.person.id, kind, {})
        if state != "waiting":
            begun = jobs.begin_next(self.shop.db, "here")
            assert begun is not None and begun.id == job.id
        if state not in ("waiting", "running"):
            jobs.end(self.shop.db, job.id, state)
        return job.id


@contextlib.contextmanager
def api(folder: Path, **config: Any) -> Iterator[Program]:
    """The application in this process, and a program with its first person's key."""
    shop = opened(folder / "data", ServeConfig(**config))
    key = people.key_of_first(shop.db, shop.data)
    with TestClient(create_app(shop, working=False), "http://localhost", follow_redirects=False) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        yield Program(shop, http, people.first_person(shop.db), key)
    shop.db.close()


def put_photo(program: Program, scene: SceneRow, name: str = "a.jpg") -> str:
    """A photo that has come; returns its id."""
    at = scenes.places(program.shop.data, scene.id)
    (at.photos / name).write_bytes(b"photo")
    file = f"f{name.partition('.')[0]}"
    with program.shop.db.change() as c:
        c.execute(
            "insert into files (id, scene, person, name, size, state, created) "
            "values (?, ?, ?, ?, 5, 'whole', 0)",
            (file, scene.id, scene.person, name),
        )
    return file


def put_scene(shop: Shop, scene: str, trained: Path) -> Path:
    """Copies a trained scene into a server's, as if it had been trained on the photos there."""
    at = scenes.places(shop.data, scene)
    shutil.copytree(trained, at.scene, dirs_exist_ok=True)
    manifest = at.scene / "scene.json"
    data = json.loads(manifest.read_text())
    for view in data["views"]:
        view["photo"] = str(at.photos / Path(view["photo"]).name)
    manifest.write_text(json.dumps(data))
    return at.scene


@contextlib.contextmanager
def at_an_address(shop: Shop) -> Iterator[str]:
    """The server at a real address, in a thread."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        server = uvicorn.Server(
            uvicorn.Config(create_app(shop, working=False), log_level="warning", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        end = time.monotonic() + PATIENCE
        while not server.started:
            assert thread.is_alive() and time.monotonic() < end
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()

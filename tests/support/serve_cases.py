"""A server in a folder of its own, asked without a network, and scenes in every state."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import shared_checks  # noqa: F401  so that an application is made quickly
from fastapi.testclient import TestClient
from PIL import Image

from nerfscene.config import ServeConfig
from nerfscene.serve import jobs, people, scenes
from nerfscene.serve.app import create_app
from nerfscene.serve.gate import COOKIE, session_for, token_for
from nerfscene.serve.people import Person
from nerfscene.serve.scenes import SceneRow, places
from nerfscene.serve.shop import Shop, opened

HOME = "http://localhost"


def shop(folder: Path, **config: Any) -> Shop:
    """A server's folder, with who started it."""
    made = opened(folder / "data", ServeConfig(**config))
    people.first_person(made.db)
    return made


def client(of: Shop) -> TestClient:
    """A browser that nobody is logged in with; it follows no redirects."""
    return TestClient(create_app(of, working=False), HOME, follow_redirects=False)


def logged_in(of: Shop, person: Person | None = None) -> TestClient:
    """A browser in which a person is logged in; the first one, if none is given."""
    who = people.first_person(of.db) if person is None else person
    made = client(of)
    session = session_for(of, who)
    made.cookies.set(COOKIE, session)
    made.headers["X-Token"] = token_for(of, session)
    return made


def guest(of: Shop, name: str = "Ada") -> Person:
    """A guest of the first person."""
    return people.invited(of.db, people.first_person(of.db), name, "guest")[0]


def photo(of: Shop, scene: SceneRow, name: str, state: str = "whole", why: str = "", size: int = 1000) -> str:
    """An upload as it stands in the database, with its file and thumbnail if it is whole; returns its id."""
    file = f"f{abs(hash((scene.id, name))) % 10**11:011d}"
    with of.db.change() as c:
        c.execute(
            "insert into files values (?, ?, ?, ?, ?, ?, ?, ?)",
            (file, scene.id, scene.person, name, size, state, why, time.time()),
        )
    if state == "whole":
        at = places(of.data, scene.id)
        at.thumbnails.mkdir(parents=True, exist_ok=True)
        (at.photos / name).write_bytes(b"x" * 10)
        Image.new("RGB", (8, 8), (90, 120, 150)).save(at.thumbnails / f"{file}.jpg")
    return file


def scene(of: Shop, title: str = "Kitchen", state: str = "collecting", photos: int = 2) -> SceneRow:
    """A scene of the first person in a state of facts.SceneState; trained if it is ready."""
    person = people.first_person(of.db)
    made = scenes.new_scene(of.db, of.data, person.id, title, {"quality": "5min"})
    for i in range(photos):
        photo(of, made, f"IMG_{i}.jpg")
    if state != "collecting":
        train(of, made, state)
    if state == "ready":
        trained(of, made)
    return made


def train(of: Shop, made: SceneRow, state: str, message: str = "") -> str:
    """A training of a scene in a state; returns the job's id."""
    job = jobs.add(of.db, made.id, made.person, "train", {})
    change(of, job.id, {"ready": "done"}.get(state, state), message)
    return job.id


def change(of: Shop, job: str, state: str, message: str = "", **result: Any) -> None:
    """Puts a job into a state, as the process that runs it would."""
    with of.db.change() as c:
        c.execute(
            "update jobs set state = ?, message = ?, result = ?, started = ? where id = ?",
            (state, message, json.dumps(result), time.time(), job),
        )


def trained(of: Shop, made: SceneRow, psnr: float = 27.0) -> None:
    """The files that a finished training leaves, as far as pages look at them."""
    at = places(of.data, made.id)
    at.scene.mkdir(exist_ok=True)
    figures = {"photos": 60, "photos_posed": 58, "psnr": psnr, "train_seconds": 300.0}
    (at.scene / "scene.json").write_text(json.dumps({"figures": figures}))
    (at.scene / "report.html").write_text("<p>report")
    at.page.mkdir(exist_ok=True)
    (at.page / "index.html").write_text("<p>page")
    Image.new("RGB", (96, 72), (90, 120, 150)).save(at.poster)
    Image.new("RGB", (384, 24), (90, 120, 150)).save(at.turning)

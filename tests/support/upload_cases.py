"""A server that takes files, in this process or in its own, and small files of all kinds to send."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import shared_checks  # noqa: F401  so that an application is made quickly
from fastapi.testclient import TestClient
from PIL import Image

from nerfscene.config import ServeConfig
from nerfscene.serve import people, scenes
from nerfscene.serve.app import create_app
from nerfscene.serve.gate import COOKIE, session_for, token_for
from nerfscene.serve.people import Person
from nerfscene.serve.scenes import SceneRow, UploadedFile, files_of
from nerfscene.serve.shop import Shop, opened

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
PATIENCE = 300.0  # seconds, on a busy machine


@dataclass(frozen=True)
class Sender:
    """Who sends files: a client with a session, and a scene of theirs."""

    shop: Shop
    http: Any
    scene: SceneRow

    def begin(self, name: str, size: int, **headers: str) -> httpx.Response:
        """Begins an upload."""
        return begin(self.http, self.scene.id, name, size, **headers)

    def send(self, name: str, content: bytes) -> str:
        """Sends a file whole; returns its id."""
        answer = self.begin(name, len(content))
        assert answer.status_code == 201, answer.text
        place = answer.headers["location"]
        sent = patch(self.http, place, 0, content)
        assert sent.status_code == 204, sent.text
        return str(place.rsplit("/", 1)[1])

    def files(self) -> list[UploadedFile]:
        """The scene's files."""
        return files_of(self.shop.db, self.scene.id)

    def checked(self) -> dict[str, UploadedFile]:
        """The scene's files by their names, when all are checked."""
        wait_for(lambda: all(f.state != "coming" for f in self.files()))
        return {f.name: f for f in self.files()}

    @property
    def photos(self) -> Path:
        """Where they come to lie."""
        return scenes.places(self.shop.data, self.scene.id).photos


@contextlib.contextmanager
def sending(folder: Path, **config: Any) -> Iterator[Sender]:
    """A server in this process, and its first person logged in."""
    shop = opened(folder / "data", ServeConfig(**config))
    person = people.first_person(shop.db)
    with TestClient(create_app(shop, working=False), "http://localhost", follow_redirects=False) as http:
        log_in(http, shop, person)
        yield Sender(shop, http, scenes.new_scene(shop.db, shop.data, person.id, "Garden", {}))
    shop.db.close()


def log_in(http: Any, shop: Shop, person: Person) -> None:
    """Logs a person in with a client."""
    session = session_for(shop, person)
    http.cookies.set(COOKIE, session)
    http.headers["X-Token"] = token_for(shop, session)


def begin(http: Any, scene: str, name: str, size: int, **headers: str) -> httpx.Response:
    """Begins an upload."""
    about = {"Upload-Length": str(size), "Upload-Metadata": metadata(scene=scene, filename=name)}
    answer: httpx.Response = http.post("/api/uploads", headers={**TUS, **about, **headers})
    return answer


def metadata(**values: str) -> str:
    """An Upload-Metadata header."""
    return ",".join(f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in values.items())


def patch(http: Any, place: str, offset: int, content: Any) -> httpx.Response:
    """Sends a part of an upload."""
    answer: httpx.Response = http.patch(
        place, headers={**BYTES, "Upload-Offset": str(offset)}, content=content
    )
    return answer


def offset_of(http: Any, place: str) -> int:
    """How much of an upload has come."""
    answer = http.head(place, headers=TUS)
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["upload-offset"])


def wait_for(true: Callable[[], object], what: str = "") -> None:
    """Waits until something is so."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, what or "waited too long"
        time.sleep(0.02)


class OwnProcess:
    """A server in its own process, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.shop = opened(self.data, ServeConfig(spare="1MB"))
        self.person = people.first_person(self.shop.db)
        self.scene = scenes.new_scene(self.shop.db, self.data, self.person.id, "Garden", {})
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OwnProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.shop.db.close()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        code = (
            "import sys, uvicorn; from pathlib import Path; from nerfscene.config import ServeConfig; "
            "from nerfscene.serve.app import create_app; from nerfscene.serve.shop import opened; "
            "shop = opened(Path(sys.argv[1]), ServeConfig(spare='1MB')); "
            "uvicorn.run(create_app(shop, working=False), port=int(sys.argv[2]), log_level='warning')"
        )
        self.process = subprocess.Popen([sys.executable, "-c", code, str(self.data), str(self.port)])

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{self.port}/login").status_code == 200
            return False

        wait_for(answers, "the server doesn't answer")

    def kill(self) -> None:
        """Ends it as ``kill -9`` does."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def client(self) -> httpx.Client:
        """A client that is logged in."""
        http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE)
        log_in(http, self.shop, self.person)
        return http

    def files(self) -> list[UploadedFile]:
        """The scene's files."""
        return files_of(self.shop.db, self.scene.id)


def picture(seed: int = 0, width: int = 96, height: int = 72, kind: str = "JPEG", **options: Any) -> bytes:
    """A small picture that compresses badly, as photos do."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    """A zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return stream.getvalue()

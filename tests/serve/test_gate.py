"""Every route, asked by those who may not: nobody, other owners, guests, and other sites' pages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serve_cases as cases
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from starlette.websockets import WebSocketDisconnect

from nerfscene.serve import jobs, links, people
from nerfscene.serve.scenes import note, unread_notes
from nerfscene.serve.shop import Shop

OPEN = ("/login", "/s/")  # to those who aren't logged in
SAFE = ("GET", "HEAD", "OPTIONS")
BODIES = {  # of JSON, where a route needs some
    "exports": b'{"to": "mesh", "ending": "glb"}',
    "scenes": b'{"title": "x"}',
    "people": b'{"name": "x", "role": "guest"}',
    "crop": b'{"size": [1, 1, 1]}',
}
TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path with names in braces) of each route."""

    def within(router: Any) -> Iterator[tuple[str, str]]:
        for route in router.effective_candidates() if hasattr(router, "effective_candidates") else [router]:
            if route is not router and hasattr(route, "effective_candidates"):
                yield from within(route)
            else:
                for method in sorted(getattr(route, "methods", None) or ()):
                    yield method, route.path

    found = [pair for route in app.routes for pair in within(route)]
    assert len(found) > 80
    return found


def closed(app: Any) -> list[tuple[str, str]]:
    """Those that are not for everyone."""
    return [(method, path) for method, path in routes(app) if not path.startswith(OPEN)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = cases.shop(tmp_path)
    yield made
    made.db.close()


@pytest.fixture
def ids(shop: Shop) -> dict[str, str]:
    """Of everything that the first person has."""
    scene = cases.scene(shop, state="ready")
    first = people.first_person(shop.db)
    film = jobs.add(shop.db, scene.id, scene.person, "film", {})
    note(shop.db, first.id, scene.id, "Kitchen is ready")
    coming = cases.photo(shop, scene, "IMG_9.jpg", "coming", size=10)
    (shop.data / "uploads" / coming).write_bytes(b"")
    return {
        "scene": scene.id, "job": film.id, "token": links.new_link(shop.db, scene.id, None).token,
        "file": coming, "upload": coming, "person": cases.guest(shop, "Grace").id, "number": "1",
        "name": f"{coming}.jpg", "name:path": "index.html", "path:path": "", "picture": "poster",
        "wanted": "stop", "note": "1",
    }  # fmt: skip


def ask(client: TestClient, method: str, path: str, ids: dict[str, str], **headers: str) -> Response:
    """Asks with what each route wants: a body of a form or of JSON, or bytes of an upload."""
    for name, value in ids.items():
        path = path.replace("{" + name + "}", value)
    assert "{" not in path, path
    sent: dict[str, str] = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b"" if method in SAFE else b"title=x"
    if path.startswith("/api/uploads"):
        scene = b64encode(ids["scene"].encode()).decode()
        sent = {**TUS, "Upload-Length": "5", "Upload-Metadata": f"scene {scene}"}
        if method == "POST" and path != "/api/uploads":
            sent["X-HTTP-Method-Override"] = "PATCH"
    elif path.startswith("/api/"):
        sent, body = {"Content-Type": "application/json"}, BODIES.get(path.rpartition("/")[2], b"{}")
    return client.request(method, path, headers={**sent, **headers}, content=body)


def state(shop: Shop) -> list[Any]:
    """Everything that the database holds, but which notes were read."""
    tables = ("people", "scenes", "files", "jobs", "links")
    return [[tuple(row) for row in shop.db.rows(f"select * from {table}")] for table in tables]


def test_nobody_gets_anything_without_a_login(shop: Shop, ids: dict[str, str]) -> None:
    before = state(shop)
    with cases.client(shop) as client:
        for method, path in closed(client.app):
            answer = ask(client, method, path, ids)
            expected = (401,) if method not in ("GET", "HEAD") or path.startswith("/api/") else (303, 308)
            assert answer.status_code in expected, (method, path, answer.status_code)
            if answer.status_code == 303:
                assert answer.headers["location"].startswith("/login?next=")
            assert "Kitchen" not in answer.text
    assert state(shop) == before


def test_another_owner_finds_nothing(shop: Shop, ids: dict[str, str]) -> None:
    first = people.first_person(shop.db)
    other = people.invited(shop.db, first, "Mary", "owner")[0]
    before = state(shop)
    with cases.logged_in(shop, other) as client:
        for method, path in closed(client.app):
            if "{" in path:
                answer = ask(client, method, path, ids)
                # The note that is put away is one of their own, of which there is none.
                fine = (403, 404) if "/notes/" not in path else (204, 303, 404)
                redirect = path.endswith(("/view", "/page")) and answer.status_code == 308
                assert redirect or answer.status_code in fine, (method, path, answer.status_code)
                assert "Kitchen" not in answer.text
            elif path.startswith(("/people", "/api/people")):
                assert ask(client, method, path, ids).status_code == 403, path
    assert state(shop) == before
    assert len(unread_notes(shop.db, first.id)) == 1


def test_guests_change_nothing(shop: Shop, ids: dict[str, str]) -> None:
    with cases.logged_in(shop, cases.guest(shop)) as client:
        before = state(shop)
        for method, path in closed(client.app):
            if method not in SAFE and path != "/logout":
                answer = ask(client, method, path, ids)
                fine = (403, 404) if "/notes/" not in path else (204, 303, 404)
                assert answer.status_code in fine, (method, path, answer.status_code)
        assert client.get(f"/scenes/{ids['scene']}").status_code == 200
        for path in ("photos", f"links/{ids['token']}/qr.svg", f"thumbnails/{ids['name']}"):
            assert client.get(f"/scenes/{ids['scene']}/{path}").status_code in (403, 404)
        for path in ("scene.zip", "links"):
            assert client.get(f"/api/scenes/{ids['scene']}/{path}").status_code == 403
    assert state(shop) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Token": ""},
        {"X-Token": "0" * 32},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_change_nothing(shop: Shop, ids: dict[str, str], headers: dict[str, str]) -> None:
    before = state(shop)
    with cases.logged_in(shop) as client:
        for method, path in closed(client.app):
            if method not in SAFE:
                answer = ask(client, method, path, ids, **headers)
                assert answer.status_code == 403, (method, path, answer.status_code)
        if "X-Token" not in headers:
            with (
                pytest.raises(WebSocketDisconnect),
                client.websocket_connect(f"/scenes/{ids['scene']}/view", headers=headers) as socket,
            ):
                socket.receive_text()
    assert state(shop) == before


@pytest.mark.parametrize(
    "host", ["[::1", "localhost:x", "localhost:99999", "a@localhost", "elsewhere.example", ""]
)
def test_a_name_that_is_not_the_servers_is_refused(shop: Shop, host: str) -> None:
    with cases.client(shop) as client:
        assert client.get("/login", headers={"Host": host}).status_code == 421


def test_odd_requests_are_no_errors_of_the_server(shop: Shop) -> None:
    with cases.logged_in(shop) as client:
        for came in ("http://[", "http://localhost//elsewhere.example", "x:"):
            answer = client.get("/nothing", headers={"Referer": came})
            assert answer.status_code == 404 and "elsewhere" not in answer.text
        for number in ("9" * 30, "-1", "0"):
            assert client.post(f"/notes/{number}/read").status_code == 422

"""The API: what programs ask of scenes, jobs, links and people, what they may, and what is said otherwise."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from serve_programs import Program, api, put_photo, put_scene

from nerfscene.exporters.placement import placed
from nerfscene.scene import folder as scene_folder
from nerfscene.serve import jobs, people, scene_zip, scenes
from nerfscene.serve.gate import COOKIE, session_for, token_for
from nerfscene.serve.shop import Shop


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with api(tmp_path) as made:
        yield made


def said(answer: Any, status: int) -> str:
    """The one sentence of a refusal."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["detail"] and isinstance(body["detail"], str) and body["detail"]
    assert "\n" not in body["detail"] and len(body["detail"]) < 400
    return str(body["detail"])


# --- who asks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/api/me", "/api/scenes", "/api/openapi.json", "/api/docs", "/api/people", "/api/notes"]
)
def test_nothing_answers_without_a_key(program: Program, path: str) -> None:
    del program.http.headers["Authorization"]
    answer = program.http.get(path)
    assert "key" in said(answer, 401) and answer.headers["www-authenticate"] == "Bearer"
    said(program.http.get(path, headers={"Authorization": "Bearer wrong"}), 401)


def test_the_description_is_nowhere_else(program: Program) -> None:
    for path in ("/openapi.json", "/docs", "/redoc"):
        assert program.http.get(path).status_code == 404


def test_cookies_change_nothing_without_the_token(program: Program) -> None:
    browser = TestClient(program.http.app, "http://localhost")
    session = session_for(program.shop, program.person)
    browser.cookies.set(COOKIE, session)
    assert browser.get("/api/me").status_code == 200
    said(browser.post("/api/scenes", json={"title": "x"}), 403)
    token = {"X-Token": token_for(program.shop, session)}
    assert browser.post("/api/scenes", json={"title": "x"}, headers=token).status_code == 201
    elsewhere = {**token, "Origin": "https://example.org"}
    assert "another site" in said(browser.post("/api/scenes", json={"title": "x"}, headers=elsewhere), 403)


def test_nothing_of_another_persons_is_visible(program: Program) -> None:
    scene = program.scene()
    photo, job = put_photo(program, scene), program.job(scene)
    at = f"/api/scenes/{scene.id}"
    link = program.http.post(f"{at}/links", json={}).json()["token"]
    other = program.of("owner").http
    assert other.get("/api/scenes").json() == []
    for method, path, body in [
        ("GET", at, None), ("PATCH", at, {"title": "x"}), ("DELETE", at, None),
        ("POST", f"{at}/restore", None), ("POST", f"{at}/train", {}), ("POST", f"{at}/films", {}),
        ("POST", f"{at}/exports", {"to": "mesh", "ending": "glb"}), ("POST", f"{at}/pages", {}),
        ("PUT", f"{at}/crop", {"size": [1, 1, 1]}),
        ("DELETE", f"{at}/crop", None), ("DELETE", f"{at}/files/{photo}", None), ("GET", f"{at}/links", None),
        ("POST", f"{at}/links", {}), ("DELETE", f"{at}/links/{link}", None), ("GET", f"{at}/scene.zip", None),
        ("GET", f"/api/jobs/{job}", None), ("POST", f"/api/jobs/{job}/stop", None),
        ("POST", f"/api/jobs/{job}/pause", None), ("POST", f"/api/jobs/{job}/go_on", None),
    ]:  # fmt: skip
        nowhere = path.replace(scene.id, "nosuch").replace(job, "nosuch")
        text = said(other.request(method, path, json=body), 404)
        assert text == said(other.request(method, nowhere, json=body), 404)
    assert program.http.get(at).json()["state"] == "waiting"


def test_guests_look_and_change_nothing(program: Program) -> None:
    scene = program.scene()
    put_photo(program, scene)
    job, guest = program.job(scene), program.of("guest").http
    at = f"/api/scenes/{scene.id}"
    (seen,) = guest.get("/api/scenes").json()
    assert seen["title"] == "Garden" and not seen["mine"]
    assert seen["files"] == [] and seen["links"] == [] and seen["webhook"] == ""
    assert guest.get(f"/api/jobs/{job}").json()["ahead"] == 0
    for method, path, body in [
        ("POST", "/api/scenes", {"title": "x"}), ("PATCH", at, {"title": "x"}), ("DELETE", at, None),
        ("POST", f"{at}/train", {}), ("POST", f"/api/jobs/{job}/stop", None),
        ("GET", f"{at}/scene.zip", None),
        ("POST", f"{at}/links", {}), ("GET", f"{at}/links", None), ("GET", "/api/people", None),
        ("POST", "/api/people", {"name": "x", "role": "owner"}),
    ]:  # fmt: skip
        said(guest.request(method, path, json=body), 403)
    program.http.delete(at)
    said(guest.get(at), 404)  # the bin is its owner's
    assert guest.get("/api/bin").json() == []


# --- scenes ---------------------------------------------------------------------------------------


def test_a_scene_from_its_title_to_the_bin_and_back(program: Program) -> None:
    http = program.http
    made = http.post("/api/scenes", json={"title": " The  garden ", "settings": {"quality": "1min"}})
    assert made.status_code == 201
    scene = made.json()
    assert scene["title"] == "The garden" and scene["state"] == "collecting" and scene["mine"]
    at = f"/api/scenes/{scene['id']}"
    changed = http.patch(at, json={"title": "Roses", "webhook": "https://example.org/hook"}).json()
    assert (changed["title"], changed["webhook"]) == ("Roses", "https://example.org/hook")
    assert http.patch(at, json={"webhook": ""}).json()["title"] == "Roses"
    put_photo(program, scenes.scene_of(program.shop.db, scene["id"]))
    job = http.post(f"{at}/train")
    assert job.status_code == 202 and job.json()["options"] == {"quality": "1min", "more": False}
    assert http.delete(at).json()["deleted"] is not None
    assert http.get("/api/scenes").json() == [] and len(http.get("/api/bin").json()) == 1
    assert http.get(f"/api/jobs/{job.json()['id']}").json()["state"] == "paused"
    assert "bin" in said(http.post(f"{at}/train"), 409)
    assert "bin" in said(http.post(f"/api/jobs/{job.json()['id']}/go_on"), 409)
    assert http.post(f"{at}/restore").json()["deleted"] is None
    assert http.post(f"/api/jobs/{job.json()['id']}/go_on").json()["state"] == "waiting"


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({}, 422, "title is missing"),
        ({"title": "x", "colour": 1}, 422, "colour"),
        ({"title": 1}, 422, "title"),
        ({"title": " \n"}, 400, "title"),
        ({"title": "x", "settings": {"quality": "9min"}}, 422, "quality"),
        ({"title": "x", "settings": {"time": -1}}, 400, "time"),
        ({"title": "x", "settings": {"time": 1e9}}, 400, "longest"),
        ({"title": "x", "settings": {"backend": "cuda"}}, 422, "backend"),
        ([], 422, "request"),
    ],
)
def test_what_is_no_scene_is_refused(program: Program, body: Any, status: int, named: str) -> None:
    assert named in said(program.http.post("/api/scenes", json=body), status)
    assert program.http.get("/api/scenes").json() == []


def test_what_is_no_json_is_refused(program: Program) -> None:
    kind = {"Content-Type": "application/json"}
    for content, status in ((b"{", 422), (b"\xff", 400), (b'{"title": "\\ud800"}', 422)):
        said(program.http.post("/api/scenes", content=content, headers=kind), status)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.org",
        "example.org",
        "http://",
        "http://[",
        "http://a b",
        "javascript:alert(1)",
        "http://\nx",
    ],
)
def test_a_webhook_is_an_address(program: Program, address: str) -> None:
    at = f"/api/scenes/{program.scene().id}"
    assert "webhook" in said(program.http.patch(at, json={"webhook": address}), 400)


def test_photos_are_removed(program: Program) -> None:
    scene = program.scene()
    photo, place = put_photo(program, scene), scenes.places(program.shop.data, scene.id).photos / "a.jpg"
    at = f"/api/scenes/{scene.id}/files"
    job = program.job(scene, state="running")
    said(program.http.delete(f"{at}/{photo}"), 409)
    jobs.end(program.shop.db, job, "done")
    assert place.exists() and program.http.delete(f"{at}/{photo}").status_code == 204
    assert not place.exists()
    said(program.http.delete(f"{at}/{photo}"), 404)


# --- work -----------------------------------------------------------------------------------------


def test_a_training_waits_and_obeys(program: Program) -> None:
    scene, http = program.scene(), program.http
    at = f"/api/scenes/{scene.id}/train"
    assert "no photos" in said(http.post(at, json={}), 409)
    put_photo(program, scene)
    job = http.post(at, json={"time": 30, "more": True}).json()
    assert (job["state"], job["ahead"], job["kind"]) == ("waiting", 0, "train")
    assert job["options"] == {"time": 30.0, "more": True}
    assert "already" in said(http.post(at, json={"time": 30}), 409)
    place = f"/api/jobs/{job['id']}"
    assert http.post(f"{place}/pause").json()["state"] == "paused"
    assert http.post(f"{place}/go_on").json()["state"] == "waiting"
    jobs.begin_next(program.shop.db, "here")
    assert http.post(f"{place}/stop").json()["state"] == "running"
    assert jobs.tell(program.shop.db, job["id"], "training", 0.5) == "stop"
    jobs.end(program.shop.db, job["id"], "done")
    assert "ended" in said(http.post(f"{place}/pause"), 409)
    said(http.post(f"{place}/stop"), 409)
    said(http.post(f"{place}/go_on"), 409)


def test_nobody_trains_longer_than_allowed(tmp_path: Path) -> None:
    with api(tmp_path, longest=100.0) as program:
        scene = program.scene()
        put_photo(program, scene)
        at = f"/api/scenes/{scene.id}/train"
        for body in ({"quality": "5min"}, {"quality": "20min"}, {"time": 101}):
            assert "longest" in said(program.http.post(at, json=body), 400)
        # Steps alone would have no end.
        assert program.http.post(at, json={"steps": 10**9}).json()["options"]["time"] == 100.0
        # Who doesn't say gets the best that is allowed.
        scene = program.scene()
        put_photo(program, scene, "b.jpg")
        job = program.http.post(f"/api/scenes/{scene.id}/train", json={}).json()
        assert job["options"] == {"quality": "1min", "more": False}


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("films", {"path": "/etc/passwd"}, 422),
        ("films", {"path": "orbit", "depth": True}, 422),
        ("films", {"seconds": 3600, "fps": 60}, 400),
        ("films", {"width": 8000}, 400),
        ("films", {"fps": -1}, 400),
        ("films", {"path": "orbit", "through": "1.jpg,2.jpg"}, 400),
        ("films", {"ending": "avi"}, 400),
        ("films", {"ending": "gif", "codec": "h264"}, 400),
        ("films", {"background": "transparent", "ending": "mp4"}, 400),
        ("films", {"preset": "8k"}, 422),
        ("films", {"through": "1.jpg," * 10**5}, 422),
        ("films", {"look_at": "1" * 2000}, 422),
        ("films", {"aperture": "0:2.8,4:wide"}, 400),
        ("films", {"preset": "prores", "width": 4096, "seconds": 300}, 400),
        ("pages", {"limit": "1 parsec"}, 400),
        ("pages", {"path": "../../key"}, 422),
        ("exports", {"to": "mesh", "ending": "exe"}, 400),
        ("exports", {"to": "mesh", "ending": "glb", "faces": 10**7}, 400),
        ("exports", {"to": "points", "ending": "ply", "count": 10**8}, 400),
        ("exports", {"ending": "glb"}, 422),
    ],
)
def test_what_cant_be_made_is_refused(program: Program, what: str, body: Any, status: int) -> None:
    said(program.http.post(f"/api/scenes/{program.scene().id}/{what}", json=body), status)


def test_text_that_no_answer_could_hold_is_refused(program: Program, trained: Path) -> None:
    scene = program.scene()
    put_scene(program.shop, scene.id, trained)
    for name in ("through", "look_at", "focus", "background", "exposure"):
        sent = json.dumps({name: "\ud800"})  # half a character, which UTF-8 doesn't have
        kind = {"content-type": "application/json"}
        answer = program.http.post(f"/api/scenes/{scene.id}/films", content=sent, headers=kind)
        assert answer.status_code in (400, 422), answer.text
    assert not program.http.get(f"/api/scenes/{scene.id}").json().get("jobs")


def test_films_exports_and_pages_of_a_trained_scene(program: Program, trained: Path) -> None:
    scene, http = program.scene(), program.http
    at = f"/api/scenes/{scene.id}"
    assert "isn't there yet" in said(http.post(f"{at}/films", json={}), 409)
    put_scene(program.shop, scene.id, trained)
    film = http.post(f"{at}/films", json={"path": "saved", "seconds": 2}).json()
    assert film["kind"] == "film" and film["options"] == {"path": "saved", "seconds": 2.0}
    export = http.post(f"{at}/exports", json={"to": "splats", "ending": ".SPZ", "degree": 0}).json()
    assert export["options"] == {"degree": 0, "to": "splats", "ending": "spz"} and export["ahead"] == 1
    more = {"preset": "gif", "exposure": "0:0,4:-1", "aperture": 2.8, "focus": "subject", "lens": "fisheye"}
    assert http.post(f"{at}/films", json=more).json()["options"] == {**more, "ending": "gif"}
    assert http.post(f"{at}/pages").json()["kind"] == "page"
    jobs.begin_next(program.shop.db, "here")
    jobs.end(program.shop.db, film["id"], "done", result={"files": [f"films/{film['id']}.mp4"]})
    done = http.get(f"/api/jobs/{film['id']}").json()
    assert done["files"] == [f"/scenes/{scene.id}/films/{film['id']}.mp4"]
    # What has ended can be removed; what is under way can't.
    assert "under way" in said(http.delete(f"/api/jobs/{export['id']}"), 409)
    assert http.delete(f"/api/jobs/{film['id']}").status_code == 204
    said(http.get(f"/api/jobs/{film['id']}"), 404)
    said(http.delete(f"/api/jobs/{film['id']}"), 404)


def test_a_full_disk_is_said(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    assert program.http.get("/api/me").json()["pause"] == ""
    monkeypatch.setattr(Shop, "room", lambda shop: -3e9)
    assert "3.0 GB more" in program.http.get("/api/me").json()["pause"]


def test_what_begins_work_wakes_the_queue(program: Program, trained: Path) -> None:
    woken: list[bool] = []

    class Sleeping:
        def wake(self) -> None:
            woken.append(True)

    program.http.app.state.queue = Sleeping()  # type: ignore[attr-defined]
    scene = program.scene()
    put_scene(program.shop, scene.id, trained)
    film = program.http.post(f"/api/scenes/{scene.id}/films", json={}).json()
    assert len(woken) == 1
    program.http.get(f"/api/jobs/{film['id']}")
    program.http.post(f"/scenes/{scene.id}/jobs/{film['id']}/pause")
    assert len(woken) == 2


# --- links, people, notes -------------------------------------------------------------------------


def test_links_are_made_and_taken_back(program: Program) -> None:
    at = f"/api/scenes/{program.scene().id}/links"
    forever, week = program.http.post(at), program.http.post(at, json={"days": 7})
    assert forever.status_code == week.status_code == 201
    assert forever.json()["ends"] is None and week.json()["ends"] > 0
    assert week.json()["address"] == f"/s/{week.json()['token']}" and len(week.json()["token"]) == 32
    assert len(program.http.get(at).json()) == 2
    assert program.http.delete(f"{at}/{week.json()['token']}").status_code == 204
    assert program.http.get(at).json() == [forever.json()]
    said(program.http.delete(f"{at}/{week.json()['token']}"), 404)
    for days in (0, -1, 1e9, "soon"):
        said(program.http.post(at, json={"days": days}), 422)


def test_the_first_person_manages_the_others(program: Program) -> None:
    http = program.http
    made = http.post("/api/people", json={"name": "Ada", "role": "owner", "quota": "5 MB"})
    assert made.status_code == 201
    ada = made.json()
    assert ada["address"] == f"/login?key={ada['key']}"
    assert "Ada" in said(http.post("/api/people", json={"name": "Ada", "role": "guest"}), 400)
    assert "quota" in said(
        http.post("/api/people", json={"name": "Bo", "role": "guest", "quota": "lots"}), 400
    )
    known = {p["name"]: p for p in http.get("/api/people").json()}
    assert known["Ada"]["quota"] == 5_000_000 and known["You"]["first"]

    hers = {"Authorization": f"Bearer {ada['key']}"}
    assert http.get("/api/me", headers=hers).json()["quota"] == 5_000_000
    said(http.get("/api/people", headers=hers), 403)
    said(http.delete(f"/api/people/{ada['id']}", headers=hers), 403)
    said(http.post(f"/api/people/{ada['id']}/key", headers=hers), 403)
    new = http.post(f"/api/people/{ada['id']}/key").json()
    said(http.get("/api/me", headers=hers), 401)
    hers = {"Authorization": f"Bearer {new['key']}"}
    assert http.get("/api/me", headers=hers).status_code == 200
    assert http.delete(f"/api/people/{ada['id']}").status_code == 204
    said(http.get("/api/me", headers=hers), 401)
    said(http.delete(f"/api/people/{ada['id']}"), 404)


def test_the_first_person_stays(program: Program) -> None:
    at = f"/api/people/{program.person.id}"
    said(program.http.delete(at), 409)
    made = program.http.post(f"{at}/key").json()
    assert (program.shop.data / people.KEY).read_text().strip() == made["key"]
    said(program.http.get("/api/me"), 401)


def test_notes_are_read_and_put_away(program: Program) -> None:
    scene, http = program.scene(), program.http
    other = program.of("owner").http
    scenes.note(program.shop.db, program.person.id, scene.id, "Garden is done")
    (note,) = http.get("/api/notes").json()
    assert note["text"] == "Garden is done" and note["scene"] == scene.id
    assert other.get("/api/notes").json() == []
    other.post(f"/api/notes/{note['id']}/read")  # of someone else: nothing happens
    assert len(http.get("/api/notes").json()) == 1
    assert http.post(f"/api/notes/{note['id']}/read").status_code == 204
    assert http.get("/api/notes").json() == []
    said(http.post(f"/api/notes/{2**70}/read"), 422)


# --- crop -----------------------------------------------------------------------------------------


def test_a_crop_is_an_upright_box(program: Program, trained: Path) -> None:
    scene, http = program.scene(), program.http
    at = f"/api/scenes/{scene.id}/crop"
    box = {"size": [2, 1, 0.5], "centre": [0.1, 0.2, 0.3], "turn": 90}
    assert "isn't there yet" in said(http.put(at, json=box), 409)
    folder = put_scene(program.shop, scene.id, trained)
    before = scene_folder.load(folder)
    assert http.put(at, json=box).json() == {k: pytest.approx(v) for k, v in box.items()}
    upright = placed(scene_folder.load(folder))
    assert upright.crop is not None
    # x of the box has become y of the world by the quarter turn.
    assert upright.crop == pytest.approx(
        np.array([[0, -0.5, 0, 0.1], [1, 0, 0, 0.2], [0, 0, 0.25, 0.3], [0, 0, 0, 1]]), abs=1e-9
    )
    assert replace(scene_folder.load(folder), crop=None) == before
    program.job(scene, state="running")
    assert "trained" in said(http.put(at, json=box), 409)
    jobs.end(program.shop.db, jobs.jobs_of(program.shop.db, scene.id)[0].id, "done")
    assert http.delete(at).status_code == 204
    assert scene_folder.load(folder).crop is None
    for wrong in (
        {},
        {"size": [1, 1]},
        {"size": [0, 1, 1]},
        {**box, "turn": 1e9},
        {**box, "centre": [1e99, 0, 0]},
    ):
        said(http.put(at, json=wrong), 422)
    said(http.put(at, content=b'{"size": [1, 1, NaN]}', headers={"Content-Type": "application/json"}), 422)


# --- the folder to take home ----------------------------------------------------------------------


def test_the_scene_comes_as_a_zip(program: Program, trained: Path) -> None:
    scene, http = program.scene(), program.http
    at = f"/api/scenes/{scene.id}/scene.zip"
    assert "isn't there yet" in said(http.get(at), 409)
    folder = put_scene(program.shop, scene.id, trained)
    put_photo(program, scene)
    done = folder / "poses" / "posing"
    (done / "images").mkdir(parents=True)
    for file in ("images/0.jpg", "database.db", "done.json"):
        (done / file).write_text("{}")
    (folder / ".training.lock").write_text("x")
    answer = http.get(at)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
    assert int(answer.headers["content-length"]) == len(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert packed.testzip() is None
        names = set(packed.namelist())
        assert packed.read("field.safetensors") == (folder / "field.safetensors").read_bytes()
        photos = [v["photo"] for v in json.loads(packed.read("scene.json"))["views"]]
        assert str(program.shop.data) not in packed.read("scene.json").decode()
    assert {"scene.json", "field.safetensors", "training.safetensors", "poses/posing/done.json"} <= names
    assert not names & {".training.lock", "poses/posing/database.db", "poses/posing/images/0.jpg"}
    assert all(name.startswith("photos/") for name in photos) and not any(
        n.startswith("photos") for n in names
    )
    with zipfile.ZipFile(io.BytesIO(http.get(at, params={"photos": True}).content)) as packed:
        assert packed.read("photos/a.jpg") == b"photo"


@pytest.mark.parametrize("limit", [10, 300, 5000, zipfile.ZIP64_LIMIT])
def test_the_size_of_a_zip_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Also beyond the sizes from which zips are written with longer numbers."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    folder = tmp_path / "scene"
    folder.mkdir()
    (folder / "scene.json").write_text("{}")
    for size in (0, 1, 9, 10, 200, 290, 4000, 6000):
        (folder / f"größe-{size}.bin").write_bytes(b"x" * size)
    size, parts = scene_zip.packed(folder, False)
    content = b"".join(parts)
    assert len(content) == size
    assert len(zipfile.ZipFile(io.BytesIO(content)).namelist()) == 9


# --- its description ------------------------------------------------------------------------------


def test_the_description_is_whole(program: Program) -> None:
    schema = program.http.get("/api/openapi.json").json()
    assert schema["openapi"].startswith("3.1") and schema["security"]
    ids = [o["operationId"] for item in schema["paths"].values() for o in item.values()]
    assert len(set(ids)) == len(ids) and all(name.isidentifier() for name in ids)
    for path, item in schema["paths"].items():
        assert path.startswith("/api/")
        for method, operation in item.items():
            assert operation["description"], path
            assert {"401"} <= set(operation["responses"]), path
            for status, answer in operation["responses"].items():
                if status.startswith("4"):
                    content = answer["content"]["application/json"]["schema"]
                    assert content == {"$ref": "#/components/schemas/Refusal"}, (path, method, status)
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    told = schema["components"]["schemas"]
    for name in ("NewScene", "Train", "Film", "Export", "Page", "Crop", "NewLink", "NewPerson"):
        assert told[name]["additionalProperties"] is False
        assert all(field.get("description") for field in told[name]["properties"].values()), name


def test_the_page_of_the_api_needs_nothing_from_elsewhere(program: Program) -> None:
    answer = program.http.get("/api/docs")
    page = answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script" not in page and "<style" not in page and " style=" not in page
    assert "https://cdn" not in page
    schema = program.http.get("/api/openapi.json").json()
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            assert f'id="{operation["operationId"]}"' in page and f"{method.upper()} {path}" in page
    for name in schema["components"]["schemas"]:
        assert f'id="type-{name}"' in page
    assert "curl -X POST" in page and "http://localhost/api/scenes/SCENE/train" in page

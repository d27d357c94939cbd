"""Uploads by tus: begun, continued after breaks and kills, refused, removed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from upload_cases import (
    BYTES,
    TUS,
    OwnProcess,
    Sender,
    begin,
    log_in,
    metadata,
    offset_of,
    packed,
    patch,
    picture,
    sending,
    wait_for,
)

from nerfscene.serve import jobs, people, receiving, scenes
from nerfscene.serve.file_names import LONGEST, safe, unique


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    with sending(tmp_path) as made:
        yield made


def test_a_photo_comes_in_parts_and_becomes_one_of_the_scene(sender: Sender) -> None:
    content = picture()
    answer = sender.begin("IMG_1.jpg", len(content))
    place = answer.headers["location"]
    assert answer.status_code == 201 and place.startswith("/api/uploads/")
    assert answer.headers["upload-expires"].endswith("GMT")
    assert offset_of(sender.http, place) == 0
    half = len(content) // 2
    first = patch(sender.http, place, 0, content[:half])
    assert (first.status_code, first.headers["upload-offset"]) == (204, str(half))
    assert [f.state for f in sender.files()] == ["coming"]
    assert patch(sender.http, place, half, content[half:]).status_code == 204
    assert sender.checked()["IMG_1.jpg"].state == "whole"
    assert (sender.photos / "IMG_1.jpg").read_bytes() == content
    assert offset_of(sender.http, place) == len(content)  # a client that missed the last answer asks
    assert not list((sender.shop.data / "uploads").iterdir())


def test_the_first_bytes_may_come_with_the_creation(sender: Sender) -> None:
    content = picture()
    about = {
        "Upload-Length": str(len(content)),
        "Upload-Metadata": metadata(scene=sender.scene.id, filename="a.jpg"),
    }
    answer = sender.http.post("/api/uploads", headers={**BYTES, **about}, content=content)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(content)))
    assert sender.checked()["a.jpg"].state == "whole"


def test_the_server_says_what_it_can_do(sender: Sender) -> None:
    answer = sender.http.options("/api/uploads")
    assert answer.status_code == 204 and answer.headers["tus-version"] == "1.0.0"
    assert {"creation", "termination", "expiration"} <= set(answer.headers["tus-extension"].split(","))
    assert int(answer.headers["tus-max-size"]) > 0


def test_bytes_at_another_place_are_refused(sender: Sender) -> None:
    place = sender.begin("a.jpg", 100).headers["location"]
    answer = patch(sender.http, place, 10, b"x")
    assert answer.status_code == 409 and "at 0" in answer.json()["detail"]
    assert patch(sender.http, place, 0, b"x" * 101).status_code == 413
    assert offset_of(sender.http, place) == 0

    def endless() -> Iterator[bytes]:
        yield b"x" * 60
        yield b"x" * 60

    assert patch(sender.http, place, 0, endless()).status_code == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Upload-Length": ""}, 400),
        ({"Upload-Length": "-5"}, 400),
        ({"Upload-Length": "9" * 30}, 400),
        ({"Upload-Length": "0"}, 400),
        ({"Upload-Metadata": ""}, 400),
        ({"Upload-Metadata": "scene !!!"}, 400),
        ({"Upload-Metadata": "filename YS5qcGc="}, 400),
        ({"Upload-Metadata": metadata(scene="nosuchscene1", filename="a.jpg")}, 404),
        ({"Upload-Metadata": metadata(scene="../../etc", filename="a.jpg")}, 404),
    ],
)
def test_what_is_missing_or_wrong_is_said(sender: Sender, headers: dict[str, str], status: int) -> None:
    answer = sender.begin("a.jpg", 10, **headers)
    assert answer.status_code == status and answer.json()["detail"]
    assert not sender.files()


@pytest.mark.parametrize(("header", "value", "status"), [
    ("Upload-Offset", "one", 400), ("Upload-Offset", "", 400), ("Content-Type", "image/jpeg", 415),
    ("Tus-Resumable", "", 412),
])  # fmt: skip
def test_a_part_needs_its_headers(sender: Sender, header: str, value: str, status: int) -> None:
    place = sender.begin("a.jpg", 100).headers["location"]
    sent = sender.http.patch(place, headers={**BYTES, "Upload-Offset": "0", header: value}, content=b"x")
    assert sent.status_code == status


@pytest.mark.parametrize(("given", "kept"), [
    ("../../../etc/passwd.jpg", "passwd.jpg"), ("C:\\fakepath\\IMG 1.JPG", "IMG 1.JPG"),
    ("a\x00b\n.jpg", "ab.jpg"), ("..", "photo"), ("", "photo"), ("CON.jpg", "_CON.jpg"),
    ('q"u:o?t|e*.png', "q_u_o_t_e_.png"), (".hidden.jpg", "hidden.jpg"), ("a.jpg. .", "a.jpg"),
    ("Zoë 🌳.heic", "Zoë 🌳.heic"), ("Zoe\u0308.heic", "Zoë.heic"), ("IMG_0001", "IMG_0001"),
])  # fmt: skip
def test_names_are_made_safe(given: str, kept: str) -> None:
    assert safe(given) == kept


def test_long_names_keep_their_ending() -> None:
    made = safe("ä" * 300 + ".jpeg")
    assert made.endswith("ä.jpeg") and len(made.encode()) <= LONGEST


def test_names_are_made_different() -> None:
    assert unique("IMG_1.jpg", []) == "IMG_1.jpg"
    assert unique("IMG_1.jpg", ["img_1.JPG", "IMG_1 (2).jpg"]) == "IMG_1 (3).jpg"
    assert unique("photos", ["photos.zip"]) == "photos (2)"  # which is unpacked into photos
    assert unique("photos.zip", ["photos"]) == "photos (2).zip"


def test_the_same_name_twice_makes_two_photos(sender: Sender) -> None:
    sender.send("../IMG_1.jpg", picture(1))
    sender.send("IMG_1.jpg", picture(2))
    assert {n: f.state for n, f in sender.checked().items()} == {
        "IMG_1.jpg": "whole",
        "IMG_1 (2).jpg": "whole",
    }
    assert (sender.photos / "IMG_1 (2).jpg").read_bytes() == picture(2)


def test_nobody_sees_or_touches_anothers_upload(sender: Sender) -> None:
    place = sender.begin("a.jpg", 100).headers["location"]
    first = people.first_person(sender.shop.db)
    for role in ("owner", "guest"):
        other, key = people.invited(sender.shop.db, first, role, role)
        sender.http.cookies.clear()
        sender.http.headers.pop("X-Token", None)
        bearer = {**BYTES, "Authorization": f"Bearer {key}", "Upload-Offset": "0"}
        assert sender.http.head(place, headers=bearer).status_code == 404
        assert sender.http.patch(place, headers=bearer, content=b"x").status_code == 404
        assert sender.http.delete(place, headers=bearer).status_code == 404
        begun = begin(sender.http, sender.scene.id, "b.jpg", 10, Authorization=f"Bearer {key}")
        assert begun.status_code == (404 if role == "owner" else 403)
        assert other.id != first.id
    log_in(sender.http, sender.shop, first)
    assert offset_of(sender.http, place) == 0


def test_uploads_need_a_login_and_the_pages_token(sender: Sender) -> None:
    place = sender.begin("a.jpg", 100).headers["location"]
    sender.http.headers.pop("X-Token")
    assert patch(sender.http, place, 0, b"x").status_code == 403
    assert sender.begin("b.jpg", 10).status_code == 403
    sender.http.cookies.clear()
    assert patch(sender.http, place, 0, b"x").status_code == 401
    assert sender.http.head(place, headers=TUS).status_code in (303, 401)


def test_an_upload_can_be_taken_back(sender: Sender) -> None:
    place = sender.begin("a.jpg", 100).headers["location"]
    patch(sender.http, place, 0, b"x" * 50)
    assert sender.http.delete(place, headers=TUS).status_code == 204
    assert sender.http.head(place, headers=TUS).status_code == 404
    assert not sender.files() and not list((sender.shop.data / "uploads").iterdir())
    kept = sender.send("b.jpg", picture())
    sender.checked()
    assert sender.http.delete(f"/api/uploads/{kept}", headers=TUS).status_code == 204
    assert not sender.files() and not list(sender.photos.iterdir())


def test_networks_that_only_let_post_through(sender: Sender) -> None:
    content = picture()
    place = sender.begin("a.jpg", len(content)).headers["location"]
    headers = {**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert sender.http.post(place, headers=headers, content=content).status_code == 204
    assert sender.checked()["a.jpg"].state == "whole"
    assert sender.http.post(place, headers=TUS).status_code == 405


def test_nothing_is_added_while_the_scene_is_trained_or_in_the_bin(sender: Sender) -> None:
    sender.send("a.jpg", picture())
    done = sender.checked()["a.jpg"]
    job = jobs.add(sender.shop.db, sender.scene.id, sender.scene.person, "train", {})
    answer = sender.begin("b.jpg", 10)
    assert answer.status_code == 409 and "trained" in answer.json()["detail"]
    assert sender.http.delete(f"/api/uploads/{done.id}", headers=TUS).status_code == 409
    jobs.end(sender.shop.db, job.id, "done")
    assert sender.begin("b.jpg", 10).status_code == 201
    scenes.delete(sender.shop.db, sender.scene.id)
    assert sender.begin("c.jpg", 10).status_code == 409


def test_what_was_given_up_is_removed(sender: Sender) -> None:
    old = sender.begin("old.jpg", 100).headers["location"].rsplit("/", 1)[1]
    new = sender.begin("new.jpg", 100).headers["location"].rsplit("/", 1)[1]
    uploads = sender.shop.data / "uploads"
    (uploads / "nobodys").write_bytes(b"x")
    past = time.time() - receiving.KEPT - 60
    for name in (old, "nobodys"):
        os.utime(uploads / name, (past, past))
    with sender.shop.db.change() as c:
        c.execute("update files set created = ? where id = ?", (past, old))
    assert receiving.sweep(sender.shop) == 1
    assert [f.id for f in sender.files()] == [new]
    assert [p.name for p in uploads.iterdir()] == [new]


def test_a_scene_takes_only_so_many_files(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nerfscene.serve.quota.MOST_FILES", 2)
    assert [sender.begin(f"{i}.jpg", 10).status_code for i in range(3)] == [201, 201, 413]


def halves(content: bytes, sent: threading.Event, go_on: threading.Event) -> Iterator[bytes]:
    """A request's bytes, which stop in the middle."""
    yield content[: len(content) // 2]
    sent.set()
    go_on.wait(600)
    raise ConnectionError("cut")


def begin_half(server: OwnProcess, content: bytes) -> tuple[str, threading.Event, threading.Thread]:
    """Begins an upload in a thread, whose connection hangs in the middle of its only request."""
    sent, go_on = threading.Event(), threading.Event()
    with server.client() as http:
        place = begin(http, server.scene.id, "long.jpg", len(content)).headers["location"]

    def send() -> None:
        with server.client() as http, pytest.raises((ConnectionError, httpx.TransportError)):
            patch(http, place, 0, halves(content, sent, go_on))

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    assert sent.wait(300)
    return place, go_on, thread


@pytest.mark.parametrize("killed", [False, True], ids=["cut", "killed"])
def test_an_upload_goes_on_after_a_break_in_the_middle_of_a_request(tmp_path: Path, killed: bool) -> None:
    content = picture(width=2000, height=1500, quality=95)
    assert len(content) > 3 * 1024 * 1024
    with OwnProcess(tmp_path) as server:
        place, go_on, thread = begin_half(server, content)
        part = server.data / "uploads" / place.rsplit("/", 1)[1]
        wait_for(lambda: part.stat().st_size > 1024 * 1024)
        if killed:
            server.kill()
        go_on.set()
        thread.join()
        if killed:
            server.start()
        with server.client() as http:
            at = offset_of(http, place)
            assert 1024 * 1024 < at <= len(content) // 2
            assert patch(http, place, at, content[at:]).status_code == 204
        wait_for(lambda: server.files()[0].state == "whole")
        assert (scenes.places(server.data, server.scene.id).photos / "long.jpg").read_bytes() == content


def test_a_client_that_comes_back_ends_the_request_that_hangs(tmp_path: Path) -> None:
    content = picture(width=1000, height=700)
    with OwnProcess(tmp_path) as server:
        place, go_on, thread = begin_half(server, content)
        with server.client() as http:
            at = offset_of(http, place)
            assert patch(http, place, at, content[at:]).status_code == 204
        wait_for(lambda: server.files()[0].state == "whole")
        go_on.set()
        thread.join()


@pytest.mark.long
def test_killed_between_the_last_byte_and_the_check(tmp_path: Path) -> None:
    whole, moved = picture(1), picture(2)
    with OwnProcess(tmp_path) as server:
        server.kill()
        for name, content, place in (
            ("whole.jpg", whole, server.data / "uploads"),
            ("moved.jpg", moved, scenes.places(server.data, server.scene.id).photos),
            ("lost.jpg", b"", None),
        ):
            file = receiving.begun(server.shop, server.scene, server.person, name, len(content) or 5)
            receiving.part_of(server.shop, file.id).unlink()
            if place is not None:
                (place / (file.id if place.name == "uploads" else name)).write_bytes(content)
        server.start()
        wait_for(lambda: all(f.state != "coming" for f in server.files()))
        assert {f.name: f.state for f in server.files()} == {"whole.jpg": "whole", "moved.jpg": "whole"}


@pytest.mark.long
def test_killed_while_a_zip_is_checked(tmp_path: Path) -> None:
    content = packed({f"{i}.jpg": picture(i, 600, 400) for i in range(20)})
    with OwnProcess(tmp_path) as server:
        at = scenes.places(server.data, server.scene.id)
        with server.client() as http:
            place = begin(http, server.scene.id, "trip.zip", len(content)).headers["location"]
            assert patch(http, place, 0, content).status_code == 204
        wait_for(lambda: at.thumbnails.is_dir() and list(at.thumbnails.iterdir()))
        server.kill()
        server.start()
        wait_for(lambda: all(f.state != "coming" for f in server.files()))
        files = server.files()
        assert sorted(f.name for f in files) == sorted(["trip.zip", *(f"trip/{i}.jpg" for i in range(20))])
        assert {f.state for f in files} == {"whole"}
        wait_for(lambda: not list((server.data / "uploads").iterdir()))
        assert len(list((at.photos / "trip").iterdir())) == len(list(at.thumbnails.iterdir())) == 20


def test_a_full_disk_is_said_and_the_upload_stays(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    place = sender.begin("a.jpg", 100).headers["location"]
    patch(sender.http, place, 0, b"x" * 40)
    full: Any = lambda self: -1  # noqa: E731
    with monkeypatch.context() as m:
        m.setattr("nerfscene.serve.shop.Shop.room", full)
        answer = patch(sender.http, place, 40, b"x" * 60)
        assert answer.status_code == 507 and "full" in answer.json()["detail"]
    assert offset_of(sender.http, place) == 40

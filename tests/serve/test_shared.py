"""What a link shows without a login, and that it shows nothing once it has ended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from serve_viewing_cases import client, owner, scene, shop

from nerfscene.serve import jobs, links, scenes
from nerfscene.serve.scenes import Places, SceneRow
from nerfscene.serve.shop import Shop


@pytest.fixture
def of(tmp_path: Path) -> Shop:
    return shop(tmp_path)


@pytest.fixture
def made(of: Shop) -> tuple[SceneRow, Places]:
    """A scene with poster, page, and two films, of which one isn't complete."""
    row, at = scene(of, title="Oma's <b>kitchen</b>")
    at.poster.write_bytes(b"poster")
    at.page.mkdir()
    (at.page / "index.html").write_text("<p>the page")
    (at.page / "scene-0.js").write_text("1")
    at.films.mkdir()
    for state in ("done", "running"):
        job = jobs.add(of.db, row.id, row.person, "film", {})
        begun = jobs.begin_next(of.db, "here")
        assert begun is not None and begun.id == job.id
        (at.films / f"{state}.mp4").write_bytes(state.encode())
        if state == "done":
            jobs.end(of.db, job.id, "done", result={"files": ["films/done.mp4"]})
    return row, at


ADDRESSES = ("", "/poster.jpg", "/page/", "/page/scene-0.js", "/film.mp4", "/films/done.mp4")


def test_a_link_shows_its_scene_to_anyone(of: Shop, made: tuple[SceneRow, Places]) -> None:
    token = links.new_link(of.db, made[0].id, 30).token
    browser = client(of)
    page = browser.get(f"/s/{token}")
    assert page.status_code == 200 and "Oma&#39;s &lt;b&gt;kitchen" in page.text
    assert f"/s/{token}/poster.jpg" in page.text and f"/s/{token}/films/done.mp4" in page.text
    assert "running.mp4" not in page.text and "<iframe" not in page.text
    assert "This link works until" in page.text
    within = browser.get(f"/s/{token}?in")
    assert f'src="/s/{token}/page/"' in within.text
    assert browser.get(f"/s/{token}/film.mp4").content == b"done"
    assert browser.get(f"/s/{token}/film.mp4", headers={"Range": "bytes=1-2"}).content == b"on"
    assert browser.get(f"/s/{token}/").headers["location"] == f"/s/{token}"
    for address in ADDRESSES:
        answer = browser.get(f"/s/{token}{address}")
        assert answer.status_code == 200, address
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "noindex" in answer.headers["x-robots-tag"]
        assert answer.headers["cache-control"] == "private, no-cache"
        assert "set-cookie" not in answer.headers
        assert browser.head(f"/s/{token}{address}").status_code == 200
    assert browser.get(f"/s/{token}/page/").headers["x-frame-options"] == "SAMEORIGIN"


def test_a_link_without_an_end_says_none(of: Shop, made: tuple[SceneRow, Places]) -> None:
    token = links.new_link(of.db, made[0].id, None).token
    assert "works until" not in client(of).get(f"/s/{token}").text


def test_a_scene_that_is_not_ready_is_told(of: Shop) -> None:
    row, _ = scene(of)
    token = links.new_link(of.db, row.id, None).token
    browser = client(of)
    assert "nothing to step into yet" in browser.get(f"/s/{token}").text
    assert browser.get(f"/s/{token}/page/").status_code == 404
    assert browser.get(f"/s/{token}/film.mp4").status_code == 404


@pytest.mark.parametrize("end", ["taken back", "over", "deleted"])
def test_a_link_that_ended_shows_nothing_at_once(of: Shop, made: tuple[SceneRow, Places], end: str) -> None:
    row, _ = made
    token = links.new_link(of.db, row.id, 30).token
    browser = client(of)
    tags = {name: browser.get(f"/s/{token}{name}").headers.get("etag", "*") for name in ADDRESSES}
    if end == "taken back":
        links.take_back(of.db, row.id, token)
    elif end == "over":
        with of.db.change() as c:
            c.execute("update links set ends = ?", (time.time() - 1,))
    else:
        scenes.delete(of.db, row.id)
    for name, tag in tags.items():
        answer = browser.get(f"/s/{token}{name}", headers={"If-None-Match": tag})
        assert answer.status_code == 410, name
        assert "ask whoever sent it for a new one" in answer.text and "kitchen" not in answer.text
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


def test_tokens_that_are_none(of: Shop, made: tuple[SceneRow, Places]) -> None:
    row, _ = made
    mine = links.new_link(of.db, row.id, 30).token
    for browser in (client(of), client(of, owner(of))):
        for token in ("x", mine[:-1], mine.upper(), row.id, "%00", "a" * 4000):
            for name in ADDRESSES:
                assert browser.get(f"/s/{token}{name}").status_code == 404, (token, name)


def test_a_link_shows_nothing_but_its_scene(of: Shop, made: tuple[SceneRow, Places]) -> None:
    row, at = made
    (at.home / "secret").write_bytes(b"x")
    token = links.new_link(of.db, row.id, 30).token
    browser = client(of)
    for name in (
        *("page/../poster.jpg", "page/%2e%2e/secret", "films/..%2fsecret", "report.html", "scene/scene.json"),
        *("view/", "exports/job/a.glb", "thumbnails/a.jpg", "now.jpg", "turning.jpg"),
    ):
        answer = browser.get(f"/s/{token}/{name}")
        assert answer.status_code == 404 or answer.content == b"poster", name
    assert browser.post(f"/s/{token}").status_code == 405
    assert browser.get(f"/scenes/{row.id}/poster.jpg").status_code == 303  # to the login

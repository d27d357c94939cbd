"""A scene's files over HTTP: only its own, only for who may look, whole or in part."""

from __future__ import annotations

from pathlib import Path

import pytest
from serve_viewing_cases import client, invited, owner, scene, shop

from nerfscene.serve import scenes
from nerfscene.serve.files import saved_as
from nerfscene.serve.scenes import Places, SceneRow
from nerfscene.serve.shop import Shop

FILM = bytes(range(256)) * 40


@pytest.fixture
def of(tmp_path: Path) -> Shop:
    return shop(tmp_path)


@pytest.fixture
def made(of: Shop) -> tuple[SceneRow, Places]:
    row, at = scene(of)
    for folder in (at.films, at.exports / "job", at.page, at.thumbnails):
        folder.mkdir(parents=True)
    (at.films / "job.mp4").write_bytes(FILM)
    (at.exports / "job" / "Grandma’s kitchen.usdz").write_bytes(b"usdz")
    (at.page / "index.html").write_text("<p>the page")
    (at.page / "scene-0.js").write_text("1")
    (at.scene / "report.html").write_text("<p>the report")
    (at.thumbnails / "f.jpg").write_bytes(b"jpg")
    for picture in (at.now, at.poster, at.turning):
        picture.write_bytes(picture.name.encode())
    return row, at


def test_every_kind_of_file_with_its_type(of: Shop, made: tuple[SceneRow, Places]) -> None:
    base = f"/scenes/{made[0].id}"
    browser = client(of, owner(of))
    for name, kind, content in (
        ("now.jpg", "image/jpeg", b"now.jpg"),
        ("poster.jpg", "image/jpeg", b"poster.jpg"),
        ("turning.jpg", "image/jpeg", b"turning.jpg"),
        ("thumbnails/f.jpg", "image/jpeg", b"jpg"),
        ("report.html", "text/html; charset=utf-8", b"<p>the report"),
        ("films/job.mp4", "video/mp4", FILM),
        ("exports/job/Grandma’s kitchen.usdz", "model/vnd.usdz+zip", b"usdz"),
        ("page/", "text/html; charset=utf-8", b"<p>the page"),
        ("page/scene-0.js", "text/javascript; charset=utf-8", b"1"),
    ):
        answer = browser.get(f"{base}/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind), name
        assert answer.content == content
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        head = browser.head(f"{base}/{name}")
        assert head.status_code == 200 and not head.content
        assert head.headers["content-length"] == str(len(content))
    assert browser.get(f"{base}/page").headers["location"] == f"{base}/page/"


def test_what_is_framed_may_be_framed_by_the_servers_own_pages_alone(
    of: Shop, made: tuple[SceneRow, Places]
) -> None:
    browser = client(of, owner(of))
    for name in ("page/", "report.html"):
        headers = browser.get(f"/scenes/{made[0].id}/{name}").headers
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert browser.get(f"/scenes/{made[0].id}/poster.jpg").headers["x-frame-options"] == "DENY"
    assert "sandbox" in browser.get(f"/scenes/{made[0].id}/report.html").headers["content-security-policy"]


def test_ranges_as_safari_asks_for_films(of: Shop, made: tuple[SceneRow, Places]) -> None:
    browser = client(of, owner(of))
    film = f"/scenes/{made[0].id}/films/job.mp4"
    whole = browser.get(film)
    assert whole.headers["accept-ranges"] == "bytes"
    first = browser.get(film, headers={"Range": "bytes=0-1"})
    assert (first.status_code, first.content) == (206, FILM[:2])
    assert first.headers["content-range"] == f"bytes 0-1/{len(FILM)}"
    assert first.headers["content-type"] == "video/mp4"
    rest = browser.get(film, headers={"Range": "bytes=10000-", "If-Range": whole.headers["etag"]})
    assert (rest.status_code, rest.content) == (206, FILM[10000:])
    assert browser.get(film, headers={"Range": "bytes=-5"}).content == FILM[-5:]
    assert browser.get(film, headers={"Range": "bytes=99999-"}).status_code == 416
    other = browser.get(film, headers={"Range": "bytes=0-1", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, FILM)


def test_browsers_keep_files_and_ask_whether_they_still_hold(of: Shop, made: tuple[SceneRow, Places]) -> None:
    row, at = made
    browser = client(of, owner(of))
    address = f"/scenes/{row.id}/poster.jpg"
    first = browser.get(address)
    assert first.headers["cache-control"] == "private, no-cache"
    asked = {"If-None-Match": f'"x", W/{first.headers["etag"]}'}
    assert browser.get(address, headers=asked).status_code == 304
    at.poster.write_bytes(b"another picture")
    assert browser.get(address, headers=asked).content == b"another picture"
    at.poster.unlink()
    assert browser.get(address, headers=asked).status_code == 404


def test_downloads_are_named_after_the_scene(of: Shop, made: tuple[SceneRow, Places]) -> None:
    row, _ = made
    browser = client(of, owner(of))
    scenes.rename(of.db, row.id, 'Omas Küche 1/2: "hell"')
    film = browser.get(f"/scenes/{row.id}/films/job.mp4?download").headers["content-disposition"]
    assert film == "attachment; filename*=utf-8''Omas%20K%C3%BCche%201%202%20hell.mp4"
    assert "content-disposition" not in browser.get(f"/scenes/{row.id}/films/job.mp4").headers
    export = browser.get(f"/scenes/{row.id}/exports/job/Grandma’s kitchen.usdz")
    assert export.headers["content-disposition"].startswith("attachment; ")
    assert saved_as("..", ".mp4") == "scene.mp4" and saved_as("a\\b\n<c>", ".jpg") == "a b c.jpg"


def test_nothing_outside_a_scenes_places_is_given_out(
    of: Shop, made: tuple[SceneRow, Places], tmp_path: Path
) -> None:
    row, at = made
    browser = client(of, owner(of))
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"kept away")
    (at.films / "link.mp4").symlink_to(outside)
    (at.exports / "up").symlink_to(of.data)
    (at.films / ".hidden.mp4").write_bytes(b"kept away")
    (at.films / "shown.mp4").symlink_to(".hidden.mp4")
    (at.films / "folder.mp4").mkdir()
    (at.page / ".git").mkdir()
    (at.page / ".git" / "config").write_text("kept away")
    for name in (
        *("films/link.mp4", "films/.hidden.mp4", "films/shown.mp4", "films/folder.mp4", "films/none.mp4"),
        *("exports/up/secret", "exports/job", "exports/job/", "exports/", "exports/../scene/scene.json"),
        *("exports/%2e%2e/scene/scene.json", "exports/job/%2e%2e/%2e%2e/scene/scene.json"),
        *("exports//etc/passwd", "exports/%2fetc/passwd", "exports/..%5cscene%5cscene.json"),
        *("page/.git/config", "page/%00", "page/x%00.html", "page/" + "a" * 5000),
        *("films/%2e%2e%2fpage%2findex.html", "scene.jpg", "secret.jpg", "thumbnails/..%2fposter.jpg"),
    ):
        answer = browser.get(f"/scenes/{row.id}/{name}")
        assert answer.status_code == 404, (name, answer.status_code)
        assert b"kept away" not in answer.content


def test_who_may_have_which_files(of: Shop, made: tuple[SceneRow, Places]) -> None:
    row, _ = made
    guest, stranger = client(of, invited(of)), client(of, invited(of, "owner", "Bob"))
    for name in ("poster.jpg", "report.html", "films/job.mp4", "page/"):
        address = f"/scenes/{row.id}/{name}"
        assert guest.get(address).status_code == 200
        assert stranger.get(address).status_code == 404
        nobody = client(of).get(address)
        assert (nobody.status_code, nobody.headers["location"]) == (303, f"/login?next={address}")
    assert guest.get(f"/scenes/{row.id}/thumbnails/f.jpg").status_code == 404
    scenes.delete(of.db, row.id)
    assert guest.get(f"/scenes/{row.id}/poster.jpg").status_code == 404
    assert client(of, owner(of)).get(f"/scenes/{row.id}/poster.jpg").status_code == 200  # in the bin

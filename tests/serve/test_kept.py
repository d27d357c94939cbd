"""Pages that are sent again without being made again, and when they must be made again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serve_cases as cases
from fastapi.testclient import TestClient
from support.html_cases import Page

from nerfscene.serve import gate, kept, pages, scenes
from nerfscene.serve.shop import Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(kept, "LONGEST", 1e6)  # so that only changes are seen
    return cases.shop(tmp_path)


@pytest.fixture
def browser(shop: Shop) -> Iterator[TestClient]:
    """The owner's, whose requests are all answered by one thread, as a server does."""
    with cases.logged_in(shop) as made:
        yield made


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who had a gallery made for them."""
    names: list[str] = []
    gallery = pages._gallery

    def counted(request: object, who: gate.Visitor, *rest: object) -> str:
        names.append(who.person.name)
        return gallery(request, who, *rest)

    monkeypatch.setattr(pages, "_gallery", counted)
    return names


def test_a_page_is_made_once_for_each_browser(shop: Shop, browser: TestClient, made: list[str]) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    first, second = browser.get("/"), browser.get("/")
    assert first.text == second.text and first.headers == second.headers and len(made) == 1
    assert "content-security-policy" in second.headers
    browser.get("/?nr=2")
    browser.get("/", headers={"Host": "127.0.0.1"})
    assert len(made) == 3
    scenes.rename(shop.db, scene.id, "Cellar")
    assert "Cellar" in Page(browser.get("/").text).said and len(made) == 4
    own = browser.get("/").text
    browser.cookies.set(gate.COOKIE, gate.session_for(shop, cases.guest(shop)))
    browser.get("/")
    assert browser.get("/").text != own and len(made) == 5


def test_who_is_logged_out_or_unknown_sees_nothing_kept(shop: Shop, browser: TestClient) -> None:
    session = browser.cookies[gate.COOKIE]
    assert browser.get("/").status_code == 200
    browser.cookies.set(gate.COOKIE, session[:-1])
    assert browser.get("/").status_code == 303
    browser.cookies.clear()
    assert browser.get("/").status_code == 303
    browser.cookies.set(gate.COOKIE, session)
    assert browser.get("/").status_code == 200
    gate.end_session(shop, session)
    assert browser.get("/").status_code == 303


def test_no_browser_keeps_a_page(shop: Shop, browser: TestClient) -> None:
    """Going back in a browser's history shows what it has kept, also to who comes after a log-out."""
    ready, new = cases.scene(shop, "Kitchen", "ready"), cases.scene(shop, "Cellar")
    for address in ("/", f"/scenes/{ready.id}", f"/scenes/{new.id}", f"/scenes/{ready.id}/photos"):
        for answer in (browser.get(address), browser.get(address)):  # made, and sent again
            assert answer.headers["cache-control"] == "no-store" and "etag" not in answer.headers


def test_a_page_from_before_a_change_is_not_kept(shop: Shop) -> None:
    """One that is still being made while a form changes something on disk."""
    asked: list[str] = []

    async def page(scope: dict[str, Any], *way: Any) -> None:
        asked.append(scope["method"])
        if asked == ["GET"]:
            await between(request("POST"), *way)
        if kept.MARK in scope:
            scope[kept.MARK]["page"] = kept.Page(None, 0.0, b"page")

    async def nothing(*_: Any) -> None:
        pass

    def request(method: str) -> dict[str, Any]:
        headers = [(b"cookie", b"nerfscene=x")]
        about = {"scheme": "http", "path": "/", "query_string": b"", "headers": headers}
        return {"type": "http", "method": method, **about}

    async def thrice() -> None:
        for _ in range(3):
            await between(request("GET"), nothing, nothing)

    between = kept.Kept(page, shop)
    asyncio.run(thrice())
    assert asked == ["GET", "POST", "GET"]


def test_what_a_form_changes_on_disk_is_seen_at_once(browser: TestClient, made: list[str]) -> None:
    browser.get("/")
    assert browser.post("/nowhere").status_code == 404
    browser.get("/")
    assert len(made) == 2


def test_a_page_is_made_anew_after_a_while(
    browser: TestClient, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.get("/")
    monkeypatch.setattr(kept, "LONGEST", 0.0)
    browser.get("/")
    assert len(made) == 2


def test_old_pages_are_forgotten(
    browser: TestClient, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST", 2)
    for address in ("/", "/?nr=2", "/?nr=3", "/?nr=2", "/"):
        browser.get(address)
    assert len(made) == 4  # the first is made twice

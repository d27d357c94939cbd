"""Who gets through to a viewer, what reaches it of a request, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serve_viewing_cases import Echo, client, echo, invited, owner, scene, shop, until
from starlette.websockets import WebSocketDisconnect

from nerfscene.serve import jobs, people, proxy, scenes, stepping
from nerfscene.serve.gate import COOKIE, TOKEN_HEADER, session_for, token_for
from nerfscene.serve.shop import Shop

WS = "ws://localhost"
OWN = {"Origin": "http://localhost"}


@pytest.fixture
def of(tmp_path: Path) -> Shop:
    return shop(tmp_path)


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Echo]:
    monkeypatch.setattr(stepping, "ASKED", 0.05)
    monkeypatch.setattr(proxy, "SECONDS", 300.0)  # on a busy machine
    with echo(monkeypatch) as stand_in:
        yield stand_in


@pytest.fixture
def browser(of: Shop, viewer: Echo) -> Iterator[TestClient]:
    with client(of, owner(of)) as running:
        yield running


def refused(browser: TestClient, address: str, **more: Any) -> bool:
    try:
        with browser.websocket_connect(f"{WS}{address}", **more):
            return False
    except WebSocketDisconnect:
        return True


def test_the_viewers_page_with_headers_of_the_servers_own(
    of: Shop, browser: TestClient, viewer: Echo
) -> None:
    row, _ = scene(of)
    answer = browser.get(f"/scenes/{row.id}/view/", headers={"X-Nerfscene-Role": "owner", "Accept": "*/*"})
    assert answer.status_code == 200 and answer.text.strip() == "page /"
    assert "set-cookie" not in answer.headers and "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy and "http" not in policy and "*" not in policy
    asked = viewer.asked[0]
    assert asked["cookie"] == viewer.cookie and f"{COOKIE}=" not in str(asked)
    assert "x-nerfscene-role" not in asked
    kept = browser.get(f"/scenes/{row.id}/view/", headers={"If-None-Match": answer.headers["etag"]})
    assert kept.status_code == 304
    assert kept.headers["content-security-policy"] == policy
    head = browser.head(f"/scenes/{row.id}/view/")
    assert head.status_code == 200 and not head.content
    assert browser.get(f"/scenes/{row.id}/view").headers["location"] == f"/scenes/{row.id}/view/"
    odd = browser.get(f"/scenes/{row.id}/view/a%0dX: y b")
    assert odd.text.strip() == "page /a%0DX%3A%20y%20b"


def test_a_websocket_in_both_directions(of: Shop, browser: TestClient, viewer: Echo) -> None:
    row, _ = scene(of)
    with browser.websocket_connect(f"{WS}/scenes/{row.id}/view", ["viser-v1"], headers=OWN) as socket:
        assert socket.accepted_subprotocol == "viser-v1"
        socket.send_bytes(b"\x00\xff" * 40_000)
        assert socket.receive_bytes() == b"\x00\xff" * 40_000
        socket.send_text("words")
        assert socket.receive_text() == "words"
        assert viewer.asked[-1]["cookie"] == viewer.cookie
        assert "origin" not in viewer.asked[-1] and f"{COOKIE}=" not in str(viewer.asked[-1])
        socket.send_text("leave")
        with pytest.raises(WebSocketDisconnect):
            socket.receive_bytes()


def test_only_the_servers_own_pages_and_people_get_a_websocket(
    of: Shop, browser: TestClient, viewer: Echo
) -> None:
    row, _ = scene(of)
    address = f"/scenes/{row.id}/view"
    assert not refused(browser, address, headers=OWN)
    for origin in ("http://evil.example", "null", "http://localhost.evil.example", "https://localhost:81"):
        assert refused(browser, address, headers={"Origin": origin}), origin
    assert refused(browser, address, headers={**OWN, "Sec-Fetch-Site": "same-site"})
    assert refused(browser, "/scenes/none/view", headers=OWN)
    browser.cookies.clear()
    assert refused(browser, address, headers=OWN)
    assert refused(browser, address, headers={**OWN, "Cookie": f"{COOKIE}=forged"})
    _, key = people.invited(of.db, owner(of), "Ada", "guest")
    assert not refused(browser, address, headers={"Authorization": f"Bearer {key}"})
    _, key = people.invited(of.db, owner(of), "Bob", "owner")
    assert refused(browser, address, headers={"Authorization": f"Bearer {key}"})


@pytest.mark.parametrize("why", ["logged out", "sent away", "deleted", "trained", "process ended"])
def test_an_open_websocket_is_cut(of: Shop, browser: TestClient, viewer: Echo, why: str) -> None:
    row, _ = scene(of)
    guest = invited(of)
    who = owner(of) if why == "logged out" else guest
    browser.cookies.clear()
    session = session_for(of, who)
    headers = {**OWN, "Cookie": f"{COOKIE}={session}"}
    with browser.websocket_connect(f"{WS}/scenes/{row.id}/view", headers=headers) as socket:
        socket.send_text("here")
        assert socket.receive_text() == "here"
        if why == "logged out":
            token = token_for(of, session)
            left = browser.post(
                "/logout", headers={TOKEN_HEADER: token, "Cookie": headers["Cookie"]}, follow_redirects=False
            )
            assert left.status_code == 303
        elif why == "sent away":
            people.send_away(of.db, guest.id)
        elif why == "deleted":
            scenes.delete(of.db, row.id)
        elif why == "trained":
            jobs.add(of.db, row.id, row.person, "train", {})
            assert jobs.begin_next(of.db, "here")
        else:
            viewer.__exit__()
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()
    if why == "logged out":  # other sessions of theirs go on
        other = {**OWN, "Cookie": f"{COOKIE}={session_for(of, who)}"}
        assert not refused(browser, f"/scenes/{row.id}/view", headers=other)
    if why != "process ended":
        assert refused(browser, f"/scenes/{row.id}/view", headers=headers)


def test_owner_and_guests_have_viewers_of_their_own(of: Shop, browser: TestClient, viewer: Echo) -> None:
    row, _ = scene(of)
    assert browser.get(f"/scenes/{row.id}/view/").status_code == 200
    viewers = browser.app.state.viewers  # type: ignore[attr-defined]
    assert [v.audience for v in viewers.all()] == ["owner"]
    headers = {"Cookie": f"{COOKIE}={session_for(of, invited(of))}"}
    browser.cookies.clear()
    assert browser.get(f"/scenes/{row.id}/view/", headers=headers).status_code == 200
    assert [v.audience for v in viewers.all()] == ["owner", "guest"]
    assert browser.get(f"/scenes/{row.id}/view/", headers=headers).status_code == 200
    assert len(viewers.all()) == 2


def test_what_can_t_be_stepped_into_is_told(of: Shop, browser: TestClient, viewer: Echo) -> None:
    row, at = scene(of)
    address = f"/scenes/{row.id}/view/"
    (at.scene / "scene.json").unlink()
    answer = browser.get(address)
    assert answer.status_code == 409 and "wait until it has been trained" in answer.text
    (at.scene / "scene.json").write_text("{}")
    job = jobs.add(of.db, row.id, row.person, "train", {})
    assert browser.get(address).status_code == 200  # as it was saved, while the training waits
    assert jobs.begin_next(of.db, "here")
    answer = browser.get(address)
    assert answer.status_code == 409 and "being trained" in answer.text
    until(lambda: not browser.app.state.viewers.all(), "its viewer to end")  # type: ignore[attr-defined]
    jobs.end(of.db, job.id, "paused")
    assert browser.get(address).status_code == 200
    scenes.delete(of.db, row.id)
    answer = browser.get(address)
    assert answer.status_code == 409 and "in the bin" in answer.text
    browser.cookies.clear()
    assert browser.get(address).headers["location"].startswith("/login")

"""Viewer processes: when they start and end, whom they let in, and that they show the scene."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import viser
import websockets
from browsers import chromium, wait
from serve_viewing_cases import at_an_address, client, expected, invited, owner, scene, seen, shop, until
from viewer_cases import CAMERA
from viser import _messages

from nerfscene.scene import folder as scenes_on_disk
from nerfscene.serve import jobs, scenes, viewers
from nerfscene.serve.gate import COOKIE, session_for
from nerfscene.serve.scenes import Places, SceneRow
from nerfscene.serve.shop import Shop
from nerfscene.serve.viewers import Running, Viewers
from nerfscene.viewer.server import Viewer

ROOT = Path(__file__).parents[2]
WINDOW = {"width": 800, "height": 600}
CLEAR = (slice(45, 145), slice(20, 110))  # beside the panel, and below a notice about software WebGL


@pytest.fixture
def of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(viewers, "LOOK", 0.05)
    return shop(tmp_path, threads=1)


@pytest.fixture
def made(of: Shop, trained: Path) -> tuple[SceneRow, Places]:
    return scene(of, trained)


@pytest.fixture
def running(of: Shop) -> Iterator[Viewers]:
    with Viewers(of) as them:
        yield them


def ready(viewer: Running) -> Running:
    until(lambda: viewer.state != "starting", "a viewer")
    assert viewer.state == "ready", viewer.why
    return viewer


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and was not yet waited for doesn't."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def asked(viewer: Running, cookie: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=300)
    connection.request("GET", "/", headers={"Cookie": cookie} if cookie else {})
    status = connection.getresponse().status
    connection.close()
    return status


def test_one_process_a_scene_and_audience_which_only_the_server_gets_into(
    running: Viewers, made: tuple[SceneRow, Places]
) -> None:
    row, _ = made
    mine = running.of(row.id, "owner")
    assert running.of(row.id, "owner") is mine and mine.state == "starting"
    theirs = running.of(row.id, "guest")
    assert theirs is not mine
    for viewer in (ready(mine), ready(theirs)):
        assert asked(viewer, viewer.cookie) == 200
        name = viewer.cookie.partition("=")[0]
        for cookie in ("", f"{name}=", f"{name}=x", mine.cookie if viewer is theirs else theirs.cookie):
            assert asked(viewer, cookie) == 401
    running.end(row.id)
    until(lambda: not alive(mine.process.pid) and not alive(theirs.process.pid), "both to end")
    assert running.all() == [] and mine.why == theirs.why == ""


def test_a_viewer_nobody_looks_at_ends(of: Shop, running: Viewers, made: tuple[SceneRow, Places]) -> None:
    viewer = running.of(made[0].id, "owner")
    viewer.looks = 1
    viewer.used = time.monotonic() - of.config.idle - 1
    until(lambda: time.monotonic() - viewer.used < of.config.idle, "another look")
    assert running.all() == [viewer]
    viewer.looks = 0

    def ended() -> bool:
        viewer.used = time.monotonic() - of.config.idle - 1  # a look that was under way may set it too
        return not alive(viewer.process.pid)

    until(ended, "it to end")
    assert running.all() == [] and running.of(made[0].id, "owner") is not viewer


@pytest.mark.parametrize("why", ["deleted", "trained"])
def test_viewers_end_with_what_they_show(
    of: Shop, running: Viewers, made: tuple[SceneRow, Places], why: str
) -> None:
    row, _ = made
    viewer = running.of(row.id, "guest")
    viewer.looks = 1
    if why == "deleted":
        scenes.delete(of.db, row.id)
    else:
        jobs.add(of.db, row.id, row.person, "train", {})
        assert jobs.begin_next(of.db, "here")
    until(lambda: not alive(viewer.process.pid), "it to end")


def test_viewers_end_with_the_server_even_if_that_is_killed(
    of: Shop, made: tuple[SceneRow, Places], tmp_path: Path
) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from nerfscene.config import ServeConfig\n"
        "from nerfscene.serve.shop import opened; from nerfscene.serve.viewers import Viewers\n"
        "with Viewers(opened(Path(sys.argv[1]), ServeConfig(threads=1))) as v:\n"
        "    for who in ('owner', 'guest'): print(v.of(sys.argv[2], who).process.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(of.data), made[0].id], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    processes = [int(server.stdout.readline()) for _ in range(2)]
    server.kill()
    server.wait()
    until(lambda: not any(alive(p) for p in processes), "its viewers to end")
    server.stdout.close()


def test_a_viewer_that_dies_is_told_and_can_be_opened_again(of: Shop, made: tuple[SceneRow, Places]) -> None:
    row, _ = made
    address = f"/scenes/{row.id}/view/"
    with client(of, owner(of)) as browser:
        answer = browser.get(address)
        assert answer.status_code == 202 and "Opening the scene" in answer.text
        assert answer.headers["refresh"] == "1" and answer.headers["cache-control"] == "no-store"
        until(lambda: browser.get(address).status_code == 200, "the viewer")
        (viewer,) = browser.app.state.viewers.all()  # type: ignore[attr-defined]
        os.kill(viewer.process.pid, signal.SIGKILL)
        answer = until(lambda: (a := browser.get(address)).status_code == 503 and a, "the sentence")
        assert "ended from outside" in answer.text and "Open it again" in answer.text
        assert browser.get(address).status_code == 503  # it is not opened again by itself
        again = browser.get(address + "?again")
        assert again.status_code == 303 and again.headers["location"] == address
        until(lambda: browser.get(address).status_code == 200, "another viewer")


def test_what_is_wrong_with_a_scene_is_told_to_its_owner(of: Shop) -> None:
    row, _ = scene(of)  # its scene.json is empty
    address = f"/scenes/{row.id}/view/"
    with client(of, owner(of)) as browser:
        answer = until(lambda: (a := browser.get(address)).status_code == 503 and a, "the sentence")
        assert "scene.json" in answer.text
        browser.cookies.clear()
        guest = {"Cookie": f"{COOKIE}={session_for(of, invited(of))}"}
        answer = until(
            lambda: (a := browser.get(address, headers=guest)).status_code == 503 and a, "the sentence"
        )
        assert "scene.json" not in answer.text and "can&#39;t be shown now" in answer.text


def test_a_scene_that_was_replaced_is_shown_anew(
    of: Shop, running: Viewers, made: tuple[SceneRow, Places]
) -> None:
    row, at = made
    viewer = ready(running.of(row.id, "guest"))
    scenes_on_disk.save_crop(at.scene, np.eye(4))
    until(lambda: viewer.replaced, "it to notice")
    assert running.of(row.id, "guest") is viewer
    other = running.of(row.id, "guest", fresh=True)
    assert other is not viewer
    until(lambda: not alive(viewer.process.pid), "the old one to end")


def test_guests_have_no_controls_that_make_or_save(trained: Path) -> None:
    """Whatever a client sends: what isn't there can't be pressed."""
    with Viewer(scenes_on_disk.load(trained), trained, port=0, threads=1, audience="guest") as viewer:

        async def joined() -> None:
            async with websockets.connect(
                f"ws://127.0.0.1:{viewer.gate.port}/",
                additional_headers={"Cookie": f"{viewer.gate.cookie}={viewer.gate.token}"},
                subprotocols=[f"viser-v{viser.__version__}"],  # type: ignore[list-item]
                max_size=None,
                open_timeout=300,
            ) as socket:
                raw = _messages.ViewerCameraMessage(**CAMERA).as_serializable_dict()
                await socket.send(msgspec.msgpack.encode(raw))
                while not viewer.panels:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0)
                (panels,) = viewer.panels.values()
                until(lambda: hasattr(panels, "share"), "its panels")
                assert not hasattr(panels, "crop") and not panels.saves and not panels.makes
                for part, name in ((panels.film, "start"), (panels.path, "preset"), (panels.export, "kind")):
                    assert not hasattr(part, name)

        asyncio.run(joined())


@pytest.mark.skipif(
    "NERFSCENE_JOURNEY" not in os.environ,
    reason="two pages that draw by software starve each other on a busy machine: make journey runs it",
)
def test_people_step_in_and_see_the_scene(of: Shop, made: tuple[SceneRow, Places], trained: Path) -> None:
    """In a real browser, through the server: its owner and a guest at the same time."""
    row, _ = made
    people = {"owner": owner(of), "guest": invited(of)}
    right = expected(trained, WINDOW, CLEAR)
    assert right.std() > 0.05
    with at_an_address(of) as (base, them), chromium() as browser:
        pages, wrong = {}, []
        for who, person in people.items():
            context = browser.new_context(viewport=WINDOW, device_scale_factor=0.5)
            context.add_cookies([{"name": COOKIE, "value": session_for(of, person), "url": base}])
            page = pages[who] = context.new_page()
            page.set_default_timeout(120_000)
            page.on("pageerror", lambda e: wrong.append(str(e)))
            page.on("request", lambda r: r.url.startswith(("http", "ws")) and wrong.append(r.url))
            page.goto(f"{base}/scenes/{row.id}/view/")
        for who, page in pages.items():
            page.wait_for_selector("[role=tab]")
            tabs = [tab.inner_text() for tab in page.locator("[role=tab]").all()]
            assert tabs == (["Look", "Path", "Film", "Export"] if who == "owner" else ["Look"])
            wait(
                page,
                lambda p=page: np.abs(seen(p, CLEAR) - right).mean() < 0.03,
                what=f"for the scene ({who})",
            )
        elsewhere = [w for w in wrong if not w.startswith((base, base.replace("http", "ws")))]
        assert not elsewhere
        assert {v.looks for v in them.all()} == {1}
        pages["guest"].close()
        until(lambda: sorted(v.looks for v in them.all()) == [0, 1], "the guest to be gone")

"""The pages in a real browser: uploading over a connection that breaks, watching, and sharing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from support import serve_cases as cases
from support.browsers import chromium, wait

from nerfscene.serve import jobs, links, people, scenes
from nerfscene.serve.app import create_app
from nerfscene.serve.pages_html import STATIC, VENDOR
from nerfscene.serve.server import listening
from nerfscene.serve.shop import Shop

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@contextmanager
def answering(shop: Shop, browser: Any) -> Iterator[str]:
    """A server that runs no jobs; gives its address. The pages that are open are closed with it."""
    with listening("127.0.0.1", 0) as sockets:
        app = create_app(shop, working=False)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": sockets})
        thread.start()
        try:
            yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        finally:
            for context in browser.contexts:
                context.close()
            server.should_exit = True
            thread.join()


def photos(folder: Path, count: int) -> list[Path]:
    """Photos of noise, some 100 kB each."""
    noise = np.random.default_rng(0)
    made = []
    for i in range(count):
        made.append(folder / f"IMG_{i}.jpg")
        Image.fromarray(noise.integers(0, 255, (240, 320, 3), np.uint8)).save(made[-1], quality=95)
    return made


def watched(page: Any) -> list[str]:
    """What the page's scripts complain of, from now on."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda m: said.append(m.text) if "Content Security Policy" in m.text else None)
    return said


@pytest.mark.skipif(not (STATIC / VENDOR).exists(), reason="tus-js-client wasn't fetched when this was built")
def test_photos_are_uploaded_over_a_connection_that_breaks(browser: Any, tmp_path: Path) -> None:
    shop = cases.shop(tmp_path)
    key = people.key_of_first(shop.db, shop.data)
    files = photos(tmp_path, 6)
    (tmp_path / "notes.pdf").write_bytes(b"%PDF-1.4")
    with answering(shop, browser) as address:
        context = browser.new_context(**PHONE)
        page = context.new_page()
        said = watched(page)
        page.goto(f"{address}/login?key={key}")
        page.wait_for_url(f"{address}/")
        page.get_by_role("link", name="New scene").first.tap()
        page.get_by_label("Title").fill("Breakfast")
        net = context.new_cdp_session(page)
        speed = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 30_000}
        net.send("Network.emulateNetworkConditions", speed)
        page.locator("#files").set_input_files([*files, tmp_path / "notes.pdf"])
        wait(page, lambda: page.locator("#sum-bar").evaluate("bar => bar.value") > 0.05, what="for a start")
        net.send("Network.emulateNetworkConditions", {**speed, "offline": True})
        wait(page, lambda: "connection is gone" in page.locator("#connection").inner_text())
        net.send("Network.emulateNetworkConditions", {**speed, "uploadThroughput": -1})
        assert "notes.pdf" in page.locator("#refused").inner_text()
        ready = page.locator("#whole")
        wait(page, lambda: ready.count() and ready.get_attribute("data-count") == "6", what="for photos")
        # The same photos again, after coming back, are not sent twice.
        page.reload()
        page.locator("#files").set_input_files(files)
        wait(page, lambda: "all here already" in page.locator("#ready").inner_text())
        page.get_by_role("button", name="Make the scene").tap()
        wait(page, lambda: "Next in the queue" in page.locator("#stage").inner_text())
        assert said == []
    scene = scenes.scenes_of(shop.db, people.first_person(shop.db).id)[0]
    assert scene.title == "Breakfast"
    found = scenes.files_of(shop.db, scene.id)
    assert sorted(f.name for f in found if f.state == "whole") == [f.name for f in files]
    assert jobs.jobs_of(shop.db, scene.id)[0].kind == "train"


def test_a_scene_is_watched_until_it_is_ready_shared_and_taken_back(browser: Any, tmp_path: Path) -> None:
    shop = cases.shop(tmp_path)
    key = people.key_of_first(shop.db, shop.data)
    scene = cases.scene(shop, "Kitchen", "running")
    job = jobs.jobs_of(shop.db, scene.id)[0].id
    jobs.tell(shop.db, job, "training", 0.2, 100.0)
    with answering(shop, browser) as address:
        page = browser.new_context(**PHONE).new_page()
        said = watched(page)
        page.goto(f"{address}/login?next=/scenes/{scene.id}&key={key}")
        bar = page.locator(".status progress")
        wait(page, lambda: bar.get_attribute("value") == "0.200")
        jobs.tell(shop.db, job, "training", 0.7, 20.0)
        wait(page, lambda: bar.get_attribute("value") == "0.700", what="for news")
        cases.trained(shop, scene)
        jobs.end(shop.db, job, "done")
        step_in = page.get_by_role("link", name="Step in").first
        wait(page, lambda: step_in.is_visible() and page.locator("#share").is_visible(), what="for the scene")
        page.get_by_role("button", name="Make a link").tap()
        wait(page, lambda: page.locator("#link-1").count())
        link = page.locator("#link-1").input_value()
        other = browser.new_context().new_page()
        assert other.goto(link).status == 200
        assert other.get_by_role("heading", level=1).inner_text() == "Kitchen"
        page.get_by_role("button", name="Take back").tap()
        wait(page, lambda: not links.links_of(shop.db, scene.id))
        wait(page, lambda: not page.locator("#link-1").count(), what="for the page after it")
        page.wait_for_load_state()
        assert other.goto(link).status in (404, 410)
        check_no_page_is_wider_than_the_phone(page, address, scene.id)
        assert said == []


def check_no_page_is_wider_than_the_phone(page: Any, address: str, scene: str) -> None:
    for path in ("/", "/new", "/people", "/bin", f"/scenes/{scene}", f"/scenes/{scene}/photos"):
        page.goto(f"{address}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        small = page.evaluate(
            "[...document.querySelectorAll('a, button, summary, select')].filter(e => e.offsetParent "
            "&& !e.closest('.skip, h2, p:not(.row)')).map(e => [e.outerHTML.slice(0, 80), "
            "e.getBoundingClientRect()]).filter(([, box]) => box.height < 43.5).map(([text]) => text)"
        )
        assert small == [], f"{path}: too small for a thumb"


def test_who_wants_no_motion_gets_none(browser: Any, tmp_path: Path) -> None:
    shop = cases.shop(tmp_path)
    cases.scene(shop, "Kitchen", "ready")
    key = people.key_of_first(shop.db, shop.data)
    with answering(shop, browser) as address:
        for motion, strips in (("reduce", 0), ("no-preference", 1)):
            page = browser.new_context(reduced_motion=motion).new_page()
            page.goto(f"{address}/login?key={key}")
            page.wait_for_url(f"{address}/")
            page.locator(".card").hover()
            if strips:
                wait(page, lambda page=page: page.locator(".picture.turns img.strip").count())
            time.sleep(0.2)
            assert page.locator("img.strip").count() == strips


CUT = """() => {
  const width = document.documentElement.clientWidth;
  const lists = [...document.querySelectorAll("ul")].filter((e) => e.scrollWidth > e.clientWidth + 1);
  const wide = document.documentElement.scrollWidth > width ? ["the page"] : [];
  return [...wide, ...lists.map((e) => e.className)];
}"""


def test_long_names_are_read_whole_on_the_smallest_phone(browser: Any, tmp_path: Path) -> None:
    shop = cases.shop(tmp_path)
    long = "without_any_place_to_break_it_" * 4
    made = cases.scene(shop, long[:110])
    cases.photo(shop, made, f"{long}.gif", "unusable", "it is a kind of picture that can't be read")
    cases.guest(shop, long[:60])
    key = people.key_of_first(shop.db, shop.data)
    with answering(shop, browser) as address:
        page = browser.new_context(viewport={"width": 320, "height": 568}).new_page()
        page.goto(f"{address}/login?key={key}")
        page.wait_for_url(f"{address}/")
        for path in ("/", f"/scenes/{made.id}", "/people"):
            page.goto(f"{address}{path}")
            if path == "/people":
                page.locator(".person details summary").last.click()
            assert page.evaluate(CUT) == [], f"{path}: wider than the screen"


def test_whoever_goes_back_after_a_log_out_sees_nothing(browser: Any, tmp_path: Path) -> None:
    shop = cases.shop(tmp_path)
    made = cases.scene(shop, "Kitchen", "ready")
    key = people.key_of_first(shop.db, shop.data)
    with answering(shop, browser) as address:
        page = browser.new_page()
        page.goto(f"{address}/login?key={key}")
        page.wait_for_url(f"{address}/")
        page.goto(f"{address}/scenes/{made.id}")
        page.locator("header details.menu summary").click()
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(f"{address}/login")
        page.go_back()
        page.wait_for_url("**/login**")
        assert "Kitchen" not in page.content()

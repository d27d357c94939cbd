"""The whole way, as people go it: from photos on a phone to a scene that someone else looks at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.browsers import chromium, wait
from support.serve_viewing_cases import expected, seen

from nerfscene.serve.scenes import Places, places

ROOT = Path(__file__).parents[2]
PHOTOS = 16
STEPS = 400  # enough to leave no fog, which is slow to render
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
CLEAR = (slice(90, 168), slice(2, 198))  # between a notice about software WebGL and the panel
SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 20_000}
PATIENCE = 600.0  # seconds for each step, on a busy machine


@contextmanager
def served(data: Path, printed: Path) -> Iterator[str]:
    """A server as it is started in a terminal; gives the link that it prints."""
    command = [sys.executable, "-m", "nerfscene", "serve", str(data), "--port", "0", "--threads", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with (
        printed.open("w") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env=environment) as server,
    ):
        try:
            yield until_printed(server, printed)
        finally:
            server.terminate()
            server.wait(PATIENCE)


def until_printed(server: subprocess.Popen[bytes], printed: Path) -> str:
    """The link, once it stands there."""
    while server.poll() is None:
        found = re.search(r"http\S+key=\S+\n", printed.read_text())
        if found:
            return found[0].strip()
        time.sleep(0.1)
    raise AssertionError(printed.read_text())


def small_photos(folder: Path) -> list[Path]:
    """Some of the demo's photos, small, so that their cameras are found soon."""
    folder.mkdir()
    made = []
    for file in sorted((ROOT / "data" / "demo" / "images").glob("*.jpg"))[:PHOTOS]:
        with Image.open(file) as photo:
            exif = photo.getexif()
            photo.thumbnail((320, 320))
            made.append(folder / file.name)
            photo.save(made[-1], quality=85, exif=exif)
    return made


def upload(page: Any, files: list[Path], cut: Any) -> str:
    """Chooses files on the page; the connection breaks on the way. cut: called in the middle.

    Returns the scene's id.
    """
    page.get_by_role("link", name="New scene").first.tap()
    page.get_by_label("Title").fill("Still life")
    page.locator("#files").set_input_files(files)
    bar, ready = page.locator("#sum-bar"), page.locator("#whole")
    wait(page, lambda: bar.evaluate("bar => bar.value") > 0.2, PATIENCE, "for a start")
    assert bar.evaluate("bar => bar.value") < 1
    cut(True)
    told = page.locator("#connection")
    wait(page, lambda: "connection is gone" in told.inner_text(), PATIENCE, "for the cut to be told")
    cut(False)
    here = str(PHOTOS)
    wait(page, lambda: ready.count() and ready.get_attribute("data-count") == here, PATIENCE, "for photos")
    assert "scene.txt" in page.locator("#upload").inner_text()
    return str(page.url.rsplit("/", 1)[1])


def train(page: Any, scene: str) -> None:
    """Trains for fewer steps than the page offers, and watches it there."""
    token = page.locator("meta[name=token]").get_attribute("content")
    headers = {"X-Token": token}
    begun = page.request.post(f"/api/scenes/{scene}/train", data={"steps": STEPS}, headers=headers)
    assert begun.status == 202, begun.text()
    page.goto(f"/scenes/{scene}")
    stage, first = page.locator("#stage"), page.locator(".hero img[src*='now.jpg']")
    wait(page, lambda: stage.get_attribute("data-state") != "waiting", PATIENCE, "for its turn")
    wait(page, lambda: first.count() or over(stage), PATIENCE, "for the first picture")
    assert first.count() and not over(stage), stage.inner_text()
    wait(page, lambda: over(stage), PATIENCE, "for the scene")
    assert stage.get_attribute("data-state") == "ready", stage.inner_text()


def over(stage: Any) -> bool:
    return stage.get_attribute("data-state") in ("ready", "failed", "stopped")


def step_in(page: Any, at: Places) -> None:
    """The viewer, in the same tab and under the same address, shows the scene as it is rendered here."""
    right = expected(at.scene, PHONE, CLEAR)
    assert right.std() > 0.05
    page.get_by_role("link", name="Step in").first.tap()
    page.wait_for_selector("[role=tab]", timeout=PATIENCE * 1000)
    wait(page, lambda: np.abs(seen(page, CLEAR) - right).mean() < 0.03, PATIENCE, "for the scene")
    assert page.get_by_role("tablist").bounding_box()["y"] > PHONE["height"] / 2  # most of it is free


def make_a_film(page: Any, at: Places) -> None:
    """With the form of the page, but shorter and smaller than it offers."""
    for name, least in (("seconds", "1"), ("width", "160")):
        chosen = page.locator(f"#films select[name={name}]")
        chosen.evaluate("(select, value) => { select.selectedOptions[0].value = value; }", least)
    page.get_by_role("button", name="Make a film").tap()
    film = page.locator("#films video")
    wait(page, film.count, PATIENCE, "for the film")
    address = film.get_attribute("src")
    assert page.request.get(address).body() == next(at.films.glob("*.mp4")).read_bytes()


def look(context: Any, link: str) -> None:
    """What someone sees who has the link, and no login."""
    page = context.new_page()
    assert page.goto(link).status == 200
    assert page.get_by_role("heading", level=1).inner_text() == "Still life"
    poster = page.locator("#scene img")
    wait(page, lambda: poster.evaluate("img => img.naturalWidth") > 0, PATIENCE, "for the poster")
    assert page.locator("video").count() == 1
    # What is inside is tested where pages to send are; drawing it here would take half a minute.
    assert page.get_by_role("link", name="Step in").is_visible()
    inside = context.request.get(f"{link}/page/")
    assert inside.status == 200 and "nerfscene" in inside.text()
    page.close()


@pytest.mark.skipif("NERFSCENE_JOURNEY" not in os.environ, reason="takes minutes: make journey runs it")
def test_from_photos_on_a_phone_to_a_scene_that_is_shared(tmp_path: Path) -> None:
    (tmp_path / "scene.txt").write_text("no photo")
    data = tmp_path / "data"
    with chromium() as browser, served(data, tmp_path / "printed.txt") as link:
        home = link.partition("/login")[0]
        phone = browser.new_context(viewport=PHONE, is_mobile=True, has_touch=True, base_url=home)
        phone.set_default_timeout(PATIENCE * 1000)
        page = phone.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: r.url.startswith((home, "blob:", "data:")) or wrong.append(r.url))
        page.goto(link)
        page.wait_for_url(f"{home}/")
        net = phone.new_cdp_session(page)
        net.send("Network.emulateNetworkConditions", SLOW)

        def cut(gone: bool) -> None:
            state = {"offline": gone, "uploadThroughput": -1}
            net.send("Network.emulateNetworkConditions", {**SLOW, **state})

        scene = upload(page, [*small_photos(tmp_path / "photos"), tmp_path / "scene.txt"], cut)
        at = places(data, scene)
        assert len(list(at.photos.iterdir())) == PHOTOS
        train(page, scene)
        step_in(page, at)
        page.goto(f"/scenes/{scene}")  # which also ends the viewer's WebGL
        make_a_film(page, at)
        page.get_by_role("button", name="Make a link").tap()
        shared = page.locator("#link-1")
        wait(page, shared.count, PATIENCE, "for the link")
        address = shared.input_value()
        stranger = browser.new_context(viewport=DESKTOP)
        look(stranger, address)
        for private in (f"/scenes/{scene}", f"/scenes/{scene}/view/", f"/scenes/{scene}/poster.jpg"):
            assert "/login" in stranger.request.get(f"{home}{private}").url
        page.get_by_role("button", name="Take back").tap()
        wait(page, lambda: not shared.count(), PATIENCE, "for the link to go")
        assert stranger.request.get(address).status == 410
        assert wrong == []

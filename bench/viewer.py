"""How the viewer answers: ``python -m bench.viewer SCENE``, in a real headless Chromium on this machine.

The browser draws in software here and takes its share of the cores; on a user's machine it has a GPU.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from typing import Any

from nerfscene.viewer.server import Viewer, view
from nerfscene.viewer.session import Session

FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic")
SIZE = (640, 480)


def opened(browser: Any, viewer: Viewer) -> tuple[Any, Session, float]:
    """A tab, its session, and the seconds from opening it to its first picture (coarse or not)."""
    before = set(viewer.sessions)
    page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, device_scale_factor=0.5)
    began = time.perf_counter()
    page.goto(viewer.url)
    while not set(viewer.sessions) - before:
        page.wait_for_timeout(5)
    session = viewer.sessions[(set(viewer.sessions) - before).pop()]
    while session.pictures == 0:
        page.wait_for_timeout(5)
    return page, session, time.perf_counter() - began


def rest(page: Any, session: Session) -> float:
    """Seconds that a whole picture at rest takes."""
    done = session.finished
    session.refresh()
    while session.finished == done:
        page.wait_for_timeout(5)
    return session.seconds_at_rest


def moving(page: Any, session: Session, seconds: float = 5.0) -> float:
    """Rendered frames a second while the camera is dragged."""
    session.set_look(splats=False)
    page.mouse.move(150, 300)
    page.mouse.down()
    end = time.perf_counter() + 1.0
    i = 0
    counting, began = 0, 0.0
    while time.perf_counter() < end:
        page.mouse.move(150 + i % 150, 300 + i % 40)
        page.wait_for_timeout(10)
        i += 1
        if not began and time.perf_counter() > end - 0.5:
            began, counting = time.perf_counter(), session.moving_frames
            end = began + seconds
    rate = (session.moving_frames - counting) / (time.perf_counter() - began)
    page.mouse.up()
    return rate


def main(scene: str) -> None:
    """Prints the figures."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with view(scene) as viewer, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=list(FLAGS))
        first = []
        for _ in range(3):
            page, session, seconds = opened(browser, viewer)
            first.append(seconds)
            page.close()
        page, session, seconds = opened(browser, viewer)
        whole = statistics.median(rest(page, session) for _ in range(5))
        rate = moving(page, session)
        print(f"window {SIZE[0]}×{SIZE[1]}: first picture {statistics.median(first):.2f} s after opening; "
              f"whole picture at rest {whole:.2f} s; {rate:.1f} rendered frames/s while moving")  # fmt: skip
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])

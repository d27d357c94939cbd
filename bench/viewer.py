"""The viewer's response times, in a headless Chromium on this machine: ``python -m bench.viewer SCENE``.

The browser renders in software on the same cores, so the results are worse than with a browser that has a
GPU.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np

from bench.page import chromium
from nerfscene.viewer.server import Viewer, view
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import shot_of

SIZE = (640, 480)


def opened(browser: Any, viewer: Viewer) -> tuple[Any, Session, float]:
    """Opens a tab; returns it, its session, and the seconds until its first picture, which may be coarse."""
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
    """Seconds for a complete picture when the camera rests."""
    done = session.finished
    session.refresh()
    while session.finished == done:
        page.wait_for_timeout(5)
    return session.seconds_at_rest


def moving(page: Any, session: Session, seconds: float = 5.0) -> float:
    """Rendered frames a second while the camera moves 60 times a second.

    The moves are made here, because a browser that renders in software sends only a few.
    """
    session.set_look(splats=False)
    home = shot_of(session.client.camera)
    counting = began = 0.0
    end = time.perf_counter() + 1.0 + seconds
    while time.perf_counter() < end:
        pose = home.world_from_cam.copy()
        pose[:3, 3] += 0.05 * np.sin(3 * time.perf_counter()) * pose[:3, 0]
        session.move(replace(home, world_from_cam=pose))
        page.wait_for_timeout(1000 / 60)
        if not began and time.perf_counter() > end - seconds:
            began, counting = time.perf_counter(), session.moving_frames
    return (session.moving_frames - counting) / (time.perf_counter() - began)


def main(scene: str) -> None:
    """Opens the scene and prints the figures."""
    from playwright.sync_api import sync_playwright

    with view(scene) as viewer, sync_playwright() as p:
        browser = chromium(p)
        first = []
        for _ in range(3):
            page, session, seconds = opened(browser, viewer)
            first.append(seconds)
            page.close()
        page, session, seconds = opened(browser, viewer)
        whole = statistics.median(rest(page, session) for _ in range(5))
        rate = moving(page, session)
        width, height = session.pace.moving_size(*SIZE, 15)
        print(f"window {SIZE[0]}×{SIZE[1]}: first picture {statistics.median(first):.2f} s after opening")
        print(f"whole picture at rest {whole:.2f} s")
        print(f"{rate:.1f} rendered frames/s of {width}×{height} while moving")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])

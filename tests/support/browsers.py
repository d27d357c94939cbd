"""A real browser for tests: Chromium, headless, drawing by software, and pages served to it."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 300.0  # seconds: on a busy machine a page that is drawn by software takes long for anything
# What playwright turns off itself, as the last such list is the one that holds, and the menus below the
# address bar: Chromium draws them for every window, which takes a second.
FEATURES_OFF = (
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable",
    "MediaRouter",
    "PaintHolding",
    "ThirdPartyStoragePartitioning",
    "OptimizationHints",
    "NetworkTimeServiceQuerying",
    "PreconnectToSearch",
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
)
FLAGS = [
    "--no-sandbox",
    "--disable-features=" + ",".join(FEATURES_OFF),
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-rasterization",  # else software WebGL rasterizes pages too, only slower
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Chromium, driven by playwright. Skips the test if one of them is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((p for p in map(shutil.which, names) if p), None)
    if found is None:
        pytest.skip("no Chromium here: on Debian and Ubuntu, `apt install chromium`")
    with playwright.sync_playwright() as p:
        running = p.chromium.launch(executable_path=found, headless=True, args=FLAGS)
        new_context = running.new_context

        def patient(**options: Any) -> Any:
            made = new_context(**options)
            made.set_default_timeout(1000 * PATIENCE)
            return made

        running.new_context, running.new_page = patient, lambda **options: patient(**options).new_page()
        yield running
        running.close()


def wait(page: Any, condition: Callable[[], Any], seconds: float = PATIENCE, what: str = "") -> Any:
    """Waits until a condition holds, and returns its value; the page goes on meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        page.wait_for_timeout(50)
    raise AssertionError(f"waited {seconds} s in vain {what}")


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a static host that serves a folder."""
    handler = functools.partial(_Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()

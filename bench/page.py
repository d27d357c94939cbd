"""Pages to send: size, seconds and likeness, in a headless Chromium here: ``python -m bench.page SCENE``.

The browser renders in software on the same cores, so the results are worse than with a browser that has a
GPU.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nerfscene.config import PageConfig
from nerfscene.exporters.page import page_of, write_page
from nerfscene.exporters.page_cameras import opening, picture, staged
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import render
from nerfscene.scene import folder as scenes

FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic")
DEVICES: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
BARE = "header, #bar { visibility: hidden }"


def measured(browser: Any, address: str, device: dict[str, Any]) -> tuple[float, float, Any]:
    """Seconds until the poster shows and until the scene does, and the picture of the scene."""
    page = browser.new_context(**device).new_page()
    page.set_default_timeout(300_000)
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_function("[...document.images].some((i) => i.complete && i.naturalWidth)", polling=20)
    poster = time.perf_counter() - began
    page.wait_for_function("document.documentElement.dataset.ready", polling=20)
    first = time.perf_counter() - began
    page.wait_for_timeout(2000)
    shot = Image.open(io.BytesIO(page.screenshot(style=BARE)))
    page.context.close()
    return poster, first, shot.convert("RGB")


def chromium(playwright: Any) -> Any:
    """A headless Chromium of this machine, which draws in software."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return playwright.chromium.launch(executable_path=found, headless=True, args=list(FLAGS))


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1])
    scene = scenes.load(folder)
    stage = staged(scene)
    renderer = stage.scene.renderer()
    first_view = opening(stage, renderer)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as p:
        file = Path(work) / "page.html"
        began = time.perf_counter()
        written = write_page(scene, file, page_of(folder, PageConfig()), Told())
        seconds = time.perf_counter() - began
        print(f"{written['splats']:,} splats, {written['bytes'] / 1e6:.1f} MB, made in {seconds:.0f} s")
        browser = chromium(p)
        for name, device in DEVICES.items():
            poster, first, shot = measured(browser, file.as_uri(), device)
            ours = render(renderer, picture(first_view, *shot.size)).rgb
            error = float(((np.asarray(shot, np.float32) / 255 - ours) ** 2).mean())
            print(
                f"{name}: poster after {poster:.1f} s, scene after {first:.1f} s, "
                f"{-10 * np.log10(error):.1f} dB beside our own picture"
            )
        browser.close()


if __name__ == "__main__":
    main()

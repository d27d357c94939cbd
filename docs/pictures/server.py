"""Makes the pictures of ``nerfscene serve``: ``python docs/pictures/server.py`` (Chromium, playwright).

It starts a server, and does what someone with a phone does: uploads the demo's photos, waits, and looks. What
it sees on the way becomes docs/server-phone.jpg, and the scene's page on a desktop docs/server.jpg. It takes
as long as the training, a few minutes.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parents[1]
PHOTOS = sorted((DOCS.parent / "data" / "demo" / "images").glob("*.jpg"))
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True,
    "bypass_csp": True,  # wait_for_function evaluates text, which the pages forbid
}  # fmt: skip
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1.5}
LONGEST = 30 * 60 * 1000  # ms that the training may take
GAP, ROUND, QUALITY = 48, 56, 88


@contextmanager
def served(folder: str) -> Iterator[str]:
    """A server, and the link that logs in."""
    # Not on loopback alone, of which the page would warn whoever makes links.
    command = [sys.executable, "-m", "nerfscene", "serve", folder, "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield next(m[0] for m in (re.search(r"http://127\S+", line) for line in server.stdout) if m)
        finally:
            server.terminate()


def seen(page: Page) -> Image.Image:
    page.wait_for_timeout(800)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def on_the_phone(page: Page, link: str) -> list[Image.Image]:
    """The upload, the training, and the scene; the page stays there."""
    page.goto(link)
    page.get_by_role("link", name="New scene").first.tap()
    page.get_by_label("Title").fill("Still life")
    page.locator("#files").set_input_files(PHOTOS)
    page.wait_for_function("document.getElementById('whole')?.dataset.count > 20", timeout=120_000)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    pictures = [seen(page)]
    page.wait_for_function(
        f"document.getElementById('whole')?.dataset.count == {len(PHOTOS)}", timeout=300_000
    )
    page.get_by_role("button", name="Make the scene").tap()
    page.wait_for_selector("img[src*='now.jpg']", timeout=LONGEST)
    page.wait_for_timeout(20_000)
    pictures.append(seen(page))
    page.wait_for_selector("#stage[data-state=ready]", timeout=LONGEST)
    page.goto(page.url)
    return [*pictures, seen(page)]


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """On a ground of their own, with the round corners of a phone."""
    width, height = pictures[0].size
    sheet = Image.new("RGB", (len(pictures) * (width + GAP) + GAP, height + 2 * GAP), (222, 217, 206))
    corners = Image.new("L", (width, height), 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, width - 1, height - 1), ROUND, fill=255)
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (GAP + i * (width + GAP), GAP), corners)
    return sheet.resize((sheet.width // 2, sheet.height // 2), Image.Resampling.LANCZOS)


def main() -> None:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory() as folder,
        served(folder) as link,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=found, args=["--no-sandbox"]) as browser,
    ):
        phone = browser.new_page(**PHONE)
        side_by_side(on_the_phone(phone, link)).save(DOCS / "server-phone.jpg", quality=QUALITY)
        scene = phone.url
        desktop = browser.new_page(**DESKTOP, color_scheme="dark")
        desktop.goto(link)
        desktop.goto(scene)
        seen(desktop).save(DOCS / "server.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()

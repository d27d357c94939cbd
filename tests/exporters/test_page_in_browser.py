"""Pages to send in a real browser: Chromium, headless, at the sizes of a desk and of a phone."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import chromium, served, wait
from numpy.typing import NDArray
from PIL import Image
from splat_cases import psnr, some_splats

from nerfscene.config import PageConfig
from nerfscene.exporters import page as pages
from nerfscene.exporters.page import write_page
from nerfscene.exporters.page_cameras import Place, picture, staged
from nerfscene.exporters.splat_choice import fitted_splats
from nerfscene.exporters.splat_making import seen_scene
from nerfscene.exporters.splat_targets import pinhole_in_scene
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import render
from nerfscene.films.light import encoded, linear
from nerfscene.ops.splatting import Rasteriser
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.splatting.fitting import gaussians_of

LIKE = 0.1  # mean difference of pictures of one view: the scene is foggy, and few splats show it
DESK: dict[str, Any] = {"viewport": {"width": 480, "height": 300}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 320, "height": 568},
    "device_scale_factor": 0.75,
    "is_mobile": True,
    "has_touch": True,
}
READY = "document.documentElement.dataset.ready === 'yes'"
PLACE = "(() => { const m = frame.contentWindow.__viserMutable; return [...m.camera.position]; })()"
# viser's worker has put the splats in order, at least once.
SORTED = """(() => {
    let version = 0;
    frame.contentWindow.__viserMutable.scene.traverse((o) => {
        const index = o.geometry && o.geometry.attributes.sortedIndex;
        if (index) version = index.version;
    });
    return version > 1;
})()"""
TITLE = 'A <b>room</b> & "more"'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def scene(trained: Path) -> Scene:
    return scenes.load(trained)


@pytest.fixture(scope="module")
def made(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a page, ``page``, and the same as one file, ``page.html``."""
    root = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        world = staged(scene).scene
        splats = pages._splats(seen_scene(world, world.renderer(), 8000, Told()), 8000, Told())
        patch.setattr(pages, "seen_scene", lambda *a: None)
        patch.setattr(pages, "_splats", lambda *a: splats)
        patch.setattr(pages, "SIZES", ((320, 200), (120, 240)))
        for name in ("page", "page.html"):
            write_page(scene, root / name, PageConfig(title=TITLE, date="May 2026"), Told())
    return root


class Opened:
    """A page that was opened: ``page`` is playwright's; what it asked for, and what went wrong in it."""

    def __init__(self, browser: Any, address: str, device: dict[str, Any], **more: Any) -> None:
        self.context = browser.new_context(**device, **more)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.on("console", lambda m: self.wrong.append(m.text))
        self.address = address

    def __enter__(self) -> Opened:
        self.page.goto(self.address, wait_until="commit")
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def ready(self) -> Opened:
        wait(self.page, lambda: self.page.evaluate(READY), what="for the first picture")
        wait(self.page, lambda: self.page.locator("#poster").is_hidden(), what="for the poster to go")
        return self

    def place(self) -> NDArray[np.float64]:
        return np.array(self.page.evaluate(PLACE), np.float64)

    def moved(self, before: NDArray[np.float64]) -> bool:
        return bool(np.abs(self.place() - before).max() > 0.05)

    def seen(self) -> NDArray[np.float32]:
        """The scene as it is drawn, without what lies over it."""
        hide = "header, #bar, #pad { visibility: hidden }"
        shot = self.page.screenshot(style=hide)
        pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), np.float32)
        return np.divide(pixels, 255, dtype=np.float32)


def rendered(scene: Scene, numbers: list[float], size: tuple[int, int]) -> NDArray[np.float32]:
    """Our own picture of a page's place, for a screen of this size."""
    n = np.asarray(numbers)
    camera = picture(Place(n[:3], n[3:6], n[6:9], *map(float, n[9:])), *size)
    rgb: NDArray[np.float32] = render(staged(scene).scene.renderer(), camera).rgb
    return rgb


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The mean difference of two pictures, looked at from afar: of blocks of 8 by 8 pixels."""
    h, w = one.shape[0] // 8 * 8, one.shape[1] // 8 * 8

    def coarse(a: NDArray[np.float32]) -> NDArray[np.float32]:
        blocks: NDArray[np.float32] = a[:h, :w].reshape(h // 8, 8, w // 8, 8, 3).mean((1, 3))
        return blocks

    return float(np.abs(coarse(one) - coarse(other)).mean())


@pytest.mark.long
def test_a_page_on_a_static_host_shows_the_scene_as_we_do(browser: Any, made: Path, scene: Scene) -> None:
    with served(made) as host:
        opened = Opened(browser, host + "page/", DESK)
        held: list[Any] = []
        opened.page.route("**/scene-00.js", lambda route: held.append(route))
        with opened:  # before the scene has come, its poster stands there
            wait(opened.page, lambda: held and opened.page.locator("#poster img").is_visible())
            held[0].continue_()
            check_the_page(opened.ready(), host, scene)


def check_the_page(opened: Opened, host: str, scene: Scene) -> None:
    data = json.loads(opened.page.locator("#data").text_content())
    expected = rendered(scene, data["open"], (480, 300))
    wait(opened.page, lambda: difference(opened.seen(), expected) < LIKE, what="for splats in order")
    seen = opened.seen()
    assert difference(seen[:, ::-1], expected) > 1.5 * difference(seen, expected)  # and not another view
    # In the middle of its camera path it shows what the film does.
    opened.page.evaluate("time.value = 500; time.oninput()")
    row = len(data["path"]["frames"]) // 22 * 11
    expected = rendered(scene, data["path"]["frames"][row : row + 11], (480, 300))
    wait(opened.page, lambda: difference(opened.seen(), expected) < LIKE, what="for the path's picture")
    assert opened.page.title() == TITLE
    assert opened.page.locator("h1").inner_text() == TITLE
    check_the_light(opened)
    # Keys and the mouse move the camera; the longer test of a desk tries all of its controls.
    first = opened.place()
    opened.page.keyboard.down("KeyD")
    wait(opened.page, lambda: opened.moved(first), what="for a step aside")
    opened.page.keyboard.up("KeyD")
    first = opened.place()
    opened.page.mouse.move(240, 120)
    opened.page.mouse.down()
    opened.page.mouse.move(300, 130, steps=4)
    opened.page.mouse.up()
    wait(opened.page, lambda: opened.moved(first), what="for a turn")
    away = [u for u in opened.asked if not u.startswith((host, "data:", "blob:"))]
    assert not away and not opened.wrong


def check_the_light(opened: Opened) -> None:
    """The light is halved, by the page's control."""
    page = opened.page
    page.locator("#light").click()
    before = opened.seen()
    page.locator("#stops").fill("-1")
    half = encoded(linear(before) / 2)
    wait(page, lambda: difference(opened.seen(), half) < 0.01, what="for half the light")
    assert difference(before, half) > 0.05 and page.locator("#said").inner_text() == "−1"


@pytest.mark.long
def test_a_desk_looks_around_by_mouse_and_keys(browser: Any, made: Path) -> None:
    with Opened(browser, (made / "page.html").as_uri(), DESK) as opened:
        page = opened.ready().page
        first = opened.place()
        page.mouse.move(240, 120)
        page.mouse.down()
        page.mouse.move(300, 130, steps=4)
        page.mouse.up()
        wait(page, lambda: opened.moved(first), what="for a turn")
        far = np.linalg.norm(opened.place())
        page.mouse.wheel(0, -400)
        wait(page, lambda: np.linalg.norm(opened.place()) < far - 0.05, what="to come closer")
        page.locator("#home").click()
        wait(page, lambda: not opened.moved(first), what="for the first view")
        page.keyboard.down("KeyD")
        wait(page, lambda: opened.moved(first), what="for a step aside")
        page.keyboard.up("KeyD")
        page.locator("#home").click()
        wait(page, lambda: not opened.moved(first), what="for the first view")
        play = page.locator("#play")
        play.click()
        assert play.get_attribute("aria-label") == "Pause the camera path"
        wait(page, lambda: opened.moved(first) and page.evaluate("+time.value") > 0, what="for the path")
        page.mouse.move(240, 120)
        page.mouse.down()
        page.mouse.up()
        wait(page, lambda: play.get_attribute("aria-pressed") == "false", what="for the path to stop")
        before = opened.seen()
        check_the_light(opened)
        page.locator("#stops").dblclick()
        wait(page, lambda: difference(opened.seen(), before) < 0.01, what="for the light as it was")
        page.locator("#about").click()
        assert "24 photographs" in page.locator("#help").inner_text()
        assert not opened.wrong


@pytest.mark.long
def test_one_file_from_a_disk_is_a_page_for_a_phone(browser: Any, made: Path, scene: Scene) -> None:
    with Opened(browser, (made / "page.html").as_uri(), PHONE) as opened:
        page = opened.ready().page
        data = json.loads(page.locator("#data").text_content())
        # Browsers start no module worker from a disk: without sorting, what is behind would shine through.
        wait(page, lambda: page.evaluate(SORTED), what="for sorting")
        expected = rendered(scene, data["open"], (240, 426))
        wait(page, lambda: difference(opened.seen(), expected) < LIKE, what="for splats in order")
        for name in ("bar", "play", "about"):
            box = page.locator(f"#{name}").bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= 320
            assert box["y"] + box["height"] <= 568
        first = opened.place()
        touch = opened.context.new_cdp_session(page)
        for i, kind in enumerate(["touchStart", *["touchMove"] * 4, "touchEnd"]):
            points = [] if kind == "touchEnd" else [{"x": 90 + 12 * i, "y": 200}]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        wait(page, lambda: opened.moved(first), what="for a turn")
        page.locator("#home").tap()
        wait(page, lambda: np.linalg.norm(opened.place() - first) < 0.04, what="for the first view")
        page.locator("#walk").tap()
        assert page.locator("#pad").is_visible()
        target = np.array(data["open"][3:6])
        before = np.linalg.norm(first - opened.place())
        page.locator("[data-walk=ahead]").dispatch_event("keydown", {"key": "Enter"})
        wait(page, lambda: opened.moved(first), what="for a step ahead")
        page.locator("[data-walk=ahead]").dispatch_event("keyup", {"key": "Enter"})
        assert before < 0.05 and np.isfinite(target).all()
        assert {u.split(":")[0] for u in opened.asked} <= {"file", "data", "blob"}
        assert sum(u.startswith("file:") for u in opened.asked) == 1
        assert not opened.wrong


def test_a_page_whose_files_are_missing_says_so(browser: Any, made: Path) -> None:
    def gone(route: Any) -> None:
        route.fulfill(status=404)

    with served(made) as host:
        opened = Opened(browser, host + "page/", DESK)
        opened.page.route("**/scene-00.js", gone)
        with opened:
            note = opened.page.locator("#note")
            wait(opened.page, note.is_visible, what="for a sentence")
            assert "data/scene-00.js could not be loaded" in note.inner_text()
            assert opened.page.locator("#poster img").is_visible()


def test_without_webgl_the_page_says_so_and_shows_its_picture(browser: Any, made: Path) -> None:
    opened = Opened(browser, (made / "page.html").as_uri(), PHONE)
    opened.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    with opened:
        note = opened.page.locator("#note")
        wait(opened.page, note.is_visible, what="for a sentence")
        assert "WebGL 2 is missing" in note.inner_text()
        assert opened.page.locator("#poster img").is_visible()
        assert not opened.page.locator("#bar").is_visible()
        assert not opened.page.locator("#progress").is_visible() and not opened.wrong


def test_without_javascript_the_page_shows_its_picture(browser: Any, made: Path) -> None:
    with served(made) as host, Opened(browser, host + "page/", DESK, java_script_enabled=False) as opened:
        image = opened.page.locator("#poster img")
        wait(opened.page, image.is_visible, what="for the picture")
        assert TITLE in (image.get_attribute("alt") or "")
        assert opened.page.locator("noscript p").is_visible()
        assert not opened.page.locator("#bar").is_visible()


def test_fitted_splats_look_as_they_were_fitted(browser: Any, scene: Scene, tmp_path: Path) -> None:
    """In colours that depend on where they are seen from, and small ones as heavy as they are."""
    given = some_splats(1, 500)
    scales = given.scales.copy()
    scales[1:250] *= 0.15  # smaller than a pixel: viser alone draws them too heavy, or not at all
    fitted = replace(scene, splats=replace(given, scales=scales))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "SIZES", ((320, 200), (120, 240)))
        write_page(fitted, tmp_path / "page.html", PageConfig(), Told())
    world = staged(fitted).scene
    shown = fitted_splats(world)
    assert shown is not None

    def drawn(numbers: list[float]) -> NDArray[np.float32]:
        n = np.asarray(numbers)
        camera = picture(Place(n[:3], n[3:6], n[6:9], *map(float, n[9:])), 480, 300)
        pinhole = pinhole_in_scene(camera, np.eye(4))
        rgb = Rasteriser(threads=1).colours(gaussians_of(shown), pinhole, world.background)
        return np.clip(rgb, 0, 1).astype(np.float32)

    with Opened(browser, (tmp_path / "page.html").as_uri(), DESK) as opened:
        data = json.loads(opened.ready().page.locator("#data").text_content())
        rows = np.reshape(data["path"]["frames"], (-1, 11))
        for at in (0, len(rows) // 2):
            opened.page.evaluate(f"time.value = {1000 * at / (len(rows) - 1)}; time.oninput()")
            exact = opened.page.evaluate("+time.value") / 1000 * (len(rows) - 1)
            low = min(int(exact), len(rows) - 2)
            expected = drawn(list(rows[low] + (exact - low) * (rows[low + 1] - rows[low])))
            wait(
                opened.page,
                lambda expected=expected: psnr(opened.seen(), expected) > 33,
                what="for the fitted looks",
            )
        assert not opened.wrong

#!/bin/sh
# viser 1.1.1: while a handle of a multi-slider is dragged, what Python sets the other handles to is undone.
#
# Met with: viser 1.1.1, playwright 1.65.2, Chromium 156 (headless, software WebGL), Python 3.11, Linux x86-64.
# Valid input: gui.add_multi_slider with three handles. The page drags the first; meanwhile Python sets
# slider.value with another second handle, as a program does that lets one handle push the next.
# Seen: the page shows what Python set until the mouse moves on. Then it sends all handles as they were when the
# mouse went down, but for the dragged one, and slider.value has the old second handle again: the drag goes on with
# the values of its beginning. Without a drag, setting the value works. A finger can't drag a handle at all: only
# mouse events are listened to, so on a touch screen nothing is sent.
# Needs: Chromium on the PATH.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check viser==1.1.1 playwright==1.65.2
cat >look.py <<'P'
import shutil
import sys
import time

import viser
from playwright.sync_api import sync_playwright

server = viser.ViserServer(host="127.0.0.1", port=8797, verbose=False)
slider = server.gui.add_multi_slider("Times", 0.0, 10.0, 0.1, (2.0, 5.0, 9.0))
browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def until(condition):
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert condition()


with sync_playwright() as p, p.chromium.launch(executable_path=browser, args=flags) as running:
    page = running.new_page(viewport={"width": 600, "height": 400}, has_touch=True)
    page.set_default_timeout(120_000)
    page.goto("http://127.0.0.1:8797")
    handle = page.locator(".multi-slider-thumb").first
    handle.wait_for()
    page.wait_for_timeout(3000)  # until the panel has its place
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    # A finger.
    session = page.context.new_cdp_session(page)
    for kind, points in (("touchStart", [(x, y)]), ("touchMove", [(x + 20, y)]), ("touchEnd", [])):
        touched = [{"x": a, "y": b} for a, b in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
        page.wait_for_timeout(300)
    by_finger = slider.value
    # The mouse, and Python meanwhile.
    page.mouse.move(x, y)
    page.mouse.down()
    page.wait_for_timeout(1000)
    page.mouse.move(x + 5, y)
    until(lambda: slider.value[0] > 2)
    slider.value = (slider.value[0], 7.0, 9.0)
    page.wait_for_timeout(1500)
    set_by_python, before = slider.value[1], slider.value[0]
    page.mouse.move(x + 10, y)
    until(lambda: slider.value[0] > before)
    dragged_on = slider.value[1]
    page.mouse.up()
    slider.value = (1.0, 7.0, 9.0)
    page.wait_for_timeout(1000)
    print(f"viser {viser.__version__}: by finger {by_finger}; second handle {set_by_python}, then {dragged_on}")
still = by_finger == (2.0, 5.0, 9.0) and set_by_python == 7.0 and dragged_on == 5.0 and slider.value[1] == 7.0
server.stop()
sys.exit(0 if still else 1)
P
v/bin/python look.py

#!/bin/sh
# A page that viser exports (scene.as_html) draws its Gaussian splats unsorted when it is opened from a disk.
#
# Met with: viser 1.1.1, playwright 1.65.2, Chromium 156 (headless, software WebGL), Python 3.11, Linux x86-64.
# Valid input: two opaque splats on one line from the camera, the nearer one first. as_html writes one file, and
# its documentation says that it can be saved and opened anywhere.
# Seen: over http the nearer splat covers the farther one. From file:// the farther one covers the nearer one, at
# rest and after moving: the worker that sorts is a module in a blob, and Chromium starts none for a page whose
# origin is opaque, as that of a file is. Neither the page nor its console says so. (The same module in a data:
# address starts.)
# Needs: Chromium on the PATH.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
import functools
import http.server
import io
import sys
import threading
from pathlib import Path

import numpy as np
import viser
from PIL import Image
from playwright.sync_api import sync_playwright

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
server = viser.ViserServer(host="127.0.0.1", port=18431, verbose=False)
server.initial_camera.position, server.initial_camera.look_at = (3.0, 3.0, 3.0), (0.0, 0.0, 0.0)
server.scene.add_gaussian_splats(
    "/splats",
    np.array([[0.5, 0.5, 0.5], [-0.5, -0.5, -0.5]], np.float32),
    np.tile(0.05 * np.eye(3, dtype=np.float32), (2, 1, 1)),
    np.array([[0, 0, 1], [1, 0, 0]], np.float32),  # blue before red
    np.full((2, 1), 1.0, np.float32),
)
Path("page.html").write_text(server.scene.as_html())
server.stop()

handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=".")
host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
threading.Thread(target=host.serve_forever, daemon=True).start()
seen = {}
with sync_playwright() as p:
    chromium = p.chromium.launch(executable_path=sys.argv[1], headless=True, args=FLAGS)
    for way, address in (
        ("http", f"http://127.0.0.1:{host.server_port}/page.html"),
        ("file", Path("page.html").absolute().as_uri()),
    ):
        page = chromium.new_page(viewport={"width": 800, "height": 600})
        page.goto(address)
        page.wait_for_function(
            "window.__viserTestpoints && window.__viserTestpoints.rendererInfo.render.triangles > 3"
        )
        page.wait_for_timeout(5000)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        seen[way] = picture.getpixel((400, 300))
        page.close()
    chromium.close()
print("colour in the middle:", seen)
nearer = {way: "blue" if colour[2] > colour[0] else "red" for way, colour in seen.items()}
sys.exit(nearer != {"http": "blue", "file": "red"})
P
python3 -m venv venv
venv/bin/pip install -q viser==1.1.1 playwright==1.65.2 pillow
venv/bin/python look.py "$browser"

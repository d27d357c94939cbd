"""How programs that others wrote draw a scene's splats: ``python -m bench.outside_splats SCENE FOLDER``.

FOLDER gets the programs from npm, the file, and for each of them a strip of pictures: the photo, ours and
theirs. Prints PSNR of all to the photo, and of theirs to ours, for two held-out photos without their lens's
distortion. Headless Chromium draws in software. Needs npm, Chromium and the network.
"""

from __future__ import annotations

import functools
import http.server
import io
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.page import chromium
from nerfscene.capture.photos import read_pixels
from nerfscene.config import ExportConfig
from nerfscene.exporters.placement import placed
from nerfscene.exporters.splat_targets import pinhole_in_scene
from nerfscene.exporters.splats import write_splats
from nerfscene.exporters.told import Told
from nerfscene.exporters.undistorted import pinhole_of, resampled
from nerfscene.formats.transforms import OPENGL_FROM_OPENCV
from nerfscene.measuring.metrics import psnr
from nerfscene.ops.splatting import Rasteriser
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.splatting.fitting import gaussians_of
from nerfscene.splatting.gaussians import in_space, picked
from nerfscene.types import Camera, Intrinsics, View

PACKAGES = (
    *("@sparkjsdev/spark@2.2.0", "three@0.180.0", "playcanvas@2.23.3"),
    *("babylonjs@9.28.0", "babylonjs-loaders@9.28.0"),
)
FRAMES = 12  # drawn before the picture is taken: by then all have sorted
HEAD = (
    "<!doctype html><style>body{margin:0;overflow:hidden}canvas{display:block}</style><canvas id=c></canvas>"
)
START = """const ask = window.ASK, canvas = document.getElementById("c"); let drawn = 0;
canvas.width = ask.width; canvas.height = ask.height;"""

PAGES = {
    "Spark": """<script type="importmap">{"imports": {"three": "./node_modules/three/build/three.module.js",
"three/addons/": "./node_modules/three/examples/jsm/"}}</script>
<script type="module">
import * as THREE from "three";
import { SparkRenderer, SplatMesh } from "./node_modules/@sparkjsdev/spark/dist/spark.module.js";
START
const renderer = new THREE.WebGLRenderer({canvas}), scene = new THREE.Scene();
renderer.setSize(ask.width, ask.height, false);
scene.background = new THREE.Color().setRGB(...ask.background, THREE.SRGBColorSpace);
const camera = new THREE.PerspectiveCamera(ask.angle, ask.width / ask.height, 0.01, 1000);
new THREE.Matrix4().fromArray(ask.pose).decompose(camera.position, camera.quaternion, new THREE.Vector3());
scene.add(new SparkRenderer({renderer}));
const splats = new SplatMesh({url: ask.file});
scene.add(splats);
await splats.initialized;
renderer.setAnimationLoop(() => { renderer.render(scene, camera); window.READY = ++drawn >= ask.frames; });
</script>""",
    "PlayCanvas": """<script type="module">
import * as pc from "./node_modules/playcanvas/build/playcanvas.mjs";
START
const app = new pc.Application(canvas, {graphicsDeviceOptions: {antialias: false}});
app.setCanvasFillMode(pc.FILLMODE_NONE, ask.width, ask.height);
app.setCanvasResolution(pc.RESOLUTION_FIXED, ask.width, ask.height);
app.start();
app.scene.gsplat.antiAlias = true;
const asset = new pc.Asset("splats", "gsplat", {url: ask.file}), pose = new pc.Mat4();
pose.set(ask.pose);
asset.ready(() => {
  const splats = new pc.Entity(), camera = new pc.Entity();
  splats.addComponent("gsplat", {asset});
  camera.addComponent("camera", {fov: ask.angle, nearClip: 0.01, farClip: 1000, toneMapping: pc.TONEMAP_NONE,
    gammaCorrection: pc.GAMMA_SRGB, clearColor: new pc.Color(...ask.background)});
  camera.setPosition(pose.getTranslation());
  camera.setRotation(new pc.Quat().setFromMat4(pose));
  for (const entity of [splats, camera]) app.root.addChild(entity);
  app.on("frameend", () => { window.READY = ++drawn >= ask.frames; });
});
app.assets.add(asset);
app.assets.load(asset);
</script>""",
    # It turns files over by a mirroring along y, meant for its left-handed scenes.
    "Babylon": """<script src="./node_modules/babylonjs/babylon.js"></script>
<script src="./node_modules/babylonjs-loaders/babylonjs.loaders.min.js"></script>
<script type="module">
START
const engine = new BABYLON.Engine(canvas, false), scene = new BABYLON.Scene(engine);
scene.useRightHandedSystem = true;
scene.clearColor = new BABYLON.Color4(...ask.background, 1);
const camera = new BABYLON.FreeCamera("camera", BABYLON.Vector3.Zero(), scene);
Object.assign(camera, {fov: ask.angle * Math.PI / 180, minZ: 0.01, maxZ: 1000,
  rotationQuaternion: new BABYLON.Quaternion()});
BABYLON.Matrix.FromArray(ask.pose).decompose(undefined, camera.rotationQuaternion, camera.position);
BABYLON.GaussianSplattingMaterial.Compensation = true;
const splats = new BABYLON.GaussianSplattingMesh("splats", null, scene);
await splats.loadFileAsync(ask.file);
splats.scaling.set(1, 1, 1);
engine.runRenderLoop(() => { scene.render(); window.READY = ++drawn >= ask.frames; });
</script>""",
}


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves without a line for each request."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def plain_lens(view: View) -> Intrinsics:
    """A lens for its photo that all programs know: its axis in the middle, one focal length."""
    k = pinhole_of(view.intrinsics, view.path)
    return Intrinsics(k.width, k.height, k.fy, k.fy, k.width / 2, k.height / 2)


def ask_of(scene: Scene, lens: Intrinsics, view: View, file: str) -> dict[str, Any]:
    """What a page needs to draw one view: sizes in pixels, the vertical angle in degrees, pose by columns."""
    return {
        "file": file,
        "frames": FRAMES,
        "width": lens.width,
        "height": lens.height,
        "angle": float(np.degrees(2 * np.arctan(lens.height / 2 / lens.fy))),
        "pose": (view.world_from_cam @ OPENGL_FROM_OPENCV).T.ravel().tolist(),
        "background": [float(c) for c in scene.background],
    }


def picture_of(browser: Any, address: str, ask: dict[str, Any]) -> NDArray[np.float32]:
    """What the page at this address draws, (h, w, 3), 0 to 1."""
    page = browser.new_page(viewport={"width": ask["width"], "height": ask["height"]})
    page.set_default_timeout(300_000)
    page.on("pageerror", lambda error: print(f"  {error}", file=sys.stderr))
    page.add_init_script(f"window.ASK = {json.dumps(ask)}")
    page.goto(address)
    page.wait_for_function("window.READY")
    page.wait_for_timeout(1000)
    taken = Image.open(io.BytesIO(page.locator("#c").screenshot()))
    page.close()
    return np.asarray(taken.convert("RGB"), np.float32) / np.float32(255)


def main() -> None:
    """Installs the programs, and prints how each draws two held-out views."""
    from playwright.sync_api import sync_playwright

    scene = placed(scenes.load(Path(sys.argv[1])), "capture")
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["npm", "install", "--prefix", ".", "--silent", "--no-audit", *PACKAGES], cwd=folder, check=True
    )
    file = folder / "splats.ply"
    write_splats(scene, file, ExportConfig(world="capture"), Told())
    for name, page in PAGES.items():
        (folder / f"{name}.html").write_text(HEAD + page.replace("START", START))
    serve = functools.partial(Files, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert scene.splats is not None
    gaussians = gaussians_of(picked(scene.splats, in_space(scene.splats.positions)))
    rasteriser = Rasteriser()
    held = [v for v in scene.views if v.split != "train"]
    with sync_playwright() as p:
        browser = chromium(p)
        for view in held[len(held) // 3 :: max(len(held) // 2, 1)][:2]:
            lens, k = plain_lens(view), view.intrinsics
            taken = read_pixels(view.path, k.width, k.height)[..., :3]
            photo: NDArray[np.float32] = resampled(taken, k, lens).astype(np.float32) / np.float32(255)
            pinhole = pinhole_in_scene(Camera(lens, view.world_from_cam), scene.scene_from_world)
            ours = np.clip(rasteriser.colours(gaussians, pinhole, scene.background), 0, 1)
            print(f"{view.path.name}, ours: {psnr(ours, photo):.1f} dB to the photo", flush=True)
            strip: list[NDArray[np.float32]] = [photo, ours]
            for name in PAGES:
                address = f"http://127.0.0.1:{server.server_port}/{name}.html"
                theirs = picture_of(browser, address, ask_of(scene, lens, view, file.name))
                strip.append(theirs)
                to_photo, to_ours = psnr(theirs, photo), psnr(theirs, ours)
                print(f"{view.path.name}, {name}: {to_photo:.1f} dB, {to_ours:.1f} dB to ours", flush=True)
            whole = (np.clip(np.concatenate(strip, 1), 0, 1) * 255).round().astype(np.uint8)
            Image.fromarray(whole).save(folder / f"{view.path.stem}.png")
        browser.close()


if __name__ == "__main__":
    main()

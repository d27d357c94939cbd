"""A splat file drawn by viser's page in a real browser, beside our own drawing of it."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from splat_cases import by_gsply, cameras, psnr, some_splats
from splat_pictures import covariances, picture

from nerfscene.cameras.algebra import vertical_fov
from nerfscene.exporters.splats import writer_for
from nerfscene.splatting.gaussians import C0, moved

FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--no-first-run",
]
WAIT = 180.0  # seconds


@pytest.mark.long
def test_viser_draws_what_we_do(tmp_path: Path) -> None:
    viser = pytest.importorskip("viser")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    if found is None:
        pytest.skip("no Chromium here: on Debian and Ubuntu, `apt install chromium`")
    splats = some_splats(0, n=400)
    turn, write = writer_for(Path("a.ply"))
    write(moved(splats, turn), tmp_path / "a.ply")
    back = by_gsply(tmp_path / "a.ply")
    camera = cameras()[0]
    pose = turn @ camera.world_from_cam
    server = viser.ViserServer(host="127.0.0.1", port=18190, verbose=False)
    try:
        server.scene.add_gaussian_splats(
            "/splats",
            centers=back.positions,
            covariances=covariances(back).astype(np.float32),
            rgbs=np.clip(0.5 + C0 * back.sh[:, 0], 0, 1),
            opacities=back.opacities[:, None],
        )
        server.scene.set_background_image(np.zeros((2, 2, 3), np.uint8))
        with playwright.sync_playwright() as p:
            browser = p.chromium.launch(executable_path=found, headless=True, args=FLAGS)
            page = browser.new_page(viewport={"width": 400, "height": 300})
            page.set_default_timeout(1000 * WAIT)
            page.goto(f"http://127.0.0.1:{server.get_port()}")
            best = _best_likeness(server, page, replace(camera, world_from_cam=pose), splats, camera)
            browser.close()
    finally:
        server.stop()
    assert best > 28


def _best_likeness(server: Any, page: Any, there: Any, splats: Any, here: Any) -> float:
    """How like ours viser's picture becomes, dB: it sorts splats some time after a camera has moved."""
    from viser.transforms import SO3

    k, pose = there.intrinsics, there.world_from_cam
    expected, best, end = picture(splats, here), -np.inf, time.monotonic() + WAIT
    while best < 28 and time.monotonic() < end:
        page.wait_for_timeout(500)
        for client in server.get_clients().values():
            shot: list[Any] = []

            def take(client: Any = client, shot: list[Any] = shot) -> None:
                turn = SO3.from_matrix(pose[:3, :3]).wxyz
                client.camera.wxyz, client.camera.position = turn, pose[:3, 3]
                client.camera.fov = vertical_fov(k)
                place = {"wxyz": turn, "position": pose[:3, 3], "fov": vertical_fov(k)}
                shot.append(client.get_render(k.height, k.width, **place))

            thread = threading.Thread(target=take, daemon=True)
            thread.start()
            while thread.is_alive() and time.monotonic() < end:
                page.wait_for_timeout(100)
            if shot:
                best = max(best, psnr(shot[0][..., :3] / 255, expected))
    return float(best)

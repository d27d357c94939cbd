"""What large frames take: memory by strips, and encoders in which few frames wait."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nerfscene.config import RenderConfig
from nerfscene.films import codecs, passes, shutter, taking, through_lens, video
from nerfscene.films.lens import Lens
from nerfscene.films.paths import CameraPath
from nerfscene.films.shutter import Shutter
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene
from nerfscene.types import Camera, Frame, Intrinsics

WIDTH, HEIGHT = 96, 4096  # so many rows that a strip of them is little
PIXELS = WIDTH * HEIGHT


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scene.load(trained)


def peak(make: Callable[[], object]) -> float:
    """The most bytes a pixel of arrays that there are at once, beyond those before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = make()
        most = tracemalloc.get_traced_memory()[1] - before
        del made
    finally:
        tracemalloc.stop()
    return most / PIXELS


def cheap(renderer: Any, camera: Camera, samples: int = 1) -> Frame:
    """A picture that costs nothing: 20 bytes a pixel, as those rendered have."""
    shape = camera.intrinsics.height, camera.intrinsics.width
    return Frame(*(np.full(s, 0.5, np.float32) for s in ((*shape, 3), shape, shape)))


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({}, 30),  # the picture rendered, 20, as bytes, 3, and its depth, 4
        ({"background": "transparent", "exposure": 1.0}, 31),
        ({"motion_blur": 180.0}, 42),  # also the sum so far, 16
        pytest.param({"aperture": 2.8, "background": "transparent"}, 43, marks=pytest.mark.long),
        pytest.param(  # also the passes, 20, and rays, 12
            {"motion_blur": 180.0, "passes": "depth,normal,accumulation"}, 72, marks=pytest.mark.long
        ),
    ],
)
def test_a_frame_takes_little_more_than_its_picture(
    loaded: Scene, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], most: float
) -> None:
    for module in (taking, through_lens):
        monkeypatch.setattr(module, "render", cheap)
    monkeypatch.setattr(shutter, "_seen", lambda *_: np.array([[0.0, 0, 1], [0.1, 0, 30]] * 9))
    k = Intrinsics(WIDTH, HEIGHT, 3000.0, 3000.0, WIDTH / 2, HEIGHT / 2)
    cameras = tuple(Camera(k, view.world_from_cam) for view in loaded.views[:3])
    lens = Lens(0.05, 1.0, 2.0) if "aperture" in settings else None
    taker = Shutter(CameraPath(cameras), settings.get("motion_blur", 0.0) / 360, lens)
    config = replace(RenderConfig(samples=1), **settings)
    stops = settings.get("exposure", 0.0)
    taking._frame(taker, config, loaded.renderer(), 1, 1, stops)  # modules are loaded
    assert peak(lambda: taking._frame(taker, config, loaded.renderer(), 1, 1, stops)) < most


def test_writing_takes_little_more_than_the_file(tmp_path: Path) -> None:
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    normal = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    normal[..., 2] = -1
    assert peak(lambda: video.color_depth(depth, 1.0, 3.0)) < 12
    assert peak(lambda: video.write_depth(depth, tmp_path / "depth-00000.png", 1e-4)) < 12
    assert peak(lambda: passes.write_pass(normal, tmp_path / "normal-00000.png", 1.0)) < 20


SCRIPT = """
import resource, sys
import numpy as np
from nerfscene.films import codecs, encoding
codec, file = codecs.known(sys.argv[1]), sys.argv[2]
frame = np.zeros((2160, 3840, 3), np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
encoding.encode((frame for _ in range(36)), file, "mp4", codec, 30.0, (3840, 2160))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the most memory is counted in other units")
@pytest.mark.long
def test_4k_in_av1_takes_little_memory(tmp_path: Path) -> None:
    if not codecs.has(codecs.known("av1")):
        pytest.skip("this PyAV has no encoder for AV1")
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, "av1", str(tmp_path / "film.mp4")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(said.stdout) < 800, "MiB; 1700 with frames that are made of later ones too"

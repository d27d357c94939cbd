"""One renderer that several threads use at once, as the viewer's tabs do."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nerfscene.cameras.algebra import scaled
from nerfscene.field.rendering import Renderer, render
from nerfscene.scene import folder as scenes
from nerfscene.types import Camera, Frame

THREADS, ROUNDS = 6, 12


@pytest.fixture(scope="module")
def renderer(trained: Path) -> Renderer:
    return scenes.load(trained).renderer()


@pytest.fixture(scope="module")
def cameras(trained: Path) -> list[Camera]:
    """Small pictures and large ones, so that some begin while others are being rendered."""
    views = scenes.load(trained).views[:THREADS]
    sizes = [(160, 120), (24, 18)]
    return [
        Camera(scaled(view.intrinsics, *sizes[i % len(sizes)]), view.world_from_cam)
        for i, view in enumerate(views)
    ]


def largest_difference(renderer: Renderer, cameras: Sequence[Camera], truth: Sequence[Frame]) -> float:
    """Renders all cameras in a thread each, over and over; how far any pixel was from the truth."""

    def off(i: int) -> float:
        worst = 0.0
        for _ in range(ROUNDS):
            frame = render(renderer, cameras[i])
            worst = max(worst, float(np.abs(frame.rgb - truth[i].rgb).max()))
        return worst

    with ThreadPoolExecutor(len(cameras)) as pool:
        return max(pool.map(off, range(len(cameras))))


def test_threads_get_the_pictures_that_one_alone_gets(renderer: Renderer, cameras: list[Camera]) -> None:
    truth = [render(renderer, camera) for camera in cameras]
    assert largest_difference(renderer, cameras, truth) == 0

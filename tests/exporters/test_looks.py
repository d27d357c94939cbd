"""The cameras that look at a scene for exports, and the planes found in their pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nerfscene.exporters.looks import _planes, looking_cameras, pixel_grid
from nerfscene.field import rendering
from nerfscene.field.rendering import render, render_heard
from nerfscene.scene import folder as scenes
from nerfscene.types import Intrinsics, View

NORMAL = Intrinsics(640, 480, 500, 500, 320, 240, distortion=(0.1, 0, 0, 0, 0))


def test_pictures_are_no_larger_than_photos_and_share_the_pixels() -> None:
    views = [View(Path(f"{i}.png"), NORMAL, np.eye(4)) for i in range(10)]
    small = looking_cameras(views, 500_000)
    assert sum(c.intrinsics.width * c.intrinsics.height for c in small) == pytest.approx(500_000, rel=0.05)
    assert all(c.intrinsics.distortion == (0, 0, 0, 0, 0) for c in small)
    assert looking_cameras(views, 10**9)[0].intrinsics.width == 640
    assert looking_cameras(views, 100)[0].intrinsics.width == 96


def test_a_fisheye_lens_is_seen_by_five_cameras() -> None:
    wide = Intrinsics(800, 800, 250, 250, 400, 400, lens="fisheye")
    turns = [c.world_from_cam[:3, :3] for c in looking_cameras([View(Path("a"), wide, np.eye(4))], 10**9)]
    assert len(turns) == 5
    for turn in turns:
        assert np.allclose(turn @ turn.T, np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1)
    ahead = np.array([turn[:, 2] for turn in turns])
    assert np.allclose(ahead[0], [0, 0, 1])
    assert np.allclose(ahead[1:, 2], 0.5)  # 60° aside, each to a side of its own
    assert sorted(tuple(np.sign(np.round(a[:2], 6))) for a in ahead[1:]) == [(-1, 0), (0, -1), (0, 1), (1, 0)]


def test_planes_are_exact_and_know_their_edges() -> None:
    """A slanted plane before a wall."""
    k = Intrinsics(60, 40, 50, 50, 30, 20)
    x, y = np.broadcast_arrays(*pixel_grid(k))
    normal = np.array([0.5, -0.3, -0.81])
    normal /= np.linalg.norm(normal)
    plane = (normal @ [0, 0, 2.0]) / (normal[0] * x + normal[1] * y + normal[2])
    z = np.where(np.arange(60)[None, :] < 35, plane, 9.0)
    smooth, normals, support = _planes(z, k)
    inside = (slice(3, -3), slice(3, 31))
    assert np.allclose(smooth[inside], z[inside], rtol=2e-3)
    assert (normals[inside] @ normal).min() > 0.999
    assert support[inside].min() > 0.7
    assert support[20, 34] < 0.65
    assert np.allclose(normals[20, 50], [0, 0, -1], atol=1e-3)


def test_a_picture_is_heard_of_while_it_is_rendered(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "RAYS_A_SIGN", (320, 320))
    scene = scenes.load(trained)
    renderer, camera = scene.renderer(threads=1), looking_cameras(scene.views[:1], 10**6)[0]
    heard: list[float] = []
    frame, whole = render_heard(renderer, camera, heard.append), render(renderer, camera)
    assert heard == sorted(heard) and heard[0] == 0 and heard[-1] == 1 and len(heard) > 5
    for name in ("rgb", "depth", "accumulation"):
        assert np.array_equal(getattr(frame, name), getattr(whole, name))

    def stop(done: float) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_heard(renderer, camera, stop)

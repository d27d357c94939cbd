"""Depths of few photos, from what their neighbours show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from nerfscene.films.paths import look_at
from nerfscene.ops import torch_backend
from nerfscene.training import dataset, stereo
from nerfscene.training.depths import CELL, known_depths
from nerfscene.training.schedule import options_at, suit_few_photos
from nerfscene.types import Array, Intrinsics, View

WIDTH, HEIGHT, FOCAL = 96, 72, 90.0
UP = np.array([0.0, 1.0, 0.0])
WALL = 4.0  # how far behind the cameras' row the wall z = 0 stands


def everywhere(points: Array) -> NDArray[np.bool_]:
    return np.ones(len(points), bool)


def distances(view: View) -> tuple[Array, Array]:
    """The distances (h, w) of the wall along a view's rays, and where they meet it, (h, w, 3)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    local = np.stack([(x - WIDTH / 2) / FOCAL, (y - HEIGHT / 2) / FOCAL, np.ones_like(x)], 2)
    rays = local @ view.world_from_cam[:3, :3].T
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    centre = view.world_from_cam[:3, 3]
    away = -centre[2] / rays[..., 2]
    return away, centre + rays * away[..., None]


def wall() -> tuple[list[View], NDArray[np.uint8], Array]:
    """Three photos of a speckled wall whose right quarter is blank, their pixels, and points on it."""
    rng = np.random.default_rng(3)
    speckles = gaussian_filter(rng.normal(size=(400, 400)), 2.0)
    speckles = 128 + 90 * speckles / np.abs(speckles).max()
    points = np.concatenate([rng.uniform(-1, 0.5, (60, 2)), np.zeros((60, 1))], 1)
    views, pixels = [], []
    k = Intrinsics(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, "perspective", (0.0,) * 5)
    for i, x in enumerate((-0.6, 0.0, 0.6)):
        pose = look_at(np.array([x, 0.1 * i, WALL]), np.zeros(3), UP)
        view = View(Path(f"{i}.jpg"), k, pose, seen=np.arange(60))
        at = distances(view)[1]
        shown = map_coordinates(
            speckles, [200 + 70 * at[..., 1], 200 + 70 * at[..., 0]], order=1, mode="wrap"
        )
        grey = np.where(at[..., 0] > 1, 60.0, shown)
        # Exposures differ, and don't matter.
        pixels.append(np.repeat((grey * (0.7 + 0.1 * i)).astype(np.uint8).reshape(-1, 1), 3, 1))
        views.append(view)
    return views, np.concatenate(pixels), points


def test_photos_agree_how_far_a_textured_wall_is() -> None:
    views, pixels, points = wall()
    found = stereo.agreed_depths(views, pixels, points, everywhere)
    for view, cells in zip(views, found, strict=True):
        away, at = (a[CELL // 2 :: CELL, CELL // 2 :: CELL] for a in distances(view))
        textured, blank = np.abs(at[..., 0]) < 0.8, at[..., 0] > 1.15
        assert cells.shape == away.shape
        assert (cells[textured] > 0).mean() > 0.8
        assert not cells[blank].any()
        known = cells > 0
        error = np.abs(np.log(cells[known] / away[known]))
        assert np.median(error) < 0.005 and np.quantile(error, 0.95) < 0.02


def test_what_cannot_be_known_is_not_said() -> None:
    views, pixels, points = wall()
    nowhere = stereo.agreed_depths(views, pixels, points, lambda p: np.zeros(len(p), bool))
    assert not any(cells.any() for cells in nowhere)
    alone = stereo.agreed_depths(views[:1], pixels[: WIDTH * HEIGHT], points, everywhere)
    assert not alone[0].any()
    # From one place, nothing shows how far away things are.
    together = [replace(v, world_from_cam=views[0].world_from_cam) for v in views]
    assert not any(cells.any() for cells in stereo.agreed_depths(together, pixels, points, everywhere))
    blind = [replace(v, seen=np.zeros(0, np.int64)) for v in views]
    assert not any(cells.any() for cells in stereo.agreed_depths(blind, pixels, points, everywhere))


def test_captures_of_many_photos_are_trained_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [dataset.few_photos(n) for n in (2, 24, 40, 400)] == [1, 1, 0, 0]
    assert dataset.few_photos(30) > dataset.few_photos(36) > 0
    for unbounded in (True, False):
        as_ever, suited = (options_at(0.3, unbounded, torch_backend) for _ in range(2))
        suit_few_photos(suited, 0.0, 0.0)
        assert suited == as_ever
        suit_few_photos(suited, 1.0, 0.5)
        assert suited.pull_growth > 0 and suited.depth_pull < as_ever.depth_pull
    views, pixels, points = wall()
    monkeypatch.setattr(dataset, "agreed_depths", lambda *_: pytest.fail("not asked for"))
    extent: dataset.Extent = None  # type: ignore[assignment]  # not looked at
    assert dataset.few_photos_depths(views * 14, pixels, points, extent) == (None, 0.0)
    assert dataset.few_photos_depths(views, pixels, points[:0], extent) == (None, 0.0)


def test_points_count_before_what_photos_agree_on() -> None:
    views, _, points = wall()
    placement = dataset.Placement(np.diag([2.0, 2.0, 2.0, 1.0]), True, 0.1)
    alone = known_depths(views, points, placement)
    more = [np.full((HEIGHT // CELL, WIDTH // CELL), 7.0)] * 3
    both = known_depths(views, points, placement, more)
    assert alone is not None and both is not None
    np.testing.assert_array_equal(both[alone > 0], alone[alone > 0])
    assert (alone == 0).any() and (both[alone == 0] == 14.0).all()

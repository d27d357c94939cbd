"""Films of panoramas: ahead along the way, and all round on the spot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nerfscene.cameras.cube import FACES
from nerfscene.films.orbit import subject_of
from nerfscene.films.panoramas import ahead, all_panoramas, all_round
from nerfscene.films.presets import preset, suited
from nerfscene.types import Array, Intrinsics, View

LENS = Intrinsics(80, 80, 40.0, 40.0, 40.0, 40.0)
UP = np.array([0.0, 0.0, 1.0])
LEVEL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # the world's axes from a level camera's


def taken(places: Array, turns: Array) -> list[View]:
    """The views of panoramas at places (n, 3), each turned by radians (n,) about the vertical."""
    views = []
    for i, (place, turn) in enumerate(zip(places, turns, strict=True)):
        c, s = np.cos(turn), np.sin(turn)
        whole = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ LEVEL
        for face, panorama_from_face in FACES.items():
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = whole @ panorama_from_face, place
            path = Path(f"/p/{i:02d}-{face}.jpg")
            views.append(View(path, LENS, pose, panorama=Path(f"/p/{i:02d}.jpg"), face=face))
    return views


@pytest.fixture
def walk() -> list[View]:
    """Twelve panoramas along an S, the camera turned anyhow."""
    t = np.linspace(0, 1, 12)
    places = np.stack([6 * t, np.sin(2 * np.pi * t), 1.5 + 0 * t], axis=1)
    return taken(places, np.random.default_rng(0).uniform(0, 7, 12))


def test_the_walk_looks_ahead_and_stays_level(walk: list[View]) -> None:
    assert all_panoramas(walk) and suited(walk) == "walkthrough"
    poses = np.stack([camera.world_from_cam for camera in preset("walkthrough", walk, 60, 160, 90).cameras])
    steps = np.diff(poses[:, :3, 3], axis=0)
    cosine = (steps * poses[:-1, :3, 2]).sum(1) / np.linalg.norm(steps, axis=1)
    assert np.median(cosine) > 0.95 and cosine.min() > 0.7
    assert np.abs(poses[:, 2, 2]).max() < 0.05 and (poses[:, 2, 1] < -0.99).all()
    assert np.ptp(poses[:, 0, 3]) > 5 and np.abs(poses[:, 2, 3] - 1.5).max() < 0.05


def test_the_orbit_turns_where_a_panorama_was_taken(walk: list[View]) -> None:
    poses = np.stack([camera.world_from_cam for camera in preset("orbit", walk, 24, 160, 90).cameras])
    assert np.ptp(poses[:, :3, 3], axis=0).max() < 1e-6
    assert min(np.linalg.norm(poses[0, :3, 3] - v.world_from_cam[:3, 3]) for v in walk) < 1e-6
    angles = np.sort(np.arctan2(poses[:, 1, 2], poses[:, 0, 2]))
    assert np.diff(angles).max() < 0.3 and np.abs(poses[:, 2, 2]).max() < 0.05
    assert not subject_of(walk).inward


def test_names_that_jump_about_are_put_in_order(walk: list[View]) -> None:
    order = np.random.default_rng(1).permutation(12)
    shuffled = [replace(v, panorama=Path(f"/p/{order[i // 6]:02d}.jpg")) for i, v in enumerate(walk)]
    centres = np.stack([v.world_from_cam[:3, 3] for v in ahead(shuffled, UP)])
    assert len(centres) == 12 and np.linalg.norm(np.diff(centres, axis=0), axis=1).max() < 1.2


def test_a_panorama_taken_with_the_camera_on_its_side_is_filmed_level() -> None:
    (first, *_) = taken(np.array([[0.0, 0, 1]]), np.zeros(1))
    lying = replace(first, world_from_cam=np.eye(4))  # its front looks straight up
    for view in (*ahead([lying], UP), *all_round([lying], UP)):
        rotation = view.world_from_cam[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3)) and np.linalg.det(rotation) == pytest.approx(1)
        assert np.allclose(rotation[:, 1], -UP)


def test_other_photos_among_them_are_filmed_as_before(walk: list[View]) -> None:
    photo = View(Path("/p/a.jpg"), LENS, walk[0].world_from_cam)
    assert not all_panoramas([*walk, photo]) and not all_panoramas([])

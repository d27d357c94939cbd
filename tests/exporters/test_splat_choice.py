"""Fitted splats with fewer harmonics: from the photos' cameras they look as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nerfscene.exporters.splat_choice import fewer_harmonics
from nerfscene.splatting.gaussians import Splats, basis

RNG = np.random.default_rng(3)
COUNT = 200
POSITIONS = RNG.uniform(-0.5, 0.5, (COUNT, 3)).astype(np.float32)


def splats(terms: int = 4, strength: float = 0.3) -> Splats:
    """Grey splats whose colours depend on the view."""
    sh = RNG.normal(0, strength, (COUNT, terms, 3)).astype(np.float32)
    turns = np.tile(np.float32([1, 0, 0, 0]), (COUNT, 1))
    return Splats(POSITIONS, turns, np.full((COUNT, 3), 0.01, np.float32), np.ones(COUNT, np.float32), sh)


def cameras(spread: float, count: int = 9) -> np.ndarray:
    """Cameras side by side before the splats, at z = -4, looking along +z."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3], poses[:, 2, 3] = np.linspace(-spread, spread, count), -4
    return poses


def colours(made: Splats, place: np.ndarray) -> np.ndarray:
    toward = made.positions - place
    toward = toward / np.linalg.norm(toward, axis=1, keepdims=True)
    return np.einsum("nk,nkc->nc", basis(toward, made.degree), made.sh)


def off(one: Splats, other: Splats, poses: np.ndarray) -> float:
    return max(float(np.abs(colours(one, p[:3, 3]) - colours(other, p[:3, 3])).mean()) for p in poses)


def test_one_colour_is_what_the_photos_saw_and_not_the_mean_over_all_directions() -> None:
    made, poses = splats(), cameras(0.3)
    plain = fewer_harmonics(made, 0, poses)
    cut = replace(made, sh=made.sh[:, :1])
    assert plain.degree == 0 and plain.sh.shape == (COUNT, 1, 3)
    assert off(plain, made, poses) < 0.2 * off(cut, made, poses)


def test_from_a_single_camera_nothing_changes() -> None:
    made, poses = splats(terms=9), cameras(0.0, 1)
    assert off(fewer_harmonics(made, 0, poses), made, poses) < 1e-3


def test_of_two_degrees_the_lower_one_follows_the_cameras() -> None:
    made, poses = splats(terms=16), cameras(2.0)
    first, none = fewer_harmonics(made, 1, poses), fewer_harmonics(made, 0, poses)
    assert first.sh.shape == (COUNT, 4, 3)
    assert off(first, made, poses) < off(none, made, poses)


def test_splats_behind_all_cameras_keep_their_colours() -> None:
    made, poses = splats(), cameras(0.3)
    poses[:, :3, :3] = np.diag([1.0, -1.0, -1.0])
    behind = fewer_harmonics(made, 0, poses)
    assert np.allclose(behind.sh, made.sh[:, :1], atol=1e-5)

"""The world of exports: upright, in the middle, or as the cameras came."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from path_file_cases import scene_of

from nerfscene.cameras.algebra import similarity_scale, up_direction
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.placement import placed
from nerfscene.exporters.told import needed
from nerfscene.films.export_world import Y_UP_FROM_Z_UP
from nerfscene.scene.scene import Scene
from nerfscene.scene.world import in_world
from nerfscene.types import Array


def moved(scale: float, degrees: float = 40.0) -> Array:
    """A similarity (4, 4): turned about x, scaled, shifted."""
    turn, m = np.radians(degrees), np.eye(4)
    m[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    m[:3, :3] *= scale
    m[:3, 3] = (5, -7, 3)
    return m


def middle(scene: Scene) -> Array:
    """The subject's middle (3,), in the scene's world."""
    return np.linalg.inv(scene.scene_from_world)[:3, 3]


@pytest.mark.parametrize("source", ["photos", "polycam"])
def test_a_world_that_nobody_set_is_made_upright_about_its_subject(tmp_path: Path, source: str) -> None:
    scene = in_world(scene_of(tmp_path, source=source), moved(3.0))
    scene = replace(scene, world_from_capture=None)
    made = placed(scene)
    assert np.allclose(middle(made), 0, atol=1e-9)
    assert up_direction(made.views) == pytest.approx([0, 0, 1], abs=1e-6)
    side = 2 / similarity_scale(made.scene_from_world)
    assert side == pytest.approx(2.0 if source == "photos" else 2 / similarity_scale(scene.scene_from_world))


def test_an_absurd_scale_is_made_usual_whatever_it_means(tmp_path: Path) -> None:
    scene = replace(in_world(scene_of(tmp_path, source="polycam"), moved(1e5)), world_from_capture=None)
    assert 2 / similarity_scale(placed(scene).scene_from_world) == pytest.approx(2.0)


def test_a_world_that_was_set_stays_and_the_capture_can_be_had_back(tmp_path: Path) -> None:
    capture = scene_of(tmp_path)
    scene = in_world(capture, moved(2.0))
    assert placed(scene) is scene
    back = placed(scene, "capture")
    for one, other in zip(back.views, capture.views, strict=True):
        assert np.allclose(one.world_from_cam, other.world_from_cam)
    assert placed(capture, "capture") is capture


def test_y_is_up_where_a_format_wants_it() -> None:
    assert np.allclose(Y_UP_FROM_Z_UP @ [0, 0, 1, 1], [0, 1, 0, 1])
    assert np.linalg.det(Y_UP_FROM_Z_UP) == pytest.approx(1.0)


def test_a_missing_package_says_what_to_install() -> None:
    with pytest.raises(
        NerfsceneError, match=r"painting needs the package nosuchthing: pip install 'nerfscene\[export\]'"
    ):
        needed("nosuchthing.part", "export", "painting")

"""The folder World: up, origin and scale by clicked points, saved and undone; needs no browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from viewer_cases import Client, wait
from viser import _messages

from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.exporters.viser_server import free_port
from nerfscene.scene import folder as scenes
from nerfscene.scene.world import in_world
from nerfscene.types import Array
from nerfscene.viewer import splats
from nerfscene.viewer.server import view
from nerfscene.viewer.stage import pose_of
from nerfscene.viewer.world_panel import FLOOR, SCALE

ACROSS = ((0.0, 0.0), (0.25, 0.05), (0.05, 0.25))  # where the clicks lie beside the middle of the picture


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a scene, which a test may change."""
    monkeypatch.setattr(splats, "LONGEST", 8)
    monkeypatch.setattr(splats, "VIEWS", 2)
    return Path(shutil.copytree(trained, tmp_path / "scene"))


def ray_of(pose: Array, x: float, y: float) -> tuple[Array, Array]:
    """The ray, origin and direction (3,), of a click beside the middle of a camera's picture."""
    towards = pose[:3, :3] @ np.array([x, y, 1.0])
    return pose[:3, 3], towards / np.linalg.norm(towards)


def test_up_origin_and_scale_come_from_clicked_points(folder: Path) -> None:
    with view(folder, port=free_port(), threads=1) as viewer, Client(viewer) as client:
        panel, stage, before = client.panels.world, viewer.stage, scenes.load(folder)
        first_world, home = stage.world.world_from_page, stage.world.home
        rays = [ray_of(home, *at) for at in ACROSS]
        points = []
        client.set(panel.buttons[FLOOR], True)
        client.after(lambda: panel.picking == FLOOR)
        for origin, towards in rays:
            met = client.session.pick(origin, towards)
            assert met is not None
            points.append([*met, 1.0])
            count = len(panel._picked)
            client.send(
                _messages.ScenePointerMessage("click", tuple(origin), tuple(towards), ((0.5, 0.5),), None)
            )
            client.after(lambda n=count: panel.picking is None or len(panel._picked) > n)
        client.after(lambda: len(panel._before) == 1)
        placed = np.array(points) @ stage.world.world_from_page.T
        assert np.allclose(placed[0], [0, 0, 0, 1], atol=1e-6), "the first point is the origin"
        assert np.allclose(placed[:, 2], 0, atol=1e-6), "all of them lie on the floor"
        camera = stage.world.world_from_page @ pose_of(client.session.client.camera)
        assert camera[2, 3] > 0, "whoever looks stands above it"
        saved = scenes.load(folder)
        assert saved.up is not None and np.allclose(saved.up, [0, 0, 1], atol=1e-6)
        # A scale: the first two points, said to be 5 apart.
        client.set(panel.distance, 5.0)
        client.after(lambda: panel.distance.value == 5.0)
        panel.ask(SCALE)
        for ray in rays[:2]:
            panel.picked(*ray)
        placed = np.array(points[:2]) @ stage.world.world_from_page.T
        assert np.linalg.norm(placed[1] - placed[0]) == pytest.approx(5.0, rel=1e-3)
        new_from_old = stage.world.world_from_page @ np.linalg.inv(first_world)
        moved = pose_in_scene(new_from_old, before.views[5].world_from_cam)
        assert np.allclose(scenes.load(folder).views[5].world_from_cam, moved, atol=1e-5)
        panel.undo()
        panel.undo()
        assert np.allclose(stage.world.world_from_page, first_world)
        back = scenes.load(folder)
        assert np.allclose(back.views[5].world_from_cam, before.views[5].world_from_cam, atol=1e-6)


def test_a_scene_of_any_size_opens_at_the_usual_size(trained: Path) -> None:
    """So that keys walk at the usual pace: two units of the page a second."""
    large = np.diag([1000.0, 1000.0, 1000.0, 1.0])
    for scene in (scenes.load(trained), in_world(scenes.load(trained), large)):
        with view(scene, port=free_port(), threads=1) as viewer:
            assert np.linalg.norm(viewer.stage.world.home[:3, 3]) == pytest.approx(3.0, rel=0.01)


def test_a_background_that_a_visitor_chooses_is_shown_and_taken_back(folder: Path) -> None:
    with view(folder, port=free_port(), threads=1) as viewer, Client(viewer) as client:
        session, own = client.session, viewer.scene.background
        assert session.behind(session.look)[0] == own
        client.set(client.panels.background, (255, 0, 0))
        wait(lambda: session.look.background == (1.0, 0.0, 0.0), what="for the colour")
        assert session.behind(session.look) == ((1.0, 0.0, 0.0), None)
        rounded = tuple(round(255 * c) for c in own)  # as the page's panel has it
        client.set(client.panels.background, rounded)
        wait(lambda: session.look.background != (1.0, 0.0, 0.0), what="for the colour of the scene")
        assert session.behind(session.look)[1] is session._backdrop

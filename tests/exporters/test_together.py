"""All exports of one scene lie on each other, as their files show once each format's axes are undone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import analytic
import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

import nerfscene as ns
from nerfscene.cameras.algebra import rotation_to_z
from nerfscene.exporters import mesh
from nerfscene.scene import folder as scenes
from nerfscene.scene.world import in_world
from nerfscene.types import Array

CONFIG = ns.ExportConfig(faces=8000, texture=0, count=4000, threads=1)
Z_UP_FROM_Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # of glTF
Z_UP_FROM_Y_DOWN = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # of splats as .ply


def poses_in(file: Path) -> dict[str, Array]:
    """world_from_cam (4, 4) of each photo in a transforms.json, by the photo's name."""
    frames = json.loads(file.read_text())["frames"]
    return {Path(f["file_path"]).stem: np.array(f["transform_matrix"]) for f in frames}


def capture_from(exported: dict[str, Array], capture: dict[str, Array]) -> tuple[float, Array, Array]:
    """Scale, rotation (3, 3) and shift (3,) that bring exported cameras to where they came from."""
    pairs = [(exported[name], capture[name]) for name in exported]
    turns = [there[:3, :3] @ here[:3, :3].T for here, there in pairs]
    assert np.ptp(turns, axis=0).max() < 5e-3, "one turn brings all cameras back"
    here, there = (np.array([pair[i][:3, 3] for pair in pairs]) for i in (0, 1))
    scale = float(np.linalg.norm(np.ptp(there, axis=0)) / np.linalg.norm(np.ptp(here @ turns[0].T, axis=0)))
    shifts = there - scale * here @ turns[0].T
    # Training moved each a little.
    assert np.ptp(shifts, axis=0).max() < 5e-3 * np.ptp(there), "and one scale and shift"
    return scale, turns[0], shifts.mean(0)


def off(points: Array) -> Array:
    """How far points (n, 3) lie from the nearest surface of the analytic scene."""
    spheres = [np.abs(np.linalg.norm(points - centre, axis=1) - r) for centre, r, *_ in analytic.SPHERES]
    room = np.abs(np.linalg.norm(points, axis=1) - analytic.ROOM)
    return np.min([*spheres, np.abs(points[:, 2] - analytic.GROUND), room], axis=0)


def test_mesh_points_splats_and_cameras_lie_on_each_other(
    trained: Path, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a world that was set askew, off the origin and of another scale, with a crop off its middle."""
    monkeypatch.setattr(mesh, "FEWEST_CELLS", 64)  # as the photos deserve no finer ones
    new = np.eye(4)
    new[:3, :3] = 2.5 * rotation_to_z(np.array([0.3, -0.5, 0.8]))
    new[:3, 3] = 7, -4, 3
    scene = scenes.load(trained)
    box = np.diag([1.0, 1.0, 0.8, 1.0])
    box[:3, 3] = 0.15, -0.1, 0.1
    scene = in_world(replace(scene, crop=np.linalg.inv(scene.scene_from_world) @ box), new)

    files = {"mesh": "a.glb", "points": "a.ply", "splats": "b.ply", "cameras": "a.json"}
    for kind, name in files.items():
        ns.export(scene, tmp_path / name, CONFIG, kind, warn=lambda line: None)
    scale, turn, shift = capture_from(poses_in(tmp_path / "a.json"), poses_in(room / "transforms.json"))
    surface = trimesh.load(tmp_path / "a.glb", force="mesh", process=False)
    dense = trimesh.sample.sample_surface(surface, 20_000, seed=0)[0]
    clouds = {
        "mesh": dense @ Z_UP_FROM_Y_UP.T,
        "points": np.asarray(trimesh.load(tmp_path / "a.ply").vertices),
        "splats": np.asarray(trimesh.load(tmp_path / "b.ply").vertices) @ Z_UP_FROM_Y_DOWN.T,
    }
    inside = np.linalg.inv(box) @ scenes.load(trained).scene_from_world
    found = {}
    for kind, cloud in clouds.items():
        points = scale * cloud @ turn.T + shift
        found[kind] = points
        assert len(points) > 1000 and np.median(off(points)) < 0.05, kind
        assert np.abs(points @ inside[:3, :3].T + inside[:3, 3]).max() < 1.01, f"{kind}: in the crop"
    for kind in ("points", "splats"):
        away = cKDTree(found["mesh"]).query(found[kind])[0]
        assert np.median(away) < 0.05, f"{kind} lie on the mesh"

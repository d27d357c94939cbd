"""Exported points lie evenly on the surfaces that the photos saw, in their colours, in any reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import analytic
import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from nerfscene.config import ExportConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.even import evenly, without_strays
from nerfscene.exporters.points import _las_scale, write_points
from nerfscene.exporters.samples import Samples
from nerfscene.exporters.told import Told
from nerfscene.scene import folder
from nerfscene.scene.scene import Scene
from nerfscene.scene.world import in_world
from nerfscene.types import Array

COUNT = 3000
CAPTURE = ExportConfig(world="capture", count=COUNT, threads=1)


def distances(points: Array) -> Array:
    """How far points (n, 3) lie from the nearest surface of the analytic scene."""
    spheres = [np.abs(np.linalg.norm(points - centre, axis=1) - r) for centre, r, *_ in analytic.SPHERES]
    ground = np.abs(points[:, 2] - analytic.GROUND)
    room = np.abs(np.linalg.norm(points, axis=1) - analytic.ROOM)
    return np.min([*spheres, ground, room], axis=0)


@pytest.fixture(scope="module")
def scene(trained: Path) -> Scene:
    return folder.load(trained)


@pytest.fixture(scope="module")
def cloud(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points of the trained scene in the capture's world."""
    file = tmp_path_factory.mktemp("points") / "cloud.ply"
    made = write_points(scene, file, CAPTURE, Told())
    assert 0.8 * COUNT <= made["points"] <= COUNT
    return file


def positions_of(file: Path) -> Array:
    return np.asarray(trimesh.load(file).vertices, np.float64)


def test_points_lie_on_the_surfaces_in_their_colours(cloud: Path) -> None:
    read = trimesh.load(cloud)
    points, colours = positions_of(cloud), np.asarray(read.visual.vertex_colors)[:, :3] / 255
    near = np.abs(points).max(1) < 1.2
    assert np.median(distances(points[near])) < 0.08, "of photos whose pixels are 0.04 wide there"
    # On the large sphere, two colours.
    (_, radius, one, other) = analytic.SPHERES[0]
    on = near & (np.abs(np.linalg.norm(points, axis=1) - radius) < 0.06) & (points[:, 2] > 0)
    nearest = np.minimum(*(np.abs(colours[on] - c).max(1) for c in (one, other)))
    assert on.sum() > 20 and np.median(nearest) < 0.25


def test_normals_point_outward(cloud: Path) -> None:
    rows = np.fromfile(
        cloud,
        [("p", "<f4", 3), ("n", "<f4", 3), ("c", "u1", 3)],
        offset=cloud.read_bytes().index(b"end_header\n") + 11,
    )
    assert np.linalg.norm(rows["n"], axis=1) == pytest.approx(1.0, abs=1e-4)
    p = rows["p"].astype(float)
    on_ground = (
        (np.abs(p[:, 2] - analytic.GROUND) < 0.04) & (np.abs(p[:, :2]).max(1) > 1) & (np.abs(p).max(1) < 2)
    )
    assert np.median(rows["n"][on_ground, 2]) > 0.9, "up, from the ground"
    on_sphere = (np.abs(np.linalg.norm(p, axis=1) - 0.5) < 0.06) & (p[:, 2] > 0)
    assert np.median((rows["n"] * p / 0.5).sum(1)[on_sphere]) > 0.8


def test_the_crop_bounds_them(scene: Scene, tmp_path: Path) -> None:
    crop = np.diag([0.6, 0.6, 0.4, 1.0])
    crop[2, 3] = 0.1
    write_points(replace(scene, crop=crop), tmp_path / "a.ply", replace(CAPTURE, count=500), Told())
    points = positions_of(tmp_path / "a.ply")
    assert (np.abs(points - crop[:3, 3]) <= np.diag(crop)[:3] + 0.02).all()
    crop[:3, 3] = 90.0
    with pytest.raises(NerfsceneError, match="within the crop"):
        write_points(replace(scene, crop=crop), tmp_path / "b.ply", replace(CAPTURE, count=500), Told())
    assert not (tmp_path / "b.ply").exists()


def test_coordinates_of_a_map_are_not_rounded(scene: Scene, tmp_path: Path) -> None:
    laspy = pytest.importorskip("laspy")
    shift = np.eye(4)
    shift[:3, 3] = (500_000, 5_400_000, 300)
    far = in_world(scene, shift)
    for name in ("a.ply", "b.las"):
        write_points(far, tmp_path / name, ExportConfig(count=500, threads=1), Told())
    points = positions_of(tmp_path / "a.ply")
    assert b"property double y" in (tmp_path / "a.ply").read_bytes()[:400]
    read = laspy.read(tmp_path / "b.las")
    assert np.stack([read.x, read.y, read.z], 1) == pytest.approx(points, abs=1e-3)
    assert np.median(distances(points - shift[:3, 3])[np.abs(points - shift[:3, 3]).max(1) < 1.2]) < 0.08


@pytest.mark.parametrize("ending", [".las", ".laz"])
def test_surveyors_programs_read_the_same_points(
    scene: Scene, cloud: Path, tmp_path: Path, ending: str
) -> None:
    laspy = pytest.importorskip("laspy")
    if ending == ".laz":
        pytest.importorskip("lazrs")
    write_points(scene, tmp_path / f"a{ending}", CAPTURE, Told())
    read = laspy.read(tmp_path / f"a{ending}")
    assert read.header.are_points_compressed == (ending == ".laz")
    points = np.stack([read.x, read.y, read.z], 1)
    assert points == pytest.approx(positions_of(cloud), abs=float(read.header.scales[0]))
    assert len(np.unique(read.X)) > 0.9 * len(points), "the steps are fine enough"
    red = np.asarray(trimesh.load(cloud).visual.vertex_colors)[:, 0].astype(int)
    assert (np.asarray(read.red) == red * 257).all()
    assert np.hypot(np.hypot(read.NormalX, read.NormalY), read.NormalZ) == pytest.approx(1.0, abs=1e-4)


def test_another_ending_is_refused(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(NerfsceneError, match=r"\.ply, \.las or \.laz"):
        write_points(scene, tmp_path / "a.xyz", CAPTURE, Told())


def test_las_coordinates_fit_and_are_fine() -> None:
    for spacing, reach in ((0.01, 1.0), (1e-9, 1e6), (0.001, 1e5), (3.0, 5e5)):
        scale = _las_scale(spacing, reach)
        assert reach / scale < 2**31 and np.log10(scale) == pytest.approx(round(np.log10(scale)))
        assert scale <= max(1e-3 * spacing, 10 * reach / 2**30)


def slanted(normal: Array, spacing: float, draws: np.random.Generator) -> Array:
    """Random points on a square of side 1, across ``normal``."""
    u = np.cross(normal, [0.3, 0.5, 0.8])
    u /= np.linalg.norm(u)
    at = draws.uniform(0, 1, (round(1 / spacing**2), 2))
    return at[:, :1] * u + at[:, 1:] * np.cross(normal / np.linalg.norm(normal), u)


def samples_at(points: Array, radius: Array) -> Samples:
    one, three = np.ones(len(points), np.float32), np.ones((len(points), 3), np.float32)
    return Samples(points.astype(np.float32), three, three, radius.astype(np.float32), one, one, one)


def test_what_hangs_in_the_air_is_left_out() -> None:
    draws = np.random.default_rng(4)
    surface = slanted(np.array([0.2, 0, 1.0]), 0.02, draws)
    haze = draws.uniform(-1, 2, (100, 3)) + np.array([0, 0, 3.0])
    clump = draws.normal(scale=0.01, size=(12, 3)) + np.array([0.5, 0.5, 1.5])
    points = np.concatenate([surface, haze, clump])
    made = without_strays(samples_at(points, np.full(len(points), 0.01)), np.ones(len(points)), Told())
    assert len(made) == pytest.approx(len(surface), abs=0.02 * len(surface))
    assert made.positions[:, 2].max() < 1


def test_points_are_as_dense_on_every_surface_and_none_are_close_together() -> None:
    draws = np.random.default_rng(3)
    flat = slanted(np.array([0, 0, 1.0]), 0.02, draws)
    # As cells leave them: 1.73 times as many on a surface that lies across all axes.
    steep = slanted(np.array([1.0, 1, 1]), 0.0152, draws) + np.array([5.0, 0, 0])
    points = np.concatenate([flat, steep]).astype(np.float32)
    samples = samples_at(points, np.repeat([0.02, 0.0152], [len(flat), len(steep)]) / np.sqrt(np.pi))
    one = np.ones(len(points))
    made = evenly(samples, one, 2000, Told())
    assert 1900 <= len(made) <= 2000
    on_flat = made.positions[:, 0] < 3
    assert on_flat.mean() == pytest.approx(0.5, abs=0.045)
    nearest = cKDTree(made.positions).query(made.positions, 2)[0][:, 1]
    assert nearest.min() > 0.6 * np.median(nearest)
    again = evenly(samples, one, 2000, Told())
    assert (again.positions == made.positions).all()

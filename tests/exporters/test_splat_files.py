"""Splat files, read back by other programs and looked at from the same cameras."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from splat_cases import (
    by_gaussforge,
    by_gltf,
    by_gsply,
    by_splat_transform,
    by_usd,
    cameras,
    psnr,
    some_splats,
)
from splat_pictures import picture

from nerfscene.errors import NerfsceneError
from nerfscene.exporters import splats_usd
from nerfscene.exporters.splats import writer_for
from nerfscene.exporters.splats_spz import fraction_bits
from nerfscene.films.export_world import Y_DOWN_FROM_Z_UP, Y_UP_FROM_Z_UP
from nerfscene.splatting.gaussians import Splats, basis, moved
from nerfscene.types import Array, Camera

# Pictures agree to this many dB: bytes cost a little, floats nothing.
BYTES, FLOATS = 34.0, 60.0
READERS: list[tuple[str, Callable[[Path], Splats], float]] = [
    (".ply", by_gsply, FLOATS),
    (".ply", by_gaussforge, FLOATS),
    (".ply", by_splat_transform, FLOATS),
    (".spz", by_gsply, BYTES),
    (".spz", by_gaussforge, BYTES),
    (".spz", by_splat_transform, BYTES),
    (".sog", by_gaussforge, BYTES),
    (".sog", by_splat_transform, BYTES),
    (".glb", by_gltf, FLOATS),
    (".usdc", by_usd, FLOATS),
    (".usdz", by_usd, FLOATS),
]


def turned(camera: Camera, matrix: Array) -> Camera:
    return replace(camera, world_from_cam=matrix @ camera.world_from_cam)


@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize(("ending", "read", "least"), READERS, ids=lambda x: getattr(x, "__name__", x))
def test_a_file_looks_the_same_in_another_program(
    tmp_path: Path, ending: str, read: Callable[[Path], Splats], least: float, degree: int
) -> None:
    splats = some_splats(degree)
    file = tmp_path / f"splats{ending}"
    turn, write = writer_for(file)
    write(moved(splats, turn), file)
    back = read(file)
    assert len(back) == len(splats)
    assert back.degree == degree
    for camera in cameras():
        assert psnr(picture(back, turned(camera, turn)), picture(splats, camera)) > least


@pytest.mark.parametrize(
    ("ending", "up"), [(".ply", -1), (".spz", -1), (".sog", -1), (".glb", 1), (".usdz", 1)]
)
def test_up_is_where_viewers_of_the_format_have_it(ending: str, up: int) -> None:
    turn, _ = writer_for(Path(f"scene{ending}"))
    assert np.allclose(turn[:3, :3] @ [0, 0, 1], [0, up, 0])
    assert np.linalg.det(turn[:3, :3]) == pytest.approx(1)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_positions_orientations_and_harmonics_turn_together(degree: int) -> None:
    splats = some_splats(degree)
    angle, matrix = 0.7, np.eye(4)
    matrix[:3, :3] = 1.7 * np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    matrix[:3, 3] = (0.3, -2, 1)
    for camera in cameras():
        pose = matrix @ camera.world_from_cam
        pose[:3, :3] /= 1.7
        there = picture(moved(splats, matrix), replace(camera, world_from_cam=pose))
        assert psnr(there, picture(splats, camera)) > 55


def test_the_harmonics_are_orthonormal() -> None:
    rng = np.random.default_rng(0)
    toward = rng.normal(size=(200_000, 3))
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    b = basis(toward, 3)
    assert np.allclose(4 * np.pi * b.T @ b / len(b), np.eye(16), atol=0.03)


@pytest.mark.parametrize("far", [60.0, 3_000.0, 1e6])
def test_spz_holds_positions_however_far(tmp_path: Path, far: float) -> None:
    """Most writers keep 12 bits behind the point, and wrap what lies beyond 2048 into the scene."""
    splats = some_splats(1, far=far)
    file = tmp_path / "far.spz"
    writer_for(file)[1](splats, file)
    for back in (by_gsply(file), by_gaussforge(file)):
        assert np.abs(back.positions - splats.positions).max() < 2.0 ** -fraction_bits(splats)


@pytest.mark.parametrize("ending", [".ply", ".spz", ".sog"])
def test_one_splat_is_a_file_too(tmp_path: Path, ending: str) -> None:
    splats = some_splats(1, n=1)
    file = tmp_path / f"one{ending}"
    writer_for(file)[1](splats, file)
    assert np.allclose(by_gaussforge(file).positions, splats.positions, rtol=1e-3)


def test_a_sog_is_an_archive_of_lossless_pictures_whose_neighbours_are_neighbours(tmp_path: Path) -> None:
    splats = some_splats(2, n=3000)
    file = tmp_path / "scene.sog"
    writer_for(file)[1](splats, file)
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist()[0] == "meta.json"
        assert all(b"VP8L" in archive.read(n)[:32] for n in archive.namelist()[1:])
    back = by_gaussforge(file)
    _, same = cKDTree(splats.positions).query(back.positions)
    assert len(set(same)) == len(splats)
    steps = np.linalg.norm(np.diff(back.positions, axis=0), axis=1)
    assert np.median(steps) < 0.5 * np.median(np.linalg.norm(np.diff(splats.positions, axis=0), axis=1))


def test_points_of_a_glb_open_in_trimesh(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    splats = some_splats(0)
    file = tmp_path / "scene.glb"
    writer_for(file)[1](splats, file)
    (cloud,) = trimesh.load(file).geometry.values()
    assert np.allclose(cloud.vertices, splats.positions)


def test_a_usdz_is_valid_and_holds_its_extent(tmp_path: Path) -> None:
    usd, geometry = pytest.importorskip("pxr.Usd"), pytest.importorskip("pxr.UsdGeom")
    validation = pytest.importorskip("pxr.UsdValidation")
    splats = some_splats(1)
    file = tmp_path / "scene.usdz"
    writer_for(file)[1](splats, file)
    stage = usd.Stage.Open(str(file))
    context = validation.ValidationContext(validation.ValidationRegistry().GetOrLoadAllValidators())
    assert [e.GetMessage() for e in context.Validate(stage)] == []
    box = geometry.BBoxCache(usd.TimeCode.Default(), ["default"]).ComputeWorldBound(stage.GetDefaultPrim())
    low, high = np.array(box.GetRange().GetMin()), np.array(box.GetRange().GetMax())
    assert (low < splats.positions.min(0)).all()
    assert (high > splats.positions.max(0)).all()


def test_another_ending_is_refused_with_those_there_are() -> None:
    with pytest.raises(NerfsceneError, match=r"one of \.ply, \.spz, \.sog, \.glb, \.usdz, \.usdc"):
        writer_for(Path("scene.ksplat"))


def test_usd_without_what_knows_splats_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splats_usd, "needed", lambda *given: object())
    with pytest.raises(NerfsceneError, match=r"usd-core 26\.3 or later"):
        writer_for(Path("scene.usdz"))


def test_the_turns_agree() -> None:
    """A y-down file turned over about x is a y-up one."""
    assert np.allclose(np.diag([1, -1, -1, 1]) @ Y_DOWN_FROM_Z_UP, Y_UP_FROM_Z_UP)

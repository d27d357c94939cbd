"""Meshes: where they lie, what they look like, and what is left after a failure."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import analytic
import mesh_cases as cases
import numpy as np
import pytest

from nerfscene.errors import NerfsceneError
from nerfscene.exporters import mesh
from nerfscene.exporters.mesh import remove_old, surface_of, turned_for, write_file, write_mesh
from nerfscene.exporters.mesh_depths import DepthPicture, trust
from nerfscene.exporters.mesh_files import Mesh
from nerfscene.exporters.mesh_fusion import Warp
from nerfscene.exporters.mesh_surface import Surface
from nerfscene.exporters.mesh_unwrap import unwrapped
from nerfscene.exporters.told import Told
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.types import Camera


@pytest.fixture(scope="module", autouse=True)
def coarse() -> Iterator[None]:
    """Coarse cells, as the photos of 64×48 deserve no finer ones."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mesh, "FEWEST_CELLS", 64)
        yield


@pytest.fixture(scope="module")
def scene(trained: Path) -> Scene:
    return scenes.load(trained)


@pytest.fixture(scope="module")
def glb(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Textured, upright."""
    file = tmp_path_factory.mktemp("glb") / "mesh.glb"
    write_mesh(scene, file, cases.UPRIGHT, Told())
    return file


@pytest.fixture(scope="module")
def textured(scene: Scene) -> Mesh:
    """Upright, with +z up."""
    return mesh.mesh_of(scene, 512, True, cases.UPRIGHT, Told())[0]


@pytest.fixture(scope="module")
def shaded(scene: Scene) -> Mesh:
    """The same with colours at its vertices."""
    return mesh.mesh_of(scene, 0, True, cases.UPRIGHT, Told())[0]


def written(made: Mesh, file: Path) -> list[Path]:
    return write_file(turned_for(file, made, cases.UPRIGHT), file)


def attribute(glb: Path, name: str, kind: str, width: int) -> np.ndarray:
    """An attribute (n, width) of a GLB's only mesh, as it lies in the file."""
    data = glb.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    tree = json.loads(data[20 : 20 + length])
    (primitive,) = tree["meshes"][0]["primitives"]
    accessor = tree["accessors"][primitive["attributes"][name]]
    begin = 28 + length + tree["bufferViews"][accessor["bufferView"]]["byteOffset"]
    return np.frombuffer(data, kind, width * accessor["count"], begin).reshape(-1, width)


def close(colours: np.ndarray, true: np.ndarray) -> bool:
    """Whether colours are those of the scene, which was trained so briefly that edges are blurred."""
    return float(np.median(np.abs(colours - true))) < 0.12


def test_a_glb_is_upright_and_lies_on_the_scene(scene: Scene, glb: Path) -> None:
    made = cases.opened(glb)
    assert 500 < len(made.faces) <= cases.UPRIGHT.faces
    inner = np.linalg.norm(made.triangles_center, axis=1) < 1.2
    points = cases.to_capture(scene, made.triangles_center, y_up=True)
    assert np.median(cases.off(points[inner])) < 0.1
    ground = inner & (np.abs(points[:, 2] + 0.5) < 0.05)
    assert np.median(made.face_normals[ground][:, 1]) > 0.4
    sphere = cases.on_first_sphere(points)
    centre = np.linalg.lstsq(  # of the sphere through the points, whichever way the file is turned
        np.column_stack([2 * made.triangles_center[sphere], np.ones(sphere.sum())]),
        (made.triangles_center[sphere] ** 2).sum(1),
        rcond=None,
    )[0][:3]
    outward = (made.triangles_center[sphere] - centre) * made.face_normals[sphere]
    assert (outward.sum(1) > 0).mean() > 0.95


def test_a_texture_has_the_colours_of_the_photos(scene: Scene, glb: Path) -> None:
    made = cases.opened(glb)
    points = cases.to_capture(scene, made.triangles_center, y_up=True)
    some = np.flatnonzero(cases.on_first_sphere(points))
    assert len(some) > 20
    assert close(cases.texture_at(made, some), cases.true_colours(points[some]))
    material = made.visual.material
    assert material.metallicFactor == 0
    assert material.baseColorTexture.size == (512, 512)


def test_glb_files_are_drawn_unlit_and_have_unit_normals(glb: Path) -> None:
    data = glb.read_bytes()
    assert len(data) == int.from_bytes(data[8:12], "little")
    assert b'"extensionsUsed":["KHR_materials_unlit"]' in data
    normals = attribute(glb, "NORMAL", "<f4", 3)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-3)


def test_an_obj_comes_with_a_material_and_a_texture_of_its_own_name(
    scene: Scene, textured: Mesh, tmp_path: Path
) -> None:
    files = written(textured, tmp_path / "fox.obj")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fox.mtl", "fox.obj", "fox.png"]
    assert len(files) == 3
    made = cases.opened(tmp_path / "fox.obj")
    points = cases.to_capture(scene, made.triangles_center, y_up=True)
    some = np.flatnonzero(cases.on_first_sphere(points))
    assert close(cases.texture_at(made, some), cases.true_colours(points[some]))


def test_a_ply_has_colours_and_normals_in_the_captures_coordinates(scene: Scene, tmp_path: Path) -> None:
    write_mesh(scene, tmp_path / "mesh.ply", cases.CAPTURE, Told())
    made = cases.opened(tmp_path / "mesh.ply")
    assert b"property float nx" in (tmp_path / "mesh.ply").read_bytes()[:500]
    points = np.asarray(made.vertices)
    some = cases.on_first_sphere(points)
    assert np.median(cases.off(points[some])) < 0.1
    assert close(made.visual.vertex_colors[some, :3] / 255, cases.true_colours(points[some]))


def test_colours_at_the_vertices_of_a_glb_are_linear(scene: Scene, shaded: Mesh, tmp_path: Path) -> None:
    written(shaded, tmp_path / "mesh.glb")
    made = cases.opened(tmp_path / "mesh.glb")
    colours = attribute(tmp_path / "mesh.glb", "COLOR_0", "<u2", 4)[:, :3] / 65535
    srgb = np.where(colours <= 0.0031308, 12.92 * colours, 1.055 * colours ** (1 / 2.4) - 0.055)
    points = cases.to_capture(scene, np.asarray(made.vertices), y_up=True)
    some = cases.on_first_sphere(points)
    assert close(srgb[some], cases.true_colours(points[some]))


def test_an_stl_is_the_shape_with_z_up(scene: Scene, textured: Mesh, tmp_path: Path) -> None:
    written(textured, tmp_path / "mesh.stl")
    made = cases.opened(tmp_path / "mesh.stl")
    points = cases.to_capture(scene, made.triangles_center, y_up=False)
    near = np.linalg.norm(points, axis=1) < 1
    assert np.median(cases.off(points[near])) < 0.1


@pytest.mark.parametrize("texture", [True, False])
def test_a_usdz_passes_the_checks_of_usd(
    scene: Scene, textured: Mesh, shaded: Mesh, tmp_path: Path, texture: bool
) -> None:
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom, UsdShade, UsdValidation

    file = tmp_path / "mesh.usdz"
    surface = textured if texture else shaded
    written(surface, file)
    assert [p.name for p in tmp_path.iterdir()] == ["mesh.usdz"]
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    assert names[0].endswith(".usdc")
    assert len(names) == (2 if texture else 1)
    assert all(n.endswith((".usdc", ".jpg", ".png")) for n in names)
    stage = Usd.Stage.Open(str(file))
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    errors = UsdValidation.ValidationContext(validators).Validate(stage)
    assert not errors, [e.GetMessage() for e in errors]
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    shape = next(UsdGeom.Mesh(p) for p in stage.Traverse() if p.IsA(UsdGeom.Mesh))
    assert len(shape.GetFaceVertexCountsAttr().Get()) == len(surface.faces)
    points = cases.to_capture(scene, np.array(shape.GetPointsAttr().Get()), y_up=True)
    assert np.median(cases.off(points[np.linalg.norm(points, axis=1) < 1])) < 0.1
    material = UsdShade.MaterialBindingAPI(shape).ComputeBoundMaterial()[0]
    shader = material.ComputeSurfaceSource()[0]
    assert shader.GetInput("metallic").Get() == 0
    assert shader.GetInput("ior").Get() == 1  # no gloss


def test_the_crop_applies(scene: Scene, tmp_path: Path) -> None:
    box = np.diag([0.7, 0.7, 0.4, 1.0])
    write_mesh(replace(scene, crop=box), tmp_path / "mesh.ply", cases.CAPTURE, Told())
    points = np.abs(cases.opened(tmp_path / "mesh.ply").vertices)
    assert (points.max(0) <= np.array([0.7, 0.7, 0.4]) * 1.03).all()
    assert points[:, 2].max() > 0.35


@pytest.mark.parametrize("faces", [100, 500])
def test_a_file_has_no_more_faces_than_asked_for(scene: Scene, tmp_path: Path, faces: int) -> None:
    told = write_mesh(scene, tmp_path / "mesh.stl", replace(cases.UPRIGHT, faces=faces), Told())
    made = len(cases.opened(tmp_path / "mesh.stl").faces)
    assert 0.5 * faces <= made <= faces
    assert told["faces"] == made


def test_a_crop_of_nothing_is_refused(scene: Scene, tmp_path: Path) -> None:
    box = np.diag([0.05, 0.05, 0.05, 1.0])
    box[2, 3] = 1.5  # in the air
    with pytest.raises(NerfsceneError, match="no surface that its photos see in its crop"):
        write_mesh(replace(scene, crop=box), tmp_path / "mesh.glb", cases.CAPTURE, Told())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("depth", [np.inf, np.nan, 1e6])
def test_a_scene_with_nothing_in_view_is_refused(depth: float) -> None:
    lens = analytic.intrinsics(48, 36)
    nothing = np.full((36, 48), depth, np.float32)
    pictures = [DepthPicture(Camera(lens, pose), nothing, trust(lens, nothing)) for pose in analytic.ring(4)]
    with pytest.raises(NerfsceneError, match="no surface that its photos see; train it longer"):
        surface_of(pictures, Warp(np.eye(4), 2 / 64, 8.0), None, cases.UPRIGHT, Told())


@pytest.mark.parametrize("stage", ["looking at the scene", "fusing depths", "writing the mesh"])
def test_a_cancelled_export_leaves_nothing(scene: Scene, tmp_path: Path, stage: str) -> None:
    class Cancelled(Exception):
        pass

    def progress(now: str, fraction: float) -> None:
        if now == stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        write_mesh(scene, tmp_path / "mesh.obj", replace(cases.UPRIGHT, texture=0), Told(progress))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".glb", ".obj", ".usdz"])
def test_a_failed_write_leaves_nothing(textured: Mesh, tmp_path: Path, ending: str) -> None:
    spoilt = replace(textured, texture=np.zeros((4, 4, 7), np.uint8))  # no picture has seven channels
    with pytest.raises((TypeError, ValueError)):
        write_file(spoilt, tmp_path / f"mesh{ending}")
    assert not list(tmp_path.iterdir())


def test_what_killed_exports_left_is_removed(tmp_path: Path) -> None:
    gone = 2**22 + 1  # no process has this number
    for name in ("mesh.obj", "mesh.mtl", "mesh.png", "mesh.usdz"):
        (tmp_path / f".{name}.{gone}.tmp").write_bytes(b"half")
    (tmp_path / f".mesh.usdz.{gone}.parts").mkdir()
    (tmp_path / f".mesh.usdz.{os.getpid()}.other").write_bytes(b"not ours")
    remove_old(tmp_path / "mesh.obj")
    remove_old(tmp_path / "mesh.usdz")
    assert [p.name for p in tmp_path.iterdir()] == [f".mesh.usdz.{os.getpid()}.other"]


def test_a_texture_too_small_for_the_mesh_is_refused() -> None:
    corners = np.random.default_rng(0).normal(size=(15_000, 3)).astype(np.float32)
    apart = Surface(corners, np.arange(15_000).reshape(-1, 3))
    with pytest.raises(NerfsceneError, match=r"64 pixels is too small for the mesh's .* --texture 0"):
        unwrapped(apart.vertices, apart.faces, np.ones(len(apart.faces), np.float32), 64)


def test_another_ending_is_refused(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(NerfsceneError, match=r"can't be a mesh.*\.glb, \.obj, \.ply, \.stl, \.usdz"):
        write_mesh(scene, tmp_path / "mesh.fbx", cases.UPRIGHT, Told())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(NerfsceneError, match="can't be written"):
        write_mesh(scene, tmp_path / "no" / "mesh.stl", cases.UPRIGHT, Told())

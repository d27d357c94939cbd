"""Captures that come with cameras: which kind is read, and COLMAP's models."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image
from posed_captures import error_of, found
from transforms_cases import transforms, write_photo, write_synthetic, write_transforms

from nerfscene.errors import NerfsceneError
from nerfscene.formats.readers import find_posed
from nerfscene.posing.poses import read_model
from nerfscene.types import Intrinsics

DATA = Path(os.environ.get("NERFSCENE_DATA", Path(__file__).parents[3] / "shared/data"))


def test_nothing_known_is_none(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    assert find_posed(tmp_path) is None
    assert find_posed(tmp_path / "a.jpg") is None
    assert find_posed(tmp_path / "nowhere") is None


@pytest.fixture(scope="module")
def model() -> pycolmap.Reconstruction:
    pycolmap.set_random_seed(3)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig = 1, 5
    options.camera_width, options.camera_height = 64, 48
    options.camera_model_id = pycolmap.CameraModelId.OPENCV
    options.camera_params = [60.0, 61.0, 32.0, 24.0, 0.01, -0.02, 0.001, -0.002]
    return pycolmap.synthesize_dataset(options)


def write_colmap(
    root: Path, place: str, model: pycolmap.Reconstruction, text: bool, images: str = "images"
) -> Path:
    folder = root / place
    folder.mkdir(parents=True)
    (model.write_text if text else model.write_binary)(str(folder))
    for image in model.images.values():
        write_photo(root / images / image.name, 64, 48)
    return folder


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("place", ["sparse/0", "sparse", "colmap/sparse/0", "."])
def test_colmap_models(tmp_path: Path, model: pycolmap.Reconstruction, place: str, text: bool) -> None:
    root = tmp_path / "capture"
    folder = write_colmap(root, place, model, text)
    for given in {root, folder}:
        posed = found(given)
        assert posed.source == "colmap" and posed.warnings == ()
        assert posed.photos_given == len(posed.views) == 5
        by_name = {image.name: image for image in model.images.values()}
        for view in posed.views:
            image = by_name[view.path.relative_to(root / "images").as_posix()]
            cam_from_world = image.cam_from_world().matrix()
            np.testing.assert_allclose(np.linalg.inv(view.world_from_cam)[:3], cam_from_world, atol=1e-9)
            assert view.intrinsics == Intrinsics(
                64, 48, 60, 61, 32, 24, "perspective", (0.01, -0.02, 0.001, -0.002, 0.0)
            )
        expected = np.array([p.xyz for p in model.points3D.values()])
        assert posed.points.shape == expected.shape
        np.testing.assert_allclose(sorted(posed.points[:, 0]), sorted(expected[:, 0]), atol=1e-9)
        assert posed.point_colors.shape == expected.shape
        assert posed.reprojection_error == pytest.approx(0, abs=1e-6)
        for view in posed.views:
            image = by_name[view.path.relative_to(root / "images").as_posix()]
            shown = [model.points3D[p.point3D_id].xyz for p in image.points2D if p.has_point3D()]
            got = posed.points[view.seen]
            assert len(got) > 10
            for xyz in got:  # among those that the model says the photo shows
                assert np.abs(np.array(shown) - xyz).max(1).min() < 1e-9


def test_masks_beside_a_colmap_model_s_photos(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    write_colmap(tmp_path, "sparse/0", model, False)
    first, second = found(tmp_path).views[:2]
    (tmp_path / "masks").mkdir()
    mask = tmp_path / "masks" / f"{first.path.name}.png"
    Image.new("1", (first.intrinsics.width, first.intrinsics.height)).save(mask)
    views = {view.path: view for view in found(tmp_path).views}
    assert views[first.path].mask == mask and views[second.path].mask is None


def test_colmap_photos_elsewhere(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    folder = write_colmap(tmp_path, "sparse/0", model, False, images="photos")
    assert "none of the 5 photos" in error_of(tmp_path)
    posed = find_posed(tmp_path, images=tmp_path / "photos")
    assert posed is not None and len(posed.views) == 5
    shutil.move(tmp_path / "photos", tmp_path / "images")
    sorted((tmp_path / "images").rglob("*.png"))[0].unlink()
    posed = found(folder)
    (warning,) = posed.warnings
    assert "1 of the 5 frames" in warning and len(posed.views) == 4


def test_largest_colmap_model_wins(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    write_colmap(tmp_path, "sparse/1", model, False)
    small = pycolmap.Reconstruction(model)
    for frame in sorted(small.reg_frame_ids())[2:]:
        small.deregister_frame(frame)
    for place in ("sparse/0", "sparse/2"):
        (tmp_path / place).mkdir()
        small.write_binary(str(tmp_path / place))
    posed = found(tmp_path)
    assert len(posed.views) == 5
    (warning,) = posed.warnings
    assert "3 COLMAP models" in warning and "largest" in warning


def test_damaged_colmap_model_is_named(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    folder = write_colmap(tmp_path, "sparse/0", model, False)
    data = (folder / "images.bin").read_bytes()
    (folder / "images.bin").write_bytes(data[: len(data) // 2])
    assert "cannot be read as a COLMAP model" in error_of(tmp_path)


def test_transforms_json_is_preferred(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    write_colmap(tmp_path, "sparse/0", model, False)
    write_synthetic(tmp_path, 0)
    assert found(tmp_path).source == "synthetic"
    write_transforms(tmp_path, transforms())
    assert found(tmp_path).source == "transforms"


LENSES: dict[str, list[float]] = {
    "SIMPLE_PINHOLE": [60, 32, 24],
    "PINHOLE": [60, 61, 32, 24],
    "SIMPLE_RADIAL": [60, 32, 24, 0.05],
    "RADIAL": [60, 32, 24, 0.05, -0.03],
    "OPENCV": [60, 61, 32, 24, 0.05, -0.03, 0.002, 0.003],
    "FULL_OPENCV": [60, 61, 32, 24, 0.05, -0.03, 0.002, 0.003, 0.01, 0, 0, 0],
    "OPENCV_FISHEYE": [60, 61, 32, 24, 0.05, -0.03, 0.02, -0.01],
    "SIMPLE_RADIAL_FISHEYE": [60, 32, 24, 0.05],
    "RADIAL_FISHEYE": [60, 32, 24, 0.05, -0.03],
    "SIMPLE_FISHEYE": [60, 32, 24],
    "FISHEYE": [60, 61, 32, 24],
}


def project(lens: Intrinsics, point: np.ndarray) -> tuple[float, float]:
    """Pixel of a point in camera coordinates, by OpenCV's formulas."""
    x, y = point[0] / point[2], point[1] / point[2]
    if lens.lens == "fisheye":
        radius = math.hypot(x, y)
        angle = math.atan(radius)
        terms = sum(k * angle ** (2 * i + 2) for i, k in enumerate(lens.distortion[:4]))
        stretch = angle * (1 + terms) / radius
        return lens.fx * x * stretch + lens.cx, lens.fy * y * stretch + lens.cy
    k1, k2, p1, p2, k3 = lens.distortion
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return lens.fx * u + lens.cx, lens.fy * v + lens.cy


def model_with_lens(name: str, params: list[float], folder: Path) -> pycolmap.Camera:
    camera = pycolmap.Camera.create_from_model_name(1, name, 60.0, 64, 48)
    camera.params = params
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(camera)
    image = pycolmap.Image(name="a.png", camera_id=1, image_id=1)
    model.add_image_with_trivial_frame(image, pycolmap.Rigid3d())
    folder.mkdir(exist_ok=True)
    model.write_binary(str(folder))
    return camera


@pytest.mark.parametrize("name", LENSES)
def test_colmap_lenses_project_as_colmap_does(tmp_path: Path, name: str) -> None:
    camera = model_with_lens(name, LENSES[name], tmp_path / "model")
    (lens,) = read_model(tmp_path / "model").intrinsics
    for point in ([0.1, 0.2, 1.0], [-0.5, 0.3, 1.2], [0.4, -0.6, 0.9]):
        expected = camera.img_from_cam(np.array(point))
        np.testing.assert_allclose(project(lens, np.array(point)), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("FOV", [60, 61, 32, 24, 0.5]),
        ("FULL_OPENCV", [60, 61, 32, 24, 0, 0, 0, 0, 0, 0.1, 0, 0]),
        ("FULL_OPENCV", [60, 61, 32, 24, 0, 0, 0, 0, 0, 0, 0.1, 0]),
    ],
)
def test_lenses_that_would_be_wrong_are_refused(tmp_path: Path, name: str, params: list[float]) -> None:
    model_with_lens(name, params, tmp_path / "model")
    with pytest.raises(NerfsceneError, match=name):
        read_model(tmp_path / "model")


def test_fox(tmp_path: Path) -> None:
    if not (DATA / "fox").is_dir():
        pytest.skip(f"no fox capture in {DATA}")
    posed = found(DATA / "fox")
    assert len(posed.views) == 50 and "17 of the 67" in posed.warnings[0]
    assert len(posed.warnings) == 1


def test_chair(tmp_path: Path) -> None:
    if not (DATA / "chair").is_dir():
        pytest.skip(f"no chair capture in {DATA}")
    posed = found(DATA / "chair")
    assert [sum(v.split == s for v in posed.views) for s in ("train", "test")] == [100, 200]
    assert posed.has_alpha and posed.given_split and posed.warnings == ()

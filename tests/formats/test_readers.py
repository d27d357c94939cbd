"""Captures that come with cameras: transforms.json, NeRF-synthetic, COLMAP; and their cache."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from PIL import Image
from posed_captures import error_of, found
from scipy.spatial.transform import Rotation

from nerfscene.errors import NerfsceneError
from nerfscene.formats.readers import find_posed
from nerfscene.posing.poses import read_model
from nerfscene.types import Intrinsics

DATA = Path(os.environ.get("NERFSCENE_DATA", Path(__file__).parents[3] / "shared/data"))
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def some_pose(seed: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    matrix[:3, 3] = np.random.default_rng(seed).normal(size=3)
    return matrix


def write_photo(path: Path, width: int = 40, height: int = 30, alpha: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3 if alpha is None else 4), 100, np.uint8)
    if alpha is not None:
        pixels[..., 3] = alpha
    Image.fromarray(pixels).save(path)


def transforms(count: int = 4, **extra: Any) -> dict[str, Any]:
    """What a transforms.json of a 40×30 capture holds; poses in OpenGL axes."""
    frames = [
        {"file_path": f"images/{i}.png", "transform_matrix": some_pose(i).tolist()} for i in range(count)
    ]
    return {"fl_x": 50.0, "fl_y": 51.0, "cx": 19.0, "cy": 16.0, "w": 40, "h": 30} | {
        "frames": frames,
        **extra,
    }


def write_transforms(root: Path, values: dict[str, Any], present: int | None = None) -> Path:
    frames = values.get("frames", [])
    for frame in frames[:present]:
        write_photo(root / frame["file_path"])
    path = root / "transforms.json"
    root.mkdir(exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def test_nothing_known_is_none(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    assert find_posed(tmp_path) is None
    assert find_posed(tmp_path / "a.jpg") is None
    assert find_posed(tmp_path / "nowhere") is None


@pytest.mark.parametrize("by_file", [False, True])
def test_transforms_axes_and_lens(tmp_path: Path, by_file: bool) -> None:
    path = write_transforms(tmp_path, transforms(k1=0.1, k2=0.2, k3=0.3, p1=0.4, p2=0.5))
    posed = found(path if by_file else tmp_path)
    assert posed.source == "transforms" and posed.photos_given == 4 and posed.warnings == ()
    assert posed.root == tmp_path and not posed.given_split and not posed.has_alpha
    assert posed.points.shape == (0, 3)
    for index, view in enumerate(posed.views):
        assert view.path == tmp_path / f"images/{index}.png" and view.split == "train"
        np.testing.assert_allclose(view.world_from_cam, some_pose(index) @ OPENGL, atol=1e-12)
        assert view.intrinsics == Intrinsics(40, 30, 50, 51, 19, 16, "perspective", (0.1, 0.2, 0.4, 0.5, 0.3))


@pytest.mark.parametrize("folder", ["", "images_2", "images_8"])
def test_photos_of_transforms_that_were_moved_or_shrunk(tmp_path: Path, folder: str) -> None:
    """nerfstudio keeps shrunken copies; people delete the original photos, or move them beside the file."""
    path = write_transforms(tmp_path, transforms(), present=0)
    for i in range(4):
        write_photo(tmp_path / folder / f"{i}.png", 20, 15)
    posed = found(path)
    assert [v.path for v in posed.views] == [tmp_path / folder / f"{i}.png" for i in range(4)]
    assert posed.views[0].intrinsics.fx == pytest.approx(25) and posed.warnings == ()


def test_a_photo_that_was_deleted_stays_away(tmp_path: Path) -> None:
    """The shrunken copy of a damaged photo is not used in its place."""
    path = write_transforms(tmp_path, transforms(), present=3)
    for i in range(4):
        write_photo(tmp_path / "images_2" / f"{i}.png", 20, 15)
    posed = found(path)
    assert [v.path for v in posed.views] == [tmp_path / f"images/{i}.png" for i in range(3)]
    assert "1 of the 4 frames" in posed.warnings[0]


def test_moved_photos_are_all_of_one_folder(tmp_path: Path) -> None:
    path = write_transforms(tmp_path, transforms(), present=0)
    write_photo(tmp_path / "0.png")
    for folder, count in (("images_2", 3), ("images_4", 3), ("images_8", 2)):
        for i in range(count):
            write_photo(tmp_path / folder / f"{i}.png", 20, 15)
    assert [v.path for v in found(path).views] == [tmp_path / f"images_2/{i}.png" for i in range(3)]


def test_shrunken_photos_need_a_lens_that_shrinks_along(tmp_path: Path) -> None:
    values = transforms()
    sizes = {key: values.pop(key) for key in ("w", "h")}
    path = write_transforms(tmp_path, values, present=0)
    for i in range(4):
        write_photo(tmp_path / f"images_2/{i}.png", 20, 15)
    assert "none of the 4 photos" in error_of(path)
    for frame in values["frames"]:
        frame |= sizes
    path = write_transforms(tmp_path, values, present=0)
    assert found(path).views[0].intrinsics.fx == pytest.approx(25)
    angle = {"camera_angle_x": 0.8, "frames": transforms()["frames"]}
    path = write_transforms(tmp_path, angle, present=0)
    assert found(path).views[0].intrinsics.fx == pytest.approx(10 / math.tan(0.4))
    path = write_transforms(tmp_path, angle | {"cx": 20.0}, present=0)
    assert "none of the 4 photos" in error_of(path)


def test_photos_of_one_name_are_not_looked_for_elsewhere(tmp_path: Path) -> None:
    values = transforms()
    for i, frame in enumerate(values["frames"]):
        frame["file_path"] = f"camera{i % 2}/{i // 2}.png"
    write_photo(tmp_path / "0.png")
    write_photo(tmp_path / "1.png")
    assert "none of the 4 photos" in error_of(write_transforms(tmp_path, values, present=0))


def test_opengl_axes_look_the_right_way(tmp_path: Path) -> None:
    # An OpenGL camera at +z with no rotation looks at the origin, its y axis up.
    values = transforms(2)
    for x, frame in enumerate(values["frames"]):
        frame["transform_matrix"] = [[1, 0, 0, x], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]
    view = found(write_transforms(tmp_path, values)).views[0]
    cam_from_world = np.linalg.inv(view.world_from_cam)
    np.testing.assert_allclose(cam_from_world @ [0, 0, 0, 1], [0, 0, 5, 1])  # in front: z > 0
    np.testing.assert_allclose(cam_from_world @ [1, 2, 0, 1], [1, -2, 5, 1])  # up: y < 0


def test_angles_of_view_and_size_from_the_photo(tmp_path: Path) -> None:
    values = transforms(camera_angle_x=0.8)
    for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
        del values[key]
    lens = found(write_transforms(tmp_path, values)).views[0].intrinsics
    focal = 20 / math.tan(0.4)
    assert (lens.width, lens.height, lens.cx, lens.cy) == (40, 30, 20, 15)
    assert lens.fx == pytest.approx(focal) and lens.fy == pytest.approx(focal)
    values["camera_angle_y"] = 0.5
    lens = found(write_transforms(tmp_path, values)).views[0].intrinsics
    assert lens.fx == pytest.approx(focal) and lens.fy == pytest.approx(15 / math.tan(0.25))


def test_a_frames_own_lens_wins(tmp_path: Path) -> None:
    values = transforms()
    values["frames"][2] |= {"fl_x": 70.0, "k1": 0.25}
    views = found(write_transforms(tmp_path, values)).views
    assert [view.intrinsics.fx for view in views] == [50, 50, 70, 50]
    assert [view.intrinsics.distortion[0] for view in views] == [0, 0, 0.25, 0]


def test_lens_models(tmp_path: Path) -> None:
    terms: dict[str, Any] = {"k1": 0.1, "k2": 0.2, "k3": 0.3, "k4": 0.4}
    fish = ("fisheye", (0.1, 0.2, 0.3, 0.4, 0.0))
    for extra in ({"camera_model": "OPENCV_FISHEYE"}, {"is_fisheye": True}):
        path = write_transforms(tmp_path, transforms(**terms, **extra))
        lens = found(path).views[0].intrinsics
        assert (lens.lens, lens.distortion) == fish
    path = write_transforms(tmp_path, transforms(**terms, camera_model="PINHOLE"))
    assert found(path).views[0].intrinsics.distortion == (0,) * 5
    write_transforms(tmp_path, transforms(**terms))
    assert "k4" in error_of(tmp_path)
    write_transforms(tmp_path, transforms(camera_model="EQUIRECTANGULAR"))
    assert "EQUIRECTANGULAR" in error_of(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".JPG"])
def test_missing_file_ending_is_guessed(tmp_path: Path, suffix: str) -> None:
    values = transforms()
    for index, frame in enumerate(values["frames"]):
        frame["file_path"] = f"./images\\r.{index}"
        write_photo(tmp_path / f"images/r.{index}{suffix}")
    (tmp_path / "transforms.json").write_text(json.dumps(values))
    names = [view.path.name for view in found(tmp_path).views]
    assert names == [f"r.{index}{suffix}" for index in range(4)]


def test_frames_without_photo_are_left_out_and_counted_once(tmp_path: Path) -> None:
    values = transforms(9)
    posed = found(write_transforms(tmp_path, values, present=2))
    assert len(posed.views) == 2 and posed.photos_given == 2
    (warning,) = posed.warnings
    assert "7 of the 9 frames" in warning and "images/2.png" in warning and "2 more" in warning


def test_too_few_frames_with_photos(tmp_path: Path) -> None:
    write_transforms(tmp_path, transforms(), present=1)
    assert "only 1 usable view" in error_of(tmp_path)
    (tmp_path / "images/0.png").unlink()
    message = error_of(tmp_path)
    assert "none of the 4 photos" in message and "images/0.png" in message


def test_photos_shrunk_after_posing_take_their_lens_along(tmp_path: Path) -> None:
    values = transforms(w=401, h=300, fl_x=500.0, fl_y=510.0, cx=200.5, cy=160.0)
    lens = found(write_transforms(tmp_path, values)).views[0].intrinsics  # photos are 40×30
    assert (lens.width, lens.height) == (40, 30)
    assert lens.fx == pytest.approx(500 * 40 / 401) and lens.fy == pytest.approx(51)
    assert lens.cx == pytest.approx(20) and lens.cy == pytest.approx(16)


def test_photos_of_other_proportions_are_refused(tmp_path: Path) -> None:
    write_transforms(tmp_path, transforms(w=400, h=400))
    message = error_of(tmp_path)
    assert "don't fit" in message and "40×30" in message and "400×400" in message
    write_transforms(tmp_path, transforms(w=300, h=400))
    assert "turned on its side" in error_of(tmp_path)


def change_matrix(change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    values = transforms()
    changed = change(some_pose(2))
    values["frames"][2]["transform_matrix"] = changed.tolist() if isinstance(changed, np.ndarray) else changed
    return values


def with_entry(matrix: np.ndarray, value: float) -> np.ndarray:
    matrix[1, 3] = value
    return matrix


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: with_entry(m, math.nan), "NaN"),
        (lambda m: with_entry(m, math.inf), "NaN or infinite"),
        (lambda m: m @ np.diag([2.0, 2, 2, 1]), "scales"),
        (lambda m: m @ np.diag([-1.0, 1, 1, 1]), "mirrors"),
        (lambda m: m + np.eye(4)[[3, 3, 3, 0]], "not a rotation and a translation"),
        (lambda m: m[:2], "no 4×4"),
        (lambda m: "identity", "no 4×4"),
        (lambda m: [[1, 2], [3]], "no 4×4"),
        (lambda m: None, "no 4×4"),
    ],
)
def test_bad_poses_name_file_and_frame(
    tmp_path: Path, change: Callable[[np.ndarray], Any], said: str
) -> None:
    write_transforms(tmp_path, change_matrix(change))
    message = error_of(tmp_path)
    assert said in message and "frame 2 (images/2.png)" in message


def test_rounded_and_3x4_poses_are_mended(tmp_path: Path) -> None:
    values = change_matrix(lambda m: np.round(m[:3], 4))
    view = found(write_transforms(tmp_path, values)).views[2]
    rotation = view.world_from_cam[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(view.world_from_cam, some_pose(2) @ OPENGL, atol=2e-4)


def test_identical_poses_are_refused(tmp_path: Path) -> None:
    values = transforms()
    for frame in values["frames"]:
        frame["transform_matrix"] = some_pose(0).tolist()
    write_transforms(tmp_path, values)
    assert "same pose" in error_of(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"w": 40,\n "h": 30,\n "frames": [}\n', "line 3"),
        ("", "line 1"),
        ("[1, 2]", "not a JSON object"),
        ('{"w": 40}', "no list of frames"),
        ('{"frames": {"a": 1}}', "no list of frames"),
        ('{"frames": []}', "lists no frames"),
        ('{"frames": [{"transform_matrix": [[1]]}]}', "frame 0"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "transforms.json").write_text(text)
    assert said in error_of(tmp_path)


def test_broken_lens_values(tmp_path: Path) -> None:
    values = transforms()
    del values["fl_x"], values["fl_y"]
    write_transforms(tmp_path, values)
    assert "no focal length" in error_of(tmp_path)
    write_transforms(tmp_path, transforms(fl_x="long"))
    assert "fl_x = long" in error_of(tmp_path)
    write_transforms(tmp_path, transforms(cx=math.nan))
    assert "cx = nan" in error_of(tmp_path)


def test_split_given_by_names(tmp_path: Path) -> None:
    def splits(**lists: Any) -> dict[str, str]:
        posed = found(write_transforms(tmp_path, transforms(**lists)))
        assert posed.given_split == ("test" in {view.split for view in posed.views})
        return {view.path.name: view.split for view in posed.views}

    train, test = ["images/0.png", "./images/1.png"], ["images/2.png"]
    expected = {"0.png": "train", "1.png": "train", "2.png": "test"}
    assert splits(train_filenames=train, test_filenames=test) == expected
    assert splits(train_filenames=train, val_filenames=test) == expected
    assert splits(test_filenames=test) == expected | {"3.png": "train"}
    assert splits(train_filenames=train) == {"0.png": "train", "1.png": "train"}
    assert set(splits().values()) == {"train"}
    names = [f"images/{i}.png" for i in range(4)]
    write_transforms(tmp_path, transforms(train_filenames=["x"], test_filenames=names))
    assert "no photos for training" in error_of(tmp_path)


def test_masks_are_those_that_are_named_or_lie_beside_the_photos(tmp_path: Path) -> None:
    values = transforms()
    values["frames"][1]["mask_path"] = "cut/one.png"
    values["frames"][2]["mask_path"] = "cut/gone.png"
    path = write_transforms(tmp_path, values)
    for name in ("cut/one.png", "masks/1.png", "masks/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (40, 30), 255).save(tmp_path / name)
    posed = found(path)
    assert [view.mask for view in posed.views] == [
        None,
        tmp_path / "cut/one.png",
        None,
        tmp_path / "masks/3.png",
    ]
    (warning,) = posed.warnings
    assert "1 of the masks" in warning and "cut/gone.png" in warning
    Image.new("L", (45, 30), 255).save(tmp_path / "masks/3.png")
    with pytest.raises(NerfsceneError, match=r"masks/3\.png is 45×30"):
        find_posed(path)


def write_synthetic(root: Path, alpha: int) -> None:
    for split in ("train", "val", "test"):
        values: dict[str, Any] = {"camera_angle_x": 0.69, "frames": []}
        for index in range(3):
            name = f"./{split}/r_{index}"
            pose = some_pose(index + len(split)).tolist()
            values["frames"].append({"file_path": name, "transform_matrix": pose})
            write_photo(root / f"{name}.png", 32, 32, alpha)
        (root / f"transforms_{split}.json").write_text(json.dumps(values))


@pytest.mark.parametrize("alpha", [0, 255])
def test_synthetic(tmp_path: Path, alpha: int) -> None:
    write_synthetic(tmp_path, alpha)
    posed = found(tmp_path)
    assert posed.source == "synthetic" and posed.given_split
    assert posed.has_alpha == (alpha == 0)
    assert [view.split for view in posed.views] == ["train"] * 3 + ["test"] * 3
    assert {view.path.parent.name for view in posed.views} == {"train", "test"}  # not val
    assert posed.views[0].intrinsics.fx == pytest.approx(16 / math.tan(0.345))
    same = found(tmp_path / "transforms_train.json")
    assert [view.path for view in same.views] == [view.path for view in posed.views]


def test_synthetic_counts_missing_photos_of_both_files_once(tmp_path: Path) -> None:
    write_synthetic(tmp_path, 0)
    (tmp_path / "train/r_1.png").unlink()
    (tmp_path / "test/r_2.png").unlink()
    posed = found(tmp_path)
    (warning,) = posed.warnings
    assert "2 of the 6 frames" in warning and len(posed.views) == 4


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

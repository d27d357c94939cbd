"""Folders with a transforms.json as the programs leave them, and what is said of what isn't used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from posed_captures import error_of, found
from scipy.spatial.transform import Rotation
from transforms_cases import OPENGL, some_pose, transforms, write_photo, write_synthetic, write_transforms

from nerfscene.capture.folder import find_photos, open_capture, read_mask
from nerfscene.formats.transforms import is_transforms


def write_json(path: Path, values: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def write_mask(path: Path, ignored: slice, width: int = 40, height: int = 30, white: int = 255) -> None:
    """A mask whose columns ``ignored`` are black and all others ``white``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width), white, np.uint8)
    pixels[:, ignored] = 0
    Image.fromarray(pixels).save(path)


def names_of(root: Path) -> list[str]:
    return [view.path.name for view in found(root).views]


def test_cameras_that_blender_scaled(tmp_path: Path) -> None:
    """BlenderNeRF writes matrix_world as it is. Its translation is not scaled."""
    values = transforms()
    for i, frame in enumerate(values["frames"]):
        scale = (0.35, 0.35, 2.0, 1.0)[i]
        frame["transform_matrix"] = (some_pose(i) @ np.diag([scale, scale, scale, 1])).tolist()
    for i, view in enumerate(found(write_transforms(tmp_path, values)).views):
        np.testing.assert_allclose(view.world_from_cam, some_pose(i) @ OPENGL, atol=1e-12)


def test_cameras_of_mitsuba_look_along_z(tmp_path: Path) -> None:
    values = transforms(from_mitsuba=True)
    for x, frame in enumerate(values["frames"]):
        frame["transform_matrix"] = [[1, 0, 0, x], [0, 1, 0, 0], [0, 0, 1, -5], [0, 0, 0, 1]]
    cam_from_world = np.linalg.inv(found(write_transforms(tmp_path, values)).views[0].world_from_cam)
    np.testing.assert_allclose(cam_from_world @ [0, 0, 0, 1], [0, 0, 5, 1])
    np.testing.assert_allclose(cam_from_world @ [1, 2, 0, 1], [-1, -2, 5, 1])  # y up, x to the left


def test_a_camera_that_moves_takes_its_pose_at_the_middle(tmp_path: Path) -> None:
    """instant-ngp's rolling shutter: rows from top to bottom take the whole time from start to end."""
    values = transforms(rolling_shutter=[0.0, 0.0, 1.0, 0.0])
    frame = values["frames"][1]
    start = np.eye(4)
    end = np.eye(4)
    end[:3, :3], end[0, 3] = Rotation.from_euler("y", 20, degrees=True).as_matrix(), 2.0
    del frame["transform_matrix"]
    frame |= {"transform_matrix_start": start.tolist(), "transform_matrix_end": end.tolist()}
    posed = found(write_transforms(tmp_path, values))
    middle = np.eye(4)
    middle[:3, :3], middle[0, 3] = Rotation.from_euler("y", 10, degrees=True).as_matrix(), 1.0
    np.testing.assert_allclose(posed.views[1].world_from_cam, middle @ OPENGL, atol=1e-12)
    (warning,) = posed.warnings
    assert "moves during 1 frame of" in warning
    frame["transform_matrix_end"] = start.tolist()
    assert found(write_transforms(tmp_path, values)).warnings == ()


def test_frames_without_name_or_pose_are_left_out(tmp_path: Path) -> None:
    values = transforms(6)
    write_transforms(tmp_path, values)
    del values["frames"][1]["file_path"]
    values["frames"][2]["transform_matrix"] = None
    values["frames"][3]["file_path"] = None
    write_json(tmp_path / "transforms.json", values)
    posed = found(tmp_path)
    assert [view.path.name for view in posed.views] == ["0.png", "4.png", "5.png"]
    assert "3 frames in transforms.json without" in posed.warnings[0]
    assert "1.png, 3.png" in posed.warnings[1]  # lie there, and no frame names them
    assert len(posed.left_out) == 5 and posed.photos_given == 6


def test_photos_without_a_frame_are_told_of(tmp_path: Path) -> None:
    values = transforms()
    values["frames"][0]["depth_path"] = "images/0.depth.png"  # as NeRFCapture writes it
    write_transforms(tmp_path, values)
    for name in ("7.png", "0.depth.png"):
        write_photo(tmp_path / "images" / name)
    posed = found(tmp_path)
    (warning,) = posed.warnings
    assert "1 photo has no pose in transforms.json and was left out (7.png)" in warning
    assert posed.photos_given == 5 and [out.name for out in posed.left_out] == ["7.png"]


def test_a_frame_listed_twice(tmp_path: Path) -> None:
    values = transforms()
    path = write_transforms(tmp_path, values)
    values["frames"].append(dict(values["frames"][1]))
    write_json(path, values)
    posed = found(path)
    assert len(posed.views) == 4 and "listed twice" in posed.warnings[0]
    values["frames"][4]["transform_matrix"] = some_pose(9).tolist()
    write_json(path, values)
    assert "images/1.png twice with different poses" in error_of(path)


def test_n_frames_counts_in_the_order_of_names(tmp_path: Path) -> None:
    values = transforms(12, n_frames=3)
    values["frames"].reverse()
    path = write_transforms(tmp_path, values)
    posed = found(path)
    assert [view.path.name for view in posed.views] == ["0.png", "1.png", "2.png"]
    assert "only the first 3 of the 12 frames" in posed.warnings[0]
    write_json(path, values | {"n_frames": 12})
    assert found(path).warnings == ()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"white_transparent": True}, "white_transparent"),
        ({"black_transparent": True, "sharpen": 0.5}, "black_transparent, sharpen"),
        ({"sharpness_discard_threshold": 0.5}, "sharpness_discard_threshold"),
    ],
)
def test_what_would_change_the_picture_is_told(tmp_path: Path, extra: dict[str, Any], said: str) -> None:
    (warning,) = found(write_transforms(tmp_path, transforms(**extra))).warnings
    assert said in warning


def test_what_changes_nothing_is_passed_over(tmp_path: Path) -> None:
    """Keys of instant-ngp and nerfstudio without a say in the picture, and some of a later version."""
    extra = {
        "white_transparent": False,
        "rolling_shutter": [0.1, 0.2, 0.3, 0.0],  # without a second pose nothing moves
        "aabb_scale": 16,
        "offset": [0.5, 0.5, 0.5],
        "scale": 0.33,
        "aabb": [[0, 0, 0], [1, 1, 1]],
        "up": [0, 0, 1],
        "enable_depth_loading": True,
        "integer_depth_scale": 0.0001,
        "fix_premult": True,
        "applied_transform": [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]],
        "orientation_override": "none",
        "ply_file_path": "sparse_pc.ply",
        "version": 9,
        "a key of tomorrow": {"x": [1]},
    }
    values = transforms(**extra)
    for frame in values["frames"]:
        frame |= {"sharpness": 30.0, "colmap_im_id": 3, "depth_file_path": "depths/0.png"}
    assert found(write_transforms(tmp_path, values)).warnings == ()


def test_light_that_moves_is_told(tmp_path: Path) -> None:
    values = transforms()
    for frame in values["frames"]:
        frame["driver_parameters"] = {"LightX": 1.0, "LightY": 0.0, "LightZ": 0.0}
    (warning,) = found(write_transforms(tmp_path, values)).warnings
    assert "driver_parameters" in warning


def test_alpha_and_rays_beside_photos_are_told(tmp_path: Path) -> None:
    path = write_transforms(tmp_path, transforms())
    write_photo(tmp_path / "images/0.png.alpha.png")
    (tmp_path / "images/1.png").with_name("rays_1.dat").write_bytes(b"")
    said = " ".join(found(path).warnings)
    assert "0.png) have instant-ngp's alpha" in said and "1.png) have a file rays" in said


def test_is_transforms_goes_by_contents(tmp_path: Path) -> None:
    values = transforms()
    assert is_transforms(write_json(tmp_path / "my_cameras.JSON", values))
    assert not is_transforms(write_json(tmp_path / "other.txt", values))
    assert not is_transforms(write_json(tmp_path / "path.json", {"camera_path": [], "frames": []}))
    assert not is_transforms(write_json(tmp_path / "list.json", {"frames": [1, {"file_path": "a"}]}))
    (tmp_path / "broken.json").write_text(json.dumps(values)[:-5])
    assert not is_transforms(tmp_path / "broken.json") and not is_transforms(tmp_path / "none.json")
    (tmp_path / "deep.json").write_text('{"frames": "file_path" "transform_matrix"' + "[" * 100_000)
    assert not is_transforms(tmp_path / "deep.json")


def test_a_file_of_another_name(tmp_path: Path) -> None:
    path = write_transforms(tmp_path, transforms()).rename(tmp_path / "my_transforms.json")
    assert len(found(path).views) == 4
    (tmp_path / "camera_path.json").write_text(json.dumps({"camera_path": [], "frames": []}))
    assert len(found(tmp_path).views) == 4
    write_json(tmp_path / "old.json", transforms())
    assert "2 exports of cameras (my_transforms.json, old.json)" in error_of(tmp_path)


def test_train_and_val_without_test(tmp_path: Path) -> None:
    """BlenderNeRF's users often have only two of the three files."""
    write_synthetic(tmp_path, 0)
    (tmp_path / "transforms_test.json").unlink()
    posed = found(tmp_path)
    assert [(view.path.parent.name, view.split) for view in posed.views] == [
        *[("train", "train")] * 3,
        *[("val", "test")] * 3,
    ]


def test_a_test_file_alone_serves_for_training(tmp_path: Path) -> None:
    write_synthetic(tmp_path, 0)
    (tmp_path / "transforms_train.json").unlink()
    posed = found(tmp_path / "transforms_test.json")
    assert {(view.path.parent.name, view.split) for view in posed.views} == {("test", "train")}


def test_the_same_photos_for_training_and_testing(tmp_path: Path) -> None:
    """People copy transforms_train.json, because some programs ask for a test file."""
    write_synthetic(tmp_path, 0)
    (tmp_path / "transforms_test.json").write_text((tmp_path / "transforms_train.json").read_text())
    posed = found(tmp_path)
    assert [view.split for view in posed.views] == ["train"] * 3 and not posed.given_split
    assert "3 photos listed for training and for testing" in posed.warnings[0]


def test_depth_and_normals_of_nerf_synthetic_are_no_photos(tmp_path: Path) -> None:
    write_synthetic(tmp_path, 0)
    for i in range(3):
        write_photo(tmp_path / f"test/r_{i}_depth_0001.png", 32, 32)
        write_photo(tmp_path / f"test/r_{i}_normal_0001.png", 32, 32)
    posed = found(tmp_path)
    assert posed.warnings == () and len(posed.views) == 6
    assert not any("depth" in view.path.name or "normal" in view.path.name for view in posed.views)


def test_empty_names_stand_for_folders_of_nerfactor(tmp_path: Path) -> None:
    values: dict[str, Any] = {"camera_angle_x": 0.69, "frames": []}
    for i in range(3):
        values["frames"].append({"file_path": "", "transform_matrix": some_pose(i).tolist()})
        write_photo(tmp_path / f"train_{i:03d}/rgba.png", 32, 32, 0)
    write_json(tmp_path / "transforms_train.json", values)
    parents = [view.path.parent.name for view in found(tmp_path).views]
    assert parents == ["train_000", "train_001", "train_002"]


def test_frames_in_none_of_the_lists_are_told_of(tmp_path: Path) -> None:
    lists = {"train_filenames": ["images/0.png", "images/1.png"], "test_filenames": ["images/2.png"]}
    posed = found(write_transforms(tmp_path, transforms(**lists)))
    (warning,) = posed.warnings
    assert "1 frame of transforms.json in none of its lists" in warning and "images/3.png" in warning
    lists["test_filenames"].append("images/1.png")
    posed = found(write_transforms(tmp_path, transforms(**lists)))
    assert [view.split for view in posed.views] == ["train", "train", "test"]
    assert "listed for training and for testing" in posed.warnings[1]


def test_frames_for_testing_in_a_list_of_their_own(tmp_path: Path) -> None:
    """ScanNet++ writes frames and test_frames."""
    values = transforms()
    write_transforms(tmp_path, values)
    values["test_frames"] = [values["frames"].pop()]
    write_json(tmp_path / "transforms.json", values)
    posed = found(tmp_path)
    assert [view.split for view in posed.views] == ["train"] * 3 + ["test"] and posed.warnings == ()


def write_nerfstudio(root: Path, copies: tuple[int, ...], masks: tuple[int, ...]) -> None:
    """What ns-process-data leaves, with the copies (1: images itself) that are still there."""
    values = transforms(0, w=80, h=60, fl_x=100.0, fl_y=100.0, cx=40.0, cy=30.0, camera_model="OPENCV")
    for i in range(1, 4):
        name = f"frame_{i:05d}"
        frame = {"file_path": f"images/{name}.jpg", "mask_path": f"masks/{name}.png"}
        values["frames"].append(frame | {"transform_matrix": some_pose(i).tolist(), "colmap_im_id": i})
        for n in copies:
            folder = "images" if n == 1 else f"images_{n}"
            write_photo(root / folder / f"{name}.jpg", 80 // n, 60 // n)
        for n in masks:
            folder = "masks" if n == 1 else f"masks_{n}"
            write_mask(root / folder / f"{name}.png", slice(40 // n), 80 // n, 60 // n)
    values |= {"applied_transform": np.eye(4)[:3].tolist(), "ply_file_path": "sparse_pc.ply"}
    write_json(root / "transforms.json", values)


@pytest.mark.parametrize(
    ("copies", "masks", "size"),
    [((1, 2, 4), (1, 2, 4), 80), ((4,), (1, 4), 20), ((4,), (1,), 20), ((4,), (4,), 20), ((2,), (1, 2), 40)],
)
def test_shrunken_copies_take_their_masks_along(
    tmp_path: Path, copies: tuple[int, ...], masks: tuple[int, ...], size: int
) -> None:
    write_nerfstudio(tmp_path, copies, masks)
    posed = found(tmp_path)
    assert posed.warnings == () and len(posed.views) == 3
    for view in posed.views:
        assert view.intrinsics.width == size and view.intrinsics.fx == pytest.approx(size * 100 / 80)
        assert view.mask is not None
        use = read_mask(view.mask, view.intrinsics.width, view.intrinsics.height, view.mask_turns)
        assert not use[:, : size // 2].any() and use[:, size // 2 :].all()


@pytest.mark.parametrize("listed", ["images\\{}.jpg", "./images/{}", "C:\\Users\\me\\scan\\images\\{}.jpg"])
@pytest.mark.parametrize(
    "kept", ["images/{}.jpg", "images/{}.JPG", "Images/{}.jpg", "{}.jpeg", "images_2/{}.jpg"]
)
def test_photos_are_found_by_what_is_listed(tmp_path: Path, listed: str, kept: str) -> None:
    values = transforms()
    for i, frame in enumerate(values["frames"]):
        frame["file_path"] = listed.format(f"IMG_{i}")
        write_photo(tmp_path / kept.format(f"IMG_{i}"))
    write_json(tmp_path / "transforms.json", values)
    assert names_of(tmp_path) == [Path(kept.format(f"IMG_{i}")).name for i in range(4)]


def write_dynamic_masks(root: Path, names: list[str]) -> None:
    """As colmap2nerf.py --mask_categories writes them: what moves is white."""
    for name in names:
        pixels = np.zeros((30, 40), np.uint8)
        pixels[:, :10] = 255
        Image.fromarray(pixels).save(root / f"dynamic_mask_{name}.png")


def test_instant_ngp_s_dynamic_masks(tmp_path: Path) -> None:
    path = write_transforms(tmp_path, transforms())
    write_dynamic_masks(tmp_path / "images", ["0", "2"])
    posed = found(path)
    assert posed.warnings == () and posed.photos_given == 4
    assert [view.mask is not None for view in posed.views] == [True, False, True, False]
    assert posed.views[0].mask is not None
    use = read_mask(posed.views[0].mask, 40, 30)
    assert not use[:, :10].any() and use[:, 10:].all()


def test_dynamic_masks_are_no_photos(tmp_path: Path) -> None:
    """Also in a folder without cameras."""
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(tmp_path / f"{i}.png")
    write_dynamic_masks(tmp_path, ["0", "1", "2"])
    assert len(find_photos(tmp_path)) == 3
    assert all(photo.mask is not None for photo in open_capture(tmp_path).photos)

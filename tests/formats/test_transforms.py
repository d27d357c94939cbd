"""transforms.json and NeRF-synthetic's files: frames, poses, photos, splits and masks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from posed_captures import error_of, found
from transforms_cases import OPENGL, some_pose, transforms, write_photo, write_synthetic, write_transforms

from nerfscene.errors import NerfsceneError
from nerfscene.formats.readers import find_posed
from nerfscene.types import Intrinsics


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
        (lambda m: m @ np.diag([2.0, 2, 1, 1]), "scales its axes unlike"),
        (lambda m: m @ (np.eye(4) + np.eye(4)[[1, 1, 1, 1]] * [[0.1], [0], [0], [0]]), "shears"),
        (lambda m: m @ np.diag([-2.0, 2, 2, 1]), "mirrors"),
        (lambda m: m @ np.diag([0.0, 0, 0, 1]), "scales"),
        (lambda m: m @ np.diag([-1.0, 1, 1, 1]), "mirrors"),
        (lambda m: m + np.eye(4)[[3, 3, 3, 0]], "not a rotation and a translation"),
        (lambda m: m.T, "transposed"),
        (lambda m: m[:2], "no 4×4"),
        (lambda m: "identity", "no 4×4"),
        (lambda m: [[1, 2], [3]], "no 4×4"),
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


@pytest.mark.parametrize("listed", ["/home/me/cap/cut/{}.png", "D:\\cap\\Cut\\{}.PNG", "../cap/cut/{}.png"])
def test_masks_listed_with_paths_of_another_machine(tmp_path: Path, listed: str) -> None:
    values = transforms()
    for i, frame in enumerate(values["frames"]):
        frame["mask_path"] = listed.format(i)
    write_transforms(tmp_path, values)
    (tmp_path / "cut").mkdir()
    for i in range(4):
        Image.new("L", (40, 30), 255).save(tmp_path / f"cut/{i}.png")
    posed = found(tmp_path)
    assert [view.mask for view in posed.views] == [tmp_path / f"cut/{i}.png" for i in range(4)]
    assert posed.warnings == ()


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
    named, other = posed.warnings
    assert "1 of the masks" in named and "cut/gone.png" in named
    assert "photos has no mask" in other and "(0.png)" in other
    Image.new("L", (45, 30), 255).save(tmp_path / "masks/3.png")
    with pytest.raises(NerfsceneError, match=r"masks/3\.png is 45×30"):
        find_posed(path)


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
    assert "2 of the 6 frames in transforms_train.json and transforms_test.json" in warning
    assert len(posed.views) == 4

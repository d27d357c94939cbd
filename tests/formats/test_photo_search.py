"""The one search for photos that all readers share, and photos and masks that were turned or shrunk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from app_cases import CAMERAS, HEIGHT, OPENGL, POINTS, WIDTH, projected, write_photos
from PIL import Image
from posed_captures import error_of, found
from transforms_cases import transforms, write_transforms

from nerfscene.capture.folder import read_mask
from nerfscene.formats.photo_search import locate, photo_finder


def finds(root: Path, *names: str, **options: object) -> list[str | None]:
    """The photos that names lead to, relative to ``root``; names are relative to it."""
    find = photo_finder(root, None, names, root / "cameras", **({"relative_to": (root,)} | options))  # type: ignore[arg-type]
    found_ = [find(name) for name in names]
    return [None if path is None else path.relative_to(root).as_posix() for path in found_]


@pytest.mark.parametrize(
    "listed",
    [
        ["images/a.jpg", "images/b.jpg"],
        ["images/a.JPG", "images/B.jpg"],
        ["Images\\a.jpg", "Images\\b.jpg"],
        ["./images/a", "./images/b"],
        ["images/a.png", "images/b.tif"],
        ["a.jpg", "b.jpg"],
        ["C:\\Users\\me\\photos\\a.jpg", "C:\\Users\\me\\photos\\b.jpg"],
        ["/home/me/photos/a.jpg", "/home/me/photos/b.jpg"],
        ["../capture/pictures/a.jpg", "../capture/pictures/b.jpg"],
    ],
)
@pytest.mark.parametrize("relative", [True, False])
def test_names_as_programs_and_people_leave_them(tmp_path: Path, listed: list[str], relative: bool) -> None:
    write_photos(tmp_path / "images", ["a.jpg", "b.jpg"])
    places = (tmp_path,) if relative else ()
    assert finds(tmp_path, *listed, relative_to=places) == ["images/a.jpg", "images/b.jpg"]


def test_the_very_name_goes_before_another_letter_case_and_ending(tmp_path: Path) -> None:
    write_photos(tmp_path, ["a.jpg", "a.JPG", "b.png", "b.jpg"])
    assert finds(tmp_path, "a.JPG", "a.jpg") == ["a.JPG", "a.jpg"]
    assert finds(tmp_path, "b") == ["b.png"]
    assert finds(tmp_path, "b.jpg") == ["b.jpg"]


@pytest.mark.parametrize("relative", [True, False])
def test_names_written_as_in_addresses(tmp_path: Path, relative: bool) -> None:
    write_photos(
        tmp_path / "my photos", ["a 1.jpg", "Zürich #2.jpg", "100%25.jpg", "b%201.jpg", "b 1.jpg", "c%zz.jpg"]
    )
    places = (tmp_path,) if relative else ()
    listed = {
        "my%20photos/a%201.jpg": "a 1.jpg",
        "my%20photos/Z%C3%BCrich%20%232.JPG": "Zürich #2.jpg",
        "my photos/100%25.jpg": "100%25.jpg",  # a file of the very name goes first
        "my photos/b%201.jpg": "b%201.jpg",
        "my photos/b 1.jpg": "b 1.jpg",
        "my photos/c%zz.jpg": "c%zz.jpg",
        "my photos/d%FF%00.jpg": None,
    }
    right = [name and f"my photos/{name}" for name in listed.values()]
    assert finds(tmp_path, *listed, relative_to=places) == right


def test_a_missing_photo_is_not_replaced_by_one_of_another_folder(tmp_path: Path) -> None:
    write_photos(tmp_path / "train", ["r_0.png", "r_1.png"])
    write_photos(tmp_path / "test", ["r_0.png", "r_1.png", "r_2.png"])
    assert finds(tmp_path, "train/r_0", "train/r_1", "train/r_2") == ["train/r_0.png", "train/r_1.png", None]


def test_one_photo_is_not_used_for_two_names(tmp_path: Path) -> None:
    write_photos(tmp_path / "images", ["1.jpg", "2.jpg"])
    names = ["left/1.jpg", "right/1.jpg", "right/2.jpg"]
    assert finds(tmp_path, *names) == [None, None, "images/2.jpg"]
    assert finds(tmp_path, "images/1.jpeg", "images/1.png", "images/1.jpg") == [None, None, "images/1.jpg"]


def test_shrunken_copies_are_used_where_the_photos_are_gone(tmp_path: Path) -> None:
    write_photos(tmp_path / "images_4", ["a.jpg", "b.jpg"])
    write_photos(tmp_path / "images_2", ["a.jpg", "b.jpg"])
    assert finds(tmp_path, "images/a.jpg", "images/b.jpg") == ["images_2/a.jpg", "images_2/b.jpg"]
    assert finds(tmp_path, "images/a.jpg", "images/b.jpg", shrunk=False) == [None, None]
    write_photos(tmp_path / "images", ["a.jpg", "b.jpg"])
    assert finds(tmp_path, "images/a.jpg", "images/b.jpg") == ["images/a.jpg", "images/b.jpg"]


def test_locate_follows_a_name_through_folders_of_other_letter_case(tmp_path: Path) -> None:
    write_photos(tmp_path / "Cut/Out", ["One.PNG"])
    assert locate(tmp_path, "cut/out/one.png") == tmp_path / "Cut/Out/One.PNG"
    assert locate(tmp_path, "cut/out/two.png") is None and locate(tmp_path, "") is None
    assert locate(tmp_path, "gone/one.png") is None


def write_capture(root: Path, orientation: int | None, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """A transforms.json of cameras that see the stored pixels, with photos that EXIF turns."""
    root.mkdir(exist_ok=True)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    frames = []
    for index, (rotation, centre) in enumerate(CAMERAS):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation.T @ OPENGL, centre
        frames.append({"file_path": f"{index}.jpg", "transform_matrix": matrix.tolist()})
        Image.new("RGB", size).save(root / f"{index}.jpg", exif=exif)
    lens = {"fl_x": 380.0, "fl_y": 390.0, "cx": 190.0, "cy": 160.0, "w": WIDTH, "h": HEIGHT, "p1": 0.01}
    (root / "transforms.json").write_text(json.dumps(lens | {"frames": frames}))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_cameras_and_masks_of_stored_pixels_follow_the_photo(tmp_path: Path, orientation: int) -> None:
    write_capture(tmp_path / "stored", None)
    write_capture(tmp_path / "turned", orientation)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:100, :50] = 255  # the upper left corner of the stored picture
    (tmp_path / "turned/masks").mkdir()
    for index in range(len(CAMERAS)):
        Image.fromarray(mask).save(tmp_path / f"turned/masks/{index}.png")
    turns = {6: 1, 3: 2, 8: 3}[orientation]
    pairs = zip(found(tmp_path / "stored").views, found(tmp_path / "turned").views, strict=True)
    for before, after in pairs:
        u, v = projected(before, POINTS).T
        shown = {6: (HEIGHT - v, u), 3: (WIDTH - u, HEIGHT - v), 8: (v, WIDTH - u)}[orientation]
        np.testing.assert_allclose(projected(after, POINTS), np.stack(shown, axis=1), atol=1e-6)
        k = after.intrinsics
        assert after.mask is not None
        used = read_mask(after.mask, k.width, k.height, after.mask_turns)
        np.testing.assert_array_equal(used, np.rot90(mask > 0, -turns))


def test_cameras_of_photos_that_the_program_turned_itself_stay_as_they_are(tmp_path: Path) -> None:
    write_capture(tmp_path, 6, (HEIGHT, WIDTH))  # shown with WIDTH × HEIGHT pixels, as the lens says
    for view, (rotation, centre) in zip(found(tmp_path).views, CAMERAS, strict=True):
        np.testing.assert_allclose(view.world_from_cam[:3, :3], rotation.T, atol=1e-9)
        np.testing.assert_allclose(view.world_from_cam[:3, 3], centre)


@pytest.mark.parametrize("orientation", [2, 4, 5, 7])
def test_mirrored_photos_with_cameras_are_refused(tmp_path: Path, orientation: int) -> None:
    write_capture(tmp_path, orientation)
    assert "is mirrored by its EXIF orientation" in error_of(tmp_path)


@pytest.mark.parametrize(("scale", "folder"), [(1, "masks"), (4, "masks_4"), (8, "masks_4"), (4, "masks")])
def test_masks_of_shrunken_copies(tmp_path: Path, scale: int, folder: str) -> None:
    """nerfstudio's copies come with masks of their own, or people keep only those of full size."""
    write_capture(tmp_path, None)
    (tmp_path / "images_4").mkdir()
    for index in range(len(CAMERAS)):
        (tmp_path / f"{index}.jpg").unlink()
        Image.new("RGB", (WIDTH // 4, HEIGHT // 4)).save(tmp_path / f"images_4/{index}.jpg")
    mask = np.zeros((HEIGHT // scale, WIDTH // scale), np.uint8)
    mask[:, : WIDTH // scale // 2] = 255
    (tmp_path / folder).mkdir()
    Image.fromarray(mask).save(tmp_path / folder / "1.png")
    view = found(tmp_path).views[1]
    assert view.mask == tmp_path / folder / "1.png"
    used = read_mask(view.mask, view.intrinsics.width, view.intrinsics.height, view.mask_turns)
    assert used[:, : WIDTH // 8].all() and not used[:, WIDTH // 8 :].any()


def test_photos_that_an_export_does_not_list_are_told(tmp_path: Path) -> None:
    write_capture(tmp_path, None)
    write_photos(tmp_path, ["8.jpg", "9.jpg"])
    posed = found(tmp_path)
    assert len(posed.views) == len(CAMERAS) and posed.photos_given == len(CAMERAS) + 2
    (warning,) = posed.warnings
    assert warning == "2 photos have no pose in transforms.json and were left out (8.jpg, 9.jpg)."
    assert [left.name for left in posed.left_out] == ["8.jpg", "9.jpg"]


def test_photos_beside_a_folder_called_images(tmp_path: Path) -> None:
    """The photos listed may lie in another folder although ``images`` holds others."""
    write_transforms(tmp_path / "other", transforms()).unlink()
    (tmp_path / "other/images").rename(tmp_path / "images")
    values = transforms()
    for i, frame in enumerate(values["frames"]):
        frame["file_path"] = f"IMG_{i}.png"
    write_transforms(tmp_path / "photos", values).rename(tmp_path / "transforms.json")
    posed = found(tmp_path)
    assert {view.path.parent for view in posed.views} == {tmp_path / "photos"}


def test_accents_in_either_form_of_unicode(tmp_path: Path) -> None:
    """macOS writes ä as a and two dots, which archives keep; programs list it as one letter."""
    write_photos(tmp_path / "images", ["ba\u0308ume.jpg", "\u00fc.JPG"])
    listed = ("b\u00e4ume.jpg", "u\u0308.jpg")
    expected = ["images/ba\u0308ume.jpg", "images/\u00fc.JPG"]
    assert finds(tmp_path, *(f"images/{name}" for name in listed)) == expected
    assert finds(tmp_path, *(f"D:\\cap\\{name}" for name in listed)) == expected


@pytest.mark.parametrize("folder", ["masks", "Masks", "MASKS"])
def test_masks_beside_photos_whose_cameras_lie_elsewhere(tmp_path: Path, folder: str) -> None:
    write_transforms(tmp_path / "export", transforms())
    (tmp_path / "export/images").rename(tmp_path / "images")
    (tmp_path / folder).mkdir()
    for i in range(4):
        Image.new("L", (40, 30), 255).save(tmp_path / folder / f"{i}.png")
    assert [view.mask for view in found(tmp_path).views] == [tmp_path / f"{folder}/{i}.png" for i in range(4)]


def test_masks_that_belong_to_no_photo_are_told(tmp_path: Path) -> None:
    write_transforms(tmp_path, transforms())
    (tmp_path / "mask").mkdir()
    Image.new("L", (40, 30), 255).save(tmp_path / "mask/0.png")
    (told,) = found(tmp_path).warnings
    assert "mask holds 1 picture, but no photo's mask was found" in told and "masks/0.png" in told


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_transforms_in_the_encodings_of_windows(tmp_path: Path, encoding: str) -> None:
    path = write_transforms(tmp_path, transforms())
    path.write_text(path.read_text(), encoding=encoding)
    assert len(found(tmp_path).views) == 4


def test_the_very_name_goes_before_another_letter_case(tmp_path: Path) -> None:
    write_photos(tmp_path / "images", ["a.jpg", "A.jpg"])
    assert finds(tmp_path, "D:\\cap\\a.jpg", "D:\\cap\\A.jpg") == ["images/a.jpg", "images/A.jpg"]


@pytest.mark.parametrize(
    "name", ["x" * 5000, "images/" + "x" * 300 + ".png", "a/" * 3000 + "0.png", "a\0b", "\ud800"]
)
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    values = transforms(5)
    write_transforms(tmp_path, values)
    values["frames"][2]["file_path"] = name
    (tmp_path / "transforms.json").write_text(json.dumps(values))
    posed = found(tmp_path)
    assert len(posed.views) == 4 and "not on disk" in " ".join(p.reason for p in posed.left_out)

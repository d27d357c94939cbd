"""Folders of photos, good and bad, and what is read from a photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from photo_cases import message_of, noise, save_turned, write_photos
from PIL import Image

from nerfscene.capture.folder import (
    FILM_DIAGONAL,
    carries_alpha,
    natural_key,
    open_capture,
    photo_size,
    read_each,
    read_pixels,
)
from nerfscene.errors import NerfsceneError


def test_photos_come_in_natural_order_whatever_their_suffix(tmp_path: Path) -> None:
    write_photos(tmp_path, ["img10.jpg", "img2.PNG", "img1.JPEG", "img3.webp", "img4.tif"])
    (tmp_path / "notes.txt").write_text("not a photo")
    (tmp_path / "._img1.jpg").write_bytes(b"left by macOS")
    capture = open_capture(tmp_path)
    names = [photo.path.name for photo in capture.photos]
    assert names == ["img1.JPEG", "img2.PNG", "img3.webp", "img4.tif", "img10.jpg"]
    assert {(photo.width, photo.height) for photo in capture.photos} == {(40, 30)}
    assert capture.warnings == ()
    assert capture.root == tmp_path


def test_natural_order_mixes_names_that_start_with_digits_and_letters() -> None:
    names = ["b", "10", "9a", "a10", "a9", ""]
    assert sorted(names, key=natural_key) == ["", "9a", "10", "a9", "a10", "b"]


def test_images_subfolder_is_used_only_without_photos_beside_it(tmp_path: Path) -> None:
    write_photos(tmp_path / "images", ["a.jpg", "b.jpg", "c.jpg"])
    assert len(open_capture(tmp_path).photos) == 3
    write_photos(tmp_path, ["d.jpg", "e.jpg", "f.jpg", "g.jpg"])
    capture = open_capture(tmp_path)
    assert len(capture.photos) == 4
    (told,) = capture.warnings
    assert "the 3 photos in" in told and "images are not used, because 4 lie beside it" in told


def test_links_to_photos_elsewhere_are_followed_once(tmp_path: Path) -> None:
    write_photos(tmp_path / "elsewhere", ["a.jpg", "b.jpg", "c.jpg"])
    (tmp_path / "elsewhere/more").symlink_to(tmp_path / "capture", target_is_directory=True)
    (tmp_path / "capture").mkdir()
    (tmp_path / "capture/images").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "capture/again").symlink_to(tmp_path, target_is_directory=True)
    assert [photo.path.name for photo in open_capture(tmp_path / "capture").photos] == [
        "a.jpg",
        "b.jpg",
        "c.jpg",
    ]


def test_a_cover_beside_images_does_not_hide_them(tmp_path: Path) -> None:
    write_photos(tmp_path / "images", ["a.jpg", "b.jpg", "c.jpg"])
    write_photos(tmp_path, ["cover.jpg"])
    assert [photo.path.name for photo in open_capture(tmp_path).photos] == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_folder_that_may_not_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path / "DCIM", ["a.jpg", "b.jpg", "c.jpg"])
    (tmp_path / "lost+found").mkdir()
    exists = Path.exists

    def refused(path: Path) -> bool:
        if path.parent.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", refused)
    assert len(open_capture(tmp_path).photos) == 3


def test_unusable_folders_are_told_apart(tmp_path: Path) -> None:
    assert "does not exist" in message_of(tmp_path / "nowhere")
    single = tmp_path / "one.jpg"
    Image.fromarray(noise(20, 20)).save(single)
    assert "is a file" in message_of(single)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no files" in message_of(empty)
    (empty / "IMG_1.DNG").write_bytes(b"x")
    (empty / "IMG_2.DNG").write_bytes(b"x")
    assert "2 x .dng" in message_of(empty) and "export" in message_of(empty)
    nested = tmp_path / "nested"
    write_photos(nested / "day1", ["a.jpg", "b.jpg"])
    assert "2 readable photos" in message_of(nested)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_photos_says_how_many_are_needed(tmp_path: Path, count: int) -> None:
    write_photos(tmp_path, [f"{i}.jpg" for i in range(count)])
    message = message_of(tmp_path)
    assert f"{count} readable photo" in message and "at least 3" in message


def test_damaged_photos_are_left_out_with_one_warning(tmp_path: Path) -> None:
    write_photos(tmp_path, [f"{i}.jpg" for i in range(4)], (200, 150))
    write_photos(tmp_path, ["cut.png", "cut.jpg"], (200, 150))
    for name in ("cut.png", "cut.jpg"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])  # the header is whole
    (tmp_path / "text.jpg").write_text("not a photo at all")
    (tmp_path / "empty.jpg").write_bytes(b"")
    capture = open_capture(tmp_path)
    assert [photo.path.name for photo in capture.photos] == [f"{i}.jpg" for i in range(4)]
    (warning,) = capture.warnings
    assert "4 of 8" in warning
    assert all(name in warning for name in ("cut.png", "cut.jpg", "text.jpg", "empty.jpg"))


def test_too_few_left_after_damage_is_an_error_naming_it(tmp_path: Path) -> None:
    write_photos(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff")
    message = message_of(tmp_path)
    assert "2 readable photos" in message and "c.jpg" in message


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_orientation_is_heeded(tmp_path: Path, orientation: int, suffix: str) -> None:
    shown = noise(64, 40)
    path = tmp_path / f"turned{suffix}"
    save_turned(path, shown, orientation)
    assert photo_size(path) == (64, 40)
    got = read_pixels(path, 64, 40)
    assert got.shape == (40, 64, 3)
    assert np.abs(got.astype(int) - shown).mean() < 4
    half = read_pixels(path, 32, 20)
    expected = shown.reshape(20, 2, 32, 2, 3).mean((1, 3))
    assert half.shape == (20, 32, 3)
    assert np.abs(half - expected).mean() < 4


def test_focal_length_from_exif_is_in_pixels_of_the_photo_as_shown(tmp_path: Path) -> None:
    for index, focal in enumerate((26, 0, None)):
        exif = Image.Exif()
        exif[0x0112] = 6
        if focal is not None:
            exif.get_ifd(0x8769)[0xA405] = focal
        Image.fromarray(noise(400, 300, index)).save(tmp_path / f"{index}.jpg", exif=exif)
    known, zero, silent = open_capture(tmp_path).photos
    assert (known.width, known.height) == (300, 400)
    assert known.focal == pytest.approx(26 / FILM_DIAGONAL * 500)
    assert zero.focal is None and silent.focal is None


def test_shrinking_by_whole_factors_averages_areas(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (24, 36, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = pixels.reshape(8, 3, 12, 3, 3).mean((1, 3))
    assert np.abs(read_pixels(tmp_path / "a.png", 12, 8) - expected).max() <= 1


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_shrinking_by_other_factors_keeps_places(tmp_path: Path, suffix: str) -> None:
    # A ramp across the photo: any shift of the picture shows as an offset of its values.
    ramp = np.broadcast_to(np.linspace(20, 235, 201), (177, 201)).astype(np.uint8)
    path = tmp_path / f"ramp{suffix}"
    Image.fromarray(np.dstack([ramp] * 3)).save(path)
    for width in (20, 24, 45, 77, 150):
        got = read_pixels(path, width, 17)[..., 0].mean(0)
        centres = (np.arange(width) + 0.5) / width * 201 - 0.5
        off = (got - (20 + 215 * centres / 200))[1:-1]
        assert np.abs(off.mean()) < 0.7  # the ramp rises by 1.1 a pixel, and is rounded down
        assert np.abs(off).max() < 2


def test_hidden_colours_do_not_bleed_when_shrinking(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :, 1] = 255  # green all over, but hidden …
    pixels[:, :3] = (200, 100, 50, 255)  # … outside a strip 3 wide
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    small = read_pixels(tmp_path / "cut.png", 4, 4)
    assert small.shape == (4, 4, 4)
    assert small[0, 1, 3] in (127, 128)
    np.testing.assert_allclose(small[:, :2, :3], [[[200, 100, 50]] * 2] * 4, atol=1)


def test_every_colour_mode_becomes_8_bit_rgb(tmp_path: Path) -> None:
    grey = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (16, 1))
    rgb = np.dstack([grey] * 3)
    alpha = np.full_like(grey, 128)
    modes = {
        "grey.png": Image.fromarray(grey),
        "grey16.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "grey16.tif": Image.fromarray(grey.astype(np.uint16) * 257),
        "float.tif": Image.fromarray(grey.astype(np.float32) / 255),
        "palette.png": Image.fromarray(rgb).quantize(256),
        "cmyk.jpg": Image.fromarray(rgb).convert("CMYK"),
    }
    for name, image in modes.items():
        image.save(tmp_path / name)
        got = read_pixels(tmp_path / name, 32, 16)
        assert got.shape == (16, 32, 3) and got.dtype == np.uint8, name
        assert np.abs(got.astype(int) - rgb).max() <= 6, name
    Image.fromarray(np.dstack([grey, alpha])).save(tmp_path / "la.png")
    got = read_pixels(tmp_path / "la.png", 32, 16)
    assert got.shape == (16, 32, 4) and (got[..., 3] == 128).all()
    assert np.abs(got[..., :3].astype(int) - rgb).max() <= 1
    see_through = Image.fromarray(rgb).quantize(8)
    see_through.save(tmp_path / "p.png", transparency=0)
    assert read_pixels(tmp_path / "p.png", 32, 16)[..., 3].min() == 0


def test_only_transparent_pixels_make_a_cut_out(tmp_path: Path) -> None:
    rgba = np.full((8, 8, 4), 255, np.uint8)
    opaque, cut = tmp_path / "opaque.png", tmp_path / "cut.png"
    Image.fromarray(rgba).save(opaque)
    rgba[0, 0, 3] = 0
    Image.fromarray(rgba).save(cut)
    Image.fromarray(noise(8, 8)).save(tmp_path / "plain.jpg")
    assert not carries_alpha([opaque, tmp_path / "plain.jpg"])
    assert carries_alpha([opaque, cut])
    # A straightened photo has transparent corners, but is no cut-out.
    assert not carries_alpha([cut, opaque, opaque, opaque])


def test_each_photo_is_read_and_progress_told(tmp_path: Path) -> None:
    write_photos(tmp_path, [f"{i}.png" for i in range(6)])
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    told: list[float] = []
    got: dict[int, np.ndarray] = {}
    read_each([(p, 20, 15) for p in paths], got.__setitem__, lambda stage, done: told.append(done))
    assert told[-1] == 1 and told == sorted(told)
    assert sorted(got) == list(range(6))
    for index, path in enumerate(paths):
        np.testing.assert_array_equal(got[index], read_pixels(path, 20, 15))


def test_photo_that_breaks_later_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    Image.fromarray(noise(300, 200)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(NerfsceneError, match=r"broken\.jpg cannot be read"):
        read_pixels(path, 300, 200)
    with pytest.raises(NerfsceneError, match=r"gone\.jpg does not exist"):
        read_each([(tmp_path / "gone.jpg", 10, 10)], lambda index, pixels: None)


def test_size_of_a_png_is_read_without_decoding_it(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(noise(300, 200)).save(path)
    path.write_bytes(path.read_bytes()[:200])  # header only: decoding would fail
    assert photo_size(path) == (300, 200)

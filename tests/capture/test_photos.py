"""Kinds of photos that phones and cameras make, and which photos of a capture are left out."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from photo_cases import exif, message_of, noise, save_turned, write_photos
from PIL import Image, ImageFilter
from pillow_heif import HeifImageFile

from nerfscene.capture import photos
from nerfscene.capture.folder import (
    FILM_DIAGONAL,
    find_photos,
    open_capture,
    photo_size,
    photo_turns,
    read_mask,
    read_pixels,
    short_names,
)
from nerfscene.capture.photos import inspect_photo
from nerfscene.errors import NerfsceneError

DEMO = Path(__file__).parents[2] / "data/demo/images"


def pictures(count: int, width: int = 480) -> list[Image.Image]:
    """The demo's first pictures, shrunk."""
    made = []
    for file in sorted(DEMO.iterdir())[:count]:
        with Image.open(file) as image:
            made.append(image.convert("RGB").resize((width, width * 3 // 4), Image.Resampling.BOX))
    return made


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heif_is_turned_once(tmp_path: Path, orientation: int) -> None:
    shown = noise(96, 64)
    path = tmp_path / "photo.heic"
    save_turned(tmp_path / "photo.png", shown, orientation)
    with Image.open(tmp_path / "photo.png") as stored:
        # As phones write it: the container turns the picture, and EXIF notes it as well.
        stored.save(path, exif=exif(orientation, equivalent=26), quality=95)
    if orientation != 1:
        assert b"irot" in path.read_bytes()
    assert photo_size(path) == (96, 64)
    got = read_pixels(path, 96, 64)
    assert np.abs(got.astype(int) - shown).mean() < 5
    half = read_pixels(path, 48, 32)
    assert np.abs(half - shown.reshape(32, 2, 48, 2, 3).mean((1, 3))).mean() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_is_turned_once(tmp_path: Path, orientation: int) -> None:
    shown = noise(96, 64)
    path = tmp_path / "photo.tif"
    save_turned(path, shown, orientation)
    assert photo_size(path) == (96, 64)
    np.testing.assert_array_equal(read_pixels(path, 96, 64), shown)
    assert photo_turns(path) == {6: 1, 3: 2, 8: 3}.get(orientation, 0)


@pytest.mark.parametrize("suffix", [".heic", ".webp", ".jpg", ".png"])
def test_broken_notes_beside_a_whole_picture_do_no_harm(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    broken = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + bytes(range(40))
    pictures(1)[0].save(path, exif=broken)
    assert photo_size(path) == (480, 360)
    assert inspect_photo(path, 100).photo.focal is None
    assert read_pixels(path, 480, 360).shape == (360, 480, 3)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of what it ignores
def test_a_tiff_damaged_anywhere_is_one_sentence_or_read(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tif"
    pictures(1, 64)[0].save(whole, compression="tiff_lzw")
    data = whole.read_bytes()
    start = int.from_bytes(data[4:8], "little")  # of the tags
    for place in range(start, len(data), 3):
        hurt = bytearray(data)
        hurt[place] ^= 0x55
        path = tmp_path / "hurt.tif"
        path.write_bytes(hurt)
        try:
            inspect_photo(path, 50)
        except NerfsceneError as error:
            assert "hurt.tif cannot be read" in str(error)


def test_photos_of_200_megapixels_are_no_attack() -> None:
    assert Image.MAX_IMAGE_PIXELS is None or Image.MAX_IMAGE_PIXELS > 16320 * 12240


def test_a_heif_s_thumbnail_is_not_taken_for_the_photo(tmp_path: Path) -> None:
    shown = noise(640, 480)
    heif = pillow_heif.from_pillow(Image.fromarray(shown))
    heif.save(tmp_path / "a.heic", quality=95, thumbnails=[128])
    tiny = read_pixels(tmp_path / "a.heic", 64, 48)
    assert np.abs(tiny - shown.reshape(48, 10, 64, 10, 3).mean((1, 3))).mean() < 3


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".webp", ".jpg", ".tif"])
def test_focal_length_is_read_from_every_kind(tmp_path: Path, suffix: str) -> None:
    for index in range(3):
        image = Image.fromarray(noise(400, 300, index))
        image.save(tmp_path / f"{index}{suffix}", exif=exif(equivalent=26), quality=90)
    for photo in open_capture(tmp_path).photos:
        assert photo.focal == pytest.approx(26 / FILM_DIAGONAL * 500)


def test_focal_length_from_millimetres_and_the_sensor(tmp_path: Path) -> None:
    # 4000 pixels on 20 mm, 50 mm away: 10 000 pixels, 1000 on a photo shrunk to a tenth.
    given = [
        {"focal": 50.0, "density": 4000 / 20 * 10, "unit": 3, "across": 4000},
        {"focal": 50.0, "density": 4000 / 20 * 25.4, "unit": 2, "across": 4000},
        {"focal": 50.0, "density": 4000 / 20 * 25.4, "across": 4000},
        {"equivalent": 0, "focal": 50.0},
        {"focal": 50.0, "density": 1e7, "across": 400},
        {"focal": 0.0, "density": 0.0, "unit": 2},
    ]
    for index, tags in enumerate(given):
        Image.fromarray(noise(400, 300, index)).save(tmp_path / f"{index}.jpg", exif=exif(**tags))
    focal = [photo.focal for photo in open_capture(tmp_path).photos]
    assert focal[:3] == [pytest.approx(1000, rel=1e-3)] * 3
    assert focal[3:] == [None, None, None]


def write_png16(path: Path, values: NDArray[np.uint16]) -> None:
    """A PNG of 16-bit RGB (height, width, 3), which Pillow doesn't write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    path.write_bytes(start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write_tiff16(path: Path, values: NDArray[np.uint16], planes: bool = False) -> None:
    """An uncompressed TIFF of 16-bit RGB (height, width, 3), colours interleaved or in planes."""
    height, width = values.shape[:2]
    data = (values.transpose(2, 0, 1) if planes else values).astype("<u2").tobytes()
    strips = 3 if planes else 1
    entries = 10
    extra = 8 + 2 + entries * 12 + 4
    bits_at, offsets_at, counts_at = extra, extra + 6, extra + 18
    first, each = extra + 30, len(data) // strips
    offsets = [first + i * each for i in range(strips)]
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, bits_at), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, strips, offsets_at if planes else offsets[0]), (277, 3, 1, 3), (278, 4, 1, height),
        (279, 4, strips, counts_at if planes else each), (284, 3, 1, 2 if planes else 1),
    ]  # fmt: skip
    body = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", entries)
    body += b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    body += struct.pack("<3H", 16, 16, 16)
    body += struct.pack("<3I", *[*offsets, 0, 0][:3]) + struct.pack("<3I", *([each] * 3))
    path.write_bytes(body + data)


def test_sixteen_bits_become_eight_and_that_is_said(tmp_path: Path) -> None:
    for index in range(3):
        values = noise(64, 48, index).astype(np.uint16) * 257
        write_png16(tmp_path / f"{index}.png", values)
        write_tiff16(tmp_path / f"t{index}.tif", values[:, ::-1])
        np.testing.assert_allclose(read_pixels(tmp_path / f"{index}.png", 64, 48), values // 257, atol=1)
        np.testing.assert_allclose(
            read_pixels(tmp_path / f"t{index}.tif", 64, 48), values[:, ::-1] // 257, atol=1
        )
    (warning,) = open_capture(tmp_path).warnings
    assert "6 of 6 photos" in warning and "8 are used" in warning


def test_ten_bits_and_greys_are_said(tmp_path: Path) -> None:
    for index in range(3):
        fine = noise(64, 48, index).astype(np.uint16) * 257
        heif = pillow_heif.from_bytes("RGB;16", (64, 48), fine.tobytes())
        heif.save(tmp_path / f"{index}.heic", quality=95)
    Image.fromarray(noise(64, 48, 7)).convert("L").save(tmp_path / "grey.jpg")
    Image.fromarray(noise(64, 48, 8)[..., 0].astype(np.uint16) * 257).save(tmp_path / "grey16.png")
    warnings = open_capture(tmp_path).warnings
    assert len(warnings) == 2
    assert any("4 of 5 photos" in w and "8 are used" in w for w in warnings)
    assert any("2 of 5 photos (" in w and "are grey" in w for w in warnings), warnings


def test_a_tiff_that_would_be_misread_is_left_out(tmp_path: Path) -> None:
    write_photos(tmp_path, ["a.png", "b.png", "c.png"])
    write_tiff16(tmp_path / "planes.tif", noise(40, 30, 9).astype(np.uint16) * 257, planes=True)
    capture = open_capture(tmp_path)
    assert [(left.name, left.reason) for left in capture.left_out] == [("planes.tif", "can't be read")]


def test_of_several_pictures_the_first_is_used_and_that_is_said(tmp_path: Path) -> None:
    first = noise(60, 40, 1)
    others = [Image.fromarray(noise(60, 40, 50 + i)) for i in range(2)]
    for name in ("a.webp", "b.png", "c.tif"):
        options = {"lossless": True} if name == "a.webp" else {}
        turned = Image.fromarray(np.roll(first, ord(name[0]), axis=1))
        turned.save(tmp_path / name, save_all=True, append_images=others, **options)
    np.testing.assert_array_equal(
        read_pixels(tmp_path / "b.png", 60, 40)[..., :3], np.roll(first, ord("b"), axis=1)
    )
    Image.fromarray(first).convert("CMYK").save(tmp_path / "d.jpg")
    warnings = open_capture(tmp_path).warnings
    assert any("3 of 4 photos" in w and "first of each" in w for w in warnings)
    assert any("1 of 4 photos (d.jpg) are CMYK" in w for w in warnings)


def test_blurred_photos_are_left_out_by_name(tmp_path: Path) -> None:
    for index, image in enumerate(pictures(14)):
        if index == 5:
            image = image.filter(ImageFilter.GaussianBlur(3))
        if index == 9:  # moved while it was taken
            values = np.mean([np.roll(np.asarray(image, float), i, axis=1) for i in range(10)], axis=0)
            image = Image.fromarray(values.astype(np.uint8))
        image.save(tmp_path / f"{index}.jpg", quality=92)
    capture = open_capture(tmp_path)
    assert [(left.name, left.reason) for left in capture.left_out] == [
        ("5.jpg", "is blurred"),
        ("9.jpg", "is blurred"),
    ]
    assert len(capture.photos) == 12
    (warning,) = capture.warnings
    assert "2 of 14" in warning and "5.jpg, 9.jpg" in warning


def test_culling_keeps_all_of_a_soft_capture_and_never_drops_most_photos(tmp_path: Path) -> None:
    for index, image in enumerate(pictures(12)):
        soft = image.filter(ImageFilter.GaussianBlur(3))
        (tmp_path / "soft").mkdir(exist_ok=True)
        (tmp_path / "half").mkdir(exist_ok=True)
        soft.save(tmp_path / "soft" / f"{index}.jpg")
        (soft if index in (1, 4, 6, 9, 11) else image).save(tmp_path / "half" / f"{index}.jpg")
    assert open_capture(tmp_path / "soft").left_out == ()
    assert len(open_capture(tmp_path / "half").photos) >= 9


@pytest.mark.parametrize("name", ["demo", "fox"])
def test_real_captures_lose_nothing(name: str, request: pytest.FixtureRequest) -> None:
    images = DEMO if name == "demo" else request.getfixturevalue("data_folder") / "fox/images"
    capture = open_capture(images)
    assert capture.left_out == () and capture.warnings == ()
    assert len(capture.photos) == len(list(images.iterdir()))


def test_photos_that_are_there_twice_are_left_out(tmp_path: Path) -> None:
    images = pictures(5)
    for index, image in enumerate(images[:4]):
        image.save(tmp_path / f"{index}.jpg", quality=92)
    (tmp_path / "1 (copy).jpg").write_bytes((tmp_path / "1.jpg").read_bytes())
    images[2].resize((240, 180)).save(tmp_path / "0-small.jpg", quality=70)
    capture = open_capture(tmp_path)
    assert [p.path.name for p in capture.photos] == ["0.jpg", "1 (copy).jpg", "2.jpg", "3.jpg"]
    assert {left.name: left.reason for left in capture.left_out} == {
        "0-small.jpg": "is the same picture as 2.jpg",
        "1.jpg": "is the same picture as 1 (copy).jpg",
    }
    (warning,) = capture.warnings
    assert "2 of 6" in warning and "duplicate others" in warning
    (tmp_path / "0-small.jpg").unlink()
    for name in ("2.jpg", "3.jpg"):
        (tmp_path / name).write_bytes((tmp_path / "0.jpg").read_bytes())
    assert "2 readable photos and 3 duplicates" in message_of(tmp_path)


def test_photos_in_sub_folders_are_found(tmp_path: Path) -> None:
    write_photos(tmp_path / "day10", ["a.png"])
    for index, folder in enumerate(("day2", "day2/more")):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(noise(40, 30, 20 + index)).save(tmp_path / folder / "a.png")
    for hidden in (".trash", "__MACOSX", "masks", "day2/thumbs", "out.partial", "my-scene/poses"):
        write_photos(tmp_path / hidden, ["z.png"])
    (tmp_path / "my-scene/scene.json").write_text("{}")
    names = [str(p.relative_to(tmp_path)) for p in find_photos(tmp_path)]
    assert names == ["day2/a.png", "day2/more/a.png", "day10/a.png"]
    (tmp_path / "day2/b.png").write_bytes(b"bad")
    Image.fromarray(noise(40, 30, 30)).save(tmp_path / "day10/b.png")
    capture = open_capture(tmp_path)
    assert [left.name for left in capture.left_out] == ["day2/b.png"]
    write_photos(tmp_path / "images", ["only.png"])
    write_photos(tmp_path / "images_4", ["small.png"])
    assert [p.name for p in find_photos(tmp_path)] == ["only.png"]


def test_names_are_as_long_as_needed() -> None:
    paths = [Path(p) for p in ("/r/a/x.jpg", "/r/b/x.jpg", "/r/b/y.jpg", "/q/b/x.jpg")]
    assert short_names(paths) == ["a/x.jpg", "r/b/x.jpg", "y.jpg", "q/b/x.jpg"]


def test_masks_are_white_where_a_photo_counts(tmp_path: Path) -> None:
    white = np.zeros((30, 40), bool)
    white[10:, 8:] = True
    kinds = {
        "grey.png": Image.fromarray((white * 255).astype(np.uint8)),
        "labels.png": Image.fromarray(white.astype(np.uint8)),
        "bits.png": Image.fromarray(white),
        "colour.jpg": Image.fromarray(np.dstack([(white * 255).astype(np.uint8)] * 3)),
        "alpha.png": Image.fromarray(
            np.dstack([np.full((30, 40, 3), 255, np.uint8), (white * 255).astype(np.uint8)])
        ),
        "deep.png": Image.fromarray((white * 65535).astype(np.uint16)),
    }
    for name, image in kinds.items():
        image.save(tmp_path / name)
        got = read_mask(tmp_path / name, 40, 30)
        assert got.dtype == np.bool_ and (got == white).mean() > 0.99, name
        np.testing.assert_array_equal(read_mask(tmp_path / name, 20, 15), white[::2, ::2], err_msg=name)


def write_masks(folder: Path, names: list[str], size: tuple[int, int] = (40, 30)) -> None:
    folder.mkdir(parents=True)
    for name in names:
        Image.new("L", size, 255).save(folder / name)


def masks_of(root: Path) -> list[str | None]:
    found = [photo.mask for photo in open_capture(root).photos]
    return [None if mask is None else str(mask.relative_to(root)) for mask in found]


def test_masks_are_found_by_stem_or_whole_name(tmp_path: Path) -> None:
    write_photos(tmp_path / "a", ["1.jpg", "2.png", "3.jpg"])
    write_masks(tmp_path / "a/masks", ["1.jpg.png", "2.png", "4.png"])
    assert masks_of(tmp_path / "a") == ["masks/1.jpg.png", "masks/2.png", None]
    write_photos(tmp_path / "b/images/x", ["1.jpg", "2.jpg"])
    write_photos(tmp_path / "b/images", ["3.png"], (40, 32))
    write_masks(tmp_path / "b/masks/x", ["1.jpg.png", "2.JPG"])
    write_masks(tmp_path / "b/images/masks", ["3.png"], (40, 32))
    assert masks_of(tmp_path / "b") == ["images/masks/3.png", "masks/x/1.jpg.png", "masks/x/2.JPG"]
    photos = open_capture(tmp_path / "b/images").photos
    assert [photo.mask is not None for photo in photos] == [True] * 3
    (tmp_path / "all").mkdir()
    (tmp_path / "b").rename(tmp_path / "all/b")  # as an unpacked capture lies among other photos
    assert masks_of(tmp_path / "all") == ["b/images/masks/3.png", "b/masks/x/1.jpg.png", "b/masks/x/2.JPG"]


@pytest.mark.parametrize("name", ["masks/{}-matte.png", "mask/{}.png"])
def test_masks_that_are_called_like_no_photo_are_told(tmp_path: Path, name: str) -> None:
    write_photos(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    for stem in "abc":
        mask = tmp_path / name.format(stem)
        mask.parent.mkdir(exist_ok=True)
        Image.new("L", (40, 30), 255).save(mask)
    capture = open_capture(tmp_path)
    assert [photo.mask for photo in capture.photos] == [None] * 3
    (warning,) = capture.warnings
    assert "masks/a.png" in warning and "masks/a.jpg.png" in warning


def test_photos_without_a_mask_beside_others_that_have_one_are_counted(tmp_path: Path) -> None:
    write_photos(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    write_masks(tmp_path / "Masks", ["B.PNG", "c.png"])
    capture = open_capture(tmp_path)
    assert [photo.mask is not None for photo in capture.photos] == [False, True, True]
    (warning,) = capture.warnings
    assert "1 of the 3 photos has no mask" in warning and "(a.jpg)" in warning


def test_a_mask_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    write_photos(tmp_path, ["1.jpg", "2.jpg", "3.jpg"])
    write_masks(tmp_path / "masks", ["2.png"], (30, 40))
    said = message_of(tmp_path)
    assert "masks/2.png is 30×40" in said and "2.jpg is 40×30, turned" in said
    (tmp_path / "masks/2.png").write_text("no mask")
    assert "masks/2.png cannot be read" in message_of(tmp_path)


# Red, green and blue of a colour space (rows) in XYZ under D50: Display P3's, and sRGB's (IEC 61966-2-1).
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
GAMMA = 563 / 256  # as a profile can say it exactly


def icc_profile(colorants: tuple[tuple[float, ...], ...]) -> bytes:
    """An ICC profile (version 2) of three colours and a gamma."""

    def xyz(values: tuple[float, ...]) -> bytes:
        return struct.pack(">4s4x3i", b"XYZ ", *(round(v * 65536) for v in values))

    curve = struct.pack(">4s4xIH2x", b"curv", 1, round(GAMMA * 256))
    text = b"colours"
    named = struct.pack(">4s4xI", b"desc", len(text) + 1) + text + bytes(1 + 4 + 4 + 2 + 1 + 67)
    tags = {b"desc": named + bytes(-len(named) % 4), b"wtpt": xyz((0.9642, 1.0, 0.8249))}
    tags |= {f"{c}XYZ".encode(): xyz(v) for c, v in zip("rgb", colorants, strict=True)}
    tags |= {f"{c}TRC".encode(): curve for c in "rgb"}
    at = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, at + len(data), len(content))
        data += content
    head = struct.pack(">I4xI4s4s4s12x4s", at + len(data), 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head += bytes(68 - len(head)) + struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    return head + bytes(128 - len(head)) + table + data


def from_p3(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Display P3's colours (…, 3), 0…255, converted to sRGB."""
    linear = (colours / 255.0) ** GAMMA @ np.array(P3) @ np.linalg.inv(np.array(SRGB))
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("ending", ["png", "heic", "jpg"])
def test_wide_colours_of_phones_are_taken_as_they_look(tmp_path: Path, ending: str) -> None:
    colours = np.array([[180, 120, 90], [90, 140, 80], [128, 128, 128], [70, 90, 160]], np.uint8)
    shown = np.repeat(np.repeat(colours[None], 32, 0), 32, 1)
    path = tmp_path / f"photo.{ending}"
    Image.fromarray(shown).save(path, icc_profile=icc_profile(P3), quality=100)
    got = read_pixels(path, 128, 32)[16, 16::32].astype(float)
    tolerance = 2 if ending == "png" else 4
    assert np.abs(got - from_p3(colours)).max() <= tolerance
    assert np.abs(from_p3(colours) - colours).max() > 8, "a difference that shows"
    # The same numbers with an sRGB profile, or one that can't be read, stay as they are.
    for profile in (icc_profile(SRGB), b"no profile"):
        Image.fromarray(shown).save(tmp_path / "other.png", icc_profile=profile)
        assert np.abs(read_pixels(tmp_path / "other.png", 128, 32).astype(int) - shown).max() <= 2


def test_wide_colours_keep_their_alpha(tmp_path: Path) -> None:
    shown = np.full((20, 30, 4), (90, 140, 80, 255), np.uint8)
    shown[:, 15:, 3] = 100
    Image.fromarray(shown).save(tmp_path / "cut.png", icc_profile=icc_profile(P3))
    got = read_pixels(tmp_path / "cut.png", 30, 20)
    assert np.array_equal(got[..., 3], shown[..., 3])
    assert np.abs(got[..., :3] - from_p3(shown[..., :3])).max() <= 2


def test_a_heic_that_decodes_to_another_size_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As happened with flipped bits: its header said 32×24, and the decoder gave 16×5."""
    path = tmp_path / "photo.heic"
    Image.new("RGB", (64, 48), (90, 100, 110)).save(path)
    photos.check_whole(path)
    load = HeifImageFile.load

    def wrong(image: HeifImageFile) -> object:
        loaded = load(image)
        image._size = (16, 5)
        return loaded

    monkeypatch.setattr(HeifImageFile, "load", wrong)
    for read in (
        photos.check_whole,
        lambda p: photos.read_pixels(p, 64, 48),
        lambda p: photos.inspect_photo(p, 64),
    ):
        with pytest.raises(NerfsceneError, match="16×5 instead of 64×48"):
            read(path)

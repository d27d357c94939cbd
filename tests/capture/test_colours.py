"""Photos whose colours are given by numbers (nclx, cICP) look as they should."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from colour_cases import (
    BT2020,
    HLG,
    P3,
    PQ,
    SRGB,
    SRGB_CURVE,
    Picture,
    signal_of,
    with_cicp,
    with_nclx,
    write_avif,
    write_heic,
)
from numpy.typing import NDArray
from photo_cases import exif
from PIL import ExifTags, Image, ImageCms

from nerfscene.capture import dynamic_range
from nerfscene.capture.folder import open_capture, read_mask, read_pixels
from nerfscene.capture.photos import inspect_photo

CODED = [(P3, SRGB_CURVE), (BT2020, SRGB_CURVE), (P3, PQ), (BT2020, PQ), (P3, HLG), (BT2020, HLG)]
# No brighter than what high dynamic range leaves as it is.
COLOURS = ((180, 120, 90), (90, 140, 80), (128, 128, 128), (70, 90, 160), (210, 60, 50), (40, 40, 40))


def stripes() -> Picture:
    """Broad stripes (96, 192, 3) of COLOURS, which survive coarse chroma."""
    return np.repeat(np.repeat(np.array(COLOURS, np.uint8)[None], 32, 1), 96, 0)


def middles(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean colour (6, 3) of the inner part of each stripe."""
    return pixels[32:64].reshape(32, 6, 32, 3)[:, :, 12:20].mean((0, 2))


def check(path: Path, tolerance: float) -> None:
    """Both ways of reading a photo give the colours of the stripes."""
    off = np.abs(middles(read_pixels(path, 192, 96)) - COLOURS)
    assert off.max() <= tolerance, off
    grey = np.asarray(Image.fromarray(stripes()).convert("L"), float)
    assert np.abs(inspect_photo(path, 96).grey[24, 8::16] - grey[48, 16::32]).max() <= tolerance


def raw(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(("primaries", "transfer"), CODED)
@pytest.mark.parametrize("bits", [8, 10])
def test_heic_of_nclx_alone(tmp_path: Path, primaries: int, transfer: int, bits: int) -> None:
    path = tmp_path / "photo.heic"
    write_heic(path, signal_of(stripes(), primaries, transfer), primaries, transfer, bits)
    assert np.abs(middles(raw(path)) - COLOURS).max() > 8, "a difference that shows"
    off = middles(read_pixels(path, 192, 96)) - COLOURS
    assert np.abs(off).max() <= (2 if bits == 10 else 5)
    check(path, 5)


def test_a_turned_heic_of_ten_bits_is_turned_once(tmp_path: Path) -> None:
    signal = np.rot90(signal_of(stripes(), BT2020, PQ))  # as stored; 6 turns it clockwise
    deep = np.ascontiguousarray((65535 * signal).round().astype(np.uint16))
    heif = pillow_heif.from_bytes("RGB;16", (96, 192), deep.tobytes())
    numbers = {"color_primaries": BT2020, "transfer_characteristics": PQ}
    heif.save(tmp_path / "photo.heic", quality=98, exif=exif(6), **numbers)
    assert b"irot" in (tmp_path / "photo.heic").read_bytes()
    check(tmp_path / "photo.heic", 6)
    np.testing.assert_array_equal(read_pixels(tmp_path / "photo.heic", 96, 48).shape, (48, 96, 3))


@pytest.mark.parametrize(("primaries", "transfer"), CODED)
def test_avif_of_nclx_alone(tmp_path: Path, primaries: int, transfer: int) -> None:
    signal = signal_of(stripes(), primaries, transfer)
    check(write_avif(tmp_path / "ten.avif", signal, primaries, transfer), 6)
    written = io.BytesIO()
    eight = Image.fromarray((255 * signal).round().astype(np.uint8))
    eight.save(written, "AVIF", quality=100, subsampling="4:4:4")
    (tmp_path / "eight.avif").write_bytes(with_nclx(written.getvalue(), primaries, transfer))
    # One of 256 steps of PQ is a large step, and each of the three colours may be one off.
    check(tmp_path / "eight.avif", 10 if transfer == PQ else 6)


@pytest.mark.parametrize(("primaries", "transfer"), CODED)
def test_png_with_cicp(tmp_path: Path, primaries: int, transfer: int) -> None:
    signal = signal_of(stripes(), primaries, transfer)
    written = io.BytesIO()
    # It goes before an ICC profile, which would leave the values as they are here.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray((255 * signal).round().astype(np.uint8)).save(written, "PNG", icc_profile=profile)
    (tmp_path / "photo.png").write_bytes(with_cicp(written.getvalue(), primaries, transfer))
    check(tmp_path / "photo.png", 2)


@pytest.mark.parametrize("ending", ["heic", "avif", "png"])
@pytest.mark.parametrize(("primaries", "transfer"), [(SRGB, SRGB_CURVE), (SRGB, 1), (2, 2), (2, 6)])
def test_srgb_and_nothing_said_stay_as_they_are(
    tmp_path: Path, ending: str, primaries: int, transfer: int
) -> None:
    path = tmp_path / f"photo.{ending}"
    if ending == "heic":
        write_heic(path, stripes() / 255, primaries, transfer, 8)
    else:
        written = io.BytesIO()
        Image.fromarray(stripes()).save(written, ending)
        change = with_nclx if ending == "avif" else with_cicp
        path.write_bytes(change(written.getvalue(), primaries, transfer))
    np.testing.assert_array_equal(read_pixels(path, 192, 96), raw(path))
    assert inspect_photo(path, 96).lost == ()


def test_an_icc_profile_goes_before_nclx(tmp_path: Path) -> None:
    path = tmp_path / "both.heic"
    heif = pillow_heif.from_pillow(Image.fromarray(stripes()))
    heif.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    heif.save(path, quality=95, color_primaries=BT2020, transfer_characteristics=PQ)
    assert b"prof" in path.read_bytes()
    np.testing.assert_array_equal(read_pixels(path, 192, 96), raw(path))


@pytest.mark.parametrize(("index", "wide"), [("R03", True), ("R98", False)])
def test_adobe_rgb_as_cameras_mark_it(tmp_path: Path, index: str, wide: bool) -> None:
    tags = Image.Exif()
    tags[ExifTags.IFD.Exif] = {ExifTags.Base.ColorSpace: 65535, ExifTags.IFD.Interop: {1: index}}
    path = tmp_path / "_MG_1234.jpg"
    # Linear sRGB from linear Adobe RGB (1998).
    matrix = np.array([[1.3984, -0.3984, 0.0], [0.0, 1.0, 0.0], [0.0, -0.0429, 1.0429]])
    srgb = stripes() / 255
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    stored = (light @ np.linalg.inv(matrix).T).clip(0, 1) ** (256 / 563)
    Image.fromarray((255 * stored).round().astype(np.uint8)).save(
        path, quality=100, subsampling="4:4:4", exif=tags
    )
    if wide:
        check(path, 3)
    else:
        np.testing.assert_array_equal(read_pixels(path, 192, 96), raw(path))


def test_what_reading_loses_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index, (primaries, transfer) in enumerate([(BT2020, PQ), (BT2020, HLG), (P3, SRGB_CURVE)]):
        signal = rng.uniform(0, 1, (12, 12, 3)).repeat(8, 0).repeat(8, 1)
        write_avif(tmp_path / f"{index}.avif", signal, primaries, transfer)
    said = open_capture(tmp_path).warnings
    assert any("1 of 3 photos (0.avif) have high dynamic range (PQ)" in w for w in said), said
    assert any("1 of 3 photos (1.avif) have high dynamic range (HLG)" in w for w in said)
    assert any("1 of 3 photos (2.avif) have more than 8 bits" in w for w in said) and len(said) == 3


def test_alpha_and_masks_are_left_alone(tmp_path: Path) -> None:
    signal = (255 * signal_of(stripes(), BT2020, PQ)).round().astype(np.uint8)
    alpha = np.full((96, 192, 1), 255, np.uint8)
    alpha[:, 100:] = 90
    written = io.BytesIO()
    Image.fromarray(np.dstack([signal, alpha])).save(written, "PNG")
    (tmp_path / "cut.png").write_bytes(with_cicp(written.getvalue(), BT2020, PQ))
    got = read_pixels(tmp_path / "cut.png", 192, 96)
    np.testing.assert_array_equal(got[..., 3:], alpha)
    assert np.abs(middles(got[..., :3]) - COLOURS).max() <= 2
    deep = np.dstack([(65535 * signal_of(stripes(), BT2020, PQ)).round(), alpha * 257.0]).astype(np.uint16)
    heif = pillow_heif.from_bytes("RGBA;16", (192, 96), deep.tobytes())
    heif.save(tmp_path / "cut.heic", quality=-1, color_primaries=BT2020, transfer_characteristics=PQ)
    got = read_pixels(tmp_path / "cut.heic", 192, 96)
    np.testing.assert_array_equal(got[..., 3:], alpha)
    assert np.abs(middles(got[..., :3]) - COLOURS).max() <= 5  # chroma is coarse here
    grey = np.linspace(0, 255, 192).round().astype(np.uint8)[None].repeat(96, 0)
    written = io.BytesIO()
    Image.fromarray(grey).save(written, "PNG")
    (tmp_path / "mask.png").write_bytes(with_cicp(written.getvalue(), BT2020, PQ))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", 192, 96), grey >= 128)


def test_matrices_are_those_of_the_standards() -> None:
    wide = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    assert np.abs(dynamic_range._to_srgb_primaries(BT2020) - wide).max() < 1e-4  # ITU-R BT.2087
    assert np.abs(dynamic_range._luminance(BT2020) - (0.2627, 0.6780, 0.0593)).max() < 1e-4
    for primaries in dynamic_range.CHROMATICITIES:  # white stays white
        assert np.abs(dynamic_range._to_srgb_primaries(primaries).sum(1) - 1).max() < 1e-5

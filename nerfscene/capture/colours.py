"""How a photo says what its colours mean, by an ICC profile or by numbers, and its conversion to sRGB."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

from nerfscene.capture import dynamic_range

ALIKE = 3  # of 255: a colour profile that changes colours by less counts as sRGB


@dataclass(frozen=True)
class Colours:
    """How a photo's colours are given; neither field is set for sRGB and for photos that say nothing.

    ``profile``: an ICC profile. ``coding``: the numbers of primaries and transfer function in ITU-T H.273,
    or twice ``dynamic_range.ADOBE``.
    """

    profile: bytes | None = None
    coding: tuple[int, int] | None = None

    @property
    def dynamic_range(self) -> str | None:
        """ "PQ" or "HLG" for a photo of high dynamic range, else None."""
        return dynamic_range.NAMES.get(self.coding[1]) if self.coding else None


def colours_of(image: Image.Image, path: Path) -> Colours:
    """How the colours of the photo opened from ``path`` are given.

    An ICC profile goes before nclx, as MIAF (ISO/IEC 23000-22) has it, but not before PNG's cICP chunk.
    """
    profile = image.info.get("icc_profile") or None
    coding = _png_coding(path) if image.format == "PNG" else None
    if coding is None and profile is None and image.format in ("HEIF", "AVIF"):
        noted = image.info.get("nclx_profile")
        if noted:
            coding = int(noted["color_primaries"]), int(noted["transfer_characteristics"])
    if coding is None:
        return Colours(profile=profile)
    return Colours() if dynamic_range.is_srgb(*coding) else Colours(coding=coding)


def notes_of_avif(path: Path) -> dict[str, object]:
    """The nclx profile and the bit depth of an AVIF file, named as pillow-heif names them; empty if unknown.

    Pillow opens AVIF and hides both. pillow-heif can't decode AVIF, but reads its header.
    Raises as pillow-heif does for a file that it can't read.
    """
    info = pillow_heif.open_heif(path).info
    return {name: info[name] for name in ("nclx_profile", "bit_depth") if info.get(name)}


def in_srgb(image: Image.Image, colours: Colours) -> Image.Image:
    """An RGB or RGBA picture with such colours converted to sRGB; alpha stays as it is."""
    if colours.coding is not None:
        primaries, transfer = colours.coding
        deep = np.asarray(image.convert("RGB")).astype(np.uint16) * 257
        converted = Image.fromarray(dynamic_range.to_srgb(deep, transfer, primaries))
    else:
        transform = _srgb_transform(colours.profile) if colours.profile else None
        if transform is None:
            return image
        by_profile = ImageCms.applyTransform(image.convert("RGB"), transform)
        assert by_profile is not None  # it is None only for a conversion in place
        converted = by_profile
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted


def deep_in_srgb(path: Path, colours: Colours) -> Image.Image | None:
    """A HEIF converted to sRGB from all of its bits; None if it has 8, or is sRGB or grey, or has a profile.

    Pillow's pictures have 8 bits, from which colours of high dynamic range come out off by up to 4 %.
    Raises as pillow-heif does for a file that it can't read.
    """
    if colours.coding is None:
        return None
    heif = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
    if heif.mode not in ("RGB;16", "RGBA;16"):
        return None
    deep = np.asarray(heif)
    deep = deep | deep >> heif.info["bit_depth"]  # the bits are the upper ones: white becomes 65535
    primaries, transfer = colours.coding
    converted = Image.fromarray(dynamic_range.to_srgb(deep[..., :3], transfer, primaries))
    if deep.shape[2] == 4:
        converted.putalpha(Image.fromarray((deep[..., 3] >> 8).astype(np.uint8)))
    return converted


@lru_cache(maxsize=16)
def _srgb_transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The transform from an ICC profile to sRGB; None if it is sRGB already, isn't RGB, or can't be read."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if given.profile.xcolor_space.strip() != "RGB":  # CMYK and grey are converted when they are read
            return None
        # Threads would share the transform's cache, so it has none.
        transform = ImageCms.buildTransform(
            given, ImageCms.createProfile("sRGB"), "RGB", "RGB", flags=ImageCms.Flags.NOCACHE
        )
        levels = np.arange(0, 256, 51, dtype=np.uint8)
        colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        converted = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), transform), float)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform if np.abs(converted - colours).max() >= ALIKE else None


def _png_coding(path: Path) -> tuple[int, int] | None:
    """The numbers in a PNG's cICP chunk, which lies before the pixels; None if there is none.

    Pillow passes over it. Only full-range RGB is taken, the kind that the PNG specification allows.
    """
    with path.open("rb") as file:
        file.seek(8)  # the signature
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"cICP":
                data = file.read(4)
                return (data[0], data[1]) if len(data) == 4 and data[2:] == b"\0\1" else None
            if kind in (b"IDAT", b"IEND"):
                return None
            file.seek(length + 4, io.SEEK_CUR)  # with its checksum
    return None

"""One photo or mask on disk → what is in it, upright, in 8 bits. The one place that opens pictures."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from nerfscene.errors import NerfsceneError
from nerfscene.types import Photo

ALIKE = 3  # of 255: colours that differ by less need no other profile
FILM_DIAGONAL = 43.27  # mm, of the 24 x 36 mm frame that "35 mm equivalent" refers to
UNIT_MM = {1: 25.4, 2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}  # EXIF's FocalPlaneResolutionUnit
ALPHA_SAMPLES = 8
# Pillow takes pictures of twice this for attacks; phones write 200 megapixels.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, 250_000_000)
JPEGS = ("JPEG", "MPO")  # MPO: a JPEG with more pictures behind it, as phones write them
ANIMATED = ("PNG", "WEBP", "AVIF", "TIFF")  # elsewhere, more pictures are depth maps or thumbnails

# What Pillow's readers of this and that format end in, given a damaged file.
DAMAGED = (
    *(OSError, ValueError, SyntaxError, RuntimeError, EOFError, TypeError, LookupError, ArithmeticError),
    *(struct.error, Image.DecompressionBombError),
)

Progress = Callable[[str, float], None]  # stage in words, fraction done in 0…1

pillow_heif.register_heif_opener()  # HEIC and HEIF; AVIF is Pillow's own


def silent(stage: str, fraction: float) -> None:
    """The Progress that says nothing."""


@dataclass(frozen=True)
class Look:
    """A photo, a grey copy (height, width) uint8 of it, and what is lost when it is read, in words."""

    photo: Photo
    grey: NDArray[np.uint8]
    lost: tuple[str, ...]


def look_at(path: Path, longest: int) -> Look:
    """The photo decoded to its end: only that shows that a file is whole.

    ``longest``: pixels of the grey copy's longer side, or the photo's own where it is smaller.
    Raises NerfsceneError when the file is no readable photo.
    """
    with _opened(path) as image:
        width, height = _shown_size(image)
        photo = Photo(path, width, height, _focal_pixels(image))
        lost = _what_is_lost(image)
        _draft(image, (longest, longest))
        flat = _to_rgb(image)
        if flat.mode == "RGBA":  # what lies under transparent pixels is not part of the photo
            flat = Image.alpha_composite(Image.new("RGBA", flat.size, (0, 0, 0, 255)), flat)
        grey = flat.convert("L")
        scale = min(1.0, longest / max(grey.size))
        size = max(round(grey.width * scale), 1), max(round(grey.height * scale), 1)
        return Look(photo, np.asarray(grey.resize(size, Image.Resampling.BOX)), lost)


def photo_size(path: Path) -> tuple[int, int]:
    """(width, height) as a viewer shows the photo, from its header alone.

    Raises NerfsceneError when the file is no readable photo.
    """
    with _opened(path) as image:
        return _shown_size(image)


def photo_turns(path: Path) -> int:
    """Quarter turns clockwise, 0 to 3, that a viewer gives the picture as stored, by its EXIF orientation.

    Mirrored ones count as 0. Raises NerfsceneError when the file is no readable photo.
    """
    with _opened(path) as image:
        value = 1 if image.format == "HEIF" else _exif(image).get(ExifTags.Base.Orientation, 1)
        return {6: 1, 3: 2, 8: 3}.get(value, 0)


def read_pixels(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """The photo as shown (EXIF orientation applied), (height, width, 3) or with alpha (…, 4), in sRGB.

    Shrinks by averaging areas, alpha-weighted where there is alpha, so that what lies under
    transparent pixels does not bleed into the edges. Colours are not premultiplied.
    Raises NerfsceneError when the photo cannot be decoded.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        size = (height, width) if orientation >= 5 else (width, height)
        full = image.size
        _draft(image, size)
        # A draft rounds its size up; the last fraction of a pixel is not part of the photo.
        shrunk = max(round(full[0] / image.width), 1)
        box = (0.0, 0.0, full[0] / shrunk, full[1] / shrunk)
        pixels = _to_rgb(image)
        if pixels.size != size:
            pixels = pixels.resize(size, _area_filter(box, size), box=box)
        return np.asarray(_upright(_in_srgb(pixels, image.info.get("icc_profile")), orientation))


def read_mask(path: Path, width: int, height: int) -> NDArray[np.bool_]:
    """Which pixels of a photo of this size to use, (height, width): true where the mask is white.

    The mask is shrunk by averaging areas; black, and transparent, is what to ignore. A mask that
    holds only 0 and 1 counts as black and white.
    Raises NerfsceneError when it cannot be decoded.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        flat = np.asarray(_to_rgb(image), np.float32)
        used = flat[..., :3].mean(-1) * (flat[..., 3] / 255 if flat.shape[2] == 4 else 1)
        white = Image.fromarray(np.where(used >= (1 if used.max() <= 1 else 128), 255, 0).astype(np.uint8))
        size = (height, width) if orientation >= 5 else (width, height)
        if white.size != size:
            box = (0.0, 0.0, float(white.width), float(white.height))
            white = white.resize(size, _area_filter(box, size))
        return np.asarray(_upright(white, orientation)) >= 128


def read_all(
    paths_and_sizes: Sequence[tuple[Path, int, int]], progress: Progress = silent
) -> list[NDArray[np.uint8]]:
    """read_pixels of every (path, width, height), in order, on all cores."""
    pixels = []
    with ThreadPoolExecutor(worker_count()) as pool:
        for done in pool.map(lambda job: read_pixels(*job), paths_and_sizes):
            pixels.append(done)
            progress("reading photos", len(pixels) / len(paths_and_sizes))
    return pixels


def carries_alpha(paths: Sequence[Path]) -> bool:
    """Whether the photos are cut-outs: half of a few, evenly chosen, have a transparent pixel.

    One alone is a photo that was straightened, and left transparent at its corners.
    """
    asked = paths[:: max(len(paths) // ALPHA_SAMPLES, 1)]
    clear = 0
    for path in asked:
        with _opened(path) as image:
            clear += bool(_transparent(image) and np.asarray(_to_rgb(image))[..., 3].min() < 255)
    return 2 * clear >= len(asked) > 0


def worker_count() -> int:
    """Threads for decoding: Pillow lets go of the interpreter while it decodes and resizes."""
    return min(os.cpu_count() or 1, 16)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The open photo; whatever a damaged one is made of becomes one NerfsceneError."""
    try:
        with Image.open(path) as image:
            _refuse_misread(image)
            yield image
    except DAMAGED as error:
        raise NerfsceneError(_unreadable_message(path, error)) from error


def _refuse_misread(image: Image.Image) -> None:
    """Pillow takes the low bytes of 16-bit TIFFs whose colours lie in planes, and says nothing."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None and tags.get(284) == 2 and max(tags.get(258, (8,))) > 8:
        raise ValueError("a 16-bit TIFF in separate colour planes; export it as JPEG, or interleaved")


def _draft(image: Image.Image, size: tuple[int, int]) -> None:
    """Lets a JPEG be decoded at 1/2, 1/4 or 1/8, never below ``size``.

    Nothing else: of a HEIF, this would give the thumbnail that the camera put beside the photo.
    """
    if image.format in JPEGS:
        image.draft(None, size)


def _exif(image: Image.Image) -> Image.Exif:
    # Pillow decodes a whole PNG to look for EXIF behind its pixels, where hardly anyone puts it.
    late = image.format == "PNG" and "exif" not in image.info
    try:
        return Image.Exif() if late else image.getexif()
    except DAMAGED:  # of the notes beside a picture, which is whole
        return Image.Exif()


def _orientation(image: Image.Image) -> int:
    # A HEIF says itself how it is turned, decoding heeds that, and EXIF repeats it at most; a TIFF's pixels
    # Pillow turns by itself as it reads them.
    turned = image.format in ("HEIF", "TIFF")
    value = 1 if turned else _exif(image).get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _shown_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _focal_pixels(image: Image.Image) -> float | None:
    """Focal length in pixels from EXIF, None where it says nothing that can be.

    From the 35 mm equivalent; else from millimetres and how many pixels a sensor's inch has.
    """
    base = ExifTags.Base
    try:
        tags = _exif(image).get_ifd(ExifTags.IFD.Exif)
    except DAMAGED:
        return None

    def number(key: int) -> float:
        try:
            return float(tags.get(key, 0))
        except (TypeError, ValueError, ZeroDivisionError):
            return 0.0

    diagonal = float(np.hypot(*image.size))
    equivalent = number(base.FocalLengthIn35mmFilm)
    if not 4 <= equivalent <= 2000:  # cameras write 0 for "unknown"
        density = number(base.FocalPlaneXResolution) / UNIT_MM.get(
            int(number(base.FocalPlaneResolutionUnit)), 25.4
        )
        across = number(base.ExifImageWidth)  # when it was taken; shrinking leaves the density
        scale = max(image.size) / across if across > 0 else 1.0
        equivalent = number(base.FocalLength) * density * scale * FILM_DIAGONAL / diagonal
        if not 8 <= equivalent <= 1200:
            return None
    return equivalent * diagonal / FILM_DIAGONAL


def _what_is_lost(image: Image.Image) -> tuple[str, ...]:
    """What reading this photo drops, each as the end of a sentence about several photos."""
    lost = []
    tags = getattr(image, "tag_v2", {})
    tiles = [str(tile[3]) for tile in getattr(image, "tile", ())]
    bits = max(*tags.get(258, (8,)), int(image.info.get("bit_depth", 8)))
    if image.mode.startswith("I") or bits > 8 or any("16" in t for t in tiles):
        lost.append("have more than 8 bits a colour: 8 are used")
    if image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F")):
        lost.append("are grey: what they show has no colour in the scene")
    if image.mode == "CMYK":
        lost.append("are CMYK, for print: their colours are converted roughly")
    if image.format in ANIMATED and getattr(image, "n_frames", 1) > 1:
        lost.append("hold several pictures: the first of each is used")
    return tuple(lost)


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB, or RGBA where the photo carries transparency of any kind."""
    if image.mode.startswith(("I", "F")):  # 16-bit or float greyscale: convert() would clip it
        values = np.asarray(image, dtype=np.float64)
        top = 1.0 if image.mode == "F" else 65535.0
        image = Image.fromarray((np.clip(values / top, 0, 1) * 255).round().astype(np.uint8))
    mode = "RGBA" if _transparent(image) else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An RGB or RGBA picture in the colours that screens and films here are for, as most phones' is not."""
    transform = _srgb_transform(profile) if profile else None
    if transform is None:
        return image
    converted = ImageCms.applyTransform(image.convert("RGB"), transform)
    assert converted is not None  # None would say that it was changed in place
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted


@lru_cache(maxsize=16)
def _srgb_transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """From an ICC profile's colours to sRGB; None where they are that, not RGB, or can't be made out."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if given.profile.xcolor_space.strip() != "RGB":  # CMYK and grey were converted as they were read
            return None
        # Without a cache, which threads would share.
        made = ImageCms.buildTransform(
            given, ImageCms.createProfile("sRGB"), "RGB", "RGB", flags=ImageCms.Flags.NOCACHE
        )
        levels = np.arange(0, 256, 51, dtype=np.uint8)
        colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        changed = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), made), float)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return made if np.abs(changed - colours).max() >= ALIKE else None


def _transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _area_filter(box: tuple[float, ...], size: tuple[int, int]) -> Image.Resampling:
    # BOX is an exact area average where whole pixels fall together; elsewhere it would take one
    # pixel here and two there, and shift details by half a pixel: HAMMING is as local without that.
    whole = box[2] % size[0] == 0 and box[3] % size[1] == 0
    return Image.Resampling.BOX if whole else Image.Resampling.HAMMING


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _unreadable_message(path: Path, error: Exception) -> str:
    if not path.exists():
        return f"{path} does not exist any more: put the photo back or start again without it."
    what = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"{path} cannot be read as a photo ({what}): copy it again from where it came from, or "
        "take it out of the folder."
    )

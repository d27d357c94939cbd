"""Reads photos and masks: size, orientation, focal length and pixels. Only this module opens pictures;
colours.py reads what they note of their colours.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image

from nerfscene.capture import decoded
from nerfscene.capture.colours import Colours, colours_of, deep_in_srgb, in_srgb, notes_of_avif
from nerfscene.capture.dynamic_range import ADOBE
from nerfscene.capture.intact import load_pixels, refuse_planar_tiff
from nerfscene.capture.losses import losses_of
from nerfscene.errors import NerfsceneError
from nerfscene.types import Photo

FILM_DIAGONAL = 43.27  # mm, of the 24 x 36 mm frame that "35 mm equivalent" refers to
UNIT_MM = {1: 25.4, 2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}  # EXIF's FocalPlaneResolutionUnit
ALPHA_SAMPLES = 8
# instant-ngp's mask for x.jpg is dynamic_mask_x.png beside it; what moves is white (nerf_loader.cu).
DYNAMIC_MASK = "dynamic_mask_"
# Pillow refuses pictures of twice this many pixels as attacks; phones write 200 megapixels.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, 250_000_000)
JPEGS = ("JPEG", "MPO")  # MPO: a JPEG with more pictures behind it, as phones write them
# What Pillow's readers of the various formats raise for a damaged file.
DAMAGED = (
    *(OSError, ValueError, SyntaxError, RuntimeError, EOFError, TypeError, LookupError, ArithmeticError),
    *(struct.error, Image.DecompressionBombError, MemoryError),
)

StageListener = Callable[[str, float], None]  # takes the stage in words and the fraction done, 0…1
Box = tuple[float, float, float, float]
Size = tuple[int, int]  # width, height, pixels

# Pillow warns of damaged notes in a file that it can read; that names no file and means nothing to anyone.
warnings.filterwarnings("ignore", module=r"PIL\.")
pillow_heif.register_heif_opener()  # HEIC and HEIF; AVIF is Pillow's own


def silent(stage: str, fraction: float) -> None:
    """A StageListener that reports nothing."""


@dataclass(frozen=True)
class Inspection:
    """A photo, a grey copy of it (height, width), and what reading it loses.

    ``lost``: ends of sentences about photos, such as "are grey: …"; empty for an ordinary photo.
    """

    photo: Photo
    grey: NDArray[np.uint8]
    lost: tuple[str, ...]


def inspect_photo(path: Path, longest: int) -> Inspection:
    """Decodes the whole photo, because only that shows whether the file is complete.

    ``longest``: pixels of the grey copy's longer side; a smaller photo keeps its size.
    Raises NerfsceneError when the file can't be read as a photo.
    """
    with _opened(path) as image:
        (width, height), orientation = _shown_size(image), _orientation(image)
        photo = Photo(path, width, height, _focal_pixels(image))
        colours = _colours(image, path)
        lost = losses_of(image, colours)
        _draft(image, (longest, longest))
        flat = _to_rgb(image)
        _keep(path, image, flat, (width, height), orientation, colours)
        if flat.mode == "RGBA":  # colours under transparent pixels are not part of the photo
            flat = Image.alpha_composite(Image.new("RGBA", flat.size, (0, 0, 0, 255)), flat)
        scale = min(1.0, longest / max(flat.size))
        size = max(round(flat.width * scale), 1), max(round(flat.height * scale), 1)
        if colours.coding is not None:  # high dynamic range would look flat, and so blurred
            flat = in_srgb(flat.convert("RGB").resize(size, Image.Resampling.BOX), colours)
        grey = flat.convert("L").resize(size, Image.Resampling.BOX)
        return Inspection(photo, np.asarray(grey), lost)


def check_whole(path: Path) -> None:
    """Decodes the whole photo; raises NerfsceneError when that can't be done."""
    with _opened(path) as image:
        size, orientation, colours = _shown_size(image), _orientation(image), _colours(image, path)
        wanted = decoded.size_to_keep(*size)
        if wanted is None or not decoded.read_again(*wanted):
            _draft(image, (1, 1))
            load_pixels(image)
            if wanted is not None and image.format not in JPEGS:
                _keep(path, image, _to_rgb(image), size, orientation, colours)
            return
    read_pixels(path, *wanted)  # which keeps them


def is_single_channel(path: Path) -> bool:
    """Whether a picture has one channel only, as depth maps have; False if it can't be read as a picture."""
    try:
        with _opened(path) as image:
            return len(image.getbands()) == 1 and image.mode != "P"
    except NerfsceneError:
        return False


def photo_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels as an image viewer shows the photo, read from its header alone.

    Raises NerfsceneError when the file can't be read as a photo.
    """
    with _opened(path) as image:
        return _shown_size(image)


def photo_turns(path: Path) -> int:
    """Quarter turns clockwise, 0 to 3, by which the EXIF orientation turns the stored picture for viewing.

    Mirrored orientations count as 0. Raises NerfsceneError when the file can't be read as a photo.
    """
    return {6: 1, 3: 2, 8: 3}.get(stored_orientation(path), 0)


def stored_orientation(path: Path) -> int:
    """The EXIF orientation, 1 to 8, of the picture as stored; 2, 4, 5 and 7 mirror it.

    Raises NerfsceneError when the file can't be read as a photo.
    """
    with _opened(path) as image:
        value = 1 if image.format == "HEIF" else _exif(image).get(ExifTags.Base.Orientation, 1)
        return value if value in range(1, 9) else 1


def stored_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of the picture as stored, before the EXIF orientation is applied.

    Raises NerfsceneError when the file can't be read as a photo.
    """
    width, height = photo_size(path)
    return (height, width) if stored_orientation(path) >= 5 else (width, height)


def is_plain(path: Path, modes: Sequence[str] = ("RGB",)) -> bool:
    """Whether every program reads the photo as ``read_pixels`` does: JPEG or PNG of these modes in sRGB, not
    turned. modes: of Pillow's, with 8 bits a channel."""
    with _opened(path) as image:
        usual = image.format in ("JPEG", "PNG") and image.mode in modes and "transparency" not in image.info
        return usual and _orientation(image) == 1 and _colours(image, path) == Colours()


def xmp_of(path: Path) -> str:
    """The XMP data of a photo, an XML document; "" if it has none.

    Raises NerfsceneError when the file can't be read as a photo.
    """
    with _opened(path) as image:
        # PNG keeps it as text of this name, as XMP's specification says (part 3, 1.1.5).
        data = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        if not data and image.format == "TIFF":
            data = getattr(image, "tag_v2", {}).get(700, b"")
        return data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")


def read_pixels(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """The photo's sRGB pixels (height, width, 3), or (height, width, 4) with alpha; EXIF orientation applied.

    ``width`` and ``height`` are the size wanted; shrinking averages areas, weighted by alpha so that colours
    under transparent pixels don't bleed into the edges. Colours are not premultiplied by alpha.
    Raises NerfsceneError when the photo can't be decoded.
    """
    kept = decoded.find(path, width, height)
    if kept is not None:
        return kept
    with _opened(path) as image:
        orientation, colours, full = _orientation(image), _colours(image, path), image.size
        _draft(image, (height, width) if orientation >= 5 else (width, height))
        # A draft's size is rounded up; the excess fraction of a pixel is not part of the photo.
        shrunk = max(round(full[0] / image.width), 1)
        deep = deep_in_srgb(path, colours) if image.format == "HEIF" else None
        flat, colours = (_to_rgb(image), colours) if deep is None else (deep, Colours())
        box = (0.0, 0.0, full[0] / shrunk, full[1] / shrunk)
        pixels = _sized(flat, box, (width, height), orientation, colours)
    if decoded.read_again(width, height):
        decoded.keep(path, pixels)
    return pixels


def _sized(flat: Image.Image, box: Box, size: Size, orientation: int, colours: Colours) -> NDArray[np.uint8]:
    """The part ``box`` of a picture as stored, upright, in sRGB and shrunk to ``size`` (width, height)."""
    stored = size[::-1] if orientation >= 5 else size
    if flat.size != stored:
        flat = flat.resize(stored, _area_filter(box, stored), box=box)
    return np.asarray(_upright(in_srgb(flat, colours), orientation))


def _keep(
    path: Path, image: Image.Image, flat: Image.Image, size: Size, turned: int, colours: Colours
) -> None:
    """Keeps what read_pixels will return for the photo, if the format was decoded in full to look at it."""
    wanted = decoded.size_to_keep(*size)
    if wanted is not None and image.format not in JPEGS and colours.coding is None:
        box = (0.0, 0.0, float(flat.width), float(flat.height))
        decoded.keep(path, _sized(flat, box, wanted, turned, colours))


def read_mask(path: Path, width: int, height: int, turns: int = 0) -> NDArray[np.bool_]:
    """Which pixels of a ``width`` × ``height`` photo to use: (height, width), true where the mask is white.

    Black and transparent pixels of the mask mean "ignore". The mask is shrunk by averaging areas. In a mask
    that holds only the values 0 and 1, 1 counts as white. instant-ngp's masks (DYNAMIC_MASK) mean the
    reverse: all that isn't black is ignored. ``turns``: quarter turns clockwise, 0 to 3, that it needs to
    lie like the photo, after its own EXIF orientation is applied.
    Raises NerfsceneError when the mask can't be decoded.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        flat = np.asarray(_to_rgb(image), np.float32)
        grey = flat[..., :3].mean(-1) * (flat[..., 3] / 255 if flat.shape[2] == 4 else 1)
        use = grey >= (1 if grey.max() <= 1 else 128)
        if path.name.lower().startswith(DYNAMIC_MASK):
            use = flat[..., :3].max(-1) == 0
        white = Image.fromarray(np.where(use, 255, 0).astype(np.uint8))
        size = (height, width) if (orientation >= 5) != (turns % 2 == 1) else (width, height)
        if white.size != size:
            box = (0.0, 0.0, float(white.width), float(white.height))
            white = white.resize(size, _area_filter(box, size))
        return np.ascontiguousarray(np.rot90(np.asarray(_upright(white, orientation)) >= 128, -turns))


def carries_alpha(paths: Sequence[Path]) -> bool:
    """Whether the photos are cut-outs: at least half of an evenly spaced sample have a transparent pixel.

    A single such photo may just have been straightened, which leaves its corners transparent.
    Raises NerfsceneError when a photo of the sample can't be decoded.
    """
    sample = paths[:: max(len(paths) // ALPHA_SAMPLES, 1)]
    transparent = 0
    for path in sample:
        with _opened(path) as image:
            transparent += bool(_has_transparency(image) and np.asarray(_to_rgb(image))[..., 3].min() < 255)
    return 2 * transparent >= len(sample) > 0


def worker_count() -> int:
    """Number of threads for decoding, which run in parallel: Pillow releases the GIL while it decodes."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Opens the photo; any error that a damaged file causes becomes a NerfsceneError."""
    try:
        with Image.open(path) as image:
            refuse_planar_tiff(image)
            yield image
    except DAMAGED as error:
        raise NerfsceneError(_unreadable_message(path, error)) from error


def _colours(image: Image.Image, path: Path) -> Colours:
    """How the photo's colours are given; adds to an AVIF's notes those that Pillow hides."""
    if image.format == "AVIF":
        with suppress(*DAMAGED):  # only its header: the picture itself may be intact
            image.info.update(notes_of_avif(path))
    colours = colours_of(image, path)
    if colours == Colours() and image.format in JPEGS:
        # Cameras that are set to Adobe RGB write no profile but this mark (DCF 2.0, "option file").
        with suppress(*DAMAGED):
            if _exif(image).get_ifd(ExifTags.IFD.Interop).get(1) == "R03":
                return Colours(coding=(ADOBE, ADOBE))
    return colours


def _draft(image: Image.Image, size: tuple[int, int]) -> None:
    """Has a JPEG decoded at 1/2, 1/4 or 1/8 of its size, but not smaller than ``size``; faster.

    Only a JPEG: a HEIF would come back as the thumbnail that the camera stored beside the photo.
    """
    if image.format in JPEGS:
        image.draft(None, size)


def _exif(image: Image.Image) -> Image.Exif:
    """The photo's EXIF tags; empty if it has none or they are damaged."""
    # Pillow would decode a whole PNG to look for EXIF after its pixels, where hardly any program writes it.
    after_pixels = image.format == "PNG" and "exif" not in image.info
    try:
        return Image.Exif() if after_pixels else image.getexif()
    except DAMAGED:  # only the EXIF data: the picture itself may be intact
        return Image.Exif()


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, that is still to be applied to the decoded pixels."""
    # Decoding already applies a HEIF's own rotation, which EXIF only repeats, and a TIFF's orientation.
    turned = image.format in ("HEIF", "TIFF")
    value = 1 if turned else _exif(image).get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _shown_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) once the orientation is applied."""
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _focal_pixels(image: Image.Image) -> float | None:
    """Focal length in pixels from EXIF; None if EXIF gives none or an impossible one.

    Computed from the 35 mm equivalent, else from millimetres and the sensor's pixels per unit of length.
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
        original = number(base.ExifImageWidth)  # the density refers to this size, before any shrinking
        scale = max(image.size) / original if original > 0 else 1.0
        equivalent = number(base.FocalLength) * density * scale * FILM_DIAGONAL / diagonal
        if not 8 <= equivalent <= 1200:
            return None
    return equivalent * diagonal / FILM_DIAGONAL


def _to_rgb(image: Image.Image) -> Image.Image:
    """The photo in 8-bit RGB, or RGBA if it has any kind of transparency."""
    load_pixels(image)
    if image.mode.startswith(("I", "F")):  # 16-bit or float greyscale, which convert() would clip
        values = np.asarray(image, dtype=np.float64)
        top = 1.0 if image.mode == "F" else 65535.0
        image = Image.fromarray((np.clip(values / top, 0, 1) * 255).round().astype(np.uint8))
    mode = "RGBA" if _has_transparency(image) else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _has_transparency(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _area_filter(box: tuple[float, ...], size: tuple[int, int]) -> Image.Resampling:
    """The filter for shrinking ``box`` to ``size`` (width, height)."""
    # BOX is an exact area average for an integer factor. For other factors it would average one pixel here
    # and two there, which shifts details by half a pixel; HAMMING is as local and doesn't.
    integer = box[2] % size[0] == 0 and box[3] % size[1] == 0
    return Image.Resampling.BOX if integer else Image.Resampling.HAMMING


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture with its EXIF orientation (1 to 8) applied."""
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
        return f"{path} does not exist any more: put the photo back, or start again without it."
    what = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"{path} cannot be read as a photo ({what}): copy it again from where it came from, or "
        "take it out of the folder."
    )

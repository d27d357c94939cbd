"""A folder of photos → Capture, and photos → pixels."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from nerfscene.errors import NerfsceneError
from nerfscene.types import Capture, LeftOut, Photo

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".3gp", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".wmv", ".ogv", ".flv"),
)
MIN_PHOTOS = 3  # two views fix a scene only up to guesses; the third is the first check on them
FILM_DIAGONAL = 43.27  # mm, of the 24 x 36 mm frame that "35 mm equivalent" refers to
NAMES_SHOWN = 5
ALPHA_SAMPLES = 8

Progress = Callable[[str, float], None]  # stage in words, fraction done in 0…1


def silent(stage: str, fraction: float) -> None:
    """The Progress that says nothing."""


def open_capture(path: str | os.PathLike[str]) -> Capture:
    """The photos of a folder (or of its sub-folder ``images``), in the natural order of names.

    Every photo is decoded once, coarsely, so that a damaged one is found here and not halfway
    through training: those are left out with one warning that names them.
    Raises NerfsceneError when fewer than MIN_PHOTOS readable photos remain.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise NerfsceneError(f"{root} does not exist: give the folder that holds your photos.")
    if root.is_file() and root.name.lower().endswith(VIDEO_SUFFIXES):
        raise NerfsceneError(f"{root} is a video: nerfscene train (or posed_capture) takes frames from it.")
    if not root.is_dir():
        raise NerfsceneError(f"{root} is a file: give the folder that holds your photos instead.")
    found = list_photos(root) or list_photos(root / "images")
    if not found:
        raise NerfsceneError(_no_photos_message(root))
    with ThreadPoolExecutor(worker_count()) as pool:
        outcomes = list(pool.map(_inspect, found))
    photos = tuple(o for o in outcomes if o is not None)
    damaged = [p.name for p, o in zip(found, outcomes, strict=True) if o is None]
    if len(photos) < MIN_PHOTOS:
        usable = f"{len(photos)} readable photo{'' if len(photos) == 1 else 's'}"
        unread = f" (not readable: {name_some(damaged)})" if damaged else ""
        raise NerfsceneError(
            f"{root} holds {usable}{unread}: at least {MIN_PHOTOS} are needed, and 20 to 100 "
            "that overlap and go around the subject work best."
        )
    warnings: tuple[str, ...] = ()
    if damaged:
        warnings = (
            f"left out {len(damaged)} of {len(found)} photos that cannot be read "
            f"({name_some(damaged)}): copy them again from where they came from.",
        )
    left_out = tuple(LeftOut(name, "can't be read") for name in damaged)
    return Capture(root, photos, warnings, left_out)


def list_photos(folder: Path) -> list[Path]:
    """Photos directly in a folder, in the natural order of names; [] where there is no folder."""
    if not folder.is_dir():
        return []
    photos = (p for p in folder.iterdir() if _is_photo_name(p.name) and p.is_file())
    return sorted(photos, key=lambda p: natural_key(p.name))


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sorts img2 before img10; upper and lower case alike."""
    parts = re.split(r"(\d+)", name.lower())  # text and digits alternate, so types line up
    return tuple(int(p) if i % 2 else p for i, p in enumerate(parts)), name


def photo_size(path: Path) -> tuple[int, int]:
    """(width, height) as a viewer shows the photo, from its header alone.

    Raises NerfsceneError when the file is no readable photo.
    """
    with _opened(path) as image:
        return _shown_size(image)


def read_pixels(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """The photo as shown (EXIF orientation applied), (height, width, 3) or with alpha (…, 4).

    Shrinks by averaging areas, alpha-weighted where there is alpha, so that what lies under
    transparent pixels does not bleed into the edges. Colours are as stored, not premultiplied.
    Raises NerfsceneError when the photo cannot be decoded.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        turned = orientation >= 5
        size = (height, width) if turned else (width, height)
        full = image.size
        image.draft(None, size)  # JPEG only: decodes at 1/2, 1/4 or 1/8, never below size
        # A draft rounds its size up; the last fraction of a pixel is not part of the photo.
        shrunk = max(round(full[0] / image.width), 1)
        box = (0.0, 0.0, full[0] / shrunk, full[1] / shrunk)
        pixels = _to_rgb(image)
        if pixels.size != size:
            pixels = pixels.resize(size, _area_filter(box, size), box=box)
        return np.asarray(_upright(pixels, orientation))


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
    """Whether the photos are cut-outs: any of a few, evenly chosen, has a transparent pixel."""
    for path in paths[:: max(len(paths) // ALPHA_SAMPLES, 1)]:
        with _opened(path) as image:
            if _transparent(image) and np.asarray(_to_rgb(image))[..., 3].min() < 255:
                return True
    return False


def worker_count() -> int:
    """Threads for decoding: Pillow lets go of the interpreter while it decodes and resizes."""
    return min(os.cpu_count() or 1, 16)


def name_some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _is_photo_name(name: str) -> bool:
    # "._x.jpg" is what macOS leaves beside x.jpg on other file systems: not a photo.
    return name.lower().endswith(PHOTO_SUFFIXES) and not name.startswith(".")


def _inspect(path: Path) -> Photo | None:
    """The photo, or None where it cannot be decoded to its end."""
    try:
        with _opened(path) as image:
            width, height = _shown_size(image)
            focal = _focal_pixels(image)
            image.draft(None, (image.width // 8, image.height // 8))
            image.load()  # only a decode to the end shows that a file is whole
    except NerfsceneError:
        return None
    return Photo(path, width, height, focal)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The open photo; whatever Pillow makes of a damaged one becomes one NerfsceneError."""
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise NerfsceneError(_unreadable_message(path, error)) from error


def _exif(image: Image.Image) -> Image.Exif:
    # Pillow decodes a whole PNG to look for EXIF behind its pixels, where hardly anyone puts it.
    late = image.format == "PNG" and "exif" not in image.info
    return Image.Exif() if late else image.getexif()


def _orientation(image: Image.Image) -> int:
    value = _exif(image).get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _shown_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _focal_pixels(image: Image.Image) -> float | None:
    """Focal length in pixels from EXIF's 35 mm equivalent, None where that is absent."""
    details = _exif(image).get_ifd(ExifTags.IFD.Exif)
    try:
        focal = float(details.get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not 4 <= focal <= 2000:  # cameras write 0 for "unknown"
        return None
    return focal * float(np.hypot(*image.size)) / FILM_DIAGONAL


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB, or RGBA where the photo carries transparency of any kind."""
    if image.mode.startswith(("I", "F")):  # 16-bit or float greyscale: convert() would clip it
        values = np.asarray(image, dtype=np.float64)
        top = 1.0 if image.mode == "F" else 65535.0
        image = Image.fromarray((np.clip(values / top, 0, 1) * 255).round().astype(np.uint8))
    mode = "RGBA" if _transparent(image) else "RGB"
    return image if image.mode == mode else image.convert(mode)


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
    return (
        f"{path} cannot be read as a photo ({error}): copy it again from where it came from, or "
        "take it out of the folder."
    )


def _no_photos_message(root: Path) -> str:
    kinds = ", ".join(s[1:] for s in PHOTO_SUFFIXES)
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        inside = len(list_photos(folder))
        if inside:
            return (
                f"{root} holds no photos itself, but its sub-folder {folder.name} holds {inside}: "
                f"give {folder} instead."
            )
    suffixes = Counter(
        p.suffix.lower() or "no ending" for p in root.iterdir() if p.is_file() and not p.name.startswith(".")
    )
    if not suffixes:
        return f"{root} holds no files: give the folder that holds your photos ({kinds})."
    seen = ", ".join(f"{n} x {suffix}" for suffix, n in suffixes.most_common(NAMES_SHOWN))
    hint = "give the folder that holds your photos"
    if suffixes.keys() & {".heic", ".heif", ".avif", ".dng", ".cr2", ".nef", ".arw"}:
        hint = "export these as JPEG first"
    elif suffixes.keys() & set(VIDEO_SUFFIXES):
        hint = "nerfscene train (or posed_capture) takes frames from videos"
    return f"{root} holds no photos ({kinds}), only {seen}: {hint}."

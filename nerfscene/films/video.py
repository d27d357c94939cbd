"""Writes films, pictures and depth pictures, and colours depth and errors.

Of the modules that import av, the others, in ``capture``, read videos.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from nerfscene.errors import NerfsceneError
from nerfscene.films import photo_sphere, spherical
from nerfscene.films.codecs import KINDS, Codec, check_ending, chosen, rate
from nerfscene.films.encoding import encode
from nerfscene.films.strips import strips
from nerfscene.scene.atomic import remove_leftovers, telling, write_json, writing
from nerfscene.scene.unnamed_file import unnamed, writing_unnamed
from nerfscene.types import Lens

SUFFIXES = tuple(KINDS)
QUICKLY = 2  # of zlib's levels: a fifth of the usual time for a tenth more bytes


def check_film_name(file: Path) -> None:
    """Raises NerfsceneError when no film can be written under this name."""
    check_ending(file)
    if file.is_dir():
        raise NerfsceneError(f"{file} is a folder; give the film another name")
    check_folder_of(file, "choose another with -o")


def check_folder_of(file: Path, instead: str) -> None:
    """Raises NerfsceneError when ``file`` can't lie where it should, because a file is in the folder's place.

    instead: what to do, for the message.
    """
    parents = file.parents or Path(os.path.abspath(file)).parents or [file]  # "." and "/" have none
    above = next(folder for folder in parents if folder.exists() or folder == folder.parent)
    if not above.is_dir():
        raise NerfsceneError(f"the folder {file.parent} can't be made ({above} is a file); {instead}")
    if not os.access(above, os.W_OK | os.X_OK):
        raise NerfsceneError(f"{file} can't be written (no permission to write to {above}); {instead}")


def make_folder_of(file: Path, instead: str) -> None:
    """Makes the folder that ``file`` will lie in; ``instead``: what to do, for the error message.

    Raises NerfsceneError when the folder can't be made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NerfsceneError(
            f"the folder {file.parent} can't be made ({error.strerror}); {instead}"
        ) from error


def to_bytes(rgb: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Values 0…1 of any shape as uint8 0…255, rounded and clipped."""
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)


def write_film(
    frames: Iterable[NDArray[np.uint8]],
    file: Path,
    fps: float,
    size: tuple[int, int] | None = None,
    progress: Callable[[int], None] = lambda written: None,
    codec: Codec | None = None,
    under: tuple[int, int, int] | None = None,
    lens: Lens = "perspective",
) -> int:
    """Writes pictures (height, width, 3 or 4) uint8, all of one size, as a film; returns how many.

    The fourth channel is straight alpha: 0 is transparent, and the colour isn't multiplied by it.
    size: (width, height) that the frames must have; the first frame's if not given. Where the codec needs
    even sizes, an odd width or height loses its last column or row. progress: called with the number of
    frames written so far. codec: what ``codecs.chosen`` returns; the usual one for the file's ending and the
    frames if not given. under: the colour, 0…255, that is laid under transparent frames, which then aren't
    transparent any more; a codec that keeps no transparency needs it. lens: what the pictures were taken
    with; a film that shows all round tells players, if ``spherical.can_tell``.
    A film of the same name is replaced once the new one is complete; a failure or Ctrl-C leaves nothing
    behind.
    Raises NerfsceneError for a name, folder or codec that can't be written, a full disk, no frames, or an fps
    outside 0.01 to 1000; ValueError for frames of another type or size.
    """
    check_film_name(file)
    rate(fps)
    kind, clear = KINDS[file.suffix.lower()], False
    copied = lens in spherical.SPHERICAL and kind in spherical.COPIED
    if codec is None or copied:
        frames = iter(frames)
        first = list(itertools.islice(frames, 1))
        clear = bool(first) and under is None and first[0].shape[2:] == (4,)
        frames = itertools.chain(first, frames)
    codec = chosen(file, None, clear) if codec is None else codec
    make_folder_of(file, "choose another with -o")
    remove_leftovers(file.parent, file.name)
    with writing_unnamed(file) as temporary:
        # FFmpeg can't infer the container from the temporary name.
        if copied and spherical.can_tell(kind, codec, clear):
            with unnamed(file.parent) as whole, telling(file):
                count = encode(frames, whole, kind, codec, fps, size, under, progress)
                spherical.copy_telling(whole, temporary, kind, lens)
            return count
        count = encode(frames, temporary, kind, codec, fps, size, under, progress)
        if lens in spherical.SPHERICAL and kind in spherical.WITH_BOXES:
            spherical.tell_players(temporary, lens)
        return count


def check_frames_folder(folder: Path) -> None:
    """Raises NerfsceneError when numbered frames can't be written to this folder, empty or not."""
    if folder.exists() and not folder.is_dir():
        raise NerfsceneError(f"{folder} exists and is not an empty folder; choose another one")
    check_folder_of(folder / "00000.png", "choose another folder")


def open_frames(folder: Path) -> None:
    """Makes the folder for numbered frames. Raises NerfsceneError when it isn't empty or can't be made."""
    check_frames_folder(folder)
    if folder.exists() and any(folder.iterdir()):
        raise NerfsceneError(f"{folder} exists and is not an empty folder; choose another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NerfsceneError(f"{folder} can't be made ({error.strerror}); choose another folder") from error


def write_picture(pixels: NDArray[np.uint8] | NDArray[np.uint16], file: Path, xmp: str | None = None) -> None:
    """Writes one PNG: uint8 (height, width, 3), or (…, 4) with straight alpha, or uint16 (height, width).

    xmp: an XMP document that goes with it. Raises NerfsceneError when the disk is full or the folder can't be
    written.
    """
    told = PngImagePlugin.PngInfo()
    if xmp is not None:
        told.add_itxt(photo_sphere.KEYWORD, xmp)
    with writing(file) as temporary:
        Image.fromarray(pixels).save(temporary, format="png", pnginfo=told, compress_level=QUICKLY)


def write_depth(depth: NDArray[np.float32], file: Path, unit: float) -> None:
    """Writes depth (height, width), world units, as a 16-bit PNG with steps of ``unit`` world units.

    0 means that nothing was hit, or that the depth isn't finite; depths are 1 to 65535 steps, clipped.
    Raises ValueError unless ``unit`` is above 0, NerfsceneError as ``write_picture`` does.
    """
    if not (np.isfinite(unit) and unit > 0):
        raise ValueError(f"a step of depth must be above 0, not {unit}")
    picture = np.empty(depth.shape, np.uint16)
    for rows in strips(len(depth)):
        hit = np.isfinite(depth[rows]) & (depth[rows] > 0)
        steps = np.clip(np.rint(np.where(hit, depth[rows], 0).astype(np.float64) / unit), 1, 65535)
        picture[rows] = np.where(hit, steps, 0)
    write_picture(picture, file)


def write_depth_scale(folder: Path, unit: float) -> None:
    """Writes depth.json: world units per step of the 16-bit depth pictures, and the value for nothing hit."""
    write_json({"world_units_per_step": unit, "nothing": 0}, folder / "depth.json")


def depth_range(depth: NDArray[np.float32], accumulation: NDArray[np.float32]) -> tuple[float, float]:
    """(near, far), world units: the 2nd and 98th percentile of the depths of what was hit.

    depth, accumulation: (height, width). Returns (0, 1) if nothing was hit.
    """
    seen = depth[accumulation > 0.5]
    if seen.size == 0:
        return 0.0, 1.0
    near, far = np.percentile(seen, [2, 98])
    return float(near), float(max(far, near * 1.001 + 1e-9))


def color_depth(depth: NDArray[np.floating[Any]], near: float, far: float) -> NDArray[np.uint8]:
    """Depth (height, width) as colours, uint8 (height, width, 3): near is red, far is blue.

    depth, near, far: the same unit, near < far. The scale is linear in 1 / depth and clipped at both ends.
    Pixels where nothing was hit (0, or not finite) are black. The colour map is Turbo in its published
    polynomial approximation (A. Mikhailov, "Turbo, an improved rainbow colormap", 2019).
    """
    picture = np.empty((*depth.shape, 3), np.uint8)
    for rows in strips(len(depth)):
        picture[rows] = _turbo(depth[rows], near, far)
    return picture


def _turbo(depth: NDArray[np.floating[Any]], near: float, far: float) -> NDArray[np.uint8]:
    """What ``color_depth`` returns."""
    hit = np.isfinite(depth) & (depth > 0)
    safe = np.where(hit, depth, 1.0).astype(np.float64)
    low, high = 1.0 / far, 1.0 / max(near, 1e-3 * far)
    x = np.clip((1.0 / safe - low) / max(high - low, 1e-12 * high), 0, 1)
    x = 0.05 + 0.95 * x  # the polynomial begins almost black, which would look like nothing hit
    powers = np.stack([x**i for i in range(6)], axis=-1)
    turbo = np.array(
        [
            [0.13572138, 4.61539260, -42.66032258, 132.13108234, -152.94239396, 59.28637943],
            [0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604],
            [0.10667330, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973],
        ]
    )
    return to_bytes((powers @ turbo.T * hit[..., None]).astype(np.float32))


def color_error(difference: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Absolute differences (height, width) of values in 0…1 as colours, uint8 (height, width, 3).

    From black (no difference) through red and yellow to white (0.25 or more).
    """
    x = np.clip(difference / 0.25, 0, 1)[..., None] * 3
    return to_bytes(np.clip(x - np.array([0.0, 1.0, 2.0]), 0, 1).astype(np.float32))


def film_facts(file: Path) -> dict[str, float]:
    """The number of frames, fps, width and height of a film, read from the file."""
    with contextlib.closing(av.open(str(file))) as container:
        stream = container.streams.video[0]
        n = sum(1 for _ in container.decode(stream))
        return {
            "frames": n,
            "fps": float(stream.average_rate or 0),
            "width": stream.width,
            "height": stream.height,
        }

"""LLFF's ``poses_bounds.npy`` beside its photos → PosedCapture.

Each row has 17 numbers: a matrix of 3 × 5, row by row, and the nearest and farthest depth, which are not
used. The matrix is world_from_cam (rotation and translation) with the picture's height, its width and the
focal length in pixels as the fifth column. The camera's axes point down, right and backwards. The rows belong
to the photos in the plain order of their names, in which img10 comes before img2. So says the README of
Fyusion's LLFF ("Using your own poses without running COLMAP"), whose script imgs2poses writes the file.
Photos are taken as they are stored, as COLMAP takes them.
"""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError

import numpy as np

from nerfscene.capture.folder import list_photos
from nerfscene.capture.not_photos import without_maps
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import lens_of, numbers, printable
from nerfscene.formats.listing import PosedFrame, rigid
from nerfscene.formats.photo_search import finish_app_export
from nerfscene.types import PosedCapture

NAME = "poses_bounds.npy"
NUMBERS = 17  # in a row
# Where photos are: the originals, smaller copies of them by imgs2poses and others, beside the file, or above.
PLACES = ("images", "images_2", "images_4", "images_8", ".", "../images")


def find_llff(root: Path) -> Path | None:
    """A folder's ``poses_bounds.npy`` if it can be read and fits the photos in number, else None."""
    path = _called(root, NAME)
    return path if path.is_file() and why_llff_is_unread(root) is None else None


def why_llff_is_unread(root: Path) -> str | None:
    """Why a folder's ``poses_bounds.npy`` can't be used, as a sentence without its full stop; None if it can.

    None also if there is no such file.
    """
    path = _called(root, NAME)
    if not path.is_file():
        return None
    try:
        _photos(path, None, len(_rows(path)))
    except NerfsceneError as error:
        return str(error)
    return None


def read_llff(path: Path, images: Path | None = None) -> PosedCapture:
    """Reads a ``poses_bounds.npy``; its photos are in ``images``, or in one of PLACES beside the file.

    The first place with as many photos as the file has rows is used. World coordinates and units are the
    file's. Lenses have no distortion, and their principal point is the picture's centre.
    Raises NerfsceneError when the file is something else, or no place has as many photos.
    """
    rows = _rows(path)
    frames = []
    for photo, row in zip(_photos(path, images, len(rows)), rows, strict=True):
        where = f"the row of {printable(photo.name)} in {path}"
        values = numbers(row, (NUMBERS,), where, "row")
        matrix = values[:15].reshape(3, 5)
        down, right, backwards, centre = matrix[:, :4].T
        height, width, focal = matrix[:, 4]
        lens = lens_of(width, height, (focal, focal), (width / 2, height / 2), where)
        pose = rigid(np.stack([right, down, -backwards, centre], axis=1), where)
        frames.append(PosedFrame(photo.name, photo, lens, pose))
    return finish_app_export(path, "llff", frames, (), [])


def _called(folder: Path, name: str) -> Path:
    """The file or folder called ``name`` in a folder, whatever its letter case; it may not exist."""
    exact = folder / name
    if exact.exists() or name.startswith(".") or not folder.is_dir():
        return exact
    return next((path for path in sorted(folder.iterdir()) if path.name.lower() == name), exact)


def _rows(path: Path) -> np.ndarray:
    """The file's array (n, 17). Raises NerfsceneError when it is something else."""
    try:
        rows = np.load(path, allow_pickle=False)
    # A header is parsed as Python's text; numpy lets the tokenizer's and the parser's own errors through.
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:
        raise NerfsceneError(f"{path} can't be read as LLFF's cameras ({error}): write it again.") from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != NUMBERS or not len(rows):
        shape = "×".join(map(str, getattr(rows, "shape", ()))) or "no"
        raise NerfsceneError(
            f"{path} has {shape} numbers, but LLFF's cameras have {NUMBERS} for each photo: write it again."
        )
    return rows


def _photos(path: Path, images: Path | None, count: int) -> list[Path]:
    """The photos that the file's ``count`` rows belong to, in the rows' order."""
    places = [_called(path.parent, place) for place in PLACES] if images is None else [images]
    found = {place: without_maps(list_photos(place)) for place in places}
    for photos in found.values():
        if len(photos) == count:
            return sorted(photos, key=lambda photo: photo.name)
    if not any(found.values()):
        raise NerfsceneError(
            f"{path} has the cameras of {count} photos, but there are none beside it or in "
            f"{path.parent / PLACES[0]}: put them there, and for videos, a frame of each."
        )
    most = max(places, key=lambda place: len(found[place]))
    raise NerfsceneError(
        f"{path} has the cameras of {count} photos, but {most} holds {len(found[most])}: only their "
        "order tells which photo a camera belongs to, so put exactly those photos there."
    )

"""Pix4Dmapper's ``…_calibrated_camera_parameters.txt`` (in ``1_initial/params``) → PosedCapture.

After a head that explains them, each photo has ten lines: its name, width and height; the camera matrix;
three radial and two tangential coefficients; the camera's centre; and the rotation of cam_from_world. Axes
are x right, y down, z forward, and the coefficients are OpenCV's ("How are the Internal and External Camera
Parameters defined?"). Positions are local: the project's offset is subtracted. Pixels are the stored ones.
Fisheyes are not listed there.

Written from the file's own head, the documentation and published rows; not yet tried on a whole export.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from nerfscene.capture.folder import natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import lens_of, numbers, printable, text_of
from nerfscene.formats.listing import PosedFrame, photos_without_pose, rigid
from nerfscene.formats.photo_search import finish_app_export, photo_finder
from nerfscene.types import Array, PosedCapture

HEAD = re.compile(r"\A\ufeff?\s*fileName\s+imageWidth\s+imageHeight\b", re.IGNORECASE)
PHOTO = re.compile(r"(?P<name>\S.*\S|\S)\s+(?P<width>\d+)\s+(?P<height>\d+)")  # a name may have spaces
LINES = 9  # of numbers after a photo's name
PARTS = (("camera matrix", 9), ("radial", 3), ("tangential", 2), ("camera position", 3), ("rotation", 9))


def is_pix4d(path: Path) -> bool:
    """Whether a file is such a list with at least one photo, judged by its text."""
    text = text_of(path)
    return HEAD.match(text) is not None and bool(_photos(text))


def read_pix4d(path: Path, images: Path | None = None) -> PosedCapture:
    """Reads the list; its photos are in ``images``, or where photo_search.photo_finder looks.

    World coordinates and units are the project's, less its offset. Photos beside those listed that have no
    entry are left out, with a warning.
    Raises NerfsceneError when the file is broken or the photos aren't found.
    """
    photos = _photos(text_of(path))
    if not photos:
        raise NerfsceneError(
            f"{path} lists no photos with cameras: calibrate the project, and take its file."
        )
    find = photo_finder(path.parent, images, [match["name"] for match, _ in photos], path)
    frames = []
    for match, lines in sorted(photos, key=lambda entry: natural_key(entry[0]["name"])):
        name = match["name"]
        where = f"photo {printable(name)} in {path}"
        matrix, radial, tangential, centre, rotation = _parts(lines, where)
        matrix, rotation = matrix.reshape(3, 3), rotation.reshape(3, 3)
        lens = lens_of(
            float(match["width"]),
            float(match["height"]),
            (matrix[0, 0], matrix[1, 1]),
            (matrix[0, 2], matrix[1, 2]),
            where,
            (radial[0], radial[1], tangential[0], tangential[1], radial[2]),
        )
        pose = rigid(np.column_stack([rotation.T, centre]), where)
        frames.append(PosedFrame(printable(name), find(name), lens, pose))
    left_out, no_pose = photos_without_pose(frames, path)
    return finish_app_export(path, "pix4d", frames, no_pose, left_out)


def _photos(text: str) -> list[tuple[re.Match[str], list[str]]]:
    """Each photo's first line, and the lines that follow it up to the next photo's."""
    found: list[tuple[re.Match[str], list[str]]] = []
    for line in text.splitlines():
        match = PHOTO.fullmatch(line.strip())
        if match is not None and not _is_number(match["name"].split()[0]):
            found.append((match, []))
        elif found and line.strip():
            found[-1][1].append(line)
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parts(lines: list[str], where: str) -> list[Array]:
    """The numbers of PARTS, each as a flat array."""
    words = " ".join(lines[:LINES]).split()
    try:
        given = [float(word) for word in words]
    except ValueError:
        given = []
    result = []
    for what, count in PARTS:
        result.append(numbers(given[:count], (count,), where, what))
        given = given[count:]
    return result

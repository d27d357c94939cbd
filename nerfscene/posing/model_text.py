"""COLMAP's text models, rewritten so that pycolmap reads them as they are meant.

pycolmap 4.2.1 cuts the names of images at their first space, although COLMAP writes them with spaces: a name
is the rest of its line. It also fails on files that begin with a byte-order mark or separate numbers by tabs.
"""

from __future__ import annotations

import math
from pathlib import Path

import pycolmap

from nerfscene.errors import NerfsceneError
from nerfscene.posing.model_place import lines_of

HEAD = 9  # numbers before an image's name: id, quaternion (4), translation (3), camera
POINT = 8  # numbers before a point's track: id, position (3), colour (3), error


def plain_cameras(path: Path, copy: Path) -> set[int]:
    """Writes a cameras.txt anew, with single spaces; returns the cameras' ids.

    Raises NerfsceneError for a lens model that pycolmap lacks, and for a line that is no camera's.
    """
    ids = set()
    with path.open("rb") as file, copy.open("wb") as out:
        for number, line in lines_of(file):
            words = line.split()
            if not words:
                continue
            if len(words) < 5 or not words[0].isdigit():
                raise NerfsceneError(f"line {number} of {path} does not describe a camera: export it again.")
            model = words[1].decode("utf-8", errors="replace")
            if model not in pycolmap.CameraModelId.__members__:
                raise NerfsceneError(unknown_lens(path, model))
            ids.add(int(words[0]))
            out.write(b" ".join(words) + b"\n")
    return ids


def unknown_lens(path: Path, model: str) -> str:
    """The message for a lens model that pycolmap doesn't know; ``model``: its name or number."""
    return (
        f"{path} uses the lens model {model}, which COLMAP {pycolmap.__version__} doesn't know: undistort "
        "the photos with the image_undistorter of the COLMAP that wrote the model."
    )


def plain_images(path: Path, copy: Path, cameras: set[int]) -> dict[int, str]:
    """Writes an images.txt anew, with the ids in place of the names; returns the names by id.

    ``cameras``: the ids of all cameras. Raises NerfsceneError, naming the line, when an image's line is none,
    or has a camera that isn't there.
    """
    names: dict[int, str] = {}
    points_expected = False
    with path.open("rb") as file, copy.open("wb") as out:
        for number, line in lines_of(file):
            if points_expected and not _ends_in_name(line):
                out.write(line.replace(b"\t", b" ") + b"\n")
                points_expected = False
            elif line:
                if points_expected:  # the program wrote no line for the points of the image before
                    out.write(b"\n")
                where = f"line {number} of {path}"
                words = line.split(None, HEAD)
                image, camera = _ids(words, where)
                if camera not in cameras:
                    raise NerfsceneError(
                        f"{where} names a camera {camera} that cameras.txt lacks: export the model again."
                    )
                names[image] = words[HEAD].decode("utf-8", errors="replace")
                out.write(b" ".join(words[:HEAD]) + b" %d\n" % image)
                points_expected = True
        out.write(b"\n")
    return names


def points_without_tracks(path: Path, copy: Path) -> None:
    """Writes a points3D.txt anew, without tracks and without points that are not numbers."""
    with path.open("rb") as file, copy.open("wb") as out:
        for _number, line in lines_of(file):
            words = line.split(None, POINT)[:POINT]
            try:
                usable = len(words) == POINT and all(math.isfinite(float(word)) for word in words)
            except ValueError:
                usable = False
            if usable:
                out.write(b" ".join(words) + b"\n")


def _ends_in_name(line: bytes) -> bool:
    """Whether a line is an image's and not the points of one, which are numbers only."""
    try:
        float((line.rsplit(None, 1) or [b"0"])[-1])
    except ValueError:
        return True
    return False


def _ids(words: list[bytes], where: str) -> tuple[int, int]:
    """The ids of an image and its camera from the words of the image's line, which are checked."""
    try:
        image, camera = int(words[0]), int(words[HEAD - 1])
        pose = [float(word) for word in words[1 : HEAD - 1]]
    except (ValueError, IndexError):
        words, pose = [], []
        image = camera = 0
    if len(words) <= HEAD:
        raise NerfsceneError(
            f"{where} does not describe an image (id, quaternion, translation, camera, name): export the "
            "model again."
        )
    if not all(map(math.isfinite, pose)):
        raise NerfsceneError(
            f"{where} has a pose with NaN or infinite numbers: remove that image or pose it again."
        )
    return image, camera

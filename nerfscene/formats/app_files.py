"""What the readers of other apps' exports share: careful parsing, and which photo a name means."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from nerfscene.capture.folder import find_photos, list_photos, name_some, photo_turns
from nerfscene.errors import NerfsceneError
from nerfscene.formats.listing import Listed
from nerfscene.types import Array, Intrinsics, LeftOut, Lens

FARTHEST = 1e12  # units from the origin: beyond, a number is a mistake
# A camera's axes from those of the same camera turned so that its picture turns clockwise.
QUARTER_TURN = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
INNER = ("opensfm", "reconstruction_*")  # folders of a project that pipelines leave their cameras in
LONGEST_NAME = 80  # characters of it that a message shows
Values = dict[str, Any]


def load_json(path: Path) -> Any:
    """What a JSON file holds. Raises NerfsceneError when it is missing, or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise NerfsceneError(
            f"{path} is broken: line {error.lineno}, column {error.colno}: {error.msg}; export it again."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise NerfsceneError(f"{path} cannot be read ({error}): export it again.") from error


class _Plain(ElementTree.TreeBuilder):
    """Refuses what can define entities: exports have none, and they can be made to fill the memory."""

    def doctype(self, *declared: object) -> None:
        raise NerfsceneError("it has a DOCTYPE, which no app's export has")


def load_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. Raises NerfsceneError when it is missing, broken, or has a DOCTYPE."""
    try:
        parser = ElementTree.XMLParser(target=_Plain())
        with path.open("rb") as file:
            return ElementTree.parse(file, parser).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError, NerfsceneError) as error:
        raise NerfsceneError(f"{path} cannot be read ({error}): export it again.") from error


def said(name: object) -> str:
    """A name from a file, as a message can have it: on one line, and not too long."""
    text = " ".join(str(name).split())
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def table(value: object, where: str) -> Values:
    """The value, named values; raises NerfsceneError, beginning with ``where``, for anything else."""
    if not isinstance(value, dict):
        raise NerfsceneError(f"{where} holds no named values: export it again.")
    return value


def rows(value: object, where: str) -> list[Any]:
    """The value, a list; raises NerfsceneError, beginning with ``where``, for anything else."""
    if not isinstance(value, list):
        raise NerfsceneError(f"{where} holds no list: export it again.")
    return value


def numbers(value: object, shape: tuple[int, ...], where: str, what: str) -> Array:
    """An array of ``shape`` (-1: any length there) of finite numbers within ±FARTHEST.

    Raises NerfsceneError, which names ``where`` and ``what``, for anything else.
    """
    try:
        given = np.array(value)
        fits = given.dtype.kind in "iuf" and given.ndim == len(shape)
        fits = fits and all(want in (-1, n) for want, n in zip(shape, given.shape, strict=True))
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        count = " by ".join(str(n) if n >= 0 else "n" for n in shape) or "one"
        raise NerfsceneError(f"{where} has no {what} ({count} numbers): export it again.")
    if not (np.isfinite(given).all() and np.abs(given).max(initial=0.0) < FARTHEST):
        raise NerfsceneError(f"{where} has a {what} that is not finite: export it again.")
    return given.astype(np.float64)


def number(values: Values, key: str, where: str, default: float | None = None) -> float:
    """One number of ``values``; where it is absent or null, ``default`` or else NerfsceneError."""
    value = values.get(key)
    if value is None and default is not None:
        return default
    return float(numbers(value, (), where, key))


def lens_of(
    width: float,
    height: float,
    focal: Sequence[float],
    centre: Sequence[float],
    where: str,
    distortion: Sequence[float] = (),
    lens: Lens = "perspective",
) -> Intrinsics:
    """The lens, all in pixels, if it can be one; ``distortion`` in Intrinsics' order, zeros may lack.

    Raises NerfsceneError, beginning with ``where``, where sizes or focal lengths (fx, fy) are not
    positive, or the principal point lies outside of the picture.
    """
    if min(width, height) < 1 or min(focal) <= 0:
        raise NerfsceneError(
            f"{where} has a picture of {width:g}×{height:g} pixels and a focal length of {min(focal):g}, "
            "which no lens has: export it again."
        )
    if not (0 <= centre[0] <= width and 0 <= centre[1] <= height):
        raise NerfsceneError(
            f"{where} has its principal point ({centre[0]:.0f}, {centre[1]:.0f}) outside of its picture of "
            f"{width:g}×{height:g} pixels: export it again, with photos as they were taken."
        )
    padded = [float(k) for k in distortion] + [0.0] * (5 - len(distortion))
    return Intrinsics(
        width=int(width),
        height=int(height),
        fx=float(focal[0]),
        fy=float(focal[1]),
        cx=float(centre[0]),
        cy=float(centre[1]),
        lens=lens,
        distortion=tuple(padded),  # type: ignore[arg-type]
    )


def turn_of(quaternion: Sequence[float] | Array, where: str) -> Array:
    """The rotation (3, 3) of a quaternion x y z w of any length but 0; else raises NerfsceneError."""
    q = np.asarray(quaternion, np.float64)
    length = math.sqrt(float(q @ q))
    if length < 1e-6:
        raise NerfsceneError(f"{where} has a quaternion of zeros for its rotation: export it again.")
    x, y, z, w = q / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def as_shown(frame: Listed) -> Listed:
    """The frame for its photo as viewers show it, from one for the pixels as they are stored.

    Some apps pass over the EXIF orientation: their lens and pose are those of the sensor.
    """
    for _ in range(0 if frame.path is None else photo_turns(frame.path)):
        k = frame.intrinsics
        k1, k2, p1, p2, k3 = k.distortion
        if k.lens == "perspective":  # a quarter turn clockwise: x becomes y, and y becomes -x
            p1, p2 = p2, -p1
        turned = Intrinsics(
            width=k.height,
            height=k.width,
            fx=k.fy,
            fy=k.fx,
            cx=k.height - k.cy,
            cy=k.cx,
            lens=k.lens,
            distortion=(k1, k2, p1, p2, k3),
        )
        frame = replace(frame, intrinsics=turned, world_from_cam=frame.world_from_cam @ QUARTER_TURN)
    return frame


def photo_finder(
    root: Path, images: Path | None, names: Iterable[str], source: Path
) -> Callable[[str], Path | None]:
    """A function from a name in an export to the photo it means, or to None.

    Photos are looked for in ``images`` where given, else in ``root/images``, ``root`` or ``images`` beside
    ``root`` (sub-folders too), wherever more of the ``names`` are; the first of equals, but ``images``
    beside ``root`` goes before folders in ``root``. Where none is there and ``root`` is a folder for
    cameras in a project, all of the project is looked through. What lies in a folder ``undistorted`` there
    has another lens, and is never meant. A name may lack its ending and may carry folders, as on the machine
    that exported it: these only choose among photos that are called the same. Of those that they don't tell
    apart, the one in the least deep folder is meant: what apps make of photos they put into folders below.
    The function raises NerfsceneError, which names ``source``, where several remain.
    """
    wanted = Counter(list(names))

    def known(index: dict[str, list[Path]]) -> tuple[int, int]:
        """How many names are known there, and how many of them with their endings."""
        first = [(found[0].name.lower(), _last(n)) for n in wanted if (found := _candidates(index, n))]
        return len(first), sum(name == last for name, last in first)

    project = root.absolute().parent
    if images is not None:
        best = _by_name(_taken_photos(images))
    else:
        photos = _taken_photos(root)
        inside, right_there = _by_name(photos), _by_name([p for p in photos if p.parent == root])
        own, beside = (_by_name(_taken_photos(place / "images")) for place in (root, project))
        rest = (inside, beside) if known(right_there) == known(inside) else (beside, inside)
        best = max((own, *rest), key=known)  # the first of equals
        if not known(best)[0] and any(fnmatch(root.absolute().name, inner) for inner in INNER):
            best = _by_name(_taken_photos(project))

    def find(name: str) -> Path | None:
        found = _candidates(best, name)
        found = _most([_shared_tail(path, name) for path in found], found)
        if wanted[name] == 1:  # cameras of one name have each a photo: which, their folders don't say
            found = _most([-len(path.parts) for path in found], found)
        if len(found) > 1:
            raise NerfsceneError(
                f"{source} names a photo {said(name)}, and there are {len(found)} of that name ({found[0]}, "
                f"{found[1]}): keep one, or rename them before the cameras are exported."
            )
        return found[0] if found else None

    return find


def _most(scores: Sequence[int], paths: list[Path]) -> list[Path]:
    """The paths that no other has a higher score than."""
    return [path for path, score in zip(paths, scores, strict=True) if score == max(scores)]


def capture_root(source: Path, listed: Sequence[Listed]) -> Path:
    """The capture's folder: that of the export, or the one above it where photos are in ``images`` there."""
    here = source.absolute()
    images = here.parent.parent / "images"
    photos = [frame.path.absolute() for frame in listed if frame.path is not None]
    beside = images not in here.parents and any(images in photo.parents for photo in photos)
    return images.parent if beside else source.parent


def photos_beside(listed: Sequence[Listed]) -> list[Path]:
    """All photos in the folders that the frames' photos are in, but not in folders below these."""
    folders = sorted({frame.path.parent for frame in listed if frame.path is not None})
    return [path for folder in folders for path in list_photos(folder)]


def left_without(
    listed: Sequence[Listed], source: Path, apart: Iterable[str] = ()
) -> tuple[list[LeftOut], tuple[str, ...]]:
    """The photos beside those of the frames that an export has no pose for, and a warning that names them.

    ``apart``: names of photos in a part of the export that was not taken: listed, but not warned of.
    """
    used = {frame.path for frame in listed}
    unused = [path for path in photos_beside(listed) if path not in used]
    elsewhere = {_last(name) for name in apart}
    others = [path.name for path in unused if path.name.lower() in elsewhere]
    lost = [path.name for path in unused if path.name.lower() not in elsewhere]
    left_out = [LeftOut(name, f"has no pose in {source.name}") for name in lost]
    left_out += [LeftOut(name, "is in another reconstruction than most photos") for name in others]
    if not lost:
        return left_out, ()
    return left_out, (
        f"{len(lost)} photo{' has' if len(lost) == 1 else 's have'} no pose in {source.name} and "
        f"{'was' if len(lost) == 1 else 'were'} left out ({name_some(lost)}).",
    )


def _taken_photos(folder: Path) -> list[Path]:
    """The photos in a folder, without those that an app undistorted into a folder below."""
    found = find_photos(folder) if folder.is_dir() else []
    return [p for p in found if "undistorted" not in _parts(p.relative_to(folder).parent.as_posix())]


def _by_name(photos: Iterable[Path]) -> dict[str, list[Path]]:
    """Photos by their whole names and, where none is called so, by those without their ending."""
    whole: dict[str, list[Path]] = {}
    stems: dict[str, list[Path]] = {}
    for path in photos:
        whole.setdefault(path.name.lower(), []).append(path)
        stems.setdefault(path.stem.lower(), []).append(path)
    return stems | whole


def _parts(name: str) -> list[str]:
    return [part for part in name.lower().replace("\\", "/").split("/") if part]


def _last(name: str) -> str:
    """A photo's name without its folders, in lower case; empty where there is none."""
    return (_parts(name) or [""])[-1]


def _candidates(index: dict[str, list[Path]], name: str) -> list[Path]:
    """Photos called so with their ending, else without it, or else with another ending."""
    last = _last(name)
    stem = last.rpartition(".")[0]
    return index.get(last) or (index.get(stem, []) if stem else [])


def _shared_tail(path: Path, name: str) -> int:
    """How many folders above the two have in common, counted from the photo up."""
    count = 0
    for ours, theirs in zip(
        reversed(_parts(path.as_posix())[:-1]), reversed(_parts(name)[:-1]), strict=False
    ):
        if ours != theirs:
            break
        count += 1
    return count

"""The photos of an export: found on disk by name, and made into a capture with their poses."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.folder import PHOTO_SUFFIXES, find_photos, list_photos, subfolders
from nerfscene.capture.not_photos import without_maps
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import printable
from nerfscene.formats.listing import Export, PosedFrame, finish, photos_beside, with_masks
from nerfscene.types import Array, LeftOut, PosedCapture, Source

# Folders inside a project that OpenDroneMap (OpenSfM) and OpenMVG write their cameras to.
INNER = ("opensfm", "reconstruction_*")
GUESSED_SUFFIXES = (".png", ".jpg", ".jpeg")  # in this order where a name lacks its extension
ENCODED = re.compile("%[0-9A-Fa-f]{2}")
LONGEST_PART, LONGEST_PATH = 255, 3000  # bytes of a file's or folder's name; characters of a path, with room


def photo_finder(
    root: Path,
    images: Path | None,
    names: Iterable[str],
    source: Path,
    relative_to: Sequence[Path] = (),
    shrunk: bool = True,
) -> Callable[[str], Path | None]:
    """A function that takes a name from an export to its photo on disk, or to None if there is none.

    root: the export's folder. images: the folder of photos, if the user named one. names: all names in
    the export. source: the export's file, for messages. relative_to: the folders that names with folders
    are relative to, if the format says so; otherwise folders in a name are only hints. shrunk: whether the
    export's lenses fit shrunken copies of the photos too.

    Every reader finds its photos here, so the same rules hold for all formats. Photos are looked for

    1. in ``relative_to``, as listed;
    2. by their file names, in ``root/images``, ``root`` and the ``images`` folder beside ``root``,
       sub-folders included, and in the whole project if ``root`` is a project's folder for cameras (INNER);
    3. in shrunken copies: ``images_2``, ``images_4`` and so on in ``root``.

    The place that holds the most of the names is used for all of them; the first of equals, and the first
    if it has at least half as many as the best. With ``images``, only that folder is searched. Folders
    called ``undistorted`` are skipped, because their photos have another lens.

    Letter case doesn't matter where no file has the very name, nor how accents are written, nor whether a
    space is a space or %20, as in addresses; slashes may be backslashes. A name may lack its file extension
    or have another one. It may include folders of the machine that exported it; these help to choose among
    photos with the same file name. If that leaves several, the photo in the shallowest folder is used,
    because programs write processed copies into deeper folders. The function raises NerfsceneError when
    several photos still fit. One photo is never used for two names.
    """
    wanted = Counter(list(names))
    places = (images,) if images is not None else tuple(relative_to)
    listed = [_listed(place, list(wanted)) for place in places]
    by_name = _by_file_name(root, images, wanted, source, shrunk)
    best = max(listed, key=len, default={})
    if best and 2 * len(best) >= sum(by_name(name, True) is not None for name in wanted):
        return best.get
    return lambda name: by_name(name, False)


def locate(folder: Path, name: str) -> Path | None:
    """The photo or mask called ``name``, a path relative to ``folder`` or absolute; None if there is none.

    Letter case and file extension are as in photo_finder.
    """
    return _listed(folder, [name]).get(name)


def locate_listed(root: Path, name: str) -> Path | None:
    """As ``locate``, but ``name`` may be a path of another machine, whose last folders are here."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    shorter = (
        "/".join(parts[start:]) for start in range(len(parts) - 1)
    )  # with a folder: others share names
    return next((path for n in (name, *shorter) if (path := locate(root, n)) is not None), None)


def _listed(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Name → photo, for the names that are paths to photos, relative to ``folder`` or absolute."""
    listings: dict[Path, dict[str, list[str]]] = {}

    def inside(parent: Path) -> dict[str, list[str]]:
        """Names in a folder by their lower-case form, with and without extension."""
        if parent not in listings:
            found: dict[str, list[str]] = {}
            for entry in sorted(parent.iterdir()) if parent.is_dir() else ():
                keys = {_plain(entry.name)}
                if entry.suffix.lower() in PHOTO_SUFFIXES:
                    keys.add(_plain(entry.stem))
                for key in keys:
                    found.setdefault(key, []).append(entry.name)
            listings[parent] = found
        return listings[parent]

    def parent_of(path: Path) -> Path | None:
        """The folder of a path, found whatever its letter case."""
        if path.parent.is_dir():
            return path.parent
        above = None if path.parent == path else parent_of(path.parent)
        same = [] if above is None else inside(above).get(_plain(path.parent.name), [])
        return above / same[0] if above is not None and same else None

    def photo(name: str) -> Path | None:
        if not _can_name_a_file(name):
            return None
        path = folder / name.replace("\\", "/")
        if path.is_file():
            return path
        parent = parent_of(path)
        if parent is None or not path.name:
            return None
        index, lower = inside(parent), _plain(path.name)
        same = index.get(lower) or index.get(lower.rpartition(".")[0]) or []
        files = [parent / other for other in same if (parent / other).is_file()]
        return min(files, key=_preference) if files else None

    found = {name: next(filter(None, map(photo, _spellings(name))), None) for name in names}
    return _without_rivals({name: path for name, path in found.items() if path is not None})


def _spellings(name: str) -> tuple[str, ...]:
    """A name as it stands and, if it is written as in an address, with its %20 and the like decoded."""
    return (name, unquote(name)) if ENCODED.search(name) else (name,)


def _can_name_a_file(name: str) -> bool:
    """Whether asking the system for a file of this name is no error by itself."""
    try:
        parts = os.fsencode(name).replace(b"\\", b"/").split(b"/")
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False
    return max(map(len, parts)) <= LONGEST_PART and len(name) <= LONGEST_PATH and "\0" not in name


def _preference(path: Path) -> int:
    """The order among photos that differ only in their extension."""
    suffix = path.suffix.lower()
    return GUESSED_SUFFIXES.index(suffix) if suffix in GUESSED_SUFFIXES else len(GUESSED_SUFFIXES)


def _without_rivals(found: dict[str, Path]) -> dict[str, Path]:
    """Name → photo, where a photo that several names lead to stays with the one that is most like it.

    It stays with none if several are equally like it.
    """
    claims: dict[Path, list[str]] = {}
    for name, path in found.items():
        claims.setdefault(path, []).append(name)
    kept = {}
    for path, names in claims.items():
        score = {n: (_shared_folders(path, n), _file_name(n) == _plain(path.name)) for n in names}
        best = [n for n in names if score[n] == max(score.values())]
        if len(best) == 1 or len({Path(n.replace("\\", "/")).as_posix() for n in best}) == 1:
            kept.update(dict.fromkeys(best, path))
    return kept


def _by_file_name(
    root: Path, images: Path | None, wanted: Counter[str], source: Path, shrunk: bool
) -> Callable[[str, bool], Path | None]:
    """A function that finds the photo of a name by the file name alone, as in photo_finder.

    Its second argument: return any of several photos that fit, instead of raising NerfsceneError.
    """
    index = _best_index(root, images, list(wanted), shrunk)

    def fitting(name: str) -> list[Path]:
        found = _candidates(index, name)
        found = _highest([path.name == Path(name.replace("\\", "/")).name for path in found], found)
        found = _highest([_shared_folders(path, name) for path in found], found)
        if wanted[name] == 1:  # several cameras with one name have a photo each: depth can't choose then
            found = _highest([-len(path.parts) for path in found], found)
        return found

    fits = {name: fitting(name) for name in wanted}
    clear = _without_rivals({name: found[0] for name, found in fits.items() if len(found) == 1})

    def find(name: str, any_of_them: bool) -> Path | None:
        found = fits.get(name, [])
        if len(found) > 1 and not any_of_them:
            raise NerfsceneError(
                f"{source} names a photo {printable(name)}, and there are {len(found)} of that name "
                f"({found[0]}, {found[1]}): keep one, or rename them before you export the cameras."
            )
        return found[0] if len(found) > 1 else clear.get(name)

    return find


def _best_index(root: Path, images: Path | None, names: Sequence[str], shrunk: bool) -> dict[str, list[Path]]:
    """The photos, by name, of the place that holds the most of ``names``; places as in photo_finder."""
    if images is not None:
        return _by_name(_original_photos(images))

    def matches(index: dict[str, list[Path]]) -> tuple[int, int]:
        """How many names have a photo in the index, and how many of these agree in the extension too."""
        pairs = [(_plain(found[0].name), _file_name(n)) for n in names if (found := _candidates(index, n))]
        return len(pairs), sum(photo == name for photo, name in pairs)

    project = root.absolute().parent
    photos = _photos_anywhere(root)
    inside, directly_inside = _by_name(photos), _by_name([p for p in photos if p.parent == root])
    own, beside = (_by_name(_original_photos(place / "images")) for place in (root, project))
    # max() takes the first of equals: ``images`` beside ``root`` goes before sub-folders of ``root``.
    rest = (inside, beside) if matches(directly_inside) == matches(inside) else (beside, inside)
    copies = [p for p in root.glob("images_*") if p.name[7:].isdigit()] if shrunk else []
    copies.sort(key=lambda p: int(p.name[7:]))
    best = max((own, *rest, *(_by_name(_original_photos(place)) for place in copies)), key=matches)
    if not matches(best)[0] and any(fnmatch(root.absolute().name, inner) for inner in INNER):
        return _by_name(_original_photos(project))
    return best


def _highest(scores: Sequence[int], paths: list[Path]) -> list[Path]:
    """The paths with the highest score."""
    return [path for path, score in zip(paths, scores, strict=True) if score == max(scores)]


def capture_root(source: Path, frames: Sequence[PosedFrame]) -> Path:
    """The capture's folder: the export's, or the one above it if the photos are in ``images`` there."""
    here = source.absolute()
    images = here.parent.parent / "images"
    photos = [frame.path.absolute() for frame in frames if frame.path is not None]
    beside = images not in here.parents and any(images in photo.parents for photo in photos)
    return images.parent if beside else source.parent


def finish_app_export(
    source: Path,
    kind: Source,
    frames: Sequence[PosedFrame],
    warnings: tuple[str, ...],
    left_out: Sequence[LeftOut],
    points: Array | None = None,
    point_colors: NDArray[np.uint8] | None = None,
) -> PosedCapture:
    """The capture of an export whose photos lie in its own folder or in ``images`` near it.

    Arguments are as in ``listing.Export``. Raises NerfsceneError as ``listing.finish`` does.
    """
    root = capture_root(source, frames)
    export = Export(
        source,
        root,
        kind,
        with_masks(root, frames),
        warnings=warnings,
        photos_given=len(photos_beside(frames)),
        left_out=left_out,
    )
    if points is not None and point_colors is not None:
        export = replace(export, points=points, point_colors=point_colors)
    return finish(export)


def _photos_anywhere(root: Path) -> list[Path]:
    """The photos in a folder and below it, with those beside its sub-folder ``images``."""
    folders = subfolders(root, follow=True) if root.is_dir() else []
    inside = [photo for folder in folders for photo in find_photos(folder)]
    return _without_undistorted([*without_maps(list_photos(root)), *inside], root)


def _original_photos(folder: Path) -> list[Path]:
    """The photos in a folder and below it, without copies that a program undistorted."""
    return _without_undistorted(find_photos(folder) if folder.is_dir() else [], folder)


def _without_undistorted(photos: Iterable[Path], folder: Path) -> list[Path]:
    return [p for p in photos if "undistorted" not in _parts(p.relative_to(folder).parent.as_posix())]


def _by_name(photos: Iterable[Path]) -> dict[str, list[Path]]:
    """Photos by lower-case file name and by the name without its extension; a full name takes precedence."""
    full_names: dict[str, list[Path]] = {}
    stems: dict[str, list[Path]] = {}
    for path in photos:
        full_names.setdefault(_plain(path.name), []).append(path)
        stems.setdefault(_plain(path.stem), []).append(path)
    return stems | full_names


def _plain(name: str) -> str:
    """A name in lower case, with each accented letter as one: macOS writes them as a letter and an accent."""
    return unicodedata.normalize("NFC", name).lower()


def _parts(name: str) -> list[str]:
    """The folders and the file name in a path with either kind of slash, in lower case."""
    return [part for part in _plain(name).replace("\\", "/").split("/") if part]


def _file_name(name: str) -> str:
    """A photo's name without its folders, in lower case; "" for an empty name."""
    return (_parts(name) or [""])[-1]


def _candidates(index: dict[str, list[Path]], name: str) -> list[Path]:
    """The photos called ``name``, which may lack its extension or have another one."""
    for spelling in _spellings(name):
        file_name = _file_name(spelling)
        stem = file_name.rpartition(".")[0]
        photos = index.get(file_name) or (index.get(stem, []) if stem else [])
        if photos:
            return photos
    return []


def _shared_folders(path: Path, name: str) -> int:
    """How many folders the two have in common, counted from the photo up."""
    count = 0
    for ours, theirs in zip(
        reversed(_parts(path.as_posix())[:-1]), reversed(_parts(name)[:-1]), strict=False
    ):
        if ours != theirs:
            break
        count += 1
    return count

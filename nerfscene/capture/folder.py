"""A folder of photos → Capture: which photos there are, which are left out and why."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from nerfscene.capture.culling import GREY_SIDE, Traits, find_blurred, find_copies, traits
from nerfscene.capture.masks import check_mask, find_masks
from nerfscene.capture.photos import (
    FILM_DIAGONAL,
    Progress,
    carries_alpha,
    look_at,
    photo_size,
    photo_turns,
    read_all,
    read_mask,
    read_pixels,
    silent,
    worker_count,
)
from nerfscene.errors import NerfsceneError
from nerfscene.types import Capture, LeftOut, Photo

__all__ = [  # also what other stages know of photos: photos.py and culling.py are this one's own
    "ARCHIVE_SUFFIXES",
    "FILM_DIAGONAL",
    "MIN_PHOTOS",
    "PHOTO_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Progress",
    "carries_alpha",
    "find_photos",
    "list_photos",
    "name_some",
    "natural_key",
    "open_capture",
    "photo_size",
    "photo_turns",
    "read_all",
    "read_mask",
    "read_pixels",
    "short_names",
    "silent",
    "subfolders",
    "worker_count",
]

PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff"),
    *(".heic", ".heif", ".hif", ".avif"),
)
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".3gp", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".wmv", ".ogv", ".flv", ".3g2", ".ts", ".m2t", ".m2v", ".mxf", ".asf", ".vob", ".f4v"),
    *(".h264", ".h265", ".hevc", ".insv", ".mjpeg", ".mjpg"),
)
ARCHIVE_SUFFIXES = (".zip", ".r3d")  # of files that can be nothing else, even where they are damaged
RAW_SUFFIXES = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw")
MIN_PHOTOS = 3  # two views fix a scene only up to guesses; the third is the first check on them
NAMES_SHOWN = 5
# Folders that hold other things than photos: what is beside them in data sets, and systems' own.
NOT_PHOTOS = {
    *("masks", "mask", "depth", "depths", "normals", "sparse", "dense", "colmap", "segmentation"),
    *("thumbs", "thumbnails", "previews", "__macosx", "@eadir", "$recycle.bin"),
}


def open_capture(path: str | os.PathLike[str], progress: Progress = silent) -> Capture:
    """The photos of a folder and its sub-folders, in the natural order of names.

    Where the folder has none itself but its sub-folder ``images`` has, those alone are taken.
    Every photo is decoded once, so that a damaged one is found here and not halfway through
    training. Those that can't be read, are much more blurred than the others or are there twice
    are left out, with one warning for each reason that names them. Masks in ``masks`` are taken.
    Raises NerfsceneError when fewer than MIN_PHOTOS photos remain, or a mask has another size.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise NerfsceneError(f"{root} does not exist: give the folder that holds your photos.")
    if root.is_file() and root.name.lower().endswith(VIDEO_SUFFIXES):
        raise NerfsceneError(f"{root} is a video: nerfscene train (or posed_capture) takes frames from it.")
    if root.is_file() and root.suffix.lower() in ARCHIVE_SUFFIXES:
        raise NerfsceneError(f"{root} is an archive: nerfscene train (or posed_capture) unpacks it.")
    if not root.is_dir():
        raise NerfsceneError(f"{root} is a file: give the folder that holds your photos instead.")
    found = find_photos(root)
    if not found:
        raise NerfsceneError(_no_photos_message(root))
    names = dict(zip(found, short_names(found), strict=True))
    seen: list[Traits] = []
    lost: dict[str, list[str]] = {}
    damaged: list[Path] = []

    def look(path: Path) -> tuple[Traits, tuple[str, ...]] | None:
        try:
            looked = look_at(path, GREY_SIDE)
        except NerfsceneError:
            return None
        return traits(looked), looked.lost

    with ThreadPoolExecutor(worker_count()) as pool:
        for count, (path_, outcome) in enumerate(zip(found, pool.map(look, found), strict=True), 1):
            progress("looking at photos", count / len(found))
            if outcome is None:
                damaged.append(path_)
                continue
            seen.append(outcome[0])
            for what in outcome[1]:
                lost.setdefault(what, []).append(names[path_])
    return _chosen(root, names, seen, damaged, lost)


def _chosen(
    root: Path,
    names: dict[Path, str],
    seen: list[Traits],
    damaged: list[Path],
    lost: dict[str, list[str]],
) -> Capture:
    """The capture of the photos that were read, without copies and blurred ones."""
    left_out = [LeftOut(names[path], "can't be read") for path in damaged]
    warnings = []
    if damaged:
        warnings.append(
            f"left out {len(damaged)} of {len(names)} photos that cannot be read "
            f"({name_some([names[path] for path in damaged])}): copy them again from where they came from."
        )
    copies = find_copies(seen)
    single = [t for i, t in enumerate(seen) if i not in copies]
    if copies:
        pairs = {names[seen[i].photo.path]: names[seen[k].photo.path] for i, k in copies.items()}
        left_out += [LeftOut(name, f"is the same picture as {kept}") for name, kept in pairs.items()]
        warnings.append(
            f"left out {len(copies)} of {len(names)} photos that are there twice ({name_some(list(pairs))})."
        )
    blurred = find_blurred(single)[: max(len(single) - MIN_PHOTOS, 0)]
    photos = _with_masks(root, [t.photo for i, t in enumerate(single) if i not in blurred])
    if blurred:
        soft = [names[single[i].photo.path] for i in blurred]
        left_out += [LeftOut(name, "is blurred") for name in soft]
        warnings.append(
            f"left out {len(blurred)} of {len(names)} photos that are much more blurred than the others "
            f"({name_some(soft)})."
        )
    for what, whose in lost.items():
        warnings.append(f"{len(whose)} of {len(names)} photos ({name_some(whose)}) {what}.")
    if len(photos) < MIN_PHOTOS:
        raise NerfsceneError(_too_few_message(root, photos, [names[p] for p in damaged], len(copies)))
    if all(photo.mask is None for photo in photos):
        warnings += _unused_masks(root, photos[0])
    warnings += _passed_over(root, list(names))
    return Capture(root, photos, tuple(warnings), tuple(left_out))


def _with_masks(root: Path, photos: Sequence[Photo]) -> tuple[Photo, ...]:
    """The photos with the masks that are found for them; raises NerfsceneError for one that doesn't fit."""
    masks = find_masks(root, [photo.path for photo in photos])
    for photo in photos:
        if photo.path in masks:
            check_mask(masks[photo.path], photo.path, photo.width, photo.height)
    return tuple(replace(photo, mask=masks.get(photo.path)) for photo in photos)


def _unused_masks(root: Path, photo: Photo) -> list[str]:
    """A warning where there are masks but none is called like a photo, or their folder is misnamed."""
    for folder in (root / "masks", root / "mask"):
        count = len(list_photos(folder))
        if count:
            return [
                f"{folder} holds {count} pictures, but no mask was found for any photo: that of "
                f"{photo.path.name} would be masks/{photo.path.stem}.png or masks/{photo.path.name}.png."
            ]
    return []


def _passed_over(root: Path, taken: Sequence[Path]) -> list[str]:
    """A warning where photos beside ``images`` were taken, and those in it were not."""
    images = root / "images"
    inside = find_photos(images)
    if not inside or not set(inside).isdisjoint(taken):
        return []
    return [
        f"{images} holds {len(inside)} photos as well, passed over for the {len(taken)} beside it: "
        "give that folder itself if those are meant."
    ]


def find_photos(root: Path, follow: bool = True) -> list[Path]:
    """Photos of a folder and of its sub-folders, in the natural order of their places.

    Where the folder itself has too few (a cover, say) but ``images`` has enough, only those. Left out are
    hidden folders, those that hold something else (masks, depth), those of a COLMAP model or of a scene.
    ``follow``: also folders elsewhere that links lead to, but none from there.
    """
    own = list_photos(root)
    folders = subfolders(root, follow)
    images = [folder for folder in folders if folder.name == "images"]

    def within(folder: Path) -> list[Path]:
        return find_photos(folder, follow and not folder.is_symlink())

    if images and len(own) < MIN_PHOTOS:
        inside = within(images[0])
        if len(inside) >= MIN_PHOTOS or (inside and not own):
            return inside
    found = own + [p for folder in folders if folder not in images for p in within(folder)]
    return sorted(found, key=lambda p: [natural_key(part) for part in p.relative_to(root).parts])


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


def name_some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def short_names(paths: Sequence[Path]) -> list[str]:
    """The files' names, with as many of the folders above as tell equal ones apart."""
    depth = dict.fromkeys(paths, 1)
    while True:
        names = ["/".join(path.parts[-depth[path] :]) for path in paths]
        counts = Counter(names)
        again = {
            p for p, name in zip(paths, names, strict=True) if counts[name] > 1 and depth[p] < len(p.parts)
        }
        if not again:
            return names
        for path in again:
            depth[path] += 1


def _is_photo_name(name: str) -> bool:
    # "._x.jpg" is what macOS leaves beside x.jpg on other file systems: not a photo.
    return name.lower().endswith(PHOTO_SUFFIXES) and not name.startswith(".")


def subfolders(root: Path, follow: bool = False) -> list[Path]:
    """Folders in ``root`` that may hold photos; with ``follow`` also links to folders elsewhere."""
    here = root.resolve()

    def elsewhere(folder: Path) -> bool:
        target = folder.resolve()
        return not (target.is_relative_to(here) or here.is_relative_to(target))

    def may(folder: Path) -> bool:
        name = folder.name.lower()
        # images_4 and the like hold the photos of images again, shrunk.
        other = name.startswith(".") or name in NOT_PHOTOS or re.fullmatch(r"images_\d+", name)
        ours = name.endswith(".partial") or any((folder / n).exists() for n in ("scene.json", "done.json"))
        return (
            not (other or ours)
            and folder.is_dir()
            and (not folder.is_symlink() or (follow and elsewhere(folder)))
        )

    def ours_to_read(folder: Path) -> bool:
        try:
            return may(folder)
        except OSError:  # such as lost+found
            return False

    try:
        return [folder for folder in root.iterdir() if ours_to_read(folder)]
    except OSError:
        return []


def _too_few_message(root: Path, photos: Sequence[Photo], damaged: list[str], copies: int) -> str:
    usable = f"{len(photos)} readable photo{'' if len(photos) == 1 else 's'}"
    unread = f" (not readable: {name_some(damaged)})" if damaged else ""
    twice = f" beside {copies} that are there twice" if copies else ""
    return (
        f"{root} holds {usable}{unread}{twice}: at least {MIN_PHOTOS} are needed, and 20 to 100 "
        "that overlap and go around the subject work best."
    )


def _no_photos_message(root: Path) -> str:
    kinds = ", ".join(s[1:] for s in PHOTO_SUFFIXES)
    files = [p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".")]
    suffixes = Counter(p.suffix.lower() or "no ending" for p in files)
    if not suffixes:
        return f"{root} holds no files: give the folder that holds your photos ({kinds})."
    seen = ", ".join(f"{n} x {suffix}" for suffix, n in suffixes.most_common(NAMES_SHOWN))
    hint = "give the folder that holds your photos"
    if suffixes.keys() & set(RAW_SUFFIXES):
        hint = "export these as JPEG first"
    elif suffixes.keys() & set(VIDEO_SUFFIXES):
        hint = "give the video itself, or the folder that it lies in"
    elif archives := suffixes.keys() & set(ARCHIVE_SUFFIXES):
        hint = f"give the {min(archives)} itself, or unpack it"
    return f"{root} holds no photos ({kinds}), only {seen}: {hint}."

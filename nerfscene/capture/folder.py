"""A folder of photos → Capture: finds and checks the photos, and leaves out unusable ones with a warning."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from nerfscene.capture.culling import GREY_SIDE, Traits, find_blurred, find_copies, traits
from nerfscene.capture.endings import ARCHIVE_SUFFIXES, PHOTO_SUFFIXES, RAW_SUFFIXES, VIDEO_SUFFIXES
from nerfscene.capture.masks import find_masks, mask_turns, masks_by_name, without_masks
from nerfscene.capture.not_photos import is_for_other_pictures, without_maps
from nerfscene.capture.photos import (
    DYNAMIC_MASK,
    FILM_DIAGONAL,
    StageListener,
    carries_alpha,
    check_whole,
    inspect_photo,
    photo_size,
    photo_turns,
    read_mask,
    read_pixels,
    silent,
    stored_orientation,
    stored_size,
    worker_count,
)
from nerfscene.capture.reading import read_each
from nerfscene.capture.work_folder import DONE
from nerfscene.errors import NerfsceneError
from nerfscene.types import Capture, LeftOut, Photo

__all__ = [  # includes what other stages need of photos.py
    "ARCHIVE_SUFFIXES",
    "FILM_DIAGONAL",
    "MIN_PHOTOS",
    "PHOTO_SUFFIXES",
    "VIDEO_SUFFIXES",
    "StageListener",
    "carries_alpha",
    "check_whole",
    "find_photos",
    "list_photos",
    "masks_told",
    "name_some",
    "natural_key",
    "only_folder",
    "open_capture",
    "photo_size",
    "photo_turns",
    "read_each",
    "read_mask",
    "read_pixels",
    "short_names",
    "silent",
    "stored_orientation",
    "stored_size",
    "subfolders",
    "worker_count",
]

MIN_PHOTOS = 3  # two views always fit each other; only a third one can confirm them
NAMES_SHOWN = 5


def open_capture(path: str | os.PathLike[str], progress: StageListener = silent) -> Capture:
    """The photos of a folder and its sub-folders, in the natural order of their names.

    ``find_photos`` says which are taken. Every photo is decoded once, so that a damaged one is found here and
    not halfway through training. Photos that can't be read, are much more blurred than the others, or are
    duplicates are left out, with one warning per reason that names them. Masks in folders called ``masks``
    are used.
    Raises NerfsceneError when fewer than MIN_PHOTOS photos remain, or a mask has other proportions than its
    photo.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise NerfsceneError(f"{root} does not exist: give the folder that holds your photos.")
    if root.is_file() and root.name.lower().endswith(VIDEO_SUFFIXES):
        raise NerfsceneError(f"{root} is a video: use nerfscene train (or posed_capture) to get its frames.")
    if root.is_file() and root.suffix.lower() in ARCHIVE_SUFFIXES:
        raise NerfsceneError(f"{root} is an archive: use nerfscene train (or posed_capture) to unpack it.")
    if not root.is_dir():
        raise NerfsceneError(f"{root} is a file: give the folder that holds your photos instead.")
    found = find_photos(root)
    if not found:
        raise NerfsceneError(_no_photos_message(root))
    names = dict(zip(found, short_names(found), strict=True))
    readable: list[Traits] = []
    losses: dict[str, list[str]] = {}
    damaged: list[Path] = []

    def inspect(path: Path) -> tuple[Traits, tuple[str, ...]] | None:
        try:
            inspected = inspect_photo(path, GREY_SIDE)
        except NerfsceneError:
            return None
        return traits(inspected), inspected.lost

    with ThreadPoolExecutor(worker_count()) as pool:
        for count, (path_, outcome) in enumerate(zip(found, pool.map(inspect, found), strict=True), 1):
            progress("checking photos", count / len(found))
            if outcome is None:
                damaged.append(path_)
                continue
            readable.append(outcome[0])
            for loss in outcome[1]:
                losses.setdefault(loss, []).append(names[path_])
    return _select(root, names, readable, damaged, losses)


def _select(
    root: Path,
    names: dict[Path, str],
    readable: list[Traits],
    damaged: list[Path],
    losses: dict[str, list[str]],
) -> Capture:
    """The capture of the readable photos, without duplicates and blurred ones.

    ``names``: the short name of every photo found. ``losses``: what reading loses → names of the photos.
    """
    left_out = [LeftOut(names[path], "can't be read") for path in damaged]
    warnings = []
    if damaged:
        warnings.append(
            f"left out {len(damaged)} of {len(names)} photos that cannot be read "
            f"({name_some([names[path] for path in damaged])}): copy them again from where they came from."
        )
    copies = find_copies(readable)
    single = [t for i, t in enumerate(readable) if i not in copies]
    if copies:
        pairs = {names[readable[i].photo.path]: names[readable[k].photo.path] for i, k in copies.items()}
        left_out += [LeftOut(name, f"is the same picture as {kept}") for name, kept in pairs.items()]
        warnings.append(
            f"left out {len(copies)} of {len(names)} photos that duplicate others ({name_some(list(pairs))})."
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
    for loss, affected in losses.items():
        warnings.append(f"{len(affected)} of {len(names)} photos ({name_some(affected)}) {loss}.")
    if len(photos) < MIN_PHOTOS:
        raise NerfsceneError(_too_few_message(root, photos, [names[p] for p in damaged], len(copies)))
    warnings += masks_told(root, {photo.path: photo.mask for photo in photos})
    warnings += _unused_images_folder(root, list(names))
    return Capture(root, photos, tuple(warnings), tuple(left_out))


def _with_masks(root: Path, photos: Sequence[Photo]) -> tuple[Photo, ...]:
    """The photos with the masks found for them; raises NerfsceneError if a mask and its photo don't match."""
    masks = find_masks(root, [photo.path for photo in photos])
    masked = []
    for photo in photos:
        mask = masks.get(photo.path)
        turns = 0 if mask is None else mask_turns(mask, photo.path, photo.width, photo.height)
        masked.append(replace(photo, mask=mask, mask_turns=turns))
    return tuple(masked)


def masks_told(root: Path, masks: Mapping[Path, Path | None]) -> tuple[str, ...]:
    """A warning if some photos have a mask and others none, or if there are masks that fit no photo by name.

    masks: photo → its mask, or None. instant-ngp's masks of what moves are needed for some photos only.
    """
    bare = [photo for photo, mask in masks.items() if mask is None]
    if bare and any(m is not None and not m.name.lower().startswith(DYNAMIC_MASK) for m in masks.values()):
        have = "has" if len(bare) == 1 else "have"
        return (
            f"{len(bare)} of the {len(masks)} photos {have} no mask and {'is' if have == 'has' else 'are'} "
            f"used as a whole ({name_some(short_names(bare))}).",
        )
    for folder in (root / "masks", root / "mask"):
        count = len(masks_by_name(folder)) if len(bare) == len(masks) else 0
        if count:
            return (
                f"{folder} holds {count} picture{'s' * (count > 1)}, but no photo's mask was found: name the "
                f"mask of {bare[0].name} masks/{bare[0].stem}.png or masks/{bare[0].name}.png.",
            )
    return ()


def _unused_images_folder(root: Path, taken: Sequence[Path]) -> list[str]:
    """A warning if the photos beside the sub-folder ``images`` are used, and those in it are not."""
    images = root / "images"
    inside = find_photos(images)
    if not inside or not set(inside).isdisjoint(taken):
        return []
    return [
        f"the {len(inside)} photos in {images} are not used, because {len(taken)} lie beside it: give that "
        "folder itself to use them."
    ]


def find_photos(root: Path, follow: bool = True) -> list[Path]:
    """The photos of a folder and of its sub-folders, in the natural order of their paths; [] if none.

    If the folder itself has fewer than MIN_PHOTOS (a cover, say) but its sub-folder ``images`` has enough, or
    the folder itself has none, only those in ``images``. Hidden folders are skipped, and those that hold
    masks, depth, a COLMAP model or a scene; so are depth maps and the like beside photos (see not_photos).
    ``follow``: also search folders elsewhere that symbolic links point to, but no links in those.
    """
    own = without_maps(list_photos(root))
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
    """The photos directly in a folder, in the natural order of their names; [] if there is no such folder."""
    if not folder.is_dir():
        return []
    photos = without_masks([p for p in folder.iterdir() if _is_photo_name(p.name) and p.is_file()])
    return sorted(photos, key=lambda p: natural_key(p.name))


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """A sort key that puts img2 before img10 and ignores upper and lower case."""
    parts = re.split(r"(\d+)", name.lower())  # text and numbers alternate, so only like types are compared
    return tuple(int(p) if i % 2 else p for i, p in enumerate(parts)), name


def name_some(names: Sequence[str]) -> str:
    """The first NAMES_SHOWN names in words, and how many more there are: "a.jpg, b.jpg and 3 more"."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def short_names(paths: Sequence[Path]) -> list[str]:
    """The files' names, in order; equal names are preceded by as many parent folders as make them differ."""
    depth = dict.fromkeys(paths, 1)
    while True:
        names = ["/".join(path.parts[-depth[path] :]) for path in paths]
        counts = Counter(names)
        ambiguous = {
            p for p, name in zip(paths, names, strict=True) if counts[name] > 1 and depth[p] < len(p.parts)
        }
        if not ambiguous:
            return names
        for path in ambiguous:
            depth[path] += 1


def _is_photo_name(name: str) -> bool:
    # On other file systems, macOS puts a "._x.jpg" beside each x.jpg, which is not a photo.
    return name.lower().endswith(PHOTO_SUFFIXES) and not name.lower().startswith((".", DYNAMIC_MASK))


def subfolders(root: Path, follow: bool = False) -> list[Path]:
    """The folders in ``root`` that may hold photos; [] if it can't be read.

    With ``follow``, also symbolic links to folders elsewhere, neither inside ``root`` nor around it.
    """
    resolved = root.resolve()

    def elsewhere(folder: Path) -> bool:
        target = folder.resolve()
        return not (target.is_relative_to(resolved) or resolved.is_relative_to(target))

    def may_hold_photos(folder: Path) -> bool:
        name = folder.name.lower()
        # images_4 and the like hold shrunk copies of the photos in images.
        other = name.startswith(".") or re.fullmatch(r"images_\d+", name)
        # Folders that nerfscene made.
        own = name.endswith(".partial") or any((folder / n).exists() for n in ("scene.json", DONE))
        return (
            not (other or own)
            and folder.is_dir()
            and (not folder.is_symlink() or (follow and elsewhere(folder)))
            and not is_for_other_pictures(folder, list_photos)
        )

    def usable(folder: Path) -> bool:
        try:
            return may_hold_photos(folder)
        except OSError:  # permission denied, as for lost+found
            return False

    try:
        return [folder for folder in root.iterdir() if usable(folder)]
    except OSError:
        return []


def only_folder(root: Path) -> Path | None:
    """The one folder in ``root`` that holds photos or videos, however deep, if none lie in ``root`` itself.

    Also the only thing in ``root``, hidden files apart, if that is a folder that may hold photos.
    """
    if not root.is_dir() or _holds_media(root, deep=False):
        return None
    folders = subfolders(root, not root.is_symlink())
    if len(folders) == 1 and all(p in folders or p.name.startswith(".") for p in root.iterdir()):
        return folders[0]
    holding = [folder for folder in folders if _holds_media(folder)]
    return holding[0] if len(holding) == 1 else None


def _holds_media(folder: Path, deep: bool = True) -> bool:
    """Whether a folder holds photos or videos, or with ``deep`` a folder in it does."""
    try:
        if list_photos(folder) or any(_is_video(path) for path in folder.iterdir()):
            return True
    except OSError:  # permission denied
        return False
    return deep and any(_holds_media(inner) for inner in subfolders(folder))


def _is_video(path: Path) -> bool:
    return path.name.lower().endswith(VIDEO_SUFFIXES) and path.name[0] != "." and path.is_file()


def _too_few_message(root: Path, photos: Sequence[Photo], damaged: list[str], copies: int) -> str:
    usable = f"{len(photos)} readable photo{'' if len(photos) == 1 else 's'}"
    unread = f" (not readable: {name_some(damaged)})" if damaged else ""
    duplicates = f" and {copies} duplicate{'' if copies == 1 else 's'}" if copies else ""
    return (
        f"{root} holds {usable}{unread}{duplicates}: at least {MIN_PHOTOS} are needed; 20 to 100 overlapping "
        "photos from all around the subject work best."
    )


def _no_photos_message(root: Path) -> str:
    kinds = ", ".join(s[1:] for s in PHOTO_SUFFIXES)
    files = [p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".")]
    suffixes = Counter(p.suffix.lower() or "no suffix" for p in files)
    if not suffixes:
        return f"{root} holds no files: give the folder that holds your photos ({kinds})."
    seen = ", ".join(f"{n} x {suffix}" for suffix, n in suffixes.most_common(NAMES_SHOWN))
    hint = "give the folder that holds your photos"
    if suffixes.keys() & set(RAW_SUFFIXES):
        hint = "export these as JPEG first"
    elif ".insp" in suffixes:
        hint = "export these as 360° photos (JPEG) first, with the camera's own app, which stitches them"
    elif suffixes.keys() & set(VIDEO_SUFFIXES):
        hint = "give the video itself, or the folder that it is in"
    elif any(s in suffixes for s in PHOTO_SUFFIXES):
        return (
            f"{root} holds no photos, only {seen}, and its pictures are depth maps, masks or thumbnails by "
            "their names and contents: give the folder that holds your photos."
        )
    elif archives := suffixes.keys() & set(ARCHIVE_SUFFIXES):
        hint = f"give the {min(archives)} file itself, or unpack it"
    return f"{root} holds no photos ({kinds}), only {seen}: {hint}."

"""Finds the mask of each photo. In a mask, white marks what to use and black what to ignore."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nerfscene.capture.photos import DYNAMIC_MASK, photo_size, photo_turns, stored_orientation
from nerfscene.errors import NerfsceneError

FOLDER = "masks"
KINDS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def find_masks(root: Path, photos: Sequence[Path]) -> dict[Path, Path]:
    """The mask of each photo that has one.

    A mask lies in a folder called ``masks``, directly or in the same sub-folder as its photo. That folder is
    beside the photo, in ``root``, or in or beside a folder called images that the photo is in: ``root`` or
    one in it, such as an unpacked capture's.
    Photos in images_2, images_4 and so on, which are shrunken copies, have their masks in masks_2, masks_4
    …, or in masks at full size. The mask is named after the photo's full name (photo.jpg.png, as in COLMAP)
    or after its stem (photo.png), or as Metashape (photo_mask.png) and RealityCapture (photo.jpg.mask.png)
    name theirs. The last two may lie beside the photo as well, and RealityCapture's layer in a folder
    ``.mask``. Upper and lower case don't matter. A photo without any of these gets instant-ngp's
    ``dynamic_mask_photo.png`` beside it.
    """
    listed: dict[Path, dict[str, Path]] = {}
    found = {}
    for photo in photos:
        for folder in _mask_folders(root, photo):
            if folder not in listed:
                listed[folder] = masks_by_name(folder)
            masks = listed[folder]
            name, stem = photo.name.lower(), photo.stem.lower()
            own = (f"{name}.mask", f"{stem}_mask")
            names = own if folder == photo.parent else (name, stem, *own)
            mask = next((masks[key] for key in names if key in masks), None)
            if mask is not None:
                found[photo] = mask
                break
        else:
            if photo.parent not in listed:
                listed[photo.parent] = masks_by_name(photo.parent)
            dynamic = listed[photo.parent].get(f"{DYNAMIC_MASK}{photo.stem}".lower())
            if dynamic is not None and dynamic.suffix.lower() == ".png":
                found[photo] = dynamic
    return found


def without_masks(pictures: Sequence[Path]) -> list[Path]:
    """The pictures of one folder without the masks of others among them, in the order given.

    Masks are called photo.jpg.mask.png or photo_mask.png for photo.jpg.
    """
    names = {path.name.lower() for path in pictures}
    stems = {path.stem.lower() for path in pictures}

    def is_mask(path: Path) -> bool:
        stem = path.stem.lower()
        return (stem.endswith(".mask") and stem[:-5] in names) or (
            stem.endswith("_mask") and stem[:-5] in stems
        )

    return [path for path in pictures if not is_mask(path)]


def _mask_folders(root: Path, photo: Path) -> list[Path]:
    """The folders where a photo's mask may lie, the most likely first."""
    folders = [photo.parent / FOLDER, photo.parent / ".mask", photo.parent]
    if root in photo.parents:
        folders.append(root / FOLDER / photo.parent.relative_to(root))
    for images in (root, *photo.parents):
        copies = re.fullmatch(r"images(_\d+)?", images.name)
        if copies is None or images not in photo.parents or root not in (images, *images.parents):
            continue
        inside = photo.parent.relative_to(images)
        own = FOLDER + (copies[1] or "")  # masks_4 for images_4
        folders += [home / name / inside for name in (own, FOLDER) for home in (images.parent, images)]
        folders += [images.parent / own, images.parent / FOLDER, images / FOLDER]
    return list(dict.fromkeys([*folders, root / FOLDER]))


def masks_by_name(place: Path) -> dict[str, Path]:
    """The masks directly in a folder, by their names in lower case without the suffix."""
    folder = _in_any_case(place)
    if folder is None:
        return {}
    files = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in KINDS and not p.name.startswith("."))
    return {p.stem.lower(): p for p in files}


def _in_any_case(folder: Path) -> Path | None:
    """The folder, or one whose path differs from it in upper and lower case only; None if there is none."""
    if folder.is_dir():
        return folder
    parent = None if folder.parent == folder else _in_any_case(folder.parent)
    try:
        inside = sorted(parent.iterdir()) if parent is not None else []
    except OSError:  # permission denied
        return None
    return next((p for p in inside if p.name.lower() == folder.name.lower() and p.is_dir()), None)


def mask_turns(mask: Path, photo: Path, width: int, height: int, stored: bool = False) -> int:
    """The quarter turns clockwise, 0 to 3, that a mask needs to lie like its photo.

    ``width`` and ``height`` are the photo's as viewers show it. A mask may be larger or smaller than its
    photo, because people shrink photos and forget the masks. Most programs make masks from the pixels of the
    photo as stored and leave out the EXIF orientation. ``stored``: take a mask for one of these where its
    proportions fit both ways.
    Raises NerfsceneError unless the mask can be read and has the photo's proportions.
    """
    size = photo_size(mask)
    turns = photo_turns(photo) if stored_orientation(mask) == 1 else 0
    as_stored = same_proportions(size, (height, width) if turns % 2 else (width, height))
    as_shown = same_proportions(size, (width, height))
    if as_stored and turns and (stored or not as_shown):
        return turns
    if as_shown:
        return 0
    turned = ", turned on its side" if same_proportions(size, (height, width)) else ""
    raise NerfsceneError(
        f"the mask {mask} is {size[0]}×{size[1]} pixels, but its photo {photo.name} is "
        f"{width}×{height}{turned}: make a mask of the photo's size, or remove this one."
    )


def same_proportions(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) in pixels can be those of one picture, shrunk or enlarged.

    Each side was rounded by itself, so one side has to follow from the other to within a pixel of the
    smaller picture.
    """
    small, large = sorted((size, other))
    scales = small[0] / large[0], small[1] / large[1]
    return min(abs(small[0] - large[0] * scales[1]), abs(small[1] - large[1] * scales[0])) <= 1

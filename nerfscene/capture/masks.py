"""Finds the mask of each photo. In a mask, white marks what to use and black what to ignore."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nerfscene.capture.photos import photo_size
from nerfscene.errors import NerfsceneError

FOLDER = "masks"
KINDS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def find_masks(root: Path, photos: Sequence[Path]) -> dict[Path, Path]:
    """The mask of each photo that has one.

    A mask lies in a folder called ``masks``, directly or in the same sub-folder as its photo. That folder is
    beside the photo, in ``root`` or its sub-folder ``images``, or beside ``root`` if that is called images
    (or images_2, images_4 …). The mask is named after the photo's full name (photo.jpg.png, as in COLMAP) or
    after its stem (photo.png). Upper and lower case don't matter.
    """
    beside = (root.parent,) if re.fullmatch(r"images(_\d+)?", root.name) else ()
    listed: dict[Path, dict[str, Path]] = {}
    found = {}
    for photo in photos:
        bases = [photo.parent, root, *beside]
        if root / "images" in photo.parents:
            bases.append(root / "images")
        folders = []
        for base in bases:
            if base in photo.parents:
                folders.append(base / FOLDER / photo.parent.relative_to(base))
            if base == root and root / "images" in photo.parents:
                folders.append(root / FOLDER / photo.parent.relative_to(root / "images"))
            if base in beside:
                folders.append(base / FOLDER / photo.parent.relative_to(root))
            folders.append(base / FOLDER)
        for folder in dict.fromkeys(folders):
            if folder not in listed:
                listed[folder] = _by_stem(folder)
            masks = listed[folder]
            mask = masks.get(photo.name.lower()) or masks.get(photo.stem.lower())
            if mask is not None:
                found[photo] = mask
                break
    return found


def _by_stem(folder: Path) -> dict[str, Path]:
    """The masks directly in a folder, by their names in lower case without the suffix."""
    if not folder.is_dir():
        return {}
    files = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in KINDS and not p.name.startswith("."))
    return {p.stem.lower(): p for p in files}


def check_mask(mask: Path, photo: Path, width: int, height: int) -> None:
    """Raises NerfsceneError unless the mask can be read and is ``width`` × ``height`` pixels.

    ``width`` and ``height`` are the photo's; both sizes are taken after the EXIF orientation is applied.
    """
    size = photo_size(mask)
    if size != (width, height):
        turned = ", turned on its side" if size == (height, width) else ""
        raise NerfsceneError(
            f"the mask {mask} is {size[0]}×{size[1]} pixels, but its photo {photo.name} is "
            f"{width}×{height}{turned}: make a mask of the photo's size, or remove this one."
        )

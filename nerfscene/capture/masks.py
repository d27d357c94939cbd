"""Which mask belongs to which photo: black is to be ignored, white to be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nerfscene.capture.photos import photo_size
from nerfscene.errors import NerfsceneError

FOLDER = "masks"
KINDS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def find_masks(root: Path, photos: Sequence[Path]) -> dict[Path, Path]:
    """Photo → its mask, for those that have one.

    Masks are looked for in folders called ``masks``: beside the photo, in ``root`` and, where that is
    called images, beside it; in the same sub-folder there as the photo is in, or directly. A mask
    is called as its photo (COLMAP: photo.jpg.png) or as its stem (photo.png).
    """
    beside = (root.parent,) if re.fullmatch(r"images(_\d+)?", root.name) else ()
    listed: dict[Path, dict[str, Path]] = {}
    found = {}
    for photo in photos:
        bases = [photo.parent, root, *beside]
        if root / "images" in photo.parents:
            bases.append(root / "images")
        places = []
        for base in bases:
            if base in photo.parents:
                places.append(base / FOLDER / photo.parent.relative_to(base))
            if base == root and root / "images" in photo.parents:
                places.append(root / FOLDER / photo.parent.relative_to(root / "images"))
            if base in beside:
                places.append(base / FOLDER / photo.parent.relative_to(root))
            places.append(base / FOLDER)
        for place in dict.fromkeys(places):
            if place not in listed:
                listed[place] = _by_name(place)
            names = listed[place]
            mask = names.get(photo.name.lower()) or names.get(photo.stem.lower())
            if mask is not None:
                found[photo] = mask
                break
    return found


def _by_name(folder: Path) -> dict[str, Path]:
    """The masks directly in a folder by what they are called, in lower case, without their ending."""
    if not folder.is_dir():
        return {}
    files = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in KINDS and not p.name.startswith("."))
    return {p.stem.lower(): p for p in files}


def check_mask(mask: Path, photo: Path, width: int, height: int) -> None:
    """Raises NerfsceneError unless the mask can be read and has the photo's size, as both are shown."""
    size = photo_size(mask)
    if size != (width, height):
        turned = ", turned on its side" if size == (height, width) else ""
        raise NerfsceneError(
            f"the mask {mask} is {size[0]}×{size[1]} pixels, but its photo {photo.name} is "
            f"{width}×{height}{turned}: make it anew for this photo, or take it out of its folder."
        )

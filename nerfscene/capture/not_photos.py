"""Tells pictures that are no photos by folder and by name: depth maps, confidences, normals, thumbnails.

Phone apps, renderers and depth cameras write these beside the photos. The names are those of 3D Scanner App
(``depth_00000.png``, ``conf_00000.png``, ``thumb_00000.jpg`` beside ``frame_00000.jpg``), NeRFCapture
(``0.depth.png`` beside ``0.png``), NeRF-synthetic (``r_0_depth_0001.png`` beside ``r_0.png``), 7-Scenes
(``frame-000000.depth.png`` beside ``frame-000000.color.png``) and the folders of Stray Scanner, Polycam and
ARKitScenes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from nerfscene.capture.photos import is_single_channel

# Folders that hold no photos, without their separators: data sets keep these beside the photos, and operating
# systems make some.
FOLDERS = {
    *("masks", "mask", "sparse", "dense", "colmap", "segmentation", "segmentations"),
    *("depth", "depths", "depthmap", "depthmaps", "depthimage", "depthimages", "depthpng"),
    *("confidence", "confidences", "confidencemap", "confidencemaps", "confmap", "confmaps"),
    *("normals", "normalmap", "normalmaps", "disparity", "disparities", "disparitymaps"),
    *("thumbs", "thumbnails", "previews", "macosx", "@eadir", "$recycle.bin"),
}
ENDINGS = re.compile(r"_(depths?|depth_?maps?|confidences?|normals|disparity|thumbnails)$")  # lowres_depth
# Folders of photos may be called so too: the pictures in them decide.
DOUBTFUL = {"conf", "confs", "normal", "disp"}
WORD = re.compile(
    r"(?<![a-z])(depths?|depth_?maps?|disp|disparity|conf|confidence|normals?|thumb|thumbnail)(?![a-z])"
)
COLOUR = re.compile(r"(?<![a-z])(colou?r|rgb|image)(?![a-z])")
SEPARATORS = " ._-"
LOSSLESS = (".png", ".tif", ".tiff")
FEW = 2  # so many maps beside their photos show that the names are meant so
List = Callable[[Path], Sequence[Path]]  # of the pictures directly in a folder


def is_for_other_pictures(folder: Path, pictures: List) -> bool:
    """Whether a folder inside a capture holds maps, masks or thumbnails rather than photos, by its name.

    A name that could mean either, such as ``conf``, counts only if the folder's first picture has a single
    channel or is called as one in a folder beside it.
    """
    name = folder.name.lower()
    if name.translate(str.maketrans("", "", "_- ")) in FOLDERS or ENDINGS.search(name):
        return True
    if name not in DOUBTFUL:
        return False
    first = next(iter(pictures(folder)), None)
    if first is None or is_single_channel(first):
        return True
    others = [p for p in folder.parent.iterdir() if p.is_dir() and p != folder and not p.name.startswith(".")]
    return any(p.stem == first.stem for other in (folder.parent, *others) for p in pictures(other))


def without_maps(pictures: Sequence[Path]) -> list[Path]:
    """The pictures of one folder without maps and thumbnails, in the order given.

    A picture is one if its name has a word for it (WORD) and there is a photo of the same number or name, or
    if nothing but a number accompanies the word, and the picture is lossless and has a single channel.
    A photo called ``depth-of-field.jpg`` is none of these, and ``chair-depth.jpg`` alone, even beside
    ``chair.jpg``, is kept as well: one colour picture is no series of maps.
    """
    words = {p: found for p in pictures if (found := WORD.search(p.stem.lower()))}
    if not words:
        return list(pictures)
    names = {_photo_name(p.stem.lower()) for p in pictures if p not in words}
    numbers = {found[0] for name in names if (found := re.search(r"\d+$", name))}
    beside = {p: _has_photo(p, found, names, numbers) for p, found in words.items()}
    counts: dict[str, int] = {}
    for path, found in words.items():
        counts[found[1]] = counts.get(found[1], 0) + beside[path]

    def is_map(path: Path) -> bool:
        found = words[path]
        if beside[path] and (found[1].startswith("thumb") or counts[found[1]] >= FEW):
            return True
        if not beside[path] and not _numbered(path, found):
            return False
        if counts[found[1]] >= FEW:  # apps write a depth map for every frame, but a photo only for some
            return True
        return path.suffix.lower() in LOSSLESS and is_single_channel(path)

    return [p for p in pictures if p not in words or not is_map(p)]


def _photo_name(stem: str) -> str:
    """A photo's name without words for colour: ``frame-000000.color`` is called as ``frame-000000.depth``."""
    found = COLOUR.search(stem)
    return stem if found is None else _joined(stem, found) or stem


def _joined(stem: str, found: re.Match[str]) -> str:
    """The stem without the word found in it and the separators around that."""
    before, after = stem[: found.start()].rstrip(SEPARATORS), stem[found.end() :].lstrip(SEPARATORS)
    return f"{before}_{after}" if before and after else before or after


def _has_photo(path: Path, found: re.Match[str], names: set[str], numbers: set[str]) -> bool:
    """Whether a photo is called as the picture without the word ``found`` in its name, or has its number."""
    stem = path.stem.lower()
    before, after = stem[: found.start()].rstrip(SEPARATORS), stem[found.end() :].lstrip(SEPARATORS)
    if before and (not after or after.isdigit()) and before in names:  # Blender adds the number of its frame
        return True
    return _joined(stem, found) in names or (not before and after.isdigit() and after in numbers)


def _numbered(path: Path, found: re.Match[str]) -> bool:
    """Whether the name is nothing but the word, a number, and words for frames and colour."""
    rest = _joined(path.stem.lower(), found)
    return re.fullmatch(r"(frame|img|image|rgb|r)?[ ._-]*\d+", rest) is not None

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
FEW = 2  # maps called as their photos show that the names are meant so
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

    Pictures with a word for these (WORD) in their names are judged in series, whose names differ in numbers
    only, because apps write a map for every frame but a photo only for some. A series is one of maps

    - if FEW of them are called as photos are but for the word, or one thumbnail is;
    - or if its first is lossless and has a single channel, and there is nothing else in its name but a
      number or what a photo is called.

    A photo called ``depth-of-field.jpg`` is none of these, and ``chair-depth.jpg`` alone, even beside
    ``chair.jpg``, is kept as well: one colour picture is no series of maps.
    """
    words = {p: found for p in pictures if (found := WORD.search(p.stem.lower()))}
    if not words:
        return list(pictures)
    names = {_photo_name(p.stem.lower()) for p in pictures if p not in words}
    numbers = {found[0] for name in names if (found := re.search(r"\d+$", name))}
    series: dict[str, list[Path]] = {}
    for path in words:
        series.setdefault(re.sub(r"\d+", "#", path.name.lower()), []).append(path)
    maps = {p for paths in series.values() if _are_maps(paths, words, names, numbers) for p in paths}
    return [p for p in pictures if p not in maps]


def _are_maps(
    paths: Sequence[Path], words: dict[Path, re.Match[str]], names: set[str], numbers: set[str]
) -> bool:
    """Whether a series is one of maps, as without_maps says; ``names`` and ``numbers``: of photos."""
    called = sum(_called_as_photo(path, words[path], names) for path in paths)
    rests = [_joined(path.stem.lower(), words[path]) for path in paths]
    if words[paths[0]][1].startswith("thumb") and (called or set(rests) & numbers):
        return True
    if called >= FEW:
        return True
    numbered = re.fullmatch(r"((frame|img|image|rgb|r)?[ ._-]*\d+)?", rests[0]) is not None
    return (called > 0 or numbered) and paths[0].suffix.lower() in LOSSLESS and is_single_channel(paths[0])


def without_map_videos(videos: Sequence[Path]) -> list[Path]:
    """The videos without those of depth or the like by their names, if others lie in the same folder."""
    maps = [p for p in videos if WORD.search(p.stem.lower())]
    folders = {p.parent for p in videos if p not in maps}
    return [p for p in videos if p not in maps or p.parent not in folders]


def _photo_name(stem: str) -> str:
    """A photo's name without words for colour: ``frame-000000.color`` is called as ``frame-000000.depth``."""
    found = COLOUR.search(stem)
    return stem if found is None else _joined(stem, found) or stem


def _joined(stem: str, found: re.Match[str]) -> str:
    """The stem without the word found in it and the separators around that."""
    before, after = stem[: found.start()].rstrip(SEPARATORS), stem[found.end() :].lstrip(SEPARATORS)
    return f"{before}_{after}" if before and after else before or after


def _called_as_photo(path: Path, found: re.Match[str], names: set[str]) -> bool:
    """Whether a photo is called as the picture is without the word ``found``."""
    stem = path.stem.lower()
    before, after = stem[: found.start()].rstrip(SEPARATORS), stem[found.end() :].lstrip(SEPARATORS)
    blender = bool(before) and after.isdigit() and before in names  # it adds the number of its own frame
    return blender or _joined(stem, found) in names

"""The photos of a scene and their cameras, as other programs are told of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nerfscene.cameras.algebra import scaled
from nerfscene.capture.folder import name_some
from nerfscene.capture.photos import stored_orientation
from nerfscene.capture.same_photo import size_now
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.told import Told
from nerfscene.formats.listing import MIRRORED, QUARTER_TURN, TURNS, quarter_turned
from nerfscene.scene.scene import Scene
from nerfscene.types import Array, Intrinsics, View

ANY_PROGRAM = (".jpg", ".jpeg", ".png")  # endings of pictures that practically all programs read
LOSSLESS = {".tif": ".png", ".tiff": ".png", ".bmp": ".png"}  # what replaces these in copies; .jpg others


@dataclass(frozen=True)
class Shot:
    """A photo and its camera.

    view: of the scene, with its own intrinsics
    name: of the picture, with forward slashes, from the folder of all of them
    lens: for the picture's pixels. world_from_cam: (4, 4), OpenCV axes, in the world of the export
    turns: quarter turns clockwise, 0 to 3, by which the picture is to be turned for viewing (its EXIF
        orientation), although lens and pose are those of the picture as stored
    """

    view: View
    name: str
    lens: Intrinsics
    world_from_cam: Array
    turns: int = 0

    @property
    def has_distortion(self) -> bool:
        return self.lens.lens != "perspective" or any(self.lens.distortion)


def shots_shown(scene: Scene, told: Told) -> list[Shot]:
    """All photos, at their full size and upright, with names for copies of them: each its own.

    Raises NerfsceneError for a photo that isn't there any more, or isn't the one that was trained on.
    """
    names = copy_names(scene.views, scene.has_alpha)
    shots = []
    for i, (view, name) in enumerate(zip(scene.views, names, strict=True)):
        told.progress("looking at the photos", i / len(names))
        shots.append(Shot(view, name, scaled(view.intrinsics, *size_now(view)), view.world_from_cam))
    return shots


def shots_stored(scene: Scene, told: Told) -> tuple[list[Shot], Path]:
    """The photos where they are, with the lens and pose of the pictures as stored, and their folder.

    Other programs don't apply the EXIF orientation. Photos that it mirrors are left out, as no camera makes
    up for it; a warning says so, and names photos that are gone or that few programs read.
    Raises NerfsceneError for a photo that isn't the one that was trained on, and if none is left.
    """
    root = common_folder([view.path for view in scene.views])
    shots, mirrored, gone, rare = [], [], [], []
    for i, view in enumerate(scene.views):
        told.progress("looking at the photos", i / len(scene.views))
        orientation, size = 1, None
        if view.path.is_file():
            orientation, size = stored_orientation(view.path), size_now(view)
        else:
            gone.append(view.path.name)
        if orientation in MIRRORED:
            mirrored.append(view.path.name)
            continue
        if view.path.suffix.lower() not in ANY_PROGRAM:
            rare.append(view.path.name)
        k, factor = view.intrinsics, scene.figures.downscale
        lens = scaled(k, *(size or (round(k.width * factor), round(k.height * factor))))
        turns = TURNS.get(orientation, 0)
        pose = view.world_from_cam
        for _ in range(-turns % 4):
            lens, pose = quarter_turned(lens), pose @ QUARTER_TURN
        shots.append(Shot(view, _relative(view.path, root), lens, pose, turns))
    if not shots:
        raise NerfsceneError("EXIF mirrors all photos, which other programs don't do: add --photos")
    for names, what in (
        (mirrored, "are mirrored by EXIF, which others don't apply; left out: add --photos to write them"),
        (gone, "are not where they were; their sizes are taken to be as in training"),
        (rare, "are in formats that few programs read: add --photos to write them as JPEG or PNG"),
    ):
        if names:
            told.warn(f"{len(names)} of {len(scene.views)} photos ({name_some(names)}) {what}")
    return shots, root


def copy_names(views: Sequence[View], alpha: bool = False) -> list[str]:
    """A name for a copy of each view's photo, with forward slashes.

    Sub-folders are kept. Views cut from a panorama are named after it and their face. Names that differ in
    case only, or once their endings are replaced, get a number. alpha: whether photos may be transparent.
    """
    sources = [view.path if view.panorama is None else view.panorama for view in views]
    root = common_folder(sources)
    usual = ".png" if alpha else ".jpg"
    names: list[str] = []
    taken: set[str] = set()
    for view, source in zip(views, sources, strict=True):
        stem, suffix = os.path.splitext(_relative(source, root))
        if view.panorama is not None:
            stem, suffix = f"{stem}-{view.face}", view.path.suffix
        suffix = suffix if suffix.lower() in ANY_PROGRAM else LOSSLESS.get(suffix.lower(), usual)
        name, number = stem + suffix, 2
        while name.casefold() in taken:
            name, number = f"{stem}-{number}{suffix}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def common_folder(files: Sequence[Path]) -> Path:
    """The deepest folder that all files are in."""
    parents = [os.path.dirname(os.path.abspath(file)) for file in files]
    try:
        return Path(os.path.commonpath(parents))
    except ValueError:  # on several drives
        return Path(Path(parents[0]).anchor)


def _relative(file: Path, root: Path) -> str:
    """A path from ``root`` with forward slashes; without a drive if it is on another one."""
    path = Path(os.path.abspath(file))
    if root in path.parents:
        return path.relative_to(root).as_posix()
    return path.relative_to(path.anchor).as_posix()

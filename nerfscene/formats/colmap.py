"""COLMAP's sparse models, text or binary, in the places where COLMAP and programs around it leave them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nerfscene.capture.folder import name_some, natural_key
from nerfscene.capture.work_folder import DONE
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import lens_of, panorama_lens, printable, text_of
from nerfscene.formats.listing import (
    Export,
    PosedFrame,
    finish,
    photos_beside,
    photos_without_pose,
    rigid,
    with_masks,
)
from nerfscene.formats.photo_search import photo_finder
from nerfscene.loading import loading
from nerfscene.posing.model_place import images_file, is_model
from nerfscene.posing.sparse import SparseModel
from nerfscene.types import Intrinsics, PosedCapture

# Where models are, relative to a capture's folder; a model may also lie in a numbered folder there.
PLACES = (
    "sparse",  # COLMAP's mapper, image_undistorter, GLOMAP, convert.py of Gaussian splatting
    "colmap/sparse",  # nerfstudio
    ".",
    "colmap_text",  # instant-ngp
    "colmap_sparse",
    "colmap/text",
    "colmap",  # ScanNet++
    "dense/*/sparse",  # COLMAP's automatic_reconstructor: undistorted
    "dense/sparse",
    "dense",
    "undistorted/sparse",
    "distorted/sparse",  # convert.py of Gaussian splatting: before it undistorts
    "sfm*",  # hloc
)
# Folders inside a capture that hold models; the capture's own folder is the first above them.
MODEL_FOLDERS = {"sparse", "colmap", "colmap_text", "colmap_sparse", "text", "distorted", "undistorted"}
DEEPEST = 3  # folders below the capture's that are searched if the usual places have no model
MOST_SEARCHED = 1000  # folders
Find = Callable[[str], Path | None]


@dataclass(frozen=True)
class _Candidate:
    """The largest of the models in one place, with its photos."""

    folder: Path
    model: SparseModel
    photos: tuple[Path | None, ...]  # in the order of the model's names
    models: int  # in that place
    elsewhere: tuple[str, ...]  # names of the images of the other models there

    @property
    def found(self) -> int:
        return sum(path is not None for path in self.photos)


def find_colmap(root: Path) -> Path | None:
    """The folder or file itself if it holds or belongs to a COLMAP model in one of the usual PLACES."""
    if root.is_file():
        own = root.parent / f"images{root.suffix}"
        parts = {"cameras", "images", "points3D", "rigs", "frames"}
        return root if root.stem in parts and is_model(root.parent) and own.is_file() else None
    return root if _groups(root) else None


def model_place(root: Path) -> Path:
    """The folder with the first of the models in the usual PLACES of ``root``, which has one."""
    first = _groups(root)[0][0]
    return first.parent if first.name.isdigit() and first != root else first


def incomplete_model(root: Path) -> str | None:
    """What a folder's COLMAP model lacks, as a sentence without its full stop; None if it has no such model.

    ``root`` is the capture's folder or a file of the model, which find_colmap doesn't recognise.
    """
    places = [root.parent] if root.is_file() else [p for place in PLACES[:6] for p in _in_place(root, place)]
    for folder in places:
        for suffix in (".bin", ".txt"):
            if (folder / f"images{suffix}").is_file() and not (folder / f"cameras{suffix}").is_file():
                return f"{folder / f'images{suffix}'} is of a COLMAP model that lacks cameras{suffix}: add it"
    return None


def _in_place(root: Path, place: str) -> list[Path]:
    """The folder at one of the PLACES and those with numbers in it."""
    base = root / place
    inside = [p for p in base.iterdir() if p.name.isdigit() and p.is_dir()] if base.is_dir() else []
    return [*sorted(inside, key=lambda p: natural_key(p.name)), base]


def find_colmap_below(root: Path) -> Path | None:
    """The folder, if there are models somewhere below it other than in the PLACES, up to DEEPEST folders.

    Folders of scenes that nerfscene made are not searched. Raises NerfsceneError when several folders hold
    models, because nothing says which of them belongs to the photos.
    """
    return root if _groups_below(root) else None


def _groups_below(root: Path) -> list[list[Path]]:
    """The model folders somewhere below, as one group; [] if there are none."""
    bases: list[Path] = []
    level, searched = [root], 0
    for _ in range(DEEPEST + 1):
        inside = []
        for folder in level:
            searched += 1
            if is_model(folder):
                bases.append(folder.parent if folder.name.isdigit() else folder)
            elif searched < MOST_SEARCHED:
                inside += folders_inside(folder)
        level = inside
    bases = list(dict.fromkeys(bases))
    if len(bases) > 1:
        names = name_some([str(base.relative_to(root)) for base in bases])
        raise NerfsceneError(
            f"{root} holds COLMAP models in {len(bases)} folders ({names}): give the one to use, or move the "
            "others to another place."
        )
    return _groups(bases[0]) if bases else []


def read_colmap(root: Path, images: Path | None = None) -> PosedCapture:
    """Reads a COLMAP sparse model, text or binary, with its photos.

    ``root`` is the capture's folder, the model's own, or one of its files. If there are several models in one
    place, the one with most images is used, with a warning. If several of the PLACES have models, the first
    one is used of whose images at least half are on disk, else the one with most. So of COLMAP's automatic
    reconstruction, the undistorted photos are used where the original ones are gone. Photos without a pose
    are left out, with one warning, and so are images that aren't on disk.
    Raises NerfsceneError when there is no readable model, or its photos aren't found or don't fit.
    """
    if root.is_file():
        root = root.parent
    chosen = _choose(root, images)
    folder, model = chosen.folder, chosen.model
    source = images_file(folder)
    lenses = {k: _checked(k, source) for k in set(model.intrinsics)}
    order = sorted(range(len(model.names)), key=lambda i: natural_key(model.names[i]))
    frames = [
        PosedFrame(
            model.names[i],
            chosen.photos[i],
            lenses[model.intrinsics[i]],
            rigid(model.world_from_cam[i], f"image {printable(model.names[i])} in {source}"),
            seen=model.seen[i],
        )
        for i in order
    ]
    for place in dict.fromkeys([root, *_photo_folders(frames, model.names), _project(root, folder)]):
        frames = with_masks(place, frames)
    left_out, unposed = photos_without_pose(frames, source, chosen.elsewhere)
    warnings = model.warnings + unposed
    if chosen.models > 1:
        warnings += (
            f"{root} holds {chosen.models} COLMAP models that don't connect: took the largest, {folder}, "
            f"with {len(model.names)} images.",
        )
    export = Export(
        source,
        root,
        "colmap",
        frames,
        warnings=warnings,
        photos_given=len(photos_beside(frames)),
        left_out=left_out,
        points=model.points,
        point_colors=model.point_colors,
        reprojection_error=model.reprojection_error,
    )
    return finish(export)


def _groups(root: Path) -> list[list[Path]]:
    """The model folders in each of the PLACES that has any, in their order."""
    groups = []
    for place in PLACES:
        models = []
        bases = [root] if place == "." else sorted(root.glob(place), key=lambda p: natural_key(p.name))
        for base in bases:
            if base.is_dir():
                numbered = [p for p in base.iterdir() if p.name.isdigit() and p.is_dir()]
                numbered.sort(key=lambda p: natural_key(p.name))
                models += [p for p in [*numbered, base] if is_model(p)]
        if models:
            groups.append(models)
    return groups


def folders_inside(folder: Path) -> list[Path]:
    """The folders in one that may hold somebody's models."""
    try:
        inside = sorted(folder.iterdir(), key=lambda p: natural_key(p.name))
        return [
            path
            for path in inside
            if path.is_dir()
            and not (path.is_symlink() or path.name.startswith(".") or path.name.endswith(".partial"))
            and not any((path / name).exists() for name in ("scene.json", DONE))
        ]
    except OSError:  # permission denied
        return []


def _choose(root: Path, images: Path | None) -> _Candidate:
    """The model to use, as read_colmap says. Raises NerfsceneError when there is none with photos."""
    groups = _groups(root) or _groups_below(root)
    if images is not None:  # a model whose own photos these are goes first
        groups.sort(key=lambda group: not any(_own_images(p).resolve() == images.resolve() for p in group))
    best: _Candidate | None = None
    for group in groups:
        candidate = _largest(root, group, images)
        if best is None or candidate.found > best.found:
            best = candidate
        if 2 * best.found >= len(best.model.names) > 0:
            break
    if best is None:
        raise NerfsceneError(f"{root} holds no COLMAP model: give the folder that has sparse/0.")
    if not best.model.names:
        raise NerfsceneError(f"{best.folder} holds a COLMAP model with no posed images: run it again.")
    if not best.found:
        place = _project(root, best.folder) / "images"
        raise NerfsceneError(
            f"none of the {len(best.model.names)} photos that the COLMAP model {best.folder} lists (such as "
            f"{printable(best.model.names[0])}) was found: put them into {place}."
        )
    return best


def _own_images(folder: Path) -> Path:
    """The folder of photos that image_undistorter and the like write beside a model's folder."""
    return (folder.parent.parent if folder.name.isdigit() else folder.parent) / "images"


def _largest(root: Path, folders: Sequence[Path], images: Path | None) -> _Candidate:
    """The model with most images among ``folders``, with its photos."""
    with loading():
        from nerfscene.posing.model_files import read_model  # loads pycolmap

    models = [(folder, read_model(folder)) for folder in folders]
    folder, model = max(models, key=lambda item: len(item[1].names))
    bases = [folder, *folder.absolute().parents[:3], root]
    kinds = ("input", "images") if folder.parent.parent.name == "distorted" else ("images",)
    places = [place for base in bases for place in (*(base / kind for kind in kinds), base)]
    places += _places_noted(folder)
    project = _project(root, folder)
    find = photo_finder(project, images, model.names, images_file(folder), list(dict.fromkeys(places)))
    elsewhere = {name for _, other in models for name in other.names} - set(model.names)
    return _Candidate(folder, model, tuple(map(find, model.names)), len(models), tuple(elsewhere))


def _places_noted(folder: Path) -> list[Path]:
    """Where the photos were, by the project.ini that COLMAP writes beside a model."""
    path = folder / "project.ini"
    lines = text_of(path).splitlines() if path.is_file() else []
    noted = [
        line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "image_path"
    ]
    return [folder / place for place in noted if place]


def _project(root: Path, folder: Path) -> Path:
    """The capture's folder: ``root``, or the one that it is in if it only holds the model ``folder``."""
    if root != folder and root != folder.parent:
        return root
    here = root.absolute()
    while here.name.isdigit() or here.name.lower() in MODEL_FOLDERS:
        here = here.parent
    return here if here != root.absolute() else root


def _photo_folders(frames: Sequence[PosedFrame], names: Sequence[str]) -> list[Path]:
    """The folders that the names of the photos found are relative to."""
    folders = []
    for frame in frames:
        depth = frame.name.replace("\\", "/").count("/")
        if frame.path is not None and depth < len(frame.path.parents):
            folders.append(frame.path.parents[depth])
    return list(dict.fromkeys(folders))


def _checked(lens: Intrinsics, source: Path) -> Intrinsics:
    """The lens, if its numbers are possible. Raises NerfsceneError, naming the model."""
    where = f"a camera of {source.parent}"
    values = [lens.fx, lens.fy, lens.cx, lens.cy, *lens.distortion]
    if not np.isfinite(values).all():
        raise NerfsceneError(f"{where} has NaN or infinite numbers: run COLMAP's bundle_adjuster again.")
    if lens.lens == "equirectangular":
        return panorama_lens(lens.width, lens.height, where, "split the photos into perspective views")
    lens_of(lens.width, lens.height, (lens.fx, lens.fy), (lens.cx, lens.cy), where)
    return lens

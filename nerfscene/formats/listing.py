"""The common end of every reader: frames as a file lists them → views that fit the photos on disk."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import scaled
from nerfscene.cameras.plausible import camera_doubt
from nerfscene.cameras.rigid import nearest_rigid
from nerfscene.capture.folder import (
    carries_alpha,
    check_whole,
    list_photos,
    masks_told,
    name_some,
    photo_size,
    stored_orientation,
    stored_size,
    worker_count,
)
from nerfscene.capture.masks import find_masks, mask_turns, same_proportions
from nerfscene.capture.not_photos import without_maps
from nerfscene.errors import NerfsceneError
from nerfscene.types import Array, Intrinsics, LeftOut, PosedCapture, Source, Split, View

RIGID_TOLERANCE = 1e-3  # how far R·Rᵀ may be from 1: files round to 4 digits or more
MIN_VIEWS = 2
TURNS = {6: 1, 3: 2, 8: 3}  # EXIF orientation → quarter turns clockwise from the stored pixels to those shown
MIRRORED = (2, 4, 5, 7)  # EXIF orientations that mirror the picture
# Turns a camera about its own viewing axis so that its picture turns by 90° clockwise.
QUARTER_TURN = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class PosedFrame:
    """One frame as a file lists it; ``path`` is None where its photo isn't on disk.

    seen: indices of the capture's points that were found in this photo, as in types.View.
    pixels: whether the lens and the pose belong to the photo as stored, as most programs take it, or as
        viewers show it, with its EXIF orientation applied.
    """

    name: str
    path: Path | None
    intrinsics: Intrinsics
    world_from_cam: Array  # (4, 4), OpenCV axes
    split: Split = "train"
    mask: Path | None = None
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pixels: Literal["stored", "shown"] = "stored"


@dataclass(frozen=True)
class Export:
    """Everything a reader took from an export, not yet checked against the photos on disk.

    source: the file or folder that messages name. root: the capture's folder.
    listed_in: how messages name the files that list the frames, if there are several.
    photos_given: how many photos there are, with a pose or without; None: only those with a pose.
    left_out: photos that the reader left out.
    masks_told: photos of which the reader said that their mask is missing, if it is.
    sampled: whether the reader used only some of the frames on purpose, and said so.
    points (n, 3), point_colors (n, 3) uint8: the sparse model in world units; empty if there is none.
    reprojection_error: pixels, mean over observations.
    """

    source: Path
    root: Path
    kind: Source
    frames: Sequence[PosedFrame]
    warnings: tuple[str, ...] = ()
    photos_given: int | None = None
    left_out: Sequence[LeftOut] = ()
    sampled: bool = False
    masks_told: Collection[Path] = ()
    listed_in: str = ""
    points: Array = field(default_factory=lambda: np.zeros((0, 3)))
    point_colors: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 3), np.uint8))
    reprojection_error: float | None = None


def with_masks(root: Path, frames: Sequence[PosedFrame]) -> list[PosedFrame]:
    """The frames; those without a mask get theirs from the folder ``masks`` in ``root`` or near the photos.

    The photos may lie elsewhere than the file with their cameras, and so may their masks.
    """
    frames = list(frames)
    for place in dict.fromkeys([root, *(_home(root, frame.path) for frame in frames if frame.path)]):
        found = find_masks(place, [f.path for f in frames if f.path is not None and f.mask is None])
        frames = [f if f.mask or f.path is None else replace(f, mask=found.get(f.path)) for f in frames]
    return frames


def _home(root: Path, photo: Path) -> Path:
    """The folder that a photo's folder ``images`` is in; ``root``, or the one around the photo's, if none."""
    named = (p.parent for p in photo.parents if re.fullmatch(r"images(_\d+)?", p.name.lower()))
    return next(named, root if root in photo.parents else photo.parent.parent)


def photos_beside(frames: Sequence[PosedFrame]) -> list[Path]:
    """All photos in the folders of the frames' photos, without sub-folders, depth maps and the like."""
    folders = sorted({frame.path.parent for frame in frames if frame.path is not None})
    return [path for folder in folders for path in without_maps(list_photos(folder))]


def photos_without_pose(
    frames: Sequence[PosedFrame],
    source: Path,
    other_parts: Iterable[str] = (),
    ignoring: Iterable[str] = (),
) -> tuple[list[LeftOut], tuple[str, ...]]:
    """Photos that lie beside the frames' photos but have no frame, and a warning that counts them.

    other_parts: names of photos posed in a part of the export that is not used; these are left out
    without a warning. ignoring: names of photos that were dealt with already,
    with or without extension.
    """
    used = {frame.path for frame in frames}
    done = {name.lower() for name in ignoring}
    unused = [
        path
        for path in photos_beside(frames)
        if path not in used and not {path.name.lower(), path.stem.lower()} & done
    ]
    elsewhere = {name.replace("\\", "/").rpartition("/")[2].lower() for name in other_parts}
    others = [path.name for path in unused if path.name.lower() in elsewhere]
    no_pose = [path.name for path in unused if path.name.lower() not in elsewhere]
    left_out = [LeftOut(name, f"has no pose in {source.name}") for name in no_pose]
    left_out += [LeftOut(name, "is in another reconstruction than most photos") for name in others]
    if not no_pose:
        return left_out, ()
    return left_out, (
        f"{len(no_pose)} photo{' has' if len(no_pose) == 1 else 's have'} no pose in {source.name} and "
        f"{'was' if len(no_pose) == 1 else 'were'} left out ({name_some(no_pose)}).",
    )


def rigid(matrix: object, where: str, any_scale: bool = False) -> Array:
    """A rigid transform (4, 4) from nested lists, 3×4 or 4×4; the rotation is made exactly orthogonal.

    any_scale: for a camera that its program may scale like any other object (Blender): a scale that all
    three axes share is divided out, because it changes nothing in the picture.
    Raises NerfsceneError, beginning with ``where``, for anything else.
    """
    try:
        given = np.array(matrix, np.float64)
    except (TypeError, ValueError):
        given = np.zeros(0)
    if given.shape not in ((3, 4), (4, 4)):
        raise NerfsceneError(f"{where} has no 4×4 transform_matrix of numbers: export it again.")
    if not np.isfinite(given).all():
        raise NerfsceneError(
            f"{where} has a pose with NaN or infinite numbers: remove the frame or pose it again."
        )
    result = nearest_rigid(given, RIGID_TOLERANCE, any_scale)
    if (
        result is None
        and given.shape == (4, 4)
        and nearest_rigid(given.T, RIGID_TOLERANCE, any_scale) is not None
    ):
        raise NerfsceneError(
            f"{where} has a pose whose rows are written as columns (its last row is the position): write the "
            "matrices transposed."
        )
    if result is None:
        unlike = "it scales its axes unlike" if any_scale else "it scales"
        raise NerfsceneError(
            f"{where} has a pose that is not a rotation and a translation ({unlike}, shears or mirrors): "
            "export the cameras without scale, or remove the frame."
        )
    return result


def as_shown(frame: PosedFrame, source: Path) -> PosedFrame:
    """The frame turned from the photo's stored pixels to the photo as viewers show it.

    Most programs ignore the EXIF orientation: their lens and pose belong to the stored pixels. Where the
    lens's proportions fit only the photo as shown, the program has turned the photo itself.
    Raises NerfsceneError, naming ``source``, for a photo that EXIF mirrors, because no pose makes up for it.
    """
    if frame.path is None or frame.pixels == "shown" or frame.intrinsics.lens == "equirectangular":
        return frame
    orientation = stored_orientation(frame.path)
    if orientation in MIRRORED:
        raise NerfsceneError(
            f"{frame.path} is mirrored by its EXIF orientation ({orientation}), but the camera that {source} "
            "gives for it belongs to the photo as stored: remove the orientation from the photo's EXIF data."
        )
    turns = TURNS.get(orientation, 0)
    lens, shown = (frame.intrinsics.width, frame.intrinsics.height), photo_size(frame.path)
    if turns % 2 and same_proportions(lens, shown) and not same_proportions(lens, (shown[1], shown[0])):
        return frame
    for _ in range(turns):
        frame = replace(
            frame,
            intrinsics=quarter_turned(frame.intrinsics),
            world_from_cam=frame.world_from_cam @ QUARTER_TURN,
        )
    return replace(frame, pixels="shown")


def quarter_turned(lens: Intrinsics) -> Intrinsics:
    """The lens of a picture that was turned by 90° clockwise: x becomes y, and y becomes -x."""
    k1, k2, p1, p2, k3 = lens.distortion
    if lens.lens == "perspective":
        p1, p2 = p2, -p1
    return Intrinsics(
        width=lens.height,
        height=lens.width,
        fx=lens.fy,
        fy=lens.fx,
        cx=lens.height - lens.cy,
        cy=lens.cx,
        lens=lens.lens,
        distortion=(k1, k2, p1, p2, k3),
    )


def size_of_stored(photo: Path) -> tuple[int, int]:
    """``stored_size``, for a lens of which no file states it; of a damaged photo, that of one beside it.

    ``finish`` leaves the damaged one out. Raises NerfsceneError if no photo in the folder can be read.
    """
    try:
        return stored_size(photo)
    except NerfsceneError:
        alike = re.sub(r"\d+", "", photo.name)
        for other in sorted(list_photos(photo.parent), key=lambda p: re.sub(r"\d+", "", p.name) != alike):
            with suppress(NerfsceneError):
                return stored_size(other)
        raise


def fit_to_photo(intrinsics: Intrinsics, path: Path, source: Path) -> Intrinsics:
    """The lens scaled to the photo's size on disk, because people shrink photos after posing.

    Raises NerfsceneError when the photo's aspect ratio differs, so that it is not the photo that was posed.
    """
    width, height = photo_size(path)
    given = intrinsics.width, intrinsics.height
    if (width, height) == given:
        return intrinsics
    if not same_proportions((width, height), given):
        turned = same_proportions((height, width), given)
        hint = " (it is turned on its side)" if turned else ""
        raise NerfsceneError(
            f"the poses in {source} don't fit the photos: {path} is {width}×{height} pixels"
            f"{hint}, but was {given[0]}×{given[1]} when it was posed; pose these photos again, or "
            "use the photos that were posed."
        )
    return scaled(intrinsics, width, height)


def finish(export: Export) -> PosedCapture:
    """The capture of an export: lenses scaled to the photos, frames without a photo left out.

    So are those whose photo is damaged, unless all are. Warnings count the frames that are left out.
    Raises NerfsceneError when fewer than MIN_VIEWS views remain, all poses are the same, every view is for
    testing, a photo or mask doesn't fit, or a camera's numbers can't be those of its photo (``plausible``).
    """
    source = export.source
    listed_in = export.listed_in or source.name
    missing = [frame.name for frame in export.frames if frame.path is None]
    damaged = _damaged(export)
    names = [frame.path.name for frame in damaged if frame.path is not None]
    views = _views(export, {frame.path for frame in damaged})
    _check_views(export, views, missing, names)
    warnings = export.warnings
    if damaged:
        warnings += (
            f"left out {len(damaged)} of the {len(export.frames)} photos in {listed_in} that cannot be read "
            f"({name_some(names)}): copy them again from where they came from.",
        )
    if missing:
        warnings += (
            f"{len(missing)} of the {len(export.frames)} frames in {listed_in} "
            f"{'has' if len(missing) == 1 else 'have'} no photo on disk and "
            f"{'was' if len(missing) == 1 else 'were'} left out ({name_some(missing)}).",
        )
    warnings += masks_told(
        export.root, {v.path: v.mask for v in views if v.mask is not None or v.path not in export.masks_told}
    )
    unreadable = [LeftOut(name, "can't be read") for name in names]
    not_on_disk = [LeftOut(name, f"is listed in {listed_in} but not on disk") for name in missing]
    unlisted, told = ([], ()) if export.sampled else _not_listed(export)
    return PosedCapture(
        root=export.root,
        source=export.kind,
        views=tuple(views),
        photos_given=max(export.photos_given or 0, len(views) + len(damaged) + len(unlisted)),
        points=export.points,
        point_colors=export.point_colors,
        has_alpha=carries_alpha([view.path for view in views]),
        given_split=any(view.split == "test" for view in views),
        reprojection_error=export.reprojection_error,
        warnings=warnings + told,
        left_out=(*export.left_out, *unreadable, *not_on_disk, *unlisted),
    )


def _not_listed(export: Export) -> tuple[list[LeftOut], tuple[str, ...]]:
    """Photos beside the frames' that the export doesn't list and no reader has told of, and the warning."""
    known = [left_out.name for left_out in export.left_out]
    return photos_without_pose(export.frames, export.source, ignoring=known)


def _damaged(export: Export) -> list[PosedFrame]:
    """The frames whose photo can't be read; every photo is decoded, because only that shows it.

    Raises NerfsceneError, the first one's, if none can be read.
    """
    frames = [frame for frame in export.frames if frame.path is not None]
    photos = list(dict.fromkeys(frame.path for frame in frames if frame.path is not None))

    def error(path: Path) -> NerfsceneError | None:
        try:
            check_whole(path)
        except NerfsceneError as damage:
            return damage
        return None

    with ThreadPoolExecutor(worker_count()) as pool:
        errors = dict(zip(photos, pool.map(error, photos), strict=True))
    found = [frame for frame in frames if frame.path is not None and errors[frame.path]]
    if found and len(found) == len(frames):
        raise next(error for error in errors.values() if error)
    return found


def _views(export: Export, damaged: Collection[Path | None]) -> list[View]:
    """A view for each frame that has an intact photo, with its lens and mask checked against the photo."""
    views = []
    for listed in export.frames:
        if listed.path in damaged:
            continue
        frame = as_shown(listed, export.source)
        if frame.path is None:
            continue
        lens = fit_to_photo(frame.intrinsics, frame.path, export.source)
        doubt = camera_doubt(lens, frame.world_from_cam)
        if doubt is not None:
            raise NerfsceneError(
                f"{export.source} gives {frame.path.name} a camera that can't be right: {doubt}; export it "
                "again, or give only the photos."
            )
        view = View(frame.path, lens, frame.world_from_cam, frame.split, frame.mask, seen=frame.seen)
        if frame.mask is not None:
            stored = listed.pixels == "stored"
            turns = mask_turns(frame.mask, frame.path, lens.width, lens.height, stored)
            view = replace(view, mask_turns=turns)
        views.append(view)
    return views


def _check_views(
    export: Export, views: Sequence[View], missing: Sequence[str], damaged: Sequence[str]
) -> None:
    """Raises NerfsceneError when the views can't be trained on.

    missing, damaged: names without a photo, and with one that can't be read.
    """
    source = export.source
    if not views:
        by_path = export.kind in ("transforms", "synthetic")
        place = (
            "the photos where it says, relative to the file"
            if by_path
            else "them into a folder images beside it"
        )
        raise NerfsceneError(
            f"none of the {len(export.frames)} photos that {source} lists (such as {missing[0]}) was found: "
            f"put {place}."
        )
    if len(views) < MIN_VIEWS:
        reasons = ((len(missing), "have no photo on disk"), (len(damaged), "have one that cannot be read"))
        told = ", ".join(f"{count} more {what}" for count, what in reasons if count)
        others = f" ({told})" if told else ""
        raise NerfsceneError(
            f"{source} lists only {len(views)} usable view{others}: at least {MIN_VIEWS} are needed, "
            "and 20 or more work best."
        )
    poses = np.stack([view.world_from_cam for view in views])
    if np.ptp(poses, axis=0).max() < 1e-9:
        raise NerfsceneError(
            f"{source} gives all {len(views)} photos the same pose, which says nothing about depth: pose "
            "the photos again."
        )
    if all(view.split == "test" for view in views):
        raise NerfsceneError(
            f"{source} leaves no photos for training, only for testing: check its lists of names."
        )

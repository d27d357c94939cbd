"""The common end of every reader: frames as a file lists them → views that fit the photos on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import scaled
from nerfscene.cameras.rigid import nearest_rigid
from nerfscene.capture.folder import carries_alpha, name_some, photo_size
from nerfscene.capture.masks import check_mask, find_masks
from nerfscene.errors import NerfsceneError
from nerfscene.types import Array, Intrinsics, LeftOut, PosedCapture, Source, Split, View

RIGID_TOLERANCE = 1e-3  # how far R·Rᵀ may be from 1: files round to 4 digits or more
GUESSED_SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
MIN_VIEWS = 2


@dataclass(frozen=True)
class PosedFrame:
    """One frame as a file lists it; ``path`` is None where its photo isn't on disk.

    seen: indices of the capture's points that were found in this photo, as in types.View.
    """

    name: str
    path: Path | None
    intrinsics: Intrinsics
    world_from_cam: Array  # (4, 4), OpenCV axes
    split: Split = "train"
    mask: Path | None = None
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Export:
    """Everything a reader took from an export, not yet checked against the photos on disk.

    source: the file or folder that messages name. root: the capture's folder.
    photos_given: how many photos there are, with a pose or without; None: only those with a pose.
    left_out: photos that the reader left out.
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
    points: Array = field(default_factory=lambda: np.zeros((0, 3)))
    point_colors: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 3), np.uint8))
    reprojection_error: float | None = None


def locate(folder: Path, name: str) -> Path | None:
    """The photo called ``name``, relative to ``folder`` or absolute; None if it isn't there.

    The name may lack its file extension.
    """
    wanted = folder / name.replace("\\", "/")
    guesses = [wanted.with_name(wanted.name + suffix) for suffix in GUESSED_SUFFIXES]
    return next((p for p in [wanted, *guesses] if p.is_file()), None)


def with_masks(root: Path, frames: Sequence[PosedFrame]) -> list[PosedFrame]:
    """The frames; those without a mask get theirs from the folder ``root/masks``, if it has one."""
    found = find_masks(root, [f.path for f in frames if f.path is not None and f.mask is None])
    return [f if f.mask or f.path is None else replace(f, mask=found.get(f.path)) for f in frames]


def rigid(matrix: object, where: str) -> Array:
    """A rigid transform (4, 4) from nested lists, 3×4 or 4×4; the rotation is made exactly orthogonal.

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
    result = nearest_rigid(given, RIGID_TOLERANCE)
    if result is None:
        raise NerfsceneError(
            f"{where} has a pose that is not a rotation and a translation (it scales, shears or mirrors): "
            "export the cameras without scale, or remove the frame."
        )
    return result


def fit_to_photo(intrinsics: Intrinsics, path: Path, source: Path) -> Intrinsics:
    """The lens scaled to the photo's size on disk, because people shrink photos after posing.

    Raises NerfsceneError when the photo's aspect ratio differs, so that it is not the photo that was posed.
    """
    width, height = photo_size(path)
    given = intrinsics.width, intrinsics.height
    if (width, height) == given:
        return intrinsics
    across, down = width / given[0], height / given[1]
    # Each side was rounded by itself: the aspect ratios agree if one side follows from the other.
    if min(abs(width - given[0] * down), abs(height - given[1] * across)) > 1:
        turned = abs(height - given[0] * width / given[1]) <= 1
        hint = " (it is turned on its side)" if turned else ""
        raise NerfsceneError(
            f"the poses in {source} don't fit the photos: {path} is {width}×{height} pixels"
            f"{hint}, but was {given[0]}×{given[1]} when it was posed; pose these photos again, or "
            "use the photos that were posed."
        )
    return scaled(intrinsics, width, height)


def finish(export: Export) -> PosedCapture:
    """The capture of an export: lenses scaled to the photos, frames without a photo left out.

    One warning counts the frames that are left out. Raises NerfsceneError when fewer than MIN_VIEWS views
    remain, all poses are the same, every view is for testing, or a photo or mask doesn't fit.
    """
    source = export.source
    missing = [frame.name for frame in export.frames if frame.path is None]
    views = _views(export)
    _check_views(export, views, missing)
    warnings = export.warnings
    if missing:
        warnings += (
            f"{len(missing)} of the {len(export.frames)} frames in {source.name} have no photo on disk "
            f"and were left out ({name_some(missing)}).",
        )
    not_on_disk = [LeftOut(name, f"is listed in {source.name} but not on disk") for name in missing]
    return PosedCapture(
        root=export.root,
        source=export.kind,
        views=tuple(views),
        photos_given=max(export.photos_given or 0, len(views)),
        points=export.points,
        point_colors=export.point_colors,
        has_alpha=carries_alpha([view.path for view in views]),
        given_split=any(view.split == "test" for view in views),
        reprojection_error=export.reprojection_error,
        warnings=warnings,
        left_out=(*export.left_out, *not_on_disk),
    )


def _views(export: Export) -> list[View]:
    """A view for each frame that has a photo, with its lens and mask checked against the photo."""
    views = []
    for frame in export.frames:
        if frame.path is None:
            continue
        lens = fit_to_photo(frame.intrinsics, frame.path, export.source)
        if frame.mask is not None:
            check_mask(frame.mask, frame.path, lens.width, lens.height)
        views.append(View(frame.path, lens, frame.world_from_cam, frame.split, frame.mask, seen=frame.seen))
    return views


def _check_views(export: Export, views: Sequence[View], missing: Sequence[str]) -> None:
    """Raises NerfsceneError when the views can't be trained on; ``missing``: names without a photo."""
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
        others = f" ({len(missing)} more have no photo on disk)" if missing else ""
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

"""What the readers of posed captures share: from listed frames to views that fit their photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import scaled
from nerfscene.capture.folder import carries_alpha, name_some, photo_size
from nerfscene.capture.masks import check_mask, find_masks
from nerfscene.errors import NerfsceneError
from nerfscene.types import Array, Intrinsics, LeftOut, PosedCapture, Source, Split, View

RIGID_TOLERANCE = 1e-3  # how far R·Rᵀ may be from 1: files round to 4 digits or more
GUESSED_SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
MIN_VIEWS = 2


@dataclass(frozen=True)
class Listed:
    """One frame as a file lists it; ``path`` is None where its photo isn't on disk."""

    name: str
    path: Path | None
    intrinsics: Intrinsics
    world_from_cam: Array  # (4, 4), OpenCV axes
    split: Split = "train"
    mask: Path | None = None
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # as View has it


def locate(folder: Path, name: str) -> Path | None:
    """The photo called ``name``, which may lack its ending, relative to ``folder`` or absolute."""
    wanted = folder / name.replace("\\", "/")
    guesses = [wanted.with_name(wanted.name + suffix) for suffix in GUESSED_SUFFIXES]
    return next((p for p in [wanted, *guesses] if p.is_file()), None)


def with_masks(root: Path, listed: Sequence[Listed]) -> list[Listed]:
    """The frames, those without a mask with the one that a folder ``masks`` has for them."""
    found = find_masks(root, [f.path for f in listed if f.path is not None and f.mask is None])
    return [f if f.mask or f.path is None else replace(f, mask=found.get(f.path)) for f in listed]


def rigid(matrix: object, where: str) -> Array:
    """A (4, 4) rigid transform from nested lists, 3×4 or 4×4; rounding in the rotation mended.

    Raises NerfsceneError, beginning with ``where``, for any other thing.
    """
    try:
        given = np.array(matrix, np.float64)
    except (TypeError, ValueError):
        given = np.zeros(0)
    if given.shape not in ((3, 4), (4, 4)):
        raise NerfsceneError(f"{where} has no 4×4 transform_matrix of numbers: export it again.")
    if not np.isfinite(given).all():
        raise NerfsceneError(
            f"{where} has a pose with NaN or infinite numbers: take the frame out or pose it again."
        )
    rotation = given[:3, :3]
    off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    bottom = np.abs(given[3:] - [0, 0, 0, 1]).max(initial=0.0)
    if off > RIGID_TOLERANCE or bottom > RIGID_TOLERANCE or np.linalg.det(rotation) < 0:
        raise NerfsceneError(
            f"{where} has a pose that is not a rotation and a shift (it scales, shears or mirrors):"
            " export the cameras without scale, or take the frame out."
        )
    u, _, vt = np.linalg.svd(rotation)
    result = np.eye(4)
    result[:3, :3] = u @ vt
    result[:3, 3] = given[:3, 3]
    return result


def fit_to_photo(intrinsics: Intrinsics, path: Path, source: Path) -> Intrinsics:
    """The lens in the pixels that the photo on disk has: people shrink photos after posing.

    Raises NerfsceneError when the photo has other proportions, so that the poses are not its own.
    """
    width, height = photo_size(path)
    given = intrinsics.width, intrinsics.height
    if (width, height) == given:
        return intrinsics
    across, down = width / given[0], height / given[1]
    # Each side was rounded by itself: proportions agree if one side follows from the other.
    if min(abs(width - given[0] * down), abs(height - given[1] * across)) > 1:
        turned = abs(height - given[0] * width / given[1]) <= 1
        hint = " (it is turned on its side)" if turned else ""
        raise NerfsceneError(
            f"the poses in {source} don't fit the photos: {path} is {width}×{height} pixels"
            f"{hint}, but was {given[0]}×{given[1]} when it was posed; pose these photos anew, or "
            "use the ones that were posed."
        )
    return scaled(intrinsics, width, height)


def finish(
    source: Path,
    root: Path,
    kind: Source,
    listed: Sequence[Listed],
    *,
    warnings: tuple[str, ...] = (),
    photos_given: int | None = None,
    points: Array | None = None,
    point_colors: NDArray[np.uint8] | None = None,
    reprojection_error: float | None = None,
    left_out: Sequence[LeftOut] = (),
) -> PosedCapture:
    """Frames → views: those without a photo left out with one warning, lenses fitted to photos.

    ``source`` is the file or folder to name in messages. ``photos_given`` defaults to the frames
    that have a photo; ``left_out`` are photos left out before. Raises NerfsceneError when fewer than
    MIN_VIEWS remain, all poses are the same, or a photo doesn't fit.
    """
    views = [
        View(
            f.path, fit_to_photo(f.intrinsics, f.path, source), f.world_from_cam, f.split, f.mask, seen=f.seen
        )
        for f in listed
        if f.path is not None
    ]
    for view in views:
        if view.mask is not None:
            check_mask(view.mask, view.path, view.intrinsics.width, view.intrinsics.height)
    missing = [f.name for f in listed if f.path is None]
    if not views:
        paths = kind in ("transforms", "synthetic")
        place = "where it says, relative to the file" if paths else "into a folder images beside it"
        raise NerfsceneError(
            f"none of the {len(listed)} photos that {source} lists (such as {missing[0]}) is "
            f"there: put {'the photos' if paths else 'them'} {place}."
        )
    if len(views) < MIN_VIEWS:
        lost = f" ({len(missing)} more have no photo on disk)" if missing else ""
        raise NerfsceneError(
            f"{source} lists only {len(views)} usable view{lost}: at least {MIN_VIEWS} are needed, "
            "and 20 or more work best."
        )
    matrices = np.stack([view.world_from_cam for view in views])
    if np.ptp(matrices, axis=0).max() < 1e-9:
        raise NerfsceneError(
            f"{source} gives all {len(views)} photos the same pose, so nothing can be seen in "
            "depth: pose the photos again."
        )
    if missing:
        warnings += (
            f"{len(missing)} of the {len(listed)} frames in {source.name} have no photo on disk "
            f"and were left out ({name_some(missing)}).",
        )
    if all(view.split == "test" for view in views):
        raise NerfsceneError(
            f"{source} leaves no photos for training, only for testing: check its lists of names."
        )
    return PosedCapture(
        root=root,
        source=kind,
        views=tuple(views),
        photos_given=max(photos_given or 0, len(views)),
        points=np.zeros((0, 3)) if points is None else points,
        point_colors=np.zeros((0, 3), np.uint8) if point_colors is None else point_colors,
        has_alpha=carries_alpha([view.path for view in views]),
        given_split=any(view.split == "test" for view in views),
        reprojection_error=reprojection_error,
        warnings=warnings,
        left_out=(
            *left_out,
            *(LeftOut(name, f"is listed in {source.name} but not on disk") for name in missing),
        ),
    )

"""A COLMAP model in this package's types, and the posed capture made from it, with warnings for the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import scaled
from nerfscene.cameras.cube import shots
from nerfscene.capture.folder import carries_alpha, name_some, short_names
from nerfscene.posing.copies import copy_index
from nerfscene.types import Array, Capture, Intrinsics, LeftOut, PosedCapture, PoseReport, View

GROUPS_SHOWN = 3


@dataclass(frozen=True)
class SparseModel:
    """A COLMAP model in this package's types, with its posed images in the order of their ids."""

    names: tuple[str, ...]
    intrinsics: tuple[Intrinsics, ...]
    world_from_cam: tuple[Array, ...]  # (4, 4) each
    points: Array  # (n, 3), world units
    point_colors: NDArray[np.uint8]  # (n, 3)
    reprojection_error: float | None  # pixels, mean over the points; None if it can't be computed
    seen: tuple[NDArray[np.int64], ...]  # per image: indices of the well-determined points that it observes
    warnings: tuple[str, ...] = ()  # about the model's files, one sentence each


def posed_from_photos(capture: Capture, model: SparseModel, report: PoseReport | None = None) -> PosedCapture:
    """The capture with the cameras of ``model``, which was made from the working copies of its photos.

    Intrinsics are scaled to the full size of the photos; the reprojection error is that of the copies. Photos
    that the model lacks are left out, with a warning that counts and names them.
    """
    views, sides = [], []
    posed = sorted((copy_index(name), i) for i, name in enumerate(model.names))
    for index, i in posed:
        intrinsics = model.intrinsics[i]
        photo = capture.photos[index]
        full = scaled(intrinsics, photo.width, photo.height)
        sides.append(max(intrinsics.width, intrinsics.height))
        view = View(photo.path, full, model.world_from_cam[i], mask=photo.mask, seen=model.seen[i])
        views.append(replace(view, mask_turns=photo.mask_turns, panorama=photo.panorama, face=photo.face))
    names, noun = _shot_names(capture)
    shot_of = shots(capture.photos)
    found = {shot_of[index] for index, _ in posed}
    lost = [name for i, name in enumerate(names) if i not in found]
    warnings, left_out = capture.warnings, capture.left_out
    if lost:
        left_out += tuple(LeftOut(name, _why(name, report)) for name in lost)
        apart = report.apart if report else ()
        weak = sorted(set(lost) - {name for group in apart for name in group}, key=lost.index)
        named = f" ({name_some(weak)})" if weak else ""
        groups = _groups_in_words(apart)
        warnings += (
            f"{len(lost)} of {len(names)} {noun} could not be connected to the others and "
            f"were left out{named}{groups and ': '}{groups}: add overlapping {noun} taken between these "
            "and the others to connect them.",
        )
    without_focal = [
        (names[shot_of[i]], v)
        for (i, _), v in zip(posed, views, strict=True)
        if capture.photos[i].focal is None
    ]
    warnings += _zoom_warning(without_focal, len(names))
    return PosedCapture(
        root=capture.root,
        source="photos",
        views=tuple(views),
        photos_given=len(names) + len(capture.left_out),
        points=model.points,
        point_colors=model.point_colors,
        has_alpha=carries_alpha([view.path for view in views]),
        reprojection_error=model.reprojection_error,
        reprojection_size=max(sides),
        warnings=warnings,
        left_out=left_out,
        posing=report,
    )


def _shot_names(capture: Capture) -> tuple[list[str], str]:
    """The names of the capture's shots (the views cut from a panorama are one), and a word for them."""
    files = list(dict.fromkeys(photo.panorama or photo.path for photo in capture.photos))
    whole = all(photo.panorama is not None for photo in capture.photos)
    return short_names(files), "panoramas" if whole else "photos"


def _zoom_warning(without_focal: Sequence[tuple[str, View]], total: int) -> tuple[str, ...]:
    """A warning if photos of one size turned out to have different zooms, although EXIF gives none.

    ``without_focal``: name and view of each posed photo without a focal length in EXIF.
    """
    by_size: dict[tuple[int, int], dict[float, list[str]]] = {}
    for name, view in without_focal:
        lens = view.intrinsics
        by_focal = by_size.setdefault((lens.width, lens.height), {})
        by_focal.setdefault(round(lens.fx, 2), []).append(name)
    others = [
        group
        for by_focal in by_size.values()
        for group in sorted(by_focal.values(), key=len, reverse=True)[1:]
    ]
    if not others:
        return ()
    names = [name for group in others for name in group]
    return (
        f"{len(names)} of {total} photos ({name_some(names)}) were taken at another zoom than the rest, "
        "which had to be estimated: photos straight from the camera give it in their EXIF data.",
    )


def not_connected_message(capture: Capture, report: PoseReport) -> str:
    """The error message for a capture of which too few photos could be posed: why, and what to do."""
    names, noun = _shot_names(capture)
    count, posed = len(names), report.photos_posed
    found = f"only {posed} of the {count} {noun}" if posed else f"none of the {count} {noun}"
    apart = _groups_in_words(report.apart)
    why = apart or f"{name_some(names)} overlap, but too little to find out where they were taken"
    return (
        f"{found} in {capture.root} could be posed ({why}): take sharp photos of a "
        "textured subject that doesn't move, from different places instead of turning on the spot, and let "
        "each photo show most of what the one before shows."
    )


def _why(name: str, report: PoseReport | None) -> str:
    """Why a photo is not posed, as the end of a sentence about it."""
    group = next((group for group in report.apart if name in group), None) if report else None
    if group is None:
        return "could not be connected to the other photos: they share too little that fits"
    if len(group) == 1:
        return "shows nothing that another photo shows"
    return f"is one of a group of {len(group)} that shares nothing with the other photos"


def _groups_in_words(apart: tuple[tuple[str, ...], ...]) -> str:
    """Which photos share nothing with the others, by group; "" if there are none."""
    several = [group for group in apart if len(group) > 1]
    alone = [group[0] for group in apart if len(group) == 1]
    parts = [f"{name_some(group)} form a separate group of {len(group)}" for group in several[:GROUPS_SHOWN]]
    if len(several) > GROUPS_SHOWN:
        parts.append(f"there are {len(several) - GROUPS_SHOWN} more groups")
    if alone:
        parts.append(f"{name_some(alone)} share{'s' * (len(alone) == 1)} nothing with any other photo")
    return "; ".join(parts)

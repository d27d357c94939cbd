"""A sparse model in this package's terms, and the posed capture it makes of photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import scaled
from nerfscene.capture.folder import carries_alpha, name_some, short_names
from nerfscene.posing.copies import copy_index
from nerfscene.types import Array, Capture, Intrinsics, LeftOut, PosedCapture, PoseReport, View

GROUPS_SHOWN = 3


@dataclass(frozen=True)
class SparseModel:
    """A COLMAP model in this package's terms, images in the order of their ids."""

    names: tuple[str, ...]
    intrinsics: tuple[Intrinsics, ...]
    world_from_cam: tuple[Array, ...]  # (4, 4) each
    points: Array  # (n, 3)
    point_colors: NDArray[np.uint8]  # (n, 3)
    reprojection_error: float  # pixels
    seen: tuple[NDArray[np.int64], ...]  # of each image, the points found in it whose places are well known


def posed_from_photos(capture: Capture, model: SparseModel, report: PoseReport | None = None) -> PosedCapture:
    """The capture with the cameras of a model of its working copies, lenses at full photo size.

    Photos that the model lacks are left out with one warning that counts and names them.
    """
    views, scales = [], []
    posed = sorted((copy_index(name), i) for i, name in enumerate(model.names))
    for index, i in posed:
        intrinsics = model.intrinsics[i]
        photo = capture.photos[index]
        full = scaled(intrinsics, photo.width, photo.height)
        scales.append(photo.width / intrinsics.width)
        views.append(View(photo.path, full, model.world_from_cam[i], mask=photo.mask, seen=model.seen[i]))
    indices = {index for index, _ in posed}
    names = short_names([p.path for p in capture.photos])
    lost = [name for i, name in enumerate(names) if i not in indices]
    warnings, left_out = capture.warnings, capture.left_out
    if lost:
        left_out += tuple(LeftOut(name, _why(name, report)) for name in lost)
        apart = report.apart if report else ()
        weak = sorted(set(lost) - {name for group in apart for name in group}, key=lost.index)
        named = f" ({name_some(weak)})" if weak else ""
        groups = _groups_in_words(apart)
        warnings += (
            f"{len(lost)} of {len(capture.photos)} photos could not be connected to the others and "
            f"were left out{named}{groups and ': '}{groups}: photos that overlap more, taken between "
            "these and the others, would connect them.",
        )
    silent = [
        (names[i], v) for (i, _), v in zip(posed, views, strict=True) if capture.photos[i].focal is None
    ]
    warnings += _told_apart(silent, len(capture.photos))
    return PosedCapture(
        root=capture.root,
        source="photos",
        views=tuple(views),
        photos_given=len(capture.photos) + len(capture.left_out),
        points=model.points,
        point_colors=model.point_colors,
        has_alpha=carries_alpha([view.path for view in views]),
        reprojection_error=model.reprojection_error * float(np.mean(scales)),
        warnings=warnings,
        left_out=left_out,
        posing=report,
    )


def _told_apart(silent: Sequence[tuple[str, View]], total: int) -> tuple[str, ...]:
    """A warning where photos that don't say so, names and views, were taken at different zooms."""
    by_size: dict[tuple[int, int], dict[float, list[str]]] = {}
    for name, view in silent:
        lens = view.intrinsics
        found = by_size.setdefault((lens.width, lens.height), {})
        found.setdefault(round(lens.fx, 2), []).append(name)
    others = [
        group for found in by_size.values() for group in sorted(found.values(), key=len, reverse=True)[1:]
    ]
    if not others:
        return ()
    among = [name for group in others for name in group]
    return (
        f"{len(among)} of {total} photos ({name_some(among)}) were taken at another zoom than "
        "the rest, which had to be guessed: photos straight from the camera say it, in their EXIF.",
    )


def not_connected_message(capture: Capture, report: PoseReport) -> str:
    """Why too few photos could be posed, and what to do."""
    count, posed = len(capture.photos), report.photos_posed
    found = f"only {posed} of the {count} photos" if posed else f"none of the {count} photos"
    names = short_names([photo.path for photo in capture.photos])
    apart = _groups_in_words(report.apart)
    why = apart or f"{name_some(names)}: they overlap, but too little to tell where they were taken from"
    return (
        f"{found} in {capture.root} could be connected to the others ({why}): take sharp photos of a "
        "textured, still subject, from different places rather than turning on the spot, each "
        "showing most of what the one before shows."
    )


def _why(name: str, report: PoseReport | None) -> str:
    """A sentence's end on a photo that is not posed."""
    group = next((group for group in report.apart if name in group), None) if report else None
    if group is None:
        return "could not be connected to the other photos: they share too little that fits"
    if len(group) == 1:
        return "shows nothing that another photo shows"
    return f"is one of a group of {len(group)} that shares nothing with the other photos"


def _groups_in_words(apart: tuple[tuple[str, ...], ...]) -> str:
    """Which photos share nothing with the others, by group; "" where there are none."""
    several = [group for group in apart if len(group) > 1]
    alone = [group[0] for group in apart if len(group) == 1]
    said = [
        f"{name_some(group)} form a group of their own, of {len(group)}" for group in several[:GROUPS_SHOWN]
    ]
    if len(several) > GROUPS_SHOWN:
        said.append(f"{len(several) - GROUPS_SHOWN} more groups")
    if alone:
        said.append(f"{name_some(alone)} share{'s' * (len(alone) == 1)} nothing with any other photo")
    return "; ".join(said)

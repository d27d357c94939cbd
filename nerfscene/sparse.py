"""A sparse model in this package's terms, and the posed capture it makes of photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras import scaled
from nerfscene.capture import carries_alpha, name_some, short_names
from nerfscene.copies import copy_index
from nerfscene.types import Array, Capture, Intrinsics, LeftOut, PosedCapture, View


@dataclass(frozen=True)
class SparseModel:
    """A COLMAP model in this package's terms, images in the order of their ids."""

    names: tuple[str, ...]
    intrinsics: tuple[Intrinsics, ...]
    world_from_cam: tuple[Array, ...]  # (4, 4) each
    points: Array  # (n, 3)
    point_colors: NDArray[np.uint8]  # (n, 3)
    reprojection_error: float  # pixels


def posed_from_photos(capture: Capture, model: SparseModel) -> PosedCapture:
    """The capture with the cameras of a model of its working copies, lenses at full photo size.

    Photos that the model lacks are left out with one warning that counts and names them.
    """
    views, scales = [], []
    posed = sorted(
        (copy_index(name), intrinsics, matrix)
        for name, intrinsics, matrix in zip(model.names, model.intrinsics, model.world_from_cam, strict=True)
    )
    for index, intrinsics, world_from_cam in posed:
        photo = capture.photos[index]
        full = scaled(intrinsics, photo.width, photo.height)
        scales.append(photo.width / intrinsics.width)
        views.append(View(photo.path, full, world_from_cam, mask=photo.mask))
    indices = {index for index, _, _ in posed}
    names = short_names([p.path for p in capture.photos])
    lost = [name for i, name in enumerate(names) if i not in indices]
    warnings, left_out = capture.warnings, capture.left_out
    if lost:
        left_out += tuple(LeftOut(name, "could not be connected to the other photos") for name in lost)
        warnings += (
            f"{len(lost)} of {len(capture.photos)} photos could not be connected to the others and "
            f"were left out ({name_some(lost)}): photos that overlap more would connect them.",
        )
    return PosedCapture(
        root=capture.root,
        source="photos",
        views=tuple(views),
        photos_given=len(capture.photos),
        points=model.points,
        point_colors=model.point_colors,
        has_alpha=carries_alpha([view.path for view in views]),
        reprojection_error=model.reprojection_error * float(np.mean(scales)),
        warnings=warnings,
        left_out=left_out,
    )

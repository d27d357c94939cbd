"""What flows from stage to stage: snapshots → capture → poses → scene → frames.

Plain frozen dataclasses with shapes and units, and no logic. Everywhere inside the package a
camera looks along +z with x to the right and y down (OpenCV), a pixel's centre lies at
(column + 0.5, row + 0.5), and ``b_from_a`` is the matrix that takes coordinates in a to b.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Split = Literal["train", "test"]
Lens = Literal["perspective", "fisheye"]
# Where cameras come from: found here for photos alone, or read from what another program left.
# fmt: off
Source = Literal[
    "photos", "colmap", "transforms", "synthetic",
    "polycam", "record3d", "metashape", "realitycapture", "opensfm", "openmvg",
]
# fmt: on


@dataclass(frozen=True)
class Intrinsics:
    """A lens and its sensor, in pixels.

    ``distortion`` holds OpenCV's coefficients: (k1, k2, p1, p2, k3) for ``perspective``,
    (k1, k2, k3, k4, 0) for ``fisheye``; all zero for an ideal lens.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    lens: Lens = "perspective"
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Photo:
    """One photo on disk: size in pixels as a viewer shows it (EXIF orientation applied).

    ``mask``: a picture of the same size, black where the photo is to be ignored.
    """

    path: Path
    width: int
    height: int
    focal: float | None = None  # pixels, from EXIF; None where EXIF is silent
    mask: Path | None = None


@dataclass(frozen=True)
class LeftOut:
    """A photo that is not used, and why, as a sentence's end: "is blurred", "can't be read"."""

    name: str
    reason: str


@dataclass(frozen=True)
class Capture:
    """Photos not posed yet, in the order of their names."""

    root: Path
    photos: tuple[Photo, ...]
    warnings: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class View:
    """One posed photo: ``world_from_cam`` is a 4×4 rigid transform, OpenCV axes.

    ``mask``: a picture of the photo's size on disk, black where the photo is to be ignored.
    ``seen``: numbers of the capture's points that were found in this photo and whose places are well known.
    ``exposure``: logarithms of what the photo multiplies the scene's colours (r, g, b) by; all 0 where it
    is not known to differ from the others.
    """

    path: Path
    intrinsics: Intrinsics
    world_from_cam: Array
    split: Split = "train"
    mask: Path | None = None
    exposure: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class PoseReport:
    """How the cameras of photos were found, for a report.

    ``found_by`` and ``tried`` (in order) name the steps in words. ``apart`` holds names of photos
    that share nothing with those posed, in groups that connect among themselves, largest first.
    """

    found_by: str
    tried: tuple[str, ...]
    photos_posed: int
    models: int  # separate models that the step which found the cameras came to
    pairs_compared: int
    pairs_connected: int
    points: int
    observations: int  # of points in photos
    track_length: float  # photos that see a point, mean
    reprojection_error: float  # pixels of the working size, mean over points
    apart: tuple[tuple[str, ...], ...] = ()
    # Share of the matches between posed photos that fit their cameras; None: posed before it was measured.
    agreement: float | None = None


@dataclass(frozen=True)
class PosedCapture:
    """Photos with cameras.

    ``points`` (n, 3) are the sparse model's, in world units, empty (0, 3) where there is none;
    ``point_colors`` (n, 3) uint8. ``has_alpha``: the photos carry a cut-out (alpha), so space
    outside is known to be empty. ``given_split``: the data set named its own test views.
    """

    root: Path
    source: Source
    views: tuple[View, ...]
    photos_given: int
    points: Array = field(default_factory=lambda: np.zeros((0, 3)))
    point_colors: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 3), np.uint8))
    has_alpha: bool = False
    given_split: bool = False
    reprojection_error: float | None = None  # pixels, mean over observations
    warnings: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    posing: PoseReport | None = None  # None where the cameras came with the photos


@dataclass(frozen=True)
class Camera:
    """A camera to render from: ``world_from_cam`` (4, 4) in the coordinates of the capture."""

    intrinsics: Intrinsics
    world_from_cam: Array


@dataclass(frozen=True)
class Frame:
    """One rendered picture, all (height, width[, 3]) float32.

    ``rgb`` in 0…1, display-referred (as in the photos); ``depth`` is the expected distance along
    the ray in world units, 0 where nothing was hit; ``accumulation`` is 1 - final transmittance.
    """

    rgb: NDArray[np.float32]
    depth: NDArray[np.float32]
    accumulation: NDArray[np.float32]

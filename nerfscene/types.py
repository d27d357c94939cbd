"""The data that the stages hand to each other: photos → capture → poses → scene → frames.

Plain frozen dataclasses without logic; their docstrings give shapes and units. Throughout the package
cameras follow OpenCV's axes (x right, y down, z forward), the centre of a pixel lies at
(column + 0.5, row + 0.5), and ``b_from_a`` is the matrix that takes coordinates in a to coordinates in b.
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
# Where the cameras come from: estimated here ("photos"), or read from another program's files (all others).
# fmt: off
Source = Literal[
    "photos", "colmap", "transforms", "synthetic",
    "polycam", "record3d", "metashape", "realitycapture", "opensfm", "openmvg",
]
# fmt: on


@dataclass(frozen=True)
class Intrinsics:
    """A lens and its sensor: picture size, focal lengths and principal point, all in pixels.

    ``distortion`` holds OpenCV's coefficients: (k1, k2, p1, p2, k3) for ``perspective``,
    (k1, k2, k3, k4, 0) for ``fisheye``; all zero for an ideal lens.
    """

    width: int  # pixels
    height: int  # pixels
    fx: float  # focal length, pixels
    fy: float  # focal length, pixels
    cx: float  # principal point, pixels from the left edge
    cy: float  # principal point, pixels from the top edge
    lens: Lens = "perspective"  # which of OpenCV's two models
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Photo:
    """One photo on disk, with its size in pixels as an image viewer shows it (EXIF orientation applied).

    ``mask``: a picture of the same size; black pixels mark the parts of the photo to ignore.
    """

    path: Path  # the photo's file
    width: int  # pixels
    height: int  # pixels
    focal: float | None = None  # pixels, from EXIF; None if EXIF gives none
    mask: Path | None = None


@dataclass(frozen=True)
class LeftOut:
    """A photo that is not used. ``reason`` completes a sentence: "is blurred", "can't be read"."""

    name: str  # the photo's
    reason: str


@dataclass(frozen=True)
class Capture:
    """Photos that have no poses yet, in the natural order of their names."""

    root: Path  # their folder
    photos: tuple[Photo, ...]  # those that are used
    warnings: tuple[str, ...] = ()  # sentences for the user
    left_out: tuple[LeftOut, ...] = ()  # photos that are not used


@dataclass(frozen=True)
class View:
    """One posed photo: ``world_from_cam`` is a rigid transform (4, 4), OpenCV axes.

    ``mask``: a picture on disk of the photo's size; black pixels mark the parts of the photo to ignore.
    ``seen`` (n,): indices into the capture's ``points``, of those observed in this photo whose positions are
    well determined.
    ``exposure``: natural logarithms of the factors by which this photo multiplies the scene's colours
    (r, g, b); all 0 unless it is known to differ from the other photos.
    """

    path: Path  # the photo's file
    intrinsics: Intrinsics  # its lens
    world_from_cam: Array  # (4, 4)
    split: Split = "train"  # trained on, or held out to measure with
    mask: Path | None = None
    exposure: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class PoseReport:
    """How the poses of the photos were found, for the report.

    ``tried`` names the steps in order, in words, and ``found_by`` the one that succeeded. ``apart`` names
    the photos that share nothing with the posed ones, in connected groups, the largest first.
    """

    found_by: str  # the step that succeeded
    tried: tuple[str, ...]
    photos_posed: int  # number of photos that have a pose
    models: int  # number of separate models that the successful step produced
    pairs_compared: int  # pairs of photos
    pairs_connected: int  # pairs of photos with verified matches
    points: int  # number of sparse points
    observations: int  # of points in photos
    track_length: float  # mean number of photos that observe a point
    reprojection_error: float  # pixels of the working copies, mean over points
    apart: tuple[tuple[str, ...], ...] = ()
    # Share (0…1) of the matches between posed photos that fit their cameras. None for photos posed by an
    # older version, which did not measure it.
    agreement: float | None = None


@dataclass(frozen=True)
class PosedCapture:
    """Photos with cameras.

    ``points`` (n, 3) are the sparse model's, in world units; (0, 3) if there is no sparse model.
    ``point_colors`` (n, 3) uint8. ``has_alpha``: the photos are cut-outs, with a transparent background
    where space is known to be empty. ``given_split``: the data set names its own test views.
    """

    root: Path  # their folder
    source: Source  # where the cameras come from
    views: tuple[View, ...]  # the photos that have a camera
    photos_given: int  # number of photos before any were left out
    points: Array = field(default_factory=lambda: np.zeros((0, 3)))
    point_colors: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 3), np.uint8))
    has_alpha: bool = False
    given_split: bool = False
    reprojection_error: float | None = None  # pixels of the photos, mean over the points
    warnings: tuple[str, ...] = ()  # sentences for the user
    left_out: tuple[LeftOut, ...] = ()  # photos that are not used
    posing: PoseReport | None = None  # None where the cameras came with the photos


@dataclass(frozen=True)
class Camera:
    """A camera to render from: ``world_from_cam`` is a rigid transform (4, 4) in the capture's world."""

    intrinsics: Intrinsics  # the lens, and the size of the picture
    world_from_cam: Array  # (4, 4)


@dataclass(frozen=True)
class Frame:
    """One rendered picture, in float32.

    ``rgb`` (height, width, 3), 0…1, display-referred as in the photos. ``depth`` (height, width) is the
    expected distance along the ray in world units, 0 where the ray hits nothing. ``accumulation``
    (height, width), 0…1, is 1 - the transmittance at the end of the ray.
    """

    rgb: NDArray[np.float32]
    depth: NDArray[np.float32]
    accumulation: NDArray[np.float32]

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

from nerfscene.equality import equal_fields, hash_fields

Array = NDArray[np.float64]
Split = Literal["train", "test"]
Lens = Literal["perspective", "fisheye", "equirectangular", "orthographic", "stereo180"]
# Where the cameras come from: estimated here ("photos"), or read from another program's files (all others).
# fmt: off
Source = Literal[
    "photos", "colmap", "transforms", "synthetic",
    "polycam", "record3d", "stray-scanner", "3d-scanner-app",
    "metashape", "realitycapture", "opensfm", "openmvg", "llff", "blocksexchange", "pix4d",
]
# fmt: on


@dataclass(frozen=True)
class Intrinsics:
    """A lens and its sensor; all lengths are in pixels.

    width, height: the picture's size
    fx, fy: focal lengths
    cx, cy: the principal point, from the upper left corner of the picture
    lens: "perspective", "fisheye", "equirectangular", "orthographic" or "stereo180".
        equirectangular: a panorama whose width × height pixels span 360° × 180°: fx = fy = width / 2π (pixels
        per radian), cx and cy are the middle, and there is no distortion. Its middle column looks along +z:
        longitude λ runs from -π at the left edge to π, latitude φ from π/2 at the top to -π/2, and a pixel
        looks along (cos φ sin λ, -sin φ, cos φ cos λ). No view is one: ``intake`` cuts the panoramas that
        readers give into perspective views.
        orthographic: all rays go along +z; fx and fy are pixels per world unit. Only films have it.
        stereo180: two pictures side by side, the left eye's to the left, each an equirectangular one of the
        180° × 180° ahead: fx = fy = width / 2π, cx = width / 4 and cy = height / 2. Only films have it
    distortion: OpenCV's coefficients, (k1, k2, p1, p2, k3) for ``perspective``, (k1, k2, k3, k4, 0) for
        ``fisheye``; all zero for a lens without distortion. For ``stereo180`` (e, 0, 0, 0, 0) with e, the
        distance between the eyes in world units, which lie left and right of the camera's centre
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
    """One photo on disk, with its size in pixels as an image viewer shows it (EXIF orientation applied).

    path: the file
    width, height: pixels
    mask: a picture of the same proportions; black pixels mark the parts of the photo to ignore
    mask_turns: quarter turns clockwise that the mask needs to lie like the photo, 0 to 3
    panorama, face: the panorama that it was cut from, and the face of the cube (``cameras.cube.FACES``); None
        and "" for a photo as the camera took it
    """

    path: Path
    width: int
    height: int
    focal: float | None = None  # pixels, from EXIF; None if EXIF gives none
    mask: Path | None = None
    mask_turns: int = 0
    panorama: Path | None = None
    face: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A photo that is not used."""

    name: str  # of the photo
    reason: str  # completes a sentence: "is blurred", "can't be read"


@dataclass(frozen=True)
class Capture:
    """Photos that have no poses yet, in the natural order of their names."""

    root: Path  # the folder that was given
    photos: tuple[Photo, ...]  # those to be used
    warnings: tuple[str, ...] = ()  # about the photos, one sentence each
    left_out: tuple[LeftOut, ...] = ()  # photos that are not used, and why


@dataclass(frozen=True)
class View:
    """One posed photo.

    path: the photo's file
    intrinsics: its lens, for the photo's size in pixels
    world_from_cam: a rigid transform (4, 4), OpenCV axes (x right, y down, z forward)
    split: "train", or "test" for a photo held out to measure quality
    mask: a picture on disk of the photo's proportions; black pixels mark the parts of the photo to ignore
    mask_turns: quarter turns clockwise that the mask needs to lie like the photo, 0 to 3
    exposure: natural logarithms of the factors by which this photo multiplies the scene's colours (r, g, b);
        all 0 unless it is known to differ from the other photos
    seen: (n,), indices into the capture's ``points``, of those observed in this photo whose positions are
        well determined
    panorama, face: as in Photo
    """

    path: Path
    intrinsics: Intrinsics
    world_from_cam: Array
    split: Split = "train"
    mask: Path | None = None
    exposure: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    mask_turns: int = 0
    panorama: Path | None = None
    face: str = ""

    __eq__ = equal_fields
    __hash__ = hash_fields


@dataclass(frozen=True)
class PoseReport:
    """How the poses of the photos were found, for the report.

    apart: names of the photos that share nothing with the posed ones, in connected groups, largest first
    """

    found_by: str  # the step that succeeded, in words
    tried: tuple[str, ...]  # the steps in their order, in words
    photos_posed: int  # number of photos with a pose
    models: int  # number of separate models that the successful step produced
    pairs_compared: int  # pairs of photos whose features were matched
    pairs_connected: int  # those of them with enough matches that fit
    points: int  # number of points in the sparse model
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

    root: the folder that was given
    source: where the cameras come from: "photos" if they were estimated here, else the other program
    views: the posed photos
    photos_given: number of photos, with those that could not be posed
    points: (n, 3), the sparse model's, world units; (0, 3) if there is no sparse model
    point_colors: (n, 3) uint8
    has_alpha: whether the photos are cut-outs, with a transparent background where space is known to be empty
    given_split: whether the data set names its own test views
    warnings: about the photos, one sentence each
    left_out: photos that are not used, and why
    reprojection_error: mean over the points, in pixels of a photo whose longer side is reprojection_size
    reprojection_size: the longer side, in pixels, at which features were found; None: the photos' own
    """

    root: Path
    source: Source
    views: tuple[View, ...]
    photos_given: int
    points: Array = field(default_factory=lambda: np.zeros((0, 3)))
    point_colors: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 3), np.uint8))
    has_alpha: bool = False
    given_split: bool = False
    reprojection_error: float | None = None
    warnings: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    posing: PoseReport | None = None  # None where the cameras came with the photos
    reprojection_size: int | None = None

    __eq__ = equal_fields
    __hash__ = hash_fields


@dataclass(frozen=True)
class Camera:
    """A camera to render from."""

    intrinsics: Intrinsics  # the lens and the picture's size
    world_from_cam: Array  # a rigid transform (4, 4) in the capture's world, OpenCV axes

    __eq__ = equal_fields
    __hash__ = hash_fields


@dataclass(frozen=True)
class Frame:
    """One rendered picture, in float32.

    rgb: (height, width, 3), 0…1, display-referred as in the photos
    depth: (height, width), the expected distance along the ray in world units, 0 where the ray hits nothing
    accumulation: (height, width), 0…1, 1 - the transmittance at the end of the ray
    """

    rgb: NDArray[np.float32]
    depth: NDArray[np.float32]
    accumulation: NDArray[np.float32]

    __eq__ = equal_fields
    __hash__ = hash_fields

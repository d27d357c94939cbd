"""Tells which photos are panoramas: equirectangular pictures of a 360° camera, or of a phone's photo sphere.

A picture is one if its XMP data say so (GPano:ProjectionType, "Photo Sphere XMP Metadata", Google), or, in a
set of pictures twice as wide as high, if the left edge continues the right one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.photos import StageListener, read_pixels, silent, worker_count, xmp_of
from nerfscene.errors import NerfsceneError
from nerfscene.loading import loading
from nerfscene.types import Array, Photo

SIDE = 1024  # px, width at which pictures are judged
SQUARE = 0.02  # relative difference by which the proportions given in XMP may differ from the picture's
MOST = 0.6  # fraction of the pictures of a size whose edges must continue each other
# The step from the right edge to the left one is at most this many times the usual step between neighbouring
# columns, and at most this fraction of the smallest difference to columns APART (of the width) or more away.
STEP, CHANCE, APART = 4.0, 0.9, 0.04
# Least correlation of the fine detail along both edges, finer than FINE of the height. Of 18 panoramas by
# different photographers, 16 pass all of this; of 1020 cut-outs of ordinary photos, none.
DETAIL, FINE = 0.4, 0.01
LEAST = 0.5  # grey levels: standard deviation of fine detail; less is noise or rounding
PLAIN = 2.0  # grey levels: a row whose standard deviation is below this may be part of a border
POLE = 0.35  # at the pole, all pixels show nearly one point: spread along that row over that of usual rows
DARK = 16  # grey levels: the frame around the circles of two fisheye pictures is darker
AROUND = 0.9  # fraction of the pixels outside two circles that must be dark


@dataclass(frozen=True)
class Panorama:
    """A picture that shows the sphere around the camera, or a part of it.

    photo: the picture. left, top, right, bottom: the part of the whole sphere that it shows, as fractions of
    360° from the left edge and of 180° from the top; 0, 0, 1, 1 is everything.
    """

    photo: Photo
    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0

    @property
    def full_width(self) -> float:
        """Pixels that 360° would have."""
        return self.photo.width / (self.right - self.left)


def find_panoramas(
    photos: Sequence[Photo], progress: StageListener = silent
) -> tuple[list[Panorama], tuple[str, ...]]:
    """Those of the photos that are panoramas, in order; and warnings, one sentence each.

    Only pictures twice as wide as high are looked at, and those with XMP data. Without such data, all
    pictures of one size are panoramas or none is: the edges of at least MOST of them must continue each
    other. Raises NerfsceneError if a photo can't be read, or if the pictures are pairs of circular fisheye
    pictures, which the camera's own app has to stitch first.
    """
    told = {photo.path: told_area(photo) for photo in photos}
    unsure = [photo for photo in photos if told[photo.path] is None and _twice_as_wide(photo)]
    looks = dict(zip((p.path for p in unsure), _looks(unsure, progress), strict=True))
    sizes = Counter((p.width, p.height) for p in unsure)
    passed = Counter((p.width, p.height) for p in unsure if looks[p.path] == "panorama")
    circles = [p for p in unsure if looks[p.path] == "circles"]
    if circles and 2 * len(circles) > len(photos):
        raise NerfsceneError(
            f"{circles[0].path.parent} holds pictures of a 360° camera that are not stitched (two circles "
            f"side by side, such as {circles[0].path.name}): export them stitched, as 360° photos or video "
            "(equirectangular), with the camera's own app."
        )
    alike = {size for size, count in sizes.items() if passed[size] >= MOST * count}
    warnings = tuple(
        f"{passed[width, height]} of {count} photos of {width}×{height} pixels look like panoramas and the "
        "others don't, so all are taken for ordinary photos; if they are panoramas, say so in their data "
        "(exiftool -XMP-GPano:ProjectionType=equirectangular)."
        for (width, height), count in sizes.items()
        if 0 < passed[width, height] < MOST * count
    )
    found = []
    for photo in photos:
        area = told[photo.path]
        if area is not None:
            found.append(area)
        elif photo.path in looks and (photo.width, photo.height) in alike:
            found.append(Panorama(photo))
    return found, warnings


def told_area(photo: Photo) -> Panorama | None:
    """The panorama that a photo's XMP data describe; None if they don't, or not this picture.

    Programs that crop or reframe a panorama may leave its data in place: they count only if the proportions
    of the part that they describe are the picture's.
    """
    data = xmp_of(photo.path)
    if not data or _tag(data, "ProjectionType").lower() != "equirectangular":
        return None
    names = (
        *("FullPanoWidthPixels", "FullPanoHeightPixels"),
        *("CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels"),
        *("CroppedAreaLeftPixels", "CroppedAreaTopPixels"),
    )
    try:
        width, height, part_width, part_height, left, top = (float(_tag(data, name)) for name in names)
    except ValueError:  # some programs write the projection alone
        return Panorama(photo) if _twice_as_wide(photo) else None
    fits = (
        min(width, height, part_width, part_height) > 0
        and abs(part_width / part_height * photo.height / photo.width - 1) < SQUARE
        and abs(width / (2 * height) - 1) < SQUARE
        and min(left, top) >= 0
        and left + part_width <= width * (1 + SQUARE)
        and top + part_height <= height * (1 + SQUARE)
    )
    if not fits:
        return None
    right, bottom = min((left + part_width) / width, 1.0), min((top + part_height) / height, 1.0)
    return Panorama(photo, left / width, top / height, right, bottom)


def _tag(data: str, name: str) -> str:
    """The value of a GPano tag in XMP data, written as an attribute or as an element; "" if there is none."""
    found = re.search(rf"GPano:{name}(?:\s*=\s*[\"']|\s*>)\s*([^\"'<]*)", data)
    return found.group(1).strip() if found else ""


def _twice_as_wide(photo: Photo) -> bool:
    return abs(photo.width - 2 * photo.height) <= 2 and photo.height >= 64


def _looks(photos: Sequence[Photo], progress: StageListener) -> list[str]:
    """What each picture looks like: "panorama", "circles" or "photo"."""
    found = []
    with ThreadPoolExecutor(worker_count()) as pool:
        for look in pool.map(_look, photos):
            found.append(look)
            progress("looking for panoramas", len(found) / len(photos))
    return found


def _look(photo: Photo) -> str:
    width = min(SIDE, photo.width // 2 * 2)
    grey = read_pixels(photo.path, width, width // 2)[..., :3].mean(-1)
    if two_circles(grey):
        return "circles"
    return "panorama" if edges_meet(grey) else "photo"


def edges_meet(grey: Array | NDArray[np.floating]) -> bool:
    """Whether a grey picture (n, 2n), 0…255, wraps round: its left edge continues its right edge.

    The step across the edge must be about as small as between neighbouring columns, and smaller than to any
    column farther away; and fine detail along both edges must agree, which that of a plain backdrop or of a
    border around the picture doesn't. Besides, a row at a pole must be nearly constant; some cameras leave a
    seam at the other pole.
    """
    spread = grey.std(1)
    usual = float(np.median(spread[len(spread) // 4 : -len(spread) // 4]))
    across = float(np.abs(grey[:, 0] - grey[:, -1]).mean())
    far = max(round(APART * grey.shape[1]), 2)
    others = np.abs(grey[:, far:-far] - grey[:, :1]).mean(0)
    usual_step = float(np.median(np.abs(np.diff(grey, axis=1)).mean(0)))
    return bool(
        min(spread[0], spread[-1]) <= POLE * usual
        and across <= STEP * usual_step
        and across <= CHANCE * others.min()
        and _agreement(grey[spread >= PLAIN][:, [0, -1]], FINE * len(grey)) >= DETAIL
    )


def _agreement(columns: Array | NDArray[np.floating], scale: float) -> float:
    """Correlation of the detail in two columns (n, 2) that is finer than ``scale`` pixels; 0 without any."""
    with loading():
        from scipy.ndimage import gaussian_filter1d  # imported here because it takes half a second

    if len(columns) < 16:
        return 0.0
    first, last = (columns - gaussian_filter1d(columns, scale, axis=0)).T
    if min(first.std(), last.std()) < LEAST:
        return 0.0
    return float(np.corrcoef(first, last)[0, 1])


def two_circles(grey: Array | NDArray[np.floating]) -> bool:
    """Whether a grey picture (n, 2n), 0…255, holds two bright circles side by side on black."""
    rows, columns = grey.shape
    y, x = np.mgrid[:rows, :columns] + 0.5
    radius = np.hypot(x % (columns / 2) - columns / 4, y - rows / 2) / (rows / 2)
    outside, inside = radius > 1.03, radius < 0.7
    halves = (x < columns / 2, x >= columns / 2)
    bright = all((grey[inside & half] > DARK).mean() > 0.5 for half in halves)
    return bool((grey[outside] < DARK).mean() >= AROUND and bright)

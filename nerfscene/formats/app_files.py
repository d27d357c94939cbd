"""Helpers shared by the readers of other programs' exports: checked parsing, lenses and rotations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from nerfscene.cameras.lens_fit import Projection, fitted
from nerfscene.capture.json_text import parsed
from nerfscene.errors import NerfsceneError
from nerfscene.types import Array, Intrinsics, Lens

FARTHEST = 1e12  # a larger number in a file, in any unit, must be a mistake
PANORAMA_TOLERANCE = (
    0.02  # how far a panorama's width may be from twice its height, as a fraction of the height
)
LONGEST_NAME = 80  # characters of a name that a message shows
Values = dict[str, Any]


def text_of(path: Path) -> str:
    """A file's text, decoded as far as possible; "" when the file can't be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def load_json(path: Path) -> Any:
    """The parsed contents of a JSON file. Raises NerfsceneError when it is missing or not JSON."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NerfsceneError(f"{path} cannot be read ({error.strerror}): export it again.") from error
    try:
        return parsed(data)
    except ValueError as error:
        raise NerfsceneError(
            f"{path} is not valid JSON ({error}): export it again, or mend it there."
        ) from error


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a DOCTYPE: no export has one, and the entities it defines could expand to fill the memory."""

    def doctype(self, *declared: object) -> None:
        raise NerfsceneError("it has a DOCTYPE, which no app's export has")


def load_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. Raises NerfsceneError when it is missing, broken, or has a DOCTYPE."""
    try:
        parser = ElementTree.XMLParser(target=_NoDoctype())
        with path.open("rb") as file:
            return ElementTree.parse(file, parser).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError, NerfsceneError) as error:
        raise NerfsceneError(f"{path} cannot be read ({error}): export it again.") from error


def printable(name: object) -> str:
    """A name from a file, fit for a message: on one line, at most LONGEST_NAME characters."""
    text = " ".join(str(name).split())
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def as_dict(value: object, where: str) -> Values:
    """``value`` if it is a dict; else raises NerfsceneError with a message that begins with ``where``."""
    if not isinstance(value, dict):
        raise NerfsceneError(f"{where} is not a JSON object: export it again.")
    return value


def as_list(value: object, where: str) -> list[Any]:
    """``value`` if it is a list; else raises NerfsceneError with a message that begins with ``where``."""
    if not isinstance(value, list):
        raise NerfsceneError(f"{where} is not a list: export it again.")
    return value


def numbers(value: object, shape: tuple[int, ...], where: str, what: str) -> Array:
    """``value`` as a float array of ``shape`` (-1: any length), all finite and within ±FARTHEST.

    Raises NerfsceneError, naming ``where`` and ``what``, when it is anything else.
    """
    try:
        given = np.array(value)
        fits = given.dtype.kind in "iuf" and given.ndim == len(shape)
        fits = fits and all(want in (-1, n) for want, n in zip(shape, given.shape, strict=True))
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        count = " by ".join(str(n) if n >= 0 else "n" for n in shape)
        wanted = f"{count} numbers" if shape else "a number"
        raise NerfsceneError(f"{where} has no {what} ({wanted}): export it again.")
    given = given.astype(np.float64)
    if not (np.isfinite(given).all() and np.abs(given).max(initial=0.0) < FARTHEST):
        raise NerfsceneError(f"{where} has a {what} that is not finite: export it again.")
    return given


def number(values: Values, key: str, where: str, default: float | None = None) -> float:
    """The number under ``key``, or ``default`` when it is absent or null.

    Raises NerfsceneError when it is not a finite number, or is absent and has no default.
    """
    value = values.get(key)
    if value is None and default is not None:
        return default
    return float(numbers(value, (), where, key))


def lens_of(
    width: float,
    height: float,
    focal: Sequence[float],
    centre: Sequence[float],
    where: str,
    distortion: Sequence[float] = (),
    lens: Lens = "perspective",
) -> Intrinsics:
    """A checked lens, everything in pixels.

    focal: (fx, fy). centre: the principal point (cx, cy). distortion: in the order of Intrinsics;
    missing coefficients at the end are 0.
    Raises NerfsceneError, beginning with ``where``, when a size or focal length is not positive or the
    principal point lies outside the picture.
    """
    if min(width, height) < 1 or min(focal) <= 0:
        raise NerfsceneError(
            f"{where} has a picture of {width:g}×{height:g} pixels and a focal length of {min(focal):g}, "
            "which is impossible: export it again."
        )
    if not (0 <= centre[0] <= width and 0 <= centre[1] <= height):
        raise NerfsceneError(
            f"{where} has its principal point ({centre[0]:.0f}, {centre[1]:.0f}) outside its picture of "
            f"{width:g}×{height:g} pixels: export it again with the photos uncropped."
        )
    padded = [float(k) for k in distortion] + [0.0] * (5 - len(distortion))
    return Intrinsics(
        width=int(width),
        height=int(height),
        fx=float(focal[0]),
        fy=float(focal[1]),
        cx=float(centre[0]),
        cy=float(centre[1]),
        lens=lens,
        distortion=tuple(padded),  # type: ignore[arg-type]
    )


def panorama_lens(width: float, height: float, where: str, way: str) -> Intrinsics:
    """The lens of a panorama of 360° × 180° (types.Intrinsics.lens) whose picture has this size in pixels.

    Raises NerfsceneError, beginning with ``where`` and ending with ``way`` (what to do), when the picture is
    not twice as wide as high, and so not a whole panorama.
    """
    if height < 1 or abs(width / height - 2) > PANORAMA_TOLERANCE:
        raise NerfsceneError(
            f"{where} is spherical, but its pictures of {width:g}×{height:g} pixels are not twice as wide as "
            f"high, as panoramas of 360° × 180° are: {way}."
        )
    focal = width / (2 * math.pi)
    return lens_of(width, height, (focal, focal), (width / 2, height / 2), where, lens="equirectangular")


def nearest_lens(start: Intrinsics, theirs: Projection, where: str) -> tuple[Intrinsics, float]:
    """The lens of ours nearest to ``theirs``, and the largest difference between the two in pixels.

    ``start``: our lens with the terms that both have. Raises NerfsceneError, beginning with ``where``,
    when ``theirs`` maps several directions to the same pixel.
    """
    lens, deviation = fitted(start, theirs)
    if not math.isfinite(deviation):
        raise NerfsceneError(
            f"{where} has a lens that folds the picture over itself, which can't be right: calibrate it "
            "again, or export undistorted photos."
        )
    return lens, deviation


def rotation_of(quaternion: Sequence[float] | Array, where: str) -> Array:
    """The rotation matrix (3, 3) of a quaternion (x, y, z, w), which need not have unit length.

    Raises NerfsceneError, beginning with ``where``, for a quaternion whose length is 0 or overflows.
    """
    q = np.asarray(quaternion, np.float64)
    if not np.abs(q).max() < FARTHEST:
        raise NerfsceneError(f"{where} has a rotation quaternion that is not finite: export it again.")
    length = math.sqrt(float(q @ q))
    if length < 1e-6:
        raise NerfsceneError(f"{where} has a rotation quaternion of all zeros: export it again.")
    x, y, z, w = q / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross

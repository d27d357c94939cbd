"""What is said of a ``transforms.json``: things it asks for that change the picture and aren't done here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nerfscene.cameras.lens_fit import NOTICEABLE, projection
from nerfscene.capture.folder import name_some
from nerfscene.formats.app_files import Values
from nerfscene.formats.transforms_lens import FrameLens
from nerfscene.types import Intrinsics

# instant-ngp's keys that change the photos' pixels before it trains on them.
PIXEL_KEYS = ("white_transparent", "black_transparent", "sharpen")
# How nerfstudio turns the world, by its converter for Metashape and by no other.
METASHAPE_TURN = [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]]


def count(number: int, noun: str) -> str:
    """ "1 frame" or "2 frames"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def not_applied(top: Values, frames: Sequence[Values], file_name: str) -> list[str]:
    """A sentence for each thing that a file asks for and that isn't done.

    top: the file's values; frames: those of each frame. Keys that don't change the picture,
    such as aabb_scale, offset, up, depth_path, applied_transform and orientation_override, are passed over.
    """
    said = []
    keys = [key for key in PIXEL_KEYS if top.get(key)]
    if keys:
        said.append(
            f"{file_name} sets {', '.join(keys)}: instant-ngp changes the photos' pixels by that, nerfscene "
            "doesn't and uses them as they are."
        )
    if top.get("sharpness_discard_threshold"):
        said.append(f"{file_name} sets sharpness_discard_threshold, which is not used: all its frames are.")
    lit = sum(bool(frame.get("driver_parameters")) for frame in frames)
    if lit:
        said.append(
            f"the light moves between the {count(lit, 'frame')} of {file_name} (driver_parameters), which is "
            "not modelled: surfaces get their average look."
        )
    if top.get("fisheye_crop_radius"):
        said.append(
            f"{file_name} sets fisheye_crop_radius, which is not used: mask the photos' dark rims "
            "(masks/photo.png) if they have any."
        )
    return said


def beside_photos(photos: Sequence[Path], file_name: str) -> list[str]:
    """A sentence for instant-ngp's pictures of alpha and files of rays that lie beside the photos."""
    alpha = [p.name for p in photos if any(a.is_file() for a in alpha_files(p))]
    rays = [p.name for p in photos if (p.parent / f"rays_{p.stem}.dat").is_file()]
    said = []
    if alpha:
        said.append(
            f"{count(len(alpha), 'photo')} of {file_name} ({name_some(alpha)}) have instant-ngp's alpha in a "
            "picture beside them, which is not used: save the photos as PNG with transparency to use it."
        )
    if rays:
        said.append(
            f"{count(len(rays), 'photo')} of {file_name} ({name_some(rays)}) have a file rays_….dat beside "
            f"them, which is not read: the lens in {file_name} is used."
        )
    return said


def alpha_files(photo: Path) -> list[Path]:
    """Where instant-ngp looks for a photo's alpha: after the name as listed, with or without its ending."""
    return [photo.with_name(f"{name}.alpha{photo.suffix}") for name in (photo.name, photo.stem)]


def metashape_warning(top: Values, lenses: Sequence[FrameLens], file_name: str) -> list[str]:
    """A sentence if the file comes from nerfstudio's converter for Metashape and that matters to its lenses.

    The converter writes Metashape's p1 and p2 as OpenCV's, which are the other way round (nerfstudio 1.1.5,
    findings/nerfstudio-exchanges-metashape-p1-p2.sh). A later version may not, so they are left as they are.
    """
    if top.get("applied_transform") != METASHAPE_TURN:
        return []
    worst = max((_change_by_exchange(lens) for lens in {found.lens for found in lenses}), default=0.0)
    if worst <= NOTICEABLE:
        return []
    return [
        f"{file_name} comes from nerfstudio's converter for Metashape, which exchanges p1 and p2: lenses may "
        f"be off by up to {worst:.1f} pixels; give Metashape's own .xml instead."
    ]


def _change_by_exchange(lens: Intrinsics) -> float:
    """By how many pixels a corner of the picture moves, at most, if p1 and p2 change places."""
    if lens.lens != "perspective":
        return 0.0
    k1, k2, p1, p2, k3 = lens.distortion
    other = replace(lens, distortion=(k1, k2, p2, p1, k3))
    corners = np.array([[0, 0], [lens.width, 0], [0, lens.height], [lens.width, lens.height]])
    base = (corners - [lens.cx, lens.cy]) / [lens.fx, lens.fy]
    return float(np.linalg.norm(projection(lens)(base) - projection(other)(base), axis=1).max())


def lens_warnings(lenses: Sequence[FrameLens], file_name: str) -> list[str]:
    """Sentences for lenses that aren't quite the file's."""
    said = []
    worst = max((lens.deviation for lens in lenses), default=0.0)
    if worst > NOTICEABLE:
        said.append(
            f"lenses in {file_name} have terms that are not supported (k4 of a perspective lens, f-theta, or "
            f"FISHEYE624): the nearest lens without them is off by up to {worst:.1f} pixels; undistort the "
            "photos for sharper results."
        )
    unused = list(dict.fromkeys(key for lens in lenses for key in lens.unused))
    if unused:
        said.append(
            f"{file_name} calls its cameras pinholes, so their {', '.join(unused)} are not used: write the "
            "camera_model OPENCV if the photos are distorted."
        )
    two = sum(lens.two_focals for lens in lenses)
    if two:
        said.append(
            f"{count(two, 'frame')} of {file_name} give two focal lengths that differ (x_fov or y_fov, and "
            "fl_x or fl_y): the one in pixels (fl_x, fl_y) is used."
        )
    return said

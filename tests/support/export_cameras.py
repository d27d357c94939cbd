"""Scenes whose cameras are exported, photos of known content by any lens, and other programs' readings."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from path_cases import ring
from PIL import ExifTags, Image

from nerfscene.cameras.algebra import scaled
from nerfscene.cameras.lens_fit import unprojected
from nerfscene.exporters.told import Told
from nerfscene.field.hash_grid import RadianceField, Space, make_space
from nerfscene.scene.scene import Figures, Scene
from nerfscene.types import Array, Intrinsics, View

PLAIN = Intrinsics(160, 120, 150.0, 151.0, 80.0, 60.0)
BARREL = replace(PLAIN, cx=83.0, cy=57.5, distortion=(-0.15, 0.03, 0.002, -0.003, 0.0))
FISHEYE = Intrinsics(160, 120, 75.0, 75.0, 80.5, 60.5, "fisheye", (0.02, -0.01, 0.002, 0.0, 0.0))
LENSES = {"plain": PLAIN, "barrel": BARREL, "fisheye": FISHEYE}


def scene_of(views: Sequence[View], **changes: Any) -> Scene:
    """A scene of some views, without a field."""
    field = cast(RadianceField, _NoField())
    matrix = np.diag([0.5, 0.5, 0.5, 1.0])
    made = Scene(field, tuple(views), matrix, (0.0, 0.0, 0.0), False, Figures(source="transforms"))
    return replace(made, **changes)


@dataclass(frozen=True)
class _NoField:
    space: Space = make_space(True, 0.1, 32)  # noqa: RUF009 - frozen


def views_of(
    folder: Path, lens: Intrinsics, count: int = 5, downscale: int = 2, **options: Any
) -> list[View]:
    """Views of photos in ``folder``, which are written; intrinsics as in training, downscaled."""
    views = []
    for i, view in enumerate(ring(np.linspace(0, 300, count))):
        path = folder / f"{i:03d}.png"
        write_photo(path, lens, view.world_from_cam, **options)
        k = scaled(lens, round(lens.width / downscale), round(lens.height / downscale))
        views.append(replace(view, path=path, intrinsics=k, split="test" if i == 1 else "train"))
    return views


def pattern(directions: Array) -> NDArray[np.uint8]:
    """A smooth picture of the surroundings: the colours (n, 3) in some directions (n, 3), in world axes."""
    d = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    waves = np.stack([np.sin(9 * d[:, 0] + 2), np.sin(8 * d[:, 1] + 5 * d[:, 2]), np.cos(10 * d[:, 2])], 1)
    return np.asarray((127.5 + 110 * waves).round().astype(np.uint8))


def directions_of(lens: Intrinsics, world_from_cam: Array, pixels: Array) -> Array:
    """The directions (n, 3) in which pixels (n, 2) look, from the formulas of OpenCV."""
    base, found = unprojected(lens, pixels)
    assert found.all()
    if lens.lens == "fisheye":
        angle = np.linalg.norm(base, axis=1, keepdims=True)
        local = np.hstack([base * np.sinc(angle / np.pi), np.cos(angle)])
    else:
        local = np.hstack([base, np.ones((len(base), 1))])
    turned: Array = local @ world_from_cam[:3, :3].T
    return turned


def centres(width: int, height: int) -> Array:
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x.ravel(), y.ravel()], 1)


def picture(lens: Intrinsics, pose: Array) -> NDArray[np.uint8]:
    """What a camera takes of the pattern."""
    return pattern(_rays(lens) @ pose[:3, :3].T).reshape(lens.height, lens.width, 3)


@lru_cache(maxsize=8)
def _rays(lens: Intrinsics) -> Array:
    """The directions of all pixels, in the camera's axes."""
    return directions_of(lens, np.eye(4), centres(lens.width, lens.height))


def write_photo(path: Path, lens: Intrinsics, pose: Array, orientation: int = 1, alpha: bool = False) -> None:
    """A photo of the pattern that shows it upright; stored turned if EXIF is to turn it."""
    pixels = picture(lens, pose)
    if alpha:
        opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        opaque[:, : lens.width // 2] = 0
        pixels = np.concatenate([pixels, opaque], 2)
    stored = {1: pixels, 6: np.rot90(pixels, 1), 3: np.rot90(pixels, 2), 8: np.rot90(pixels, -1)}[orientation]
    exif = Image.Exif()
    if orientation != 1:
        exif[ExifTags.Base.Orientation] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)


def silent() -> tuple[Told, list[str]]:
    """A Told, and the list that its warnings come into."""
    said: list[str] = []
    return Told(warn=said.append), said


# --- other programs' readings, from their documentation ------------------------------------------------


def nerfstudio_rays(frame: dict[str, Any], top: dict[str, Any], pixels: Array) -> tuple[Array, Array]:
    """Origins and unit directions of rays by docs.nerf.studio's "Data conventions" and "Camera models".

    Pixel centres at + 0.5; camera_to_world with +x right, +y up, looking along -z. A lens in the file goes
    before those of its frames, as nerfstudio 1.1 has it.
    """
    lens = frame | top
    u = (pixels[:, 0] - lens["cx"]) / lens["fl_x"]
    v = (pixels[:, 1] - lens["cy"]) / lens["fl_y"]
    k = [lens.get(name, 0.0) for name in ("k1", "k2", "k3", "k4")]
    if lens["camera_model"] == "OPENCV_FISHEYE":
        radius = np.hypot(u, v)
        theta = radius.copy()
        for _ in range(30):
            theta = radius / np.polyval([*k[::-1], 1.0], theta * theta)
        scale = np.sin(theta) / np.maximum(radius, 1e-12)
        local = np.stack([u * scale, -v * scale, -np.cos(theta)], 1)
    else:
        assert lens["camera_model"] == "OPENCV"
        x, y = u.copy(), v.copy()
        for _ in range(60):
            r2 = x * x + y * y
            radial = np.polyval([*k[::-1], 1.0], r2)
            x = (u - 2 * lens["p1"] * x * y - lens["p2"] * (r2 + 2 * x * x)) / radial
            y = (v - lens["p1"] * (r2 + 2 * y * y) - 2 * lens["p2"] * x * y) / radial
        local = np.stack([x, -y, -np.ones_like(x)], 1)
    pose = np.array(frame["transform_matrix"])
    directions = local @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.broadcast_to(pose[:3, 3], directions.shape), directions


def read_json(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A transforms.json's values but for its frames, and these."""
    data = json.loads(path.read_text())
    frames = data.pop("frames")
    return data, frames


def old_cameras(path: Path) -> dict[int, tuple[int, int, int, tuple[float, ...]]]:
    """cameras.bin as COLMAP 3's documentation lays it out: model, width, height, parameters by id."""
    data, counts = path.read_bytes(), {1: 4, 4: 8, 5: 8, 6: 12}
    (number,), at, found = struct.unpack_from("<Q", data), 8, {}
    for _ in range(number):
        key, model, width, height = struct.unpack_from("<iiQQ", data, at)
        found[key] = (model, width, height, struct.unpack_from(f"<{counts[model]}d", data, at + 24))
        at += 24 + 8 * counts[model]
    assert at == len(data)
    return found


def old_images(path: Path) -> dict[str, tuple[Array, int, Array]]:
    """images.bin likewise: quaternion and translation (7,), camera, features (x, y, point) by name."""
    data = path.read_bytes()
    (number,), at, found = struct.unpack_from("<Q", data), 8, {}
    for _ in range(number):
        head = struct.unpack_from("<idddddddi", data, at)
        end = data.index(b"\0", at + 64)
        name = data[at + 64 : end].decode()
        (features,) = struct.unpack_from("<Q", data, end + 1)
        rows = np.frombuffer(data, [("x", "<f8"), ("y", "<f8"), ("p", "<i8")], features, end + 9)
        found[name] = (np.array(head[1:8]), head[8], np.stack([rows["x"], rows["y"], rows["p"]], 1))
        at = end + 9 + 24 * features
    assert at == len(data)
    return found


def old_points(path: Path) -> dict[int, tuple[Array, tuple[int, ...], tuple[int, ...]]]:
    """points3D.bin likewise: position, colour and track (image, feature, image …) by id."""
    data = path.read_bytes()
    (number,), at, found = struct.unpack_from("<Q", data), 8, {}
    for _ in range(number):
        row = struct.unpack_from("<QdddBBBdQ", data, at)
        track = struct.unpack_from(f"<{2 * row[8]}i", data, at + 51)
        found[row[0]] = (np.array(row[1:4]), row[4:7], track)
        at += 51 + 8 * row[8]
    assert at == len(data)
    return found

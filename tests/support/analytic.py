"""A small scene with known truth: coloured, chequered spheres on a chequered ground in a round room.

Photos of it are traced with numpy, in a second or so for a whole capture.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.config import FieldConfig
from nerfscene.types import Array, Intrinsics

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
ROOM = 5.0  # radius
GROUND = -0.5  # height
SPHERES = (  # centre, radius, two colours
    ((0.0, 0.0, 0.0), 0.5, (0.9, 0.25, 0.2), (0.95, 0.85, 0.3)),
    ((0.75, 0.2, -0.25), 0.25, (0.2, 0.45, 0.9), (0.85, 0.9, 0.95)),
    ((-0.5, 0.65, -0.2), 0.3, (0.2, 0.7, 0.35), (0.1, 0.2, 0.15)),
)
SMALL = FieldConfig(occupancy_resolution=32)  # quick to make, and fine enough for these photos
FINER = 3  # rays along a pixel's side


def intrinsics(width: int, height: int) -> Intrinsics:
    """A lens that sees 60° across."""
    focal = 0.5 * width / np.tan(np.radians(30))
    return Intrinsics(width, height, focal, focal, width / 2, height / 2)


def look(position: Sequence[float], target: Sequence[float] = (0.0, 0.0, 0.0)) -> Array:
    """world_from_cam (4, 4), OpenCV axes, with +z of the world up."""
    z = np.asarray(target, float) - np.asarray(position, float)
    z /= np.linalg.norm(z)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = position
    return pose


def ring(n: int, radius: float = 2.4, turn: float = 2 * np.pi) -> list[Array]:
    """Poses around the spheres, at three heights in turn."""
    angles = np.arange(n) / n * turn
    rises = np.radians(np.array([15.0, 30.0, 45.0]))[np.arange(n) % 3]
    return [
        look((radius * np.cos(a) * np.cos(e), radius * np.sin(a) * np.cos(e), radius * np.sin(e)))
        for a, e in zip(angles, rises, strict=True)
    ]


def rays(k: Intrinsics, pose: Array) -> tuple[Array, Array]:
    """Origins and unit directions (pixels, 3) through the pixels' centres."""
    x, y = np.meshgrid(np.arange(k.width) + 0.5, np.arange(k.height) + 0.5)
    d = np.stack([(x - k.cx) / k.fx, (y - k.cy) / k.fy, np.ones_like(x)], -1).reshape(-1, 3)
    d = d @ pose[:3, :3].T
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    return np.broadcast_to(pose[:3, 3], d.shape), d


def _sphere(o: Array, d: Array, centre: Sequence[float], radius: float, far: bool = False) -> Array:
    """Distance (n,) to a sphere, to its far side with ``far``; infinite where it is missed."""
    m = o - np.asarray(centre)
    b = (m * d).sum(1)
    under = b * b - (m * m).sum(1) + radius * radius
    t = -b + (1 if far else -1) * np.sqrt(np.maximum(under, 0))
    return np.where((under > 0) & (t > 0), t, np.inf)


def _chequered(p: Array, cells: float, one: Sequence[float], other: Sequence[float]) -> Array:
    odd = np.floor(p * cells + 0.1).astype(int).sum(1) % 2 == 1
    return np.where(odd[:, None], np.asarray(one), np.asarray(other))


def trace(o: Array, d: Array, room: bool) -> tuple[Array, Array]:
    """Colour (n, 3) and distance (n,) of what rays meet; without ``room``, black and infinite beside
    the spheres."""
    rgb, nearest = np.zeros(d.shape), np.full(len(d), np.inf)
    if room:
        nearest = _sphere(o, d, (0, 0, 0), ROOM, far=True)
        p = o + d * nearest[:, None]
        rgb = 0.5 + 0.3 * np.sin(p * [0.4, 0.5, 0.6] + [0.0, 1.0, 2.0])
        with np.errstate(divide="ignore"):
            t = (GROUND - o[:, 2]) / d[:, 2]
        hit = (t > 0) & (t < nearest)
        ground = _chequered((o + d * np.where(hit, t, 0)[:, None])[:, :2], 1.0, (0.75,) * 3, (0.35, 0.3, 0.3))
        rgb, nearest = np.where(hit[:, None], ground, rgb), np.where(hit, t, nearest)
    for centre, radius, one, other in SPHERES:
        t = _sphere(o, d, centre, radius)
        hit = t < nearest
        p = o + d * np.where(hit, t, 0)[:, None] - np.asarray(centre)
        rgb = np.where(hit[:, None], _chequered(p, 2.0 / radius, one, other), rgb)
        nearest = np.where(hit, t, nearest)
    return rgb, nearest


def photo(k: Intrinsics, pose: Array, room: bool) -> NDArray[np.uint8]:
    """(height, width, 3), or a cut-out (…, 4) without ``room``."""
    fine = Intrinsics(
        k.width * FINER, k.height * FINER, k.fx * FINER, k.fy * FINER, k.cx * FINER, k.cy * FINER
    )
    rgb, distance = trace(*rays(fine, pose), room)
    seen = np.isfinite(distance)[:, None].astype(float)
    mean = np.concatenate([rgb * seen, seen], 1).reshape(k.height, FINER, k.width, FINER, 4).mean((1, 3))
    alpha = mean[..., 3:]
    out = np.concatenate([mean[..., :3] / np.maximum(alpha, 1e-9), alpha], -1)
    return (out[..., : 3 if room else 4] * 255 + 0.5).astype(np.uint8)


def write_photos(folder: Path, poses: Sequence[Array], k: Intrinsics, room: bool) -> list[dict[str, object]]:
    """PNGs 000.png …; returns their frames as a transforms.json lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    frames: list[dict[str, object]] = []
    for i, pose in enumerate(poses):
        Image.fromarray(photo(k, pose, room)).save(folder / f"{i:03d}.png")
        matrix = (pose @ OPENGL).tolist()
        frames.append({"file_path": f"{folder.name}/{i:03d}.png", "transform_matrix": matrix})
    return frames


def write_room(root: Path, n: int = 24, size: tuple[int, int] = (64, 48)) -> Path:
    """An unbounded capture: photos and transforms.json."""
    k = intrinsics(*size)
    frames = write_photos(root / "images", ring(n), k, room=True)
    lens = {"fl_x": k.fx, "fl_y": k.fy, "cx": k.cx, "cy": k.cy, "w": k.width, "h": k.height}
    (root / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    return root


def write_object(root: Path, n: int = 18, n_test: int = 3, side: int = 80) -> Path:
    """A bounded capture of cut-outs in NeRF-synthetic's layout, with a test split of its own."""
    k = intrinsics(side, side)
    poses = {"train": ring(n), "test": ring(n_test, 2.3, 5.0)}
    for split, ps in poses.items():
        frames = write_photos(root / split, ps, k, room=False)
        for frame in frames:  # this layout leaves out the files' suffix
            frame["file_path"] = "./" + str(frame["file_path"]).removesuffix(".png")
        angle = float(2 * np.arctan(0.5 * k.width / k.fx))
        values = {"camera_angle_x": angle, "frames": frames}
        (root / f"transforms_{split}.json").write_text(json.dumps(values))
    return root

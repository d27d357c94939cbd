"""Pictures of a scene from where its photos were taken, with the surface that each pixel shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import scaled
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import Renderer, looking, render_heard
from nerfscene.types import Array, Camera, Intrinsics, View

SMALLEST = 96  # pixels along a picture's longer side, at least, however many pictures there are
WIDE = np.radians(110)  # a plain picture stretches its corners too much beyond this field of view
REACH = 2  # pixels to each side whose depths a pixel's plane is fitted to
SAME = 0.03  # relative difference of depths on one surface, from which on they count less and less
ANCHOR = 1e-3  # keeps planes determined where hardly a neighbour lies on the same surface


@dataclass(frozen=True)
class Look:
    """A picture by a lens without distortion.

    rgb: (h, w, 3), 0…1, of what was hit, without the background behind it.
    z: (h, w), along the optical axis in world units, smoothed along surfaces; 0 where nothing is hit.
    normals: (h, w, 3), unit, world axes, towards the camera. accumulation: (h, w), 0…1.
    support: (h, w), 0…1, the share of the neighbouring pixels that lie on the same surface: low at a jump of
    depth, where the mean depth of a pixel lies in empty space.
    """

    camera: Camera
    rgb: NDArray[np.float32]
    z: NDArray[np.float32]
    normals: NDArray[np.float32]
    accumulation: NDArray[np.float32]
    support: NDArray[np.float32]


def looking_cameras(views: Sequence[View], pixels: int) -> list[Camera]:
    """Cameras without distortion that together see what the photos do, with about ``pixels`` in all.

    No picture gets more pixels than its photo. A fisheye lens that sees too much for one picture gets five.
    """
    plain = [c for v in views for c in _plain(v)]
    whole = sum(c.intrinsics.width * c.intrinsics.height for c in plain)
    shrink = min(float(np.sqrt(pixels / max(whole, 1))), 1.0)
    out = []
    for c in plain:
        k = c.intrinsics
        s = min(max(shrink, SMALLEST / max(k.width, k.height)), 1.0)
        out.append(replace(c, intrinsics=scaled(k, max(round(k.width * s), 2), max(round(k.height * s), 2))))
    return out


def _plain(view: View) -> list[Camera]:
    """The undistorted camera or cameras that see what a view does."""
    k, none = view.intrinsics, (0.0, 0.0, 0.0, 0.0, 0.0)
    half = np.hypot(k.width, k.height) / (k.fx + k.fy)
    angle = 2 * (half if k.lens == "fisheye" else np.arctan(half))
    if k.lens != "fisheye" or angle <= WIDE:
        return [Camera(replace(k, lens="perspective", distortion=none), view.world_from_cam)]
    side = 2 * max(round(k.fx), 8)  # 90°, with the focal length of the middle
    lens = Intrinsics(side, side, side / 2, side / 2, side / 2, side / 2)
    across = np.radians(60)  # of the four that look aside
    turns = [np.eye(3)]
    for axis in (np.array([1.0, 0, 0]), np.array([0, 1.0, 0])):
        cross = np.cross(np.eye(3), -axis)
        turns += [
            np.eye(3) + s * np.sin(across) * cross + (1 - np.cos(across)) * cross @ cross for s in (1, -1)
        ]
    out = []
    for turn in turns:
        pose = view.world_from_cam.copy()
        pose[:3, :3] = pose[:3, :3] @ turn
        out.append(Camera(lens, pose))
    return out


def look(renderer: Renderer, camera: Camera, heard: Callable[[float], None] = lambda fraction: None) -> Look:
    """The picture that a camera without distortion takes, and its surfaces; heard: see ``render_heard``."""
    plain = looking(renderer, (0.0, 0.0, 0.0), renderer.crop, None)
    frame = render_heard(plain, camera, heard)
    surface = frame.rgb / np.maximum(frame.accumulation, 1e-3)[..., None]
    x, y = pixel_grid(camera.intrinsics)
    z = frame.depth / np.sqrt(1 + x**2 + y**2)
    smooth, normals, support = _planes(z, camera.intrinsics)
    turned = normals.reshape(-1, 3) @ camera.world_from_cam[:3, :3].T
    f4 = np.float32
    return Look(camera, np.clip(surface, 0, 1), smooth.astype(f4), turned.reshape(normals.shape).astype(f4),
                frame.accumulation, support.astype(f4))  # fmt: skip


def looks(renderer: Renderer, cameras: Sequence[Camera], told: Told, stage: str) -> list[Look]:
    """The pictures of all cameras; tells progress after each."""
    out: list[Look] = []
    for camera in cameras:
        out.append(
            look(renderer, camera, lambda done: told.progress(stage, (len(out) + done) / len(cameras)))
        )
    told.progress(stage, 1.0)
    return out


def pixel_grid(k: Intrinsics) -> tuple[Array, Array]:
    """Where pixels' rays meet the plane z = 1, as x (1, w) and y (h, 1)."""
    x: Array = (np.arange(k.width, dtype=np.float64) + 0.5 - k.cx) / k.fx
    y: Array = (np.arange(k.height, dtype=np.float64) + 0.5 - k.cy) / k.fy
    return x[None, :], y[:, None]


def _planes(z: Array, k: Intrinsics) -> tuple[Array, Array, Array]:
    """Planes through each pixel's surface: z on it (h, w), normal (h, w, 3) in the camera's axes, support.

    In the picture of a plane, 1 / z is linear. It is fitted by least squares to the neighbours, which count
    less the more their depths differ from the pixel's own.
    """
    hit = z > 0
    q = np.where(hit, 1 / np.where(hit, z, 1), 0)
    h, w = z.shape
    padded = np.pad(q, REACH)
    total = np.zeros((h, w))
    sums = {name: np.zeros((h, w)) for name in ("x", "y", "q", "xx", "xy", "yy", "xq", "yq")}
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            there = padded[REACH + dy : REACH + dy + h, REACH + dx : REACH + dx + w]
            change = there - q
            weight = np.exp(-0.5 * (change / (SAME * np.maximum(q, 1e-12))) ** 2)
            total += weight
            wq = weight * change
            for name, value in (("x", weight * dx), ("y", weight * dy), ("q", wq), ("xx", weight * dx * dx),
                                ("xy", weight * dx * dy), ("yy", weight * dy * dy), ("xq", wq * dx),
                                ("yq", wq * dy)):  # fmt: skip
                sums[name] += value
    m = {name: value / total for name, value in sums.items()}
    xx, yy = m["xx"] - m["x"] ** 2 + ANCHOR, m["yy"] - m["y"] ** 2 + ANCHOR
    xy, xq, yq = m["xy"] - m["x"] * m["y"], m["xq"] - m["x"] * m["q"], m["yq"] - m["y"] * m["q"]
    det = xx * yy - xy**2
    a, b = (xq * yy - yq * xy) / det, (yq * xx - xq * xy) / det  # per pixel
    c = q + m["q"] - a * m["x"] - b * m["y"]
    x, y = pixel_grid(k)
    na, nb = a * k.fx, b * k.fy
    normal = -np.stack([na, nb, c - na * x - nb * y], -1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-30)
    good = hit & (c > 0.5 * q)
    smooth = np.where(good, 1 / np.where(good, c, 1), z)
    return smooth, normal, np.where(hit, total / (2 * REACH + 1) ** 2, 0)

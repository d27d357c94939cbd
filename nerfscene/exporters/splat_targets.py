"""What splats are fitted to: training photos, as a lens without distortion takes them, and field pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene, scaled
from nerfscene.cameras.cube import shots
from nerfscene.capture.folder import worker_count
from nerfscene.capture.photos import read_mask, read_pixels
from nerfscene.capture.same_photo import size_now
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.told import Told
from nerfscene.exporters.undistorted import pinhole_of, resampled, undistorted_mask
from nerfscene.field.rendering import Renderer, render_heard
from nerfscene.ops.splatting import Pinhole
from nerfscene.scene.scene import Scene
from nerfscene.splatting.fitting import Target
from nerfscene.types import Array, Camera, Intrinsics, View

MOST_PIXELS = 1 << 28  # of all photos: 0.8 GB; of more, as many photos are taken as have so many
ASIDE = 0.35  # of the way to the nearest other photo's place, by which a new place lies aside at random
FINEST = 320  # pixels along a field picture's longer side, at most


def check_photos(scene: Scene) -> None:
    """Raises NerfsceneError if a photo or mask is gone, or a photo isn't the one that was trained on, before
    anything that takes long."""
    for view in scene.views:
        for path in (view.path, view.mask):
            if path is not None and not path.exists():
                raise NerfsceneError(
                    f"{path} does not exist any more: put it back, or train a scene without that photo"
                )
        size_now(view)


def photo_targets(scene: Scene, told: Told) -> list[Target]:
    """The training photos under their own exposures, where their masks keep them; held-out ones never.

    If the field found exposures, each photo has a number, and a panorama's views have one together.
    Raises NerfsceneError if a photo is gone or its lens can't be undistorted.
    """
    views = _bounded([v for v in scene.views if v.split == "train"])
    told.progress("reading photos", 0.0)
    numbers = shots(views) if any(any(v.exposure) for v in views) else [-1] * len(views)
    out = []
    with ThreadPoolExecutor(worker_count()) as pool:
        for number, target in zip(numbers, pool.map(lambda v: photo_target(scene, v), views), strict=True):
            out.append(replace(target, photo=number))
            told.progress("reading photos", len(out) / len(views))
    return out


def _bounded(views: Sequence[View]) -> list[View]:
    """As many of the views, evenly, as have MOST_PIXELS together."""
    pixels = sum(v.intrinsics.width * v.intrinsics.height for v in views)
    share = max(pixels / MOST_PIXELS, 1.0)
    count = max(int(len(views) / share), 1)
    return [views[i] for i in np.linspace(0, len(views) - 1, count).round().astype(int)]


def photo_target(scene: Scene, view: View) -> Target:
    """One photo as a target. Raises NerfsceneError as ``photo_targets`` does."""
    k = view.intrinsics
    rgb = over(read_pixels(view.path, k.width, k.height), scene.background)
    used = None if view.mask is None else read_mask(view.mask, k.width, k.height, view.mask_turns)
    if any(k.distortion) or k.lens != "perspective":
        pinhole = pinhole_of(k, view.path)
        rgb = resampled(rgb, k, pinhole)
        used = None if used is None else undistorted_mask(used, k, pinhole)
        k = pinhole
    camera = Camera(k, view.world_from_cam)
    r, g, b = (float(np.exp(e)) for e in view.exposure)
    return Target(pinhole_in_scene(camera, scene.scene_from_world), rgb, used, (r, g, b))


def over(pixels: NDArray[np.uint8], background: tuple[float, float, float]) -> NDArray[np.uint8]:
    """A photo's pixels (h, w, 3 or 4) without transparency, over a colour 0…1."""
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.float32) / 255
    rgb = pixels[..., :3] * alpha + 255 * (1 - alpha) * np.asarray(background, np.float32)
    return np.round(rgb).astype(np.uint8)


def pinhole_in_scene(camera: Camera, scene_from_world: Array) -> Pinhole:
    """A camera without distortion, in world coordinates, for splats in the field's."""
    k = camera.intrinsics
    pose = np.linalg.inv(pose_in_scene(scene_from_world, camera.world_from_cam))[:3]
    return Pinhole(pose, k.fx, k.fy, k.cx, k.cy, k.width, k.height)


class _Late(Exception):
    """A picture isn't ready in time."""


def field_targets(
    scene: Scene, renderer: Renderer, count: int, told: Told, until: float = math.inf
) -> Iterator[Target]:
    """Pictures of the field from ``count`` places between and beside the photos', the same each time.

    until: on ``time.monotonic``'s clock; what isn't ready by then is left out.
    """
    stage = "looking from new places"
    for i, camera in enumerate(new_cameras([v for v in scene.views if v.split == "train"], count)):

        def heard(share: float, at: int = i) -> None:
            if time.monotonic() > until:
                raise _Late
            told.progress(stage, (at + share) / count)

        try:
            frame = render_heard(renderer, camera, heard)
        except _Late:
            return
        rgb = np.round(255 * np.clip(frame.rgb, 0, 1)).astype(np.uint8)
        yield Target(pinhole_in_scene(camera, scene.scene_from_world), rgb)


def new_cameras(views: Sequence[View], count: int) -> list[Camera]:
    """Cameras between photos that stand near each other, a little aside, looking as these do."""
    if len(views) < 2:
        return []
    draws = np.random.default_rng(0)
    poses = np.stack([v.world_from_cam for v in views])
    places = poses[:, :3, 3]
    out = []
    for i in np.linspace(0, len(views) - 1, count).round().astype(int):
        away = np.linalg.norm(places - places[i], axis=1)
        away[i] = np.inf
        # The nearest of those that look about the same way.
        alike = (poses[:, :3, 2] @ poses[i, :3, 2]) > 0.8
        other = int(np.where(alike, away, np.inf).argmin()) if (alike & np.isfinite(away)).any() else i
        share = draws.uniform(0.3, 0.7)
        gap = 0.0 if other == i else float(np.linalg.norm(places[other] - places[i]))
        pose = poses[i].copy()
        middle = places[i] * (1 - share) + places[other] * share
        pose[:3, 3] = middle + ASIDE * gap * draws.uniform(-1, 1, 3)
        pose[:3, :3] = _between(poses[i, :3, :3], poses[other, :3, :3], share)
        out.append(Camera(_smaller(views[i].intrinsics), pose))
    return out


def _between(one: Array, other: Array, share: float) -> Array:
    """The rotation (3, 3) on the way from one to another."""
    u, _, vt = np.linalg.svd(one * (1 - share) + other * share)
    turn: Array = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    return turn


def _smaller(lens: Intrinsics) -> Intrinsics:
    """A lens without distortion that sees about as much, with at most FINEST pixels along a side."""
    if any(lens.distortion) or lens.lens != "perspective":
        lens = pinhole_of(lens, Path("a photo"))
    s = min(FINEST / max(lens.width, lens.height), 1.0)
    return scaled(lens, max(round(lens.width * s), 16), max(round(lens.height * s), 16))

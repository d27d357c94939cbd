"""Coloured splats: an approximation of the scene that the browser draws by itself while the camera moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import scaled
from nerfscene.exporters.splat_choice import fitted_splats
from nerfscene.field.rendering import Renderer, render
from nerfscene.scene.scene import Scene
from nerfscene.splatting.gaussians import C0, covariances_of
from nerfscene.types import Array, Camera, View

MOST_FITTED = 300_000  # 32 bytes each are sent to every tab
VIEWS, LONGEST = 16, 88  # photos that are rendered, at most, and their longer side in pixels


@dataclass(frozen=True)
class Splats:
    """Gaussians: centers (n, 3), covariances (n, 3, 3), world units; rgbs (n, 3), opacities (n, 1), 0…1."""

    centers: NDArray[np.float32]
    covariances: NDArray[np.float32]
    rgbs: NDArray[np.float32]
    opacities: NDArray[np.float32]


def inside(splats: Splats, world_from_box: Array | None) -> Splats:
    """The splats inside a crop's box, world_from_box (4, 4); all of them if it is None."""
    if world_from_box is None:
        return splats
    box_from_world = np.linalg.inv(world_from_box)
    in_box = splats.centers @ box_from_world[:3, :3].T + box_from_world[:3, 3]
    keep = (np.abs(in_box) <= 1).all(1)
    return Splats(splats.centers[keep], splats.covariances[keep], splats.rgbs[keep], splats.opacities[keep])


def packed(splats: Splats) -> NDArray[np.uint32]:
    """Splats as viser's pages hold them, (n, 8): three float32, nothing, six float16, four uint8.

    These are a splat's centre, the upper triangle of its covariance, its colour and its opacity; see
    ``GaussianSplatsProps`` in viser.
    """
    n = len(splats.centers)
    covariances = splats.covariances.reshape(n, 9)[:, [0, 1, 2, 4, 5, 8]].astype("<f2")
    colours = np.round(255 * np.clip(np.concatenate([splats.rgbs, splats.opacities], 1), 0, 1)).astype("u1")
    parts = (splats.centers.astype("<f4"), np.zeros((n, 1), "<u4"), covariances, colours)
    raw = [np.ascontiguousarray(part).view(np.uint8).reshape(n, -1) for part in parts]
    return np.ascontiguousarray(np.concatenate(raw, 1)).view("<u4").astype(np.uint32)


def add_hidden(scene: Any) -> Any:
    """Adds one splat that can't be seen to a viser scene, and hides it; ``buffer`` takes real ones."""
    return scene.add_gaussian_splats(
        "/splats",
        np.zeros((1, 3), np.float32),
        1e-6 * np.eye(3, dtype=np.float32)[None],
        np.zeros((1, 3), np.float32),
        np.zeros((1, 1), np.float32),
        visible=False,
    )


def fitted_ones(scene: Scene) -> Splats | None:
    """The splats that were fitted to a scene, in one colour each; None if there are none."""
    found = fitted_splats(replace(scene, crop=None), MOST_FITTED, 0)
    if found is None:
        return None
    colours = np.clip(0.5 + C0 * found.sh[:, 0], 0, 1).astype(np.float32)
    return Splats(found.positions, covariances_of(found), colours, found.opacities[:, None])


def splats_of(
    renderer: Renderer, views: tuple[View, ...], wanted: Callable[[], bool] = lambda: True
) -> Splats:
    """Splats where the rays of some photos meet something opaque, each as large as a pixel at that distance.

    A splat is a flat disc that faces its photo, because balls would stick out of every surface. When
    ``wanted()`` becomes False, the splats made so far are returned.
    """
    chosen = np.unique(np.linspace(0, len(views) - 1, min(VIEWS, len(views))).round().astype(int))
    parts: list[tuple[NDArray[np.float32], ...]] = []
    for i in chosen:
        if not wanted():
            break
        view = views[i]
        k = view.intrinsics
        s = LONGEST / max(k.width, k.height)
        small = scaled(k, max(round(k.width * s), 2), max(round(k.height * s), 2))
        frame = render(renderer, Camera(small, view.world_from_cam))
        seen = (frame.accumulation > 0.9) & (frame.depth > 0)
        # Where depth jumps, a pixel's mean depth lies in the empty space between two surfaces.
        jump = np.maximum(*(np.abs(g) for g in np.gradient(frame.depth)))
        seen &= jump < 0.1 * np.maximum(frame.depth, 1e-9)
        rows, columns = np.nonzero(seen)
        if not len(rows):
            continue
        rays = np.stack([(columns + 0.5 - small.cx) / small.fx, (rows + 0.5 - small.cy) / small.fy,
                      np.ones(len(rows))], 1)  # fmt: skip
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        rays = rays @ view.world_from_cam[:3, :3].T
        depth = frame.depth[rows, columns].astype(float)
        radius = 0.6 * depth / small.fx
        along = rays[:, :, None] * rays[:, None, :]
        flat = (np.eye(3) - 0.9 * along) * (radius**2)[:, None, None]
        centers = view.world_from_cam[:3, 3] + depth[:, None] * rays
        parts.append((centers.astype(np.float32), flat.astype(np.float32), frame.rgb[rows, columns]))
    if not parts:
        empty = np.zeros((0, 3), np.float32)
        return Splats(empty, np.zeros((0, 3, 3), np.float32), empty, np.zeros((0, 1), np.float32))
    centers, covariances, rgbs = (np.concatenate(x) for x in zip(*parts, strict=True))
    return Splats(centers, covariances, np.clip(rgbs, 0, 1), np.full((len(centers), 1), 0.95, np.float32))

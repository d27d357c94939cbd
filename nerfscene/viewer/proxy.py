"""A light stand-in for the field that a browser draws by itself while the camera moves: coloured splats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import scaled
from nerfscene.field.rendering import Renderer, render
from nerfscene.types import Array, Camera, View

VIEWS, LONGEST = 16, 88  # photos whose rays are followed, and the size they are followed at


@dataclass(frozen=True)
class Splats:
    """Gaussians, world units: centers (n, 3), covariances (n, 3, 3); rgbs (n, 3), opacities (n, 1) in 0…1."""

    centers: NDArray[np.float32]
    covariances: NDArray[np.float32]
    rgbs: NDArray[np.float32]
    opacities: NDArray[np.float32]


def inside(splats: Splats, world_from_box: Array | None) -> Splats:
    """Those in a crop's box; all of them where there is none."""
    if world_from_box is None:
        return splats
    box_from_world = np.linalg.inv(world_from_box)
    at = splats.centers @ box_from_world[:3, :3].T + box_from_world[:3, 3]
    keep = (np.abs(at) <= 1).all(1)
    return Splats(splats.centers[keep], splats.covariances[keep], splats.rgbs[keep], splats.opacities[keep])


def splats_of(
    renderer: Renderer, views: tuple[View, ...], wanted: Callable[[], bool] = lambda: True
) -> Splats:
    """Where the rays of some photos meet something opaque, flat discs as large as a pixel is there.

    A disc faces its photo and is thin along the ray: round balls would stand out of every surface. Ends
    early, with what there is, when they are not ``wanted`` any more.
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
        # Where depth jumps, a pixel's mean depth lies in the empty space between.
        jump = np.maximum(*(np.abs(g) for g in np.gradient(frame.depth)))
        seen &= jump < 0.1 * np.maximum(frame.depth, 1e-9)
        rows, columns = np.nonzero(seen)
        if not len(rows):
            continue
        d = np.stack([(columns + 0.5 - small.cx) / small.fx, (rows + 0.5 - small.cy) / small.fy,
                      np.ones(len(rows))], 1)  # fmt: skip
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        d = d @ view.world_from_cam[:3, :3].T
        depth = frame.depth[rows, columns].astype(float)
        radius = 0.6 * depth / small.fx
        along = d[:, :, None] * d[:, None, :]
        flat = (np.eye(3) - 0.9 * along) * (radius**2)[:, None, None]
        centers = view.world_from_cam[:3, 3] + depth[:, None] * d
        parts.append((centers.astype(np.float32), flat.astype(np.float32), frame.rgb[rows, columns]))
    if not parts:
        empty = np.zeros((0, 3), np.float32)
        return Splats(empty, np.zeros((0, 3, 3), np.float32), empty, np.zeros((0, 1), np.float32))
    centers, covariances, rgbs = (np.concatenate(x) for x in zip(*parts, strict=True))
    return Splats(centers, covariances, np.clip(rgbs, 0, 1), np.full((len(centers), 1), 0.95, np.float32))

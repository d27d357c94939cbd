"""How steady a film is: the difference between neighbouring frames, beside that between neighbouring photos.

    python -m bench.steady SCENE [--path orbit] [--frames 24] [--fps 30] [--width 320]

A picture's pixels are looked up in its neighbour, where their depth says that they are; pixels that the
neighbour doesn't show, or that something covers there, don't count. A film's neighbours are the frames before
and after; a photo's is the one taken nearest to it, looking the same way, and its depth is the field's. What
remains is shimmer, popping and noise, and where things shine. Differences are in steps of 8 bits, means over
pixels and colours. ``brightness`` is the change of the mean colour of what both show, which a film that pumps
would have. Frames are as far apart in time as in a whole film of 8 seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from nerfscene.cameras.algebra import scaled
from nerfscene.config import RenderConfig
from nerfscene.field.rendering import Renderer, render
from nerfscene.films.filming import as_filmed, film_path, rendered
from nerfscene.films.passes import camera_rays
from nerfscene.measuring.evaluate import photo_over
from nerfscene.ops.reference_lens import distort
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Camera, View

SECONDS = 8.0
SAME = 0.02  # of a depth: nearer than that, what the neighbour shows there is the same surface
MOST_PHOTOS = 16


@dataclass(frozen=True)
class Seen:
    """A picture (height, width, 3) in 0…255 with its depth (height, width), 0 for nothing, and its camera."""

    picture: NDArray[np.float32]
    depth: NDArray[np.float32]
    camera: Camera


def difference(renderer: Renderer, one: Seen, other: Seen) -> tuple[float, float, float]:
    """The mean difference of two pictures where both show the same, their brightness's, and that part."""
    pose = one.camera.world_from_cam
    rays = camera_rays(renderer, one.camera).reshape(-1, 3) @ pose[:3, :3].T
    world = pose[:3, 3] + rays * one.depth.reshape(-1, 1)
    away = np.linalg.norm(world - other.camera.world_from_cam[:3, 3], axis=1)
    at = pixels_of(other.camera, world)
    height, width = other.depth.shape
    inside = (at[:, 0] >= 0) & (at[:, 0] <= width - 1) & (at[:, 1] >= 0) & (at[:, 1] <= height - 1)
    inside &= one.depth.ravel() > 0
    rows_columns = at[inside][:, ::-1].T
    depth = map_coordinates(other.depth, rows_columns, order=0)
    same = np.abs(depth - away[inside]) < SAME * away[inside]
    if not same.any():
        return float("nan"), float("nan"), 0.0
    rows_columns = rows_columns[:, same]
    there = np.stack([map_coordinates(other.picture[..., c], rows_columns, order=1) for c in range(3)], 1)
    here = one.picture.reshape(-1, 3)[inside][same]
    change = float(abs(there.mean() - here.mean()))
    return float(np.abs(there - here).mean()), change, float(same.sum() / len(inside))


def pixels_of(camera: Camera, world: Array) -> Array:
    """Columns and rows (n, 2), from pixels' centres, of points (n, 3); -1 for those behind a camera."""
    k, pose = camera.intrinsics, camera.world_from_cam
    local = (world - pose[:3, 3]) @ pose[:3, :3]
    ahead = local[:, 2] > 1e-9
    flat = local[:, :2] / np.where(ahead, local[:, 2], 1)[:, None]
    if any(k.distortion):
        numbers = torch.tensor(k.distortion, dtype=torch.float64).expand(len(flat), 5)
        flat = distort(numbers, torch.from_numpy(flat)).numpy()
    pixels = flat * [k.fx, k.fy] + [k.cx - 0.5, k.cy - 0.5]
    return np.where(ahead[:, None], pixels, -1.0)


def of_film(scene: Scene, config: RenderConfig, frames: int) -> tuple[Renderer, list[tuple[Seen, Seen]]]:
    """Neighbouring frames from the middle of a film."""
    path, _ = film_path(scene, config)
    filmed = as_filmed(scene, path, config)
    renderer = filmed.renderer(config.backend, config.threads)
    first = max((len(path.cameras) - frames) // 2, 0)
    numbers = range(first, min(first + frames, len(path.cameras)))
    made = rendered(filmed, path, replace(config, depth=True), renderer, numbers)
    seen = [
        Seen(picture[..., :3].astype(np.float32), depth, path.cameras[i])
        for i, (picture, depth, _) in zip(numbers, made, strict=True)
    ]
    return renderer, list(pairwise(seen))


def of_photos(scene: Scene, width: int) -> tuple[Renderer, list[tuple[Seen, Seen]]]:
    """Photos, each with the one nearest to it, at a film's width."""
    renderer = scene.photo_renderer()
    views = [view for view in scene.views if view.intrinsics.lens == "perspective"]
    chosen = np.unique(np.linspace(0, len(views) - 1, min(MOST_PHOTOS, len(views))).round().astype(int))
    pairs = [(views[i], nearest(views, int(i))) for i in chosen]
    return renderer, [
        (of_photo(scene, renderer, a, width), of_photo(scene, renderer, b, width)) for a, b in pairs
    ]


def nearest(views: Sequence[View], index: int) -> View:
    """The view taken nearest to another; a turn by 1 rad counts as the median distance of photos."""
    centres = np.stack([view.world_from_cam[:3, 3] for view in views])
    axes = np.stack([view.world_from_cam[:3, 2] for view in views])
    away = np.linalg.norm(centres - centres[index], axis=1)
    turned = np.arccos(np.clip(axes @ axes[index], -1, 1))
    cost = away + turned * np.median(away)
    cost[index] = np.inf
    return views[int(cost.argmin())]


def of_photo(scene: Scene, renderer: Renderer, view: View, width: int) -> Seen:
    """A photo at another width, with the field's depth."""
    k = view.intrinsics
    small = scaled(k, width, max(round(width * k.height / k.width), 1))
    photo = photo_over(replace(view, intrinsics=small), scene.background) * 255
    camera = Camera(small, view.world_from_cam)
    frame = render(renderer, camera)
    depth = np.where(frame.accumulation > 0.5, frame.depth, 0).astype(np.float32)
    return Seen(photo.astype(np.float32), depth, camera)


def row(name: str, renderer: Renderer, pairs: list[tuple[Seen, Seen]]) -> None:
    """Prints one line of figures."""
    found = np.array([difference(renderer, *pair) for pair in pairs])
    mean, brightness, part = np.nanmean(found, axis=0)
    worst, pumped, _ = np.nanmax(found, axis=0)
    print(
        f"{name:8} {len(pairs):3} pairs  difference {mean:5.2f} (worst {worst:5.2f})  "
        f"brightness {brightness:5.2f} (worst {pumped:5.2f})  of {100 * part:.0f}% of the pixels"
    )


def main() -> None:
    """Measures the scene that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scene", type=Path)
    parser.add_argument("--path", default="auto")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--width", type=int, default=320)
    asked = parser.parse_args()
    scene = scenes.load(asked.scene)
    config = RenderConfig(path=asked.path, width=asked.width, fps=asked.fps, seconds=SECONDS)
    row("film", *of_film(scene, config, asked.frames))
    row("photos", *of_photos(scene, asked.width))


if __name__ == "__main__":
    main()

"""Oriented samples of the surfaces that a scene's photos saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.exporters.chunks import in_chunks
from nerfscene.exporters.looks import Look, looking_cameras, looks, pixel_grid
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import Renderer
from nerfscene.loading import loading
from nerfscene.scene.scene import Scene
from nerfscene.types import Array

PIXELS_EACH = 8  # rendered for every sample that is wanted
FEWEST_PIXELS, MOST_PIXELS = 300_000, 8_000_000  # rendered in all
OPAQUE = 0.5  # accumulation from which on a ray has hit something
ON_SURFACE = 0.5  # support of a pixel that does not lie on a jump of depth
TOLERANCE = 0.01  # relative difference of depths that agree
PARALLAX = 1.5  # pixels by which depths that agree may shift a point between two pictures
DOUBTED = 0.25  # a sample is dropped if more pictures look through it than this share of those that show it
NEIGHBOURS = 6


@dataclass(frozen=True)
class Samples:
    """Points on surfaces, in world units and axes.

    positions: (n, 3). normals: (n, 3), unit, outward, to where it was seen from. colours: (n, 3), sRGB 0…1.
    radius: (n,), of the disc of surface that each stands for. opacity: (n,), 0…1. confidence: (n,), 0…1,
    the share of the pictures that look there and show it. footprint: (n,), how far apart the pixels of the
    picture that shows it best lie on a surface across the ray.
    """

    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    colours: NDArray[np.float32]
    radius: NDArray[np.float32]
    opacity: NDArray[np.float32]
    confidence: NDArray[np.float32]
    footprint: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.positions)


def chosen(samples: Samples, keep: NDArray[np.generic]) -> Samples:
    """Some of the samples, by a mask or by indices."""
    return Samples(**{name: value[keep] for name, value in vars(samples).items()})


def seen_surface(scene: Scene, renderer: Renderer, count: int, told: Told) -> Samples:
    """At most ``count`` samples, evenly over what the photos' cameras saw.

    They are equally dense within the subject's box; beyond it their distance grows with that from its middle.
    Left out are haze and floaters, through which other pictures see, and pixels at jumps of depth. The
    renderer, of this scene, says which part is visible (its crop).
    """
    pixels = int(np.clip(PIXELS_EACH * count, FEWEST_PIXELS, MOST_PIXELS))
    taken = looks(renderer, looking_cameras(scene.views, pixels), told, "looking at the scene")

    def alive() -> None:
        told.progress("finding surfaces", 0.0)

    alive()
    raw = all_seen(taken)
    nothing = np.zeros((0, 0, 3), np.float32)
    taken = [replace(look, rgb=nothing, normals=nothing) for look in taken]  # the samples have these now
    raw = thinned(raw, away_from_middle(raw, renderer.scene_from_world), 2 * count, 0.8, alive)
    known = confirmed(raw, taken, told, "finding surfaces", renderer.threads)
    del raw, taken
    out = spaced(thinned(known, away_from_middle(known, renderer.scene_from_world), count))
    told.progress("finding surfaces", 1.0)
    return out


def away_from_middle(samples: Samples, scene_from_world: Array) -> NDArray[np.float64]:
    """How far (n,) samples lie from the subject's middle in halves of its box, 1 within it."""
    place = samples.positions @ scene_from_world[:3, :3].T  # in place from here on: there are millions
    place += scene_from_world[:3, 3]
    away: NDArray[np.float64] = np.abs(place, out=place).max(1, initial=1.0)
    return away


def all_seen(taken: Sequence[Look]) -> Samples:
    """A sample for every pixel of every picture that lies on a surface; radius is its footprint's."""
    on = [(look.accumulation > OPAQUE) & (look.z > 0) & (look.support > ON_SURFACE) for look in taken]
    ends = np.cumsum([0, *(int(one.sum()) for one in on)])
    each = {"positions": 3, "normals": 3, "colours": 3}
    # Made as a whole and filled: parts to be joined would take the memory a second time.
    columns = {
        field.name: np.empty((ends[-1], *([each[field.name]] if field.name in each else [])), np.float32)
        for field in fields(Samples)
    }
    for look, one, first, last in zip(taken, on, ends[:-1], ends[1:], strict=True):
        for name, value in vars(_pixels_seen(look, one)).items():
            columns[name][first:last] = value
    return Samples(**columns)


def _pixels_seen(look: Look, on: NDArray[np.bool_]) -> Samples:
    x, y = np.broadcast_arrays(*pixel_grid(look.camera.intrinsics))
    z = look.z[on].astype(np.float64)
    pose = look.camera.world_from_cam
    points = np.stack([x[on] * z, y[on] * z, z], 1) @ pose[:3, :3].T + pose[:3, 3]
    footprint = (z / look.camera.intrinsics.fx).astype(np.float32)
    return Samples(points.astype(np.float32), look.normals[on], look.rgb[on], 0.6 * footprint,
                   look.accumulation[on], look.support[on], footprint)  # fmt: skip


def thinned(
    samples: Samples,
    size: Array,
    count: int,
    close: float = 0.97,
    alive: Callable[[], None] = lambda: None,
) -> Samples:
    """At most ``count`` samples: those in one cell are averaged.

    Cells are as wide as ``size`` (n,) times the factor by which at least ``close`` of ``count`` remain, if
    one is soon found. alive: called often; what it raises ends the work.
    """
    if len(samples) <= count:
        return samples
    factor = float(np.median(samples.footprint / size)) * float(np.sqrt(len(samples) / count))
    low, high, best = 0.0, np.inf, 0.0
    level = np.round(2 * np.log2(np.maximum(size, 1e-30))).astype(np.int64)
    del size  # here and below: of millions, while others are made
    for _ in range(8):
        alive()
        found = len(np.unique(_cells(samples.positions, level, factor)))
        if found <= count:
            best = high = factor
            if found >= close * count:
                break
        else:
            low = factor
        guess = factor * float(np.sqrt(found / (0.5 * (1 + close) * count)))
        between = 2 * low if high == np.inf else 0.5 * (low + high)
        factor = guess if low < guess < high else between
    while not best:
        factor *= 1.2
        best = factor if len(np.unique(_cells(samples.positions, level, factor))) <= count else 0.0
    number = _numbered(_cells(samples.positions, level, best))
    del level
    return _averaged(samples, number)


def _numbered(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cells' numbers from 0 on, as ``np.unique`` gives them as inverse, in less memory."""
    order = np.argsort(cells)
    cells = cells[order]
    first = np.concatenate([[False], cells[1:] != cells[:-1]])
    del cells
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(first)
    return number


def _cells(positions: NDArray[np.float32], level: NDArray[np.int64], factor: float) -> NDArray[np.int64]:
    """A number for each position's cell, which is ``factor`` · 2^(level / 2) wide; levels don't mix."""
    width = factor * 2.0 ** (level / 2)
    mixed = level * 2654435761
    for axis, prime in enumerate((73856093, 19349663, 83492791)):
        place = np.floor(positions[:, axis] / width).astype(np.int64)
        mixed = (mixed ^ (place * prime)) * 6364136223846793005
        mixed ^= mixed >> 29
    return mixed


def _averaged(samples: Samples, cells: NDArray[np.int64]) -> Samples:
    """One sample a cell. Those seen better (closer by, away from edges) count more."""
    weight = samples.confidence.astype(np.float64) ** 2 / np.maximum(samples.footprint, 1e-12) ** 2
    total = np.bincount(cells, weight)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        columns = values.reshape(len(values), -1)
        sums = [np.bincount(cells, weight * columns[:, c]) / total for c in range(columns.shape[1])]
        return np.stack(sums, 1).reshape(-1, *values.shape[1:]).astype(np.float32)

    means = {name: mean(value) for name, value in vars(samples).items()}
    length = np.linalg.norm(means["normals"], axis=1, keepdims=True)
    finest = np.full(len(total), np.inf, np.float32)
    np.minimum.at(finest, cells, samples.footprint)
    return replace(Samples(**means), normals=means["normals"] / np.maximum(length, 1e-9), footprint=finest)


def confirmed(samples: Samples, taken: Sequence[Look], told: Told, stage: str, threads: int = 0) -> Samples:
    """The samples that the pictures agree on, with their share as confidence and the finest footprint."""
    stand = np.stack([look.camera.world_from_cam[:3, 3] for look in taken])
    apart = max(float(np.median(np.linalg.norm(stand - stand.mean(0), axis=1))), 1e-12)
    shown = np.zeros(len(samples), np.int32)
    through = np.zeros(len(samples), np.int32)
    finest = samples.footprint.copy()
    ranges = [_range(look) for look in taken]

    def check(part: slice) -> None:
        positions = samples.positions[part]
        for look, (nearest, farthest) in zip(taken, ranges, strict=True):
            index, u, v, z = projected(look, positions)
            near, far = nearest[v, u], farthest[v, u]
            focal = np.float32(look.camera.intrinsics.fx)
            slack = TOLERANCE + np.minimum(PARALLAX / (focal * apart) * z, 0.3)
            beyond = z >= near * (1 - slack)
            here = beyond & (z <= far * (1 + slack))
            shown[part][index[here]] += 1
            through[part][index[~beyond]] += 1
            footprint = finest[part]
            footprint[index[here]] = np.minimum(footprint[index[here]], z[here] / focal)

    in_chunks(len(samples), check, told, stage, threads)
    share = np.maximum(shown, 1) / np.maximum(shown + through, 1)
    sure = through <= DOUBTED * np.maximum(shown, 1)
    return chosen(replace(samples, confidence=share.astype(np.float32), footprint=finest), sure)


def projected(
    look: Look, positions: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Which positions (n, 3) lie within a picture: their indices, columns, rows and z, (m,) each."""
    k, pose = look.camera.intrinsics, look.camera.world_from_cam.astype(np.float32)
    local = (positions - pose[:3, 3]) @ pose[:3, :3]
    z = local[:, 2]
    ahead = np.flatnonzero(z > 1e-9)
    local, z = local[ahead], z[ahead]
    u = np.floor(local[:, 0] / z * np.float32(k.fx) + np.float32(k.cx))
    v = np.floor(local[:, 1] / z * np.float32(k.fy) + np.float32(k.cy))
    inside = (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height)
    columns, rows = u[inside].astype(np.intp), v[inside].astype(np.intp)
    return ahead[inside], columns, rows, z[inside].astype(np.float32)


def _range(look: Look) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The least and greatest z (h, w) of a pixel and its neighbours; infinite for rays that hit nothing."""
    with loading():
        from scipy.ndimage import maximum_filter, minimum_filter

    z = np.where(look.accumulation > OPAQUE, look.z, np.float32(np.inf)).astype(np.float32)
    near: NDArray[np.float32] = minimum_filter(z, 3)
    far: NDArray[np.float32] = maximum_filter(z, 3)
    return near, far


def spaced(samples: Samples) -> Samples:
    """The samples with the radius of the disc that each stands for, from the distance to its neighbours."""
    with loading():
        from scipy.spatial import cKDTree

    if len(samples) <= NEIGHBOURS:
        return samples
    distance, _ = cKDTree(samples.positions).query(samples.positions, NEIGHBOURS + 1, workers=-1)
    radius = distance[:, -1] / np.sqrt(NEIGHBOURS + 1)
    # A lone sample beside a gap does not stand for the gap.
    most = 3 * distance[:, 1 : NEIGHBOURS // 2 + 1].mean(1)
    return replace(samples, radius=np.minimum(radius, most).astype(np.float32))

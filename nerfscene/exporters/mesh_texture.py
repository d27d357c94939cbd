"""The field's colours on a mesh, as they look on average from where the photos see it.

A short ray through each texel, along the mean of the directions in which photos see it, is traced through the
field. It begins a little in front of the surface and gathers what a photo's ray would there, so that a
surface that lies a little off still gets the right colour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.exporters.mesh_depths import DepthPicture, ray_lengths, times
from nerfscene.exporters.mesh_fusion import Floats, Ints, Warp
from nerfscene.exporters.mesh_raster import raster
from nerfscene.exporters.mesh_unwrap import Atlas
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import MIN_WEIGHT, STOP_TRANSMITTANCE, Renderer, brighten, dimmed
from nerfscene.ops import backend

TEXELS_AT_ONCE = 1 << 19
BEFORE = 3.0  # cells in front of the surface at which a ray begins
BEYOND = 4.0  # cells behind it that a ray may reach for its colour to count
OPAQUE = 0.5  # least accumulation of a ray whose colour counts
HIDES = 3.0  # cells by which a depth may fall short of a point that it shows
LEAST_COSINE = 0.15
COARSENESS = 3.0  # of a ray's steps, which would otherwise be as short as right before a camera


def seen_from(
    pictures: Sequence[DepthPicture], vertices: Floats, normals: Floats, warp: Warp, told: Told
) -> tuple[Floats, Floats]:
    """From where vertices are seen: mean unit directions towards them (n, 3), and the finest pixel there.

    The second (n,) is in pixels a world unit; 0 where no picture shows the vertex, whose direction is then
    straight onto the surface.
    """
    toward = np.zeros((len(vertices), 3), np.float32)
    finest = np.zeros(len(vertices), np.float32)
    sides = warp.sides(vertices)
    for i, picture in enumerate(pictures):
        told.progress("finding what each photo shows", i / len(pictures))
        k, pose = picture.camera.intrinsics, picture.camera.world_from_cam.astype(np.float32)
        cam = times(vertices - pose[:3, 3], pose[:3, :3])
        z = np.maximum(cam[:, 2], np.float32(1e-9))
        u, v = cam[:, 0] / z * k.fx + k.cx, cam[:, 1] / z * k.fy + k.cy
        shown = np.flatnonzero((cam[:, 2] > 0) & (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height))
        pixel = v[shown].astype(np.int64) * k.width + u[shown].astype(np.int64)
        distance = z[shown] * ray_lengths(k).ravel()[pixel]
        with np.errstate(invalid="ignore"):
            clear = picture.depth.ravel()[pixel] > distance - HIDES * sides[shown]
        shown, distance = shown[clear], distance[clear]
        along = (vertices[shown] - pose[:3, 3]) / distance[:, None]
        cosine = -(along * normals[shown]).sum(1)
        faces_it = cosine > LEAST_COSINE
        shown, distance, along, cosine = (a[faces_it] for a in (shown, distance, along, cosine))
        toward[shown] += along * (cosine**2 / distance**2)[:, None]
        finest[shown] = np.maximum(finest[shown], k.fx / distance * np.sqrt(cosine))
    length = np.linalg.norm(toward, axis=1, keepdims=True)
    unseen = length[:, 0] < 1e-12
    toward = np.where(unseen[:, None], -normals, toward / np.maximum(length, 1e-12))
    return toward.astype(np.float32), finest


def colours_at(
    renderer: Renderer, points: Floats, toward: Floats, warp: Warp, told: Told
) -> tuple[Floats, NDArray[np.bool_]]:
    """The field's colours (n, 3), 0…1, at world points seen along directions, and whether they count (n,)."""
    rgb, counts = np.zeros((len(points), 3), np.float32), np.zeros(len(points), bool)
    for i in range(0, len(points), TEXELS_AT_ONCE):
        told.progress("colouring", i / len(points))
        part = slice(i, i + TEXELS_AT_ONCE)
        rgb[part], counts[part] = _traced(renderer, points[part], toward[part], warp)
    return rgb, counts


def _traced(
    renderer: Renderer, points: Floats, toward: Floats, warp: Warp
) -> tuple[Floats, NDArray[np.bool_]]:
    """``colours_at`` for as many points as are traced at once."""
    m = renderer.scene_from_world
    scale = np.float32(similarity_scale(m))
    rotation = (m[:3, :3] / scale).astype(np.float32)
    side = warp.sides(points) * scale
    near = np.float32(renderer.field.space.near)
    directions = times(toward, rotation.T)
    at = times(points, m[:3, :3].T.astype(np.float32)) + m[:3, 3].astype(np.float32)
    origins = np.ascontiguousarray(at - directions * (near + BEFORE * side)[:, None])
    n, coarseness = len(points), COARSENESS if renderer.field.space.cone > 0 else 1.0
    rgb, depth, accumulation = np.empty((n, 3), np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    back = np.tile(np.asarray(renderer.background, np.float32), (n, 1))
    with backend.device_errors():
        renderer.native.trace(
            origins, directions, np.full(n, 0.5, np.float32), dimmed(renderer, back), MIN_WEIGHT,
            STOP_TRANSMITTANCE, coarseness, rgb, depth, accumulation,
            threads=backend.thread_count(renderer.threads),
        )  # fmt: skip
    brighten(renderer, rgb)
    rgb -= back * (1 - accumulation)[:, None]
    rgb /= np.maximum(accumulation, np.float32(1e-6))[:, None]
    counts = (accumulation > OPAQUE) & (depth < near + (BEFORE + BEYOND) * side)
    return np.clip(rgb, 0, 1), counts


def baked(renderer: Renderer, atlas: Atlas, toward: Floats, warp: Warp, told: Told) -> NDArray[np.uint8]:
    """The texture (side, side, 3) of an atlas; toward: see ``seen_from``, for the atlas's vertices."""
    told.progress("laying out the texture", 0.0)
    side = atlas.side
    texel, face, weights = raster(atlas.texels[atlas.faces], side)
    first = np.zeros(side * side, np.int32)
    first[texel] = np.arange(len(texel), dtype=np.int32)
    once = first[texel] == np.arange(len(texel))
    texel, face, weights = texel[once], face[once], weights[once]
    picture, known = np.zeros((side * side, 3), np.uint8), np.zeros(side * side, bool)
    for i in range(0, len(texel), TEXELS_AT_ONCE):
        told.progress("baking the texture", i / len(texel))
        part = slice(i, i + TEXELS_AT_ONCE)
        corner, w = atlas.faces[face[part]], weights[part]
        points = sum(atlas.vertices[corner[:, j]] * w[:, j, None] for j in range(3))
        along = sum(toward[corner[:, j]] * w[:, j, None] for j in range(3))
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        rgb, counts = _traced(renderer, points, along, warp)
        at = texel[part][counts]
        picture[at] = np.round(rgb[counts] * 255).astype(np.uint8)
        known[at] = True
    return filled(picture.reshape(side, side, 3), known.reshape(side, side))


def filled(picture: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture with unknown pixels given colours near them: first the next pixel's, then coarser means."""
    out = _spread(picture, known)
    if known.all() or min(known.shape) < 2 or not known.any():
        return out
    h, w = known.shape[0] // 2 * 2, known.shape[1] // 2 * 2
    share = known[:h, :w].reshape(h // 2, 2, w // 2, 2)
    count = share.sum((1, 3), dtype=np.float32)
    total = np.stack(
        [(out[:h, :w, c].reshape(share.shape) * share).sum((1, 3), dtype=np.float32) for c in range(3)], -1
    )
    half = np.round(total / np.maximum(count, 1)[..., None]).astype(np.uint8)
    coarse = filled(half, count > 0)
    rows = np.minimum(np.arange(known.shape[0]) // 2, coarse.shape[0] - 1)
    columns = np.minimum(np.arange(known.shape[1]) // 2, coarse.shape[1] - 1)
    missing = ~known
    for c in range(3):
        out[..., c][missing] = coarse[..., c][rows[:, None], columns[None, :]][missing]
    return out


def _spread(picture: NDArray[np.uint8], known: NDArray[np.bool_], rounds: int = 3) -> NDArray[np.uint8]:
    """Gives unknown pixels the colour of a known one beside them; changes ``known`` to tell which now are."""
    out = picture.copy()
    for _ in range(rounds):
        before = known.copy()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            to = [slice(None), slice(None)]
            of = [slice(None), slice(None)]
            to[axis], of[axis] = (
                (slice(1, None), slice(None, -1)) if step > 0 else (slice(None, -1), slice(1, None))
            )
            new = before[tuple(of)] & ~known[tuple(to)]
            out[tuple(to)][new] = out[tuple(of)][new]
            known[tuple(to)] |= new
    return out


def mean_density(finest: Floats, faces: Ints) -> Floats:
    """Texels a world unit (m,) that faces are worth: as many as the photos have pixels, or a few."""
    seen = finest[faces].max(1)
    typical = float(np.median(seen[seen > 0])) if (seen > 0).any() else 1.0
    density: Floats = np.where(seen > 0, np.clip(seen, typical / 8, typical * 4), typical / 8)
    return density.astype(np.float32)

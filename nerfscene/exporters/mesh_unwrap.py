"""Unwraps a mesh for a texture: into charts that each face one way, which are laid flat and packed.

Much faster than an unwrapping that looks for the best parametrisation: a chart is projected along its mean
normal, which distorts little as long as its faces stay near to that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from nerfscene.errors import NerfsceneError
from nerfscene.exporters.mesh_fusion import Floats, Ints
from nerfscene.exporters.mesh_raster import raster
from nerfscene.exporters.mesh_surface import face_normals, vertex_normals

ROUNDS = 12  # in which faces take over their neighbours' directions
AGREEMENT = 0.35  # what each neighbour that faces the same way is worth, against the cosine to it
LEAST_COSINE = 0.25  # between a face and the direction that its chart faces
GUTTERS = (3, 1, 0)  # texels around each chart; the fewer only if the charts don't fit otherwise
SMALL_CHART = 12  # faces, below which a chart joins a neighbour that its faces can face
TURNS = 24  # of a chart within a quarter turn, of which the narrowest is taken
PROBE = 2048  # texels along the side of the atlas in which charts are searched for overlaps
OVERLAP = 0.2  # of a face's texels there that another may cover


@dataclass(frozen=True)
class Atlas:
    """Where each corner of each face lies in a square texture.

    vertices (n, 3), faces (m, 3): the mesh, with vertices repeated along the charts' borders
    origin (n,): for each vertex, which of the given mesh it is
    texels (n, 2): column and row, 0…side, from the texture's upper left corner
    side: texels
    charts: their number
    """

    vertices: Floats
    faces: Ints
    origin: Ints
    texels: Floats
    side: int
    charts: int


def unwrapped(vertices: Floats, faces: Ints, density: Floats, side: int) -> Atlas:
    """Charts packed into a texture of ``side`` texels.

    density (m,): how many texels a unit of length of each face is worth, up to a common factor.
    Raises NerfsceneError if the texture is too small for the charts.
    """
    beside = adjacent(faces)
    normal, area = face_normals(vertices, faces)
    facing = _facing(vertices, faces, beside)
    chart = _without_small(_parts(_grown(facing, beside), beside), facing, beside)
    chart = _parts(_split_turned(chart, normal, area, facing), beside)
    for _ in range(2):
        flat = _flattened(vertices, faces, chart, normal, area, density)
        lost = _overlapping(flat, chart)
        if not lost.any():
            break
        chart = _parts(np.where(lost, chart.max() + 1 + chart, chart), beside)
    return _packed(vertices, faces, chart, _flattened(vertices, faces, chart, normal, area, density), side)


def adjacent(faces: Ints) -> Ints:
    """Pairs (k, 2) of faces that share an edge; of three or more at an edge, each with the next."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    key = edges[:, 0] * (faces.max() + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    pairs = np.stack([order[:-1][same], order[1:][same]], 1) % len(faces)
    return pairs.astype(np.int64)


def directions() -> Floats:
    """Unit vectors (18, 3) towards a cube's faces and edges."""
    grid = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    some = grid[(np.abs(grid).sum(1) >= 1) & (np.abs(grid).sum(1) <= 2)].astype(np.float32)
    return some / np.linalg.norm(some, axis=1, keepdims=True)


def _facing(vertices: Floats, faces: Ints, beside: Ints) -> Floats:
    """Cosines (m, 18) of the faces' normals, a little evened out, to the directions."""
    normal, _ = face_normals(vertices, faces)
    smooth = vertex_normals(vertices, faces)[faces].mean(1) + normal
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-12)
    cosine = smooth @ directions().T
    cosine[(normal @ directions().T) < LEAST_COSINE] -= 2  # where a face would lie on its edge or turned over
    return cosine


def _grown(facing: Floats, beside: Ints) -> Ints:
    """A direction (m,) for each face, mostly its neighbours'."""
    m, n = facing.shape
    rows, columns = np.concatenate([beside[:, 0], beside[:, 1]]), np.concatenate([beside[:, 1], beside[:, 0]])
    links = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (m, m))
    label = facing.argmax(1)
    for _ in range(ROUNDS):
        one = np.zeros((m, n), np.float32)
        one[np.arange(m), label] = 1
        new = (facing + np.float32(AGREEMENT) * (links @ one)).argmax(1)
        if (new == label).all():
            break
        label = new
    return label


def _parts(label: Ints, beside: Ints) -> Ints:
    """Numbers (m,) of the connected pieces of faces with the same label."""
    same = beside[label[beside[:, 0]] == label[beside[:, 1]]]
    m = len(label)
    links = sparse.coo_matrix((np.ones(len(same), bool), (same[:, 0], same[:, 1])), (m, m))
    return connected_components(links, directed=False)[1].astype(np.int64)


def _without_small(chart: Ints, facing: Floats, beside: Ints) -> Ints:
    """Charts of few faces given to the neighbour of most faces, where every face lies well in that."""
    chart = chart.copy()
    for _ in range(4):
        count = np.bincount(chart)
        # A chart's direction: that in which its worst face lies best.
        label = np.zeros(len(count), np.int64)
        total = np.zeros((len(count), facing.shape[1]), np.float32)
        for d in range(facing.shape[1]):
            total[:, d] = np.bincount(chart, facing[:, d], len(count))
        label = total.argmax(1)
        ends = np.concatenate([beside, beside[:, ::-1]])
        small = ends[(count[chart[ends[:, 0]]] < SMALL_CHART) & (chart[ends[:, 0]] != chart[ends[:, 1]])]
        into = chart[small[:, 1]]
        fits = facing[small[:, 0], label[into]] > LEAST_COSINE
        larger = count[into] > count[chart[small[:, 0]]]
        small, into = small[fits & larger], into[fits & larger]
        if not len(small):
            break
        order = np.argsort(count[into], kind="stable")
        chart[small[order, 0]] = into[order]
        chart = _parts(chart, beside)
    return chart


def _mean_normals(chart: Ints, normal: Floats, area: Floats) -> Floats:
    """Unit vectors (charts, 3)."""
    mean = np.stack([np.bincount(chart, normal[:, i] * area) for i in range(3)], 1)
    unit: Floats = (mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-30)).astype(np.float32)
    return unit


def _split_turned(chart: Ints, normal: Floats, area: Floats, facing: Floats) -> Ints:
    """Faces that would lie on edge or turned over in their chart, given labels of their own direction."""
    for _ in range(3):
        cosine = (normal * _mean_normals(chart, normal, area)[chart]).sum(1)
        bad = cosine < 0.15
        if not bad.any():
            break
        chart = chart.copy()
        chart[bad] = chart.max() + 1 + np.arange(np.count_nonzero(bad))
    return chart


@dataclass(frozen=True)
class _Flat:
    """Charts laid flat: corners (m, 3, 2) from each chart's lower corner, sizes (charts, 2), at least 0."""

    corners: Floats
    sizes: Floats


def _flattened(
    vertices: Floats, faces: Ints, chart: Ints, normal: Floats, area: Floats, density: Floats
) -> _Flat:
    """Every chart seen along its mean normal, at its faces' mean density, turned to be narrow, then wide."""
    mean = _mean_normals(chart, normal, area)
    helper = np.where(
        np.abs(mean[:, 2:]) < 0.9, np.array([0, 0, 1], np.float32), np.array([0, 1, 0], np.float32)
    )
    u = np.cross(helper, mean)
    u /= np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-30)
    v = np.cross(mean, u)
    weighed = np.maximum(np.bincount(chart, area), 1e-30)
    scale = (np.bincount(chart, area * density) / weighed).astype(np.float32)
    p = vertices[faces]
    at = np.stack([np.einsum("mkc,mc->mk", p, w[chart]) for w in (u, v)], -1) * scale[chart][:, None, None]
    order = np.argsort(chart, kind="stable")
    begin = np.flatnonzero(np.r_[True, np.diff(chart[order]) > 0])
    best, turn = None, np.zeros(len(begin))
    for angle in np.arange(TURNS) / TURNS * np.pi / 2:
        c, s = np.cos(angle), np.sin(angle)
        size = np.stack([_extent(at @ np.array(w, np.float32), order, begin) for w in ((c, s), (-s, c))], 1)
        across = size.prod(1)
        better = np.ones(len(begin), bool) if best is None else across < 0.999 * best
        best = across if best is None else np.where(better, across, best)
        turn[better] = angle
    c, s = np.cos(turn)[chart][:, None], np.sin(turn)[chart][:, None]
    at = np.stack([c * at[..., 0] + s * at[..., 1], -s * at[..., 0] + c * at[..., 1]], -1)
    low = np.minimum.reduceat(at.min(1)[order], begin)
    size = np.maximum.reduceat(at.max(1)[order], begin) - low
    at -= low[chart][:, None]
    upright = size[:, 1] > size[:, 0]  # these are turned by a quarter
    turned = np.stack([at[..., 1], size[chart, 0][:, None] - at[..., 0]], -1)
    at = np.where(upright[chart][:, None, None], turned, at)
    return _Flat(at.astype(np.float32), np.where(upright[:, None], size[:, ::-1], size).astype(np.float32))


def _extent(values: Floats, order: Ints, begin: Ints) -> Floats:
    """The range (charts,) of faces' corner values (m, 3) in each chart."""
    extent: Floats = np.maximum.reduceat(values.max(1)[order], begin) - np.minimum.reduceat(
        values.min(1)[order], begin
    )
    return extent


def _places(sizes: Floats, scale: float, side: int, gutter: int) -> Ints | None:
    """Lower corners (charts, 2) of the charts, packed in rows at this scale; None if they don't fit."""
    width, height = (np.ceil(sizes * scale).astype(np.int64) + 2 * gutter + 1).T
    if width.max() > side:
        return None
    place = np.empty((len(sizes), 2), np.int64)
    x = y = row = 0
    order = np.lexsort((-width, -height))
    for i, w, h in zip(order.tolist(), width[order].tolist(), height[order].tolist(), strict=True):
        if x + w > side:
            x, y, row = 0, y + row, 0
        if y + h > side:
            return None
        place[i] = x, y
        x, row = x + w, max(row, h)
    return place


def _fitted(sizes: Floats, side: int) -> tuple[float, Ints, int]:
    """The largest scale, to half a percent, at which the charts fit, their places, and their gutter.

    Raises NerfsceneError if there are too many for the texture.
    """
    high = side / np.sqrt(max(float(sizes.prod(1).sum()), 1e-30))
    for gutter in GUTTERS:
        low, best, tried = 0.0, None, high
        top = high
        while top - low > 0.005 * max(low, 1e-3 * high):
            found = _places(sizes, tried, side, gutter)
            low, top = (tried, top) if found is not None else (low, tried)
            best = found if found is not None else best
            tried = (low + top) / 2
        if best is not None:
            return low, best, gutter
    raise NerfsceneError(
        f"a texture of {side} pixels is too small for the mesh's {len(sizes)} parts; choose a larger "
        "--texture, fewer --faces, or --texture 0 for colours at the vertices"
    )


def _overlapping(flat: _Flat, chart: Ints) -> NDArray[np.bool_]:
    """Faces (m,) that others of their chart cover."""
    scale, place, gutter = _fitted(flat.sizes, PROBE)
    at = flat.corners * np.float32(scale) + (place + gutter)[chart][:, None]
    texel, face, _ = raster(at.astype(np.float32), PROBE)
    owner = np.full(PROBE * PROBE, -1, np.int64)
    owner[texel] = face
    has = np.bincount(face, minlength=len(chart))
    kept = np.bincount(face[owner[texel] == face], minlength=len(chart))
    return (has >= 2) & (kept < (1 - OVERLAP) * has)


def _packed(vertices: Floats, faces: Ints, chart: Ints, flat: _Flat, side: int) -> Atlas:
    """The charts at their places, and the mesh with a vertex for each chart that meets there."""
    scale, place, gutter = _fitted(flat.sizes, side)
    at = flat.corners * np.float32(scale) + (place + gutter)[chart][:, None] + np.float32(0.5)
    key = (chart[:, None] * (len(vertices) + 1) + faces).ravel()
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    origin = faces.ravel()[first]
    return Atlas(
        vertices[origin],
        number.reshape(-1, 3).astype(np.int64),
        origin,
        at.reshape(-1, 2)[first].astype(np.float32),
        side,
        int(chart.max()) + 1,
    )

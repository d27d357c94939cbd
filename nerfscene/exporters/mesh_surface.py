"""The surface in a volume of distances: cut out, freed of loose pieces, closed, smoothed and simplified."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from nerfscene.exporters.mesh_fusion import BLOCK, Floats, Ints, Volume

TAUBIN = (0.5, -0.53)  # steps towards and away from neighbours' means, of which a round consists
FLATTER = (0.7, -0.35)  # of the surroundings, which are seen from afar and lumpy
FACES_OF_A_PIECE = 0.0002  # of all faces, that a loose piece needs to stay
SEEN_OF_A_PIECE = 0.15  # of the surface's usual weight, that it needs as well
LARGE_PIECE = 0.02  # of all faces, from which on a piece stays however little it was seen
STUCK = 0.9  # of its faces that simplifying a surface leaves where it gets no further


@dataclass(frozen=True)
class Surface:
    """Triangles. vertices (n, 3) float32, faces (m, 3), counter-clockwise seen from outside."""

    vertices: Floats
    faces: Ints


def cut(volume: Volume, least_weight: float) -> Surface:
    """The surface where the distance is 0, in cells' coordinates.

    A vertex lies in each cell that the surface passes through, at the mean of where it crosses the cell's
    edges, and a quadrilateral across each such edge (Gibson, "Constrained elastic surface nets", 1998).
    Cells with a corner of less than ``least_weight`` have no surface.
    """
    blocks, n = volume.blocks, volume.warp.blocks
    where = np.full((n, n, n), -1, np.int32)
    where[tuple(blocks.T)] = np.arange(len(blocks))
    distance = _with_next(volume.distance, blocks, where, np.nan)
    weight = _with_next(volume.weight, blocks, where, 0.0)
    inside = distance < 0
    known = weight >= least_weight
    signs, valid = np.zeros((len(blocks), BLOCK, BLOCK, BLOCK), np.uint8), None
    for dx in (0, 1):
        for dy in (0, 1):
            for dz in (0, 1):
                at = _shifted(dx, dy, dz)
                signs += inside[at]
                valid = known[at] if valid is None else valid & known[at]
    assert valid is not None
    cell = valid & (signs > 0) & (signs < 8)
    del signs, valid
    number = np.full(cell.shape, -1, np.int32)
    number[cell] = np.arange(np.count_nonzero(cell))
    vertices = _vertices(distance, cell, blocks)
    faces = _faces(inside, number, blocks, where)
    return compacted(vertices, faces)


def _shifted(dx: int, dy: int, dz: int) -> tuple[slice, ...]:
    """The corners of all cells that lie (dx, dy, dz) from their first, in arrays of ``_with_next``."""
    return (slice(None), *(slice(d, d + BLOCK) for d in (dx, dy, dz)))


def _with_next(values: Floats, blocks: Ints, where: NDArray[np.int32], missing: float) -> Floats:
    """Blocks (n, 9, 9, 9): with the first layers of the next blocks along each axis."""
    out = np.full((len(blocks), *(BLOCK + 1,) * 3), missing, np.float32)
    out[:, :BLOCK, :BLOCK, :BLOCK] = values
    for dx in (0, 1):
        for dy in (0, 1):
            for dz in (0, 1):
                if dx + dy + dz == 0:
                    continue
                beside = where[tuple((blocks + np.array([dx, dy, dz])).T)]
                there = beside >= 0
                to = tuple(slice(BLOCK, None) if d else slice(0, BLOCK) for d in (dx, dy, dz))
                of = tuple(slice(0, 1) if d else slice(None) for d in (dx, dy, dz))
                out[(there, *to)] = values[(beside[there], *of)]
    return out


def _vertices(distance: Floats, cell: NDArray[np.bool_], blocks: Ints) -> Floats:
    """Where the surface crosses the edges of each cell, on average (n, 3), in cells' coordinates."""
    block, x, y, z = np.nonzero(cell)
    total, count = np.zeros((len(block), 3), np.float32), np.zeros(len(block), np.float32)
    corner = {(a, b, c): distance[block, x + a, y + b, z + c] for a in (0, 1) for b in (0, 1) for c in (0, 1)}
    for first, one in corner.items():
        for axis in range(3):
            if first[axis]:
                continue
            x1, y1, z1 = (1 if i == axis else f for i, f in enumerate(first))
            other = corner[x1, y1, z1]
            crossed = (one < 0) != (other < 0)
            t = np.divide(one, one - other, out=np.zeros_like(one), where=crossed)
            total += np.where(crossed[:, None], np.array(first, np.float32), 0)
            total[:, axis] += np.where(crossed, t, 0)
            count += crossed
    vertices: Floats = total / count[:, None] + blocks[block] * BLOCK + np.stack([x, y, z], 1)
    return vertices.astype(np.float32)


def _faces(
    inside: NDArray[np.bool_], number: NDArray[np.int32], blocks: Ints, where: NDArray[np.int32]
) -> Ints:
    """Two triangles across each edge of the grid that the surface crosses amid four cells with vertices."""
    flat = number.ravel()
    found = []
    for axis in range(3):
        step = [0, 0, 0]
        step[axis] = 1
        here, there = inside[_shifted(0, 0, 0)], inside[_shifted(*step)]
        block, x, y, z = np.nonzero(here != there)
        leaves = here[block, x, y, z]  # whether the surface faces along the axis
        at = blocks[block] * BLOCK + np.stack([x, y, z], 1)
        u, v = np.eye(3, dtype=np.int64)[(axis + 1) % 3], np.eye(3, dtype=np.int64)[(axis + 2) % 3]
        around = []
        for back in (u + v, v, np.zeros(3, np.int64), u):
            c = at - back
            of = where[tuple((c // BLOCK).T)]
            i, j, k = (c % BLOCK).T
            vertex = flat[((of.astype(np.int64) * BLOCK + i) * BLOCK + j) * BLOCK + k]
            around.append(np.where(of >= 0, vertex, -1))
        quad = np.stack(around, 1)
        whole = (quad >= 0).all(1)
        quad, leaves = quad[whole], leaves[whole]
        quad[~leaves] = quad[~leaves, ::-1]
        found += [quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]
    return np.concatenate(found).astype(np.int64)


def compacted(vertices: Floats, faces: Ints) -> Surface:
    """The faces with only the vertices that they use."""
    used = np.zeros(len(vertices), bool)
    used[faces.ravel()] = True
    number = np.cumsum(used) - 1
    return Surface(vertices[used], number[faces])


def weights_at(volume: Volume, cells: Floats) -> Floats:
    """The volume's weights (n,) at points (n, 3) in cells' coordinates; 0 where it has no block."""
    n = volume.warp.blocks
    where = np.full((n, n, n), -1, np.int32)
    where[tuple(volume.blocks.T)] = np.arange(len(volume.blocks))
    at = np.floor(cells).astype(np.int64)
    block = where[tuple((at // BLOCK).T)]
    weights: Floats = np.where(block >= 0, volume.weight[(block, *(at % BLOCK).T)], 0)
    return weights


def without_loose(surface: Surface, weights: Floats | None = None) -> Surface:
    """The surface without connected pieces that are small or little seen; the largest always stays.

    weights: of the vertices (n,), how well they were seen; None: only size counts. What hovers in the air is
    seen by a few photos; an apple that touches nothing but a bowl's rim is seen by as many as the bowl.
    """
    if not len(surface.faces):
        return surface
    n = len(surface.vertices)
    f = surface.faces
    links = sparse.coo_matrix(
        (np.ones(2 * len(f), bool), (f[:, [0, 1]].T.ravel(), f[:, [1, 2]].T.ravel())), (n, n)
    )
    of_vertex = connected_components(links, directed=False)[1]
    piece = of_vertex[f[:, 0]]
    counts = np.bincount(piece, minlength=of_vertex.max() + 1)
    stays = counts >= FACES_OF_A_PIECE * len(f)
    if weights is not None:
        seen = np.bincount(of_vertex, weights) / np.bincount(of_vertex)
        stays &= (seen >= SEEN_OF_A_PIECE * np.median(weights)) | (counts >= LARGE_PIECE * len(f))
    stays |= counts == counts.max()
    return compacted(surface.vertices, f[stays[piece]])


def smoothed(surface: Surface, rounds: int, far: NDArray[np.bool_], far_rounds: int) -> Surface:
    """Taubin's smoothing, which doesn't shrink ("A signal processing approach to fair surface design", 1995).

    rounds: for all vertices; far_rounds: further ones for those where ``far`` (n,) is set.
    """
    average = _averaging(surface)
    v = surface.vertices.copy()
    for _ in range(rounds):
        for factor in TAUBIN:
            v += np.float32(factor) * (average @ v - v)
    some = np.flatnonzero(far)
    average = average[some]
    for _ in range(far_rounds if len(some) else 0):
        for factor in FLATTER:
            v[some] += np.float32(factor) * (average @ v - v[some])
    return Surface(v.astype(np.float32), surface.faces)


def _averaging(surface: Surface) -> Any:
    """The sparse matrix (n, n) to the means of vertices' neighbours; on a border, of those along it."""
    n = len(surface.vertices)
    f = surface.faces
    a, b = f[:, [0, 1, 2]].ravel(), f[:, [1, 2, 0]].ravel()
    links = sparse.coo_matrix((np.ones(len(a), np.float32), (a, b)), (n, n)).tocsr()
    both = links + links.T
    edge = both.copy()
    edge.data = (both.data < 1.5).astype(np.float32)  # edges that one face has
    edge.eliminate_zeros()
    on_border = np.asarray(edge.sum(1)).ravel() > 0
    both.data[:] = 1
    kept = sparse.diags((~on_border).astype(np.float32)) @ both + edge
    count = np.asarray(kept.sum(1)).ravel()
    return sparse.diags(1 / np.maximum(count, 1)).astype(np.float32) @ kept


def simplified(surface: Surface, faces: int) -> Surface:
    """The surface with at most this many faces, by collapsing edges (Garland and Heckbert, "Surface
    simplification using quadric error metrics", 1997), and where that gets no further by merging the
    ends of short ones.
    """
    import fast_simplification

    while len(surface.faces) > faces:
        before = len(surface.faces)
        # It gives up after a number of passes, often before the number asked for: ragged borders hinder it.
        v, f = fast_simplification.simplify(
            surface.vertices, surface.faces.astype(np.int32), target_count=faces, agg=7
        )
        surface = compacted(v.astype(np.float32), _not_flat(f.astype(np.int64)))
        if len(surface.faces) > max(faces, STUCK * before):
            surface = _merged(surface, faces)
    return surface


def _not_flat(faces: Ints) -> Ints:
    """The faces that have three different corners."""
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (c != a)]


def _merged(surface: Surface, least: int) -> Surface:
    """The surface with clearly fewer faces, hardly fewer than ``least``: its shortest edges become points.

    Of the edges that meet at a vertex only the shortest may go at once, so that no vertex moves far.
    """
    v, f = surface.vertices.copy(), surface.faces
    goal = max(least, STUCK * len(f))
    while len(f) > goal:
        edges = np.unique(np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), 1), axis=0)
        edges = edges[np.argsort(np.linalg.norm(v[edges[:, 0]] - v[edges[:, 1]], axis=1), kind="stable")]
        first = np.full(len(v), len(edges))
        np.minimum.at(first, edges.ravel(), np.repeat(np.arange(len(edges)), 2))
        alone = (first[edges] == np.arange(len(edges))[:, None]).all(1)
        gone = edges[alone][: math.ceil((len(f) - goal) / 2)]  # each takes one face or two with it
        v[gone[:, 0]] = (v[gone[:, 0]] + v[gone[:, 1]]) / 2
        into = np.arange(len(v))
        into[gone[:, 1]] = gone[:, 0]
        f = _not_flat(into[f])
        f = f[np.unique(np.sort(f, 1), axis=0, return_index=True)[1]]
    return compacted(v, f)


def face_normals(vertices: Floats, faces: Ints) -> tuple[Floats, Floats]:
    """Unit normals (m, 3) and areas (m,)."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    size = np.linalg.norm(across, axis=1)
    return (across / np.maximum(size, 1e-30)[:, None]).astype(np.float32), (size / 2).astype(np.float32)


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Unit normals (n, 3), outward: the faces' around a vertex, by area."""
    normal, area = face_normals(vertices, faces)
    total = np.zeros((len(vertices), 3), np.float32)
    for i in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(faces[:, i], normal[:, axis] * area, len(vertices)).astype(
                np.float32
            )
    size = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(size > 1e-20, total / np.maximum(size, 1e-20), np.array([0, 0, 1], np.float32)).astype(
        np.float32
    )


def border_loops(faces: Ints) -> list[list[int]]:
    """The closed borders as lists of vertices, along the faces' own direction."""
    a, b = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    n = int(faces.max()) + 1
    links = sparse.csr_matrix((np.ones(len(a), np.int32), (a, b)), (n, n))
    alone = (links - links.T).tocoo()  # what is left are edges of one face
    following: dict[int, list[int]] = {}
    once = alone.data > 0
    for start, end in zip(alone.row[once].tolist(), alone.col[once].tolist(), strict=True):
        following.setdefault(start, []).append(end)
    loops = []
    while following:
        start = next(iter(following))
        path, place = [start], {start: 0}
        while True:
            ends = following.get(path[-1])
            if not ends:
                break  # a border that ends where faces meet the wrong way round
            end = ends.pop()
            if not ends:
                del following[path[-1]]
            if end in place:  # a loop is closed, perhaps a part of the path
                first = place[end]
                loops.append(path[first:])
                for v in path[first + 1 :]:
                    del place[v]
                del path[first + 1 :]
                if first == 0 and path[0] not in following:
                    break
                continue
            place[end] = len(path)
            path.append(end)
    return loops


def closed(surface: Surface, widest: float) -> tuple[Surface, int]:
    """The surface with holes of at most this width closed by fans, and how many were."""
    if widest <= 0 or not len(surface.faces):
        return surface, 0
    vertices, faces = [surface.vertices], [surface.faces]
    count, total = 0, len(surface.vertices)
    for loop in border_loops(surface.faces):
        ring = surface.vertices[loop]
        if len(loop) < 3 or float((ring.max(0) - ring.min(0)).max()) > widest:
            continue
        count += 1
        around = np.array(loop)
        if len(loop) == 3:
            faces.append(around[None, ::-1])
            continue
        vertices.append(ring.mean(0, keepdims=True))
        faces.append(np.stack([np.roll(around, -1), around, np.full(len(loop), total)], 1))
        total += 1
    return Surface(np.concatenate(vertices), np.concatenate(faces)), count


def clipped(surface: Surface, box_from_world: NDArray[np.float64]) -> Surface:
    """The part of a surface that a linear map (4, 4) takes into [-1, 1]³, cut along that box's sides."""
    vertices, faces = surface.vertices.astype(np.float64), surface.faces
    for axis in range(3):
        for sign in (-1.0, 1.0):
            m = box_from_world[axis]
            inside = 1 - sign * (vertices @ m[:3] + m[3])  # not negative inside
            vertices, faces = _cut_by(vertices, faces, inside)
    return compacted(vertices.astype(np.float32), faces)


def _cut_by(vertices: Any, faces: Ints, inside: Any) -> tuple[Any, Ints]:
    """The part of triangles where a linear function, given at the vertices (n,), is not negative."""
    kept = inside >= 0
    count = kept[faces].sum(1)
    whole, one, two = faces[count == 3], faces[count == 1], faces[count == 2]
    # Turned so that the one that differs from the other two comes first.
    one = np.take_along_axis(one, (kept[one].argmax(1)[:, None] + [0, 1, 2]) % 3, 1)
    two = np.take_along_axis(two, ((~kept[two]).argmax(1)[:, None] + [0, 1, 2]) % 3, 1)
    ends = np.concatenate([one[:, [0, 1]], one[:, [0, 2]], two[:, [0, 1]], two[:, [0, 2]]])
    if not len(ends):
        return vertices, whole
    edges, number = np.unique(np.sort(ends, 1), axis=0, return_inverse=True)
    a, b = edges.T
    t = (inside[a] / (inside[a] - inside[b]))[:, None]
    number = number.ravel() + len(vertices)
    vertices = np.concatenate([vertices, vertices[a] + t * (vertices[b] - vertices[a])])
    n1, n2 = len(one), len(two)
    ab, ac = number[:n1], number[n1 : 2 * n1]
    cut_b, cut_c = number[2 * n1 : 2 * n1 + n2], number[2 * n1 + n2 :]
    made = [
        np.stack([one[:, 0], ab, ac], 1),
        np.stack([cut_b, two[:, 1], two[:, 2]], 1),
        np.stack([cut_b, two[:, 2], cut_c], 1),
    ]
    return vertices, np.concatenate([whole, *made])

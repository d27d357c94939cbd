"""Meshes of the demo still life: surfaces of revolution, sheets and rings. Metres, +z is up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mesh:
    """vertices (n, 3), texture coordinates (n, 2), triangles (m, 3)."""

    vertices: Array
    uv: Array
    faces: NDArray[np.int64]


def lathe(profile: list[tuple[float, float]], around: int = 128, bumps: Array | None = None) -> Mesh:
    """A surface of revolution about z, smoothed, from a profile of (radius, height) points.

    ``bumps`` (96, around + 1) is added to the radius.
    """
    p = np.array(profile)
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))])
    t = np.linspace(0, s[-1], 96)
    r, z = np.interp(t, s, p[:, 0]), np.interp(t, s, p[:, 1])
    kernel = np.ones(5) / 5
    r[2:-2], z[2:-2] = np.convolve(r, kernel, "valid"), np.convolve(z, kernel, "valid")
    a = np.linspace(0, 2 * np.pi, around + 1)
    radius = np.repeat(r[:, None], around + 1, axis=1)
    if bumps is not None:
        radius = radius + bumps * np.minimum(r / 0.01, 1)[:, None]
    x, y = radius * np.cos(a), radius * np.sin(a)
    v = np.stack([x, y, np.repeat(z[:, None], around + 1, axis=1)], axis=-1).reshape(-1, 3)
    uv = np.stack(np.meshgrid(a / (2 * np.pi), t / s[-1]), axis=-1).reshape(-1, 2)
    return Mesh(v, uv, grid_faces(len(t), around + 1))


def grid_faces(rows: int, columns: int) -> NDArray[np.int64]:
    """Two triangles for each cell of a grid of vertices, which are numbered row by row."""
    i = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, 1:].ravel(), i[1:, :-1].ravel()
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def sheet(width: float, height: float, wave: Array | None = None, n: int = 65) -> Mesh:
    """A rectangle in the xy plane around the origin, optionally raised by ``wave`` (n, n)."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, n), np.linspace(-0.5, 0.5, n))
    z = np.zeros_like(x) if wave is None else wave
    v = np.stack([x * width, y * height, z], axis=-1).reshape(-1, 3)
    return Mesh(v, np.stack([x + 0.5, y + 0.5], axis=-1).reshape(-1, 2), grid_faces(n, n))


def ring(major: float, minor: float, begin: float, end: float) -> Mesh:
    """Part of a torus in the xz plane, used as a handle; angles in radians."""
    a, b = np.meshgrid(np.linspace(begin, end, 48), np.linspace(0, 2 * np.pi, 25), indexing="ij")
    r = major + minor * np.cos(b)
    v = np.stack([r * np.cos(a), minor * np.sin(b), r * np.sin(a)], axis=-1).reshape(-1, 3)
    uv = np.stack([a / 6.3, b / 6.3], axis=-1).reshape(-1, 2)
    return Mesh(v, uv, grid_faces(48, 25))


def upright(width: float, height: float, at: tuple[float, float, float], turn: float) -> Mesh:
    """A rectangle that stands on its edge around ``at``, upright when seen from -y, then turned about z."""
    flat = sheet(width, height, n=2)
    v = np.stack([flat.vertices[:, 0], flat.vertices[:, 2], flat.vertices[:, 1]], axis=1)
    return place(Mesh(v, flat.uv, flat.faces), at, turn)


def sphere_profile(r: float, dimple: float = 0.0) -> list[tuple[float, float]]:
    """Profile for ``lathe``: a ball resting on z = 0; ``dimple`` pulls the poles in, as in an apple."""
    out = []
    for a in np.linspace(-np.pi / 2, np.pi / 2, 40):
        radius, height = r * math.cos(a), r * math.sin(a)
        pull = dimple * math.exp(-((radius / (0.35 * r)) ** 2))
        out.append((radius, r + height - math.copysign(pull, a)))
    return out


def place(
    m: Mesh, at: tuple[float, float, float], turn: float = 0.0, tilt: float = 0.0, scale: float = 1.0
) -> Mesh:
    """The mesh scaled, tilted about y, turned about z (degrees), and moved to ``at``, in this order."""
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    ct, st = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[ct, 0, st], [0, 1, 0], [-st, 0, ct]])
    return Mesh(scale * m.vertices @ rotation.T + np.array(at), m.uv, m.faces)


def write_ply(m: Mesh, file: Path) -> None:
    """Binary PLY with smooth normals and texture coordinates."""
    v, f = m.vertices, m.faces
    n = np.zeros_like(v)
    face = np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]])
    for k in range(3):
        np.add.at(n, f[:, k], face)
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)
    table = np.concatenate([v, n, m.uv], axis=1).astype("<f4")
    rows = np.zeros(len(f), dtype=[("n", "u1"), ("i", "<i4", 3)])
    rows["n"], rows["i"] = 3, f
    properties = "".join(f"property float {p}\n" for p in ("x", "y", "z", "nx", "ny", "nz", "u", "v"))
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(v)}\n{properties}"
        f"element face {len(f)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    file.write_bytes(header.encode() + table.tobytes() + rows.tobytes())

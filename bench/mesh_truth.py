"""The demo capture's geometry, from the script that made it, and how close meshes come to it.

Coordinates are the demo's: metres, +z up.
"""

from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nerfscene.types import Array, View

DATA = Path(__file__).parents[1] / "data"
TABLE = 1.5  # metres: the longer side of the table's top
POINTS = 400_000  # on a mesh
# The table's top and what stands on it, and everything in the room.
REGIONS = {
    "table": (np.array([-0.8, -0.55, 0.68]), np.array([0.8, 0.55, 1.5])),
    "room": (np.array([-2.7, -2.7, -0.1]), np.array([2.7, 2.7, 2.8])),
}


@dataclass(frozen=True)
class Closeness:
    """Of a mesh to the truth in a region.

    accuracy: the mean distance of the mesh's points to the truth, metres; completeness: of the truth's points
    to the mesh. More than 10 cm counts as 10 cm. precision, recall: the shares of either within 1 % of TABLE
    """

    accuracy: float
    completeness: float
    precision: float
    recall: float

    @property
    def f_score(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-9)


def demo_geometry() -> trimesh.Trimesh:
    """All surfaces of the demo still life as one mesh, without its textures."""
    made: list[Any] = []

    class Anything:
        """Stands in for Mitsuba and the textures, of which the geometry needs nothing."""

        def __call__(self, *_: Any, **__: Any) -> Any:
            return self

        def __getattr__(self, name: str) -> Any:
            return self

        def __mul__(self, other: Any) -> Any:
            return self

        __rmul__ = __mul__

        def __getitem__(self, key: Any) -> Any:
            return self

    before = {name: sys.modules.get(name) for name in ("mitsuba", "demo_textures")}
    textures = types.ModuleType("demo_textures")
    textures.__getattr__ = lambda name: (  # type: ignore[method-assign]
        np.float64 if name == "Texture" else (lambda *_, **__: np.ones((4, 4, 3)))
    )
    sys.modules["mitsuba"] = Anything()  # type: ignore[assignment]
    sys.modules["demo_textures"] = textures
    # The wool's random colours and the fruits' lumps come from the textures' noise; flat is near enough.
    textures.noise = lambda rng, h, w, *_: np.zeros((h, w))  # type: ignore[attr-defined]
    sys.path.insert(0, str(DATA))
    try:
        import demo_scene

        class Stage(demo_scene.Stage):  # type: ignore[misc, name-defined]
            def add(self, mesh: Any, *_: Any, **__: Any) -> None:
                made.append(mesh)

            def light(self, mesh: Any, radiance: Any) -> None:
                made.append(mesh)

        stage = Stage(Path())
        demo_scene.build_room(stage)
        demo_scene.build_table(stage)
        demo_scene.build_things(stage)
    finally:
        sys.path.remove(str(DATA))
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
    whole = trimesh.util.concatenate([trimesh.Trimesh(m.vertices, m.faces, process=False) for m in made])
    assert isinstance(whole, trimesh.Trimesh)
    return whole


def true_poses() -> dict[str, Array]:
    """world_from_cam (4, 4), OpenCV axes, by the photo's name."""
    frames = json.loads((DATA / "demo" / "transforms.json").read_text())["frames"]
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    return {Path(f["file_path"]).name: np.array(f["transform_matrix"]) @ flip for f in frames}


def truth_from(views: tuple[View, ...]) -> Array:
    """The similarity (4, 4) from views' world to the demo's, by their centres (Umeyama 1991)."""
    true = true_poses()
    a = np.stack([v.world_from_cam[:3, 3] for v in views])
    b = np.stack([true[v.path.name][:3, 3] for v in views])
    ma, mb = a.mean(0), b.mean(0)
    u, s, vt = np.linalg.svd((b - mb).T @ (a - ma) / len(a))
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    r = u @ sign @ vt
    scale = (s * np.diag(sign)).sum() / ((a - ma) ** 2).sum(1).mean()
    m = np.eye(4)
    m[:3, :3] = scale * r
    m[:3, 3] = mb - m[:3, :3] @ ma
    return m


def seen_points(truth: trimesh.Trimesh, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points (n, 3) of the truth that at least three of the demo's cameras see, evenly per area."""
    points, _ = trimesh.sample.sample_surface(truth, 2 * POINTS, seed=int(rng.integers(1 << 30)))
    lens = json.loads((DATA / "demo" / "transforms.json").read_text())
    count = np.zeros(len(points), int)
    for pose in true_poses().values():
        cam = (points - pose[:3, 3]) @ pose[:3, :3]
        z = np.maximum(cam[:, 2], 1e-9)
        u, v = (cam[:, i] / z * lens["fl_x"] + lens[c] for i, c in ((0, "cx"), (1, "cy")))
        some = np.flatnonzero((cam[:, 2] > 0) & (u > 0) & (u < lens["w"]) & (v > 0) & (v < lens["h"]))
        away = points[some] - pose[:3, 3]
        length = np.linalg.norm(away, axis=1)
        origins = np.broadcast_to(pose[:3, 3], away.shape)
        at, ray, _ = truth.ray.intersects_location(origins, away / length[:, None], multiple_hits=False)
        reached = np.full(len(some), np.inf)
        reached[ray] = np.linalg.norm(at - pose[:3, 3], axis=1)
        count[some[(reached > length - 0.002) & (reached < np.inf)]] += 1
    return points[count >= 3]


def dense_points(truth: trimesh.Trimesh, region: str) -> cKDTree:
    """Two million points of the truth in and around a region."""
    low, high = REGIONS[region]
    corners = truth.vertices[truth.faces]
    around = ((corners.max(1) > low - 0.1) & (corners.min(1) < high + 0.1)).all(1)
    return cKDTree(trimesh.sample.sample_surface(truth.submesh([around], append=True), 2_000_000, seed=2)[0])


def closeness(mesh: trimesh.Trimesh, dense: cKDTree, seen: Array, region: str) -> Closeness:
    """How close a mesh is to the truth within a region.

    dense: what ``dense_points`` returns for it; seen: what ``seen_points`` returns
    """
    low, high = REGIONS[region]

    def within(p: Array) -> Array:
        return p[((p > low) & (p < high)).all(1)]

    whole = trimesh.sample.sample_surface(mesh, 2 * POINTS, seed=1)[0]
    mine, theirs = within(whole), within(seen)
    if not len(mine):
        return Closeness(np.inf, np.inf, 0, 0)
    to_truth = dense.query(mine, distance_upper_bound=0.1)[0]
    to_mine = cKDTree(whole).query(theirs, distance_upper_bound=0.1)[0]
    limit = 0.01 * TABLE
    near = np.minimum(to_truth, 0.1), np.minimum(to_mine, 0.1)
    return Closeness(
        float(near[0].mean()),
        float(near[1].mean()),
        float((to_truth < limit).mean()),
        float((to_mine < limit).mean()),
    )

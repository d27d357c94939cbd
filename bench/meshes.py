"""How close exported meshes come to the demo's geometry, beside Open3D's from the same depths.

    python -m bench.meshes SCENE [--open3d PYTHON] [--keep FOLDER]

SCENE: trained on data/demo. PYTHON: of an environment with Open3D 0.19 (pip install open3d==0.19.0; the
integration of 0.20.0 takes in nothing), without which nerfscene alone is measured. Prints, for each mesh,
the seconds of computing it took, its faces, and how close it is; for nerfscene's also the PSNR of its texture
at the held-out photos. --keep: measure again without making them again.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from bench.mesh_pictures import picture
from bench.mesh_truth import (
    DATA,
    REGIONS,
    closeness,
    demo_geometry,
    dense_points,
    seen_points,
    truth_from,
)
from nerfscene.cameras.algebra import similarity_scale
from nerfscene.config import ExportConfig
from nerfscene.exporters.mesh import REACH, cells_for, mesh_from, turned_for, write_file
from nerfscene.exporters.mesh_depths import DepthPicture, chosen_views, depth_pictures, points_of, ray_lengths
from nerfscene.exporters.placement import placed
from nerfscene.exporters.told import Told
from nerfscene.films.export_world import Y_UP_FROM_Z_UP
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.types import Camera

POISSON_POINTS = 1_000_000  # as many as nerfstudio's export takes
POISSON_BOX = 1.0  # and from the subject's box alone, as it does: far ones would leave it few cells here


def for_open3d(pictures: list[DepthPicture], scene: Scene, file: Path) -> None:
    """The depths, their cameras, and points with normals of them, as arrays that Open3D's script reads."""
    depths, points, normals = [], [], []
    m = scene.scene_from_world
    for p in pictures:
        z = p.depth / ray_lengths(p.camera.intrinsics)
        depths.append(np.where(np.isfinite(z), z, 0).astype(np.float32))
        at = points_of(p)
        with np.errstate(invalid="ignore"):
            normal = np.cross(np.gradient(at, axis=1), np.gradient(at, axis=0))
            normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
            away = ((at - p.camera.world_from_cam[:3, 3]) * normal).sum(-1, keepdims=True) > 0
            normal = np.where(away, -normal, normal)
            inside = (np.abs(at @ m[:3, :3].T + m[:3, 3]) < POISSON_BOX).all(-1)
        kept = np.isfinite(normal).all(-1) & inside
        points.append(at[kept])
        normals.append(normal[kept])
    all_points, all_normals = np.concatenate(points).astype(float), np.concatenate(normals).astype(float)
    some = np.random.default_rng(0).permutation(len(all_points))[:POISSON_POINTS]
    lenses = [p.camera.intrinsics for p in pictures]
    side = 2 / similarity_scale(scene.scene_from_world)
    np.savez(
        file,
        depth=np.array(depths),
        lens=[(k.fx, k.fy, k.cx, k.cy) for k in lenses],
        poses=[p.camera.world_from_cam for p in pictures],
        voxel=side / cells_for(scene),
        reach=REACH * side / 2,
        points=all_points[some],
        normals=all_normals[some],
    )


def psnr(mesh: trimesh.Trimesh, scene: Scene) -> tuple[float, float]:
    """Mean PSNR, dB, at the held-out photos, over the pixels where there is a surface; and their share."""
    values, shares = [], []
    for view in scene.views:
        if view.split != "test":
            continue
        k = replace(view.intrinsics, distortion=(0.0,) * 5)
        made = picture(mesh, Camera(k, view.world_from_cam))
        with Image.open(DATA / "demo" / "images" / view.path.name) as photo:
            true = np.asarray(photo.convert("RGB").resize((k.width, k.height), Image.Resampling.BOX)) / 255
        hit = (made != 0.5).any(-1)
        values.append(-10 * np.log10(((made - true)[hit] ** 2).mean()))
        shares.append(hit.mean())
    return float(np.mean(values)), float(np.mean(shares))


class Stages:
    """Computing seconds, of all cores together, by the stage that an export tells of."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.stage, self.since = "", time.process_time()

    def __call__(self, stage: str, fraction: float) -> None:
        now = time.process_time()
        if self.stage:
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self.since
        self.stage, self.since = stage, now


def made_by_us(scene: Scene, file: Path) -> list[DepthPicture]:
    """Exports the scene, placed upright, as a mesh; prints the stages' seconds. Returns the depths."""
    config, stages, begin = ExportConfig(), Stages(), time.process_time()
    renderer = scene.photo_renderer(config.backend, config.threads)
    pictures = depth_pictures(renderer, chosen_views(scene.views), Told(stages))
    mesh, _ = mesh_from(scene, renderer, pictures, config.texture, True, config, Told(stages))
    stages("writing", 0.0)
    write_file(turned_for(file, mesh, config), file)
    stages("", 0.0)
    for stage, seconds in stages.seconds.items():
        print(f"  {stage}: {seconds:.1f} CPU s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    total = time.process_time() - begin
    print(f"nerfscene: {total:.0f} CPU s with depths and texture, {peak:.1f} GB", flush=True)
    return pictures


def main() -> None:
    """Makes the meshes and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scene", type=Path)
    parser.add_argument("--open3d", type=Path, help="a Python that has Open3D")
    parser.add_argument(
        "--keep", type=Path, help="a folder for the meshes, which are not made again if there"
    )
    asked = parser.parse_args()
    upright = placed(scenes.load(asked.scene))
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        made, depths = folder / "nerfscene.glb", folder / "depths.npz"
        if not (made.exists() and depths.exists()):
            for_open3d(made_by_us(upright, made), upright, depths)
        if asked.open3d:
            subprocess.run([asked.open3d, Path(__file__).with_name("meshes_open3d.py"), folder], check=True)
        measure(made, sorted(folder.glob("*.ply")), upright)


def measure(made: Path, others: list[Path], scene: Scene) -> None:
    """Prints how close the meshes are, and what the texture of the first is worth."""
    truth = demo_geometry()
    seen = seen_points(truth, np.random.default_rng(0))
    to_truth = truth_from(scene.views)
    for region in REGIONS:
        dense = dense_points(truth, region)
        for file in (made, *others):
            mesh = trimesh.load_mesh(file, process=False)
            if file == made:
                mesh.apply_transform(np.linalg.inv(Y_UP_FROM_Z_UP))
                if region == next(iter(REGIONS)):
                    value, share = psnr(mesh, scene)
                    print(
                        f"{file.stem}: PSNR {value:.2f} dB over {share:.1%} of the held-out photos",
                        flush=True,
                    )
            mesh.apply_transform(to_truth)
            c = closeness(mesh, dense, seen, region)
            print(
                f"{file.stem}, {len(mesh.faces)} faces, {region}: accuracy {1e3 * c.accuracy:.1f} mm, "
                f"completeness {1e3 * c.completeness:.1f} mm, F-score {c.f_score:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

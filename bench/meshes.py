"""How close exported meshes come to the demo's geometry, beside Open3D's from the same depths.

    python -m bench.meshes SCENE [--open3d PYTHON]

SCENE: trained on data/demo. PYTHON: of an environment with Open3D 0.19 (pip install open3d==0.19.0; the
integration of 0.20.0 takes in nothing), without which nerfscene alone is measured. Prints, for each mesh,
the seconds it took, its faces, and how close it is; for nerfscene's also the PSNR of its texture at the
held-out photos.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from bench.mesh_pictures import picture
from bench.mesh_truth import DATA, REGIONS, closeness, demo_geometry, seen_points, truth_from
from nerfscene.cameras.algebra import similarity_scale
from nerfscene.config import ExportConfig
from nerfscene.exporters.mesh import REACH, cells_for, write_mesh
from nerfscene.exporters.mesh_depths import DepthPicture, chosen_views, depth_pictures, points_of, ray_lengths
from nerfscene.exporters.placement import Y_UP_FROM_Z_UP, placed
from nerfscene.exporters.told import Told
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.types import Camera

POISSON_POINTS = 1_000_000  # as many as nerfstudio's export takes


def for_open3d(pictures: list[DepthPicture], scene: Scene, file: Path) -> None:
    """The depths, their cameras, and points with normals of them, as arrays that Open3D's script reads."""
    rng = np.random.default_rng(0)
    share = POISSON_POINTS / sum(p.depth.size for p in pictures)
    depths, points, normals = [], [], []
    for p in pictures:
        z = p.depth / ray_lengths(p.camera.intrinsics)
        depths.append(np.where(np.isfinite(z), z, 0).astype(np.float32))
        at = points_of(p)
        normal = np.cross(np.gradient(at, axis=1), np.gradient(at, axis=0))
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
        away = ((at - p.camera.world_from_cam[:3, 3]) * normal).sum(-1, keepdims=True) > 0
        normal = np.where(away, -normal, normal)
        kept = np.isfinite(normal).all(-1) & (rng.random(p.depth.shape) < share)
        points.append(at[kept])
        normals.append(normal[kept])
    lenses = [p.camera.intrinsics for p in pictures]
    side = 2 / similarity_scale(scene.scene_from_world)
    np.savez(
        file,
        depth=np.array(depths),
        lens=[(k.fx, k.fy, k.cx, k.cy) for k in lenses],
        poses=[p.camera.world_from_cam for p in pictures],
        voxel=side / cells_for(scene),
        reach=REACH * side / 2,
        points=np.concatenate(points).astype(float),
        normals=np.concatenate(normals).astype(float),
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


def main() -> None:
    """Makes the meshes and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scene", type=Path)
    parser.add_argument("--open3d", type=Path, help="a Python that has Open3D")
    asked = parser.parse_args()
    scene = scenes.load(asked.scene)
    upright = placed(scene)
    truth = demo_geometry()
    seen = seen_points(truth, np.random.default_rng(0))
    to_truth = truth_from(upright.views)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "nerfscene.glb"
        wall, cpu = time.perf_counter(), time.process_time()
        write_mesh(scene, made, ExportConfig(), Told())
        print(
            f"nerfscene: {time.perf_counter() - wall:.0f} s, {time.process_time() - cpu:.0f} CPU s",
            flush=True,
        )
        if asked.open3d:
            wall, cpu = time.perf_counter(), time.process_time()
            pictures = depth_pictures(upright.photo_renderer(), chosen_views(upright.views), Told())
            print(
                f"depths: {time.perf_counter() - wall:.0f} s, {time.process_time() - cpu:.0f} CPU s",
                flush=True,
            )
            for_open3d(pictures, upright, Path(folder) / "depths.npz")
            subprocess.run([asked.open3d, Path(__file__).with_name("meshes_open3d.py"), folder], check=True)
        for file in (made, *sorted(Path(folder).glob("*.ply"))):
            mesh = trimesh.load(file, force="mesh", process=False)
            if file == made:
                mesh.apply_transform(np.linalg.inv(Y_UP_FROM_Z_UP))
                value, share = psnr(mesh, upright)
                print(f"{file.stem}: PSNR {value:.2f} dB over {share:.1%} of the held-out photos")
            mesh.apply_transform(to_truth)
            for region in REGIONS:
                c = closeness(mesh, truth, seen, region)
                print(
                    f"{file.stem}, {len(mesh.faces)} faces, {region}: accuracy {1e3 * c.accuracy:.1f} mm, "
                    f"completeness {1e3 * c.completeness:.1f} mm, F-score {c.f_score:.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

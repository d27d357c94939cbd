"""Makes meshes with Open3D, as nerfstudio's export does, from the depths that bench.meshes wrote.

    python bench/meshes_open3d.py FOLDER

reads FOLDER/depths.npz and writes open3d-tsdf.ply and open3d-poisson.ply there. Needs Open3D 0.19 alone.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import open3d


def tsdf(folder: Path, given: dict[str, np.ndarray]) -> None:
    """A truncated signed distance function's surface, with cells of the same size everywhere."""
    cpu = time.process_time()
    voxel = float(given["voxel"])
    integration = open3d.pipelines.integration
    volume = integration.ScalableTSDFVolume(
        voxel_length=voxel, sdf_trunc=4 * voxel, color_type=integration.TSDFVolumeColorType.NoColor
    )
    height, width = given["depth"].shape[1:]
    black = open3d.geometry.Image(np.zeros((height, width, 3), np.uint8))
    for depth, lens, pose in zip(given["depth"], given["lens"], given["poses"], strict=True):
        picture = open3d.geometry.RGBDImage.create_from_color_and_depth(
            black,
            open3d.geometry.Image(np.ascontiguousarray(depth)),
            depth_scale=1.0,
            depth_trunc=float(given["reach"]),
            convert_rgb_to_intensity=False,
        )
        camera = open3d.camera.PinholeCameraIntrinsic(width, height, *lens)
        volume.integrate(picture, camera, np.linalg.inv(pose))
    mesh = volume.extract_triangle_mesh()
    print(f"open3d-tsdf: {time.process_time() - cpu:.0f} CPU s without the depths", flush=True)
    open3d.io.write_triangle_mesh(str(folder / "open3d-tsdf.ply"), mesh)
    del mesh, volume


def poisson(folder: Path, given: dict[str, np.ndarray]) -> None:
    """Poisson's reconstruction, without its tenth that the fewest points support."""
    cpu = time.process_time()
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(given["points"]))
    cloud.normals = open3d.utility.Vector3dVector(given["normals"])
    mesh, density = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=9)
    density = np.asarray(density)
    mesh.remove_vertices_by_mask(density < np.quantile(density, 0.1))
    print(f"open3d-poisson: {time.process_time() - cpu:.0f} CPU s without the depths", flush=True)
    open3d.io.write_triangle_mesh(str(folder / "open3d-poisson.ply"), mesh)


def main() -> None:
    """Those meshes that are not there yet."""
    folder = Path(sys.argv[1])
    given = dict(np.load(folder / "depths.npz"))
    if not (folder / "open3d-tsdf.ply").exists():
        tsdf(folder, given)
    if not (folder / "open3d-poisson.ply").exists():
        poisson(folder, given)


if __name__ == "__main__":
    main()

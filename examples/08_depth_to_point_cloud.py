"""A dense point cloud from depth.

A rendered frame says how far away each pixel is, along its ray. With the camera's lens and pose that makes a
coloured point for every pixel. This example writes the points of several cameras. Run example 01 first.
"""

from pathlib import Path

import numpy as np
import trimesh
import tyro

import nerfscene as ns


def main(
    scene_folder: Path = Path("out/example-scene"),
    cloud: Path = Path("out/08_cloud.ply"),
    views: int = 8,
) -> None:
    scene = ns.load(scene_folder)
    renderer, points, colors = scene.renderer(), [], []
    for view in scene.views[:: max(1, len(scene.views) // views)]:
        k = view.intrinsics
        lens = ns.Intrinsics(k.width, k.height, k.fx, k.fy, k.cx, k.cy)  # without the photos' distortion
        frame = ns.render(renderer, ns.Camera(lens, view.world_from_cam))
        x, y = np.meshgrid(np.arange(k.width) + 0.5, np.arange(k.height) + 0.5)  # pixels' centres
        rays = np.stack([(x - k.cx) / k.fx, (y - k.cy) / k.fy, np.ones_like(x)], axis=-1)
        rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True) @ view.world_from_cam[:3, :3].T
        solid = (frame.accumulation > 0.95) & (frame.depth < 3 * np.median(frame.depth))  # no fog, not far
        points.append(view.world_from_cam[:3, 3] + (frame.depth[..., None] * rays)[solid])
        colors.append((255 * frame.rgb[solid].clip(0, 1)).astype(np.uint8))
    cloud.parent.mkdir(parents=True, exist_ok=True)
    trimesh.PointCloud(np.concatenate(points), np.concatenate(colors)).export(cloud)
    print(f"{cloud}: {sum(map(len, points))} points from {len(points)} cameras")


if __name__ == "__main__":
    tyro.cli(main)

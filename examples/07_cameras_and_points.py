"""Cameras and points of a capture.

``ns.posed_capture`` finds where photos were taken and stops there, or reads cameras that came with them, from
COLMAP, nerfstudio, a phone app and others. This example prints the walk and writes a point cloud for MeshLab,
CloudCompare or Blender: the points that COLMAP found in their colours, and the cameras in red.
"""

from pathlib import Path

import numpy as np
import trimesh
import tyro

import nerfscene as ns


def main(
    photos: Path = Path("data/demo/images"),
    workdir: Path = Path("out/07_posing"),
    cloud: Path = Path("out/07_cameras_and_points.ply"),
) -> None:
    posed = ns.posed_capture(photos, workdir)
    centres = np.stack([view.world_from_cam[:3, 3] for view in posed.views])
    lens = posed.views[0].intrinsics
    degrees = np.degrees(2 * np.arctan(lens.width / 2 / lens.fx))
    print(f"{len(posed.views)} of {posed.photos_given} photos posed; the lens sees {degrees:.0f}° across")
    print(f"the cameras span {np.ptp(centres, axis=0).round(2)} units, among {len(posed.points)} points")

    red = np.tile(np.uint8([255, 0, 0]), (len(centres), 1))
    cloud.parent.mkdir(parents=True, exist_ok=True)
    vertices = np.concatenate([posed.points, centres])
    trimesh.PointCloud(vertices, np.concatenate([posed.point_colors, red])).export(cloud)
    print(f"{cloud}: {len(vertices)} points")


if __name__ == "__main__":
    tyro.cli(main)

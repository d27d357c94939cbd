"""Take it with you: a mesh, splats, and the cameras.

``ns.export`` writes a scene for other programs. The ending of the file says the format, ``to`` the kind where
an ending has several. All exports of a scene lie on each other, the mesh on the splats and both before the
cameras. ``ns.share`` writes a page to send in the same way. Run example 01 first.
"""

from pathlib import Path

import tyro

import nerfscene as ns


def main(
    scene_folder: Path = Path("out/example-scene"),
    out: Path = Path("out/11_export"),
    faces: int = 50_000,
    texture: int = 2048,
    splats: int = 100_000,
) -> None:
    scene = ns.load(scene_folder)
    made = ns.export(scene, out / "mesh.glb", ns.ExportConfig(faces=faces, texture=texture), to="mesh")
    print(f"{made['file']}: {made['faces']} faces, for Blender and game engines")

    made = ns.export(scene, out / "splats.ply", ns.ExportConfig(count=splats), to="splats")
    print(f"{made['file']}: {made['splats']} splats, for SuperSplat and other viewers")

    made = ns.export(scene, out / "cameras", to="cameras")
    print(f"{made['file']}: {made['cameras']} cameras, for nerfstudio, gsplat, Brush and COLMAP")


if __name__ == "__main__":
    tyro.cli(main)

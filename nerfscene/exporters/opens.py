"""What opens an exported file, in a line for a command's end and the viewer; docs/exports.md says more."""

from __future__ import annotations

# By kind and ending.
OPENS = {
    ("mesh", ".glb"): "Blender, game engines and web pages open it",
    ("mesh", ".obj"): "nearly every 3D program opens it, with the files that lie beside it",
    ("mesh", ".ply"): "MeshLab, CloudCompare and Blender open it",
    ("mesh", ".stl"): "slicers for 3D printers open it",
    ("mesh", ".usdz"): "iPhones and iPads show it in the room; macOS and USD programs open it",
    ("points", ".ply"): "CloudCompare, MeshLab and Blender open it",
    ("points", ".las"): "CloudCompare, QGIS and survey programs open it",
    ("points", ".laz"): "CloudCompare, QGIS and survey programs open it",
    ("cameras", ".json"): "nerfstudio, Brush and others that take transforms.json go on from it",
    ("cameras", ""): "nerfstudio, gsplat, Brush, COLMAP and others that take one of its forms go on from it",
    ("splats", ".ply"): "SuperSplat and nearly every other viewer of splats open it",
    ("splats", ".spz"): "SuperSplat, Spark and others that read SPZ 3 open it",
    ("splats", ".sog"): "SuperSplat, PlayCanvas and Spark open it",
    ("splats", ".glb"): "viewers of glTF that know KHR_gaussian_splatting open it",
    ("splats", ".usdz"): "programs with USD 26.03 or newer open it",
    ("splats", ".usdc"): "programs with USD 26.03 or newer open it",
}

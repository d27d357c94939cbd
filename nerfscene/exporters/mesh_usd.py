"""Writes meshes as USDZ, as iPhones and iPads show them in AR."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.exporters.mesh_files import Mesh, jpeg
from nerfscene.exporters.told import needed


def write_usdz(mesh: Mesh, file: Path, folder: Path, metres: float) -> None:
    """A USDZ file, +y up, with one mesh and its texture, or with vertex colours.

    folder: an empty one for the parts. metres: of a unit.
    Raises NerfsceneError if usd-core is missing or can't write the file.
    """
    needed("pxr", "export", "a USDZ file")
    from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, UsdUtils, Vt

    layer = folder / "scene.usdc"
    stage = Usd.Stage.CreateNew(str(layer))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, metres)
    root = UsdGeom.Xform.Define(stage, "/Scene")
    Usd.ModelAPI(root).SetKind("component")
    stage.SetDefaultPrim(root.GetPrim())
    shape = UsdGeom.Mesh.Define(stage, "/Scene/Surface")
    shape.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(mesh.vertices, np.float32)))
    shape.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, np.int32)))
    indices = np.ascontiguousarray(mesh.faces.ravel(), np.int32)
    shape.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(indices))
    shape.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(mesh.normals, np.float32)))
    shape.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    shape.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    shape.CreateDoubleSidedAttr(True)
    low, high = (Gf.Vec3f(*map(float, x)) for x in (mesh.vertices.min(0), mesh.vertices.max(0)))
    shape.CreateExtentAttr([low, high])
    material = UsdShade.Material.Define(stage, "/Scene/Material")
    surface = UsdShade.Shader.Define(stage, "/Scene/Material/Shader")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(1.0)
    surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    surface.CreateInput("ior", Sdf.ValueTypeNames.Float).Set(1.0)  # no gloss, which would wash colours out
    colour = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    colour.ConnectToSource(_colours(stage, shape, mesh, folder))
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    UsdShade.MaterialBindingAPI.Apply(shape.GetPrim()).Bind(material)
    stage.GetRootLayer().Save()
    del stage
    if not UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(layer)), str(file)):
        raise NerfsceneError(f"{file} can't be written by usd-core; write a .glb instead")


def _colours(stage, shape, mesh: Mesh, folder: Path):  # type: ignore[no-untyped-def]
    """The output of the shader that reads the mesh's colours: its texture or its vertices'."""
    from pxr import Sdf, UsdGeom, UsdShade, Vt

    from nerfscene.exporters.mesh_files import linear

    primvars = UsdGeom.PrimvarsAPI(shape)
    reader = UsdShade.Shader.Define(stage, "/Scene/Material/Reader")
    if mesh.uv is None or mesh.texture is None:
        assert mesh.colours is not None
        shades = Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(linear(mesh.colours)))
        shape.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex).Set(shades)
        reader.CreateIdAttr("UsdPrimvarReader_float3")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("displayColor")
        return reader.CreateOutput("result", Sdf.ValueTypeNames.Float3)
    (folder / "texture.jpg").write_bytes(jpeg(mesh.texture))
    st = primvars.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex)
    st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(mesh.uv * [1, -1] + [0, 1], np.float32)))
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    texture = UsdShade.Shader.Define(stage, "/Scene/Material/Texture")
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath("./texture.jpg"))
    texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
    for side in ("wrapS", "wrapT"):
        texture.CreateInput(side, Sdf.ValueTypeNames.Token).Set("clamp")
    st_result = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(st_result)
    return texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)

"""Splats as USD: a ParticleField3DGaussianSplat (OpenUSD 26.03 and later), in a .usdc or a .usdz."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.exporters.told import needed
from nerfscene.splatting.gaussians import Splats

SIGMAS = 3.0  # a splat is visible up to about as many standard deviations


def check_installed() -> None:
    """Raises NerfsceneError if usd-core is missing or too old to know splats."""
    if not hasattr(needed("pxr.UsdVol", "export", "splats as USD"), "ParticleField3DGaussianSplat"):
        raise NerfsceneError(
            "splats as USD need usd-core 26.3 or later: pip install --upgrade usd-core, or write another "
            "format, such as .ply"
        )


def write(splats: Splats, file: Path, package: bool) -> None:
    """Writes the file, a .usdz if ``package``. Raises NerfsceneError if usd-core is missing or too old."""
    check_installed()
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "splats.usdc"
        _stage(splats, inner)
        made = inner
        if package:
            from pxr import Sdf, UsdUtils

            made = Path(folder) / "splats.usdz"
            UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(inner)), str(made))
        shutil.copyfile(made, file)


def _stage(splats: Splats, file: Path) -> None:
    from pxr import Gf, Usd, UsdGeom, UsdVol, Vt

    stage = Usd.Stage.CreateNew(str(file))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, "/scene")
    stage.SetDefaultPrim(root.GetPrim())
    field = UsdVol.ParticleField3DGaussianSplat.Define(stage, "/scene/splats")
    n = len(splats)

    def vectors(values: np.ndarray) -> Vt.Vec3fArray:
        return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values, np.float32))

    field.CreatePositionsAttr(vectors(splats.positions))
    field.CreateScalesAttr(vectors(splats.scales))
    # As rows of numbers USD's quaternions have w last, unlike Gf.Quatf's arguments.
    turns = np.ascontiguousarray(splats.quaternions[:, [1, 2, 3, 0]], np.float32)
    field.CreateOrientationsAttr(Vt.QuatfArray.FromNumpy(turns))
    field.CreateOpacitiesAttr(Vt.FloatArray.FromNumpy(np.ascontiguousarray(splats.opacities, np.float32)))
    field.CreateRadianceSphericalHarmonicsDegreeAttr(splats.degree)
    field.CreateRadianceSphericalHarmonicsCoefficientsAttr(vectors(splats.sh.reshape(-1, 3)))
    reach = SIGMAS * splats.scales.max(1, keepdims=True) if n else np.zeros((0, 1))
    low, high = (splats.positions - reach).min(0), (splats.positions + reach).max(0)
    field.CreateExtentAttr(Vt.Vec3fArray([Gf.Vec3f(*map(float, low)), Gf.Vec3f(*map(float, high))]))
    stage.GetRootLayer().Save()

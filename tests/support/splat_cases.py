"""Gaussian splats of known looks, and the programs that read splat files back."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nerfscene.splatting.gaussians import Splats
from nerfscene.types import Array, Camera, Intrinsics

SPLAT_TRANSFORM = shutil.which("splat-transform")
LENS = Intrinsics(96, 72, 90.0, 90.0, 48.0, 36.0)


def some_splats(degree: int, n: int = 600, far: float = 60.0) -> Splats:
    """Long ellipsoids turned every way within ±1, clearly coloured by direction, one large one far off."""
    rng = np.random.default_rng(degree)
    quaternions = rng.normal(size=(n, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    positions, scales = rng.uniform(-1, 1, (n, 3)), np.exp(rng.uniform([-5, -4, -3], [-4, -3, -1.8], (n, 3)))
    positions[0], scales[0] = (far, -0.4 * far, 0.2 * far), 0.2 * far
    sh = np.zeros((n, (degree + 1) ** 2, 3))
    sh[:, 0] = rng.uniform(-1, 1, (n, 3))
    # Half a dozen ways to depend on the view, so that a palette holds them all.
    sh[:, 1:] = 0.3 * rng.normal(size=(6, sh.shape[1] - 1, 3))[rng.integers(0, 6, n)]
    opacities = rng.uniform(0.2, 0.98, n)
    return Splats(*(x.astype(np.float32) for x in (positions, quaternions, scales, opacities, sh)))


def cameras() -> list[Camera]:
    """Two that look at the origin from different sides, one of them tilted."""
    out = []
    for eye, tilt in (((2.4, -1.2, 0.9), 0.0), ((-1.7, 0.3, -2.2), 0.6)):
        z = -np.array(eye) / np.linalg.norm(eye)
        x = np.cross(z, [np.sin(tilt), 0, np.cos(tilt)])
        x /= np.linalg.norm(x)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = np.stack([x, np.cross(z, x), z], 1), eye
        out.append(Camera(LENS, pose))
    return out


def psnr(one: Array, other: Array) -> float:
    return float(-10 * np.log10(max(((one - other) ** 2).mean(), 1e-12)))


def by_gsply(file: Path) -> Splats:
    """A .ply or .spz as gsply reads it."""
    gsply = pytest.importorskip("gsply")
    data = gsply.plyread(file) if file.suffix == ".ply" else gsply.read_spz(file)
    n = len(data.means)
    parts = [np.asarray(data.sh0).reshape(n, 1, 3)]
    if data.shN is not None and np.size(data.shN):
        parts.append(np.asarray(data.shN).reshape(n, -1, 3))
    opacities = 1 / (1 + np.exp(-np.asarray(data.opacities).ravel()))
    return Splats(
        np.asarray(data.means),
        np.asarray(data.quats),
        np.exp(data.scales),
        opacities,
        np.concatenate(parts, 1),
    )


def by_gaussforge(file: Path) -> Splats:
    """A .ply, .spz or .sog as gaussforge reads it, which hands it on as a .ply."""
    gaussforge = pytest.importorskip("gaussforge")
    made = gaussforge.GaussForge().convert(file.read_bytes(), file.suffix[1:], "ply")
    assert "error" not in made, made
    copy = file.with_name(f"{file.name}.gaussforge.ply")
    copy.write_bytes(made["data"])
    return by_gsply(copy)


def by_splat_transform(file: Path) -> Splats:
    """A .ply, .spz or .sog as PlayCanvas's splat-transform reads it, which hands it on as a .ply."""
    if SPLAT_TRANSFORM is None:
        pytest.skip("splat-transform is not installed (npm install -g @playcanvas/splat-transform)")
    copy = file.with_name(f"{file.name}.transformed.ply")
    subprocess.run([SPLAT_TRANSFORM, "-q", "-w", file, copy], check=True, timeout=600)
    return by_gsply(copy)


def by_usd(file: Path) -> Splats:
    """A .usdc or .usdz as OpenUSD reads it."""
    usd = pytest.importorskip("pxr.Usd")
    stage = usd.Stage.Open(str(file))
    assert stage.GetMetadata("upAxis") == "Y"
    (prim,) = [p for p in stage.Traverse() if p.GetTypeName() == "ParticleField3DGaussianSplat"]

    def values(name: str) -> Any:
        return prim.GetAttribute(name).Get()

    turns = [(q.GetReal(), *q.GetImaginary()) for q in values("orientations")]
    k = (values("radiance:sphericalHarmonicsDegree") + 1) ** 2
    sh = np.array(values("radiance:sphericalHarmonicsCoefficients")).reshape(-1, k, 3)
    return Splats(
        np.array(values("positions")),
        np.array(turns, np.float32),
        np.array(values("scales")),
        np.array(values("opacities")),
        sh,
    )


def by_gltf(file: Path) -> Splats:
    """A .glb as the text of KHR_gaussian_splatting describes it."""
    raw = file.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", raw)
    assert (magic, version, length) == (b"glTF", 2, len(raw))
    size = struct.unpack_from("<I", raw, 12)[0]
    described, binary = json.loads(raw[20 : 20 + size]), raw[28 + size :]
    primitive = described["meshes"][0]["primitives"][0]
    assert primitive["mode"] == 0
    assert primitive["extensions"]["KHR_gaussian_splatting"]["colorSpace"] == "srgb_rec709_display"

    def values(name: str) -> Array:
        accessor = described["accessors"][primitive["attributes"][f"KHR_gaussian_splatting:{name}"]]
        return floats(accessor)

    def floats(accessor: dict[str, Any]) -> Array:
        view = described["bufferViews"][accessor["bufferView"]]
        part = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        assert accessor["componentType"] == 5126
        return np.frombuffer(part, "<f4").reshape(accessor["count"], -1)

    names = [f"SH_DEGREE_{d}_COEF_{i}" for d in range(4) for i in range(2 * d + 1)]
    there = [n for n in names if f"KHR_gaussian_splatting:{n}" in primitive["attributes"]]
    return Splats(
        floats(described["accessors"][primitive["attributes"]["POSITION"]]),
        values("ROTATION")[:, [3, 0, 1, 2]],
        values("SCALE"),
        values("OPACITY")[:, 0],
        np.stack([values(n) for n in there], 1),
    )

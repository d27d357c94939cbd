"""Splats as a PLY in the layout of 3D Gaussian splatting's own programs (Kerbl et al. 2023).

Little-endian floats: position, zero normals, f_dc and f_rest (channel by channel), the logit of opacity, the
logarithms of scales, quaternion with w first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.splatting.gaussians import Splats

LIMIT = 1e-6  # opacities this near to 0 and 1 have no finite logit worth writing


def write(splats: Splats, file: Path, filtered: bool = False) -> None:
    """Writes the file. filtered: says that they are to be drawn as Mip-Splatting does, as Brush writes it."""
    n, rest = len(splats), 3 * (splats.sh.shape[1] - 1)
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{i}" for i in range(rest)]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    lines = ["ply", "format binary_little_endian 1.0", "comment written by nerfscene"]
    lines += ["comment SplatRenderMode: mip"] if filtered else []
    lines += [f"element vertex {n}"]
    lines += [*(f"property float {name}" for name in names), "end_header", ""]
    with file.open("wb") as out:
        out.write("\n".join(lines).encode("ascii"))
        out.write(_rows(splats).tobytes())


def _rows(splats: Splats) -> NDArray[np.float32]:
    n = len(splats)
    opacity = np.clip(splats.opacities.astype(np.float64), LIMIT, 1 - LIMIT)
    parts: list[NDArray[Any]] = [
        splats.positions,
        np.zeros((n, 3)),
        splats.sh[:, 0],
        splats.sh[:, 1:].transpose(0, 2, 1).reshape(n, -1),
        np.log(opacity / (1 - opacity))[:, None],
        np.log(np.maximum(splats.scales, 1e-30)),
        splats.quaternions,
    ]
    return np.concatenate(parts, 1).astype("<f4")

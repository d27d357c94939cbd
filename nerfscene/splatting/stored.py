"""Splats as the arrays of a safetensors file, and back."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.splatting.gaussians import Splats

VERSION = 1
SMALLEST = 1e-20  # a scale has a logarithm
FARTHEST = 1e6  # scene units; nothing is made as far away


def arrays_of(splats: Splats) -> dict[str, NDArray[Any]]:
    """What is saved: positions in float32, all else in float16, scales as their logarithms.

    At these sizes float16 is off by less than a step of 8 bits.
    """
    logs = np.log(np.maximum(splats.scales, SMALLEST))
    return {
        "positions": np.ascontiguousarray(splats.positions, np.float32),
        "quaternions": splats.quaternions.astype(np.float16),
        "log_scales": logs.astype(np.float16),
        "opacities": splats.opacities.astype(np.float16),
        "sh": np.ascontiguousarray(splats.sh, np.float32).clip(-1000, 1000).astype(np.float16),
    }


def stamp_of(arrays: dict[str, NDArray[Any]]) -> str:
    """32 hexadecimal digits by which a scene.json knows its splats' file from another one's."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:32]


def splats_of(arrays: dict[str, NDArray[Any]]) -> Splats:
    """The splats that ``arrays_of`` took apart. Raises ValueError or KeyError for anything else."""
    given = [arrays[name] for name in ("positions", "quaternions", "log_scales", "opacities", "sh")]
    count = given[0].shape[0] if given[0].ndim == 2 else -1
    sh = given[4]
    shapes = [(count, 3), (count, 4), (count, 3), (count,), (count, sh.shape[1] if sh.ndim == 3 else -1, 3)]
    if [one.shape for one in given] != shapes or shapes[4][1] not in (1, 4, 9, 16):
        raise ValueError("its splats' arrays don't belong together")
    if any(one.dtype.kind != "f" for one in given):
        raise ValueError("the types of its splats' arrays don't fit")
    positions, quaternions, logs, opacities, sh = (one.astype(np.float32) for one in given)
    if not all(np.isfinite(one).all() for one in (positions, quaternions, logs, opacities, sh)):
        raise ValueError("some numbers of its splats are not finite")
    length = np.linalg.norm(quaternions, axis=1, keepdims=True)
    within = (np.abs(positions) <= FARTHEST).all() and (np.abs(logs) <= 50).all()
    if not (within and (length > 1e-3).all() and (opacities >= 0).all() and (opacities <= 1).all()):
        raise ValueError("some numbers of its splats are out of range")
    return Splats(positions, quaternions / length, np.exp(logs), opacities, sh)

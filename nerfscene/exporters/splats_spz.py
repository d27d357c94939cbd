"""Splats as SPZ, version 3 (Niantic's open format): what most programs read, unlike version 4.

A gzip stream: a header, then for all splats positions (24 bits a coordinate, fixed point), opacities,
colours, scales (logarithms), orientations (the three smaller components of the quaternion) and harmonics.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.splatting.gaussians import Splats

MAGIC, VERSION = 0x5053474E, 3
ANTIALIASED = 1  # a flag
LARGEST = (1 << 23) - 1  # of 24 bits with a sign
MOST_FRACTION = 20  # bits; 12 hold ±2048, which is what most writers use
COLOUR = 0.15  # by which colours' coefficients are scaled


def fraction_bits(splats: Splats) -> int:
    """As many bits behind the point as leave room for the farthest splat: at most 20, at least 0."""
    farthest = max(float(np.abs(splats.positions).max(initial=0.0)), 1e-9)
    return int(np.clip(np.floor(np.log2(LARGEST / farthest)), 0, MOST_FRACTION))


def write(splats: Splats, file: Path, filtered: bool = False) -> None:
    """Writes the file. filtered: says that they are to be drawn as Mip-Splatting does."""
    n, bits = len(splats), fraction_bits(splats)
    header = struct.pack("<IIIBBBB", MAGIC, VERSION, n, splats.degree, bits, ANTIALIASED * filtered, 0)
    fixed = np.clip(np.round(splats.positions.astype(np.float64) * (1 << bits)), -LARGEST, LARGEST)
    positions = np.ascontiguousarray(fixed.astype("<i4")).view(np.uint8).reshape(n, 3, 4)[:, :, :3]
    colours = 255 * (COLOUR * splats.sh[:, 0] + 0.5)
    scales = 16 * (np.log(np.maximum(splats.scales, 1e-30)) + 10)
    parts: list[NDArray[Any]] = [positions, _bytes(255 * splats.opacities), _bytes(colours), _bytes(scales)]
    parts += [_orientations(splats.quaternions), _bytes(128 * splats.sh[:, 1:] + 128)]
    with file.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as out:
        out.write(header)
        for part in parts:
            out.write(np.ascontiguousarray(part).tobytes())


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _orientations(quaternions: NDArray[np.float32]) -> NDArray[np.uint32]:
    """(n,): the largest component's number (x, y, z, w) in the two upper bits, then for each of the others,
    in their order, a sign and 9 bits of its size, as a share of 1/√2."""
    q = quaternions[:, [1, 2, 3, 0]].astype(np.float64)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    largest = np.abs(q).argmax(1)
    q *= np.where(np.take_along_axis(q, largest[:, None], 1) < 0, -1, 1)
    out = largest.astype(np.uint32)
    for component in range(4):
        size = np.clip(np.round(511 * np.sqrt(2) * np.abs(q[:, component])), 0, 511).astype(np.uint32)
        packed = (out << 10) | ((q[:, component] < 0).astype(np.uint32) << 9) | size
        out = np.where(largest == component, out, packed).astype(np.uint32)
    return out.astype("<u4")

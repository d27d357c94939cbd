"""Splats as glTF binary with KHR_gaussian_splatting: points whose extra attributes make them Gaussians.

Colours of COLOR_0 are there for programs that know only points; glTF takes those as linear.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.splatting.gaussians import C0, Splats

NAME = "KHR_gaussian_splatting"
FLOAT, BYTE, ARRAY_BUFFER = 5126, 5121, 34962


def write(splats: Splats, file: Path) -> None:
    """Writes the file."""
    attributes = _attributes(splats)
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    offset = 0
    for name, values in attributes.items():
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": values.nbytes, "target": ARRAY_BUFFER})
        kind = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
        whole = values.dtype == np.uint8
        accessor: dict[str, Any] = {"bufferView": len(accessors), "count": len(values), "type": kind,
                                    "componentType": BYTE if whole else FLOAT}  # fmt: skip
        if whole:
            accessor["normalized"] = True
        if name == "POSITION":
            accessor |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        accessors.append(accessor)
        offset += values.nbytes
    extension = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display", "sortingMethod": "cameraDistance",
                 "projection": "perspective"}  # fmt: skip
    primitive = {"mode": 0, "attributes": {name: i for i, name in enumerate(attributes)},
                 "extensions": {NAME: extension}}  # fmt: skip
    described = {
        "asset": {"version": "2.0", "generator": "nerfscene"},
        "extensionsUsed": [NAME],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "splats"}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"byteLength": offset}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    with file.open("wb") as out:
        out.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + offset))
        out.write(struct.pack("<I4s", len(text), b"JSON") + text)
        out.write(struct.pack("<I4s", offset, b"BIN\0"))
        for values in attributes.values():
            out.write(values.tobytes())


def _attributes(splats: Splats) -> dict[str, NDArray[Any]]:
    """Every attribute's values, in arrays whose bytes are multiples of 4."""
    srgb = np.clip(0.5 + C0 * splats.sh[:, 0], 0, 1)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    colours = np.concatenate([linear, splats.opacities[:, None]], 1)
    out: dict[str, NDArray[Any]] = {
        "POSITION": splats.positions,
        "COLOR_0": np.round(255 * np.clip(colours, 0, 1)).astype(np.uint8),
        f"{NAME}:ROTATION": splats.quaternions[:, [1, 2, 3, 0]],
        f"{NAME}:SCALE": splats.scales,
        f"{NAME}:OPACITY": splats.opacities,
    }
    first = 0
    for degree in range(splats.degree + 1):
        for i in range(2 * degree + 1):
            out[f"{NAME}:SH_DEGREE_{degree}_COEF_{i}"] = splats.sh[:, first + i]
        first += 2 * degree + 1
    return {
        name: np.ascontiguousarray(value if value.dtype == np.uint8 else value.astype("<f4"))
        for name, value in out.items()
    }

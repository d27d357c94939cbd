"""Camera tracks as SuperSplat, its viewer, splat-transform and Blender lay them out in files."""

from __future__ import annotations

import base64
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.types import Array

OFF = {"enabled": False}
HALF_TURN = [0.0, 0.0, 1.0, 0.0]  # x, y, z, w: how SuperSplat turns a splat file that it loads


def looks(poses: list[Array], far: float = 2.0) -> list[tuple[list[float], list[float]]]:
    """(position, target) of poses (4, 4) with OpenCV axes."""
    return [(p[:3, 3].tolist(), (p[:3, 3] + far * p[:3, 2]).tolist()) for p in poses]


def settings(
    times: list[float], seen: list[tuple[list[float], list[float]]], fovs: list[float], **track: Any
) -> dict[str, Any]:
    """supersplat-viewer's settings, version 2, as SuperSplat 2.32's export writes them."""
    made = {
        "name": "cameraAnim",
        "duration": 2,
        "frameRate": 30,
        "loopMode": "none",
        "interpolation": "spline",
        "smoothness": 1,
        "keyframes": {
            "times": times,
            "values": {
                "position": [x for place, _ in seen for x in place],
                "target": [x for _, target in seen for x in target],
                "fov": fovs,
            },
        },
    }
    return {
        "version": 2,
        "tonemapping": "none",
        "highPrecisionRendering": False,
        "background": {"color": [0.4, 0.4, 0.4]},
        "postEffectSettings": {
            "sharpness": OFF | {"amount": 0},
            "bloom": OFF | {"intensity": 1, "blurLevel": 2},
            "grading": OFF | {"brightness": 1, "contrast": 1, "saturation": 1, "tint": [1, 1, 1]},
            "vignette": OFF | {"intensity": 0.5, "inner": 0.3, "outer": 0.75, "curvature": 1},
            "fringing": OFF | {"intensity": 0.5},
        },
        "animTracks": [made | track],
        "cameras": [{"initial": {"position": [0, 1, -1], "target": [0, 0, 0], "fov": 60}}],
        "annotations": [],
        "startMode": "animTrack",
    }


def document(
    at: list[int], seen: list[tuple[list[float], list[float]]], fovs: list[float], **timeline: Any
) -> dict[str, Any]:
    """The document.json of a project of SuperSplat 2.32, with one splat where it was loaded."""
    poses = [
        {"name": f"camera_{i}", "frame": frame, "position": place, "target": target, "fov": fov}
        for i, (frame, (place, target), fov) in enumerate(zip(at, seen, fovs, strict=True))
    ]
    usual = {"frames": 60, "frameRate": 30, "frame": 0, "smoothness": 1, "loop": False}
    splat = {
        "name": "room.ply",
        "position": [0, 0, 0],
        "rotation": HALF_TURN,
        "scale": [1, 1, 1],
        "visible": True,
    }
    return {
        "version": 0,
        "camera": {
            "focalPoint": [0, 0, 0],
            "azim": 0,
            "elev": -10,
            "distance": 1,
            "fov": 75,
            "tonemapping": "linear",
        },
        "view": {"bgColor": [0.4, 0.4, 0.4, 1], "shBands": 3, "showGrid": True},
        "poseSets": [{"name": "set0", "poses": poses}],
        "timeline": usual | timeline,
        "splats": [splat],
    }


def write_json(file: Path, data: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data))
    return file


def write_project(file: Path, data: dict[str, Any], name: str = "document.json") -> Path:
    """An .ssproj, or with settings.json the archive of a viewer."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, json.dumps(data))
        archive.writestr("splat_0.ply", b"ply\n")
    return file


class GltfParts:
    """A glTF file in the making: arrays are packed one after the other, as Blender's exporter does."""

    def __init__(self) -> None:
        self.content = b""
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def array(self, values: Array) -> int:
        """The accessor of an array (n,) or (n, k), as 32-bit floats."""
        rows = np.asarray(values, float).reshape(len(values), -1)
        floats = np.ascontiguousarray(rows, "<f4")
        self.views.append({"buffer": 0, "byteLength": floats.nbytes, "byteOffset": len(self.content)})
        kind = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}[rows.shape[1]]
        accessor: dict[str, Any] = {"bufferView": len(self.views) - 1, "componentType": 5126, "type": kind}
        accessor |= {"count": len(floats)}
        if kind == "SCALAR":
            accessor |= {"min": [float(floats.min())], "max": [float(floats.max())]}
        self.accessors.append(accessor)
        self.content += floats.tobytes()
        return len(self.accessors) - 1

    def animation(self, name: str, moves: list[tuple[Any, str, Array, Array, str]]) -> dict[str, Any]:
        """An animation of (node, or a pointer; path; times; values; interpolation)."""
        samplers, channels = [], []
        for target, path, times, values, kind in moves:
            samplers.append({"input": self.array(times), "interpolation": kind, "output": self.array(values)})
            aimed: dict[str, Any] = {"node": target, "path": path}
            if isinstance(target, str):
                aimed = {"path": "pointer", "extensions": {"KHR_animation_pointer": {"pointer": target}}}
            channels.append({"sampler": len(samplers) - 1, "target": aimed})
        return {"channels": channels, "name": name, "samplers": samplers}

    def data(
        self, nodes: list[dict[str, Any]], animations: list[dict[str, Any]], **more: Any
    ) -> dict[str, Any]:
        """The file's JSON, with one camera of 16:9 and a vertical field of view of 0.4 rad."""
        lens = {"aspectRatio": 16 / 9, "yfov": 0.4, "zfar": 1000, "znear": 0.1}
        inner = {child for node in nodes for child in node.get("children", [])}
        return {
            "asset": {"generator": "Khronos glTF Blender I/O v5.0.21", "version": "2.0"},
            "scene": 0,
            "scenes": [{"name": "Scene", "nodes": [i for i in range(len(nodes)) if i not in inner]}],
            "nodes": nodes,
            "cameras": [{"name": "Camera", "perspective": lens, "type": "perspective"}],
            "animations": animations,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.content)}],
        } | more


def write_glb(file: Path, data: dict[str, Any], content: bytes) -> Path:
    text = json.dumps(data).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(content))
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(content), b"BIN\0") + content
    )
    file.write_bytes(head + chunks)
    return file


def write_gltf(file: Path, data: dict[str, Any], content: bytes, inside: bool) -> Path:
    """A .gltf with its buffer in it or beside it."""
    uri = "data:application/octet-stream;base64," + base64.b64encode(content).decode()
    if not inside:
        uri = "a camera.bin"
        (file.parent / uri).write_bytes(content)
        uri = uri.replace(" ", "%20")
    return write_json(file, data | {"buffers": [{"byteLength": len(content), "uri": uri}]})

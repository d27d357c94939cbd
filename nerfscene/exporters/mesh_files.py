"""Writes meshes as GLB, OBJ, PLY and STL."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
JPEG_QUALITY = 92
MADE_BY = "nerfscene"


@dataclass(frozen=True)
class Mesh:
    """A coloured mesh, in the axes of the file it is written to.

    vertices (n, 3), normals (n, 3) unit, faces (m, 3)
    uv: (n, 2), 0…1 from the texture's upper left corner, and texture (side, side, 3), sRGB; None without one
    colours: (n, 3) uint8, sRGB, of the vertices; None with a texture
    """

    vertices: Floats
    normals: Floats
    faces: NDArray[np.int64]
    uv: Floats | None = None
    texture: NDArray[np.uint8] | None = None
    colours: NDArray[np.uint8] | None = None


def jpeg(texture: NDArray[np.uint8]) -> bytes:
    """A texture as a JPEG with full colour resolution."""
    buffer = io.BytesIO()
    Image.fromarray(texture).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def linear(srgb: NDArray[np.uint8]) -> Floats:
    """sRGB bytes as linear light, 0…1 (IEC 61966-2-1)."""
    x = np.arange(256) / 255
    table = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[srgb]


def write_glb(mesh: Mesh, file: Path) -> None:
    """glTF 2.0 in one file, +y up. Unlit, as the photos' light is in the colours; matt where that is unknown.

    Vertex colours are linear light, as glTF wants them, in 16 bits; textures stay sRGB.
    Long because it is the format's tree, written out.
    """
    parts: list[bytes] = []
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []

    def view(data: bytes, target: int | None = None) -> int:
        begin = sum(map(len, parts))
        views.append({"buffer": 0, "byteOffset": begin, "byteLength": len(data)})
        if target is not None:
            views[-1]["target"] = target
        parts.append(data + b"\0" * (-len(data) % 4))
        return len(views) - 1

    def accessor(values: NDArray[Any], kind: str, component: int, target: int, **more: Any) -> int:
        count = values.size if kind == "SCALAR" else len(values)
        place = view(values.tobytes(), target)
        accessors.append(
            {"bufferView": place, "componentType": component, "count": count, "type": kind, **more}
        )
        return len(accessors) - 1

    vertices = mesh.vertices.astype("<f4")
    low, high = vertices.min(0).tolist(), vertices.max(0).tolist()
    attributes = {
        "POSITION": accessor(vertices, "VEC3", 5126, 34962, min=low, max=high),
        "NORMAL": accessor(mesh.normals.astype("<f4"), "VEC3", 5126, 34962),
    }
    material: dict[str, Any] = {
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
        "doubleSided": True,
        "extensions": {"KHR_materials_unlit": {}},
    }
    tree: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": MADE_BY},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "scene"}],
        "materials": [material],
    }
    if mesh.uv is not None and mesh.texture is not None:
        attributes["TEXCOORD_0"] = accessor(mesh.uv.astype("<f4"), "VEC2", 5126, 34962)
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
        tree["textures"] = [{"source": 0, "sampler": 0}]
        tree["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        tree["images"] = [{"mimeType": "image/jpeg", "bufferView": view(jpeg(mesh.texture))}]
    elif mesh.colours is not None:
        shades = np.full((len(vertices), 4), 65535, "<u2")
        shades[:, :3] = np.round(linear(mesh.colours) * 65535)
        attributes["COLOR_0"] = accessor(shades, "VEC4", 5123, 34962, normalized=True)
    indices = accessor(mesh.faces.astype("<u4").ravel(), "SCALAR", 5125, 34963)
    tree["meshes"] = [
        {"primitives": [{"attributes": attributes, "indices": indices, "material": 0, "mode": 4}]}
    ]
    tree["accessors"], tree["bufferViews"] = accessors, views
    tree["buffers"] = [{"byteLength": sum(map(len, parts))}]
    _pack_glb(tree, b"".join(parts), file)


def _pack_glb(tree: dict[str, Any], body: bytes, file: Path) -> None:
    """Writes glTF's tree and its buffer, padded to 4 bytes, as one .glb (glTF 2.0, binary container)."""
    head = json.dumps(tree, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 4)
    with file.open("wb") as out:
        out.write(b"glTF" + np.array([2, 28 + len(head) + len(body), len(head)], "<u4").tobytes())
        out.write(b"JSON" + head)
        out.write(np.array([len(body)], "<u4").tobytes() + b"BIN\0" + body)


def write_obj(
    mesh: Mesh, file: Path, material: Path | None, texture: Path | None, names: tuple[str, str]
) -> None:
    """Wavefront OBJ, +y up, and where there is a texture its material and picture.

    material, texture: where to write them; None without a texture. names: the names by which the OBJ and its
    material refer to them.
    """
    v, vn = mesh.vertices, mesh.normals
    with file.open("w", encoding="utf-8", newline="\n") as out:
        out.write(f"# {MADE_BY}\n")
        if mesh.texture is not None:
            out.write(f"mtllib {names[0]}\n")
        table = v if mesh.colours is None else np.concatenate([v, mesh.colours / 255], 1)
        np.savetxt(out, table, "v " + " ".join(["%.7g"] * 3 + ["%.4f"] * (table.shape[1] - 3)))
        if mesh.uv is not None:
            np.savetxt(out, mesh.uv * [1, -1] + [0, 1], "vt %.7f %.7f")
        np.savetxt(out, vn, "vn %.4f %.4f %.4f")
        if mesh.texture is not None:
            out.write("usemtl surface\n")
        corner = "%d/%d/%d" if mesh.uv is not None else "%d//%d"
        times = 3 if mesh.uv is not None else 2
        np.savetxt(out, np.repeat(mesh.faces + 1, times, axis=1), "f " + " ".join([corner] * 3))
    if mesh.texture is not None:
        assert material is not None and texture is not None
        material.write_text(
            "newmtl surface\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nd 1\nillum 1\n" + f"map_Kd {names[1]}\n",
            encoding="utf-8",
            newline="\n",
        )
        Image.fromarray(mesh.texture).save(texture, "PNG", compress_level=3)


def write_ply(mesh: Mesh, file: Path) -> None:
    """Binary PLY with normals and vertex colours (sRGB bytes)."""
    names = [(n, "<f4") for n in ("x", "y", "z", "nx", "ny", "nz")]
    kinds = names + ([(n, "u1") for n in ("red", "green", "blue")] if mesh.colours is not None else [])
    table = np.zeros(len(mesh.vertices), kinds)
    for i, n in enumerate("xyz"):
        table[n], table["n" + n] = mesh.vertices[:, i], mesh.normals[:, i]
    if mesh.colours is not None:
        for i, n in enumerate(("red", "green", "blue")):
            table[n] = mesh.colours[:, i]
    rows = np.zeros(len(mesh.faces), [("n", "u1"), ("i", "<i4", 3)])
    rows["n"], rows["i"] = 3, mesh.faces
    properties = "".join(f"property {'float' if k == '<f4' else 'uchar'} {n}\n" for n, k in kinds)
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment {MADE_BY}\nelement vertex {len(table)}\n{properties}"
        f"element face {len(rows)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    file.write_bytes(header.encode() + table.tobytes() + rows.tobytes())


def write_stl(mesh: Mesh, file: Path) -> None:
    """Binary STL: the shape alone."""
    corners = mesh.vertices[mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    rows = np.zeros(len(mesh.faces), [("n", "<f4", 3), ("p", "<f4", (3, 3)), ("a", "<u2")])
    rows["n"] = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    rows["p"] = corners
    head = f"binary STL by {MADE_BY}".encode().ljust(80)
    file.write_bytes(head + np.array([len(rows)], "<u4").tobytes() + rows.tobytes())

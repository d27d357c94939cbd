"""Reads glTF 2.0 files (.glb, .gltf): their JSON, and the arrays of numbers in their buffers."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from nerfscene.capture.json_text import parsed
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import printable
from nerfscene.types import Array

MAGIC = b"glTF"
TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
PARTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
LARGEST = {
    "<i1": 127.0,
    "<u1": 255.0,
    "<i2": 32767.0,
    "<u2": 65535.0,
}  # what stands for 1 in normalised numbers


@dataclass(frozen=True)
class Gltf:
    """A glTF file: its path, its JSON object, and the bytes of its binary chunk (empty in a .gltf)."""

    file: Path
    data: dict[str, Any]
    chunk: bytes = b""


def read_binary(content: bytes, file: Path) -> Gltf:
    """The contents of a .glb. Raises NerfsceneError, naming the file, for a damaged one."""
    cut = NerfsceneError(f"{file} is a glTF file that is cut off or damaged; export it again")
    if len(content) < 12:
        raise cut
    version = struct.unpack_from("<I", content, 4)[0]
    if version != 2:
        raise NerfsceneError(
            f"{file} is glTF of version {version}, and only version 2 can be read; export it as that"
        )
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(content):
        length, kind = struct.unpack_from("<I4s", content, at)
        if at + 8 + length > len(content):
            raise cut
        chunks.setdefault(kind, content[at + 8 : at + 8 + length])
        at += 8 + length
    if b"JSON" not in chunks:
        raise cut
    try:
        data = parsed(chunks[b"JSON"].rstrip(b" \0"))
    except ValueError as error:
        raise NerfsceneError(f"{file}: its JSON is damaged ({error}); export it again") from error
    if not isinstance(data, dict):
        raise cut
    return Gltf(file, data, chunks.get(b"BIN\0", b""))


def listed(gltf: Gltf, name: str) -> list[dict[str, Any]]:
    """One of the file's lists of objects; what isn't an object in it is an empty one."""
    values = gltf.data.get(name)
    return [v if isinstance(v, dict) else {} for v in values] if isinstance(values, list) else []


def entry(gltf: Gltf, name: str, index: Any) -> dict[str, Any]:
    """The object with this index in one of the file's lists. Raises NerfsceneError if there is none."""
    values = listed(gltf, name)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(values):
        raise NerfsceneError(f"{gltf.file} is damaged: it has no {name}[{index!r:.20}]; export it again")
    return values[index]


def array(gltf: Gltf, index: Any) -> Array:
    """An accessor's numbers (count, parts), normalised integers as fractions of 1.

    Raises NerfsceneError, naming the file, for what is damaged, compressed or sparse.
    """
    accessor = entry(gltf, "accessors", index)
    kind, parts = TYPES.get(_whole(accessor.get("componentType"))), PARTS.get(str(accessor.get("type")))
    count = _whole(accessor.get("count"))
    damaged = NerfsceneError(f"{gltf.file} is damaged: accessors[{index}] can't be read; export it again")
    if kind is None or parts is None or count < 1:
        raise damaged
    if accessor.get("sparse") is not None or accessor.get("bufferView") is None:
        raise NerfsceneError(
            f"{gltf.file} has animations as sparse arrays, which can't be read; export them plainly"
        )
    view = entry(gltf, "bufferViews", accessor["bufferView"])
    if view.get("extensions"):
        raise NerfsceneError(
            f"{gltf.file} is compressed (such as by gltfpack); export it without compression"
        )
    content = _buffer(gltf, view.get("buffer"))
    size = np.dtype(kind).itemsize * parts
    stride = _whole(view.get("byteStride", size))
    begin = _whole(view.get("byteOffset", 0)) + _whole(accessor.get("byteOffset", 0))
    if begin < 0 or stride < size or begin + stride * (count - 1) + size > len(content):
        raise damaged
    raw = np.ndarray((count, parts), kind, content, begin, (stride, np.dtype(kind).itemsize))
    values = raw.astype(np.float64)
    if accessor.get("normalized") is True and kind in LARGEST:
        values = np.maximum(values / LARGEST[kind], -1.0)
    if not np.isfinite(values).all():
        raise NerfsceneError(
            f"{gltf.file}: accessors[{index}] holds numbers that aren't finite; export it again"
        )
    return values


def _buffer(gltf: Gltf, index: Any) -> bytes:
    buffer = entry(gltf, "buffers", index)
    uri = buffer.get("uri")
    if uri is None:
        return gltf.chunk
    if not isinstance(uri, str):
        raise NerfsceneError(f"{gltf.file} is damaged: buffers[{index}] has no address; export it again")
    if uri.startswith("data:"):
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise NerfsceneError(
                f"{gltf.file} is damaged: buffers[{index}] can't be decoded; export it again"
            ) from error
    name = unquote(uri)
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        # A file from elsewhere must not make this program read whatever it names.
        raise NerfsceneError(f"{gltf.file} keeps its data in {printable(name)}; export it as one file (.glb)")
    try:
        return (gltf.file.parent / name).read_bytes()
    except (OSError, ValueError) as error:
        raise NerfsceneError(
            f"{gltf.file} needs {printable(name)} beside it, which can't be read; copy it there, "
            "or export a .glb"
        ) from error


def _whole(value: Any) -> int:
    """A whole number, or -1 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1

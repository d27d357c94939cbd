"""Opens a file with a camera path of any program: JSON, glTF, or an archive or page with one in it."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from nerfscene.capture.json_text import parsed
from nerfscene.errors import NerfsceneError
from nerfscene.films.gltf_file import MAGIC, Gltf, read_binary
from nerfscene.films.path_parts import load
from nerfscene.formats.app_files import printable

ENDINGS = (".json", ".glb", ".gltf", ".ssproj", ".zip", ".html")
INSIDE = ("document.json", "settings.json")  # of SuperSplat's project and of its viewer's archive
LARGEST = 64 << 20  # bytes of such a file inside an archive: a track has kilobytes
SETTINGS = b"settings: "  # what comes before the settings in a viewer's page


def opened(file: Path, instead: str) -> dict[str, Any] | Gltf:
    """What a path's file holds: a JSON object, or a glTF file.

    instead: what to do, for the message when there is none. Raises NerfsceneError for a file that is missing,
    damaged, or holds neither.
    """
    if file.is_dir() and (file / INSIDE[0]).is_file():  # a project that was unpacked
        file = file / INSIDE[0]
    head = b""
    if file.is_file():
        try:
            with file.open("rb") as start:
                head = start.read(64)
        except OSError:
            pass  # said by ``load``
    if head.startswith(MAGIC):
        return read_binary(_content(file), file)
    if head.startswith(b"PK"):
        return _in_archive(file)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return _in_page(file)
    data = load(file, instead)
    asset = data.get("asset")
    if isinstance(asset, dict) and "version" in asset and ("nodes" in data or "scenes" in data):
        return Gltf(file, data)
    return data


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NerfsceneError(f"{file} cannot be read ({error.strerror}); copy it again") from error


def _in_archive(file: Path) -> dict[str, Any]:
    """The JSON object of a SuperSplat project, or of the archive of its viewer."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = {info.filename: info for info in archive.infolist()}
            found = next((names[name] for name in INSIDE if name in names), None)
            if found is None:
                raise NerfsceneError(
                    f"{file} is an archive without {' or '.join(INSIDE)}; "
                    "give a project of SuperSplat, or its viewer"
                )
            if found.file_size > LARGEST:
                raise NerfsceneError(f"{file}: its {found.filename} is too large to be a camera track")
            with archive.open(found) as inner:
                text = inner.read(LARGEST + 1)
        data = parsed(text[:LARGEST])
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        if isinstance(error, NerfsceneError):
            raise
        raise NerfsceneError(
            f"{file} is a damaged archive ({printable(error)}); save it again in SuperSplat"
        ) from error
    if not isinstance(data, dict):
        raise NerfsceneError(
            f"{file}: its {found.filename} is not a JSON object; save it again in SuperSplat"
        )
    return data


def _in_page(file: Path) -> dict[str, Any]:
    """The settings in a page of SuperSplat's viewer."""
    content = _content(file)
    at = content.find(SETTINGS + b"{")
    if at >= 0:
        begin = at + len(SETTINGS)
        text = content[begin : begin + LARGEST].decode("utf-8", errors="replace")
        try:
            _, end = json.JSONDecoder().raw_decode(text)
            data = parsed(text[:end])
        except (ValueError, RecursionError):
            data = None
        if isinstance(data, dict):
            return data
    raise NerfsceneError(
        f"{file} is a page without the settings of SuperSplat's viewer; give its settings.json"
    )

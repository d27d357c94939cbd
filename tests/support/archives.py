"""Archives, written from bytes or from a folder."""

from __future__ import annotations

import zipfile
from pathlib import Path


def pack(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in entries:
            packed.writestr(name, data)
    return path


def pack_folder(path: Path, folder: Path, below: str = "") -> Path:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return pack(path, *((below + p.relative_to(folder).as_posix(), p.read_bytes()) for p in files))

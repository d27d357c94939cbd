"""Which files ``nerfscene submit`` uploads, and what it remembers of them until the scene is home."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nerfscene.capture.endings import (
    ARCHIVE_SUFFIXES,
    PHOTO_SUFFIXES,
    POSE_SUFFIXES,
    RAW_SUFFIXES,
    VIDEO_SUFFIXES,
)
from nerfscene.capture.folder import find_photos, natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.scene.atomic import write_json

TAKEN = (*PHOTO_SUFFIXES, *VIDEO_SUFFIXES, *ARCHIVE_SUFFIXES)
PACKED = "a .zip of them and the photos"


@dataclass
class Memory:
    """What a submission has done so far, in a file, so that the same command goes on with it.

    server: its address; scene: its id there, "" before there is one; uploads: by the file's path: its size,
    when it was changed (nanoseconds), and the upload's address; news: whether files came or went since the
    last training was asked for.
    """

    file: Path
    server: str
    scene: str = ""
    uploads: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    news: bool = False

    def address(self, photo: Path) -> str:
        """The address of a file's upload; "" if there is none, or the file has changed since."""
        size, changed, address = self.uploads.get(str(photo), (-1, -1, ""))
        status = photo.stat()
        return address if (size, changed) == (status.st_size, status.st_mtime_ns) else ""

    def keep(self, photo: Path, address: str) -> None:
        """Remembers a file's upload."""
        status = photo.stat()
        self.uploads[str(photo)] = status.st_size, status.st_mtime_ns, address
        self.news = True
        self.save()

    def drop(self, photo: str) -> None:
        """Forgets a file's upload, which is no longer there."""
        del self.uploads[photo]
        self.news = True
        self.save()

    def trained(self) -> None:
        """Remembers that a training of all that came was asked for."""
        if self.news:
            self.news = False
            self.save()

    def save(self) -> None:
        """Writes the file. Raises NerfsceneError if it can't be written."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        told = {"server": self.server, "scene": self.scene, "uploads": self.uploads, "news": self.news}
        write_json(told, self.file)


def remembered(output: Path, server: str) -> Memory:
    """What is remembered for an output folder and a server; nothing if that is new."""
    file = output.with_name(f".{output.name}.submit.json")
    fresh = Memory(file, server)
    try:
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        uploads = {str(k): (int(a), int(b), str(c)) for k, (a, b, c) in data["uploads"].items()}
        known = Memory(file, server, str(data["scene"]), uploads, bool(data.get("news")))
        return known if data["server"] == server else fresh
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return fresh


def chosen(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The photos, videos and zips to upload, and a sentence on each other file.

    Raises NerfsceneError if there are none, or a path doesn't exist.
    """
    taken: list[Path] = []
    others: list[str] = []
    for path in paths:
        if not path.exists():
            raise NerfsceneError(f"{path} doesn't exist; give a folder of photos, a video or a zip")
        photos = find_photos(path) if path.is_dir() else [path]
        for file in [*photos, *_beside(path, photos)]:
            why = _unusable(file, file in photos)
            if why:
                others.append(f"{file.relative_to(path) if path.is_dir() else file}: {why}")
            else:
                taken.append(Path(os.path.abspath(file)))
    if not taken:
        named = f" ({others[0]})" if others else ""
        given = ", ".join(map(str, paths[:3])) or "the command"
        raise NerfsceneError(f"there are no photos, videos or zips in {given}{named}; give others")
    return list(dict.fromkeys(taken)), others


def _beside(folder: Path, photos: Sequence[Path]) -> list[Path]:
    """What a folder holds beside its photos, without hidden files."""
    if not folder.is_dir():
        return []
    known = set(photos)
    return sorted(
        (
            p
            for p in folder.rglob("*")
            if p.is_file() and p not in known and not _hidden(p.relative_to(folder))
        ),
        key=lambda p: [natural_key(part) for part in p.relative_to(folder).parts],
    )


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts) or path.name == "Thumbs.db"


def _unusable(file: Path, is_photo: bool) -> str:
    """Why a file isn't uploaded; "" if it is. is_photo: whether it is among the folder's photos."""
    suffix = file.suffix.lower()
    if suffix in PHOTO_SUFFIXES and not is_photo:
        return f"masks, depth maps and the like are used only in {PACKED}"
    if suffix in POSE_SUFFIXES:
        return f"it is no photo, video or zip; if it has the cameras of photos, it is used only in {PACKED}"
    if suffix in RAW_SUFFIXES:
        return "raw photos can't be read; export them as JPEG"
    if suffix not in TAKEN:
        return "it is no photo, video or zip"
    return "" if file.stat().st_size else "it is empty"

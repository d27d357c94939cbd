"""A scene's folder as a zip that is made while it is sent: nothing is copied, and its size is known before.

Files are stored, not compressed: what a scene holds hardly shrinks.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nerfscene.serve.facts import SCENE_FILE
from nerfscene.serve.jobs import NotNow

ZIP = "application/zip"
PHOTOS = "photos"
CHUNK = 1 << 20
# What training leaves in poses/ beside its results: copies of the photos, and what COLMAP found in them. No
# command needs them once the cameras are known, and they are most of a scene's bytes.
LEFT_OUT = ("images", "masks", "database.db")
DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class _Part:
    """A file of the zip: its bytes, or an open file, of which ``size`` bytes are taken."""

    name: str
    size: int
    content: bytes | BinaryIO | Path


def packed(folder: Path, photos: bool) -> tuple[int, Iterator[bytes]]:
    """The zip of the scene in a folder: its size in bytes, and its bytes, in parts.

    photos: also those that it was trained on, which lie beside it. Raises NotNow if there is no scene yet.
    """
    stack = contextlib.ExitStack()
    try:
        parts = _parts(folder, photos, stack)
    except FileNotFoundError:
        stack.close()
        raise NotNow("the scene isn't there yet; wait until it has been trained") from None
    return zip_size(parts), _zipped(parts, stack)


def _parts(folder: Path, photos: bool, stack: contextlib.ExitStack) -> list[_Part]:
    """What goes into the zip. Raises FileNotFoundError if there is no scene."""
    # A training may save meanwhile: opened now, its files stay as they are. scene.json is the oldest of them.
    manifest = (folder / SCENE_FILE).read_text(encoding="utf-8")
    parts = [_bytes(SCENE_FILE, _without_home(manifest, folder.parent).encode())]
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != SCENE_FILE and not path.name.startswith("."):
            opened = stack.enter_context(path.open("rb"))
            parts.append(_Part(path.name, opened.seek(0, 2), opened))
    for path in sorted((folder / "poses").rglob("*")):
        below = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part.endswith(".partial") for part in below)
        if path.is_file() and not hidden and len(below) > 2 and below[2] not in LEFT_OUT:
            parts.append(_Part("/".join(below), path.stat().st_size, path))
    if photos:
        for path in sorted((folder.parent / PHOTOS).rglob("*")):
            if path.is_file():
                name = path.relative_to(folder.parent).as_posix()
                parts.append(_Part(name, path.stat().st_size, path))
    return parts


def _without_home(manifest: str, home: Path) -> str:
    """A scene.json in which the photos are where the zip has them, not where this server has them."""
    for place in {home.absolute(), home.resolve()}:
        manifest = manifest.replace(json.dumps(f"{place}/")[1:-1], "")
    return manifest


def _bytes(name: str, content: bytes) -> _Part:
    return _Part(name, len(content), content)


class _Sink:
    """Takes what zipfile writes; ``taken`` hands it on."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._waiting.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        out, self._waiting = b"".join(self._waiting), []
        return out


def _zipped(parts: list[_Part], stack: contextlib.ExitStack) -> Iterator[bytes]:
    sink = _Sink()
    with stack, zipfile.ZipFile(sink, "w") as made:  # type: ignore[call-overload]
        for part in parts:
            info = zipfile.ZipInfo(part.name, DATE)
            info.file_size, info.external_attr = part.size, 0o644 << 16
            with made.open(info, "w") as target:
                for block in _blocks(part):
                    target.write(block)
                    yield sink.taken()
    yield sink.taken()


def _blocks(part: _Part) -> Iterator[bytes]:
    """A file's bytes. Raises OSError if it has become shorter; what was added to it is left out."""
    if isinstance(part.content, bytes):
        yield part.content
        return
    with contextlib.ExitStack() as stack:
        source = part.content
        if isinstance(source, Path):
            source = stack.enter_context(source.open("rb"))
        source.seek(0)
        left = part.size
        while left:
            block = source.read(min(CHUNK, left))
            if not block:
                raise OSError(f"{part.name} became shorter while it was sent")
            left -= len(block)
            yield block


def zip_size(parts: list[_Part]) -> int:
    """The bytes of the zip that ``_zipped`` makes.

    Source: APPNOTE.TXT 6.3.10 (PKWARE), 4.3.6 to 4.3.16 and 4.5.3: headers before and after each file, since
    its checksum isn't known before; the directory; and longer ones of each for more than zipfile's limit.
    """
    limit = zipfile.ZIP64_LIMIT
    offset = directory = 0
    for part in parts:
        name, large = len(part.name.encode()), part.size * 1.05 > limit
        numbers = 2 * (part.size > limit) + (offset > limit)
        directory += 46 + name + (4 + 8 * numbers if numbers else 0)
        offset += 30 + name + (20 if large else 0) + part.size + (24 if large else 16)
    end = 22
    if len(parts) > zipfile.ZIP_FILECOUNT_LIMIT or offset > limit or directory > limit:
        end += 56 + 20
    return offset + directory + end

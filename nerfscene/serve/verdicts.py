"""What ``checking`` asks of ``checks``, and what that answers. Both are written as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Job:
    """A file to check. path: where it is; name: as it was sent; thumbnail: a JPEG to write; same: files
    of the same size in the scene, by their paths, with their names. For a zip: unpacked: a folder to unpack
    into; thumbnails: their folder; most_files, most_bytes: that it may hold; sizes: the scene's files by
    their size, as ``same`` has them; skipped: files in it that ended the process."""

    path: str
    name: str
    thumbnail: str
    same: dict[str, str] = field(default_factory=dict)
    unpacked: str = ""
    thumbnails: str = ""
    most_files: int = 0
    most_bytes: int = 0
    sizes: dict[int, dict[str, str]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """What was found. kind: "" for a file in a zip that is about to be checked. name, id, size: of a file in
    a zip, below its folder; ending: of the file's kind; why: a sentence if it can't be used, or "".
    For a zip: folder: where what it holds was unpacked; size: bytes of what is no photo in it."""

    kind: Literal["photo", "video", "zip", ""]
    why: str = ""
    ending: str = ""
    name: str = ""
    id: str = ""
    size: int = 0
    folder: str = ""
    last: bool = True

"""Whether a folder holds a COLMAP model, which takes no COLMAP to find out: loading that takes a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

NEEDED = ("cameras", "images")
MARK = b"\xef\xbb\xbf"  # some programs of Windows begin their text files with this


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model's files. Points may be missing: some programs write none."""
    suffix = suffix_of(folder)
    has_points = suffix is not None and (folder / f"points3D{suffix}").is_file()
    return has_points or suffix == ".bin" or (suffix == ".txt" and _lists_cameras(folder / "cameras.txt"))


def images_file(folder: Path) -> Path:
    """The file that lists a model's images, for messages."""
    return folder / f"images{suffix_of(folder) or '.bin'}"


def suffix_of(folder: Path) -> str | None:
    """The ending of a model's files, or None if there is no model; binary goes first, as in COLMAP."""
    complete = (s for s in (".bin", ".txt") if all((folder / f"{part}{s}").is_file() for part in NEEDED))
    return next(complete, None)


def _lists_cameras(path: Path) -> bool:
    """Whether a file's first camera has the form of COLMAP's: id, model in capitals, size, parameters."""
    with path.open("rb") as file:
        first = next((line for _number, line in lines_of(file) if line), b"").split()
    return len(first) > 4 and first[0].isdigit() and first[1].isupper()


def lines_of(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, stripped, without comments and a byte-order mark."""
    for number, line in enumerate(file, 1):
        stripped = (line.removeprefix(MARK) if number == 1 else line).strip()
        if not stripped.startswith(b"#"):
            yield number, stripped

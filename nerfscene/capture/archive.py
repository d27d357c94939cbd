"""A .zip of photos, or Record3D's .r3d → a folder, without trusting what the archive says of itself."""

from __future__ import annotations

import json
import lzma
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from nerfscene.capture.folder import ARCHIVE_SUFFIXES, Progress, silent
from nerfscene.errors import NerfsceneError

VERSION = 1  # of how archives are unpacked
MOST_BYTES = 64 << 30  # unpacked: a thousand photos of 60 MB
MOST_FILES = 20_000
MOST_RATIO = 200  # unpacked to packed; photos hardly shrink, text shrinks to a tenth or so
FREE_BYTES = 64 << 20  # below this, no ratio is suspicious
SPARE_BYTES = 1 << 30  # of the disk, left free
CHUNK = 1 << 20
BEGINNING = b"PK\x03\x04"
IGNORED = ("__MACOSX", ".DS_Store", "Thumbs.db")
UNUSED = (".depth", ".conf")  # two of the three files that a .r3d has for every frame
DONE = "done.json"
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, NotADirectoryError, UnicodeError),
)


def is_archive(path: Path) -> bool:
    """Whether a file is to be unpacked, by its name or by how it begins."""
    if not path.is_file() or path.suffix.lower() in ARCHIVE_SUFFIXES:
        return path.is_file()
    try:
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def unpack(archive: Path, folder: Path, progress: Progress = silent) -> Path:
    """Unpacks the archive into ``folder``; returns the folder in it that holds everything.

    An unchanged archive is not unpacked again; otherwise the folder is replaced once all is written.
    Raises NerfsceneError for a file that is no zip or a damaged one, for entries outside of the
    folder, links and encrypted entries, for more bytes or files than a capture has, and a full disk.
    """
    about = archive.stat()
    fingerprint = [VERSION, archive.name, about.st_size, about.st_mtime_ns]
    if _read_json(folder / DONE) != fingerprint:
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _unpack_into(partial, archive, progress)
            (partial / DONE).write_text(json.dumps(fingerprint))
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        except BROKEN as error:
            raise NerfsceneError(
                f"{archive} cannot be unpacked ({str(error) or 'it is cut off'}): make it again, or give the "
                "folder it was made from."
            ) from error
        except OSError as error:
            raise NerfsceneError(
                f"{archive} cannot be unpacked to {folder} ({error.strerror or error}): free some space, or "
                "choose another folder with -o."
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _inner(folder)


def _unpack_into(folder: Path, archive: Path, progress: Progress) -> None:
    with zipfile.ZipFile(archive) as packed:
        entries = [e for e in packed.infolist() if not e.is_dir() and not _ignored(e.filename)]
        if len(entries) > MOST_FILES:
            raise NerfsceneError(
                f"{archive} holds {len(entries)} files, and {MOST_FILES} are the most: pack the photos alone."
            )
        places = [_place(archive, entry) for entry in entries]  # all are checked before any is written
        if len(set(places)) < len(places):
            raise zipfile.BadZipFile("it holds files of the same name")
        folder.mkdir(parents=True)
        packed_bytes = archive.stat().st_size
        most = min(MOST_BYTES, max(MOST_RATIO * packed_bytes, FREE_BYTES))
        room = shutil.disk_usage(folder).free - SPARE_BYTES
        written = 0
        for number, (entry, place) in enumerate(zip(entries, places, strict=True), 1):
            target = folder.joinpath(*place.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(entry) as source, target.open("xb") as out:
                # What is written counts, not what the archive says that it will be.
                while block := source.read(CHUNK):
                    written += len(block)
                    if written > most:
                        raise NerfsceneError(
                            f"{archive} unpacks to more than {most >> 20} MiB from {packed_bytes >> 10} KiB, "
                            "which photos don't: give the folder of photos itself."
                        )
                    if written > room:
                        raise NerfsceneError(
                            f"{archive} doesn't fit on the disk of {folder.parent}: free some space, or "
                            "choose another folder with -o."
                        )
                    out.write(block)
            progress("unpacking", number / len(entries))


def _ignored(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return any(part in IGNORED for part in parts) or parts[-1].startswith("._") or name.endswith(UNUSED)


def _place(archive: Path, entry: zipfile.ZipInfo) -> PurePosixPath:
    """Where an entry goes, relative; raises NerfsceneError where that is not a plain file inside."""
    name = entry.filename.replace("\\", "/")
    place = PurePosixPath(name)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    wrong = None
    if place.is_absolute() or ".." in place.parts or re.match(r"[A-Za-z]:", name) or not place.parts:
        wrong = "lies outside of the archive"
    elif kind not in (0, stat.S_IFREG):
        wrong = "is a link or a device"
    elif entry.flag_bits & 1:
        wrong = "is encrypted"
    elif place.parts == (DONE,) or len(place.parts) > 32 or any(len(p.encode()) > 240 for p in place.parts):
        wrong = "has a name that can't be used"
    if wrong:
        raise NerfsceneError(
            f"{archive} is not unpacked, because {entry.filename[:100]!r} in it {wrong}: pack the photos "
            "again, plainly."
        )
    return place


def _inner(folder: Path) -> Path:
    """Down through folders that hold but one folder and nothing else."""
    while True:
        inside = [p for p in folder.iterdir() if p.name != DONE and not p.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].name == "images":
            return folder
        folder = inside[0]


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None

"""Unpacks a .zip of photos, or Record3D's .r3d, into a folder, without trusting the archive's own claims."""

from __future__ import annotations

import errno
import lzma
import re
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from nerfscene.capture.folder import ARCHIVE_SUFFIXES, StageListener, silent
from nerfscene.capture.work_folder import DONE, read_done, replacing, write_done
from nerfscene.errors import NerfsceneError

VERSION = 2  # of the unpacking: archives unpacked by another version are unpacked again
MOST_BYTES = 64 << 30  # unpacked; enough for a thousand photos of 60 MB
MOST_FILES = 20_000
MOST_RATIO = 200  # unpacked to packed size; photos hardly shrink, text to about a tenth
FREE_BYTES = 64 << 20  # up to this unpacked size, any ratio is accepted
SPARE_BYTES = 1 << 30  # of disk space to leave free
CHUNK = 1 << 20
MAGIC = b"PK\x03\x04"  # the first bytes of a zip file
IGNORED = ("__MACOSX", ".DS_Store", "Thumbs.db")
UNUSED = (".depth", ".conf")  # two of the three files that a .r3d has for every frame
# Phone apps write a depth map and its confidence for each frame of a video: tens of thousands of files.
MAPS = re.compile(
    r"(.*[/\\])?(depth|confidence)[/\\][^/\\]*\.(png|tiff?|exr|npy|npz|bin|raw)", re.IGNORECASE | re.DOTALL
)
# What zipfile raises for a broken archive.
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(NotADirectoryError, ValueError, RuntimeError, OverflowError, MemoryError),
)
# Errors of the disk that is written to. All others come from places and names in a damaged archive.
FULL, SHUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)


def is_archive(path: Path) -> bool:
    """Whether ``path`` is a file to unpack, judged by its suffix or its first bytes."""
    if not path.is_file() or path.suffix.lower() in ARCHIVE_SUFFIXES:
        return path.is_file()
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def unpack(archive: Path, folder: Path, progress: StageListener = silent) -> Path:
    """Unpacks the archive into ``folder``; returns the innermost folder in it that holds everything.

    An archive that was unpacked there before and has not changed is not unpacked again.
    Raises NerfsceneError if the file is not a zip or is damaged; if it has entries outside the folder, links,
    encrypted entries, or more bytes or files than a capture can have; and if the disk is full.
    """
    status = archive.stat()
    fingerprint = [VERSION, archive.name, status.st_size, status.st_mtime_ns]
    if read_done(folder) != fingerprint:
        try:
            with replacing(folder) as partial:
                _unpack_into(partial, archive, progress)
                write_done(partial, fingerprint)
        except BROKEN as error:
            raise _damaged(archive, error) from error
        except OSError as error:
            if error.errno not in (*FULL, *SHUT):
                raise _damaged(archive, error) from error
            way = "free some space, or choose" if error.errno in FULL else "choose"
            raise NerfsceneError(
                f"{archive} cannot be unpacked to {folder} ({error.strerror or error}): {way} another folder "
                "with -o."
            ) from error
    return _inner(folder)


def _damaged(archive: Path, error: Exception) -> NerfsceneError:
    """The error for an archive that can't be read to its end."""
    said = isinstance(error, zipfile.BadZipFile | NotImplementedError) and str(error).isprintable()
    why = f"it is damaged: {error}" if said and str(error) else "it is damaged or cut off"
    return NerfsceneError(
        f"{archive} cannot be unpacked ({why}): copy or make the archive again, or give the folder of photos "
        "itself."
    )


def _unpack_into(folder: Path, archive: Path, progress: StageListener) -> None:
    """Creates ``folder`` and unpacks the archive into it, within the limits above."""
    with zipfile.ZipFile(archive) as packed:
        entries = [e for e in packed.infolist() if not e.is_dir() and not _ignored(e.filename)]
        entries = [e for e in entries if not MAPS.fullmatch(e.filename)] or entries
        if len(entries) > MOST_FILES:
            raise NerfsceneError(
                f"{archive} holds {len(entries)} files, but at most {MOST_FILES} are allowed: pack only the "
                "photos."
            )
        targets = [_target(archive, entry) for entry in entries]  # all are checked before any is written
        if len(set(targets)) < len(targets):
            raise zipfile.BadZipFile("it holds several files of the same name")
        folder.mkdir(parents=True)
        packed_bytes = archive.stat().st_size
        most = min(MOST_BYTES, max(MOST_RATIO * packed_bytes, FREE_BYTES))
        available = shutil.disk_usage(folder).free - SPARE_BYTES
        written = 0
        for number, (entry, relative) in enumerate(zip(entries, targets, strict=True), 1):
            target = folder.joinpath(*relative.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(entry) as source, target.open("xb") as out:
                # Counts the bytes written, because the sizes stated in the archive may be wrong.
                while block := source.read(CHUNK):
                    written += len(block)
                    if written > most:
                        raise NerfsceneError(
                            f"{archive} unpacks to more than {most >> 20} MiB from {packed_bytes >> 10} KiB, "
                            "which photos never do: give the folder of photos itself."
                        )
                    if written > available:
                        raise NerfsceneError(
                            f"{archive} doesn't fit on the disk of {folder.parent}: free some space, or "
                            "choose another folder with -o."
                        )
                    out.write(block)
            progress("unpacking", number / len(entries))


def _ignored(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return any(part in IGNORED for part in parts) or parts[-1].startswith("._") or name.endswith(UNUSED)


def _target(archive: Path, entry: zipfile.ZipInfo) -> PurePosixPath:
    """The entry's path below the folder; raises NerfsceneError unless it is a plain file inside it."""
    name = entry.filename.replace("\\", "/")
    target = PurePosixPath(name)
    parts = target.parts
    kind = stat.S_IFMT(entry.external_attr >> 16)
    wrong = None
    if target.is_absolute() or ".." in parts or re.match(r"[A-Za-z]:", name) or not parts:
        wrong = "lies outside the archive"
    elif kind not in (0, stat.S_IFREG):
        wrong = "is a link or a device"
    elif entry.flag_bits & 1:
        wrong = "is encrypted"
    elif parts == (DONE,) or len(parts) > 32 or any(len(p.encode()) > 240 for p in parts):
        wrong = "has a name that can't be used"
    if wrong:
        raise NerfsceneError(
            f"{archive} is not unpacked, because {entry.filename[:100]!r} in it {wrong}: pack the photos "
            "again as plain files, without a password."
        )
    return target


def _inner(folder: Path) -> Path:
    """Follows folders that hold only one folder, down to the first that holds more, or to ``images``."""
    while True:
        inside = [p for p in folder.iterdir() if p.name != DONE and not p.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].name == "images":
            return folder
        folder = inside[0]

"""Brings a scene home: unpacks what a server sent, and tells it where its photos are here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from nerfscene.errors import NerfsceneError
from nerfscene.scene.atomic import telling
from nerfscene.serve.facts import SCENE_FILE

PHOTOS = "photos/"  # where a scene that was sent has them


def unpacked(archive: Path, folder: Path, photos: Mapping[str, Path]) -> None:
    """Makes the scene's folder from the zip that a server sent: whole, or not at all.

    photos: where the server's photos are here, by their names there; others may be in the zip.
    Raises NerfsceneError for a zip that isn't a scene's, and if the folder can't be written.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with telling(folder), zipfile.ZipFile(archive) as packed:
            _check(packed, archive.stat().st_size)
            packed.extractall(partial)
            places = {PHOTOS + name: path for name, path in photos.items()}
            _settle(partial, places)
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()  # an empty one; any other stays, and is told
            partial.rename(folder)
    except zipfile.BadZipFile as error:
        raise NerfsceneError(f"the server sent no scene ({error}); give the same command again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check(packed: zipfile.ZipFile, size: int) -> None:
    """Raises BadZipFile for entries outside the folder, links, and more bytes than were sent."""
    total = 0
    for entry in packed.infolist():
        parts = PurePosixPath(entry.filename.replace("\\", "/"))
        total += entry.file_size
        if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
            raise zipfile.BadZipFile("it has a file outside of its folder")
        if entry.external_attr >> 16 & 0o170000 not in (0, 0o100000):
            raise zipfile.BadZipFile("it has a link in it")
        if entry.compress_type != zipfile.ZIP_STORED or total > size:
            raise zipfile.BadZipFile("it is larger than it says")
    if SCENE_FILE not in packed.namelist():
        raise zipfile.BadZipFile(f"it has no {SCENE_FILE}")


def _settle(folder: Path, photos: Mapping[str, Path]) -> None:
    """Writes the photos' places here into a scene, so that it can be measured, reported and trained on.

    The cameras that were found are kept for photos by name, size and time of change, as are the frames of a
    video: files that are here under the same name and with the same size are those that were uploaded.
    """
    manifest = folder / SCENE_FILE
    data = json.loads(manifest.read_text(encoding="utf-8"))
    for view in data["views"]:
        for key in ("photo", "mask", "panorama"):
            if view.get(key) in photos:
                view[key] = str(photos[view[key]])
    manifest.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    known = _files_here(folder, {name.removeprefix(PHOTOS): path for name, path in photos.items()})
    for done in folder.glob("poses/*/done.json"):
        kept = json.loads(done.read_text(encoding="utf-8"))
        _settle_times(kept, known)
        done.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _files_here(folder: Path, photos: Mapping[str, Path]) -> dict[str, Path]:
    """The files that results in poses/ may be made from, by their names there: photos and videos, what was in
    a zip of them, and results that other results are made from, such as the frames of a video."""
    known = dict(photos)
    for home in (folder / PHOTOS, *folder.glob("poses/*")):
        for path in sorted(home.rglob("*")):
            if path.is_file():
                known.setdefault(path.relative_to(home).as_posix(), path)
    for path in list(known.values()):
        known.setdefault(path.name, path)
    return known


def _settle_times(content: Any, known: Mapping[str, Path]) -> None:
    """Writes times of change here, and whole paths, into each [name, size, time, …] of a result."""
    if isinstance(content, dict):
        content = list(content.values())
    if not isinstance(content, list):
        return
    if len(content) < 3 or [type(part) for part in content[:3]] != [str, int, int]:
        for part in content:
            _settle_times(part, known)
        return
    is_whole = content[0].startswith("/")
    here = known.get(PurePosixPath(content[0]).name if is_whole else content[0])
    if here is not None and here.is_file() and here.stat().st_size == content[1]:
        content[2] = here.stat().st_mtime_ns
        if is_whole:
            content[0] = str(here)

"""Brings a scene home: unpacks what a server sent, and tells it where its photos are here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

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

    The cameras that were found are kept for photos by name, size and time of change: photos that are here
    under the same name and with the same size are those that were uploaded.
    """
    manifest = folder / SCENE_FILE
    data = json.loads(manifest.read_text(encoding="utf-8"))
    for view in data["views"]:
        for key in ("photo", "mask", "panorama"):
            if view.get(key) in photos:
                view[key] = str(photos[view[key]])
    manifest.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for done in folder.glob("poses/*/done.json"):
        kept = json.loads(done.read_text(encoding="utf-8"))
        for entry in kept.get("photos", ()) if isinstance(kept, dict) else ():
            here = photos.get(PHOTOS + entry[0], folder / PHOTOS / entry[0])
            if here.is_file() and here.stat().st_size == entry[1]:
                entry[2] = here.stat().st_mtime_ns
        done.write_text(json.dumps(kept, indent=1), encoding="utf-8")

"""Writes content credentials into a file, or, for kinds that can't hold any, into a file beside it."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerfscene.config import CredentialsConfig, SourceType
from nerfscene.credentials import library
from nerfscene.credentials.facts import Facts, manifest
from nerfscene.credentials.key import WANTED, FolderUnusable, Key, signing_key
from nerfscene.errors import NerfsceneError
from nerfscene.loading import loading
from nerfscene.scene.atomic import remove_leftovers, telling, writing
from nerfscene.scene.unnamed_file import writing_unnamed

# Endings of the files that hold their credentials, and what c2pa calls their kind. In archives they are the
# last entry, behind everything that a reader of SOG or USDZ looks for.
HOLDING = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".gif": "image/gif",
    ".sog": "zip",
    ".usdz": "zip",
    ".zip": "zip",
}
ANY_KIND = "application/octet-stream"  # of a file beside which the credentials lie
BESIDE = ".c2pa"
LARGEST_BESIDE = 1 << 26  # bytes of such a file; larger ones are something else


@dataclass(frozen=True)
class Marker:
    """What ``mark`` signs with. key: None: nothing is signed."""

    key: Key | None
    source: SourceType


def ready(
    config: CredentialsConfig,
    warn: Callable[[str], None] = lambda message: None,
    note: Callable[[str], None] = lambda message: None,
) -> Marker:
    """Finds the key, and makes this machine's if it has none; to be called before the work.

    Where c2pa-python isn't installed, note is called with a line that says so, and nothing will be signed;
    where no key can be made, warn is.
    Raises NerfsceneError for a key that is damaged or can't sign, and if a key was given that can't be used
    because c2pa-python isn't installed.
    """
    nothing = Marker(None, config.source_type)
    if not config.credentials:
        return nothing
    with loading():
        missing = library.why_missing()
    if missing is not None:
        if config.credentials_key is not None:
            library.c2pa()
        note(
            f"without content credentials ({missing}): {library.INSTALL} adds them, and --no-credentials "
            "ends this line"
        )
        return nothing
    try:
        key = signing_key(config.credentials_key)
    except FolderUnusable as error:
        warn(str(error))
        return nothing
    _try(key)
    return Marker(key, config.source_type)


def mark(
    file: Path, facts: Facts, marker: Marker, warn: Callable[[str], None] = lambda message: None
) -> list[Path]:
    """Signs ``file``, which is complete, with what ``facts`` say; returns the files that hold that.

    It is ``file`` itself, replaced in one step, or a file beside it, or nothing if ``marker`` has no key.
    If signing fails, ``file`` stays as it is and warn is called with the reason.
    """
    if marker.key is None:
        _forget(file)
        return []
    try:
        return [sign(file, facts, marker.key, marker.source)]
    except NerfsceneError as error:
        _forget(file)
        warn(f"{file} is complete, but has no content credentials: {error}")
        return []


def sign(file: Path, facts: Facts, key: Key, source: SourceType) -> Path:
    """Signs ``file``; returns the file that holds the credentials. Raises NerfsceneError if that fails."""
    kind = HOLDING.get(file.suffix.lower())
    # A file beside another must say which. Otherwise a name may be private or for a moment, and is left out.
    title = file.name if kind is None else f"{facts.kind}{file.suffix.lower()}"
    said = manifest(title, facts, source)
    remove_leftovers(file.parent, file.name)
    if kind is None:
        place = beside_for(file)
        with telling(file), open(file, "rb") as unsigned, open(os.devnull, "w+b") as nowhere:
            signed = _signed(said, key, ANY_KIND, unsigned, nowhere, str(file))
        remove_leftovers(place.parent, place.name)
        with writing(place) as temporary:
            temporary.write_bytes(signed)
        return place
    with writing_unnamed(file) as temporary, open(file, "rb") as unsigned, open(temporary, "w+b") as opened:
        _signed(said, key, kind, unsigned, opened, str(file))
    _forget(file)
    return file


def _signed(said: dict[str, Any], key: Key, kind: str, source: Any, target: Any, name: str) -> bytes:
    """Copies ``source`` to ``target`` with credentials in it, unless of ANY_KIND; returns them."""
    c2pa = library.c2pa()
    try:
        # Ctrl-C within the package's callbacks would be lost, and a traceback printed instead.
        with loading():
            given = c2pa.C2paSignerInfo(key.algorithm, key.certificates, key.private, None)
            with c2pa.Signer.from_info(given) as signer:
                builder = c2pa.Builder(said, context=library.context())
                if kind == ANY_KIND:
                    builder.set_no_embed()
                return bytes(builder.sign(signer, kind, source, target))
    except c2pa.C2paError as error:
        raise NerfsceneError(f"{name} can't be signed with {key.file} ({error})") from error


@functools.lru_cache(maxsize=4)
def _try(key: Key) -> None:
    """Signs some bytes and checks that. Raises NerfsceneError if the key can't sign, or not validly."""
    said = manifest("try", Facts("", 0, "try"), "captures")
    text = b"nothing"
    way_out = f"delete {key.file} and a new one is made, or add --no-credentials" if key.own else WANTED
    try:
        with open(os.devnull, "w+b") as nowhere:
            signed = _signed(said, key, ANY_KIND, io.BytesIO(text), nowhere, "a file")
    except NerfsceneError as error:
        raise NerfsceneError(
            f"{key.file} can't sign content credentials ({error.__cause__}; C2PA wants one for "
            f"signing e-mail or documents, and not an authority's); {way_out}"
        ) from error
    reader = library.c2pa().Reader(ANY_KIND, io.BytesIO(text), signed, context=library.context())
    if reader.get_validation_state() == "Invalid":
        failures = (reader.get_validation_results() or {}).get("activeManifest", {}).get("failure", [])
        why = ", ".join(str(failure.get("explanation")) for failure in failures) or "not valid"
        raise NerfsceneError(f"what {key.file} signs would be refused by others ({why}); {way_out}")


# --- files beside others --------------------------------------------------------------------------


def places_beside(file: Path) -> list[Path]:
    """Where the credentials of ``file`` may lie: film.mkv.c2pa, film.c2pa."""
    return [file.with_name(file.name + BESIDE), file.with_suffix(BESIDE)]


def beside_for(file: Path) -> Path:
    """Where to write credentials of ``file``: film.c2pa, where C2PA's own tool looks for them.

    If those there are of another file, such as film.glb, it is film.mkv.c2pa.
    """
    long, short = places_beside(file)
    others = titles(short) - {file.name}
    return long if any((file.parent / name).is_file() for name in others) else short


def titles(beside: Path) -> set[str]:
    """The names of the file that a .c2pa file is about, and of what went into it; none if it is no such file.

    They are text in CBOR (RFC 8949) behind the key "dc:title" of C2PA's claims. Read so, it needs no package.
    """
    try:
        if not beside.is_file() or beside.stat().st_size > LARGEST_BESIDE:
            return set()
        data = beside.read_bytes()
    except OSError:
        return set()
    found = set()
    for key in re.finditer(rb"\x68dc:title", data):
        head, rest = data[key.end() : key.end() + 1], data[key.end() + 1 : key.end() + 70_000]
        if not head or not 0x60 <= head[0] <= 0x79:
            continue
        wide = max(head[0] - 0x77, 0)  # bytes of the length
        length = int.from_bytes(rest[:wide], "big") if wide else head[0] - 0x60
        found.add(rest[wide : wide + length].decode("utf-8", "replace"))
    return found


def _forget(file: Path) -> None:
    """Removes what credentials of an earlier ``file`` lie beside it, if nerfscene made them."""
    for beside in places_beside(file):
        if beside != file and file.name in titles(beside):
            with contextlib.suppress(OSError):
                if b"nerfscene" in beside.read_bytes():
                    beside.unlink()

"""Reads a file's content credentials and checks them, with nothing from the network."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nerfscene.credentials import library
from nerfscene.credentials.facts import ACTIONS, IPTC, RENDER
from nerfscene.credentials.key import certificates_of, own_certificate
from nerfscene.credentials.marking import ANY_KIND, BESIDE, places_beside, titles
from nerfscene.errors import NerfsceneError
from nerfscene.loading import loading

PAGE = "index.html"
MOST_FILES = 1000  # of a page's folder that are looked at
ARCHIVE = b"PK\x03\x04"  # how a .zip begins
UNTRUSTED = "signingCredential.untrusted"
TRUSTED = {"signingCredential.trusted", "claimSignature.validated"}
# C2PA's codes ("Technical Specification 2.2", section on validation) for bytes other than those signed.
CHANGED = (
    "assertion.dataHash.mismatch",
    "assertion.bmffHash.mismatch",
    "assertion.boxesHash.mismatch",
    "assertion.collectionHash.mismatch",
    "assertion.collectionHash.incorrectFileCount",
    "assertion.hashedURI.mismatch",
    "claimSignature.mismatch",
)


def check(file: Path, trusted: Path | None = None) -> dict[str, Any]:
    """What the content credentials of ``file`` say, and whether they hold, as plain values.

    trusted: certificates (PEM) whose signatures count as trusted.
    state: "valid"; "changed" since it was signed; "invalid" for another reason; "unreadable"; or "unsigned",
    if there are none in the file or beside it. key: "own", this machine's; "trusted"; "self-made", nobody
    vouches for it; "unknown", vouched for by somebody who isn't among ``trusted``. held_in: the file with the
    credentials. signer, made_with, when, what, source_type: as they say; when is by the signer's own clock
    unless time_stamped, by an authority. kind, photos, scene, settings: nerfscene's own. problems: what is
    wrong.
    Raises NerfsceneError if c2pa-python isn't installed, or a file can't be opened.
    """
    library.c2pa()
    own, given = own_certificate(), None if trusted is None else certificates_of(trusted)
    found = _read(file, own)
    if isinstance(found, dict):
        return found
    held_in, reader, summary = found
    key = "own" if _signed_by_trusted(summary) else None
    if key is None and given is not None:
        again = _read(file, given)
        if not isinstance(again, dict) and _signed_by_trusted(again[2]):
            _, reader, summary = again
            key = "trusted"
    return _described(file, held_in, reader, summary, key)


def check_page(folder: Path, trusted: Path | None = None) -> dict[str, Any] | None:
    """The same of each file of a page's folder that has credentials; None if the folder is no page.

    state: the worst of its files'. files: what ``check`` says of each.
    """
    if not (folder / PAGE).is_file() and not any(folder.glob(f"*{BESIDE}")):
        return None
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != BESIDE)[:MOST_FILES]
    results = [check(file, trusted) for file in files]
    signed = [r for r in results if r["state"] != "unsigned"]
    order = ("changed", "invalid", "unreadable", "valid")
    worst = min((r["state"] for r in signed), key=order.index, default="unsigned")
    return {"folder": str(folder), "state": worst, "files": signed}


def asset_of(beside: Path) -> Path:
    """The file that a .c2pa file is about. Raises NerfsceneError if it isn't there."""
    names = titles(beside)
    for name in sorted(names):
        if os.path.basename(name) == name and (beside.parent / name).is_file():
            return beside.parent / name
    raise NerfsceneError(f"{beside} is about a file that isn't beside it; put that file there, and give it")


# --- reading --------------------------------------------------------------------------------------


def _read(file: Path, trusted: bytes | None) -> tuple[Path, Any, dict[str, Any]] | dict[str, Any]:
    """The file with the credentials, c2pa's reader of it and its summary; or ``check``'s answer without."""
    c2pa = library.c2pa()
    try:
        with loading():
            with open(file, "rb") as opened:
                embedded = _tried(c2pa, file, opened, None, trusted)
            if not isinstance(embedded, dict):
                return embedded
            for beside in places_beside(file):
                if not beside.is_file() or beside == file or _another_s(beside, file):
                    continue
                with open(file, "rb") as opened:
                    found = _tried(c2pa, file, opened, beside, trusted)
                if not isinstance(found, dict) or found["state"] == "unreadable":
                    return found
    except OSError as error:
        raise NerfsceneError(f"{file} can't be read ({error.strerror})") from error
    return embedded


def _tried(
    c2pa: Any, file: Path, opened: Any, beside: Path | None, trusted: bytes | None
) -> tuple[Path, Any, dict[str, Any]] | dict[str, Any]:
    """The credentials in an opened file, or those ``beside`` it."""
    try:
        if beside is None:
            archive = opened.read(len(ARCHIVE)) == ARCHIVE  # which c2pa doesn't find out by itself
            opened.seek(0)
            reader = c2pa.Reader("zip" if archive else None, opened, context=library.context(trusted))
        else:
            reader = c2pa.Reader(ANY_KIND, opened, beside.read_bytes(), context=library.context(trusted))
        return beside or file, reader, json.loads(reader.json())
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return _nothing(file, "unsigned")
    except (c2pa.C2paError, ValueError) as error:
        return _nothing(beside or file, "unreadable", [str(error)]) | {"file": str(file)}


def _nothing(file: Path, state: str, problems: Iterable[str] = ()) -> dict[str, Any]:
    names = ("key", "signer", "when", "what", "made_with", "source_type", "kind", "photos", "scene")
    held = str(file) if state == "unreadable" else None
    empty = {name: None for name in names}
    return {
        "file": str(file),
        "state": state,
        "held_in": held,
        **empty,
        "time_stamped": False,
        "settings": {},
        "problems": [*problems],
    }


def _another_s(beside: Path, file: Path) -> bool:
    """Whether a .c2pa file is about another file that is there too."""
    about = titles(beside)
    return file.name not in about and any((file.parent / name).is_file() for name in about if name)


# --- what they say --------------------------------------------------------------------------------


def _described(
    file: Path, held_in: Path, reader: Any, summary: dict[str, Any], key: str | None
) -> dict[str, Any]:
    active = _dict(_dict(summary.get("manifests")).get(str(summary.get("active_manifest"))))
    results = _dict(_dict(summary.get("validation_results")).get("activeManifest"))
    failures = [f for f in _list(results.get("failure")) if _dict(f).get("code") != UNTRUSTED]
    codes = [str(f.get("code")) for f in failures]
    valid = summary.get("validation_state") in ("Valid", "Trusted")
    state = "valid" if valid else "changed" if any(c in CHANGED for c in codes) else "invalid"
    signature = _dict(active.get("signature_info"))
    assertions = {a.get("label"): _dict(a.get("data")) for a in map(_dict, _list(active.get("assertions")))}
    actions = [_dict(a) for label in assertions if str(label).startswith("c2pa.actions")
               for a in _list(assertions[label].get("actions"))]  # fmt: skip
    first = actions[0] if actions else {}
    said = assertions.get(RENDER, {}) if ACTIONS in assertions else {}
    names = [_text(signature.get(name)) for name in ("common_name", "issuer")]
    maker = _dict(next(iter(_list(active.get("claim_generator_info"))), {}))
    source = _text(first.get("digitalSourceType"))
    photos = said.get("photos")
    made_with = " ".join(t for t in (_text(maker.get("name")), _text(maker.get("version"))) if t)
    done = ", ".join(str(a.get("action", "")).removeprefix("c2pa.") for a in actions)
    return {
        "file": str(file),
        "state": state,
        "held_in": str(held_in),
        "key": key or _vouched_for(reader),
        "signer": ", ".join(name for name in names if name) or None,
        "when": _text(signature.get("time")) or _text(first.get("when")),
        "time_stamped": bool(_text(signature.get("time"))),
        "what": _text(first.get("description")) or _text(done),
        "made_with": made_with or None,
        "source_type": source and source.removeprefix(IPTC),
        "kind": _text(said.get("kind")),
        "photos": photos if isinstance(photos, int) else None,
        "scene": _text(said.get("scene")),
        "settings": _dict(said.get("settings")),
        "problems": [_text(_dict(f).get("explanation")) or str(_dict(f).get("code")) for f in failures],
    }


def _signed_by_trusted(summary: dict[str, Any]) -> bool:
    """Whether a trusted certificate's key made the signature, even if the file has changed since."""
    results = _dict(_dict(summary.get("validation_results")).get("activeManifest"))
    return {_dict(success).get("code") for success in _list(results.get("success"))} >= TRUSTED


def _vouched_for(reader: Any) -> str:
    """ "self-made" if the certificate names itself as its issuer, else "unknown"."""
    try:
        first = _dict(_list(_dict(json.loads(reader.crjson())).get("manifests"))[0])
    except (ValueError, IndexError, library.c2pa().C2paError):
        return "unknown"
    who = _dict(_dict(first.get("signature")).get("certificateInfo"))
    return "self-made" if who.get("issuer") and who.get("issuer") == who.get("subject") else "unknown"


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None

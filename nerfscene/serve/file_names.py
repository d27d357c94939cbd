"""Names of uploaded files: which are of no use by their endings, and how they are made safe and different."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from nerfscene.capture.endings import (
    ARCHIVE_SUFFIXES,
    PHOTO_SUFFIXES,
    POSE_SUFFIXES,
    RAW_SUFFIXES,
    UNREAD_SUFFIXES,
    VIDEO_SUFFIXES,
)

LONGEST = 150  # bytes of a name, in UTF-8: file systems take 255, and numbers and endings are added
LONGEST_ENDING = 8  # letters, with the dot
SHOWN = 60  # letters of a name in a sentence
NAMELESS = "photo"
FORBIDDEN = re.compile(r'[<>:"|?*]')  # in names of files on Windows, where the folder may be copied to
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
READ = (*PHOTO_SUFFIXES, *VIDEO_SUFFIXES, *ARCHIVE_SUFFIXES)
PACKED = (".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")
# What systems and cameras put beside photos.
BESIDE = (".ds_store", "thumbs.db", "desktop.ini", ".nomedia", "__macosx")
BESIDE_ENDINGS = (".aae", ".thm", ".lrv", ".ini", ".db")


def safe(name: str) -> str:
    """A name of one file, which every system can have: no folders, no control characters, not too long."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    name = "".join(ch if ch.isprintable() else "" for ch in name.encode("utf-8", "replace").decode())
    name = FORBIDDEN.sub("_", " ".join(name.split())).strip(" .")
    if DEVICES.match(name):
        name = f"_{name}"
    stem, ending = split(name)
    room = LONGEST - len(ending.encode())
    return (stem.encode()[:room].decode("utf-8", "ignore").strip(" .") or NAMELESS) + ending


def split(name: str) -> tuple[str, str]:
    """The name without its ending, and the ending with its dot, "" if there is none."""
    ending = PurePosixPath(name).suffix
    if len(ending) > LONGEST_ENDING or not ending[1:].isalnum():
        return name, ""
    return name[: -len(ending)], ending


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, or with a number if it is taken: "IMG_1 (2).jpg". Upper and lower case count as the same."""
    known = {other.casefold() for other in taken}
    # A zip is unpacked into a folder called as it is without its ending.
    known |= {split(other)[0] for other in known if other.endswith(ARCHIVE_SUFFIXES)}
    stem, ending = split(name)

    def is_taken(tried: str) -> bool:
        folder = split(tried)[0].casefold() if ending.lower() in ARCHIVE_SUFFIXES else ""
        return tried.casefold() in known or (folder != "" and folder in known)

    tried, number = name, 2
    while is_taken(tried):
        tried, number = f"{stem} ({number}){ending}", number + 1
    return tried


def shown(name: str) -> str:
    """The name as sentences have it."""
    return name if len(name) <= SHOWN else f"{name[: SHOWN - 15]}…{name[-14:]}"


def why_unusable(name: str) -> str:
    """Why a file is of no use by its name, as a sentence; "" if its content decides. name: as it was sent."""
    last = re.split(r"[/\\]", name)[-1].strip().lower()
    ending = split(last)[1]
    called = shown(safe(name) if last.strip(".") else name)
    if last in BESIDE or last.startswith("._") or ending in BESIDE_ENDINGS:
        return f"{called} is a note that a system or a camera keeps beside photos; it isn't needed"
    if ending in READ:
        return ""
    if ending in RAW_SUFFIXES:
        return f"{called} is a RAW photo, which can't be read; export it as JPEG, and send that"
    if ending in UNREAD_SUFFIXES:
        return f"{called} is a kind of picture that can't be read; export it as JPEG, and send that"
    if ending in PACKED:
        return f"{called} can't be unpacked here; pack the photos as .zip"
    if ending in POSE_SUFFIXES:
        return f"{called} is no photo; if it has the cameras of photos, pack it with them into one .zip"
    if re.fullmatch(r"\.[a-z][a-z0-9]*", ending):
        return f"{called} is no photo, video or zip; choose JPEG, HEIC, PNG, MP4, MOV or ZIP"
    return ""  # phones also give names without an ending, and with a date's numbers for one

"""Says which uploaded files can't be used, before anything is trained; a process of its own.

``checking`` starts it, writes a Job to it as a line of JSON, and reads a line of JSON for each Verdict. What
was uploaded may be broken or made to do harm: this process may use little memory, opens only the kinds of
files that are read, and looks at the size in a file's header before it decodes. If a file ends it all the
same, ``checking`` starts it again.
"""

from __future__ import annotations

import contextlib
import ctypes
import filecmp
import json
import os
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from nerfscene.capture.archive import BROKEN, MAGIC, unpack
from nerfscene.capture.endings import PHOTO_SUFFIXES, VIDEO_SUFFIXES
from nerfscene.capture.folder import find_photos
from nerfscene.capture.photos import DAMAGED, photo_size, read_pixels
from nerfscene.capture.video_look import look_at_video
from nerfscene.capture.work_folder import DONE
from nerfscene.errors import NerfsceneError
from nerfscene.serve.database import new_id
from nerfscene.serve.file_names import shown, split
from nerfscene.serve.quota import in_words, size_on_disk
from nerfscene.serve.verdicts import Job, Verdict

MEMORY = 4 << 30  # bytes of addresses: a photo of MOST_PIXELS takes 2 GB while it is decoded
NICENESS = 5  # below a training, which it must hardly slow
MOST_PIXELS = 250_000_000  # of a photo; phones write 200 million
FEWEST_PIXELS = 64  # of its shorter side; smaller ones are icons
MOST_SECONDS = 3600.0  # of a video
MOST_FRAME = 80_000_000  # pixels of a video's frame; cameras write 12288 × 6480
THUMBNAIL = 320  # pixels of its longer side
ENDS = 1 << 16  # bytes at each end of two files of the same size that are compared first
QUALITY = 80  # of its JPEG
# Kinds of photos by Pillow's names, and the endings that files of these kinds get which have none.
PHOTOS = {
    **{"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp"},
    **{"TIFF": ".tif", "HEIF": ".heic", "AVIF": ".avif"},
}
READERS = [kind for kind in PHOTOS if kind != "MPO"]  # which the reader of JPEG reads
PR_SET_PDEATHSIG = 1  # linux/prctl.h
AGAIN = "copy it again from where it came from, and send that"


class Unusable(Exception):
    """A file can't be used; the message is a sentence that says why."""


def verdicts(job: Job) -> Iterator[Verdict]:
    """What is found of a file; for a zip, of each of its photos and videos first."""
    path = Path(job.path)
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
        if start == MAGIC:
            yield from _of_zip(path, job)
        else:
            yield _of_media(path, job.name, Path(job.thumbnail), job.same)
    except Unusable as error:
        yield Verdict("photo", str(error))


def _of_media(path: Path, name: str, thumbnail: Path, same: dict[str, str]) -> Verdict:
    """Of a photo or a video. Raises Unusable."""
    called = shown(name)
    for other, its_name in same.items():
        with contextlib.suppress(OSError):
            if _ends(path) == _ends(Path(other)) and filecmp.cmp(path, other, shallow=False):
                raise Unusable(f"{called} is the same file as {shown(its_name)}, which is used")
    ending = split(name)[1].lower()
    try:
        kind = _photo_kind(path, called)
    except UnidentifiedImageError:
        try:
            made = _video(path, called, thumbnail)
        except Unusable:
            if ending in VIDEO_SUFFIXES:
                raise
            what = "a photo" if ending in PHOTO_SUFFIXES else "a photo, a video or a zip"
            raise Unusable(f"{called} can't be read as {what}: {AGAIN}") from None
        return Verdict("video", "", ending if ending in VIDEO_SUFFIXES else made)
    _photo(path, called, thumbnail)
    return Verdict("photo", "", ending if ending in PHOTO_SUFFIXES else kind)


def _ends(path: Path) -> tuple[bytes, bytes]:
    """The first and last bytes of a file: where files of one size differ, they hardly agree in both."""
    with path.open("rb") as file:
        first = file.read(ENDS)
        file.seek(max(0, size_on_disk(path) - ENDS))
        return first, file.read(ENDS)


def _photo_kind(path: Path, called: str) -> str:
    """The ending for a photo, by its header. Raises Unusable for one that is too large, or damaged."""
    try:
        with Image.open(path, formats=READERS) as image:
            width, height = image.size
            kind = PHOTOS[image.format or ""]
    except UnidentifiedImageError:
        raise
    except Image.DecompressionBombError:
        width = height = MOST_PIXELS
    except DAMAGED as error:
        raise Unusable(f"{called} can't be read as a photo ({_reason(error)}): {AGAIN}") from None
    if width * height > MOST_PIXELS:
        raise Unusable(
            f"{called} has more than {MOST_PIXELS // 10**6} million pixels, too many to use: shrink it first"
        )
    if min(width, height) < FEWEST_PIXELS:
        raise Unusable(f"{called} has only {width} × {height} pixels, too few to use")
    return kind


def _photo(path: Path, called: str, thumbnail: Path) -> None:
    """Decodes a whole photo, which finds out whether it is, and writes its thumbnail. Raises Unusable."""
    try:
        width, height = photo_size(path)
        scale = min(1.0, THUMBNAIL / max(width, height))
        pixels = read_pixels(path, max(1, round(width * scale)), max(1, round(height * scale)))
    except NerfsceneError as error:
        cause = error.__cause__
        why = _reason(cause) if isinstance(cause, Exception) else "it is damaged"
        raise Unusable(f"{called} can't be read as a photo ({why}): {AGAIN}") from None
    _write(Image.fromarray(pixels[..., :3]), thumbnail)


def _reason(error: Exception) -> str:
    """An error of a reader in a few words, without the server's paths."""
    if isinstance(error, MemoryError):
        return "it takes too much memory"
    said = (str(error).strip().splitlines() or [""])[0]
    plain = said and len(said) < 100 and not any(mark in said for mark in ("/", "\\", "<"))
    return said if plain else "it is damaged"


def _write(image: Image.Image, thumbnail: Path) -> None:
    """Writes a thumbnail; a full disk leaves none, which is no fault of the photo."""
    partial = thumbnail.with_suffix(".partial")
    with contextlib.suppress(OSError):
        thumbnail.parent.mkdir(parents=True, exist_ok=True)
        image.save(partial, "JPEG", quality=QUALITY)
        partial.replace(thumbnail)


def _video(path: Path, called: str, thumbnail: Path) -> str:
    """Checks a video by its header and its first picture, which becomes its thumbnail; the ending for it.

    Raises Unusable.
    """
    try:
        look = look_at_video(path, MOST_FRAME)
    except NerfsceneError as error:
        why = str(error).replace(str(path), called)
        raise Unusable(f"{why}: {AGAIN}, or export it as MP4") from None
    if look.seconds > MOST_SECONDS:
        raise Unusable(
            f"{called} lasts longer than {MOST_SECONDS / 60:.0f} minutes; send a shorter part of it"
        )
    if look.first is None:
        raise Unusable(f"{called} has pictures that are too large to use ({look.width} × {look.height})")
    look.first.thumbnail((THUMBNAIL, THUMBNAIL))
    _write(look.first.convert("RGB"), thumbnail)
    return look.ending


def _of_zip(path: Path, job: Job) -> Iterator[Verdict]:
    """Of what a zip holds. Its folders stay as they are: cameras, masks and depth refer to each other."""
    called = shown(job.name)
    _check_claims(path, called, job)
    try:
        folder = unpack(path, Path(job.unpacked))
    except NerfsceneError as error:
        why = str(error).replace(str(path), called).rpartition(":")[0]
        why = why if why and str(path.parent) not in why else f"{called} can't be unpacked"
        raise Unusable(f"{why}; pack the photos again, and nothing else") from None
    photos = find_photos(folder, follow=False)
    videos = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()]
    sizes = {int(size): dict(files) for size, files in job.sizes.items()}
    usable = 0
    for file in (*photos, *videos):
        inside = file.relative_to(folder).as_posix()
        yield Verdict("", name=inside, last=False)
        made, size = new_id(), size_on_disk(file)
        same = sizes.setdefault(size, {})
        try:
            if inside in job.skipped:
                raise Unusable(f"{shown(file.name)} can't be read: {AGAIN}")
            found = _of_media(file, file.name, Path(job.thumbnails) / f"{made}.jpg", same)
            same[str(file)] = file.name
            usable += 1
        except Unusable as error:
            found = Verdict("photo", str(error))
            file.unlink(missing_ok=True)
        yield Verdict(found.kind, found.why, found.ending, inside, made, size, last=False)
    if not usable:
        raise Unusable(
            f"{called} holds no photo or video that can be used; pack photos into it, and send that"
        )
    (folder / DONE).unlink(missing_ok=True)  # a folder with it would be taken for one that nerfscene made
    counted = {*photos, *videos}
    others = sum(size_on_disk(p) for p in folder.rglob("*") if p.is_file() and p not in counted)
    yield Verdict("zip", size=others, folder=str(folder))


def _check_claims(path: Path, called: str, job: Job) -> None:
    """Raises Unusable by what a zip says of itself, before it is unpacked; it can't be unpacked to more."""
    try:
        with zipfile.ZipFile(path) as packed:
            entries = packed.infolist()
    except (*BROKEN, OSError):
        raise Unusable(f"{called} is damaged or cut off: make it again, and send that") from None
    size = sum(entry.file_size for entry in entries)
    if len(entries) > job.most_files:
        raise Unusable(
            f"{called} holds {len(entries)} files; a scene can have {job.most_files} more: pack fewer photos"
        )
    if size > job.most_bytes:
        raise Unusable(
            f"{called} unpacks to {in_words(size)}, for which there is no room; delete scenes that you don't "
            "need, or pack fewer photos"
        )


def limited() -> None:
    """Lets this process use MEMORY and little of the processor, and end with the server.

    It leaves no picture of its memory behind when it ends.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    if sys.platform == "linux":  # elsewhere the limit isn't kept
        import resource

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Otherwise it could still unpack a zip when the server is started again after it was killed.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def answer(lines: Iterator[str], tell: Callable[[str], object]) -> None:
    """Answers each line with the verdicts on its job, a line each."""
    for line in lines:
        for verdict in verdicts(Job(**json.loads(line))):
            tell(json.dumps(asdict(verdict)) + "\n")


def main() -> None:
    """``python -m nerfscene.serve.checks``: answers standard input until it ends."""
    limited()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    answer(iter(sys.stdin.readline, ""), out.write)


if __name__ == "__main__":
    main()

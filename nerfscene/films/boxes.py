"""The boxes of which .mp4 and .mov files consist: reading them, and making the one with the index larger.

A box is its size (32 bits, big endian, counted from the box's first byte), four letters, and what it holds.
A size of 1 means that 64 bits of size follow the letters, and 0 that the box goes on to the end (ISO/IEC
14496-12, "ISO base media file format", section 4.2). The index, ``moov``, says where in the file each piece
of the film lies, so when it grows in front of them, these numbers grow too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from nerfscene.errors import NerfsceneError

Change = Callable[[bytes], bytes]
CHUNK_OFFSETS = {b"stco": ">I", b"co64": ">Q"}
TO_OFFSETS = (b"trak", b"mdia", b"minf", b"stbl")
AT_ONCE = 1 << 24  # bytes of a film that are moved at once


def box(kind: bytes, *contents: bytes) -> bytes:
    """A box of this kind, four letters, that holds ``contents``."""
    held = b"".join(contents)
    return struct.pack(">I4s", 8 + len(held), kind) + held


def full_box(kind: bytes, *contents: bytes) -> bytes:
    """A box whose contents begin with a version and flags, all 0."""
    return box(kind, bytes(4), *contents)


def boxes(held: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and contents of each box in ``held``; what is no box at the end, with b"" for a kind.

    Raises ValueError for a box that is larger than what it is in.
    """
    at = 0
    while len(held) - at >= 8:
        size, kind = struct.unpack_from(">I4s", held, at)
        head = 8
        if size == 1 and len(held) - at >= 16:
            (size,), head = struct.unpack_from(">Q", held, at + 8), 16
        elif size == 0:
            if not any(held[at:]):  # QuickTime ends some boxes with a size of 0 and nothing more
                break
            size = len(held) - at
        if not head <= size <= len(held) - at:
            raise ValueError(f"a box {kind!r} of {size} bytes is in {len(held) - at} bytes")
        yield kind, held[at + head : at + size]
        at += size
    if at < len(held):
        yield b"", held[at:]


def changed(held: bytes, way: tuple[bytes, ...], change: Change) -> bytes:
    """The boxes in ``held``; the contents of those at the end of ``way`` become what ``change`` returns.

    way: kinds, from the outermost box to the one to be changed.
    """
    made = []
    for kind, inside in boxes(held):
        if kind == way[0]:
            inside = change(inside) if len(way) == 1 else changed(inside, way[1:], change)
        made.append(box(kind, inside) if kind else inside)
    return b"".join(made)


def change_index(file: Path, change: Change) -> None:
    """Replaces what the ``moov`` of a file holds by what ``change`` makes of it, in place.

    The pieces of the film that come after it move, and the numbers that say where they are change with them.
    Raises NerfsceneError for a file without one, and OSError for a full disk.
    """
    with file.open("r+b") as stream:
        begin, end = _index_of(stream, file)
        stream.seek(begin)
        (_, index), *_ = boxes(stream.read(end - begin))
        new, wide = change(index), False
        while True:
            whole = box(b"moov", new)
            shift = len(whole) - (end - begin)
            try:
                moved = box(b"moov", _shifted(new, shift, end))
                break
            except OverflowError:  # beyond 4 GiB these numbers need 64 bits, which makes the index larger
                assert not wide
                new, wide = changed(new, TO_OFFSETS, _widened), True
        if shift:
            _move_tail(stream, end, shift)
        stream.seek(begin)
        stream.write(moved)


def _index_of(stream: BinaryIO, file: Path) -> tuple[int, int]:
    """Where the ``moov`` of a file begins and ends, in bytes from its beginning."""
    total = stream.seek(0, 2)
    at = 0
    while total - at >= 8:
        stream.seek(at)
        head = stream.read(16)
        size, kind = struct.unpack_from(">I4s", head)
        if size == 1 and len(head) == 16:
            size = struct.unpack_from(">Q", head, 8)[0]
        size = size or total - at
        if not 8 <= size <= total - at:
            break
        if kind == b"moov":
            return at, at + size
        at += size
    raise NerfsceneError(f"{file} is no film in an .mp4 or .mov: it has no index")


def _shifted(index: bytes, shift: int, end: int) -> bytes:
    """The contents of ``moov`` with ``shift`` added to the places of pieces that lie at ``end`` or after it.

    Raises OverflowError if one of them needs more bits than it has.
    """

    def move(held: bytes) -> bytes:
        made = []
        for kind, inside in boxes(held):
            if kind in CHUNK_OFFSETS:
                inside = _renumbered(inside, CHUNK_OFFSETS[kind], shift, end)
            made.append(box(kind, inside) if kind else inside)
        return b"".join(made)

    return changed(index, TO_OFFSETS, move)


def _renumbered(held: bytes, form: str, shift: int, end: int) -> bytes:
    size = struct.calcsize(form)
    (count,) = struct.unpack_from(">I", held, 4)
    made = [held[:8]]
    for i in range(count):
        (place,) = struct.unpack_from(form, held, 8 + size * i)
        place += shift if place >= end else 0
        if place >= 1 << (8 * size):
            raise OverflowError
        made.append(struct.pack(form, place))
    return b"".join(made)


def _widened(held: bytes) -> bytes:
    """The contents of ``stbl`` with each ``stco`` as a ``co64``."""
    made = []
    for kind, inside in boxes(held):
        if kind == b"stco":
            (count,) = struct.unpack_from(">I", inside, 4)
            places = struct.unpack_from(f">{count}I", inside, 8)
            kind, inside = b"co64", inside[:8] + struct.pack(f">{count}Q", *places)
        made.append(box(kind, inside) if kind else inside)
    return b"".join(made)


def _move_tail(stream: BinaryIO, begin: int, shift: int) -> None:
    """Moves all that lies at ``begin`` or after it by ``shift`` bytes, which may be less than 0."""
    total = stream.seek(0, 2)
    starts = range(begin, total, AT_ONCE)
    for start in reversed(starts) if shift > 0 else starts:
        stream.seek(start)
        piece = stream.read(min(AT_ONCE, total - start))
        stream.seek(start + shift)
        stream.write(piece)
    if shift < 0:
        stream.truncate(total + shift)

"""Folders of intermediate results, such as unpacked files or frames: either complete or not there at all.

A result is written to ``<folder>.partial``, which is renamed once everything is in it. Its done.json, which
is written last, says what the result was made from, so that a later run can tell whether to reuse it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nerfscene.capture.json_text import parsed

DONE = "done.json"


@contextmanager
def replacing(folder: Path, of_use: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yields the path ``<folder>.partial`` for the block to create and fill, then renames it to ``folder``.

    The block ends with ``write_done``. An older ``folder`` is replaced. If the block raises, it stays, and
    the partial folder is removed. Raises OSError if something can't be removed or renamed.
    of_use: whether the block can go on with a partial folder that an interruption has left.
    """
    partial, old = _beside(folder)
    of_use = of_use or _never
    if partial.exists() and not of_use(partial):
        shutil.rmtree(partial)
    kept = False
    try:
        yield partial
        if folder.exists():
            # Renamed before it is removed, which takes longer: a kill in between must not leave half of it.
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        try:
            partial.rename(folder)
        except OSError:
            if old.exists() and not folder.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except KeyboardInterrupt:
        kept = of_use(partial)
        raise
    finally:
        if not kept:
            shutil.rmtree(partial, ignore_errors=True)


def _never(partial: Path) -> bool:
    return False


def write_done(partial: Path, content: object) -> None:
    """Writes done.json, which makes the result in ``partial`` complete. Raises OSError."""
    temporary = partial / f".{DONE}"
    temporary.write_text(json.dumps(content, indent=1))
    os.replace(temporary, partial / DONE)


def read_done(folder: Path) -> object:
    """The content of the done.json of a complete result; None if there is none.

    Ends what a killed process was doing: a complete result that had not got its name yet gets it.
    """
    partial, old = _beside(folder)
    with contextlib.suppress(OSError):
        if read_json(partial / DONE) is not None:
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
                folder.rename(old)
            partial.rename(folder)
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    return read_json(folder / DONE)


def complete_results(workdir: Path) -> dict[str, int]:
    """The folders in ``workdir`` that hold a complete result, by name, and when it was made (nanoseconds)."""
    found = {}
    with contextlib.suppress(OSError):
        for entry in sorted(workdir.iterdir()):
            name = entry.name.removesuffix(".partial")
            if entry.is_dir() and isinstance(read_done(workdir / name), dict | list):
                found[name] = (workdir / name / DONE).stat().st_mtime_ns
    return found


def remove_unfinished(workdir: Path) -> None:
    """Removes what interrupted runs left in ``workdir`` and nothing has gone on with, as of other photos."""
    for partial in workdir.glob("*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


def _beside(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + ".old")


def read_json(path: Path) -> object:
    """The content of a JSON file; None if there is no such file or it can't be parsed."""
    try:
        return parsed(path.read_bytes())
    except (OSError, ValueError):
        return None

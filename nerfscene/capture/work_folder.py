"""Folders of intermediate results, such as unpacked files or frames: either complete or not there at all.

A result is written to ``<folder>.partial``, which is renamed once everything is in it. Its done.json says
what the result was made from, so that a later run can tell whether to reuse it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nerfscene.capture.json_text import parsed

DONE = "done.json"


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yields the path ``<folder>.partial`` for the block to create and fill, then renames it to ``folder``.

    An older ``folder`` is replaced. If the block raises, it stays, and the partial folder is removed.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_json(path: Path) -> object:
    """The content of a JSON file; None if there is no such file or it can't be parsed."""
    try:
        return parsed(path.read_bytes())
    except (OSError, ValueError):
        return None

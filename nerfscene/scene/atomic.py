"""Writes files completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from nerfscene.errors import NerfsceneError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; renamed to ``path`` on success, removed on failure.

    Raises NerfsceneError if the disk is full or the folder can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with telling(path):
        try:
            temporary.touch()
            usual_mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(usual_mode)  # safetensors makes its files readable by this user alone
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turns errors of a block that writes ``path`` into NerfsceneError, with a sentence that names it."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        if full:
            raise NerfsceneError(
                f"the disk is full while writing {path}; free some space and run the same command again"
            ) from error
        raise NerfsceneError(f"{path} can't be written ({error}); choose another folder with -o") from error


def write_json(data: dict[str, Any], path: Path) -> None:
    """Writes JSON with ``writing``. Raises ValueError for numbers that are not finite."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")

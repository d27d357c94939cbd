"""Writes files completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from nerfscene.errors import NerfsceneError

FULL = (errno.ENOSPC, errno.EDQUOT)
LEFTOVER = re.compile(r"\.(.+)\.(\d+)\.tmp")  # as ``writing`` names its temporary files: of what, by whom


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; renamed to ``path`` on success, removed on failure.

    To replace several files together, nest the contexts and write everything in the innermost block: until
    all is written, nothing is replaced. The outermost file is replaced last.
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
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) in FULL or "No space left" in reason:
            raise NerfsceneError(
                f"the disk is full while writing {path}; free some space and run the same command again"
            ) from error
        raise NerfsceneError(
            f"{path} can't be written ({reason}); make its folder writable, or choose another one"
        ) from error


def write_json(data: dict[str, Any], path: Path) -> None:
    """Writes JSON with ``writing``. Raises ValueError for numbers that are not finite."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Removes temporary files that killed processes left in ``folder``: all, or those of the file ``name``.

    Those of processes that still run stay.
    """
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            made = LEFTOVER.fullmatch(entry)
            if made and name in (None, made[1]) and not runs(int(made[2])):
                with contextlib.suppress(OSError):
                    (folder / entry).unlink()


def runs(process: int) -> bool:
    """Whether there is a process with this number. This process counts: other threads may be writing."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True

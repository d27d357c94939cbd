"""Lets only one process at a time work in a folder, such as one training in a scene's."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nerfscene.errors import NerfsceneError

try:
    import fcntl
except ImportError:  # Windows: the file's contents alone must do
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".training.lock"
# What flock answers on a file system that has no locks.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}

_held: set[str] = set()  # locks of this process: over a network, flock may not tell its threads apart
_guard = threading.Lock()


@contextlib.contextmanager
def only_one(folder: Path, name: str = LOCK_FILE, doing: str = "training in") -> Iterator[None]:
    """Keeps others that do the same out of ``folder``, which must exist, during the block.

    name: of the lock file in it. doing: what the others are told that this process does there.

    The lock is flock's: the system drops it however the process ends, and it holds across machines where the
    network file system passes it on, as NFS does. Where there is no flock, the process named in the file
    counts, as long as it runs; one of another machine then counts always.
    Raises NerfsceneError at once if another process has the folder, or if it can't be written.
    """
    path = folder / name
    key = os.path.realpath(path)
    with _guard:
        if key in _held:
            raise _taken(path, doing, {"pid": os.getpid(), "host": socket.gethostname()})
        _held.add(key)
    try:
        opened = _opened(path, doing)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # before the lock goes, so that nobody else's is removed
                path.unlink()
            os.close(opened)
    finally:
        with _guard:
            _held.discard(key)


def _opened(path: Path, doing: str) -> int:
    """The lock file's descriptor, with the lock."""
    while True:
        try:
            opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise NerfsceneError(
                f"{path.parent} can't be written ({error.strerror}); choose another folder with -o"
            ) from error
        try:
            _lock(opened, path, doing)
            with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
                named = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
                os.ftruncate(opened, 0)
                os.pwrite(opened, named.encode(), 0)
        except BaseException:
            os.close(opened)
            raise
        if _is_at(opened, path):
            return opened
        os.close(opened)  # whoever had the lock has just removed its file


def _lock(opened: int, path: Path, doing: str) -> None:
    """Raises NerfsceneError if another process has the lock."""
    try:
        if fcntl is not None:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise _taken(path, doing, _named(opened)) from error
    holder = _named(opened)
    if holder and _runs(holder):
        raise _taken(path, doing, holder)


def _named(opened: int) -> dict[str, Any]:
    """The process that the lock file names; {} if it names none."""
    try:
        named = json.loads(os.pread(opened, 1000, 0))
        holder: dict[str, Any] = {"pid": int(named["pid"]), "host": str(named["host"])}
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError):
        return {}
    return holder if holder["pid"] > 0 else {}


def _runs(holder: dict[str, Any]) -> bool:
    """Whether the process may still run. This one doesn't count: ``_held`` would know."""
    if holder["host"] != socket.gethostname():
        return True
    if holder["pid"] == os.getpid():
        return False
    try:
        os.kill(holder["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True


def _is_at(opened: int, path: Path) -> bool:
    """Whether an open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(opened), os.stat(path))
    except OSError:
        return False


def holder_of(folder: Path, name: str = LOCK_FILE) -> int | None:
    """The process that a lock file names, if there is one; it may have ended."""
    try:
        opened = os.open(folder / name, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _named(opened).get("pid")
    finally:
        os.close(opened)


def _taken(path: Path, doing: str, holder: dict[str, Any]) -> NerfsceneError:
    folder, who, forced = path.parent, "another process", ""
    if holder:
        who = f"process {holder['pid']}"
        if holder["host"] != socket.gethostname():
            who += f" on {holder['host']}"
            forced = f" (if that has ended, delete {path})"
    return NerfsceneError(
        f"{who} is {doing} {folder}: wait until it has ended{forced}, or choose another folder"
        + (" with -o" if path.name == LOCK_FILE else "")
    )

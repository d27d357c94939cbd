"""What every server of viser's needs here: a port of its own, and silence."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
import threading
from collections.abc import Iterator
from typing import TextIO


def free_port() -> int:
    """A port on this machine that nothing listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class _WithoutOne(io.TextIOBase):
    """A text stream that drops what one thread writes."""

    def __init__(self, stream: TextIO, thread: threading.Thread | None) -> None:
        self._stream, self._thread = stream, thread

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread() is self._thread else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


@contextlib.contextmanager
def quiet(thread: threading.Thread | None) -> Iterator[None]:
    """Drops what viser prints from a thread: its port, which is for nobody to open, and that it stopped."""
    with contextlib.redirect_stdout(_WithoutOne(sys.stdout, thread)):
        yield

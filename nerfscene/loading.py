"""Ctrl-C and `kill` while modules are loaded, and afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Holds Ctrl-C back while modules are loaded in the block, and raises KeyboardInterrupt after it.

    Compiled modules turn a KeyboardInterrupt that reaches them while they load into an ImportError, or pass
    over it, and some can't be loaded a second time. A program's own handler of SIGINT is left alone.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or usual is not signal.default_int_handler:
        yield
        return
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if pressed:
            raise KeyboardInterrupt


INTERRUPTED = 130  # the exit code after Ctrl-C


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """Ctrl-C or `kill` during the block ends the process at once. For commands that have not begun to work.

    Importing pycolmap installs a handler of its own for `kill`; the one from before is put back.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        os.write(2, b"nerfscene: interrupted\n")
        os._exit(INTERRUPTED)

    with _handled({signal.SIGINT: leave, signal.SIGTERM: leave}):
        yield


@contextlib.contextmanager
def killed_as_interrupted() -> Iterator[None]:
    """`kill` during the block raises KeyboardInterrupt, as Ctrl-C does, so that all is tidied up."""
    with _handled({signal.SIGTERM: signal.default_int_handler}):
        yield


@contextlib.contextmanager
def _handled(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    """Handles signals in the block, except those that are ignored (nohup) or handled by someone else."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        ours = (signal.SIG_DFL, signal.default_int_handler)
        before = {number: signal.getsignal(number) for number in handlers if signal.getsignal(number) in ours}
    try:
        for number in before:
            signal.signal(number, handlers[number])
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

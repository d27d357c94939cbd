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
    over it, and some can't be loaded a second time. A program's own handler of SIGINT is left alone. `kill`
    is held back too, and handled as before the block: see ``leaving_at_once``.
    """
    with _held_back(signal.SIGTERM):
        usual = signal.getsignal(signal.SIGINT)
        ours = usual is signal.default_int_handler
        if threading.current_thread() is not threading.main_thread() or not ours:
            yield
            return
        with _noted(usual):
            yield


@contextlib.contextmanager
def _noted(usual: Any) -> Iterator[None]:
    """Notes Ctrl-C in the block, and raises KeyboardInterrupt after it. usual: its handler from before."""
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
    """Ctrl-C during the block ends the process at once, and `kill` at its end. For commands that only begin.

    Importing pycolmap installs a handler for `kill` that prints a stack trace. So `kill` is held back, and
    the handler from before is put back.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        os.write(2, b"nerfscene: interrupted\n")
        os._exit(INTERRUPTED)

    with _held_back(signal.SIGTERM), _handled(signal.SIGINT, leave):
        yield


def begun(handler: Any) -> None:
    """Puts Python's own handler of Ctrl-C back where ``handler`` is in its place."""
    if signal.getsignal(signal.SIGINT) is handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def killed_as_interrupted() -> Iterator[None]:
    """`kill` during the block raises KeyboardInterrupt, as Ctrl-C does, so that all is tidied up."""
    with _handled(signal.SIGTERM, signal.default_int_handler):
        yield


@contextlib.contextmanager
def _handled(number: signal.Signals, handler: Any) -> Iterator[None]:
    """Handles a signal in the block, unless it is ignored (nohup) or handled by someone else."""
    before = signal.getsignal(number)
    ours = before in (signal.SIG_DFL, signal.default_int_handler)
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextlib.contextmanager
def _held_back(number: signal.Signals) -> Iterator[None]:
    """Holds a signal back until the end of the block, and then has it handled as before."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.getsignal(number)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        if before is not None:  # else somebody's that Python does not know
            signal.signal(number, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

"""Keeps the priority of this process's threads, which an encoder may raise.

SVT-AV1 gives its threads real-time priority where the system allows that, which it does to root, and gives
it to the thread that opens the encoder too. Others must then wait until such a thread rests. Ours don't rest
while they wait for each other, so that rendering would stand still.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def kept_priority() -> Iterator[Callable[[], None]]:
    """Gives a function that sets all threads of this process back to how this one is scheduled now.

    It is called at the end of the block, too. Does nothing where the system isn't Linux.
    """
    if sys.platform != "linux":
        yield lambda: None
        return
    usual, parameters = os.sched_getscheduler(0), os.sched_getparam(0)

    def restore() -> None:
        for thread in _threads():
            with contextlib.suppress(OSError):  # it has ended
                if os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR):
                    os.sched_setscheduler(thread, usual, parameters)

    try:
        yield restore
    finally:
        restore()


def _threads() -> list[int]:
    """The threads of this process; this one alone if the system doesn't tell."""
    try:
        return [int(name) for name in os.listdir("/proc/self/task")]
    except OSError:
        return [0]

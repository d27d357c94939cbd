"""Spreads numpy's work over threads: numpy lets others work while it computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

from nerfscene.exporters.told import Told
from nerfscene.ops.backend import thread_count

CHUNK = 1 << 15  # as many positions as stay in a core's cache with what is computed from them


def in_chunks(count: int, work: Callable[[slice], None], told: Told, stage: str, threads: int = 0) -> None:
    """Calls ``work`` for slices that together cover ``count`` things; tells progress after each.

    threads: as many calls at once; 0: one for each core. What ``work`` or the progress raises ends it.
    """
    parts = [slice(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    with ThreadPoolExecutor(thread_count(threads)) as pool:
        futures = [pool.submit(work, part) for part in parts]
        try:
            for done, future in enumerate(as_completed(futures)):
                future.result()
                told.progress(stage, (done + 1) / len(parts))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise

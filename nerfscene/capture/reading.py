"""Reads many photos, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.photos import StageListener, read_pixels, silent, worker_count


def read_each(
    paths_and_sizes: Sequence[tuple[Path, int, int]],
    use: Callable[[int, NDArray[np.uint8]], None],
    progress: StageListener = silent,
) -> None:
    """Calls ``use`` with the index and the read_pixels result of every (path, width, height).

    On all cores: several calls run at the same time, in threads and in any order, and each holds one photo.
    Raises NerfsceneError when a photo can't be decoded, and what ``use`` raises.
    """
    jobs = enumerate(paths_and_sizes)
    with ThreadPoolExecutor(worker_count()) as pool:
        for count, _ in enumerate(pool.map(lambda job: use(job[0], read_pixels(*job[1])), jobs), 1):
            progress("reading photos", count / len(paths_and_sizes))

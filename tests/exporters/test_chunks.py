"""Work spread over threads."""

from __future__ import annotations

import numpy as np
import pytest

from nerfscene.exporters.chunks import CHUNK, in_chunks
from nerfscene.exporters.told import Told


@pytest.mark.parametrize("count", [0, 1, CHUNK, 5 * CHUNK + 3])
def test_every_part_is_done_once(count: int) -> None:
    done = np.zeros(count, int)

    def work(part: slice) -> None:
        done[part] += 1

    shares: list[float] = []
    in_chunks(count, work, Told(progress=lambda stage, share: shares.append(share)), "counting", threads=3)
    assert (done == 1).all()
    assert shares == sorted(shares)
    assert shares[-1:] == ([1.0] if count else [])


def test_what_the_progress_raises_ends_the_work() -> None:
    begun: list[slice] = []

    def stop(stage: str, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_chunks(100 * CHUNK, begun.append, Told(progress=stop), "counting", threads=1)


def test_what_the_work_raises_is_raised() -> None:
    def work(part: slice) -> None:
        raise ValueError(part)

    with pytest.raises(ValueError, match="slice"):
        in_chunks(3 * CHUNK, work, Told(), "counting")

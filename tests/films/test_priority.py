"""Encoders leave the threads of this process as they are scheduled."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from nerfscene.films import video
from nerfscene.films.codecs import check_encodable, has, known
from nerfscene.films.priority import kept_priority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux schedules threads so")


def policies() -> set[int]:
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}


@pytest.mark.parametrize("name", ["av1", "h264", "h265", "vp9"])
def test_an_encoder_raises_no_thread_s_priority(name: str, tmp_path: Path) -> None:
    codec = known(name)
    if not has(codec):
        pytest.skip(f"this PyAV has no {name}")
    before = os.sched_getscheduler(0)
    check_encodable(codec, (64, 64), 24)
    assert os.sched_getscheduler(0) == before
    seen: list[set[int]] = []

    def frames():  # type: ignore[no-untyped-def]
        for _ in range(4):
            yield np.zeros((64, 64, 3), np.uint8)
            seen.append(policies())

    video.write_film(frames(), tmp_path / f"film{codec.endings[0]}", 24, codec=codec)
    assert os.sched_getscheduler(0) == before
    assert not any(found & {os.SCHED_FIFO, os.SCHED_RR} for found in seen), (
        "of any thread, from the first frame on"
    )
    new: list[int] = []
    thread = threading.Thread(target=lambda: new.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    assert new == [before]


def test_what_was_raised_is_set_back() -> None:
    before = os.sched_getscheduler(0)
    with kept_priority() as restore:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            pytest.skip("this system lets nobody have real-time priority here")
        restore()
        assert os.sched_getscheduler(0) == before
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    assert os.sched_getscheduler(0) == before

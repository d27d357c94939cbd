#!/bin/sh
# SVT-AV1 gives the thread that opens it real-time priority, and leaves it so when it is closed.
#
# Met with: av 18.1.0 (FFmpeg 8.1.2 and the SVT-AV1 in PyAV's wheel), numpy 2.3.5, Python 3.11, Linux x86-64, as root or
# with CAP_SYS_NICE. Others may not raise a priority, and nothing happens.
# Valid input: three black pictures of 64×64, encoded with libsvtav1's defaults.
# Seen: before, the calling thread's policy is SCHED_OTHER. After the first frame it is SCHED_FIFO with priority 99, and so
# it stays after the file has been closed; threads begun later inherit it. libx264 and libvpx-vp9 leave it as it is.
# Why it matters: a thread of such priority is not interrupted by those of usual priority. Where it waits for one of these by
# asking again and again (spinning, sched_yield), as thread pools of numeric code do, the other hardly runs: a program that
# computes on all cores nearly stands still after it has written one AV1 film, with half of its time spent in the kernel.
# Exit code: 0 if it is still so, 1 if it has changed, 2 where the system lets nobody raise a priority.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
import os
import sys
import threading

import av
import numpy as np

NAMES = {os.SCHED_OTHER: "other", os.SCHED_FIFO: "fifo", os.SCHED_RR: "rr", os.SCHED_BATCH: "batch"}


def policy() -> str:
    return NAMES.get(os.sched_getscheduler(0), "?")


def films(encoder: str, name: str) -> list[str]:
    seen = [policy()]
    with av.open(name, "w") as film:
        stream = film.add_stream(encoder, rate=24)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            black = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
            film.mux(stream.encode(black))
        seen.append(policy())
        film.mux(stream.encode())
    inherited: list[str] = []
    thread = threading.Thread(target=lambda: inherited.append(policy()))
    thread.start()
    thread.join()
    return [*seen, policy(), *inherited]


usual, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setscheduler(0, usual, parameters)
except PermissionError:
    sys.exit(2)
for encoder, name in (("libx264", "a.mp4"), ("libvpx-vp9", "b.webm"), ("libsvtav1", "c.mp4")):
    seen = films(encoder, name)
    print(f"{encoder}: before {seen[0]}, after a frame {seen[1]}, closed {seen[2]}, a new thread {seen[3]}")
    if seen != (["other"] * 4 if encoder != "libsvtav1" else ["other", "fifo", "fifo", "fifo"]):
        sys.exit(1)
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.3.5
status=0
SVT_LOG=0 v/bin/python look.py || status=$?
case $status in
    0) echo "as it was" ;;
    2) echo "this system lets nobody raise a priority: run it as root" ;;
    *) echo "changed" ;;
esac
exit $status

#!/bin/sh
# PyAV's figure of how a frame is turned, frame.rotation, is the same for mirrored and for plain videos.
#
# Met with: av 18.1.0, numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: H.264 in MP4 whose display matrix mirrors the picture (tkhd, ISO/IEC 14496-12), as some front cameras
# and editors write it. Players, and FFmpeg itself, show it mirrored.
# Seen: mirrored across, rotation is -180 as for a video on its head; mirrored from top to bottom, it is 0 as for a
# plain one; turned by 90° and mirrored, it is -90 as if only turned. The matrix itself is in the frame's side data
# (DISPLAYMATRIX), from which one can tell.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.3.5
cat >look.py <<'P'
import struct
import sys

import av
import numpy as np

with av.open("plain.mp4", "w") as film:
    stream = film.add_stream("libx264", rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
    film.mux([*stream.encode(frame), *stream.encode()])
plain = open("plain.mp4", "rb").read()
at = plain.index(b"tkhd") + 44
# What is shown, the matrix (a, b, c, d), and the rotation that PyAV 18.1.0 gives.
given = {
    "on its head": ((-1, 0, 0, -1), -180),
    "mirrored across": ((-1, 0, 0, 1), -180),
    "mirrored from top to bottom": ((1, 0, 0, -1), 0),
    "turned": ((0, 1, -1, 0), -90),
    "turned and mirrored": ((0, 1, 1, 0), -90),
}
changed = 0
for name, ((a, b, c, d), expected) in given.items():
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    open("film.mp4", "wb").write(plain[:at] + matrix + plain[at + 36 :])
    with av.open("film.mp4") as film:
        frame = next(film.decode(video=0))
        inside = [item for item in frame.side_data if item.type.name == "DISPLAYMATRIX"]
        numbers = np.frombuffer(inside[0], np.int32)[[0, 1, 3, 4]] >> 16
    print(f"{name}: rotation {frame.rotation}, matrix {numbers.tolist()}")
    changed |= frame.rotation != expected or tuple(numbers) != (a, b, c, d)
sys.exit(changed)
P
v/bin/python look.py

#!/bin/sh
# PyAV and OpenCV count a frame of an MP4 that they don't deliver: frame i read is frame i+1 of the file.
#
# Met with: av 18.1.0 (FFmpeg 8), opencv-python-headless 4.12.0.88, numpy 2.2.6, Python 3.11, Linux x86-64.
# Valid input: H.264 in MP4 whose first frame has the time -1/60 s, so that the file's edit list begins after it.
# Stray Scanner, an app that records a video with a camera pose for each frame, writes its videos like this (its
# DatasetEncoder takes the counter before adding 1, and the session starts at time 0), and people report one frame
# fewer than poses in each of their recordings.
# Seen: of 20 frames, PyAV says stream.frames == 20 and OpenCV CAP_PROP_FRAME_COUNT == 20, but both deliver 19,
# beginning with the second: whoever pairs frames and poses in order, as the app's own viewer does, is off by one.
# av.open(..., options={"ignore_editlist": "1"}) delivers all 20.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
from fractions import Fraction

import av
import cv2
import numpy as np

COUNT, STEP = 20, 10  # frame i is grey of STEP times i
with av.open("film.mp4", "w") as film:
    stream = film.add_stream("libx264", rate=60)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    stream.options = {"crf": "1"}
    stream.codec_context.time_base = Fraction(1, 60)
    for i in range(COUNT):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), STEP * i, np.uint8), format="rgb24")
        frame.pts, frame.time_base = i - 1, Fraction(1, 60)
        film.mux(stream.encode(frame))
    film.mux(stream.encode())


def by_pyav(options):
    with av.open("film.mp4", options=options) as film:
        greys = [frame.to_ndarray(format="rgb24").mean() for frame in film.decode(video=0)]
        return film.streams.video[0].frames, [round(grey / STEP) for grey in greys]


def by_opencv():
    film = cv2.VideoCapture("film.mp4")
    count, greys = int(film.get(cv2.CAP_PROP_FRAME_COUNT)), []
    while True:
        more, picture = film.read()
        if not more:
            return count, [round(grey / STEP) for grey in greys]
        greys.append(picture.mean())


seen = []
for name, (stated, frames) in {
    f"av {av.__version__}": by_pyav({}),
    f"av {av.__version__}, ignore_editlist": by_pyav({"ignore_editlist": "1"}),
    f"opencv {cv2.__version__}": by_opencv(),
}.items():
    print(f"{name}: states {stated} frames, delivers {len(frames)}, the first is number {frames[0]}")
    seen.append(f"{stated}/{len(frames)}/{frames[0]}")
print(*seen, file=open("seen", "w"))
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check av==18.1.0 opencv-python-headless==4.12.0.88 numpy==2.2.6
v/bin/python look.py
[ "$(cat seen)" = "20/19/1 20/20/0 20/19/1" ] || { echo "changed: saw $(cat seen)"; exit 1; }

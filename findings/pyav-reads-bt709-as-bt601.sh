#!/bin/sh
# PyAV 16 turns a film tagged as BT.709 into RGB by BT.601's matrix; PyAV 17 uses the film's own.
#
# Met with: av 16.0.1 (FFmpeg 8.0) and av 17.0.0, numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: H.264 in MP4, one colour, colour space, primaries, transfer and range all tagged BT.709 (limited),
# as phones and nearly all cameras write HD video. PyAV itself reports the tag: frame.colorspace is 1 (BT.709).
# Seen: to_ndarray(format="rgb24") gives (51, 227, 45) in 16.0.1 for a film of (40, 200, 40); naming the matrix,
# reformat(format="rgb24", src_colorspace="ITU709"), changes nothing there. 17.0.0 gives (39, 199, 39) both ways.
# Nothing warns of it: greens of a photo set taken from a video are simply too bright.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
from fractions import Fraction

import av
import numpy as np

GIVEN = (40, 200, 40)
with av.open("film.mp4", "w") as film:
    stream = film.add_stream("libx264", rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt, stream.options = "yuv420p", {"crf": "1"}
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
    context.color_range = 1  # limited
    # The luma and chroma of GIVEN by BT.709 (Kr 0.2126, Kb 0.0722), so that no converter writes the film.
    r, g, b = (c / 255 for c in GIVEN)
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    y, u, v = 16 + 219 * luma, 128 + 224 * (b - luma) / 1.8556, 128 + 224 * (r - luma) / 1.5748
    planes = np.concatenate([np.full(64 * 64, round(y)), np.full(32 * 32, round(u)), np.full(32 * 32, round(v))])
    frame = av.VideoFrame.from_ndarray(planes.astype(np.uint8).reshape(96, 64), format="yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 10)
    for packet in [*stream.encode(frame), *stream.encode()]:
        film.mux(packet)
with av.open("film.mp4") as film:
    frame = next(film.decode(video=0))
    assert frame.colorspace == 1, "the film is not tagged BT.709"
    plain = frame.to_ndarray(format="rgb24")[30, 30].tolist()
    told = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()[30, 30].tolist()
right = max(abs(a - b) for a, b in zip(plain, GIVEN)) <= 2
right_if_told = max(abs(a - b) for a, b in zip(told, GIVEN)) <= 2
print(f"av {av.__version__}: given {GIVEN}, read {plain}, told its matrix {told}")
print("right" if right else "wrong", "right" if right_if_told else "wrong", file=open("seen", "w"))
P
changed=0
see() {  # version, what is expected of reading it plainly and of naming the matrix
    python3 -m venv "v$1"
    "v$1/bin/pip" install --quiet --disable-pip-version-check "av==$1" numpy==2.3.5
    "v$1/bin/python" look.py
    [ "$(cat seen)" = "$2" ] || { echo "changed: expected $2, saw $(cat seen)"; changed=1; }
}
see 16.0.1 "wrong wrong"
see 17.0.0 "right right"
exit $changed

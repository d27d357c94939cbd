#!/bin/sh
# PyAV reads a transparent WebM film as opaque, and says nothing; only libvpx's decoder, asked for by name, sees alpha.
#
# Met with: av 18.1.0 (FFmpeg 8.1), numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: VP9 in WebM with alpha beside each frame (BlockAdditional) and the track's AlphaMode 1, as browsers play
# it. The left half is opaque, the right half transparent.
# Seen: container.decode gives yuv420p frames, opaque throughout, though the stream's metadata say alpha_mode 1;
# CodecContext.create("libvpx-vp9", "r") gives yuva420p from the same packets, with alpha 255 and 0.
# A program that takes a film as a layer over another so covers what should show through.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
import av
import numpy as np

given = np.full((64, 64, 4), 200, np.uint8)
given[:, :32, 3], given[:, 32:, 3] = 255, 0
with av.open("film.webm", "w") as film:
    stream = film.add_stream("libvpx-vp9", rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt, stream.options = "yuva420p", {"crf": "10", "b": "0", "auto-alt-ref": "0"}
    for i in range(3):
        frame = av.VideoFrame.from_ndarray(given, format="rgba").reformat(format="yuva420p")
        film.mux(stream.encode(frame))
    film.mux(stream.encode())


def alpha(frame):
    pixels = frame.to_ndarray(format="rgba")
    return frame.format.name, int(pixels[32, 8, 3]), int(pixels[32, 56, 3])


with av.open("film.webm") as film:
    said = {key.lower(): value for key, value in film.streams.video[0].metadata.items()}.get("alpha_mode")
    plain = alpha(next(film.decode(video=0)))
with av.open("film.webm") as film:
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    frames = [frame for packet in film.demux(video=0) for frame in decoder.decode(packet)]
    named = alpha(frames[0])
print(f"av {av.__version__}: alpha_mode {said}; plainly {plain}; by libvpx {named}")
print(said, *plain, *named, file=open("seen", "w"))
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.3.5
v/bin/python look.py
expected="1 yuv420p 255 255 yuva420p 255 0"
[ "$(cat seen)" = "$expected" ] || { echo "changed: expected $expected, saw $(cat seen)"; exit 1; }

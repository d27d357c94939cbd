#!/bin/sh
# FFmpeg's ProRes encoder tags a film with what its frames say of their colours, and passes over the encoder's own tags.
#
# Met with: av 18.1.0 (FFmpeg 8.1), numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: ProRes 4444 in MOV; the encoder's primaries, transfer and matrix are all set to BT.709 (1), as H.264,
# H.265, VP9 and AV1 take it. The frames, converted from RGB, leave primaries and transfer unsaid (2).
# Seen: the file's colr atom says 1, 1, 1, but the ProRes frames say 2 (unspecified) for primaries and transfer, and so
# does PyAV when it has read one; the two disagree within one file. H.264 made in the same way says 1 throughout. With
# color_primaries and color_trc set on each frame as well, ProRes says 1 too.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
import av
import numpy as np


def tags(encoder, pixels, on_frames):
    with av.open("film.mov", "w") as film:
        stream = film.add_stream(encoder, rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = context.color_range = 1
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
        frame = frame.reformat(format=pixels, dst_colorspace="ITU709", dst_color_range="MPEG")
        if on_frames:
            frame.color_primaries = frame.color_trc = 1
        film.mux(stream.encode(frame))
        film.mux(stream.encode())
    raw = open("film.mov", "rb").read()
    at = raw.index(b"colrnclc") + 8
    said = [int.from_bytes(raw[at + 2 * i : at + 2 * i + 2], "big") for i in range(3)]
    with av.open("film.mov") as film:
        frame = next(film.decode(video=0))
        read = [int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace)]
    print(f"av {av.__version__} {encoder}, frames tagged: {on_frames}; colr says {said}, frames read {read}")
    return [*said, *read]


made = [tags("libx264", "yuv420p", False), tags("prores_ks", "yuv444p10le", False)]
made.append(tags("prores_ks", "yuv444p10le", True))
print(*(number for row in made for number in row), file=open("seen", "w"))
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.3.5
v/bin/python look.py
expected="1 1 1 1 1 1 1 1 1 2 2 1 1 1 1 1 1 1"
[ "$(cat seen)" = "$expected" ] || { echo "changed: expected $expected, saw $(cat seen)"; exit 1; }

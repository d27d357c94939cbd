#!/bin/sh
# A film of all round stops being one when FFmpeg copies it into another .mp4 or .mov; into .mkv it stays one.
#
# Met with: av 18.1.0 (its wheel's FFmpeg), numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: H.264 in MP4 whose sample entry has st3d and sv3d as Google's "Spherical Video V2 RFC" lays them
# out: VR180, the left eye's picture on the left, equirectangular, a quarter left out on either side. FFmpeg's own
# reader finds all of it.
# Seen: a copy without encoding (a stream made from the film's as a template, the packets muxed unchanged) into
# .mp4 has neither the projection nor the stereo layout; one into .mov has no projection, and an unspecified stereo
# layout (8) instead of side by side (1); one into .mkv has both, with the same numbers. Nothing warns of it.
# Players then show two round pictures side by side on a flat screen. FFmpeg writes these boxes into .mp4 only with
# -strict unofficial.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
import struct

import av
import numpy as np

with av.open("plain.mp4", "w") as film:  # without faststart the index comes last, and nothing moves if it grows
    stream = film.add_stream("libx264", rate=10)
    stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
    for i in range(5):
        picture = np.full((64, 128, 3), 40 * i, np.uint8)
        film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    film.mux(stream.encode())


def box(kind, *held):
    held = b"".join(held)
    return struct.pack(">I4s", 8 + len(held), kind) + held


quarter = 1 << 30
ours = box(b"st3d", bytes(4), b"\x02") + box(
    b"sv3d",
    box(b"svhd", bytes(4), b"by hand\0"),
    box(
        b"proj",
        box(b"prhd", bytes(4), struct.pack(">iii", 0, 0, 0)),
        box(b"equi", bytes(4), struct.pack(">IIII", 0, 0, quarter, quarter)),
    ),
)
data = bytearray(open("plain.mp4", "rb").read())
index = data.rindex(b"moov")
at = data.index(b"avcC", index) - 4
at += struct.unpack_from(">I", data, at)[0]
for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
    place = data.index(kind, index) - 4
    struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(ours))
data[at:at] = ours
open("round.mp4", "wb").write(data)


def told(name):
    with av.open(name) as film:
        sides = {side.type.name: bytes(side) for side in next(film.decode(video=0)).side_data}
    sphere, stereo = sides.get("SPHERICAL"), sides.get("STEREO3D")
    sphere = sphere and struct.unpack_from("=i3i4I", sphere)
    return sphere, stereo and struct.unpack_from("=i", stereo)[0]


def copied(name):
    with av.open("round.mp4") as source, av.open(name, "w") as made:
        stream = made.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    return told(name)


whole = (2, 0, 0, 0, quarter, 0, quarter, 0)  # tiled: with bounds; yaw, pitch, roll; left, top, right, bottom
assert told("plain.mp4") == (None, None)
assert told("round.mp4") == (whole, 1), "FFmpeg doesn't read the boxes"
seen = {ending: copied(f"copy.{ending}") for ending in ("mp4", "mov", "mkv")}
print(f"av {av.__version__}: {seen}")
raise SystemExit(0 if seen == {"mp4": (None, None), "mov": (None, 8), "mkv": (whole, 1)} else 1)
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.3.5
v/bin/python look.py

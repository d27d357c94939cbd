#!/bin/sh
# Pillow reads a PNG in BT.2020 and PQ as if it were sRGB: it passes over the cICP chunk, which goes before ICC.
#
# Met with: Pillow 13.0.0, Python 3.11, Linux x86-64.
# Valid input: PNG with a cICP chunk (PNG, third edition, 11.3.2.6): primaries 9, transfer 16, as screenshots of high
# dynamic range have it. The chunk takes precedence over iCCP, sRGB, gAMA and cHRM.
# Seen: the values come as stored, and image.info, which has "gamma" and "chromaticity" of the older chunks, has none
# of it.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0
cat >look.py <<'P'
import struct
import sys
import zlib

from PIL import Image


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


with open("pq.png", "wb") as file:
    file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)))
    file.write(chunk(b"cICP", bytes((9, 16, 0, 1))) + chunk(b"gAMA", struct.pack(">I", 45455)))
    file.write(chunk(b"IDAT", zlib.compress(4 * (b"\0" + 4 * bytes((148, 148, 148))))) + chunk(b"IEND", b""))
with Image.open("pq.png") as image:
    image.load()
    print(f"value {image.getpixel((1, 1))}, info {image.info}")
    sys.exit(image.getpixel((1, 1)) != (148, 148, 148) or sorted(image.info) != ["gamma"])
P
v/bin/python look.py

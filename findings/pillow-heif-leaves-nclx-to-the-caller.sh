#!/bin/sh
# pillow-heif as Pillow's plugin decodes HEIC in PQ or Display P3 to plain "RGB" and leaves the colours to the caller.
#
# Met with: pillow-heif 1.8.1 (libheif 1.23.6), Pillow 13.0.0, numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: HEIC of 10 bits whose nclx profile says BT.2020 and PQ (9 and 16 of ITU-T H.273), as cameras' .hif files
# of high dynamic range do, and one of Display P3 (12 and 13). No ICC profile.
# Seen: the picture has mode RGB, 8 bits, and the stored values: PQ's 0.58, which is white paper, becomes a mid-grey
# 148. Image.convert and ImageCms have nothing to go by, since info["icc_profile"] is missing; info["nclx_profile"] has
# the numbers. With convert_hdr_to_8bit=False, the 10 bits are the upper ones of 16: white is 65472, not 65535.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 pillow-heif==1.8.1 numpy==2.3.5
cat >look.py <<'P'
import sys

import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()
as_expected = True
for name, primaries, transfer, level in (("PQ", 9, 16, 0.58), ("Display P3", 12, 13, 0.58), ("PQ's end", 9, 16, 1.0)):
    values = np.full((64, 64, 3), round(65535 * level), np.uint16)
    heif = pillow_heif.from_bytes("RGB;16", (64, 64), values.tobytes())
    heif.save("a.heic", quality=-1, color_primaries=primaries, transfer_characteristics=transfer)
    with Image.open("a.heic") as image:
        value, info = int(np.asarray(image)[30, 30, 1]), image.info
    deep = int(np.asarray(pillow_heif.open_heif("a.heic", convert_hdr_to_8bit=False))[30, 30, 1])
    numbers = info["nclx_profile"]["color_primaries"], info["nclx_profile"]["transfer_characteristics"]
    print(f"{name}: stored {level}, read as {value} of 255, {deep} of 65535; {numbers}, ICC {'icc_profile' in info}")
    as_expected &= image.mode == "RGB" and abs(value - 255 * level) <= 2 and numbers == (primaries, transfer)
    as_expected &= "icc_profile" not in info and (level < 1 or deep == 65472)
sys.exit(not as_expected)
P
v/bin/python look.py

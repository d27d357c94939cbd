#!/bin/sh
# Pillow opens AVIF without telling which colours its nclx profile gives, and does not convert them.
#
# Met with: Pillow 13.0.0 (libavif 1.4.2), pillow-heif 1.8.1 (libheif 1.23.6), av 18.1.0, numpy 2.3.5, Python 3.11,
# Linux x86-64.
# Valid input: AVIF in Display P3 (primaries 12 of ITU-T H.273), which an nclx profile alone says, as avifenc, FFmpeg
# and many websites' converters write it; there is no ICC profile.
# Seen: Image.open gives the P3 values as they are, and neither image.info nor anything else names the primaries, so
# that all colours look too pale. The bit depth is not told either. pillow-heif 1.8.1 (1.0.0 too) can't decode AVIF, but
# its open_heif reads both from the header.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 pillow-heif==1.8.1 av==18.1.0 numpy==2.3.5
cat >look.py <<'P'
import sys

import av
import numpy as np
import pillow_heif
from PIL import Image

with av.open("p3.avif", "w", format="avif") as file:
    stream = file.add_stream("libsvtav1", rate=1)
    stream.width = stream.height = 64
    stream.pix_fmt, stream.options = "yuv420p10le", {"crf": "1", "preset": "8"}
    context = stream.codec_context
    context.color_primaries, context.color_trc, context.colorspace, context.color_range = 12, 13, 1, 2
    # The luma and chroma of (200, 60, 40) by BT.709, full range, 10 bits.
    r, g, b = (c / 255 for c in (200, 60, 40))
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    y, u, v = 1023 * luma, 512 + 1023 * (b - luma) / 1.8556, 512 + 1023 * (r - luma) / 1.5748
    planes = np.concatenate([np.full(64 * 64, round(y)), np.full(32 * 32, round(u)), np.full(32 * 32, round(v))])
    frame = av.VideoFrame.from_ndarray(planes.astype(np.uint16).reshape(96, 64), format="yuv420p10le")
    frame.pts = 0
    file.mux([*stream.encode(frame), *stream.encode()])
header = pillow_heif.open_heif("p3.avif").info
numbers = header["nclx_profile"]["color_primaries"], header["nclx_profile"]["transfer_characteristics"]
with Image.open("p3.avif") as image:
    colour, info = np.asarray(image)[30, 30].tolist(), sorted(image.info)
print(f"written (200, 60, 40) in Display P3; Pillow reads {colour}, info: {info}")
print(f"pillow-heif: primaries and transfer {numbers}, {header['bit_depth']} bits")
unconverted = max(abs(a - b) for a, b in zip(colour, (200, 60, 40))) <= 4
told = any("nclx" in name or "cicp" in name or "bit" in name for name in info)
sys.exit(not (unconverted and not told and numbers == (12, 13) and header["bit_depth"] == 10))
P
v/bin/python look.py 2>/dev/null

"""Colours as files give them by numbers of ITU-T H.273: what encoders do, the inverse of reading."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
SRGB, P3, BT2020 = 1, 12, 9  # primaries
SRGB_CURVE, PQ, HLG = 13, 16, 18  # transfer functions
# Linear sRGB from linear colours of these primaries (ITU-R BT.2087; for Display P3 from SMPTE EG 432-1), and
# the weights of luminance.
TO_SRGB = {
    SRGB: np.eye(3),
    BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
    P3: np.array([[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0982]]),
}
WEIGHTS = {
    SRGB: np.array([0.2126, 0.7152, 0.0722]),
    BT2020: np.array([0.2627, 0.6780, 0.0593]),
    P3: np.array([0.2290, 0.6917, 0.0793]),
}


def signal_of(picture: Picture, primaries: int, transfer: int) -> NDArray[np.float64]:
    """An sRGB picture (…, 3) in these primaries and this transfer function, 0…1; white is 203 cd/m²."""
    srgb = picture / 255
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    light = np.maximum(light @ np.linalg.inv(TO_SRGB[primaries]).T, 0)
    if transfer == PQ:
        power = (203 * light / 10000) ** (2610 / 16384)
        return np.asarray(((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))
    if transfer == HLG:
        shown = 203 * light / 1000
        scene = shown / np.maximum((shown @ WEIGHTS[primaries])[..., None], 1e-6) ** (0.2 / 1.2)
        large = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-6)) + 0.55991073
        return np.asarray(np.where(scene <= 1 / 12, np.sqrt(3 * scene), large))
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def write_heic(path: Path, signal: NDArray[np.float64], primaries: int, transfer: int, bits: int) -> Path:
    """A HEIC of 8 or 10 bits whose colours an nclx profile alone gives, written by libheif."""
    height, width = signal.shape[:2]
    numbers = {"color_primaries": primaries, "transfer_characteristics": transfer}
    matrix = 9 if primaries == BT2020 else 6
    if bits == 8:
        heif = pillow_heif.from_pillow(Image.fromarray((255 * signal).round().astype(np.uint8)))
    else:
        deep = (65535 * signal).round().astype(np.uint16)
        heif = pillow_heif.from_bytes("RGB;16", (width, height), deep.tobytes())
    heif.save(path, quality=98, chroma=444, matrix_coefficients=matrix, full_range_flag=1, **numbers)
    return path


def write_avif(path: Path, signal: NDArray[np.float64], primaries: int, transfer: int) -> Path:
    """An AVIF of 10 bits whose colours an nclx profile alone gives, written by FFmpeg with SVT-AV1."""
    height, width = signal.shape[:2]
    red, green, blue = WEIGHTS[BT2020 if primaries == BT2020 else SRGB]
    luma = signal @ np.array([red, green, blue])
    halves = [(signal[..., 2] - luma) / (2 - 2 * blue), (signal[..., 0] - luma) / (2 - 2 * red)]
    small = [c.reshape(height // 2, 2, width // 2, 2).mean((1, 3)) for c in halves]
    planes = np.concatenate([1023 * luma.ravel(), *(512 + 1023 * c.ravel() for c in small)])
    with av.open(str(path), "w", format="avif") as container:
        stream = container.add_stream("libsvtav1", rate=1)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p10le"
        stream.options = {"crf": "1", "preset": "8", "svtav1-params": "lp=1"}
        context = stream.codec_context
        context.color_primaries, context.color_trc = primaries, transfer
        context.colorspace, context.color_range = 9 if primaries == BT2020 else 1, 2
        values = planes.round().clip(0, 1023).astype(np.uint16).reshape(-1, width)
        frame = av.VideoFrame.from_ndarray(values, format="yuv420p10le")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        container.mux([*stream.encode(frame), *stream.encode()])
    return path


def with_nclx(avif: bytes, primaries: int, transfer: int) -> bytes:
    """The AVIF that Pillow wrote, which says sRGB, with other numbers in its colr box."""
    at = avif.index(b"colrnclx") + 8
    return avif[:at] + struct.pack(">HH", primaries, transfer) + avif[at + 4 :]


def with_cicp(png: bytes, primaries: int, transfer: int) -> bytes:
    """A PNG with a cICP chunk behind its header, as the third edition of PNG has it."""
    content = b"cICP" + bytes((primaries, transfer, 0, 1))
    return png[:33] + struct.pack(">I", 4) + content + struct.pack(">I", zlib.crc32(content)) + png[33:]

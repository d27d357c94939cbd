"""Splats as SOG, version 2 (PlayCanvas's format): a zip archive of lossless WebP pictures and meta.json.

A splat is the same pixel of every picture. Positions have 16 bits on a logarithmic scale; scales and colours
are numbers of codebooks with 256 entries; colours' dependence on the view is an entry of a palette.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.splatting.gaussians import Splats, picked

CODES = 256
BINS = 8192  # of the histogram from which a codebook is made
SPLATS_AN_ENTRY = 8  # of the palette, about; fewer make it larger without being better
MOST_ENTRIES = 1 << 16
ACROSS = 64  # palette entries in a row of its picture
LARGEST = 252  # first of the four values that say which component of a quaternion is left out


def write(splats: Splats, file: Path, filtered: bool = False) -> None:
    """Writes the file; the splats' order changes, so that near ones are neighbours and compress better.

    filtered: says that they are to be drawn as Mip-Splatting does.
    """
    splats = picked(splats, _along_curve(splats.positions))
    n = len(splats)
    size = _picture_size(n)
    meta: dict[str, Any] = {"version": 2, "asset": {"generator": "nerfscene"}, "count": n}
    if filtered:
        meta["model"] = "antialiased"
    pictures: dict[str, Image.Image] = {}

    def add(name: str, values: NDArray[np.uint8]) -> str:
        pictures[name] = _picture(values, size)
        return name

    logs = np.sign(splats.positions) * np.log1p(np.abs(splats.positions.astype(np.float64)))
    low, high = logs.min(0), logs.max(0)
    place = np.round((logs - low) / np.maximum(high - low, 1e-12) * 65535).astype(np.uint16)
    files = [add("means_l.webp", (place & 255).astype("u1")), add("means_u.webp", (place >> 8).astype("u1"))]
    meta["means"] = {"mins": low.tolist(), "maxs": high.tolist(), "files": files}
    book, codes = _coded(np.log(np.maximum(splats.scales, 1e-30)))
    meta["scales"] = {"codebook": book, "files": [add("scales.webp", codes)]}
    meta["quats"] = {"files": [add("quats.webp", _orientations(splats.quaternions))]}
    book, codes = _coded(splats.sh[:, 0])
    alpha = np.clip(np.round(255 * splats.opacities), 0, 255).astype(np.uint8)[:, None]
    meta["sh0"] = {"codebook": book, "files": [add("sh0.webp", np.concatenate([codes, alpha], 1))]}
    if splats.degree:
        entries, labels = _palette(splats.sh[:, 1:].reshape(n, -1))
        book, codes = _coded(entries)
        low_high = np.stack([labels & 255, labels >> 8, np.zeros_like(labels)], 1).astype(np.uint8)
        rows = -(-len(entries) // ACROSS)
        per_row = (splats.sh.shape[1] - 1) * ACROSS
        pictures["shN_centroids.webp"] = _picture(codes.reshape(-1, 3), (per_row, rows))
        files = ["shN_centroids.webp", add("shN_labels.webp", low_high)]
        meta["shN"] = {"count": len(entries), "bands": splats.degree, "codebook": book, "files": files}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("meta.json", json.dumps(meta))
        for name, picture in pictures.items():
            made = io.BytesIO()
            picture.save(made, "WEBP", lossless=True, exact=True, quality=50, method=2)
            archive.writestr(name, made.getvalue())


def _picture_size(count: int) -> tuple[int, int]:
    """Width and height, multiples of 4, of a picture with a pixel for every splat."""
    width = 4 * int(np.ceil(np.sqrt(max(count, 1)) / 4))
    return width, 4 * int(np.ceil(max(count, 1) / width / 4))


def _picture(values: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """Rows (n, 3 or 4) as the pixels of an opaque RGBA picture, the rest filled up."""
    pixels = np.full((size[0] * size[1], 4), 255, np.uint8)
    pixels[: len(values), : values.shape[1]] = values
    return Image.fromarray(pixels.reshape(size[1], size[0], 4), "RGBA")


def _along_curve(positions: NDArray[np.float32]) -> NDArray[np.intp]:
    """The order along a Morton curve through the positions, on their logarithmic scale."""
    logs = np.sign(positions) * np.log1p(np.abs(positions.astype(np.float64)))
    unit = (logs - logs.min(0)) / np.maximum(np.ptp(logs, axis=0), 1e-12)
    place = (unit * ((1 << 21) - 1)).astype(np.uint64)
    for shift, mask in ((32, 0x1F00000000FFFF), (16, 0x1F0000FF0000FF), (8, 0x100F00F00F00F00F),
                        (4, 0x10C30C30C30C30C3), (2, 0x1249249249249249)):  # fmt: skip
        place = (place | (place << np.uint64(shift))) & np.uint64(mask)
    return np.argsort(place[:, 0] | (place[:, 1] << np.uint64(1)) | (place[:, 2] << np.uint64(2)))


def _orientations(quaternions: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(n, 4): the three smaller components, times √2, in the order w, x, y, z; which one is left out."""
    q = quaternions.astype(np.float64)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    largest = np.abs(q).argmax(1)
    q *= np.where(np.take_along_axis(q, largest[:, None], 1) < 0, -1, 1)
    others = q[np.arange(4)[None, :] != largest[:, None]].reshape(-1, 3)
    codes = np.round(np.clip(others / np.sqrt(2) + 0.5, 0, 1) * 255)
    return np.concatenate([codes, LARGEST + largest[:, None]], 1).astype(np.uint8)


def _coded(values: NDArray[Any]) -> tuple[list[float], NDArray[np.uint8]]:
    """A codebook of 256 ascending numbers and, for each value, the nearest one's number.

    Entries lie as densely as the cube root of how often values occur, which is best for many entries
    (Panter and Dite 1951), and are then each moved to the mean of their values.
    """
    flat = values.astype(np.float64).ravel()
    low, high = float(flat.min()), float(flat.max())
    if not high > low:
        return [low] * CODES, np.zeros(values.shape, np.uint8)
    bins = np.minimum(((flat - low) / (high - low) * BINS).astype(np.int64), BINS - 1)
    often = np.bincount(bins, minlength=BINS).astype(np.float64)
    middle = low + (np.arange(BINS) + 0.5) / BINS * (high - low)
    share = np.cumsum(np.cbrt(often))
    book = np.interp((np.arange(CODES) + 0.5) / CODES * share[-1], share, middle)
    for _ in range(10):
        nearest = np.searchsorted((book[1:] + book[:-1]) / 2, middle)
        total = np.bincount(nearest, often, CODES)
        sums = np.bincount(nearest, often * middle, CODES)
        book = np.sort(np.where(total > 0, sums / np.maximum(total, 1e-12), book))
    codes = np.searchsorted((book[1:] + book[:-1]) / 2, flat).astype(np.uint8)
    return book.tolist(), codes.reshape(values.shape)


def _palette(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Entries (k, m) and each row's entry (n,), for values (n, m): halved again and again at the median of
    what varies most, like median cut for colours (Heckbert 1982)."""
    n = len(values)
    levels = int(np.clip(np.log2(max(n / SPLATS_AN_ENTRY, 1)), 0, np.log2(MOST_ENTRIES)))
    order, bounds = np.arange(n), np.array([0, n])
    for _ in range(levels):
        group = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        sizes = np.diff(bounds)[:, None]
        inside = values[order]
        means = np.add.reduceat(inside, bounds[:-1]) / sizes
        spread = (
            np.add.reduceat(inside.astype(np.float64) ** 2, bounds[:-1]) / sizes - means.astype(float) ** 2
        )
        key = inside[np.arange(n), spread.argmax(1)[group]]
        order = order[np.lexsort((key, group))]
        bounds = np.unique(np.concatenate([bounds, (bounds[1:] + bounds[:-1]) // 2]))
    labels = np.empty(n, np.int64)
    labels[order] = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    entries = np.add.reduceat(values[order].astype(np.float64), bounds[:-1]) / np.diff(bounds)[:, None]
    return entries.astype(np.float32), labels

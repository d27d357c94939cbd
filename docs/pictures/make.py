"""Makes the photographs of how-to-shoot.md from the demo capture: ``python docs/pictures/make.py``.

The drawings beside them (.svg) are made by hand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "data" / "demo" / "images"
GAP, QUALITY = 8, 85
GREEN, ORANGE, GREY = (34, 150, 84), (217, 119, 6), (128, 128, 128)


def photo(number: int) -> Image.Image:
    return Image.open(DEMO / f"{number:04d}.jpg").convert("RGB")


def framed(picture: Image.Image, width: int, colour: tuple[int, int, int]) -> Image.Image:
    """Shrunk to a width and put in a frame that says good or bad."""
    height = round(picture.height * width / picture.width)
    return ImageOps.expand(picture.resize((width, height), Image.Resampling.LANCZOS), 5, colour)


def row(pictures: list[Image.Image], file: str) -> None:
    """Side by side."""
    width = sum(p.width for p in pictures) + GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(p.height for p in pictures)), (128, 128, 128))
    at = 0
    for picture in pictures:
        sheet.paste(picture, (at, 0))
        at += picture.width + GAP
    sheet.save(HERE / file, quality=QUALITY)


def shaken(picture: Image.Image, pixels: int) -> Image.Image:
    """The picture as a hand that moves sideways would have taken it."""
    values = np.asarray(picture, np.float32)
    moved = [np.roll(values, shift, axis=1) for shift in range(pixels)]
    return Image.fromarray(np.mean(moved, axis=0).astype(np.uint8))


def overlap() -> None:
    first, next_step, too_far = photo(10), photo(11), photo(17)
    pictures = [framed(first, 360, GREY), framed(next_step, 360, GREEN), framed(too_far, 360, ORANGE)]
    row(pictures, "overlap.jpg")


def blur() -> None:
    part = (180, 40, 540, 310)
    still, moved = photo(10).crop(part), shaken(photo(10), 11).crop(part)
    row([framed(still, 420, GREEN), framed(moved, 420, ORANGE)], "blur.jpg")


def mask() -> None:
    """The mug of photo 10, drawn somewhat wider than it is."""
    white = Image.new("L", (640, 480), 255)
    draw = ImageDraw.Draw(white)
    draw.rounded_rectangle((95, 284, 155, 362), 14, fill=0)
    draw.ellipse((138, 294, 180, 348), fill=0)
    row([framed(photo(10), 420, GREY), framed(white.convert("RGB"), 420, GREY)], "mask.jpg")


if __name__ == "__main__":
    overlap()
    blur()
    mask()

"""Photos beside renders on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nerfscene.scene import writing

CELL_WIDTH, GAP, LABEL = 320, 8, 22
Pair = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]


def contact_sheet(pairs: Sequence[Pair], file: Path, columns: int = 2) -> None:
    """One picture (.png or .jpg) of (label, photo, render) triples, photo left, render right.

    photo, render: (height, width, 3) uint8. Raises ValueError for no pairs.
    """
    if not pairs:
        raise ValueError("a contact sheet needs at least one pair")
    height = max(round(CELL_WIDTH * p.shape[0] / p.shape[1]) for _, p, _ in pairs)
    columns = min(columns, len(pairs))
    rows = (len(pairs) + columns - 1) // columns
    pair_width = 2 * CELL_WIDTH + 3 * GAP
    sheet = Image.new("RGB", (columns * pair_width + GAP, rows * (height + LABEL + GAP) + GAP), (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for i, (label, photo, render) in enumerate(pairs):
        x, y = GAP + i % columns * pair_width, GAP + i // columns * (height + LABEL + GAP)
        draw.text((x, y), f"photo · render — {label}", fill=(225, 225, 225), font=font)
        for j, pixels in enumerate((photo, render)):
            h = round(CELL_WIDTH * pixels.shape[0] / pixels.shape[1])
            cell = Image.fromarray(pixels).resize((CELL_WIDTH, h), Image.Resampling.LANCZOS)
            sheet.paste(cell, (x + j * (CELL_WIDTH + GAP), y + LABEL))
    with writing(file) as temporary:
        sheet.save(temporary, format="PNG" if file.suffix.lower() == ".png" else "JPEG", quality=92)

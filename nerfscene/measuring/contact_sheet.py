"""A contact sheet: one picture with photos and their renders side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nerfscene.errors import NerfsceneError
from nerfscene.films.video import check_folder_of, make_folder_of
from nerfscene.scene.atomic import writing

CELL_WIDTH, GAP, LABEL = 320, 8, 22  # pixels
KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
Pair = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]


def check_sheet_name(file: Path) -> None:
    """Raises NerfsceneError when no sheet can be written under this name."""
    if file.suffix.lower() not in KINDS:
        raise NerfsceneError(f"{file} doesn't end in {', '.join(KINDS)}; name the sheet like sheet.jpg")
    if file.is_dir():
        raise NerfsceneError(f"{file} is a folder; give the sheet another name")
    check_folder_of(file, "choose another")


def contact_sheet(pairs: Sequence[Pair], file: Path, columns: int = 2) -> None:
    """Writes one picture (.png, .jpg or .jpeg) of (label, photo, render) triples in the given order.

    photo (left), render (right): (height, width, 3) uint8, shown 320 pixels wide. columns: pairs side by
    side. A label that is too long is cut. Raises NerfsceneError for another file extension or a file that
    can't be written, ValueError if there are no pairs.
    """
    if not pairs:
        raise ValueError("a contact sheet needs at least one pair")
    check_sheet_name(file)
    height = max(_shown_height(pixels) for _, photo, render in pairs for pixels in (photo, render))
    columns = max(min(columns, len(pairs)), 1)
    rows = (len(pairs) + columns - 1) // columns
    pair_width = 2 * CELL_WIDTH + 3 * GAP
    sheet = Image.new("RGB", (columns * pair_width + GAP, rows * (height + LABEL + GAP) + GAP), (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for i, (label, photo, render) in enumerate(pairs):
        x, y = GAP + i % columns * pair_width, GAP + i // columns * (height + LABEL + GAP)
        text = f"photo · render: {label}"  # Pillow's own font has no dashes
        if draw.textlength(text, font) > pair_width - 2 * GAP:
            while text and draw.textlength(text + "…", font) > pair_width - 2 * GAP:
                text = text[:-1]
            text += "…"
        draw.text((x, y), text, fill=(225, 225, 225), font=font)
        for j, pixels in enumerate((photo, render)):
            cell = Image.fromarray(pixels).resize(
                (CELL_WIDTH, _shown_height(pixels)), Image.Resampling.LANCZOS
            )
            sheet.paste(cell, (x + j * (CELL_WIDTH + GAP), y + LABEL))
    make_folder_of(file, "choose another")
    with writing(file) as temporary:
        sheet.save(temporary, format=KINDS[file.suffix.lower()], quality=92)


def _shown_height(pixels: NDArray[np.uint8]) -> int:
    return max(round(CELL_WIDTH * pixels.shape[0] / pixels.shape[1]), 1)

"""Contact sheets: photos beside renders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nerfscene.errors import NerfsceneError
from nerfscene.measuring.contact_sheet import CELL_WIDTH, GAP, LABEL, Pair, contact_sheet

BACKGROUND = (24, 24, 24)


def plain(color: tuple[int, int, int], width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    return np.full((height, width, 3), color, np.uint8)


def pair(i: int, label: str = "photo.jpg, 28.1 dB", width: int = 64, height: int = 48) -> Pair:
    return label, plain((200, 10 * i, 0), width, height), plain((0, 10 * i, 200), width, height)


def pixels_of(file: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(file).convert("RGB"))


def test_photos_stand_left_of_their_renders_in_the_order_given(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    contact_sheet([pair(i) for i in range(5)], file)
    sheet = pixels_of(file)
    cell = CELL_WIDTH * 48 // 64
    assert sheet.shape[0] == 3 * (cell + LABEL + GAP) + GAP  # two columns, three rows
    for i in range(5):
        x = GAP + i % 2 * (2 * CELL_WIDTH + 3 * GAP)
        y = GAP + i // 2 * (cell + LABEL + GAP) + LABEL
        photo = sheet[y : y + cell, x : x + CELL_WIDTH]
        render = sheet[y : y + cell, x + CELL_WIDTH + GAP : x + 2 * CELL_WIDTH + GAP]
        assert (photo == (200, 10 * i, 0)).all() and (render == (0, 10 * i, 200)).all()
        label = sheet[y - LABEL : y, x : x + 2 * CELL_WIDTH]
        assert (label > 150).any()  # something legible is written
    empty = sheet[2 * (cell + LABEL + GAP) + GAP :, 2 * CELL_WIDTH + 4 * GAP :]
    assert (empty == BACKGROUND).all()


@pytest.mark.parametrize("label", ["IMG_1.jpg, 28.1 dB", "x" * 500])
def test_labels_hold_no_character_that_the_font_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    written: list[str] = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, xy, text, **_: written.append(text))
    contact_sheet([pair(1, label)], tmp_path / "sheet.png")
    font = ImageFont.load_default(14)
    missing = bytes(font.getmask("\ue000"))
    assert written and not [c for c in written[0] if bytes(font.getmask(c)) == missing]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".JPG"])
def test_the_name_decides_the_kind(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "new" / f"sheet{suffix}"
    contact_sheet([pair(1)], file)
    assert Image.open(file).format == ("PNG" if suffix == ".png" else "JPEG")
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_photo_keeps_its_proportions(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    wide, tall = pair(1, width=128, height=32), pair(2, width=32, height=64)
    contact_sheet([wide, tall], file, columns=1)
    sheet = pixels_of(file)
    assert sheet.shape[1] == 2 * CELL_WIDTH + 4 * GAP
    red = sheet[..., 0] == 200
    rows = np.flatnonzero(red[:, GAP + 5])
    assert len(rows) == CELL_WIDTH // 4 + 2 * CELL_WIDTH  # none is cut off


def test_a_render_of_another_shape_is_not_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    contact_sheet([("x", plain((200, 0, 0)), plain((0, 0, 200), 48, 64))], file)
    blue = pixels_of(file)[:, CELL_WIDTH + 2 * GAP + 5, 2] == 200
    assert blue.sum() == round(CELL_WIDTH * 64 / 48)


def test_extreme_and_tiny_pictures(tmp_path: Path) -> None:
    contact_sheet([("thin", plain((9, 9, 9), 2000, 1), plain((9, 9, 9), 1, 1))], tmp_path / "a.png")
    assert pixels_of(tmp_path / "a.png").shape[0] == CELL_WIDTH + LABEL + 2 * GAP


def test_long_and_foreign_labels_stay_in_their_place(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    contact_sheet([pair(1, "x" * 500), pair(2, "дом 家 — 12 dB")], file)
    sheet = pixels_of(file)
    between = 2 * CELL_WIDTH + 3 * GAP
    assert (sheet[GAP : GAP + LABEL, between : between + GAP] == BACKGROUND).all()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], tmp_path / "sheet.png")
    for name in ("sheet.webp", "sheet", "sheet.pdf"):
        with pytest.raises(NerfsceneError, match=r"\.png, \.jpg, \.jpeg"):
            contact_sheet([pair(1)], tmp_path / name)
    (tmp_path / "file").write_text("")
    with pytest.raises(NerfsceneError, match="file"):
        contact_sheet([pair(1)], tmp_path / "file" / "sheet.png")
    (tmp_path / "sheet.png").mkdir()
    with pytest.raises(NerfsceneError, match=r"sheet\.png"):
        contact_sheet([pair(1)], tmp_path / "sheet.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "sheet.png"]

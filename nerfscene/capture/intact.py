"""Pictures that Pillow opens but decodes to something else than they hold: these are refused."""

from __future__ import annotations

from PIL import Image


def load_pixels(image: Image.Image) -> None:
    """Decodes the pixels. Raises ValueError if there are more or fewer than stated, as in a damaged HEIC."""
    size = image.size
    image.load()
    if image.size != size:
        raise ValueError(f"its pixels are {image.width}×{image.height} instead of {size[0]}×{size[1]}")


def refuse_planar_tiff(image: Image.Image) -> None:
    """Raises ValueError for a 16-bit TIFF with separate colour planes, whose low bytes Pillow would read."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None and tags.get(284) == 2 and max(tags.get(258, (8,))) > 8:
        raise ValueError("a 16-bit TIFF in separate colour planes; export it as JPEG, or interleaved")

"""The report's section on what moved between the photos: which parts of them training left out."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

from PIL import Image, ImageDraw, ImageOps

from nerfscene.scene.folder import Scene
from nerfscene.scene.scene import moved_in_words
from nerfscene.types import View

MOST_SHOWN, SHOWN_SIDE, JPEG_QUALITY = 9, 320, 80
LINE, COLOUR = 3, (255, 120, 0)  # pixels, and the colour of what is drawn around a part left out


def moved_section(scene: Scene) -> str:
    """The section as HTML, photos of which most was left out first; "" if nothing was."""
    moved = scene.figures.moved
    if not moved:
        return ""
    by_name = {view.path.name: view for view in scene.views if view.split == "train"}
    figures = []
    for part in moved[:MOST_SHOWN]:
        name, share = html.escape(str(part["photo"])), 100 * float(part["share"])
        view = by_name.get(str(part["photo"]))
        picture = "" if view is None else _picture(view, part["boxes"])
        shown = f'<img loading="lazy" alt="{name}" src="{picture}"/>' if picture else ""
        figures.append(f"<figure>{shown}<figcaption>{name}, {share:.1f} %</figcaption></figure>")
    rest = len(moved) - len(figures)
    more = f"<p>And {rest} more.</p>" if rest else ""
    said = moved_in_words(moved)
    intro = (
        f"<p>{said[0].upper()}{said[1:]}: there they show what no other photo shows in the same place. The "
        "scene is made of the rest. Next time, wait until people and cars are gone: what stands in front of "
        "the same place in most photos can't be told from the scene.</p>"
    )
    grid = f'<div class="three">{"".join(figures)}</div>'
    return f"<section><h2>What moved</h2>\n{intro}{grid}{more}</section>"


def _picture(view: View, boxes: list[Any]) -> str:
    """The photo with lines around these boxes, as a data URL; "" if the photo can't be read any more."""
    try:
        with Image.open(view.path) as photo:
            photo.draft("RGB", (SHOWN_SIDE, SHOWN_SIDE))
            small = ImageOps.exif_transpose(photo).convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return ""
    small.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(small)
    for left, top, right, bottom in boxes:
        width, height = small.width - 1, small.height - 1
        draw.rectangle(
            (left * width, top * height, right * width, bottom * height), outline=COLOUR, width=LINE
        )
    out = io.BytesIO()
    small.save(out, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()

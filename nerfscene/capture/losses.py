"""What reading a photo loses, in words."""

from __future__ import annotations

from PIL import Image

from nerfscene.capture.colours import Colours

# In files of other formats, further pictures are depth maps or thumbnails.
ANIMATED = ("PNG", "WEBP", "AVIF", "TIFF")


def losses_of(image: Image.Image, colours: Colours) -> tuple[str, ...]:
    """What reading this photo loses, each as the end of a sentence about several photos."""
    lost = []
    tags = getattr(image, "tag_v2", {})
    tiles = [str(tile[3]) for tile in getattr(image, "tile", ())]
    bits = max(*tags.get(258, (8,)), int(image.info.get("bit_depth", 8)))
    if colours.dynamic_range is not None:
        lost.append(
            f"have high dynamic range ({colours.dynamic_range}): their colours are converted for ordinary "
            "screens, where their brightest parts look less bright"
        )
    elif image.mode.startswith("I") or bits > 8 or any("16" in t for t in tiles):
        lost.append("have more than 8 bits per colour: only 8 are used")
    if image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F")):
        lost.append("are grey: the scene will have no colour where they show it")
    if image.mode == "CMYK":
        lost.append("are CMYK, meant for print: their colours are only roughly converted")
    if image.format in ANIMATED and getattr(image, "n_frames", 1) > 1:
        lost.append("hold several pictures: only the first of each is used")
    return tuple(lost)

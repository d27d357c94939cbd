"""Colours as light: pictures hold sRGB values, but blurs and exposures are made of the light behind them.

Also what is behind a film's scene: a colour, or nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import STOP_TRANSMITTANCE
from nerfscene.films.strips import strips
from nerfscene.films.video import to_bytes
from nerfscene.scene.folder import Scene
from nerfscene.types import Frame

AUTO, TRANSPARENT = "auto", "transparent"
Floats = NDArray[np.float32]


def linear(rgb: Floats) -> Floats:
    """sRGB values 0…1 of any shape as linear light (IEC 61966-2-1); values below 0 count as 0."""
    light: Floats = np.maximum(rgb, np.float32(0))
    dark = light <= 0.04045
    straight_part = light[dark] / np.float32(12.92)
    light += np.float32(0.055)  # in place: a picture of 4K has 100 MB
    light /= np.float32(1.055)
    np.power(light, np.float32(2.4), out=light)
    light[dark] = straight_part
    return light


def encoded(light: Floats) -> Floats:
    """Linear light of any shape as sRGB values, the inverse of ``linear``; above 1 for light above 1."""
    rgb: Floats = np.maximum(light, np.float32(0))
    dark = rgb <= 0.0031308
    straight_part = rgb[dark] * np.float32(12.92)
    np.power(rgb, np.float32(1 / 2.4), out=rgb)
    rgb *= np.float32(1.055)
    rgb -= np.float32(0.055)
    rgb[dark] = straight_part
    return rgb


def exposed(rgb: Floats, stops: float) -> Floats:
    """sRGB values with ``stops`` more light: each stop doubles it. 0 stops change no bit."""
    return rgb if stops == 0 else encoded(linear(rgb) * np.float32(2.0**stops))


def background_color(text: str) -> tuple[float, float, float] | None:
    """The colour, 0…1, that --background names; None for auto and transparent.

    text: a name of CSS such as skyblue, #rrggbb, #rgb, or rgb(r, g, b). Raises NerfsceneError for what is no
    opaque colour.
    """
    name = text.strip().lower()
    if name in (AUTO, TRANSPARENT):
        return None
    bare = f"#{name}" if len(name) in (3, 6) and all(c in "0123456789abcdef" for c in name) else name
    try:
        values = ImageColor.getrgb(name if name in ImageColor.colormap else bare)
    except ValueError:
        raise NerfsceneError(
            f"--background takes a colour such as white or #20303f, transparent, or auto, not {text!r:.40}"
        ) from None
    if len(values) == 4 and values[3] < 255:
        raise NerfsceneError(
            f"--background takes an opaque colour or transparent, and {text!r:.40} is in between"
        )
    return values[0] / 255, values[1] / 255, values[2] / 255


def sees_through(background: str) -> bool:
    """Whether a film with this --background is transparent where there is nothing."""
    return background.strip().lower() == TRANSPARENT


def with_background(scene: Scene, background: str) -> Scene:
    """The scene with what --background puts behind it.

    A transparent one is black for the renderer, so that its colours are already multiplied by their opacity.
    """
    if sees_through(background):
        return replace(scene, background=(0.0, 0.0, 0.0), backdrop=None)
    color = background_color(background)
    return scene if color is None else replace(scene, background=color, backdrop=None)


def straight(rgb: Floats, accumulation: Floats) -> tuple[Floats, Floats]:
    """Colours (height, width, 3), not multiplied by their opacity, and opacity (height, width), 0…1.

    rgb, accumulation: rendered in front of black. Rays end a little before they are wholly opaque, which
    counts as that.
    """
    alpha: Floats = np.minimum(accumulation / np.float32(1 - STOP_TRANSMITTANCE), np.float32(1))
    opacity: Floats = np.maximum(accumulation, np.float32(1e-6))
    divided: Floats = np.divide(rgb, opacity[..., None], dtype=np.float32)
    return divided, alpha


def picture_of(frame: Frame, background: str, stops: float) -> NDArray[np.uint8]:
    """A frame as a film shows it: uint8 (height, width, 3); if it is transparent, (…, 4) with straight alpha.

    background: of ``RenderConfig``. stops: of exposure; transparency stays as it is.
    """
    height, width = frame.accumulation.shape
    clear = sees_through(background)
    picture = np.empty((height, width, 4 if clear else 3), np.uint8)
    for rows in strips(height):
        if not clear:
            picture[rows] = to_bytes(exposed(frame.rgb[rows], stops))
            continue
        rgb, alpha = straight(frame.rgb[rows], frame.accumulation[rows])
        rgb = exposed(np.clip(rgb, 0, 1), stops)
        rgb[to_bytes(alpha) == 0] = 0
        picture[rows] = to_bytes(np.concatenate([rgb, alpha[..., None]], axis=-1))
    return picture

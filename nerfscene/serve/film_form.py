"""The form for a film on a scene's page: a few choices first, the rest under "More"."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from nerfscene.errors import NerfsceneError
from nerfscene.serve.film_kinds import WIDTHS

# (value, words) of each choice; "" leaves it as `nerfscene render` has it.
SIZES = (
    ("960", "Small, 960 pixels wide"),
    ("hd", "Full HD, 1920 × 1080"),
    ("social", "Square, for social media"),
    ("4k", "4K, 3840 × 2160"),
    ("gif", "GIF, for chats and web pages"),
    ("prores", "ProRes, for editing"),
)
LENSES = (
    ("", "Usual"),
    ("fisheye", "Fisheye, for domes"),
    ("equirectangular", "360°, all round"),
    ("stereo180", "VR180, for headsets"),
    ("orthographic", "Without perspective, as a plan"),
)
BLURS = (("", "None"), ("180", "As in films"), ("360", "Strong"))
APERTURES = (("", "All is sharp"), ("8", "A little blur"), ("2.8", "Blur"), ("1.4", "Much blur"))
EXPOSURES = (
    ("", "As it is"),
    ("1", "Brighter"),
    ("2", "Much brighter"),
    ("-1", "Darker"),
    ("-2", "Much darker"),
)
BACKGROUNDS = (
    ("", "As in the viewer"),
    ("white", "White"),
    ("black", "Black"),
    ("transparent", "Transparent"),
)
FILES = (
    ("", "Usual"),
    ("mp4 h264", "MP4, H.264: plays everywhere"),
    ("mp4 h265", "MP4, H.265: half as large"),
    ("mp4 av1", "MP4, AV1: smallest"),
    ("webm vp9", "WebM, VP9: may be transparent"),
    ("mov prores", "MOV, ProRes 4444: for editing"),
    ("mkv ffv1", "MKV, FFV1: lossless"),
    ("webp webp", "WebP: a moving picture"),
)  # fmt: skip
RATES = (("", "30"), ("24", "24, as in cinemas"), ("25", "25"), ("60", "60, very smooth"))


class FilmForm(BaseModel):
    """What the form sends: text, "" for what is left as it is."""

    path: str = "auto"
    seconds: str = ""
    width: str = ""  # pixels, or the name of a preset
    through: str = ""
    loop: str = ""
    look_at: str = ""
    lens: str = ""
    motion_blur: str = ""
    aperture: str = ""
    focus: str = ""
    exposure: str = ""
    background: str = ""
    file: str = ""  # ending and codec
    fps: str = ""

    def settings(self) -> dict[str, Any]:
        """The settings for ``actions.film``. Raises NerfsceneError for a number that is none."""
        through = self.through.strip()
        ending, _, codec = self.file.partition(" ")
        preset = self.width if self.width in WIDTHS else None
        wide = None if preset else number(self.width, "width")
        return {
            "path": None if through else self.path,
            "through": through or None,
            "loop": True if self.loop and through else None,
            "look_at": self.look_at.strip() or None,
            "seconds": number(self.seconds, "seconds"),
            "width": None if wide is None else round(wide),
            "preset": preset,
            "fps": number(self.fps, "frames a second"),
            "lens": self.lens or None,
            "motion_blur": number(self.motion_blur, "motion blur"),
            "aperture": number(self.aperture, "aperture"),
            "focus": self.focus.strip() or None,
            "exposure": number(self.exposure, "exposure", -1e6),
            "background": self.background.strip() or None,
            "ending": ending or None,
            "codec": codec or None,
        }


def number(text: str, name: str, least: float = 0.0) -> float | None:
    """A number of a form; None for an empty field. Raises NerfsceneError for anything else."""
    if not text.strip():
        return None
    try:
        found = float(text.replace(",", "."))
    except ValueError:
        found = float("nan")
    if not least <= found <= 1e6:
        raise NerfsceneError(f"{name} must be a number, not {text[:30]!r}; go back and type one")
    return found

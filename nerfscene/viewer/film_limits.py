"""How large and long a film made in the page may be."""

from __future__ import annotations

from nerfscene.errors import NerfsceneError
from nerfscene.viewer.film_settings import FilmSettings
from nerfscene.viewer.keyframes import Plan

# A film made in the page keeps the whole machine busy. So it has at most 4096×2304 pixels a frame, ten
# minutes at 30 frames a second, and in all the pixels of ten minutes of 1920×1080.
MOST_IN_FRAME, MOST_FRAMES, MOST_PIXELS = 4096 * 2304, 18_000, 18_000 * 1920 * 1080
# What is made lies in the folder for temporary files, and is sent to the browser in one piece.
MOST_BYTES = 2e9
A_PIXEL = {
    "h264": 0.05, "h265": 0.04, "av1": 0.04, "vp9": 0.05, "prores": 0.7, "ffv1": 1.5, "gif": 0.8, "webp": 0.2,
}  # fmt: skip
# Bytes that a pixel of a PNG frame takes, roughly, and of a pass as OpenEXR.
A_FRAME_S, A_PASS_S = 1.5, {"depth": 2.5, "normal": 7.0, "accumulation": 1.0}


def check_size(plan: Plan) -> None:
    """Raises NerfsceneError for a film that is too large or too long to be made in the page."""
    frame, n = plan.width * plan.height, plan.n_frames
    if frame > MOST_IN_FRAME:
        raise NerfsceneError(
            f"{plan.width}×{plan.height} is too large for a film made here; choose at most "
            f"{MOST_IN_FRAME / 1e6:.1f} million pixels, as 4096×2304 has, or use nerfscene render"
        )
    most = min(MOST_FRAMES, MOST_PIXELS // frame)
    if n > most:
        raise NerfsceneError(
            f"{n} frames are too many for a film made here; at {plan.width}×{plan.height} and {plan.fps:g} "
            f"frames a second choose at most {most / plan.fps:.0f} seconds, or use nerfscene render"
        )
    likely = frame * n * bytes_a_pixel(plan.film)
    if likely > MOST_BYTES:
        raise NerfsceneError(
            f"this would take about {likely / 1e9:.0f} GB, which is too much for the page; choose at most "
            f"{MOST_BYTES / likely * plan.seconds:.0f} seconds, a smaller size or another format, or use "
            "nerfscene render"
        )


def bytes_a_pixel(film: FilmSettings) -> float:
    """How many bytes a pixel of a frame takes in all that is made, roughly."""
    beside = A_FRAME_S * film.beside + sum(A_PASS_S[name] for name in film.passes.split(",") if name)
    return A_PIXEL[film.codec] + beside

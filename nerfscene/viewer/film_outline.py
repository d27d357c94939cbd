"""The outline of the film in the page: the largest rectangle of its aspect ratio, centred in the window."""

from __future__ import annotations

import numpy as np

from nerfscene.viewer.stage import Shot


def page_aspect(shot: Shot) -> float:
    """A window's width divided by its height."""
    return max(shot.width, 1) / max(shot.height, 1)


def film_fov(page_fov: float, page_aspect: float, film_aspect: float) -> float:
    """The film's vertical field of view, radians, when the page has ``page_fov`` (vertical, radians)."""
    shrunk = min(1.0, page_aspect / film_aspect)
    return float(2 * np.arctan(np.tan(page_fov / 2) * shrunk))


def page_fov(film_fov: float, page_aspect: float, film_aspect: float) -> float:
    """The page's vertical field of view, radians, at which the film has ``film_fov``."""
    grown = max(1.0, film_aspect / page_aspect)
    return float(2 * np.arctan(np.tan(film_fov / 2) * grown))


def frame_html(aspect: float) -> str:
    """HTML that outlines what a film of this aspect ratio shows; clicks and drags pass through it."""
    return (
        '<div class="nerfscene-film-frame" style="position:fixed;z-index:-1;inset:0;margin:auto;'
        f"pointer-events:none;width:min(100vw,calc(100vh * {aspect:.6f}));aspect-ratio:{aspect:.6f};"
        "box-sizing:border-box;border:2px solid rgba(255,255,255,0.85);"
        'outline:1px solid #0009;outline-offset:-3px"></div>'
    )

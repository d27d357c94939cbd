"""The film's frame in the page: the largest of its aspect in the window's middle."""

from __future__ import annotations

import numpy as np

from nerfscene.viewer.stage import Shot


def page_aspect(shot: Shot) -> float:
    """A window's width by its height."""
    return max(shot.width, 1) / max(shot.height, 1)


def film_fov(page_fov: float, page_aspect: float, film_aspect: float) -> float:
    """The vertical field of view (radians) of the largest frame of the film's aspect inside a page."""
    shrunk = min(1.0, page_aspect / film_aspect)
    return float(2 * np.arctan(np.tan(page_fov / 2) * shrunk))


def page_fov(film_fov: float, page_aspect: float, film_aspect: float) -> float:
    """The inverse of ``film_fov``."""
    grown = max(1.0, film_aspect / page_aspect)
    return float(2 * np.arctan(np.tan(film_fov / 2) * grown))


def frame_html(aspect: float) -> str:
    """A line round what a film of this aspect shows of the page. It lets clicks and drags through."""
    return (
        '<div class="nerfscene-film-frame" style="position:fixed;z-index:-1;inset:0;margin:auto;'
        f"pointer-events:none;width:min(100vw,calc(100vh * {aspect:.6f}));aspect-ratio:{aspect:.6f};"
        "box-sizing:border-box;border:2px solid rgba(255,255,255,0.85);"
        'outline:1px solid #0009;outline-offset:-3px"></div>'
    )

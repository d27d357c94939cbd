"""SVG drawings for the report: a map of the cameras, and a curve. Colours are CSS variables of the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nerfscene.types import Array

SIDE = 400  # the camera drawing's width and height, in its own units
MOST_POINTS = 1200
WIDE, HIGH, LEFT, BOTTOM = 720, 260, 44, 28  # the curve's size and margins


def cameras(
    centres: Array,
    axes: Array,
    test: NDArray[np.bool_],
    half_angles: Sequence[float],
    points: Array,
    plane: tuple[int, int],
) -> str:
    """A map of the cameras as small fields of view, with the sparse points and the subject's box.

    centres, axes: (n, 3), positions and viewing directions in scene coordinates. test: (n,), which photos
    are held out. half_angles: (n,), half of each camera's horizontal field of view, radians. points:
    (m, 3). plane: the two scene axes to draw, to the right and upwards.
    """
    reach = 1.12 * max(float(np.abs(centres[:, list(plane)]).max()), 1.0)
    scale = SIDE / 2 / reach

    def on_page(p: Array) -> Array:
        return np.stack([SIDE / 2 + scale * p[..., plane[0]], SIDE / 2 - scale * p[..., plane[1]]], -1)

    parts = [
        f'<svg viewBox="0 0 {SIDE} {SIDE}" role="img" aria-label="{len(centres)} cameras around the subject">'
    ]
    if len(points):
        chosen = points[:: max(len(points) // MOST_POINTS, 1)]
        inside = chosen[(np.abs(chosen[:, list(plane)]) < reach).all(1)]
        dots = "".join(f"M{x:.1f} {y:.1f}h.01" for x, y in on_page(inside))
        parts.append(f'<path d="{dots}" stroke="var(--points)" stroke-width="2" stroke-linecap="round"/>')
    box = scale * 1.0  # the subject's box is [-1, 1] in scene units
    parts.append(
        f'<rect x="{SIDE / 2 - box:.1f}" y="{SIDE / 2 - box:.1f}" width="{2 * box:.1f}" '
        f'height="{2 * box:.1f}" fill="none" stroke="var(--box)" stroke-dasharray="4 4"/>'
    )
    length = 0.1 * reach
    for centre, axis, held, half in zip(centres, axes, test, half_angles, strict=True):
        tip = on_page(centre)
        ahead = np.array([axis[plane[0]], -axis[plane[1]]])
        across = np.array([-ahead[1], ahead[0]])
        edges = [tip + scale * length * (ahead + s * np.tan(half) * across) for s in (-1, 1)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (tip, *edges))
        name = "test" if held else "train"
        parts.append(f'<polygon points="{path}" fill="var(--{name})" fill-opacity="0.75"/>')
    return "".join(parts) + "</svg>"


def curve(x: Sequence[float], y: Sequence[float]) -> str:
    """A line chart of y over x, with labelled axes; x begins at 0. Both need at least two numbers."""
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    right = max(float(xs.max()), 1e-9)
    steps = ticks(float(ys.min()), float(ys.max()))
    low, high = steps[0], steps[-1]

    def px(v: float) -> float:
        return LEFT + (WIDE - LEFT - 12) * v / right

    def py(v: float) -> float:
        return HIGH - BOTTOM - (HIGH - BOTTOM - 14) * (v - low) / (high - low)

    text = 'font-size="12" fill="var(--soft)"'
    parts = [f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="a curve of training">']
    for v in steps:
        parts.append(
            f'<path d="M{LEFT} {py(v):.1f}H{WIDE - 12}" stroke="var(--line)"/>'
            f'<text x="{LEFT - 6}" y="{py(v) + 4:.1f}" text-anchor="end" {text}>{v:g}</text>'
        )
    for v in ticks(0.0, right):
        if v <= right:
            place = f'x="{px(v):.1f}" y="{HIGH - 8}"'
            parts.append(f'<text {place} text-anchor="middle" {text}>{v:g}</text>')
    line = " ".join(f"{px(a):.1f},{py(b):.1f}" for a, b in zip(xs, ys, strict=True))
    parts.append(f'<polyline points="{line}" fill="none" stroke="var(--train)" stroke-width="2.5"/>')
    return "".join(parts) + "</svg>"


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """At least two round numbers in even steps, from ``low`` or below to ``high`` or above."""
    span = max(high - low, 1e-9 * max(abs(high), 1.0), 1e-12)
    size = 10.0 ** np.floor(np.log10(span / wanted))
    step = next(m * size for m in (1, 2, 5, 10, 20) if span / (m * size) <= wanted)
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [float(f"{i * step:.10g}") for i in range(first, max(last, first + 1) + 1)]

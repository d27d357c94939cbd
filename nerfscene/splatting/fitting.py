"""Fits splats to pictures: Adam on one picture after another, with what weighs nothing taken out and what is
too coarse split.

``begun`` makes the state, ``step`` shows it one picture, ``reviewed`` prunes and splits, ``finished`` gives
the splats. The loss, and splitting where the picture pulls at a splat's place, are those of 3D Gaussian
splatting (Kerbl et al. 2023; the sum of absolute pulls: Ye et al. 2024, AbsGS).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.ops.splatting import (
    PARAMETERS,
    Gaussians,
    Moments,
    Pinhole,
    Rasteriser,
    Rates,
    improve,
    no_moments,
    photo_loss,
)
from nerfscene.splatting.exposures import Exposures, unchanged
from nerfscene.splatting.gaussians import Splats, axes_of, in_space, picked

Floats = NDArray[np.float32]
LAST = 0.1  # of the first rates of learning, what is left of them at the end
CENTRES, SCALES, TURNS, OPACITIES, CONSTANT, HARMONICS = 0.03, 0.02, 0.01, 0.05, 0.01, 0.002  # first rates
EXPOSURES = 0.003  # the first rate of learning the photos' exposures, of their logarithms
DISSIMILARITY = 0.2  # share of the structural similarity in the loss
MOST_OPAQUE = 0.98  # to begin with: from there on an opacity hardly has a gradient
NOTHING = 0.01  # a splat whose weight is nowhere larger can go
LEAST_OPACITY = 0.03
LONGEST = 4.0  # times its middle axis: beyond, a splat is a needle
FLATTEST = 0.02  # times its longest axis: its thickness, at least
# Of a split splat's standard deviation: what its halves keep, and how far they move.
SHORTER, ASIDE = 0.6, 0.6
MOST_SPLIT = 0.2  # of the splats, at one review
CLAMP_EVERY = 8  # steps


@dataclass(frozen=True)
class Target:
    """A picture that splats are to look like.

    camera: without distortion, in the splats' units and axes. rgb: (h, w, 3) uint8. used: (h, w), which
    pixels count; None: all. gains: by which the splats' colours are multiplied, as its exposure has it.
    photo: its number among the exposures that are refined; -1: its gains stay.
    """

    camera: Pinhole
    rgb: NDArray[np.uint8]
    used: NDArray[np.bool_] | None = None
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    photo: int = -1


@dataclass(frozen=True)
class Rows:
    """What a fit knows of each of n splats.

    stays: (n,), which are never taken out: the shell behind everything. weight: (n,), the largest weight in
    any pixel since the last review. pull: (n,), the sum of the pulls since then. worth: (n,), pixels times
    weight, summed over pictures since then.
    """

    gaussians: Gaussians
    moments: Moments
    stays: NDArray[np.bool_]
    weight: Floats
    pull: Floats
    worth: Floats


@dataclass
class Fit:
    """The state of a fit. ``rows`` is only ever replaced as a whole, so that Ctrl-C finds it consistent.

    views: pictures shown since the last review. steps: in all. exposures: of the photos that have numbers.
    """

    rows: Rows
    background: tuple[float, float, float]
    rasteriser: Rasteriser
    backend: str
    threads: int
    views: int = 0
    steps: int = 0
    exposures: Exposures = field(default_factory=lambda: unchanged(0))


def begun(
    splats: Splats,
    shell: int,
    background: tuple[float, float, float],
    backend: str = "auto",
    threads: int = 0,
) -> Fit:
    """A fit that begins with these splats, of which the last ``shell`` always stay."""
    n = len(splats)
    order = in_space(splats.positions)
    given = gaussians_of(picked(splats, order), MOST_OPAQUE)
    rows = Rows(given, no_moments(given), order >= n - shell, *np.zeros((3, n), np.float32))
    return Fit(rows, background, Rasteriser(backend, threads), backend, threads)


def gaussians_of(splats: Splats, most_opaque: float = 1.0) -> Gaussians:
    """Splats in the numbers that are fitted; ``most_opaque``: 0…1, to which opacities are lowered."""
    opacity = np.clip(splats.opacities.astype(np.float64), 1e-6, min(most_opaque, 1 - 1e-6))
    parts = (
        splats.positions,
        np.log(np.maximum(splats.scales, 1e-12)),
        splats.quaternions,
        np.log(opacity / (1 - opacity)),
        splats.sh,
    )
    return Gaussians(*(np.array(part, np.float32, order="C") for part in parts))


def splats_of(gaussians: Gaussians) -> Splats:
    """Fitted Gaussians as splats."""
    length = np.linalg.norm(gaussians.turns, axis=1, keepdims=True)
    return Splats(
        gaussians.centres.copy(),
        (gaussians.turns / np.maximum(length, 1e-12)).astype(np.float32),
        np.exp(gaussians.log_scales),
        (1 / (1 + np.exp(-gaussians.opacities))).astype(np.float32),
        gaussians.harmonics.copy(),
    )


def step(fit: Fit, target: Target, done: float) -> float:
    """Improves the splats on one picture; returns its mean squared error before.

    done: 0…1, how much of the fit lies behind, by which the rates of learning fall.
    """
    rows = fit.rows
    shown = fit.rasteriser.colours(rows.gaussians, target.camera, fit.background, back=True)
    weights = None if target.used is None else target.used.astype(np.float32)
    gains = fit.exposures.gains(target.gains, target.photo)
    loss = photo_loss(shown, target.rgb, gains, weights, DISSIMILARITY, name=fit.backend, threads=fit.threads)
    gradients = fit.rasteriser.backward(loss.d_rgb)
    np.maximum(rows.weight, gradients.weight, out=rows.weight)
    np.add(rows.pull, gradients.pull, out=rows.pull)
    np.add(rows.worth, gradients.weight * gradients.pixels, out=rows.worth)
    improve(rows.gaussians, gradients, rows.moments, rates_at(done), name=fit.backend, threads=fit.threads)
    d_logs = loss.d_gains.astype(np.float64) * gains
    fit.exposures.improve(target.photo, d_logs, falling(done) * EXPOSURES)
    fit.views += 1
    fit.steps += 1
    if fit.steps % CLAMP_EVERY == 0:
        keep_shapes(rows.gaussians.log_scales)
    return loss.squared_error


def falling(done: float) -> float:
    """What is left of the first rates of learning when this share (0…1) of the fit lies behind."""
    return float(LAST ** min(max(done, 0.0), 1.0))


def rates_at(done: float) -> Rates:
    """The rates of learning when this share (0…1) of the fit lies behind."""
    f = falling(done)
    return Rates(f * CENTRES, f * SCALES, f * TURNS, f * OPACITIES, f * CONSTANT, f * HARMONICS)


def keep_shapes(log_scales: Floats) -> None:
    """Shortens needles, and thickens what is thinner than a disc has to be, in place."""
    ordered = np.sort(log_scales, axis=1)
    most = ordered[:, 1] + np.float32(np.log(LONGEST))
    least = np.minimum(ordered[:, 2], most) + np.float32(np.log(FLATTEST))
    np.clip(log_scales, least[:, None], most[:, None], out=log_scales)


def reviewed(fit: Fit, most: int) -> tuple[int, int]:
    """Takes out splats that weigh nothing, and splits those with the strongest pull, up to ``most`` in all.

    Returns how many went and how many were split. Only sensible once every picture was shown since the last.
    """
    before = fit.rows
    opacity = 1 / (1 + np.exp(-before.gaussians.opacities))
    keep = before.stays | ((before.weight > NOTHING) & (opacity > LEAST_OPACITY))
    rows = _chosen(before, np.flatnonzero(keep))
    room = min(most - len(rows.gaussians), int(MOST_SPLIT * len(rows.gaussians)))
    pulled = np.where(rows.stays, 0, rows.pull)
    split = np.argsort(-pulled, kind="stable")[: max(room, 0)]
    split = np.sort(split[pulled[split] > 0])
    if len(split):
        rows = _split(rows, split)
        rows = _chosen(rows, in_space(rows.gaussians.centres))
    weight, pull, worth = np.zeros((3, len(rows.stays)), np.float32)
    fit.rows = replace(rows, weight=weight, pull=pull, worth=worth)
    fit.views = 0
    return int((~keep).sum()), len(split)


def _chosen(rows: Rows, index: NDArray[np.intp]) -> Rows:
    """Copies of the splats of these numbers, in this order."""
    g, m = rows.gaussians, rows.moments
    return Rows(
        Gaussians(*(np.ascontiguousarray(getattr(g, p)[index]) for p in PARAMETERS)),
        Moments(*(np.ascontiguousarray(getattr(m, p)[:, index]) for p in PARAMETERS)),
        rows.stays[index], rows.weight[index], rows.pull[index], rows.worth[index],
    )  # fmt: skip


def _split(rows: Rows, which: NDArray[np.intp]) -> Rows:
    """Two splats in the place of each of these, side by side along its longest axis."""
    n, count = len(rows.gaussians), len(which)
    longest = rows.gaussians.log_scales[which].argmax(1)
    axis = axes_of(rows.gaussians.turns[which])[np.arange(count), :, longest].astype(np.float32)
    aside = ASIDE * np.exp(rows.gaussians.log_scales[which, longest])[:, None] * axis
    rows = _chosen(rows, np.concatenate([np.arange(n), which]))
    g = rows.gaussians
    g.centres[which] += aside
    g.centres[n:] -= aside
    for half in (which, np.arange(n, n + count)):
        g.log_scales[half, longest] += np.float32(np.log(SHORTER))
        for p in PARAMETERS:
            getattr(rows.moments, p)[:, half] = 0
    return rows


def finished(fit: Fit) -> Splats:
    """The splats, those that show most first; so many of the first as one takes, the shell has its share."""
    stays, place = fit.rows.stays, np.empty(len(fit.rows.stays))
    for group in (stays, ~stays):
        ranks = np.argsort(np.argsort(-fit.rows.worth[group], kind="stable"), kind="stable")
        place[group] = (ranks + 0.5) / max(len(ranks), 1)
    order = np.argsort(place, kind="stable")
    made = splats_of(fit.rows.gaussians)
    return Splats(**{name: value[order] for name, value in vars(made).items()})

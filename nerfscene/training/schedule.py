"""What a step is told, and how that changes as training goes on: budgets, rates, losses, step lengths."""

from __future__ import annotations

import math
from typing import Any

from nerfscene.config import TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.ops import backend
from nerfscene.types import PosedCapture

QUALITIES = {"1min": (60.0, 640), "5min": (300.0, 1000), "20min": (1200.0, 1600)}
OCCUPANCY_THRESHOLD = 0.01
# What every cell is worth at first, in thresholds: those where nothing forms are empty after some 200 steps.
# Until then every ray is followed through all of space.
OCCUPANCY_AT_FIRST = 1.5
# A plain sky would hang where it first took form, before the house; farther than this it needs ever longer.
SKY_PULL, SKY_DISTANCE = 3e-3, 5.0
# Where sparse points tell how far away what a pixel shows is, it is pulled there: the fewer photos there are,
# the less the colours tell. Less towards the end, when the field knows better than the points.
DEPTH_PULL, DEPTH_FALL, DEPTH_SLACK, DEPTH_MOST = 1.0, 0.3, 0.005, 0.5
EXPOSURE_RATE, EXPOSURE_PULL = 2e-2, 1e-3


def check_config(config: TrainConfig) -> None:
    """Raises NerfsceneError, naming the option, for a number that makes no sense."""
    c = config
    checks = [
        ("--time", c.time, c.time is None or 0 < c.time < math.inf, "a number of seconds above 0"),
        ("--steps", c.steps, c.steps is None or c.steps > 0, "a number above 0"),
        ("--downscale", c.downscale, c.downscale is None or 1 <= c.downscale < math.inf, "1 or more"),
        ("--holdout", c.holdout, c.holdout == 0 or c.holdout > 1, "2 or more, or 0 for none"),
        ("--threads", c.threads, 0 <= c.threads <= 1024, "1 to 1024, or 0 for all"),
        ("--seed", c.seed, 0 <= c.seed < 2**32, "0 to 4294967295"),
    ]
    for name, value, ok, wanted in checks:
        if not ok:
            raise NerfsceneError(f"{name} must be {wanted}, not {value:g}")


def downscale_for(posed: PosedCapture, config: TrainConfig) -> float:
    """By how much photos are shrunk: as asked, or to the quality's longest side."""
    if config.downscale is not None:
        return max(config.downscale, 1.0)
    longest = max(max(v.intrinsics.width, v.intrinsics.height) for v in posed.views)
    return max(longest / QUALITIES[config.quality][1], 1.0)


def budget(config: TrainConfig) -> tuple[float, int | None]:
    """Seconds and steps that training may take."""
    if config.steps is not None:
        return config.time or math.inf, config.steps
    return config.time or QUALITIES[config.quality][0], None


def options_at(done: float, unbounded: bool, module: Any) -> Any:
    """The step's settings when ``done`` of the budget is spent.

    The learning rate falls exponentially to 2 %, and with it the table's pull towards zero. Unbounded scenes
    start with coarse steps: while all of space is fog, fine ones cost much and tell little; and with little
    loss against fog, which would make an early guess of what is where a wall.
    """
    o = module.TrainOptions()
    o.table_rate = 3e-2 * 0.02**done
    o.weight_rate = 0.5 * o.table_rate
    o.beta1, o.beta2, o.epsilon = 0.9, 0.99, 1e-15
    o.table_pull = 6e-7 * 0.02**done
    # Samples that weigh less are not trained: the rays that they would cost tell more than they do.
    o.min_weight, o.stop_transmittance = 1e-3, 1e-3
    o.coarseness = max(1.0, 8.0 ** (1.0 - done / 0.3)) if unbounded else 1.0
    o.huber_delta = 0.1
    o.distortion = 0.012 * min(0.25 + 2 * done, 1.0) if unbounded else 0.0
    o.full_gradient_distance = 0.0
    o.target_samples = 8192 if unbounded else 4096
    o.occupancy_decay, o.occupancy_threshold = 0.97, OCCUPANCY_THRESHOLD
    o.occupancy_every, o.occupancy_cells = 16, 2048
    # Cut-outs come from renderers and studios, whose exposure is one; a learned one would only follow noise.
    o.exposure_rate = EXPOSURE_RATE * 0.02**done if unbounded else 0.0
    o.exposure_pull = EXPOSURE_PULL
    o.sky_pull, o.sky_distance = (SKY_PULL if unbounded else 0.0), SKY_DISTANCE
    o.depth_pull, o.depth_slack, o.depth_most = DEPTH_PULL * DEPTH_FALL**done, DEPTH_SLACK, DEPTH_MOST
    if backend.on_gpu(module):  # smaller steps would leave most of the card idle
        o.target_samples, o.occupancy_cells = 1 << 18, 1 << 16
    return o

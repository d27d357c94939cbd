"""The training budget, and how the options of a step (rates, losses, step lengths) change during training."""

from __future__ import annotations

import math
from typing import Any

from nerfscene.config import TrainConfig
from nerfscene.ops import backend
from nerfscene.types import PosedCapture

# Seconds, longest side. What "best" has for seconds is only its limit: it ends by PASSES.
QUALITIES = {"1min": (60.0, 640), "5min": (300.0, 1000), "20min": (1200.0, 1600), "best": (14400.0, 2400)}
# How often a quality that takes as long as it takes has each pixel of the training photos seen, on average.
PASSES = {"best": 30.0}
# From so many seconds or steps on, a larger hash table is worth its time; two slow cores make 5,000 in 100 s.
LONG_SECONDS, LONG_STEPS = 100.0, 5000
OCCUPANCY_THRESHOLD = 0.01
# Weight and distance (scene units) of the loss that pushes plain sky away from the cameras. Otherwise sky
# stays where it first formed, even in front of a house; pushing it farther than this takes ever longer.
SKY_PULL, SKY_DISTANCE = 3e-3, 5.0
# The loss that pulls a ray's end to the distance of a sparse point. DEPTH_PULL: its weight at the start.
# DEPTH_FALL: the factor of this weight at the end; it falls because the field becomes more accurate than the
# points. DEPTH_SLACK: errors below this cost nothing; DEPTH_MOST: the largest error that counts (both are
# differences of log distance).
DEPTH_PULL, DEPTH_FALL, DEPTH_SLACK, DEPTH_MOST = 1.0, 0.05, 0.005, 0.5
# The factor of that weight where photos are few and the distances that they agree on are known too: these are
# so many that they would outweigh the colours.
AGREED_PULL = 0.1
# Where photos are few, table_pull grows with this power of a level's resolution: the finest levels are the
# first to learn each photo by heart.
PULL_GROWTH = 0.75
FINE_FROM = 0.8  # the fraction of the training after which steps are as short as in pictures
EXPOSURE_RATE, EXPOSURE_PULL = 2e-2, 1e-3


def occupancy_at_first(module: Any) -> float:
    """The initial value of all cells of the occupancy grid.

    With it, cells where nothing forms become empty after about 200 steps; until then, samples are taken along
    the whole of every ray.
    """
    return (1.5 if backend.on_gpu(module) else 1.22) * OCCUPANCY_THRESHOLD


def downscale_for(posed: PosedCapture, config: TrainConfig) -> float:
    """The factor (at least 1) to downscale photos by: as configured, or to the quality's longest side."""
    if config.downscale is not None:
        return max(config.downscale, 1.0)
    longest = max(max(v.intrinsics.width, v.intrinsics.height) for v in posed.views)
    return max(longest / QUALITIES[config.quality][1], 1.0)


def budget(config: TrainConfig) -> tuple[float, int | None]:
    """The most seconds (may be infinite) and steps (None: unlimited) that training may take."""
    if config.steps is not None:
        return config.time or math.inf, config.steps
    return config.time or QUALITIES[config.quality][0], None


def trains_long(config: TrainConfig) -> bool:
    """Whether there is the time to fill a larger hash table."""
    seconds, steps = budget(config)
    return seconds >= LONG_SECONDS if steps is None else steps >= LONG_STEPS


def rays_wanted(config: TrainConfig, pixels: int) -> float:
    """The rays after which training ends, for so many pixels of training photos; inf: it ends otherwise."""
    if config.time or config.steps is not None or config.quality not in PASSES:
        return math.inf
    return PASSES[config.quality] * pixels


def budget_spent(config: TrainConfig, trained: float, steps: int) -> bool:
    """Whether so many seconds or steps of training are all that was asked for."""
    seconds, most = budget(config)
    return trained >= seconds - 1e-3 or (most is not None and steps >= most)


def suit_few_photos(o: Any, few: float, agreed: float) -> None:
    """Changes a step's options where photos are few. ``few``, ``agreed``: see ``TrainingSet``; 0: as ever."""
    o.depth_pull *= 1.0 - (1.0 - AGREED_PULL) * agreed
    o.pull_growth = PULL_GROWTH * few


def options_at(done: float, unbounded: bool, module: Any) -> Any:
    """The options of a step, the backend's ``TrainOptions``, when ``done`` (0…1) of the budget is spent.

    The learning rate falls exponentially to 2 %, and so does the table's weight decay (``table_pull``).
    Steps along rays are coarse at first and fine towards the end: fine ones cost much, and tell little before
    surfaces have formed. Unbounded scenes start with a small distortion loss, which would otherwise turn an
    early guess into a solid wall.
    """
    o = module.TrainOptions()
    o.table_rate = 3e-2 * 0.02**done
    o.weight_rate = 0.5 * o.table_rate
    o.beta1, o.beta2, o.epsilon = 0.9, 0.99, 1e-15
    o.table_pull = 6e-7 * 0.02**done
    # Lighter samples are not trained: the time is better spent on more rays.
    o.min_weight, o.stop_transmittance = 1e-3, 1e-3
    o.coarseness = max(1.0, (8.0 if unbounded else 4.0) ** (1.0 - done / FINE_FROM))
    o.huber_delta = 0.1
    o.distortion = 0.012 * min(0.25 + 2 * done, 1.0) if unbounded else 0.0
    o.full_gradient_distance = 0.0
    # Of the samples that a step's rays meet, about four in ten get a gradient.
    o.target_samples, o.thinning = (20480 if unbounded else 10240), 1.0
    # Surfaces that few photos show, and leaf tips, are seldom met by rays and soon taken for empty. So cells
    # are probed often while surfaces form, each allowed one every 256 steps.
    o.occupancy_decay, o.occupancy_threshold = 0.985, OCCUPANCY_THRESHOLD
    o.occupancy_every, o.occupancy_cells = 16, (1 << 17 if done < 0.4 else 1 << 15)
    # Cut-outs come from renderers and studios with one exposure; fitting it would only follow noise.
    o.exposure_rate = EXPOSURE_RATE * 0.02**done if unbounded else 0.0
    o.exposure_pull = EXPOSURE_PULL
    o.sky_pull, o.sky_distance = (SKY_PULL if unbounded else 0.0), SKY_DISTANCE
    o.depth_pull, o.depth_slack, o.depth_most = DEPTH_PULL * DEPTH_FALL**done, DEPTH_SLACK, DEPTH_MOST
    o.bfloat16 = 1  # the same PSNR as with products in float, to a hundredth of a dB
    if backend.on_gpu(module):  # with fewer samples per step most of the GPU would be idle
        o.target_samples, o.occupancy_cells = 1 << 18, 1 << 16
        o.occupancy_decay = 0.97
        # What follows is better on a CPU, and was not tried on a GPU.
        o.coarseness = max(1.0, 8.0 ** (1.0 - done / 0.3)) if unbounded else 1.0
    return o

"""What goes into a torch training step and what comes out of it: its options and its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class TrainOptions:
    """A training step's settings, which may change from step to step.

    table_rate, weight_rate, exposure_rate: learning rates; beta1, beta2, epsilon: Adam's constants
    table_pull: this times the table's parameters is added to their gradient and draws them towards zero
    pull_growth: table_pull grows with this power of a level's resolution, see ``reference.level_pulls``
    min_weight, stop_transmittance: see ``reference.survivors``
    coarseness: steps along rays are this many times as long as in rendering
    huber_delta: see ``reference.huber``
    distortion: weight of the distortion loss, 0 for none
    full_gradient_distance: see ``reference.near_gradient_scale``, scene units
    target_samples: samples worth a colour that a step should meet; the number of rays follows from it
    occupancy_decay: factor of all cells' values at each update of the occupancy grid
    occupancy_threshold: cells above this, or above the mean of all cells if that is lower, are occupied
    occupancy_every: steps between updates, 0 for none; occupancy_cells: cells probed in each
    exposure_pull: weight of the loss that draws exposures towards zero
    sky_pull, sky_distance: weight and distance (scene units) of ``reference.sky_pull``
    depth_pull: weight of the depth loss; depth_slack, depth_most: see ``reference.depth_cost``
    camera_every: steps between gradients of the cameras, 0 for none
    errors_every: one ray in so many adds its error to the photos' cells, 0 for none
    bfloat16: the kernels' products; thinning: the samples that they give a gradient. No effect here
    """

    table_rate: float = 0.0
    weight_rate: float = 0.0
    beta1: float = 0.0
    beta2: float = 0.0
    epsilon: float = 0.0
    table_pull: float = 0.0
    pull_growth: float = 0.0
    min_weight: float = 0.0
    stop_transmittance: float = 0.0
    coarseness: float = 0.0
    huber_delta: float = 0.0
    distortion: float = 0.0
    full_gradient_distance: float = 0.0
    target_samples: int = 0
    occupancy_decay: float = 0.0
    occupancy_threshold: float = 0.0
    occupancy_every: int = 0
    occupancy_cells: int = 0
    exposure_rate: float = 0.0
    exposure_pull: float = 0.0
    sky_pull: float = 0.0
    sky_distance: float = 0.0
    depth_pull: float = 0.0
    depth_slack: float = 0.0
    depth_most: float = 0.0
    camera_every: int = 0
    errors_every: int = 0
    bfloat16: int = 0
    thinning: float = 0.0


def empty_report() -> dict[str, Any]:
    """The report of ``Trainer.run`` and ``Trainer.gradients`` before anything has happened."""
    whole = ("steps", "rays", "candidates", "survivors", "dropped")
    real = ("squared_error", "occupied_fraction", "seconds_trace", "seconds_table")
    return dict.fromkeys(whole, 0) | dict.fromkeys((*real, "seconds_occupancy"), 0.0)

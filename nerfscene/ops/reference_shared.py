"""What it means that samples of a ray share a colour, in plain torch: the kernels are tested against it."""

from __future__ import annotations

import torch
from torch import Tensor


def leaders(ray: Tensor, step: Tensor, kept: Tensor, most: float) -> Tensor:
    """For each sample (n,) the index of the one whose colour it takes, which may be its own.

    ray, step (n,) int64, in order: a sample's ray, and which of its steps it is. kept (n,) bool, from
    ``reference_rays.survivors``. A kept sample leads; the ray's kept samples less than ``most`` steps behind
    it follow; the next one leads again. The index of samples that aren't kept means nothing.
    """
    lead = torch.arange(len(ray))
    current: dict[int, int] = {}
    for i in torch.nonzero(kept)[:, 0].tolist():
        r = int(ray[i])
        first = current.get(r)
        if first is None or not int(step[i] - step[first]) < most:
            current[r] = first = i
        lead[i] = first
    return lead


def shared_outputs(outputs: Tensor, weights: Tensor, lead: Tensor) -> Tensor:
    """The density network's outputs (n, k) of which a colour is made: means by weight over who shares it.

    weights (n,), 0 for samples that aren't kept; lead from ``leaders``. Rows that don't lead are 0.
    """
    total = weights.new_zeros(len(weights)).index_add(0, lead, weights)
    mean = torch.zeros_like(outputs).index_add(0, lead, weights[:, None] * outputs)
    return torch.where(total[:, None] > 0, mean / torch.where(total > 0, total, 1.0)[:, None], 0.0)

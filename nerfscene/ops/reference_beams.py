"""The oracle for beams: at which steps rays from one point may meet an occupied cell, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfscene.ops.layout import Space
from nerfscene.ops.reference_rays import ray_steps, step_distance, to_unit


def sampled_points(rays_o: Tensor, rays_d: Tensor, space: Space) -> tuple[Tensor, Tensor]:
    """The points (n, steps, 3), unit cube, that pictures sample in the middle of each ray's steps.

    rays_o, rays_d (n, 3), with unit directions. The second result (n, steps) says which are before the end
    of their ray.
    """
    law, end, steps = ray_steps(rays_o, rays_d, space)
    k = torch.arange(int(steps.max()), dtype=rays_o.dtype)[None, :].expand(len(rays_o), -1)
    t = step_distance(law, k + 0.5)
    points = to_unit(rays_o[:, None] + rays_d[:, None] * t[..., None], space)
    return points, (t < end[:, None]) & (k < steps[:, None])


def occupied_boxes(cells: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Whether boxes of the unit cube, corners (n, 3) each, reach an occupied cell: cells (z, y, x) bool."""
    r = len(cells)
    before = torch.zeros((r + 1,) * 3, dtype=torch.long)  # [z, y, x]: how many occupied cells are below that
    before[1:, 1:, 1:] = cells.long().cumsum(0).cumsum(1).cumsum(2)
    first, last = ((corner * r).clamp(0, r - 0.5).long() for corner in (low, high))
    x, y, z = torch.stack([first, last + 1]).unbind(-1)
    count = torch.zeros(len(low), dtype=torch.long)
    for i in (0, 1):
        for j in (0, 1):
            for k in (0, 1):
                count += (-1) ** (1 + i + j + k) * before[z[i], y[j], x[k]]
    return count > 0


def live_steps(points: Tensor, sampled: Tensor, offset: Tensor, cells: Tensor, room: float) -> Tensor:
    """Which steps (steps,) of a beam have an occupied cell in the box around its rays' points.

    points (n, steps, 3), sampled (n, steps): from ``sampled_points``; ray r's step k is the beam's step
    k + offset[r]; cells (r, r, r) bool, indexed z, y, x. room: each box is so much wider on every side, unit
    cube, and by twice its longest side besides if ``room`` is above 0. A step that no ray samples counts as
    live.
    """
    ray, k = torch.nonzero(sampled, as_tuple=True)
    step = (k + offset[ray])[:, None].expand(-1, 3)
    empty = points.new_zeros((points.shape[1] + int(offset.max()), 3))
    low = (empty + 2).scatter_reduce(0, step, points[ray, k], "amin")
    high = (empty - 2).scatter_reduce(0, step, points[ray, k], "amax")
    unseen = low[:, 0] > high[:, 0]
    grow = room + 2 * (high - low).amax(1, keepdim=True) * (room > 0)
    return occupied_boxes(cells, low - grow, high + grow) | unseen

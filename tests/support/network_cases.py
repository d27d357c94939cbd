"""Networks of several shapes, samples where they are differentiable, and what the oracle makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from kernel_cases import Case, double, make_case, random_directions, random_points

from nerfscene.ops import reference as ref

# levels, features, hidden, color_hidden, color_layers
NETWORKS = [
    (1, 2, 16, 16, 0),
    (4, 8, 32, 64, 0),
    (16, 8, 128, 16, 0),
    (3, 4, 48, 16, 1),
    (4, 8, 64, 128, 1),
    (6, 4, 16, 48, 2),
    (4, 8, 128, 64, 2),
]
MARGIN = 1e-4  # how far from a ReLU's bend an activation must be for gradients to be compared


def networks(shape: tuple[int, ...], seed: int = 0) -> Case:
    levels, features, hidden, color_hidden, color_layers = shape
    return make_case(
        seed,
        levels,
        features,
        hidden=hidden,
        color_hidden=color_hidden,
        color_layers=color_layers,
    )


def nearest_bend(case: Case, points: Any, directions: Any) -> torch.Tensor:
    """The smallest |input| of any ReLU for each sample (n,)."""
    layers = ref.split_weights(case.tensors()[1].detach(), case.shapes)
    x = ref.hash_encode(*double(points, case.master), case.grid) @ layers[0]
    smallest = [x.abs().amin(1)]
    if case.color_layers:
        sh = ref.spherical_harmonics(double(directions)[0], 3)
        x = torch.cat([torch.relu(x) @ layers[1], sh], 1)
        for layer in layers[2:-1]:
            x = x @ layer
            smallest.append(x.abs().amin(1))
            x = torch.relu(x)
    return torch.stack(smallest).amin(0)


def smooth_samples(case: Case, n: int, seed: int) -> tuple[Any, Any]:
    """Points and directions (n, 3) at which the networks are differentiable, with a margin."""
    points, directions = random_points(n + 600, seed), random_directions(n + 600, seed)
    good = (nearest_bend(case, points, directions) > MARGIN).numpy()
    assert good.sum() >= n
    return points[good][:n], directions[good][:n]


def oracle(case: Case, points: Any, directions: Any) -> tuple[torch.Tensor, ...]:
    """The oracle's encoding and weights, which require gradients, and the density and colour made of them."""
    table, weights = case.tensors()
    encoding = ref.hash_encode(double(points)[0], table, case.grid).detach().requires_grad_()
    layers = ref.split_weights(weights, case.shapes)
    outputs = ref.network_outputs(encoding, layers)
    rgb = ref.color(outputs, double(directions)[0], layers)
    return encoding, weights, ref.density_activation(outputs[:, 0]), rgb


def evaluate(module: Any, case: Case, points: Any, directions: Any) -> tuple[Any, Any]:
    density, rgb = np.empty(len(points), np.float32), np.empty((len(points), 3), np.float32)
    case.field(module).evaluate(points, directions, density, rgb)
    return density, rgb

"""The field's operations in plain torch: the reference that every kernel is tested against.

They work in any float dtype, are differentiable by autograd, and slow. Each function computes what the
header of the same subject in ``cuda_ext/include`` specifies. This module has the hash grid, the networks
and the optimiser; ``reference_rays`` has space, marching, compositing and the losses, and
``reference_lens`` the cameras. This module re-exports the names of both that are used elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nerfscene.ops.layout import GridLayout, Space
from nerfscene.ops.reference_lens import CAMERA_GRADIENT, camera_gradient, pixel_rays
from nerfscene.ops.reference_rays import (
    Pixels,
    Samples,
    composite,
    cropped,
    depth_cost,
    distortion_loss,
    distortion_of,
    exposed,
    from_unit,
    huber,
    march,
    near_gradient_scale,
    occupancy_cell,
    occupied,
    ray_steps,
    reference_step,
    scale_gradient,
    sky_pull,
    step_distance,
    step_law,
    survivors,
    to_unit,
)

__all__ = [
    "CAMERA_GRADIENT",
    "GridLayout",
    "Pixels",
    "Samples",
    "Space",
    "adam",
    "camera_gradient",
    "color",
    "composite",
    "cropped",
    "density",
    "density_activation",
    "depth_cost",
    "distortion_loss",
    "distortion_of",
    "exposed",
    "from_unit",
    "harmonic_color",
    "hash_encode",
    "hash_rows",
    "huber",
    "march",
    "near_gradient_scale",
    "network_outputs",
    "occupancy_cell",
    "occupied",
    "pixel_rays",
    "ray_steps",
    "reference_step",
    "scale_gradient",
    "sky_pull",
    "spherical_harmonics",
    "split_weights",
    "step_distance",
    "step_law",
    "survivors",
    "to_half",
    "to_unit",
]

PRIMES = (1, 2654435761, 805459861)
DENSITY_SHIFT = -1.0
DENSITY_LIMIT = 12.0
HALF_MAX = 65504.0


# --- the hash grid ------------------------------------------------------------------------------


def hash_rows(points: Tensor, grid: GridLayout, level: int) -> tuple[Tensor, Tensor]:
    """The eight rows that each point reads in one level, and their trilinear weights.

    points (n, 3) in [0, 1] → rows (n, 8) int64, indices into the whole table; weights (n, 8), which
    sum to one. Müller et al., "Instant Neural Graphics Primitives", 2022. Differentiable with respect to
    points, except on the cells' borders, where the encoding is continuous but has a kink.
    """
    position = points * grid.resolution[level] + 0.5
    cell = position.detach().floor()
    inside = position - cell
    corner = torch.tensor([[k & 1, k >> 1 & 1, k >> 2 & 1] for k in range(8)])
    vertex = cell.long()[:, None, :] + corner
    x, y, z = vertex.unbind(-1)
    if grid.hashed[level]:
        row = (x * PRIMES[0] ^ y * PRIMES[1] ^ z * PRIMES[2]) & (grid.size[level] - 1)
    else:
        side = grid.resolution[level] + 2
        row = x + (y + z * side) * side
    w = torch.where(corner.bool(), inside[:, None, :], 1 - inside[:, None, :])
    return row + grid.offset[level], w[..., 0] * w[..., 1] * w[..., 2]


def hash_encode(points: Tensor, table: Tensor, grid: GridLayout) -> Tensor:
    """Encodings of points: the interpolated rows of all levels side by side, coarse to fine.

    points (n, 3) in [0, 1], table (rows, features) → (n, encoding), padded with zeros.
    Differentiable with respect to points and table.
    """
    found = [hash_rows(points, grid, level) for level in range(grid.levels)]
    rows = torch.stack([r for r, _ in found], dim=1)
    weights = torch.stack([w for _, w in found], dim=1)
    out = (F.embedding(rows, table) * weights[..., None]).sum(2).flatten(1)
    return F.pad(out, (0, grid.encoding - out.shape[1]))


def level_pulls(grid: GridLayout, pull: float, growth: float) -> Tensor:
    """The pull on each row of a table (rows,): ``pull`` on the coarsest level's rows.

    On a finer level's it is larger by the ratio of the two resolutions to the power of ``growth``.
    """
    ratios = torch.tensor(grid.resolution, dtype=torch.float32) / grid.resolution[0]
    return (pull * ratios**growth).repeat_interleave(torch.tensor(grid.size))


def to_half(x: Tensor) -> Tensor:
    """float32 → float16, rounded to nearest even; values out of range become ±65504, never infinite."""
    return x.clamp(-HALF_MAX, HALF_MAX).half()


# --- the networks -------------------------------------------------------------------------------


def split_weights(weights: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """A flat vector of weights → one (in, out) matrix per layer, as views.

    ``shapes`` come from ``layout.network_shapes``.
    """
    pieces = weights.split([a * b for a, b in shapes])
    return [w.reshape(s) for w, s in zip(pieces, shapes, strict=True)]


def network_outputs(encoding: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """The density network: encoding (n, e) → raw outputs (n, 16 or 32), the first of them for density."""
    return torch.relu(encoding @ layers[0]) @ layers[1]


def density_activation(raw: Tensor) -> Tensor:
    """Raw output → density per scene unit: exp(raw - 1), with the exponent limited to 12.

    The gradient is the density itself even at the limit, so that training can bring an overshoot back.
    """
    x = raw + DENSITY_SHIFT
    return torch.exp(x + (x.clamp(max=DENSITY_LIMIT) - x).detach())


def density(encoding: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """Density (n,), per scene unit, from encodings (n, e)."""
    hidden = torch.relu(encoding @ layers[0])
    return density_activation(hidden @ layers[1][:, 0])


def spherical_harmonics(d: Tensor, degree: int) -> Tensor:
    """Real spherical harmonics of unit directions (n, 3), ``degree`` 0…3 → (n, (degree + 1)²)."""
    x, y, z = d.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    basis = [
        torch.full_like(x, 0.28209479),
        -0.48860251 * y,
        0.48860251 * z,
        -0.48860251 * x,
        1.09254843 * x * y,
        -1.09254843 * y * z,
        0.94617470 * zz - 0.31539157,
        -1.09254843 * x * z,
        0.54627422 * (xx - yy),
        0.59004359 * y * (yy - 3 * xx),
        2.89061144 * x * y * z,
        0.45704580 * y * (1 - 5 * zz),
        0.37317633 * z * (5 * zz - 3),
        0.45704580 * x * (1 - 5 * zz),
        1.44530572 * z * (xx - yy),
        0.59004359 * x * (3 * yy - xx),
    ]
    return torch.stack(basis[: (degree + 1) ** 2], dim=-1)


def color(outputs: Tensor, directions: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """Colour (n, 3) in 0…1 from the density network's raw outputs and directions (n, 3).

    If there are only the density network's two layers, columns 1 to 27 of the outputs (n, 32) are the
    coefficients of nine spherical harmonics for three colours, the colour's index fastest. Otherwise the
    remaining layers are a network that takes the outputs (n, 16) and the direction's 16 harmonics.
    """
    if len(layers) == 2:
        return harmonic_color(outputs, directions)
    x = torch.cat([outputs, spherical_harmonics(directions, 3)], dim=1)
    for layer in layers[2:-1]:
        x = torch.relu(x @ layer)
    return torch.sigmoid((x @ layers[-1])[:, :3])


def harmonic_color(outputs: Tensor, directions: Tensor) -> Tensor:
    """Colour (n, 3) in 0…1 from outputs (n, 32) that hold its spherical harmonics; see ``color``."""
    basis = spherical_harmonics(directions, 2)
    return torch.sigmoid((outputs[:, 1:28].reshape(-1, 9, 3) * basis[..., None]).sum(1))


# --- the optimiser ------------------------------------------------------------------------------


def adam(
    parameters: Tensor,
    gradient: Tensor,
    m: Tensor,
    v: Tensor,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    pull: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of Adam without bias correction → new parameters, m, v (any shape).

    ``pull`` times the parameters is added to their gradient, which draws them towards zero. Kingma & Ba,
    2015. There is no bias correction because rows of a hash table get their first gradient at different times
    and so have no common step count.
    So many parameters because they are Adam's state and constants, as the kernels' ``adam`` takes them.
    """
    gradient = gradient + pull * parameters
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient * gradient
    return parameters - rate * m / (v.sqrt() + epsilon), m, v

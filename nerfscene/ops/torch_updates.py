"""What a training step changes, in torch: parameters by Adam, and the occupancy grid by probing cells."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nerfscene.ops import draws
from nerfscene.ops import reference as ref
from nerfscene.ops.layout import Space
from nerfscene.ops.torch_field import Field
from nerfscene.ops.torch_options import TrainOptions


@torch.no_grad()
def update_rows(
    parameters: Tensor,
    moments: Tensor,
    gradient: Tensor,
    rate: float,
    o: TrainOptions,
    pull: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Adam, in place, on the rows that have any gradient; the others keep even their moments.

    parameters and gradient (rows, k), moments (rows, 2, k); ``pull``: as in ``reference.adam``, of all
    rows or (rows,) of each. Returns the indices of the changed rows and their new values.
    """
    rows = torch.nonzero((gradient != 0).any(1))[:, 0]
    m, v = moments[rows].unbind(1)
    if isinstance(pull, Tensor):
        pull = pull[rows, None]
    new, m, v = ref.adam(parameters[rows], gradient[rows], m, v, rate, o.beta1, o.beta2, o.epsilon, pull)
    parameters[rows] = new
    moments[rows] = torch.stack([m, v], 1)
    return rows, new


@torch.no_grad()
def update_all(parameters: Tensor, moments: Tensor, gradient: Tensor, rate: float, o: TrainOptions) -> None:
    """Adam, in place, on all parameters (n,), with moments (2, n)."""
    m, v = moments
    new, m, v = ref.adam(parameters, gradient, m, v, rate, o.beta1, o.beta2, o.epsilon)
    parameters.copy_(new)
    moments.copy_(torch.stack([m, v]))


@torch.no_grad()
def note_thickness(values: Tensor, space: Space, unit: Tensor, points: Tensor, density: Tensor) -> None:
    """Raises occupancy values (cells,) to the optical thickness found at points (n, 3), given both ways."""
    cell = ref.occupancy_cell(unit, space.occupancy_resolution)
    thickness = density * ref.reference_step(points, space)
    values.scatter_reduce_(0, cell, thickness, "amax")


@torch.no_grad()
def probe_cells(values: Tensor, field: Field, allowed: Tensor | None, first: int, n: int, seed: int) -> None:
    """Raises the values of ``n`` cells to the optical thickness at a random point in each.

    Cells come in a random order that visits each once per epoch; ``first`` counts the cells probed before.
    Empty cells take their turn too; otherwise nothing could ever appear in them. Those that are not
    allowed (bits; None: all are) are passed over.
    """
    space, cells = field.space, len(values)
    r = space.occupancy_resolution
    drawn = np.uint64(first) + np.arange(n, dtype=np.uint64)
    epoch, ids = (drawn // np.uint64(cells)).astype(np.uint32), drawn.astype(np.uint32)
    cell = draws.permute(drawn % np.uint64(cells), cells, np.uint32(seed) + epoch)
    if allowed is not None:
        kept = np.unpackbits(allowed.cpu().numpy().view(np.uint8), bitorder="little")[cell] > 0
        cell, ids = cell[kept], ids[kept]
    cell = cell.astype(np.int64)
    corner = np.stack([cell % r, cell // r % r, cell // r // r], 1).astype(np.float32)
    offset = np.stack([draws.random_unit(seed, ids, 11 + a) for a in range(3)], 1)
    unit = torch.from_numpy((corner + offset) / np.float32(r))
    points = ref.from_unit(unit, space)
    thickness = field.densities(unit) * ref.reference_step(points, space)
    values.scatter_reduce_(0, torch.from_numpy(cell), thickness, "amax")


def occupied_bits(values: Tensor, threshold: float, allowed: Tensor | None) -> Tensor:
    """Occupancy bits (cells / 32,) int32 of the allowed cells whose value is above the threshold."""
    bits = np.packbits(values.cpu().numpy() > threshold, bitorder="little").view(np.int32)
    words = torch.from_numpy(bits)
    return words if allowed is None else words & allowed

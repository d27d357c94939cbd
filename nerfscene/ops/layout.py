"""How a field's parameters are laid out in memory, the same for every backend.

The hash grid's contract is written in ``cuda_ext/include/hashgrid.h``, the networks' in ``desc.h``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

MAX_LEVELS = 16
DENSE_ROWS_MULTIPLE = 64  # rows of a dense level are updated in words of 64
WIDTH_MULTIPLE = 16  # every dimension of a layer: the widest vector


@dataclass(frozen=True)
class GridLayout:
    """A multi-resolution hash grid (Müller et al. 2022), without its numbers.

    features: numbers in a row, 2, 4 or 8
    resolution, size, hashed: of each level, coarse to fine: cells along a side, rows in the table,
        and whether those are found by hashing (else the level is dense, x fastest)
    """

    features: int
    resolution: tuple[int, ...]
    size: tuple[int, ...]
    hashed: tuple[bool, ...]

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.resolution)

    @property
    def offset(self) -> tuple[int, ...]:
        """First row of each level in the table."""
        return tuple(accumulate(self.size, initial=0))[:-1]

    @property
    def rows(self) -> int:
        """Rows in the whole table, which has shape (rows, features)."""
        return sum(self.size)

    @property
    def encoding(self) -> int:
        """Width of an encoding: levels · features, padded with zeros to a multiple of 16."""
        return padded(self.levels * self.features)


@dataclass(frozen=True)
class Space:
    """Where a field lives and how rays are stepped through it; see ``cuda_ext/include/march.h``.

    unbounded: space beyond [-1, 1]³ exists
    near, far: no sample is closer to its camera, or farther, scene units
    step: the shortest step, scene units
    cone: a step as a fraction of the distance, where that is longer; 0 for constant steps
    occupancy_resolution: cells along a side
    """

    unbounded: bool
    near: float
    far: float
    step: float
    cone: float
    occupancy_resolution: int


def padded(n: int, multiple: int = WIDTH_MULTIPLE) -> int:
    """The smallest multiple that holds ``n``."""
    return (n + multiple - 1) // multiple * multiple


def grid_layout(
    levels: int,
    features: int,
    log2_table: int,
    base_resolution: int,
    finest_resolution: int,
) -> GridLayout:
    """Resolutions in geometric progression from base to finest, dense where 2**log2_table rows do.

    Raises ValueError for numbers that make no grid.
    """
    if not 1 <= levels <= MAX_LEVELS:
        raise ValueError(f"1 to {MAX_LEVELS} levels, not {levels}")
    if features not in (2, 4, 8):
        raise ValueError(f"2, 4 or 8 features a level, not {features}")
    if not 1 <= base_resolution <= finest_resolution:
        raise ValueError(f"resolutions from {base_resolution} to {finest_resolution}")
    if not 6 <= log2_table <= 24:
        raise ValueError(f"log2_table from 6 to 24, not {log2_table}")
    growth = (finest_resolution / base_resolution) ** (1 / max(levels - 1, 1))
    # Rounding must not make the finest level one cell coarser than was asked for.
    resolution = tuple(math.floor(base_resolution * growth**i + 1e-6) for i in range(levels))
    dense = tuple((r + 2) ** 3 for r in resolution)
    hashed = tuple(n > 2**log2_table for n in dense)
    size = tuple(
        2**log2_table if h else padded(n, DENSE_ROWS_MULTIPLE) for n, h in zip(dense, hashed, strict=True)
    )
    return GridLayout(features=features, resolution=resolution, size=size, hashed=hashed)


def network_shapes(encoding: int, hidden: int, color_hidden: int, color_layers: int) -> list[tuple[int, int]]:
    """(inputs, outputs) of every layer, in the order in which their weights follow one another.

    ``encoding`` is padded here if it isn't already. The density network's last layer has 32 outputs
    when they hold spherical harmonics of colour (``color_layers`` = 0: density, 27 coefficients and
    padding), and 16 when a colour network follows; that network's inputs are those 16 and the
    direction's 16 harmonics, its outputs three colours padded to 16.
    """
    if not 0 <= color_layers <= 2:
        raise ValueError(f"0 to 2 hidden colour layers, not {color_layers}")
    shapes = [(padded(encoding), hidden), (hidden, 32 if color_layers == 0 else 16)]
    if color_layers > 0:
        shapes.append((32, color_hidden))
        shapes += [(color_hidden, color_hidden)] * (color_layers - 1)
        shapes.append((color_hidden, 16))
    return shapes

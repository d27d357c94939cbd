"""How a field's parameters are laid out in memory; every backend uses this layout.

The same layout is defined for the kernels in ``cuda_ext/include``: the hash grid's in ``hashgrid.h``, the
networks' in ``desc.h``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

MAX_LEVELS = 16
DENSE_ROWS_MULTIPLE = 64  # the rows of a dense level are updated in blocks of 64
WIDTH_MULTIPLE = 16  # every layer dimension is a multiple of this, the widest vector's length


@dataclass(frozen=True)
class GridLayout:
    """The shape of a multi-resolution hash grid (Müller et al. 2022), without its parameters.

    features: numbers per row, 2, 4 or 8
    resolution: cells along a side of each level, coarse to fine
    size: each level's rows in the table
    hashed: whether a level's rows are found by hashing; if not, the level is dense, x fastest
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
    """The extent of a field and the steps along its rays; see ``cuda_ext/include/march.h``.

    unbounded: whether the scene extends beyond [-1, 1]³
    near, far: smallest and largest distance of a sample from its camera, scene units
    step: the shortest step, scene units
    cone: a step is max(step, cone · distance) long; 0 for constant steps
    occupancy_resolution: occupancy cells along a side
    view: view_from_scene (3×4, row-major, 12 numbers) of an unbounded space that is laid out along the view;
        None: around the origin
    share: how much of the unit cube's length the scene takes then, up to infinity (above 0, at most 1)
    """

    unbounded: bool
    near: float
    far: float
    step: float
    cone: float
    occupancy_resolution: int
    view: tuple[float, ...] | None = None
    share: float = 1.0


def padded(n: int, multiple: int = WIDTH_MULTIPLE) -> int:
    """``n`` rounded up to a multiple of ``multiple``."""
    return (n + multiple - 1) // multiple * multiple


def grid_layout(
    levels: int,
    features: int,
    log2_table: int,
    base_resolution: int,
    finest_resolution: int,
) -> GridLayout:
    """A grid whose levels grow geometrically from the base to the finest resolution.

    A level is dense if its (resolution + 2)³ vertices fit in 2**log2_table rows, and hashed otherwise.
    Raises ValueError for values out of range.
    """
    if not 1 <= levels <= MAX_LEVELS:
        raise ValueError(f"a grid has 1 to {MAX_LEVELS} levels, not {levels}")
    if features not in (2, 4, 8):
        raise ValueError(f"a level has 2, 4 or 8 features, not {features}")
    if not 1 <= base_resolution <= finest_resolution:
        raise ValueError(
            f"the base resolution ({base_resolution}) must be from 1 to the finest ({finest_resolution})"
        )
    if not 6 <= log2_table <= 24:
        raise ValueError(f"log2_table must be from 6 to 24, not {log2_table}")
    growth = (finest_resolution / base_resolution) ** (1 / max(levels - 1, 1))
    # The 1e-6 keeps rounding errors from making the finest level one cell coarser than requested.
    resolution = tuple(math.floor(base_resolution * growth**i + 1e-6) for i in range(levels))
    dense = tuple((r + 2) ** 3 for r in resolution)
    hashed = tuple(n > 2**log2_table for n in dense)
    size = tuple(
        2**log2_table if h else padded(n, DENSE_ROWS_MULTIPLE) for n, h in zip(dense, hashed, strict=True)
    )
    return GridLayout(features=features, resolution=resolution, size=size, hashed=hashed)


def network_shapes(encoding: int, hidden: int, color_hidden: int, color_layers: int) -> list[tuple[int, int]]:
    """(inputs, outputs) of every layer, in the order of their weights in memory.

    ``encoding``, the encoding's width, is padded here if it isn't already. With ``color_layers`` = 0 the
    colour is stored as spherical harmonics: the density network's last layer has 32 outputs (density, 27
    coefficients and padding). Otherwise it has 16 outputs and a colour network follows, whose inputs are
    these 16 and the direction's 16 harmonics, and whose outputs are three colours padded to 16.
    Raises ValueError for ``color_layers`` outside 0 to 2.
    """
    if not 0 <= color_layers <= 2:
        raise ValueError(f"color_layers must be from 0 to 2, not {color_layers}")
    shapes = [(padded(encoding), hidden), (hidden, 32 if color_layers == 0 else 16)]
    if color_layers > 0:
        shapes.append((32, color_hidden))
        shapes += [(color_hidden, color_hidden)] * (color_layers - 1)
        shapes.append((color_hidden, 16))
    return shapes

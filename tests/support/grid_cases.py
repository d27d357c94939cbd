"""Hash grids of several shapes, and how far rounding may take an encoding from the oracle's."""

from __future__ import annotations

from typing import Any

import numpy as np
from kernel_cases import EPS, Case

# levels, features, log2_table, base, finest: all dense, all hashed, and both
GRIDS = [
    (1, 2, 14, 16, 16),
    (1, 8, 6, 50, 50),
    (3, 2, 10, 3, 40),
    (4, 8, 12, 8, 256),
    (5, 4, 14, 5, 700),
    (16, 2, 12, 4, 1024),
    (16, 8, 11, 4, 2048),
]


def encode(module: Any, case: Case, points: Any) -> Any:
    out = np.zeros((len(points), case.grid.encoding), np.float32)
    case.field(module).encode(points, out)
    return out


def position_error(case: Case) -> np.ndarray[Any, Any]:
    """How far rounding can move a point inside its cell, for each column of an encoding."""
    # p = u · resolution + 0.5 rounds twice at most, each time by half a unit in the last place of p.
    error = np.repeat([(r + 1) * 2 * EPS for r in case.grid.resolution], case.grid.features)
    return np.pad(error, (0, case.grid.encoding - len(error)))

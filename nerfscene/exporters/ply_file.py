"""Point clouds as .ply: binary, little-endian, with the properties that other programs look for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT_STEP = 6e-8  # relative rounding error of a float
PROPERTY = {"f4": "float", "f8": "double", "u1": "uchar"}


def write_ply(
    path: Path,
    positions: NDArray[np.floating],
    colours: NDArray[np.uint8],
    normals: NDArray[np.floating] | None = None,
    comments: tuple[str, ...] = (),
) -> None:
    """Writes points (n, 3), colours (n, 3) and unit normals (n, 3) to ``path``.

    Positions far from the origin, as of geographic coordinates, are written as double, others as float.
    """
    kind = "f8" if needs_double(positions) else "f4"
    columns: list[tuple[str, str, NDArray[Any]]] = [(a, kind, positions[:, i]) for i, a in enumerate("xyz")]
    if normals is not None:
        columns += [(f"n{axis}", "f4", normals[:, i]) for i, axis in enumerate("xyz")]
    columns += [(name, "u1", colours[:, i]) for i, name in enumerate(("red", "green", "blue"))]
    rows = np.empty(len(positions), np.dtype([(name, f"<{kind}") for name, kind, _ in columns]))
    for name, _, values in columns:
        rows[name] = values
    properties = [f"property {PROPERTY[kind]} {name}" for name, kind, _ in columns]
    head = ["ply", "format binary_little_endian 1.0", *(f"comment {line}" for line in comments)]
    head += [f"element vertex {len(rows)}", *properties]
    with path.open("wb") as file:
        file.write(("\n".join([*head, "end_header"]) + "\n").encode("ascii"))
        file.write(rows.tobytes())


def needs_double(positions: NDArray[np.floating]) -> bool:
    """Whether floats would move points (n, 3) by more than a millionth of the cloud's size."""
    if not len(positions):
        return False
    low, high = np.percentile(positions, [10, 90], axis=0)
    size = float((high - low).max())
    return positions.dtype == np.float64 and float(np.abs(positions).max()) * FLOAT_STEP > 1e-6 * size

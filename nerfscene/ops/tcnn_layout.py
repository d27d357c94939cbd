"""Converts a field's table and weights to and from the layout of tiny-cuda-nn's modules.

Facts from tiny-cuda-nn's source (NVlabs/tiny-cuda-nn at 6ee3546: ``encodings/grid.h``, ``common_device.h``,
``networks/*_mlp.h``; Müller, 2021), and what follows from them here:

- A grid's level 0 has scale s = base_resolution - 1, and s + 1 vertices along a side. A point u lies at
  u · s + 0.5; its cell, its trilinear weights and the order of vertices (x fastest) are as in ours.
- A hash grid with at most 2^log2_hashmap_size vertices is stored densely; a larger one uses the same hash as
  ours, modulo that size. A dense grid has one row per vertex, padded to a multiple of 8.
- Our level of resolution r has r + 2 vertices along a side, because u = 1 reads vertex r + 1. In a
  tiny-cuda-nn grid of the same scale that vertex would wrap around to the next row. Our dense level is
  therefore a tiny-cuda-nn grid of scale r + 1, evaluated at u · r / (r + 1): the same point in the same
  lattice, up to float32 rounding. Rows of a hashed level don't depend on the side, so it has scale r and
  the same arithmetic, unless tiny-cuda-nn would still store that grid densely.
- Further levels of a tiny-cuda-nn grid are rounded differently from ours. So each of our levels becomes an
  encoding of its own, with one level.
- A network's parameters are its layers one after another, each (out, in) row-major, without biases, inputs
  and outputs padded to multiples of 16: our layers transposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nerfscene.errors import NerfsceneError
from nerfscene.ops.layout import GridLayout, padded
from nerfscene.ops.reference import split_weights

ROWS_MULTIPLE = 8  # of a dense level
FUSED_WIDTHS = (16, 32, 64, 128)
MAX_SIDE = 1625  # vertices along a side of a dense level; with more, their number exceeds 32 bits


@dataclass(frozen=True)
class Level:
    """The tiny-cuda-nn encoding that holds one of our grid's levels.

    dense: whether each vertex has its own row
    base_resolution: the encoding's only resolution
    log2_rows: log2 of a hashed level's rows, 0 for a dense one
    shrink: factor that points are multiplied by first
    rows: rows in the encoding's parameters
    """

    dense: bool
    base_resolution: int
    log2_rows: int
    shrink: float
    rows: int


def level_of(grid: GridLayout, level: int) -> Level:
    """The encoding for one of our levels. Raises NerfsceneError if tiny-cuda-nn has no equivalent."""
    resolution, size = grid.resolution[level], grid.size[level]
    side = resolution + 2
    shrunk = resolution / (resolution + 1)
    if not grid.hashed[level]:
        if side > MAX_SIDE:
            raise _impossible(f"a dense level of {resolution} cells along a side")
        return Level(True, side, 0, shrunk, padded(side**3, ROWS_MULTIPLE))
    log2_rows = size.bit_length() - 1
    if (resolution + 1) ** 3 > size:
        return Level(False, resolution + 1, log2_rows, 1.0, size)
    if side**3 > size:
        return Level(False, side, log2_rows, shrunk, size)
    raise _impossible(f"a hashed level of {resolution} cells along a side with room for all in {size} rows")


def _impossible(what: str) -> NerfsceneError:
    return NerfsceneError(
        f"tiny-cuda-nn has no equivalent of {what}; use --backend cuda or --backend cpu for this field"
    )


def encoding_settings(level: Level, features: int) -> dict[str, Any]:
    """The settings from which tiny-cuda-nn makes a level's encoding."""
    settings: dict[str, Any] = {
        "otype": "DenseGrid" if level.dense else "HashGrid",
        "n_levels": 1,
        "n_features_per_level": features,
        "base_resolution": level.base_resolution,
        "per_level_scale": 1.0,  # required for a dense grid: the default divides by levels - 1
        "interpolation": "Linear",
    }
    return settings if level.dense else settings | {"log2_hashmap_size": level.log2_rows}


def network_settings(width: int, hidden_layers: int) -> dict[str, Any]:
    """The settings from which tiny-cuda-nn makes a network, fully fused if its width allows that."""
    return {
        "otype": "FullyFusedMLP" if width in FUSED_WIDTHS else "CutlassMLP",
        "activation": "ReLU",
        "output_activation": "None",
        "n_neurons": width,
        "n_hidden_layers": hidden_layers,
    }


def grid_parameters(table: Tensor, grid: GridLayout, levels: Sequence[Level]) -> list[Tensor]:
    """Table (rows, features) → parameters (rows · features,) of each level's encoding, copies or views."""
    pieces = table.split(list(grid.size))
    return [_resized(piece, level.rows).reshape(-1) for piece, level in zip(pieces, levels, strict=True)]


def table_of(parameters: Sequence[Tensor], grid: GridLayout) -> Tensor:
    """The inverse of ``grid_parameters``; rows that only our table has are zero, and nothing reads them."""
    rows = [p.reshape(-1, grid.features) for p in parameters]
    return torch.cat([_resized(r, size) for r, size in zip(rows, grid.size, strict=True)])


def _resized(rows: Tensor, n: int) -> Tensor:
    return F.pad(rows, (0, 0, 0, n - len(rows)))


def network_parameters(weights: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Flat weights → the parameters of the density network and, if there is one, of the colour network."""
    transposed = [w.T.reshape(-1) for w in split_weights(weights.reshape(-1), shapes)]
    return [torch.cat(layers) for layers in (transposed[:2], transposed[2:]) if layers]


def weights_of(parameters: Sequence[Tensor], shapes: Sequence[tuple[int, int]]) -> Tensor:
    """The inverse of ``network_parameters``: flat weights (n,)."""
    transposed = split_weights(torch.cat(list(parameters)), [(b, a) for a, b in shapes])
    return torch.cat([w.T.reshape(-1) for w in transposed])

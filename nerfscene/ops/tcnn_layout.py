"""How this field's table and weights lie in tiny-cuda-nn's modules: settings, and copies there and back.

Facts from tiny-cuda-nn's source (NVlabs/tiny-cuda-nn at 6ee3546: ``encodings/grid.h``, ``common_device.h``,
``networks/*_mlp.h``; Müller, 2021):

- A grid's level 0 has scale s = base_resolution - 1, and s + 1 vertices along a side. A point u lies at
  u · s + 0.5, is cut to its cell and weighed trilinearly, as here; vertices count x fastest, as here.
- A hash grid of no more than 2^log2_hashmap_size vertices is stored densely, any other by the hash used here,
  modulo that size. A dense one has its vertices' number of rows, padded to a multiple of 8.
- Our level of resolution r has r + 2 vertices along a side, for u = 1 reads vertex r + 1. Theirs would wrap
  that vertex round to the next row, so that our dense level is their grid of scale r + 1, asked for at
  u · r / (r + 1): the same point in the same lattice, up to float32's rounding. A hashed level doesn't
  depend on the side; it has scale r, and the same arithmetic as here, but where theirs would still be dense.
- Further levels follow a geometric progression that rounds otherwise than ours: each of our levels is
  an encoding with one level.
- A network's parameters are its layers one after another, each (out, in) row-major, without biases, inputs
  and outputs padded to multiples of 16: ours transposed.
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
MAX_SIDE = 1625  # of a dense level: beyond, its vertices outnumber 32 bits


@dataclass(frozen=True)
class Level:
    """One of our grid's levels as a tiny-cuda-nn encoding of its own.

    dense: whether all vertices have rows of their own
    base_resolution: that encoding's only resolution
    log2_rows: a hashed level's rows
    shrink: what points are multiplied by first; 1 leaves them as they are
    rows: in the encoding's parameters
    """

    dense: bool
    base_resolution: int
    log2_rows: int
    shrink: float
    rows: int


def level_of(grid: GridLayout, level: int) -> Level:
    """How one of our levels is made. Raises NerfsceneError for one that can't be."""
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
        f"tiny-cuda-nn's grids have no equal of {what}; use --backend cuda or --backend cpu for this field"
    )


def encoding_settings(level: Level, features: int) -> dict[str, Any]:
    """What its encoding is made from."""
    settings: dict[str, Any] = {
        "otype": "DenseGrid" if level.dense else "HashGrid",
        "n_levels": 1,
        "n_features_per_level": features,
        "base_resolution": level.base_resolution,
        "per_level_scale": 1.0,  # of a dense grid, it must be said: its default divides by levels - 1
        "interpolation": "Linear",
    }
    return settings if level.dense else settings | {"log2_hashmap_size": level.log2_rows}


def network_settings(width: int, hidden_layers: int) -> dict[str, Any]:
    """What a network is made from: fully fused where its width can be."""
    return {
        "otype": "FullyFusedMLP" if width in FUSED_WIDTHS else "CutlassMLP",
        "activation": "ReLU",
        "output_activation": "None",
        "n_neurons": width,
        "n_hidden_layers": hidden_layers,
    }


def grid_parameters(table: Tensor, grid: GridLayout, levels: Sequence[Level]) -> list[Tensor]:
    """Table (rows, features) → each encoding's parameters (its rows · features,), copied or views."""
    pieces = table.split(list(grid.size))
    return [_resized(piece, level.rows).reshape(-1) for piece, level in zip(pieces, levels, strict=True)]


def table_of(parameters: Sequence[Tensor], grid: GridLayout) -> Tensor:
    """The way back; rows that only our table has, which nothing reads, are zero."""
    rows = [p.reshape(-1, grid.features) for p in parameters]
    return torch.cat([_resized(r, size) for r, size in zip(rows, grid.size, strict=True)])


def _resized(rows: Tensor, n: int) -> Tensor:
    return F.pad(rows, (0, 0, 0, n - len(rows)))


def network_parameters(weights: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Flat weights → the parameters of the density network and, where there is one, of the colour network."""
    turned = [w.T.reshape(-1) for w in split_weights(weights.reshape(-1), shapes)]
    return [torch.cat(layers) for layers in (turned[:2], turned[2:]) if layers]


def weights_of(parameters: Sequence[Tensor], shapes: Sequence[tuple[int, int]]) -> Tensor:
    """The way back."""
    turned = split_weights(torch.cat(list(parameters)), [(b, a) for a, b in shapes])
    return torch.cat([w.T.reshape(-1) for w in turned])

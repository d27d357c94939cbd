"""A stand-in for the package ``tinycudann`` in plain torch, with its names, layouts and rounding; any device.

Written from what tiny-cuda-nn's documentation and source say it computes, and from nothing of the backend
that is tested with it: a grid of any number of levels, networks with padded layers, binary16 between
them all, batches that must not be empty, gradients multiplied by ``loss_scale`` on their way.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

PRIMES = (1, 2654435761, 805459861)
UINT32 = (1 << 32) - 1
LARGEST_SIDE = 0x659  # whose cube still fits in 32 bits
BATCH = 256  # what batches are padded to

precision = torch.half  # of parameters and outputs
device = torch.device("cpu")


class _Scale(torch.autograd.Function):
    """Returns its input; multiplies the gradient by a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


class Module(torch.nn.Module):
    """What encodings and networks have in common: ``params`` in float32, cast when they are used."""

    def __init__(self, n_params: int, seed: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.seed = dtype, seed
        generator = torch.Generator().manual_seed(seed)
        self.params = torch.nn.Parameter(torch.rand(n_params, generator=generator).to(device))
        self.n_params = n_params
        self.loss_scale = 128.0 if dtype == torch.half else 1.0

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        if n == 0:
            raise RuntimeError("CUDA error: invalid configuration argument")
        x = F.pad(x, [0, 0, 0, -n % BATCH]).to(torch.float).contiguous()
        params = self.params.to(self.dtype).contiguous()
        if x.shape[1] != self.n_input_dims or params.shape != (self.n_params,):
            raise RuntimeError(
                "check failed: input.size(1) == n_input_dims() or params.size(0) == n_params()"
            )
        x, params = _Scale.apply(x, 1 / self.loss_scale), _Scale.apply(params, 1 / self.loss_scale)
        out = _Scale.apply(self.compute(x, params), self.loss_scale)
        assert out.dtype == self.dtype
        return out[:n, : self.n_output_dims]


class Encoding(Module):
    """The grids: hashed, dense and tiled, linear interpolation."""

    def __init__(
        self, n_input_dims: int, encoding_config: dict[str, Any], seed: int = 1337, dtype: Any = None
    ) -> None:
        c = encoding_config
        kinds = {"grid": "Hash", "hashgrid": "Hash", "densegrid": "Dense", "tiledgrid": "Tiled"}
        self.kind = c.get("type", kinds[c.get("otype", "OneBlob").lower()])
        self.features = c.get("n_features_per_level", 2)
        if self.features not in (1, 2, 4, 8) or n_input_dims not in (2, 3, 4):
            raise RuntimeError("GridEncoding: n_features_per_level must be 1, 2, 4, or 8.")
        assert c.get("interpolation", "Linear") == "Linear"
        base, levels = c.get("base_resolution", 16), c.get("n_levels", 16)
        if self.kind == "Dense" and "per_level_scale" not in c:
            growth = math.exp(math.log(256 / base) / (levels - 1))
        else:
            growth = c.get("per_level_scale", 2.0)
        self.scales = [2.0 ** (i * math.log2(growth)) * base - 1 for i in range(levels)]
        self.sides = [math.ceil(scale) + 1 for scale in self.scales]
        self.sizes = []
        for side in self.sides:
            rows = min(side**n_input_dims, UINT32 // 2)
            rows = (rows + 7) // 8 * 8
            if self.kind == "Hash":
                rows = min(rows, 1 << c.get("log2_hashmap_size", 19))
            elif self.kind == "Tiled":
                rows = min(rows, base**n_input_dims)
            self.sizes.append(rows)
        self.n_input_dims, self.n_output_dims = n_input_dims, levels * self.features
        super().__init__(sum(self.sizes) * self.features, seed, dtype or precision)

    def row(self, level: int, vertex: list[Tensor]) -> Tensor:
        """A vertex's row in its level, computed in unsigned 32-bit arithmetic."""
        size, side = self.sizes[level], self.sides[level]
        index, stride = torch.zeros_like(vertex[0]), UINT32
        if side <= LARGEST_SIDE:
            stride = 1
            for v in vertex:
                index = (index + v * stride) & UINT32
                stride = stride * side & UINT32
        if self.kind == "Hash" and size < stride:
            index = torch.zeros_like(vertex[0])
            for v, prime in zip(vertex, PRIMES, strict=True):
                index = index ^ (v * prime & UINT32)
        return index % size

    def compute(self, x: Tensor, params: Tensor) -> Tensor:
        columns, first = [], 0
        for level, (scale, size) in enumerate(zip(self.scales, self.sizes, strict=True)):
            grid = params[first * self.features : (first + size) * self.features].reshape(size, self.features)
            first += size
            position = (x.double() * scale + 0.5).float()  # one rounding, as fmaf has
            cell = position.floor()
            inside, cell = position - cell, cell.long() & UINT32
            result = torch.zeros(len(x), self.features, dtype=self.dtype, device=x.device)
            for corner in range(1 << self.n_input_dims):
                weight = torch.ones_like(x[:, 0])
                vertex = []
                for dim in range(self.n_input_dims):
                    upper = corner >> dim & 1
                    weight = weight * (inside[:, dim] if upper else 1 - inside[:, dim])
                    vertex.append(cell[:, dim] + upper)
                values = F.embedding(self.row(level, vertex), grid)
                result = result + weight.to(self.dtype)[:, None] * values
            columns.append(result)
        return torch.cat(columns, 1)


class Network(Module):
    """Layers without biases, (out, in) row-major; all but the last with a ReLU."""

    def __init__(
        self, n_input_dims: int, n_output_dims: int, network_config: dict[str, Any], seed: int = 1337
    ) -> None:
        c = network_config
        width, hidden = c.get("n_neurons", 128), c.get("n_hidden_layers", 5)
        kind = c.get("otype", "MLP")
        if kind.lower() == "fullyfusedmlp":
            if width not in (16, 32, 64, 128):
                raise RuntimeError(
                    f"FullyFusedMLP only supports 16, 32, 64, and 128 neurons, but got {width}."
                )
            if hidden < 1:
                raise RuntimeError("FullyFusedMLP requires at least 1 hidden layer (3 layers in total).")
        elif kind.lower() not in ("mlp", "cutlassmlp"):
            raise RuntimeError(f"Invalid network type: {kind}")
        assert c.get("activation", "ReLU") == "ReLU" and c.get("output_activation", "None") == "None"
        self.n_input_dims, self.n_output_dims = n_input_dims, n_output_dims
        first, last = -(-n_input_dims // 16) * 16, -(-n_output_dims // 16) * 16
        widths = [first, *[width] * hidden, last]
        self.shapes = list(zip(widths[1:], widths, strict=False))
        super().__init__(sum(m * n for m, n in self.shapes), seed, precision)

    def compute(self, x: Tensor, params: Tensor) -> Tensor:
        x = F.pad(x, [0, self.shapes[0][1] - self.n_input_dims], value=1.0).to(self.dtype)
        first = 0
        for i, (m, n) in enumerate(self.shapes):
            matrix = params[first : first + m * n].reshape(m, n)
            first += m * n
            x = (x.float() @ matrix.float().T).to(self.dtype)  # sums in float32, results rounded
            if i + 1 < len(self.shapes):
                x = torch.relu(x)
        return x

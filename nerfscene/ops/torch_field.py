"""A radiance field in torch: the compiled modules' ``Field``, written with the functions of ``reference``.

Like the compiled modules, it takes numpy arrays, checks them and writes results into them in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerfscene.ops import reference as ref
from nerfscene.ops.layout import GridLayout, Space, network_shapes
from nerfscene.ops.torch_arrays import borrow, require, rows_of_three, unit_points, using_threads

RAYS_AT_ONCE = 1024
SAMPLES_AT_ONCE = 1 << 15


class Cancel:
    """Stops a rendering in another thread: pass it to ``render``, then call ``set``."""

    def __init__(self) -> None:
        self.asked = False

    def set(self) -> None:
        """Stops the current rendering."""
        self.asked = True

    def clear(self) -> None:
        """Makes it ready for the next rendering."""
        self.asked = False


def _grid(features: int, resolution: Sequence[int], size: Sequence[int], hashed: Sequence[int]) -> GridLayout:
    """The grid's layout; raises ValueError if a level has too few rows, or is hashed into a wrong number."""
    grid = GridLayout(features, tuple(resolution), tuple(size), tuple(bool(h) for h in hashed))
    for r, s, h in zip(grid.resolution, grid.size, grid.hashed, strict=True):
        require(
            s & (s - 1) == 0 if h else s >= (r + 2) ** 3,
            "a hashed level's size must be a power of two; "
            "a dense level must have at least (resolution + 2)^3 rows",
        )
    return grid


class Field:
    """A radiance field: evaluates it at points, along rays and for cameras."""

    def __init__(
        self,
        features: int,
        resolution: Sequence[int],
        size: Sequence[int],
        hashed: Sequence[int],
        hidden: int,
        color_hidden: int,
        color_layers: int,
        unbounded: bool,
        near: float,
        far: float,
        step: float,
        cone: float,
        occupancy_resolution: int,
        table: Any,
        weights: Any,
        weights_t: Any,
        occupancy: Any,
        view: Sequence[float] = (),
        share: float = 1.0,
    ) -> None:
        """Borrows the arrays.

        table: (rows, features) uint16, the bits of binary16 numbers; weights, weights_t: flat float32, each
        layer row-major, (in × out) and (out × in); occupancy: (cells / 32,) uint32 bits; the rest as in
        ``layout.GridLayout``, ``layout.network_shapes`` and ``layout.Space``.
        Raises ValueError or TypeError if a value is out of range or an array has the wrong size or type.
        So many parameters because the compiled modules' ``Field`` is called with the same ones.
        """
        require(1 <= len(resolution) <= 16, "there must be 1 to 16 levels")
        require(features in (2, 4, 8), "a level must have 2, 4 or 8 features")
        one_each = len(size) == len(hashed) == len(resolution)
        require(one_each, "size and hashed must have one number per level")
        require(
            step > 0 and cone >= 0 and 0 <= near < far,
            "step must be positive, cone and near must not be negative, and far must be more than near",
        )
        require(
            occupancy_resolution > 0 and occupancy_resolution % 32 == 0,
            "the occupancy resolution must be a multiple of 32",
        )
        self.grid = grid = _grid(features, resolution, size, hashed)
        ahead = tuple(view) if view else None
        self.space = Space(unbounded, near, far, step, cone, occupancy_resolution, ahead, share)
        self.shapes = network_shapes(grid.encoding, hidden, color_hidden, color_layers)
        self.table = borrow(table, np.uint16, np.float16)
        require(self.table.numel() == grid.rows * features, "table must have (rows, features) entries")
        self.table = self.table.reshape(grid.rows, features)
        self.weights, self.weights_t = borrow(weights), borrow(weights_t)
        self.n_weights = sum(a * b for a, b in self.shapes)
        both = self.weights.numel() == self.weights_t.numel() == self.n_weights
        require(both, "weights and weights_t must have as many numbers as the networks have weights")
        self.occupancy = borrow(occupancy, np.uint32, np.int32)
        cells = occupancy_resolution**3
        require(self.occupancy.numel() * 32 == cells, "occupancy must have one bit per cell")

    # --- parameters, and the networks' parts: tcnn_backend has its own -------------------------------

    def layers(self, weights: Tensor | None = None) -> list[Tensor]:
        """The weights as one (in, out) matrix per layer, as views."""
        return ref.split_weights(self.weights if weights is None else weights, self.shapes)

    def parameters(self) -> list[Tensor]:
        """The current parameters, table and weights, in the form that the methods below take as ``p``."""
        return [self.table, self.weights]

    def leaves(self) -> list[Tensor]:
        """Copies of ``parameters`` that require gradients."""
        return [p.float().clone().requires_grad_() for p in self.parameters()]

    def gradients(self, loss: Tensor, n: int, inputs: list[Tensor]) -> list[Tensor]:
        """Gradients of loss / n with respect to ``inputs``, float32; zero for inputs it doesn't depend on."""
        return list(torch.autograd.grad(loss / n, inputs, materialize_grads=True))

    def arranged(self, gradients: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Gradients of all ``leaves`` → gradients of the table (rows, features) and the weights (n,)."""
        return gradients[0], gradients[1].reshape(-1)

    def encodings(self, unit: Tensor, p: list[Tensor]) -> Tensor:
        """Encodings (n, encoding) of unit-cube points (n, 3)."""
        return ref.hash_encode(unit, p[0], self.grid)

    def outputs(self, encoding: Tensor, p: list[Tensor]) -> Tensor:
        """The density network's raw outputs (n, 16 or 32)."""
        return ref.network_outputs(encoding, self.layers(p[1]))

    def colors(self, outputs: Tensor, directions: Tensor, p: list[Tensor]) -> Tensor:
        """Colours (n, 3) in 0…1 from those outputs and directions (n, 3)."""
        return ref.color(outputs, directions, self.layers(p[1]))

    def densities_at(self, unit: Tensor, p: list[Tensor]) -> Tensor:
        """Density (n,) per scene unit at unit-cube points (n, 3), without the colour."""
        return ref.density(self.encodings(unit, p), self.layers(p[1]))

    # --- at points --------------------------------------------------------------------------------

    @torch.no_grad()
    def densities(self, unit: Tensor) -> Tensor:
        """Density (n,) at unit-cube points (n, 3), without gradients, computed in pieces to save memory."""
        p = self.parameters()
        pieces = [self.densities_at(some, p) for some in unit.split(SAMPLES_AT_ONCE)]
        return torch.cat(pieces) if pieces else unit.new_zeros(0)

    def at(self, unit: Tensor, directions: Tensor, p: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Density (n,) and colour (n, 3), differentiable with respect to ``unit`` and ``p``."""
        outputs = self.outputs(self.encodings(unit, p), p)
        return ref.density_activation(outputs[:, 0]), self.colors(outputs, directions, p)

    @torch.no_grad()
    def encode(self, points: Any, out: Any) -> None:
        """Writes the encodings (n, encoding) of unit-cube points (n, 3) to ``out``."""
        x, to = unit_points(points), borrow(out)
        require(to.shape == (len(x), self.grid.encoding), "out must be (n, encoding)")
        to.copy_(self.encodings(x, self.parameters()))

    def encode_backward(self, points: Any, d_out: Any, d_table: Any) -> None:
        """Adds the table's gradient to d_table, from the encodings' gradient d_out (n, encoding)."""
        x, g, to = unit_points(points), borrow(d_out), borrow(d_table)
        require(g.shape == (len(x), self.grid.encoding), "d_out must be (n, encoding)")
        require(to.numel() == self.table.numel(), "d_table must have the size of the table")
        p = self.leaves()
        out = self.encodings(x, p)
        table, _ = self.arranged(self.gradients((out * g.to(out.device)).sum(), 1, p))
        to += table.reshape(to.shape).to(to.device)

    def density(self, points: Any, out: Any) -> None:
        """Writes the density (n,) at unit-cube points (n, 3) to ``out``."""
        x, to = unit_points(points), borrow(out)
        require(to.numel() == len(x), "out must be (n,)")
        to.copy_(self.densities(x).reshape(to.shape))

    @torch.no_grad()
    def evaluate(self, points: Any, directions: Any, density: Any, rgb: Any) -> None:
        """Writes density (n,) and rgb (n, 3) at unit-cube points (n, 3), seen along directions (n, 3)."""
        x = unit_points(points)
        d, to_density, to_rgb = rows_of_three(directions, len(x)), borrow(density), borrow(rgb)
        fits = to_density.numel() == len(x) and to_rgb.numel() == 3 * len(x)
        require(fits, "directions and rgb must be (n, 3), density (n,)")
        sigma, c = self.at(x, d, self.parameters())
        to_density.copy_(sigma.reshape(to_density.shape))
        to_rgb.copy_(c.reshape(to_rgb.shape))

    def evaluate_backward(
        self,
        points: Any,
        directions: Any,
        d_density: Any,
        d_rgb: Any,
        d_encoding: Any,
        d_weights: Any,
    ) -> None:
        """Overwrites d_encoding (n, encoding) and d_weights, from the gradients of ``evaluate``'s results."""
        x = unit_points(points)
        d = rows_of_three(directions, len(x))
        p = self.leaves()
        encoding = self.encodings(x, p).detach().requires_grad_()
        outputs = self.outputs(encoding, p)
        g_density, g_rgb = (borrow(g).to(outputs.device) for g in (d_density, d_rgb))
        loss = (ref.density_activation(outputs[:, 0]) * g_density.reshape(-1)).sum()
        loss = loss + (self.colors(outputs, d, p) * g_rgb.reshape(-1, 3)).sum()
        to_encoding, *to_parameters = self.gradients(loss, 1, [encoding, *p])
        borrow(d_encoding).copy_(to_encoding)
        borrow(d_weights).copy_(self.arranged(to_parameters)[1])

    # --- along rays -------------------------------------------------------------------------------

    @torch.no_grad()
    def march(
        self,
        origins: Any,
        directions: Any,
        jitter: Any,
        coarseness: float,
        counts: Any,
        t: Any,
        length: Any,
        points: Any,
    ) -> None:
        """Writes the first samples of each ray in occupied cells, at most ``capacity`` per ray.

        counts (n,) int32; t, length (n, capacity); points (n, capacity, 3), in the unit cube.
        """
        j, to_t = borrow(jitter), borrow(t)
        n = j.numel()
        o, d = rows_of_three(origins, n), rows_of_three(directions, n)
        capacity = to_t.numel() // n if n else 0
        samples = ref.march(o, d, j, self.occupancy, self.space, coarseness)
        index = torch.arange(len(samples.ray)) - samples.offsets[samples.ray]
        fits = index < capacity
        place = samples.ray[fits], index[fits]
        to_t.reshape(n, capacity)[place] = samples.t[fits]
        borrow(length).reshape(n, capacity)[place] = samples.length[fits]
        borrow(points).reshape(n, capacity, 3)[place] = samples.unit[fits]
        borrow(counts, np.int32).copy_(samples.counts.clamp(max=capacity))

    @torch.no_grad()
    def pixels(
        self,
        origins: Tensor,
        directions: Tensor,
        jitter: Tensor,
        backgrounds: Tensor,
        min_weight: float,
        stop_transmittance: float,
        coarseness: float,
        crop: Sequence[float] = (),
    ) -> ref.Pixels:
        """What rays (n, 3) see. Colours are computed only for the samples that are kept."""
        s = ref.march(origins, directions, jitter, self.occupancy, self.space, coarseness)
        if len(crop):
            s = ref.cropped(s, torch.tensor(list(crop)).reshape(3, 4))
        sigma = self.densities(s.unit)
        alive, kept = ref.survivors(s, sigma, min_weight, stop_transmittance)
        rgb = s.unit.new_zeros(len(s.t), 3)
        unit, d = s.unit[kept], directions[s.ray[kept]]
        p = self.parameters()
        pieces = zip(unit.split(SAMPLES_AT_ONCE), d.split(SAMPLES_AT_ONCE), strict=True)
        rgb[kept] = torch.cat([self.at(u, v, p)[1] for u, v in pieces])
        return ref.composite(s, sigma, rgb, backgrounds, alive, kept)

    def trace(
        self,
        origins: Any,
        directions: Any,
        jitter: Any,
        backgrounds: Any,
        min_weight: float,
        stop_transmittance: float,
        coarseness: float,
        rgb: Any,
        depth: Any,
        accumulation: Any,
        threads: int = 0,
        cancel: Cancel | None = None,
        crop: Sequence[float] = (),
    ) -> None:
        """Traces rays and writes rgb (n, 3), depth (n,) and accumulation (n,).

        origins, directions, backgrounds (n, 3), jitter (n,). threads: 0 leaves torch's number unchanged.
        Once ``cancel`` is set, the remaining outputs stay unwritten. crop as in ``render``.
        So many parameters because the compiled modules' ``trace`` is called with the same ones.
        """
        if threads > 0:
            with using_threads(threads):
                self.trace(
                    origins, directions, jitter, backgrounds, min_weight, stop_transmittance, coarseness,
                    rgb, depth, accumulation, 0, cancel, crop,
                )  # fmt: skip
            return
        j, to_rgb, to_depth = borrow(jitter), borrow(rgb), borrow(depth)
        to_accumulation = borrow(accumulation)
        n = j.numel()
        o, d, b = (rows_of_three(a, n) for a in (origins, directions, backgrounds))
        sizes = to_rgb.numel() == 3 * n and to_depth.numel() == to_accumulation.numel() == n
        require(sizes, "rays and outputs must have as many entries as jitter")
        for i in range(0, n, RAYS_AT_ONCE):
            if cancel is not None and cancel.asked:
                return
            some = slice(i, i + RAYS_AT_ONCE)
            seen = self.pixels(
                o[some], d[some], j[some], b[some], min_weight, stop_transmittance, coarseness, crop
            )
            to_rgb.reshape(n, 3)[some] = seen.rgb
            to_depth.reshape(n)[some] = seen.depth
            to_accumulation.reshape(n)[some] = seen.accumulation

    def render(
        self,
        intrinsics: Sequence[float],
        lens: int,
        width: int,
        height: int,
        pose: Sequence[float],
        background: Sequence[float],
        min_weight: float,
        stop_transmittance: float,
        threads: int,
        rect: tuple[int, int, int, int],
        rgb: Any,
        depth: Any,
        accumulation: Any,
        cancel: Cancel | None = None,
        crop: Sequence[float] = (),
        shared_steps: float = 0.0,
    ) -> None:
        """Traces a camera's rays through rows rect[0] … rect[1] - 1 and columns rect[2] … rect[3] - 1.

        Camera as in ``reference.pixel_rays``; outputs as in ``trace``. crop: box_from_scene, 3×4 row-major;
        only what it maps into [-1, 1]³ is visible. Empty: everything is. shared_steps: within how many steps
        samples may share a colour, which saves nothing here; ``reference_shared`` says what it means.
        So many parameters because the compiled modules' ``render`` is called with the same ones.
        """
        require(len(crop) in (0, 12), "a crop must be a 3×4 matrix, row-major")
        row0, row1, col0, col1 = rect
        rows, cols = np.mgrid[row0:row1, col0:col1]
        pixels = torch.from_numpy(np.stack([cols, rows], -1).reshape(-1, 2) + np.float32(0.5))
        k, m = torch.tensor(list(intrinsics)), torch.tensor(list(pose))
        o, d = ref.pixel_rays(pixels.float(), k, lens, m)
        n = len(o)
        behind = np.tile(np.asarray(background, np.float32), (n, 1))
        with using_threads(threads):
            self.trace(
                np.ascontiguousarray(o),
                np.ascontiguousarray(d),
                np.full(n, 0.5, np.float32),
                behind,
                min_weight,
                stop_transmittance,
                1.0,
                rgb,
                depth,
                accumulation,
                0,
                cancel,
                crop,
            )

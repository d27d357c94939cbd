"""The torch backend with tiny-cuda-nn's encoding and fully fused networks.

The table, the weights and everything else stay the torch backend's; they are copied into tiny-cuda-nn's
modules as ``tcnn_layout`` describes. So the other backends can render what this one trains, and the other
way round. Only parameters, points and results are copied to the modules' GPU and back: torch still marches
along rays and runs the optimiser.

tiny-cuda-nn computes encodings, activations and gradients in binary16, and sums mostly in float32. A density
is exp of a binary16 number and therefore accurate to about 1 %; colours are accurate to about 0.004.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nerfscene.errors import NerfsceneError
from nerfscene.ops import reference as ref
from nerfscene.ops import tcnn_layout as layout
from nerfscene.ops import torch_field, torch_trainer
from nerfscene.ops.layout import GridLayout
from nerfscene.ops.torch_arrays import require
from nerfscene.ops.torch_backend import adam, camera_gradient, pixel_rays, to_half
from nerfscene.ops.torch_field import Cancel
from nerfscene.ops.torch_options import TrainOptions
from nerfscene.ops.torch_photos import Rays
from nerfscene.ops.torch_splats import Splatter, improve_splats, photo_loss

__all__ = [  # the names that every backend module has
    "Cancel",
    "Field",
    "Splatter",
    "TrainOptions",
    "Trainer",
    "adam",
    "camera_gradient",
    "improve_splats",
    "instruction_set",
    "instruction_sets",
    "photo_loss",
    "pixel_rays",
    "to_half",
    "use_instruction_set",
]

# The loss is multiplied by the first of these before its gradient passes through binary16. If the gradient
# then isn't finite, the next one is tried.
GRADIENT_SCALES = (128.0, 1.0, 1 / 128)


def instruction_sets() -> list[str]:
    """The available instruction sets: only "tiny-cuda-nn", which chooses its own."""
    return ["tiny-cuda-nn"]


def instruction_set() -> str:
    """The instruction set in use."""
    return "tiny-cuda-nn"


def use_instruction_set(name: str) -> None:
    """Raises ValueError unless ``name`` is "tiny-cuda-nn"."""
    require(name == "tiny-cuda-nn", f"instruction set not available on this machine: {name}")


@dataclass(frozen=True)
class Modules:
    """tiny-cuda-nn's modules for one field.

    levels, encodings: one for each level of the grid
    networks: the density network and, if the field has one, the colour network
    """

    levels: list[layout.Level]
    encodings: list[Any]
    networks: list[Any]

    @property
    def device(self) -> torch.device:
        """The device on which tiny-cuda-nn keeps the parameters and expects its inputs."""
        return torch.device(self.encodings[0].params.device)


def make_modules(grid: GridLayout, shapes: Sequence[tuple[int, int]]) -> Modules:
    """Modules for this grid and these layers.

    Raises NerfsceneError if tiny-cuda-nn can't make them or makes them with another number of parameters than
    ``tcnn_layout`` expects.
    """
    tcnn = importlib.import_module("tinycudann")
    levels = [layout.level_of(grid, i) for i in range(grid.levels)]
    try:
        encodings = [tcnn.Encoding(3, layout.encoding_settings(v, grid.features)) for v in levels]
        networks = [
            tcnn.Network(some[0][0], some[-1][1], layout.network_settings(some[0][1], len(some) - 1))
            for some in (shapes[:2], shapes[2:])
            if some
        ]
    except RuntimeError as error:
        raise NerfsceneError(
            f"tiny-cuda-nn can't make this field ({error}); use --backend cuda or --backend cpu"
        ) from error
    expected = [v.rows * grid.features for v in levels]
    expected += [sum(a * b for a, b in some) for some in (shapes[:2], shapes[2:]) if some]
    for module, n in zip([*encodings, *networks], expected, strict=True):
        if module.params.numel() != n:
            raise NerfsceneError(
                f"this version of tiny-cuda-nn has another layout ({module.params.numel()} parameters, not "
                f"{n}); install its newest version, or use --backend cuda or --backend cpu"
            )
        module.loss_scale = 1.0  # GRADIENT_SCALES scales the loss itself, before anything is binary16
    return Modules(levels, encodings, networks)


class Field(torch_field.Field):
    """The torch backend's field, evaluated at points by tiny-cuda-nn.

    It takes the same arguments. Its ``parameters`` are those of ``Modules.encodings``, followed by those of
    ``Modules.networks``, on the modules' device and in their precision.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.modules = make_modules(self.grid, self.shapes)
        self._held: list[Tensor] | None = None
        self._lock = threading.RLock()  # functional_call swaps the modules' parameters

    # --- parameters -------------------------------------------------------------------------------

    def parameters(self) -> list[Tensor]:
        """The current parameters, or inside ``held`` those of its start."""
        return self._held if self._held is not None else self._read()

    @torch.no_grad()
    def _read(self) -> list[Tensor]:
        m = self.modules
        table, weights = self.table.to(m.device), self.weights.to(m.device)
        flat = layout.grid_parameters(table, self.grid, m.levels)
        flat += layout.network_parameters(weights, self.shapes)
        return [p.to(module.dtype) for p, module in zip(flat, [*m.encodings, *m.networks], strict=True)]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Copies the parameters to the device once for everything computed inside; other threads wait."""
        with self._lock:
            outer = self._held
            self._held = outer if outer is not None else self._read()
            try:
                yield
            finally:
                self._held = outer

    def leaves(self) -> list[Tensor]:
        """Copies of ``parameters`` that require gradients."""
        return [p.detach().clone().requires_grad_() for p in self.parameters()]

    def gradients(self, loss: Tensor, n: int, inputs: list[Tensor]) -> list[Tensor]:
        """Gradients of loss / n, float32. All zero if they overflow binary16 with every scale."""
        for scale in GRADIENT_SCALES if loss.requires_grad else ():
            found = torch.autograd.grad(loss * scale, inputs, retain_graph=True, materialize_grads=True)
            if all(bool(torch.isfinite(g).all()) for g in found):
                return [g.float() / (scale * n) for g in found]
        return [torch.zeros_like(p, dtype=torch.float32) for p in inputs]

    def arranged(self, gradients: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Gradients of all ``leaves`` → gradients of the table (rows, features) and the weights (n,)."""
        levels = self.grid.levels
        table = layout.table_of(gradients[:levels], self.grid)
        return table, layout.weights_of(gradients[levels:], self.shapes)

    # --- at points: results are float32, on the modules' device unless noted ------------------------

    def _run(self, module: Any, parameters: Tensor, x: Tensor, width: int) -> Tensor:
        """A module's outputs (n, width) for inputs x (n, …); the module itself can't take n = 0."""
        if len(x) == 0:
            return torch.zeros(0, width, device=x.device)
        with self._lock:
            out: Tensor = torch.func.functional_call(module, {"params": parameters}, (x,))
        return out[:, :width].float()

    def encodings(self, unit: Tensor, p: list[Tensor]) -> Tensor:
        """Encodings (n, encoding) of unit-cube points (n, 3)."""
        m, features = self.modules, self.grid.features
        x = unit.to(m.device)
        found = [
            self._run(module, q, x if level.shrink == 1 else x * level.shrink, features)
            for module, level, q in zip(m.encodings, m.levels, p, strict=False)
        ]
        out = torch.cat(found, 1)
        return torch.nn.functional.pad(out, (0, self.grid.encoding - out.shape[1]))

    def outputs(self, encoding: Tensor, p: list[Tensor]) -> Tensor:
        """The density network's raw outputs (n, 16 or 32)."""
        return self._run(self.modules.networks[0], p[self.grid.levels], encoding, self.shapes[1][1])

    def colors(self, outputs: Tensor, directions: Tensor, p: list[Tensor]) -> Tensor:
        """Colours (n, 3) in 0…1 from those outputs and directions (n, 3)."""
        d = directions.to(outputs.device)
        if len(self.modules.networks) == 1:
            return ref.harmonic_color(outputs, d)
        x = torch.cat([outputs, ref.spherical_harmonics(d, 3)], dim=1)
        return torch.sigmoid(self._run(self.modules.networks[1], p[-1], x, 16)[:, :3])

    def densities_at(self, unit: Tensor, p: list[Tensor]) -> Tensor:
        """Density (n,) per scene unit, without the colour, on the points' device."""
        raw = self.outputs(self.encodings(unit, p), p)[:, 0]
        return ref.density_activation(raw).to(unit.device)

    def at(self, unit: Tensor, directions: Tensor, p: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Density (n,) and colour (n, 3), differentiable with respect to ``p``, on the points' device."""
        density, rgb = super().at(unit, directions, p)
        return density.to(unit.device), rgb.to(unit.device)

    def trace(self, *arguments: Any, **named: Any) -> None:
        """As in the torch backend, with the parameters copied to the device only once."""
        with self.held():
            super().trace(*arguments, **named)


class Trainer(torch_trainer.Trainer):
    """The torch backend's trainer for a field evaluated by tiny-cuda-nn."""

    field: Field

    def _gradients(
        self, options: TrainOptions, rays: Rays, report: dict[str, Any], cameras: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with self.field.held():
            return super()._gradients(options, rays, report, cameras)

"""tiny-cuda-nn's encoding and fully fused networks inside our marching: the torch backend's names.

What one backend trains, the others render: the table, the weights and everything around them stay the torch
backend's, and are copied into tiny-cuda-nn's modules as ``tcnn_layout`` says. Only parameters, points and
results travel to the GPU where these modules live and back; torch marches and takes the optimiser's steps.

Encodings, activations and gradients are binary16 there, sums mostly float32. A density is exp of a binary16
number, and so is right to about 1 %; colours are to about 0.004.
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
from nerfscene.ops.torch_backend import adam, camera_gradient, pixel_rays, to_half
from nerfscene.ops.torch_field import Cancel, require
from nerfscene.ops.torch_trainer import TrainOptions

__all__ = [
    "Cancel",
    "Field",
    "TrainOptions",
    "Trainer",
    "adam",
    "camera_gradient",
    "instruction_set",
    "instruction_sets",
    "pixel_rays",
    "to_half",
    "use_instruction_set",
]

# Losses are multiplied by this before their gradients pass through binary16, and by the next where that
# overflows.
GRADIENT_SCALES = (128.0, 1.0, 1 / 128)


def instruction_sets() -> list[str]:
    """Only tiny-cuda-nn's own choice."""
    return ["tiny-cuda-nn"]


def instruction_set() -> str:
    """The one there is."""
    return "tiny-cuda-nn"


def use_instruction_set(name: str) -> None:
    """Raises ValueError for any other than the one there is."""
    require(name == "tiny-cuda-nn", f"no such instruction set here: {name}")


@dataclass(frozen=True)
class Modules:
    """tiny-cuda-nn's modules for one field.

    levels, encodings: one each for every level of the grid
    networks: of density and, where there is one, of colour
    """

    levels: list[layout.Level]
    encodings: list[Any]
    networks: list[Any]

    @property
    def device(self) -> torch.device:
        """Where tiny-cuda-nn made their parameters, and wants what it is given."""
        return torch.device(self.encodings[0].params.device)


def make_modules(grid: GridLayout, shapes: Sequence[tuple[int, int]]) -> Modules:
    """Modules that hold as many parameters as this grid and these layers.

    Raises NerfsceneError where tiny-cuda-nn makes no such modules, or other ones than ``tcnn_layout`` knows.
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
            f"tiny-cuda-nn can't make this field ({error}); --backend cuda and --backend cpu can"
        ) from error
    wanted = [v.rows * grid.features for v in levels]
    wanted += [sum(a * b for a, b in some) for some in (shapes[:2], shapes[2:]) if some]
    for module, n in zip([*encodings, *networks], wanted, strict=True):
        if module.params.numel() != n:
            raise NerfsceneError(
                f"this version of tiny-cuda-nn has another layout ({module.params.numel()} parameters where "
                f"{n} were expected); install its newest, or use --backend cuda or --backend cpu"
            )
        module.loss_scale = 1.0  # ours is applied to the loss, before its gradient is ever cut to 16 bits
    return Modules(levels, encodings, networks)


class Field(torch_field.Field):
    """The torch backend's field, computed at points by tiny-cuda-nn.

    Takes what that takes. Its parameters are those of ``encodings``, then those of ``networks``, on their
    device and in their precision.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.modules = make_modules(self.grid, self.shapes)
        self._held: list[Tensor] | None = None
        self._alone = threading.RLock()  # modules are lent their parameters, one caller at a time

    # --- parameters -------------------------------------------------------------------------------

    def parameters(self) -> list[Tensor]:
        """The arrays as they are now, or as they were when they were last ``held``."""
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
        """Brings the parameters to the device once for all that this thread, alone, computes meanwhile."""
        with self._alone:
            outer = self._held
            self._held = outer if outer is not None else self._read()
            try:
                yield
            finally:
                self._held = outer

    def leaves(self) -> list[Tensor]:
        """Copies of ``parameters`` to take gradients of."""
        return [p.detach().clone().requires_grad_() for p in self.parameters()]

    def gradients(self, loss: Tensor, n: int, of: list[Tensor]) -> list[Tensor]:
        """Those of loss / n, float32. All zero where no scale brings them through binary16."""
        for scale in GRADIENT_SCALES if loss.requires_grad else ():
            found = torch.autograd.grad(loss * scale, of, retain_graph=True, materialize_grads=True)
            if all(bool(torch.isfinite(g).all()) for g in found):
                return [g.float() / (scale * n) for g in found]
        return [torch.zeros_like(p, dtype=torch.float32) for p in of]

    def arranged(self, gradients: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Gradients of all ``leaves`` → of the table (rows, features) and of the weights (n,)."""
        levels = self.grid.levels
        table = layout.table_of(gradients[:levels], self.grid)
        return table, layout.weights_of(gradients[levels:], self.shapes)

    # --- at points: all results are on the modules' device, float32 ---------------------------------

    def _run(self, module: Any, parameters: Tensor, x: Tensor, width: int) -> Tensor:
        """A module's outputs (n, width) with these parameters; it is never asked for none."""
        if len(x) == 0:
            return torch.zeros(0, width, device=x.device)
        with self._alone:
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
        """Density (n,) alone, where the points are."""
        raw = self.outputs(self.encodings(unit, p), p)[:, 0]
        return ref.density_activation(raw).to(unit.device)

    def at(self, unit: Tensor, directions: Tensor, p: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Density (n,) and colour (n, 3), differentiable to these parameters; where the points are."""
        density, rgb = super().at(unit, directions, p)
        return density.to(unit.device), rgb.to(unit.device)

    def trace(self, *arguments: Any, **named: Any) -> None:
        """As the torch backend does, with the parameters brought to the device once."""
        with self.held():
            super().trace(*arguments, **named)


class Trainer(torch_trainer.Trainer):
    """The torch backend's trainer, of a field that tiny-cuda-nn computes."""

    field: Field

    def _gradients(
        self, options: TrainOptions, rays: torch_trainer.Rays, report: dict[str, Any], cameras: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with self.field.held():
            return super()._gradients(options, rays, report, cameras)

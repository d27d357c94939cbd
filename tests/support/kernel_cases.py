"""Fields, rays and tolerances for the tests of kernels. A pytest plugin with their fixtures, as ``native``.

Kernels are compared with the oracle in float64 on the very float32 numbers they get, so every
tolerance is the kernels' own rounding and nothing else.

(PYTEST_DONT_REWRITE: test files import this before pytest does.)
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pytest
import torch
from emulated_gpu import build as emulated
from numpy.typing import NDArray
from torch import Tensor

from nerfscene.ops import backend
from nerfscene.ops import reference as ref
from nerfscene.ops.layout import GridLayout, Space, grid_layout, network_shapes

try:
    from nerfscene.ops import _cpu
except ImportError as error:
    _cpu, WHY = None, str(error)

SETS = _cpu.instruction_sets() if _cpu else ["not built"]
EPS = 2.0**-24  # half a unit in the last place of a float32 near one
Floats = NDArray[np.float32]


EMULATED, GPU = "emulated GPU", "GPU"
DEVICES = [EMULATED, pytest.param(GPU, marks=pytest.mark.gpu)]


@contextmanager
def processor(instructions: str) -> Iterator[Any]:
    """The processor's module while it uses an instruction set."""
    if _cpu is None:
        pytest.skip(f"the compiled kernels can't be loaded: {WHY}")
    before = _cpu.instruction_set()
    _cpu.use_instruction_set(instructions)
    yield _cpu
    _cpu.use_instruction_set(before)


@cache
def device_module(name: str) -> Any:
    """The CUDA module on a GPU, or the same sources compiled for the emulated one."""
    if name == GPU:
        reason = backend.why_no_cuda()
        return pytest.skip(reason) if reason else backend.load("cuda")
    if shutil.which("g++") is None:
        return pytest.skip("the emulated GPU is built with g++, which is not here")
    return emulated.load(emulated.cached())


def on_device(array: NDArray[Any], module: Any) -> Any:
    """A copy of an array in the device's memory, which kernels use in place."""
    if module.device_name() == EMULATED:
        return emulated.on_device(module, array)
    return torch.from_numpy(array).cuda()


@pytest.fixture(params=SETS)
def native(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The processor's module, with each of its instruction sets in turn."""
    with processor(request.param) as module:
        yield module


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Any:
    """The CUDA module, on the emulated GPU and on a real one; its networks compute in half precision."""
    return device_module(request.param)


@pytest.fixture(params=[*SETS, *DEVICES])
def kernels(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Every module in turn, for what all of them compute in float32."""
    if request.param in (EMULATED, GPU):
        yield device_module(request.param)
        return
    with processor(request.param) as module:
        yield module


@dataclass(frozen=True)
class Case:
    """A field's arrays, for a module's ``Field`` and, in float64, for the oracle."""

    grid: GridLayout
    space: Space
    hidden: int
    color_hidden: int
    color_layers: int
    table: NDArray[np.uint16]
    weights: Floats
    occupancy: NDArray[np.uint32]

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        return network_shapes(self.grid.encoding, self.hidden, self.color_hidden, self.color_layers)

    @cached_property
    def weights_t(self) -> Floats:
        layers = ref.split_weights(torch.from_numpy(self.weights), self.shapes)
        return torch.cat([w.T.reshape(-1) for w in layers]).numpy()

    def arguments(self) -> dict[str, Any]:
        """What a module's ``Field`` is made from."""
        return dict(
            features=self.grid.features,
            resolution=list(self.grid.resolution),
            size=list(self.grid.size),
            hashed=[int(h) for h in self.grid.hashed],
            hidden=self.hidden,
            color_hidden=self.color_hidden,
            color_layers=self.color_layers,
            unbounded=self.space.unbounded,
            near=self.space.near,
            far=self.space.far,
            step=self.space.step,
            cone=self.space.cone,
            occupancy_resolution=self.space.occupancy_resolution,
            table=self.table,
            weights=self.weights,
            weights_t=self.weights_t,
            occupancy=self.occupancy,
            view=list(self.space.view or ()),
            share=self.space.share,
        )

    def field(self, module: Any) -> Any:
        return module.Field(**self.arguments())

    @cached_property
    def master(self) -> Floats:
        """The table (rows, features) in float32."""
        return self.table.view(np.float16).astype(np.float32)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Table (rows, features) and weights (n,), float64, fresh leaves that want gradients."""
        table = torch.from_numpy(self.master).double().requires_grad_()
        return table, torch.from_numpy(self.weights).double().requires_grad_()

    def bits(self) -> Tensor:
        return torch.from_numpy(self.occupancy.view(np.int32))


def random_bits(rng: np.random.Generator, resolution: int, fraction: float) -> NDArray[np.uint32]:
    """Occupancy with each cell set with this probability."""
    cells = rng.random(resolution**3) < fraction
    return np.packbits(cells, bitorder="little").view(np.uint32).copy()


# ``Space.view`` and ``Space.share``: looking along +y, a little tilted, with the apex at about (0, -1.7, 0).
AHEAD = ((1.3, 0.1, 0.05, 0.02, 0.03, 0.06, -1.8, 0.1, -0.1, 1.5, 0.08, 2.6), 0.6)


def make_case(
    seed: int = 0,
    levels: int = 4,
    features: int = 4,
    log2_table: int = 12,
    base: int = 4,
    finest: int = 32,
    hidden: int = 32,
    color_hidden: int = 32,
    color_layers: int = 0,
    unbounded: bool = False,
    near: float = 0.05,
    far: float = 30.0,
    step: float = 0.03,
    cone: float | None = None,
    occupied: float = 1.0,
    gain: float = 1.0,
    ahead: bool = False,
) -> Case:
    """A random field whose densities and colours spread widely; ``gain`` makes it more opaque.

    ``ahead``: an unbounded one's space is laid out along the view, by AHEAD.
    """
    rng = np.random.default_rng(seed)
    grid = grid_layout(levels, features, log2_table, base, finest)
    shapes = network_shapes(grid.encoding, hidden, color_hidden, color_layers)
    table = rng.uniform(-1, 1, (grid.rows, features)).astype(np.float16)
    weights = [rng.normal(0, np.sqrt(2 / a), (a, b)) for a, b in shapes]
    weights[1][:, 0] = np.abs(weights[1][:, 0]) * gain
    weights[0][levels * features :] = 0
    growth = (0.05 if unbounded else 0.0) if cone is None else cone
    return Case(
        grid=grid,
        space=Space(unbounded, near, far, step, growth, 32, *(AHEAD if ahead else ())),
        hidden=hidden,
        color_hidden=color_hidden,
        color_layers=color_layers,
        table=table.view(np.uint16),
        weights=np.concatenate([w.ravel() for w in weights]).astype(np.float32),
        occupancy=random_bits(rng, 32, occupied),
    )


def random_points(n: int, seed: int = 0) -> Floats:
    """Points (n, 3) in the unit cube, some of them on its corners and faces."""
    rng = np.random.default_rng(seed)
    points = rng.random((n, 3)).astype(np.float32)
    special = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 0.5], [1, 0.25, 0]], np.float32)
    points[: min(n, 4)] = special[: min(n, 4)]
    return points


def random_directions(n: int, seed: int = 0) -> Floats:
    """Unit vectors (n, 3)."""
    d = np.random.default_rng(seed).normal(size=(n, 3))
    return (d / np.linalg.norm(d, axis=1, keepdims=True)).astype(np.float32)


def random_rays(n: int, seed: int = 0, distance: float = 2.0) -> tuple[Floats, Floats, Floats]:
    """Origins (n, 3) around the cube and inside it, directions (n, 3) mostly towards it, jitter (n,)."""
    rng = np.random.default_rng(seed)
    o = random_directions(n, seed + 1) * rng.uniform(0, distance, (n, 1)).astype(np.float32)
    d = rng.uniform(-0.8, 0.8, (n, 3)) - o
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    return o.astype(np.float32), d.astype(np.float32), rng.random(n, dtype=np.float32)


def double(*arrays: NDArray[Any]) -> list[Tensor]:
    """Numpy arrays as float64 tensors."""
    return [torch.from_numpy(np.asarray(a)).double() for a in arrays]


def traced(
    module: Any,
    case: Case,
    rays: tuple[Floats, Floats, Floats],
    backgrounds: Floats,
    min_weight: float = 0.0,
    stop: float = 0.0,
    coarseness: float = 1.0,
) -> tuple[Floats, Floats, Floats]:
    """``Field.trace`` → rgb (n, 3), depth (n,), accumulation (n,)."""
    n = len(rays[2])
    rgb = np.full((n, 3), np.nan, np.float32)
    depth, accumulation = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    case.field(module).trace(*rays, backgrounds, min_weight, stop, coarseness, rgb, depth, accumulation)
    return rgb, depth, accumulation


def oracle_pixels(
    case: Case,
    rays: tuple[Floats, Floats, Floats],
    backgrounds: Floats,
    min_weight: float = 0.0,
    stop: float = 0.0,
    coarseness: float = 1.0,
) -> ref.Pixels:
    """The same in float64, by the oracle."""
    o, d, jitter, b = double(*rays, backgrounds)
    table, weights = (x.detach() for x in case.tensors())
    layers = ref.split_weights(weights, case.shapes)
    s = ref.march(o, d, jitter, case.bits(), case.space, coarseness)
    outputs = ref.network_outputs(ref.hash_encode(s.unit, table, case.grid), layers)
    sigma = ref.density_activation(outputs[:, 0])
    rgb = ref.color(outputs, d[s.ray], layers)
    alive, kept = ref.survivors(s, sigma, min_weight, stop)
    return ref.composite(s, sigma, rgb, b, alive, kept)


def assert_close(actual: NDArray[Any], expected: Any, atol: float, rtol: float = 0.0) -> None:
    """All entries within atol + rtol · |expected|, and all finite."""
    assert np.isfinite(actual).all()
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=rtol, atol=atol)


def assert_close_but_for_flips(actual: NDArray[Any], expected: Any, atol: float, rare: float) -> None:
    """All entries are within atol, except for a fraction ``rare`` that flips at discontinuities.

    The flips together may not shift the mean by more than twice the tolerance.
    """
    assert np.isfinite(actual).all()
    difference = np.asarray(actual, np.float64) - np.asarray(expected)
    flipped = np.abs(difference) > atol
    assert flipped.mean() <= rare, f"{flipped.mean():.2%} are off, at most {rare:.2%} may be"
    assert abs(difference.mean()) <= 2 * atol, f"biased by {difference.mean():.2e}"

"""The radiance field: a hash grid, one or two small networks and a grid of occupied cells.

All parameters are numpy arrays. Kernels for the processor read and write them in place; those for a GPU have
copies there. ``ops.backend`` chooses the kernels.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.config import FieldConfig
from nerfscene.equality import equal_fields, hash_fields
from nerfscene.errors import NerfsceneError
from nerfscene.ops import backend
from nerfscene.ops.layout import GridLayout, Space, grid_layout, network_shapes

BOUNDED_STEPS = 1024  # steps along the diagonal of a bounded scene's cube
LEVELS, FEATURES = 4, 8  # levels of the hash grid, features per level
# A GPU has time for more levels, a larger table and a finer grid (see docs/benchmarks-history.md).
GPU_BOUNDED_LEVELS, GPU_BOUNDED_FEATURES = 8, 4
GPU_BOUNDED_ROWS, GPU_BOUNDED_FINER = 2, 4.0  # added to log2_table; factor of the finest resolution
# Added to log2_table for photographs not taken from one side. Where training is short, a larger table
# is not worth the time that its memory takes. On a GPU only the smaller one was tried.
AROUND_ROWS, AROUND_ROWS_LONG = 1, 2
UNBOUNDED_CONE = 0.006  # an unbounded scene's step, as a fraction of the distance
# Space laid out along the view: a photo fills most of the cube's width, so the grid can be coarser, and cells
# that surfaces take are more. More levels, narrow and close to each other, gain more there than they cost.
AHEAD_LEVELS, AHEAD_FEATURES, AHEAD_ROWS = 8, 4, 1  # the last is added to log2_table
# Cells of the finest level along a side, for each pixel along a photo's.
FINEST_AROUND, FINEST_AHEAD, FINEST_BOUNDED = 3.0, 1.5, 0.64
FAR = 1000.0  # scene units: beyond, the contraction leaves no visible detail


@dataclass(frozen=True)
class RadianceField:
    """A field's settings and parameters, in the form that the kernels use.

    table: (rows, features) uint16, the bits of binary16 numbers
    weights, weights_t: flat float32, each layer row-major, (in × out) and (out × in)
    occupancy: (cells / 32,) uint32, one bit per cell, x fastest
    live: the kernels' ``Field`` object, while they train this field on a GPU. They change its copies of the
        arrays, so pictures are made of those; the arrays here are as they were at the last ``Trainer.fetch``
    """

    config: FieldConfig
    space: Space
    layout: GridLayout
    table: NDArray[np.uint16]
    weights: NDArray[np.float32]
    weights_t: NDArray[np.float32]
    occupancy: NDArray[np.uint32]
    live: Any = dataclasses.field(default=None, repr=False, compare=False)

    __eq__ = equal_fields
    __hash__ = hash_fields

    @property
    def color_layers(self) -> int:
        """Hidden layers of the colour network; 0 if colour is stored as spherical harmonics."""
        return 0 if self.config.color == "harmonics" else self.config.color_layers


def make_space(unbounded: bool, near: float, occupancy_resolution: int) -> Space:
    """The extent and steps of a bounded scene (constant) or an unbounded one (growing).

    near: distance of the near plane, scene units.
    """
    if unbounded:
        step = UNBOUNDED_CONE * near
        return Space(True, near, FAR, step, UNBOUNDED_CONE, occupancy_resolution)
    step = 2.0 * float(np.sqrt(3.0)) / BOUNDED_STEPS
    return Space(False, near, FAR, step, 0.0, occupancy_resolution)


def resolve(
    config: FieldConfig,
    photo_side: float,
    unbounded: bool,
    on_gpu: bool = False,
    ahead: bool = False,
    long: bool = False,
) -> FieldConfig:
    """Fills in the settings that are None, by the photos' size, the device that trains, and for how long.

    ``photo_side`` is √(pixels of a photo). A grid finer than the photos' detail only adds noise and cache
    misses; photos twice as large along a side get a table twice as large. ``ahead``: the space is laid out
    along the view. ``long``: training has the time to fill a larger table.
    """
    log2_table, levels, features = config.log2_table, config.levels, config.features
    large = on_gpu and not unbounded
    finer = GPU_BOUNDED_FINER if large else 1.0
    if levels is None:
        levels = GPU_BOUNDED_LEVELS if large else AHEAD_LEVELS if ahead else LEVELS
    if features is None:
        features = GPU_BOUNDED_FEATURES if large else AHEAD_FEATURES if ahead else FEATURES
    if log2_table is None:
        by_size = round(np.log2(photo_side / 400)) + 17 + _more_rows(unbounded, on_gpu, ahead, long)
        log2_table = int(np.clip(by_size, 14, 20))
    finest = config.finest_resolution
    if finest is None:
        each = FINEST_AHEAD if ahead else FINEST_AROUND if unbounded else FINEST_BOUNDED
        finest = int(np.clip(photo_side * each * finer, 128, 4096))
    return replace(config, levels=levels, features=features, log2_table=log2_table, finest_resolution=finest)


def _more_rows(unbounded: bool, on_gpu: bool, ahead: bool, long: bool) -> int:
    """What is added to log2_table for the kind of capture and the device; see ``resolve``."""
    if not unbounded:
        return GPU_BOUNDED_ROWS if on_gpu else 0
    if ahead:
        return AHEAD_ROWS + on_gpu
    return AROUND_ROWS_LONG if long and not on_gpu else AROUND_ROWS


def grid_of(config: FieldConfig) -> GridLayout:
    """The layout of the hash grid; ``config`` must be resolved."""
    c = config
    assert c.levels is not None and c.features is not None, "not resolved"
    assert c.log2_table is not None and c.finest_resolution is not None, "not resolved"
    return grid_layout(c.levels, c.features, c.log2_table, c.base_resolution, c.finest_resolution)


def layer_shapes(config: FieldConfig) -> list[tuple[int, int]]:
    """(in, out) of every layer, in the order of the weights; ``config`` must be resolved."""
    layers = 0 if config.color == "harmonics" else config.color_layers
    return network_shapes(grid_of(config).encoding, config.hidden, config.color_hidden, layers)


def new_field(config: FieldConfig, space: Space, seed: int) -> tuple[RadianceField, NDArray[np.float32]]:
    """An untrained field, and its table's float32 master copy (rows, features).

    The table starts uniform within ±1e-4 (Müller et al. 2022), the weights by Glorot's rule. ``config`` must
    be resolved. Raises NerfsceneError for settings out of range.
    """
    grid = grid_of(config)
    rng = np.random.default_rng(seed)
    master = rng.uniform(-1e-4, 1e-4, (grid.rows, grid.features)).astype(np.float32)
    harmonics = config.color == "harmonics"
    shapes = layer_shapes(config)
    pieces = []
    for i, (n_in, n_out) in enumerate(shapes):
        w = rng.uniform(-1, 1, (n_in, n_out)).astype(np.float32) * np.sqrt(6.0 / (n_in + n_out))
        if i == 0:
            w[grid.levels * grid.features :] = 0  # padding never gets a gradient, so it stays zero
        if i == 1 and harmonics:
            w[:, 28:] = 0
        if i == len(shapes) - 1 and not harmonics:
            w[:, 3:] = 0
        pieces.append(w.ravel())
    weights = np.concatenate(pieces).astype(np.float32)
    cells = config.occupancy_resolution**3
    field = RadianceField(
        config=config,
        space=space,
        layout=grid,
        table=np.ascontiguousarray(master.astype(np.float16)).view(np.uint16),
        weights=weights,
        weights_t=transposed(weights, shapes),
        occupancy=np.full(cells // 32, 0xFFFFFFFF, np.uint32),
    )
    return field, master


def occupancy_bits(cells: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Flags of all cells, x fastest, in any shape → bits (cells / 32,); cell 0 is word 0's lowest bit."""
    return np.packbits(cells.ravel(), bitorder="little").view("<u4").astype(np.uint32)


def occupied_cells(bits: NDArray[np.uint32], resolution: int) -> NDArray[np.bool_]:
    """The inverse of ``occupancy_bits``, for so many cells along a side: flags (z, y, x)."""
    flags = np.unpackbits(bits.astype("<u4").view(np.uint8), bitorder="little")
    return flags.view(np.bool_).reshape(resolution, resolution, resolution)


def transposed(weights: NDArray[np.float32], shapes: list[tuple[int, int]]) -> NDArray[np.float32]:
    """Flat weights with every layer transposed from (in × out) to (out × in), at the same offsets."""
    out = np.empty_like(weights)
    offset = 0
    for n_in, n_out in shapes:
        n = n_in * n_out
        out[offset : offset + n] = weights[offset : offset + n].reshape(n_in, n_out).T.ravel()
        offset += n
    return out


def restored(
    config: FieldConfig,
    space: Space,
    table: NDArray[np.uint16],
    weights: NDArray[np.float32],
    occupancy: NDArray[np.uint32],
) -> RadianceField:
    """A field from its saved arrays. Raises NerfsceneError if their sizes don't fit ``config``."""
    if None in vars(config).values():
        raise NerfsceneError("the field's settings are incomplete")
    grid = grid_of(config)
    shapes = layer_shapes(config)
    n_weights = sum(a * b for a, b in shapes)
    fits = (
        table.shape == (grid.rows, grid.features)
        and weights.shape == (n_weights,)
        and occupancy.shape == (config.occupancy_resolution**3 // 32,)
    )
    if not fits:
        raise NerfsceneError("the sizes of the field's arrays don't fit its settings")
    return RadianceField(config, space, grid, table, weights, transposed(weights, shapes), occupancy)


def kernel_field(field: RadianceField, module: Any) -> Any:
    """The backend's ``Field`` object for a field.

    On the processor the two share their arrays, and so all changes to them. On a GPU it has copies, made here
    unless the field is being trained there.
    """
    s = field.space
    copies = {"of": field.live} if isinstance(field.live, module.Field) else {}
    return module.Field(
        features=field.layout.features,
        resolution=list(field.layout.resolution),
        size=list(field.layout.size),
        hashed=[int(h) for h in field.layout.hashed],
        hidden=field.config.hidden,
        color_hidden=field.config.color_hidden,
        color_layers=field.color_layers,
        unbounded=s.unbounded,
        near=s.near,
        far=s.far,
        step=s.step,
        cone=s.cone,
        occupancy_resolution=s.occupancy_resolution,
        table=field.table,
        weights=field.weights,
        weights_t=field.weights_t,
        occupancy=field.occupancy,
        view=list(s.view or ()),
        share=s.share,
        **copies,
    )


def evaluate(
    field: RadianceField,
    points: NDArray[np.float32],
    directions: NDArray[np.float32],
    which: str = "auto",
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Density (n,) per scene unit and colour (n, 3) in 0…1 at unit-cube points, along directions.

    points (n, 3) in [0, 1] (``ops.reference.to_unit`` maps scene points there), directions (n, 3)
    unit vectors away from the camera; ``which``: the backend, one of ``ops.backend.BACKENDS``.
    Raises NerfsceneError if the backend can't be used, ValueError for points outside the unit cube.
    """
    density = np.empty(len(points), np.float32)
    rgb = np.empty((len(points), 3), np.float32)
    kernel_field(field, backend.load(which)).evaluate(points, directions, density, rgb)
    return density, rgb

"""A finer grid of occupied cells, which makes pictures faster when there are many of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nerfscene.field.hash_grid import RadianceField, kernel_field
from nerfscene.field.rendering import MIN_WEIGHT, Renderer
from nerfscene.ops import backend

FINEST = 256  # cells along a side of the finer grid; more take longer to look into than they save


def with_finer_grid(renderer: Renderer) -> Renderer:
    """The renderer with twice as many cells along each side of the grid; the same one on a GPU.

    What training found occupied is looked into once, which takes about as long as three pictures of
    640×480. From then on rays pass the empty parts of those cells: pictures take a fifth less time and are
    56 to 62 dB alike. The field's arrays must not change any more.
    Raises NerfsceneError if the backend can't be used.
    """
    module = backend.load(renderer.backend)
    field = renderer.field
    if not hasattr(module, "finer_occupancy") or 2 * field.space.occupancy_resolution > FINEST:
        return renderer
    made = replace(renderer, field=_finer(field, module, backend.thread_count(renderer.threads)))
    module.settle(made.native)
    return made


def _finer(field: RadianceField, module: object, threads: int) -> RadianceField:
    resolution = 2 * field.space.occupancy_resolution
    bits = np.empty(resolution**3 // 32, np.uint32)
    module.finer_occupancy(kernel_field(field, module), MIN_WEIGHT, threads, bits)  # type: ignore[attr-defined]
    return replace(
        field,
        occupancy=bits,
        space=replace(field.space, occupancy_resolution=resolution),
        config=replace(field.config, occupancy_resolution=resolution),
    )

"""The backend to read and to change: the compiled modules' names, in torch.

It is about 30 times slower than the kernels. The model is the same: either can render what the other has
trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from nerfscene.ops import reference as ref
from nerfscene.ops.torch_arrays import borrow, require
from nerfscene.ops.torch_field import Cancel, Field
from nerfscene.ops.torch_options import TrainOptions
from nerfscene.ops.torch_splats import Splatter, improve_splats, photo_loss
from nerfscene.ops.torch_trainer import Trainer

__all__ = [
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


def instruction_sets() -> list[str]:
    """The available instruction sets: only "torch", which chooses its own."""
    return ["torch"]


def instruction_set() -> str:
    """The instruction set in use."""
    return "torch"


def use_instruction_set(name: str) -> None:
    """Raises ValueError unless ``name`` is "torch"."""
    require(name == "torch", f"instruction set not available on this machine: {name}")


def to_half(source: Any, out: Any) -> None:
    """Writes float32 numbers as the bits (uint16) of binary16, rounded to nearest even and saturated."""
    x, to = borrow(source), borrow(out, np.uint16, np.float16)
    require(x.numel() == to.numel(), "source and out must have the same size")
    to.copy_(ref.to_half(x).reshape(to.shape))


def pixel_rays(
    intrinsics: Sequence[float],
    lens: int,
    width: int,
    height: int,
    pose: Sequence[float],
    pixels: Any,
    origins: Any,
    directions: Any,
) -> None:
    """Writes a camera's rays (n, 3) through pixel coordinates (n, 2); see ``reference.pixel_rays``."""
    xy = borrow(pixels)
    require(xy.ndim == 2 and xy.shape[1] == 2, "pixels must be (n, 2)")
    o, d = ref.pixel_rays(xy, torch.tensor(list(intrinsics)), lens, torch.tensor(list(pose)))
    to_o, to_d = borrow(origins), borrow(directions)
    require(to_o.numel() == to_d.numel() == o.numel(), "outputs must be (n, 3)")
    to_o.copy_(o.reshape(to_o.shape))
    to_d.copy_(d.reshape(to_d.shape))


def camera_gradient(
    intrinsics: Sequence[float],
    lens: int,
    width: int,
    height: int,
    pose: Sequence[float],
    pixels: Any,
    d_rays: Any,
    out: Any,
) -> None:
    """Writes the camera's gradient by each ray (n, 15) to ``out``; see ``reference.camera_gradient``."""
    xy, to = borrow(pixels), borrow(out)
    require(xy.ndim == 2 and xy.shape[1] == 2, "pixels must be (n, 2)")
    n = len(xy)
    g = borrow(d_rays)
    require(g.numel() == 6 * n and to.numel() == 15 * n, "d_rays must be (n, 6), out (n, 15)")
    k, m = torch.tensor(list(intrinsics)), torch.tensor(list(pose)).expand(n, 12)
    to.copy_(ref.camera_gradient(xy, k, lens, m, g.reshape(n, 6)).reshape(to.shape))


def adam(
    gradient: Any,
    parameters: Any,
    moments: Any,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    pull: float = 0.0,
) -> None:
    """One step of ``reference.adam`` on all parameters, in place; ``moments`` holds all m, then all v."""
    g, p, both = borrow(gradient).reshape(-1), borrow(parameters), borrow(moments)
    fits = p.numel() == g.numel() and both.numel() == 2 * g.numel()
    require(fits, "gradient and parameters must have the same size, and moments twice that")
    m, v = both.reshape(2, -1)
    new, new_m, new_v = ref.adam(p.reshape(-1), g, m, v, rate, beta1, beta2, epsilon, pull)
    p.copy_(new.reshape(p.shape))
    m.copy_(new_m)
    v.copy_(new_v)

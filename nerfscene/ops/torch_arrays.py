"""Borrowed numpy arrays, and checks of what callers hand in, for the torch backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


def require(ok: bool, message: str) -> None:
    """Raises ValueError with this message unless ``ok``."""
    if not ok:
        raise ValueError(message)


def borrow(array: Any, dtype: Any = np.float32, view: Any = None) -> Tensor:
    """A tensor that shares the memory of a contiguous numpy array of exactly this type.

    ``view``: the type that torch reads the memory as. A read-only array is an input and is copied.
    Raises TypeError for any other array: it would have to be copied, and results written to a copy are lost.
    """
    if not isinstance(array, np.ndarray) or array.dtype != dtype or not array.flags.c_contiguous:
        raise TypeError(f"a contiguous numpy array of {np.dtype(dtype).name} is needed")
    if not array.flags.writeable:
        array = array.copy()  # torch only takes writable memory
    return torch.from_numpy(array if view is None else array.view(view))


def rows_of_three(array: Any, n: int | None = None) -> Tensor:
    """A float32 array of 3 · n finite numbers as a tensor (n, 3). Raises ValueError for any other."""
    x = borrow(array)
    fits = x.numel() % 3 == 0 and (n is None or x.numel() == 3 * n)
    require(fits, "all arrays of rays must have the same number of rays")
    require(bool(torch.isfinite(x).all()), "rays must be finite")
    return x.reshape(-1, 3)


def unit_points(array: Any) -> Tensor:
    """A float32 array of points (n, 3) as a tensor. Raises ValueError unless they lie in the unit cube."""
    points = borrow(array)
    require(points.ndim == 2 and points.shape[1] == 3, "points must have shape (n, 3)")
    inside = bool(((points >= 0) & (points <= 1)).all())
    require(inside, "points must lie in the unit cube")
    return points


@contextmanager
def using_threads(n: int) -> Iterator[None]:
    """Lets torch use ``n`` threads, and restores its previous number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(n, 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)

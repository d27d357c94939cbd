"""Fields to look through, and the pixels that the oracle sees along rays through them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from kernel_cases import make_case, oracle_pixels, random_bits, random_rays

CASES = {
    "bounded": make_case(10, gain=3.0),
    "bounded, network": make_case(11, color_layers=2, gain=3.0),
    "bounded, growing": make_case(12, step=0.01, cone=0.03, color_layers=1, gain=6.0),
    "unbounded": make_case(13, unbounded=True, near=0.2, step=0.01, gain=2.0),
    "ahead": make_case(15, unbounded=True, near=0.2, step=0.01, gain=2.0, ahead=True),
    "unbounded, network": make_case(14, unbounded=True, near=0.2, color_layers=1),
}


def backgrounds(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((n, 3), dtype=np.float32)


@cache
def expected(name: str, min_weight: float, stop: float, coarseness: float, fraction: float) -> Any:
    """A case with a fraction of its cells occupied, rays, backgrounds, and what the oracle sees."""
    bits = random_bits(np.random.default_rng(3), 32, fraction)
    case, rays, b = replace(CASES[name], occupancy=bits), random_rays(200, 1), backgrounds(200)
    return case, rays, b, oracle_pixels(case, rays, b, min_weight, stop, coarseness)

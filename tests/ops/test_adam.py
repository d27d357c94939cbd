"""Adam on dense arrays: kernels against the oracle. Updates of single rows are tested with training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import assert_close, double

from nerfscene.ops import reference as ref

pytest_plugins = ["kernel_cases"]

RATE, BETA1, BETA2, EPSILON = 1e-2, 0.9, 0.99, 1e-15


@pytest.mark.parametrize("pull", (0.0, 0.3))
@pytest.mark.parametrize("n", (0, 16, 48, 1008))
def test_adam_matches_oracle(kernels: Any, n: int, pull: float) -> None:
    rng = np.random.default_rng(n)
    p, moments = rng.normal(size=n).astype(np.float32), np.zeros(2 * n, np.float32)
    q, m, v = double(p, moments[:n], moments[n:])
    for step in range(5):
        g = (rng.normal(size=n) * 10.0 ** rng.uniform(-6, 2, n)).astype(np.float32)
        kernels.adam(g, p, moments, RATE, BETA1, BETA2, EPSILON, pull=pull)
        q, m, v = ref.adam(q, double(g)[0], m, v, RATE, BETA1, BETA2, EPSILON, pull)
        # Where the pull nearly cancels a gradient, the rest keeps the rounding error of both.
        assert_close(p, q, atol=(1e-5 if pull else 1e-6) * (step + 1))
        assert_close(moments[:n], m, atol=1e-7 * pull + 1e-9, rtol=2e-5)
        assert_close(moments[n:], v, atol=1e-7 * pull * pull + 1e-12, rtol=2e-5)


def test_first_step_has_the_rates_length(kernels: Any) -> None:
    g = np.tile(np.array([1e-8, -1e-3, 1.0, -1e4], np.float32), 4)
    p, moments = np.zeros(16, np.float32), np.zeros(32, np.float32)
    kernels.adam(g, p, moments, RATE, BETA1, BETA2, EPSILON)
    # without correction (1 - β1) / √(1 - β2) = 1 with these betas: the step's length is the rate
    assert_close(p, -RATE * np.sign(g), 1e-7)


def test_no_gradient_no_change(kernels: Any) -> None:
    p, moments = np.ones(16, np.float32), np.zeros(32, np.float32)
    kernels.adam(np.zeros(16, np.float32), p, moments, RATE, BETA1, BETA2, EPSILON)
    assert (p == 1).all() and not moments.any()


@pytest.mark.parametrize(("pull", "minimum"), ((0.0, 1.0), (2.0, 0.5)))
def test_it_finds_a_minimum(pull: float, minimum: float) -> None:
    """Of (p - 1)² + pull/2 p²."""
    p = torch.tensor([3.0, -2.0]).double()
    m = v = torch.zeros(2).double()
    for _ in range(2000):
        p, m, v = ref.adam(p, 2 * (p - 1), m, v, 1e-2, 0.9, 0.99, 1e-8, pull)
    assert (p - minimum).abs().max() < 0.02


def test_wrong_sizes_are_refused(kernels: Any) -> None:
    def floats(n: int) -> Any:
        return np.zeros(n, np.float32)

    for g, p, m in (
        (floats(15), floats(15), floats(30)),
        (floats(16), floats(32), floats(32)),
        (floats(16), floats(16), floats(16)),
        (floats(16).astype(np.float64), floats(16), floats(32)),
        (floats(32)[::2], floats(16), floats(32)),
    ):
        with pytest.raises((TypeError, ValueError)):
            kernels.adam(g, p, m, RATE, BETA1, BETA2, EPSILON)

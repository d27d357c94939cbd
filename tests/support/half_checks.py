"""Checks that every module whose networks compute in half precision must pass, on any device.

Sums are in float32, but weights, activations and their gradients are rounded to 11 bits on the way, so
agreement with the oracle is to some units of 2^-11. Samples that this rounding moves across a ReLU's bend are
rare, and don't bias the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import training_steps as steps
from kernel_cases import assert_close, assert_close_but_for_flips, double, random_directions, random_points
from network_cases import evaluate, networks, oracle, smooth_samples

HALF = 2.0**-11  # half a unit in the last place of a binary16 near one


def check_evaluate(module: Any, shape: tuple[int, ...]) -> None:
    """Densities and colours of a network; densities alone are the same bits."""
    case = networks(shape)
    points, directions = random_points(500, 1), random_directions(500, 2)
    density, rgb = evaluate(module, case, points, directions)
    _, _, expected_density, expected_rgb = oracle(case, points, directions)
    assert_close(np.log(density), expected_density.detach().log(), atol=20 * HALF)
    assert_close(rgb, expected_rgb.detach(), atol=8 * HALF)
    alone = np.empty(len(points), np.float32)
    case.field(module).density(points, alone)
    assert np.array_equal(alone, density)


def check_evaluate_backward(module: Any, shape: tuple[int, ...], n: int, correlation: float) -> None:
    """Gradients of ``n`` samples to encodings and weights; padding gets none."""
    case = networks(shape, 5)
    points, directions = smooth_samples(case, n, 6)
    rng = np.random.default_rng(7)
    d_density = 0.1 * rng.normal(size=n).astype(np.float32)
    d_rgb = 0.1 * rng.normal(size=(n, 3)).astype(np.float32)
    d_encoding = np.full((n, case.grid.encoding), np.nan, np.float32)  # the call overwrites it
    d_weights = np.full(len(case.weights), np.nan, np.float32)
    case.field(module).evaluate_backward(points, directions, d_density, d_rgb, d_encoding, d_weights)
    encoding, weights, density, rgb = oracle(case, points, directions)
    torch.autograd.backward([density, rgb], double(d_density, d_rgb))
    assert encoding.grad is not None and weights.grad is not None
    for got, want in ((d_encoding, encoding.grad.numpy()), (d_weights, weights.grad.numpy())):
        assert_close_but_for_flips(got, want, 20 * HALF * np.abs(want).max(), 0.01)
        assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > correlation
    last = d_weights[-case.shapes[-1][0] * case.shapes[-1][1] :].reshape(case.shapes[-1])
    assert not last[:, 28 if case.color_layers == 0 else 3 :].any()


def check_step_gradients(module: Any, name: str, kind: str, **options: int) -> dict[str, Any]:
    """The whole gradient of a training step, with these ``options`` beside the kind's; returns its report."""
    case, rays, targets, behind = steps.given(steps.CASES[name], steps.SETTINGS[kind].occupied)
    trained = steps.start(module, case)
    o = steps.options(module, steps.SETTINGS[kind])
    for option, value in options.items():
        setattr(o, option, value)
    known = steps.known_depths()
    got_table, got_weights, report = steps.gradients(trained, o, rays, targets, behind, known=known)
    table, weights, squared_error, survivors = steps.expected(name, kind)
    assert report["rays"] == steps.RAYS
    assert abs(report["survivors"] - survivors) <= 0.005 * survivors + 2
    assert_close(report["squared_error"], squared_error, 0, rtol=0.01)
    for got, want in ((got_table, table), (got_weights, weights)):
        assert_close_but_for_flips(got, want, 40 * HALF * np.abs(want).max(), 0.01)
        assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.998
    assert not trained.table_moments.any() and not trained.weight_moments.any()
    return report

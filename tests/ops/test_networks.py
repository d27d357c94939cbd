"""The networks' densities and colours: kernels against the oracle, the oracle against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import assert_close, double, make_case, random_directions, random_points
from network_cases import NETWORKS, evaluate, networks, oracle, smooth_samples

from nerfscene.ops import reference as ref
from nerfscene.ops.layout import network_shapes

pytest_plugins = ["kernel_cases"]


@pytest.mark.parametrize("shape", NETWORKS)
def test_evaluate_matches_oracle(native: Any, shape: tuple[int, ...]) -> None:
    case = networks(shape)
    points, directions = random_points(1000, 1), random_directions(1000, 2)
    density, rgb = evaluate(native, case, points, directions)
    _, _, expected_density, expected_rgb = oracle(case, points, directions)
    assert_close(density, expected_density.detach(), atol=1e-6, rtol=2e-5)
    assert_close(rgb, expected_rgb.detach(), atol=5e-6)
    assert expected_density.std() > 0.03 and expected_rgb.std() > 0.01  # the outputs do vary


@pytest.mark.parametrize("n", (0, 1, 15, 16, 17, 63, 64, 65, 129))
@pytest.mark.parametrize("color_layers", (0, 1, 2))
def test_any_number_of_samples(native: Any, n: int, color_layers: int) -> None:
    case = make_case(color_layers=color_layers)
    points, directions = random_points(200, 3), random_directions(200, 4)
    density, rgb = evaluate(native, case, points[:n], directions[:n])
    all_density, all_rgb = evaluate(native, case, points, directions)
    assert_close(density, all_density[:n], atol=1e-6, rtol=1e-5)
    assert_close(rgb, all_rgb[:n], atol=2e-6)
    alone = np.empty(n, np.float32)
    case.field(native).density(points[:n], alone)
    assert_close(alone, all_density[:n], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", NETWORKS)
@pytest.mark.parametrize("n", (1, 17, 129))
def test_evaluate_backward_matches_oracle(native: Any, shape: tuple[int, ...], n: int) -> None:
    case = networks(shape, 5)
    points, directions = smooth_samples(case, n, 6)
    rng = np.random.default_rng(7)
    d_density = rng.normal(size=n).astype(np.float32)
    d_rgb = rng.normal(size=(n, 3)).astype(np.float32)
    d_encoding = np.full((n, case.grid.encoding), np.nan, np.float32)  # the call overwrites it
    d_weights = np.full(len(case.weights), np.nan, np.float32)
    case.field(native).evaluate_backward(points, directions, d_density, d_rgb, d_encoding, d_weights)
    encoding, weights, density, rgb = oracle(case, points, directions)
    torch.autograd.backward([density, rgb], double(d_density, d_rgb))
    assert encoding.grad is not None and weights.grad is not None
    scale = float(encoding.grad.abs().max())
    assert_close(d_encoding, encoding.grad, atol=1e-5 * scale)
    assert_close(d_weights, weights.grad, atol=1e-5 * float(weights.grad.abs().max()))
    # Every layer has a gradient, in each colour mode; padding has none.
    at = 0
    for rows, columns in case.shapes:
        assert np.abs(d_weights[at : at + rows * columns]).max() > 0
        at += rows * columns
    last = d_weights[-case.shapes[-1][0] * case.shapes[-1][1] :].reshape(case.shapes[-1])
    assert not last[:, 28 if case.color_layers == 0 else 3 :].any()


def test_density_is_clamped_and_still_has_a_gradient(native: Any) -> None:
    case = make_case(gain=300.0)
    points, directions = random_points(200, 8), random_directions(200, 9)
    density, _ = evaluate(native, case, points, directions)
    assert_close(density.max(), np.exp(12.0), 0, rtol=1e-5)
    assert (density > 0).all() and np.isfinite(density).all()
    worst = int(density.argmax())
    encoding = np.empty((1, 16), np.float32)
    d_weights = np.empty(len(case.weights), np.float32)
    one = slice(worst, worst + 1)
    case.field(native).evaluate_backward(
        points[one], directions[one], np.ones(1, np.float32), np.zeros((1, 3), np.float32),
        encoding, d_weights,
    )  # fmt: skip
    leaf, _, sigma, _ = oracle(case, points[one], directions[one])
    sigma.sum().backward()
    assert leaf.grad is not None and float(leaf.grad.abs().max()) > 0
    assert_close(encoding, leaf.grad, atol=1e-5 * float(leaf.grad.abs().max()))


@pytest.mark.parametrize("degree", (0, 1, 2, 3))
def test_harmonics_are_orthonormal(degree: int) -> None:
    z, wz = np.polynomial.legendre.leggauss(8)
    angle = (np.arange(16) + 0.5) / 16 * 2 * np.pi
    r = np.sqrt(1 - z * z)[:, None]
    d = np.stack([r * np.cos(angle), r * np.sin(angle), np.repeat(z[:, None], 16, 1)], -1)
    weight = np.repeat(wz[:, None], 16, 1) * 2 * np.pi / 16
    y = ref.spherical_harmonics(torch.from_numpy(d.reshape(-1, 3)), degree).numpy()
    assert y.shape == (128, (degree + 1) ** 2)
    assert_close((y * weight.reshape(-1, 1)).T @ y, np.eye(y.shape[1]), 1e-6)


@pytest.mark.parametrize("color_layers", (0, 1, 2))
def test_oracle_gradients_are_differences(color_layers: int) -> None:
    shapes = network_shapes(16, 16, 16, color_layers)
    rng = torch.Generator().manual_seed(3)
    weights = torch.randn(sum(a * b for a, b in shapes), generator=rng, dtype=torch.float64) / 4
    encoding = torch.randn(3, 16, generator=rng, dtype=torch.float64, requires_grad=True)
    directions = double(random_directions(3))[0].requires_grad_()
    some = weights[::7].clone().requires_grad_()

    def field(e: torch.Tensor, d: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, ...]:
        layers = ref.split_weights(weights.index_put((torch.arange(0, len(weights), 7),), w), shapes)
        outputs = ref.network_outputs(e, layers)
        return ref.density(e, layers), ref.color(outputs, d, layers)

    assert torch.autograd.gradcheck(field, (encoding, directions, some), eps=1e-7, atol=1e-6)


def test_wrong_networks_are_refused(native: Any) -> None:
    arguments = make_case().arguments()
    for change in (
        {"hidden": 24},
        {"hidden": 0},
        {"hidden": 144},
        {"color_layers": 3},
        {"color_layers": 1, "color_hidden": 20},
        {"features": 3},
        {"resolution": []},
        {"size": [64]},
        {"occupancy_resolution": 33},
        {"step": 0.0},
        {"cone": -0.1},
        {"far": 0.01},
    ):
        with pytest.raises(ValueError):
            native.Field(**(arguments | change))


def test_wrong_outputs_are_refused(native: Any) -> None:
    field = make_case().field(native)
    points, directions = random_points(9), random_directions(9)
    density, rgb = np.zeros(9, np.float32), np.zeros((9, 3), np.float32)
    for wrong in (
        (points, directions[:8], density, rgb),
        (points, directions, density[:8], rgb),
        (points, directions, density, rgb[:8]),
        (points, directions, density.astype(np.float64), rgb),
        (points, directions, density, rgb.T.copy().T),
        (points, directions[:, ::-1], density, rgb),
    ):
        with pytest.raises((TypeError, ValueError)):
            field.evaluate(*wrong)
    assert not density.any() and not rgb.any()

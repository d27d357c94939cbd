"""The loss between a picture and a photo, and Adam on Gaussians: the kernels against the oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gaussian_cases as cases
import numpy as np
import pytest
import torch
from kernel_cases import Floats, double

from nerfscene.measuring.metrics import ssim
from nerfscene.ops import reference_splats as ref
from nerfscene.ops import splatting
from nerfscene.ops.splatting import PARAMETERS, Rasteriser, Rates, improve, no_moments, photo_loss

pytest_plugins = ["kernel_cases"]

GAINS = (0.9, 1.1, 1.2)


@pytest.fixture
def fitting(kernels: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the loss and the optimiser use each module in turn."""
    monkeypatch.setattr(splatting, "_kernels", lambda name: kernels)
    return kernels


def pictures(height: int, width: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """A picture, a photo and weights, of which some are 0."""
    rng = np.random.default_rng(seed)
    photo = rng.random((height, width, 3)).astype(np.float32)
    rgb = (photo + rng.normal(size=photo.shape) * 0.2).clip(0).astype(np.float32)
    weights = rng.uniform(0.2, 1.5, (height, width)).astype(np.float32)
    weights[: height // 3, : width // 2] = 0
    return rgb, photo, weights


@pytest.mark.parametrize("share", (0.0, 0.2, 1.0))
@pytest.mark.parametrize("size", ((1, 1), (4, 3), (11, 11), (23, 38)))
@pytest.mark.parametrize("weighed", (False, True))
def test_loss_matches_oracle(fitting: Any, share: float, size: tuple[int, int], weighed: bool) -> None:
    rgb, photo, weights = pictures(*size)
    found = photo_loss(rgb, photo, GAINS, weights if weighed else None, share, threads=2)
    x, gains = double(rgb)[0].requires_grad_(), torch.tensor(GAINS).double().requires_grad_()
    of = double(weights)[0] if weighed else torch.ones(size).double()
    loss, squared = ref.photo_loss(x, double(photo)[0], gains, of, share)
    d_rgb, d_gains = torch.autograd.grad(loss, [x, gains])
    assert found.value == pytest.approx(float(loss.detach()), abs=2e-6)
    assert found.squared_error == pytest.approx(float(squared.detach()), rel=1e-5)
    np.testing.assert_allclose(found.d_rgb, d_rgb, atol=2e-4 * float(d_rgb.abs().max()))
    np.testing.assert_allclose(found.d_gains, d_gains, atol=2e-4 * float(d_gains.abs().max()))


def test_a_photo_in_bytes_is_the_same_photo(fitting: Any) -> None:
    rgb, photo, weights = pictures(9, 14)
    whole = np.round(255 * photo).astype(np.uint8)
    for of in (weights, None):
        one = photo_loss(rgb, whole, GAINS, of, 0.2)
        other = photo_loss(rgb, whole.astype(np.float32) / np.float32(255), GAINS, of, 0.2)
        assert one.value == pytest.approx(other.value, abs=1e-6)
        np.testing.assert_allclose(one.d_rgb, other.d_rgb, atol=1e-6)


def test_centres_move_by_a_share_of_their_gaussians_size(fitting: Any) -> None:
    g = cases.like(cases.some(2, 0), log_scales=[[-1, -9, -9], [-9, 3, -2]])
    before, still = g.centres.copy(), Rasteriser(threads=1)._room(g)
    gradients = replace(still, centres=np.ones_like(g.centres), pixels=np.ones(2, np.int32))
    improve(g, gradients, no_moments(g), Rates(0.01, 0, 0, 0, 0, 0))
    expected = 0.01 * np.exp([-1.0, 3.0])[:, None] * np.ones(3)
    np.testing.assert_allclose(before - g.centres, expected, rtol=1e-3)


def test_what_has_no_weight_does_not_count(fitting: Any) -> None:
    rgb, photo, weights = pictures(20, 20)
    before = photo_loss(rgb, photo, GAINS, weights)
    rgb[weights == 0], photo[weights == 0] = 7, np.nan
    after = photo_loss(rgb, photo, GAINS, weights)
    assert after.value == before.value and np.array_equal(after.d_rgb, before.d_rgb)
    nothing = photo_loss(rgb, photo, GAINS, np.zeros((20, 20), np.float32))
    assert not nothing.d_rgb.any() and np.isfinite(nothing.value)


def test_the_oracles_similarity_is_the_one_that_is_measured() -> None:
    """Away from the edges, which the measured one leaves out or fills otherwise."""
    rgb, photo, _ = pictures(40, 40)
    a, b = (x.movedim(-1, 0) for x in double(rgb.clip(0, 1), photo))
    inner = ref.similarity(a, b)[:, 5:-5, 5:-5].mean()
    assert float(inner) == pytest.approx(ssim(rgb.clip(0, 1), photo), abs=0.02)


def test_wrong_sizes_are_refused(fitting: Any) -> None:
    rgb, photo, weights = pictures(6, 5)
    for wrong in (
        (rgb, photo[:-1], GAINS, weights),
        (rgb, photo, GAINS, weights[:-1]),
        (rgb, photo, (1.0,), weights),
    ):
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            photo_loss(*wrong)


def test_a_step_matches_the_twin(fitting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    of = cases.scene("some, 2")
    rates = Rates(0.02, 0.03, 0.04, 0.05, 0.06, 0.007)
    after = []
    for module in (fitting, splatting.backend.load("torch")):
        monkeypatch.setattr(splatting, "_kernels", lambda name, module=module: module)
        g = cases.like(of.gaussians)
        moments = no_moments(g)
        gradients = cases.expected("some, 2").gradients
        still = Rasteriser(threads=1)._room(g)
        pixels = cases.expected("some, 2").pixels.astype(np.int32)
        for step in range(3):
            d = {key: (gradients[key] * (1 - 0.6 * step)).astype(np.float32) for key in PARAMETERS}
            d["centres"][pixels > 0] += np.where(step == 1, np.nan, 0.0)  # counts as no gradient
            improve(g, replace(still, **d, pixels=pixels), moments, rates)
        after.append((g, moments, pixels))
    (g, moments, pixels), (twin, twins, _) = after
    assert 0 < (pixels == 0).sum() < len(pixels)
    for key in PARAMETERS:
        np.testing.assert_allclose(getattr(g, key), getattr(twin, key), atol=2e-5)
        np.testing.assert_allclose(getattr(moments, key), getattr(twins, key), rtol=1e-4, atol=1e-6)
        before = getattr(of.gaussians, key)
        assert np.array_equal(getattr(g, key)[pixels == 0], before[pixels == 0])
        assert not np.array_equal(getattr(g, key), before)


def test_gaussians_are_fitted_to_a_picture(native: Any) -> None:
    """A few of them find back to the picture of others."""
    k = cases.camera(48, 40)
    photo = Rasteriser(threads=1).draw(cases.some(40, 0, seed=1), k).rgb
    g, rasteriser = cases.some(60, 0, seed=2), Rasteriser(threads=1)
    moments, losses = no_moments(g), []
    for _ in range(150):
        drawn = rasteriser.draw(g, k)
        loss = photo_loss(drawn.rgb, photo, threads=1)
        losses.append(loss.squared_error)
        improve(g, rasteriser.backward(loss.d_rgb), moments, Rates(0.01, constant=0.01), threads=1)
    assert losses[-1] < 0.2 * losses[0]

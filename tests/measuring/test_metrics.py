"""PSNR, SSIM and the choice of held-out photos."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nerfscene.measuring.metrics import holdout, psnr, ssim


def picture(seed: int, height: int = 40, width: int = 56, channels: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((height, width, channels), np.float32)


def test_psnr_of_known_errors() -> None:
    a = np.zeros((8, 9, 3), np.float32)
    assert psnr(a, a + 0.1) == pytest.approx(20, abs=1e-4)
    assert psnr(a, a + 1.0) == pytest.approx(0)
    assert psnr(a, a) == pytest.approx(100)
    one = a.copy()
    one[..., 0] = 0.3  # a mean over channels, not the mean of the channels' decibels
    assert psnr(a, one) == pytest.approx(-10 * np.log10(0.03), abs=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(11, 11), (40, 57), (130, 33)])
@pytest.mark.parametrize("noise", [0.01, 0.1, 1.0])
def test_ssim_is_the_usual_one(channels: int, size: tuple[int, int], noise: float) -> None:
    skimage = pytest.importorskip("skimage.metrics")
    a = picture(0, *size, channels)
    b = np.clip(a + noise * (picture(1, *size, channels) - 0.5), 0, 1)
    expected = skimage.structural_similarity(
        a.astype(np.float64),
        b.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=2,
    )
    assert ssim(a, b) == pytest.approx(expected, abs=1e-9)
    psnr_expected = skimage.peak_signal_noise_ratio(
        a.astype(np.float64), b.astype(np.float64), data_range=1.0
    )
    assert psnr(a, b) == pytest.approx(psnr_expected, abs=1e-9)


def test_ssim_by_its_definition_at_one_place() -> None:
    a, b = picture(2, 11, 11, 1), picture(3, 11, 11, 1)
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    w = np.outer(taps, taps) / np.outer(taps, taps).sum()
    x, y = a[..., 0].astype(float), b[..., 0].astype(float)
    mx, my = (w * x).sum(), (w * y).sum()
    vx, vy = (w * (x - mx) ** 2).sum(), (w * (y - my) ** 2).sum()
    cov = (w * (x - mx) * (y - my)).sum()
    score = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert ssim(a, b) == pytest.approx(score, abs=1e-12)


def test_ssim_properties() -> None:
    a, b = picture(4), picture(5)
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(a, b) == pytest.approx(ssim(b, a))
    assert ssim(a, 0.9 * a + 0.1 * b) > ssim(a, 0.5 * a + 0.5 * b) > ssim(a, b)
    assert ssim(np.zeros_like(a), np.zeros_like(a)) == pytest.approx(1)


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_pictures_that_cannot_be_compared(measure) -> None:  # type: ignore[no-untyped-def]
    a = picture(0)
    for other in (a[:-1], a[..., :1], a[..., 0]):
        with pytest.raises(ValueError, match="must both be"):
            measure(a, other)
    with pytest.raises(ValueError, match="must both be"):
        measure(a[..., 0], a[..., 0])
    for value in (np.nan, np.inf, -np.inf):
        bad = a.copy()
        bad[3, 4, 1] = value
        for pair in ((a, bad), (bad, a), (bad, bad)):
            with pytest.raises(ValueError, match="finite"):
                measure(*pair)


def test_ssim_needs_room_for_its_window() -> None:
    with pytest.raises(ValueError, match="11×11"):
        ssim(picture(0, 10, 40), picture(1, 10, 40))


def test_holdout_takes_every_eighth_from_the_first() -> None:
    assert holdout(20) == [0, 8, 16]
    assert holdout(16) == [0, 8]
    assert holdout(17) == [0, 8, 16]
    assert holdout(5, 2) == [0, 2, 4]
    assert holdout(3, 1) == [0, 1, 2]
    assert holdout(20, 0) == holdout(0) == []
    with pytest.raises(ValueError, match="-1"):
        holdout(20, -1)


def test_of_few_views_only_the_middle_one_is_held_out() -> None:
    assert holdout(15) == [7]
    assert holdout(11) == [5]
    assert holdout(5, 100) == [2]
    assert holdout(1) == [0]

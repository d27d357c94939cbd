"""How close a render is to a photo (PSNR, SSIM), how far photos' exposures differ, and which are held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerfscene.loading import loading

Image = NDArray[np.float32]
GAMMA = 2.2  # from display values to light


def _checked(a: Image, b: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both pictures as float64; raises ValueError when shapes differ or a number is not finite."""
    if a.shape != b.shape or a.ndim != 3:
        raise ValueError(f"pictures must both be (height, width, channels): {a.shape}, {b.shape}")
    x, y = a.astype(np.float64), b.astype(np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("pictures must be finite")
    return x, y


def psnr(a: Image, b: Image) -> float:
    """Peak signal-to-noise ratio, dB, between pictures (height, width, channels) in 0…1.

    The mean squared error is taken over pixels and channels; equal pictures give 100 dB.
    Raises ValueError when shapes differ or a number is not finite.
    """
    x, y = _checked(a, b)
    return float(-10.0 * np.log10(max(float(np.mean((x - y) ** 2)), 1e-10)))


def exposure_matched(render: Image, photo: Image, used: NDArray[np.bool_] | None = None) -> Image:
    """The render (height, width, 3) in 0…1 with the photo's exposure and white balance: a gain per channel.

    The gains of the left half are fitted by least squares on the right half and the other way round, so
    that no pixel influences its own gain (halves as in Martin-Brualla et al., "NeRF in the Wild", 2021).
    used: (height, width), the pixels to fit them on; None: all. What a mask leaves out looks like nothing in
    the scene. Where the other half has none, nothing is changed. Gains are limited to ¼…4. Raises ValueError
    as ``psnr`` does.
    """
    x, y = _checked(render, photo)
    counts = np.ones(x.shape[:2], bool) if used is None else used
    out = x.copy()
    middle = x.shape[1] // 2
    halves = (slice(0, middle), slice(middle, None))
    for mine, other in zip(halves, halves[::-1], strict=True):
        a, b = x[:, other][counts[:, other]], y[:, other][counts[:, other]]
        if not len(a):
            continue
        out[:, mine] *= np.clip((a * b).sum(0) / np.maximum((a * a).sum(0), 1e-9), 0.25, 4.0)
    return np.clip(out, 0, 1).astype(np.float32)


def ssim(a: Image, b: Image) -> float:
    """Structural similarity between pictures (height, width, channels) in 0…1 (Wang et al. 2004); at most 1.

    Gaussian window 11×11 with σ = 1.5, K1 = 0.01, K2 = 0.03; computed per channel and averaged over the
    positions where the window lies inside the picture. Raises ValueError for pictures smaller than the
    window, and as ``psnr`` does.
    """
    with loading():
        from scipy.ndimage import correlate1d  # imported here because it takes half a second

    x, y = _checked(a, b)
    if min(x.shape[:2]) < 11:
        raise ValueError("SSIM needs pictures of at least 11×11 pixels")
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def blur(p: NDArray[np.float64]) -> NDArray[np.float64]:
        return correlate1d(correlate1d(p, taps, axis=0), taps, axis=1)[5:-5, 5:-5]

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    score = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(score.mean())


def holdout(n_views: int, every: int = 8) -> list[int]:
    """Indices of the views held out for measuring: 0, every, 2·every, …; none if ``every`` is 0.

    Of fewer than 2·every views only the middle one, because no other photo shows what the first and the
    last one show. Raises ValueError for a negative ``every``.
    """
    if every < 0:
        raise ValueError(f"every n-th view can be held out, n at least 0, not {every}")
    if every and 0 < n_views < 2 * every:
        return [n_views // 2]
    return list(range(0, n_views, every)) if every else []


def stops_between(exposures: NDArray[np.floating]) -> float:
    """Stops between the brightest and the darkest photo. exposures: (n, 3), logarithms of gains."""
    return GAMMA * float(np.ptp(exposures.mean(1))) / float(np.log(2))

"""How close a render is to a photo, and which photos are kept to ask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def _checked(a: Image, b: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if a.shape != b.shape or a.ndim != 3:
        raise ValueError(f"pictures must both be (height, width, channels): {a.shape}, {b.shape}")
    x, y = a.astype(np.float64), b.astype(np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("pictures must be finite")
    return x, y


def psnr(a: Image, b: Image) -> float:
    """Peak signal-to-noise ratio, dB, of pictures (height, width, channels) in 0…1.

    The mean squared error is over pixels and channels; equal pictures give 100 dB.
    Raises ValueError when shapes differ or a number is not finite.
    """
    x, y = _checked(a, b)
    return float(-10.0 * np.log10(max(float(np.mean((x - y) ** 2)), 1e-10)))


def exposure_matched(render: Image, photo: Image) -> Image:
    """The render (height, width, 3) with the photo's exposure and white balance: a gain for each channel.

    Each half's gains are fitted, by least squares, on the other half, so that no pixel is compared with a
    gain that it had a say in (the halves are Martin-Brualla et al.'s, "NeRF in the Wild", 2021). Gains
    stay between ¼ and 4.
    """
    x, y = _checked(render, photo)
    out = x.copy()
    middle = x.shape[1] // 2
    halves = (slice(0, middle), slice(middle, None))
    for mine, other in zip(halves, halves[::-1], strict=True):
        a, b = x[:, other].reshape(-1, x.shape[2]), y[:, other].reshape(-1, x.shape[2])
        out[:, mine] *= np.clip((a * b).sum(0) / np.maximum((a * a).sum(0), 1e-9), 0.25, 4.0)
    return np.clip(out, 0, 1).astype(np.float32)


def ssim(a: Image, b: Image) -> float:
    """Structural similarity of pictures (height, width, channels) in 0…1 (Wang et al. 2004).

    Gaussian window 11×11 with σ = 1.5, K1 = 0.01, K2 = 0.03; per channel, then the mean over the
    positions where the window lies inside the picture. Raises ValueError for pictures smaller than
    the window, and as ``psnr`` does.
    """
    from scipy.ndimage import correlate1d  # not at the top: it takes half a second

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
    """Indices of the views kept for measuring: 0, every, 2·every, …; none where ``every`` is 0.

    Of fewer than 2·every views, the middle one alone: so few can't spare their ends, which none of the
    others shows.
    Raises ValueError for a negative ``every``.
    """
    if every < 0:
        raise ValueError(f"every n-th view can be held out, n at least 0, not {every}")
    if every and 0 < n_views < 2 * every:
        return [n_views // 2]
    return list(range(0, n_views, every)) if every else []

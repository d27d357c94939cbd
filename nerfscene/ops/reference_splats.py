"""Anisotropic Gaussians in a picture, in plain torch: the reference for the rasteriser's kernels.

Differentiable by autograd, in any float dtype, and slow: every Gaussian is taken to every pixel. Specified in
``cuda_ext/include/splat.h``. The mathematics are those of EWA splatting (Zwicker et al. 2001) as 3D Gaussian
splatting uses them (Kerbl et al. 2023), with the filter of Mip-Splatting (Yu et al. 2024), which keeps a
splat's weight when it is made wider.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLUR = 0.3  # square pixels: what the low-pass filter adds to a splat's variance in the picture
MOST_ALPHA = 0.999
LEAST_ALPHA = 1 / 255  # less in a pixel is not drawn
LEAST_TRANSMITTANCE = (
    1e-4  # a Gaussian after which a pixel would have no more than this is not drawn, nor are those behind
)
BEYOND = 0.3  # the Jacobian is taken at most this share of half the picture beyond its edges
MOST_DETERMINANT = 1e30  # of a covariance in the picture, pixels⁴: a larger Gaussian is not drawn
WINDOW, SIGMA = 11, 1.5  # of the structural similarity, pixels
C1, C2 = 0.01**2, 0.03**2


@dataclass(frozen=True)
class Lens:
    """fx, fy, cx, cy and the whole picture's width and height, in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


@dataclass(frozen=True)
class Flat:
    """Gaussians in the picture, n of them, nearest first.

    index: (n,), which they are; mean: (n, 2), pixels; conic: (n, 3), the inverse covariance's a, b, c in
    a x² + 2 b x y + c y²; opacity: (n,), with the filter's compensation; color: (n, 3); depth: (n,)
    """

    index: Tensor
    mean: Tensor
    conic: Tensor
    opacity: Tensor
    color: Tensor
    depth: Tensor


def basis(d: Tensor, degree: int) -> Tensor:
    """Real spherical harmonics (n, (degree + 1)²) in unit directions (n, 3), as splat files order them."""
    x, y, z = d.unbind(-1)
    parts = [torch.full_like(x, 0.28209479177387814)]
    if degree > 0:
        parts += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    xx, yy, zz = x * x, y * y, z * z
    if degree > 1:
        parts += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if degree > 2:
        parts += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    return torch.stack(parts, -1)


def rotations(turns: Tensor) -> Tensor:
    """Matrices (n, 3, 3) of quaternions (n, 4), w first, of any length but 0."""
    w, x, y, z = (turns / turns.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)


def project(parameters: tuple[Tensor, ...], pose: Tensor, lens: Lens, near: float) -> Flat:
    """What a camera makes of Gaussians; those that it can't show at all are left out.

    parameters: centres, log_scales, turns, opacities, harmonics as in ``splatting.Gaussians``; pose (3, 4)
    """
    centres, log_scales, turns, opacities, harmonics = parameters
    seen = centres @ pose[:, :3].T + pose[:, 3]
    ok = seen[:, 2] > near
    for x in parameters:
        ok = ok & torch.isfinite(x.detach()).reshape(len(x), x[:1].numel()).all(1)
    index = torch.nonzero(ok & (turns.detach().abs().sum(1) > 0)).ravel()
    index = index[torch.sort(seen[index, 2].detach(), stable=True).indices]
    x, y, z = seen[index].unbind(-1)
    half = 0.5 * BEYOND * lens.width / lens.fx, 0.5 * BEYOND * lens.height / lens.fy
    u = (x / z).clamp(-lens.cx / lens.fx - half[0], (lens.width - lens.cx) / lens.fx + half[0])
    v = (y / z).clamp(-lens.cy / lens.fy - half[1], (lens.height - lens.cy) / lens.fy + half[1])
    o = torch.zeros_like(z)
    jacobian = torch.stack(
        [
            torch.stack([lens.fx / z, o, -lens.fx * u / z], -1),
            torch.stack([o, lens.fy / z, -lens.fy * v / z], -1),
        ],
        -2,
    )
    # The covariance in the picture is rows · rowsᵀ.
    rows = jacobian @ pose[:, :3] @ (rotations(turns[index]) * log_scales[index].exp()[:, None, :])
    a, c = (rows * rows).sum(-1).unbind(-1)
    b = (rows[:, 0] * rows[:, 1]).sum(-1)
    sharp = (
        torch.linalg.cross(rows[:, 0], rows[:, 1]).square().sum(-1)
    )  # its determinant, without cancellation
    det = sharp + BLUR * (a + c) + BLUR * BLUR
    away = centres[index] + pose[:, :3].T @ pose[:, 3]
    toward = away / away.norm(dim=-1, keepdim=True)
    degree = int(harmonics.shape[1] ** 0.5) - 1
    color = (basis(toward, degree)[:, :, None] * harmonics[index]).sum(1) + 0.5
    flat = Flat(
        index,
        torch.stack([lens.fx * x / z + lens.cx, lens.fy * y / z + lens.cy], -1),
        torch.stack([(c + BLUR) / det, -b / det, (a + BLUR) / det], -1),
        torch.sigmoid(opacities[index]) * (sharp / det).clamp(min=1e-12).sqrt(),
        color.clamp(min=0),
        z,
    )
    fine = (flat.opacity.detach() >= LEAST_ALPHA) & (det.detach() < MOST_DETERMINANT)
    for part in (flat.mean, flat.conic, flat.color):
        fine = fine & torch.isfinite(part.detach()).all(1)
    return Flat(*(part[fine] for part in vars(flat).values()))


@dataclass(frozen=True)
class Blended:
    """A picture: rgb (h, w, 3), alpha, depth (h, w), and each Gaussian's weight in each pixel (n, h, w)."""

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    weights: Tensor


def blend(flat: Flat, window: tuple[int, int, int, int], background: Tensor) -> Blended:
    """The picture's part (x0, y0, width, height), from front to back."""
    left, top, width, height = window
    like = {"dtype": flat.mean.dtype}
    px = left + torch.arange(width, **like) + 0.5  # type: ignore[call-overload]
    py = top + torch.arange(height, **like) + 0.5  # type: ignore[call-overload]
    dx = (px[None, None, :] - flat.mean[:, 0, None, None]).expand(-1, height, -1)
    dy = (py[None, :, None] - flat.mean[:, 1, None, None]).expand(-1, -1, width)
    a, b, c = (k[:, None, None] for k in flat.conic.unbind(-1))
    power = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = (flat.opacity[:, None, None] * torch.exp(-power)).clamp(max=MOST_ALPHA)
    alpha = torch.where(alpha >= LEAST_ALPHA, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    kept = after.detach() > LEAST_TRANSMITTANCE
    weights = torch.where(kept, alpha * before, torch.zeros_like(alpha))
    left_over = torch.where(kept, 1 - alpha, torch.ones_like(alpha)).prod(0)
    rgb = torch.einsum("nhw,nc->hwc", weights, flat.color) + left_over[..., None] * background
    covered = weights.sum(0)
    depth = torch.einsum("nhw,n->hw", weights, flat.depth) / torch.where(
        covered > 0, covered, torch.ones_like(covered)
    )
    return Blended(rgb, 1 - left_over, depth, weights)


def blurred(x: Tensor) -> Tensor:
    """Planes (n, h, w) under the window of the structural similarity; beyond the edges is 0."""
    at = torch.arange(WINDOW, dtype=x.dtype) - WINDOW // 2
    taps = torch.exp(-at * at / (2 * SIGMA * SIGMA))
    taps = taps / taps.sum()
    x = F.conv2d(x[:, None], taps[None, None, None, :], padding=(0, WINDOW // 2))
    return F.conv2d(x, taps[None, None, :, None], padding=(WINDOW // 2, 0))[:, 0]


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """The structural similarity (Wang et al. 2004) of planes (n, h, w), in each pixel."""
    ma, mb = blurred(a), blurred(b)
    va, vb, both = blurred(a * a) - ma * ma, blurred(b * b) - mb * mb, blurred(a * b) - ma * mb
    return (2 * ma * mb + C1) * (2 * both + C2) / ((ma * ma + mb * mb + C1) * (va + vb + C2))


def photo_loss(
    rgb: Tensor, photo: Tensor, gains: Tensor, weights: Tensor, share: float
) -> tuple[Tensor, Tensor]:
    """The loss and the mean squared error; see ``splatting.photo_loss``."""
    shown = rgb * gains
    total = 3 * weights.sum().clamp(min=1e-12)
    difference = (shown - photo) * weights[..., None].ne(0)
    absolute = (difference.abs() * weights[..., None]).sum() / total
    squared = (difference.square() * weights[..., None]).sum() / total
    inside = weights.ne(0)[..., None]
    planes = [torch.where(inside, x, torch.zeros_like(x)).movedim(-1, 0) for x in (shown, photo)]
    alike = (similarity(*planes) * weights).sum() / total
    return (1 - share) * absolute + share * (1 - alike), squared

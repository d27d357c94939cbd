"""The rasteriser beside gsplat's plain-torch reference: the same Gaussians and camera, picture and gradients.

gsplat (Ye et al. 2024) is nerfstudio's rasteriser; its module ``gsplat.cuda._torch_impl`` has the mathematics
of its kernels in plain torch, which need no GPU. Run it in an environment of its own with nerfscene:

    pip install --no-deps gsplat==1.5.3 && pip install rich jaxtyping
    python -m bench.against_gsplat [--gaussians 3000] [--size 160 120]

Which Gaussians a pixel takes is found here, by the rules of gsplat's kernels (alpha of 1/255 or more, until
1e-4 of the light is left), because that part of gsplat has no version in torch. Its sums along rays are
nerfacc's, which need a GPU: two functions here stand in for them. A pixel in which a Gaussian has 1/255 to
the rounding error may have it in one and not in the other; all else must agree:

    picture and alpha: 1e-4 in 99.9% of the pixels, 0.01 in all
    gradients: 1e-3 of the largest of their kind for 99% of the numbers, 2e-2 for all

Exits with 1 if anything differs by more.
"""

from __future__ import annotations

import argparse
import sys
import time
from types import ModuleType

import numpy as np
import torch
from gsplat.cuda import _torch_impl as theirs
from numpy.typing import NDArray
from torch import Tensor

from nerfscene.ops.splatting import NEAR, PARAMETERS, Gaussians, Pinhole, Rasteriser

BEHIND = (0.2, 0.5, 0.7)


def some(n: int, degree: int) -> Gaussians:
    """Gaussians of many shapes, most of them in view."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n, 3)) * [1.6, 1.3, 1.0] + [0, 0, 4]
    size = np.log(8 / n**0.5)
    return Gaussians(
        centres.astype(np.float32),
        (size + 0.6 * rng.normal(size=(n, 3))).astype(np.float32),
        (rng.normal(size=(n, 4)) * rng.uniform(0.3, 3, (n, 1))).astype(np.float32),
        (1.5 * rng.normal(size=n)).astype(np.float32),
        (rng.normal(size=(n, (degree + 1) ** 2, 3)) * 0.4).astype(np.float32),
    )


def pairs(
    means: Tensor, conics: Tensor, opacities: Tensor, depths: Tensor, k: Pinhole
) -> tuple[Tensor, Tensor]:
    """Which Gaussian is in which pixel (row-major), pixel by pixel and nearest first."""
    order = torch.argsort(depths, stable=True)
    py, px = torch.meshgrid(torch.arange(k.height) + 0.5, torch.arange(k.width) + 0.5, indexing="ij")
    places = torch.stack([px, py], -1).reshape(-1, 2)
    left = torch.ones(len(places))
    done = torch.zeros(len(places), dtype=torch.bool)
    gaussian, pixel = [], []
    for g in order.tolist():
        d = places - means[g]
        a, b, c = conics[g]
        sigma = 0.5 * (a * d[:, 0] ** 2 + c * d[:, 1] ** 2) + b * d[:, 0] * d[:, 1]
        alpha = (opacities[g] * torch.exp(-sigma)).clamp(max=0.999)
        meets = (alpha >= 1 / 255) & (sigma >= 0) & ~done
        after = left * (1 - alpha)
        done |= meets & (after <= 1e-4)
        takes = meets & (after > 1e-4)
        left = torch.where(takes, after, left)
        at = torch.nonzero(takes).ravel()
        gaussian.append(torch.full_like(at, g))
        pixel.append(at)
    gaussians, pixels = torch.cat(gaussian), torch.cat(pixel)
    by_pixel = torch.argsort(pixels, stable=True)
    return gaussians[by_pixel], pixels[by_pixel]


def weights_along_rays(alphas: Tensor, ray_indices: Tensor, n_rays: int) -> tuple[Tensor, Tensor]:
    """Each sample's weight and the light that reaches it; samples are ordered by ray, nearest first."""
    thickness = torch.cumsum(-torch.log1p(-alphas.double()), 0)
    before = torch.cat([torch.zeros(1, dtype=torch.float64), thickness[:-1]])
    first = torch.searchsorted(ray_indices, torch.arange(n_rays)).clamp(max=max(len(alphas) - 1, 0))
    light = torch.exp(before[first[ray_indices]] - before).to(alphas.dtype)
    return alphas * light, light


def sums_along_rays(weights: Tensor, values: Tensor | None, ray_indices: Tensor, n_rays: int) -> Tensor:
    """Each ray's sum of weighted values, (n_rays, channels)."""
    each = weights[:, None] if values is None else weights[:, None] * values
    return torch.zeros(n_rays, each.shape[1]).index_add(0, ray_indices, each)


def drawn_by_gsplat(parameters: list[Tensor], k: Pinhole, background: Tensor) -> tuple[Tensor, Tensor]:
    """rgb (h, w, 3) and alpha (h, w), by gsplat's functions."""
    centres, log_scales, turns, opacities, harmonics = parameters
    view = torch.eye(4)
    view[:3] = torch.from_numpy(np.asarray(k.camera_from_world, np.float32))
    lens = torch.tensor([[k.fx, 0, k.cx], [0, k.fy, k.cy], [0, 0, 1]])
    covars, _ = theirs._quat_scale_to_covar_preci(turns, log_scales.exp(), True, False)
    radii, means, depths, conics, compensations = theirs._fully_fused_projection(
        centres, covars, view[None], lens[None], k.width, k.height, near_plane=NEAR, calc_compensations=True
    )
    seen = torch.nonzero((radii[0] > 0).all(-1)).ravel()
    eye = -view[:3, :3].T @ view[:3, 3]
    degree = int(harmonics.shape[1] ** 0.5) - 1
    colors = (theirs._spherical_harmonics(degree, centres[seen] - eye, harmonics[seen]) + 0.5).clamp(min=0)
    opaque = torch.sigmoid(opacities[seen]) * compensations[0, seen]
    flat = [x[0, seen] for x in (means, conics, depths)]
    with torch.no_grad():
        gaussian, pixel = pairs(flat[0], flat[1], opaque, flat[2], k)
    stand_in = ModuleType("nerfacc")
    vars(stand_in).update(render_weight_from_alpha=weights_along_rays, accumulate_along_rays=sums_along_rays)
    sys.modules["nerfacc"] = stand_in
    rgb, alpha = theirs.accumulate(
        flat[0][None], flat[1][None], opaque[None], colors[None], gaussian, pixel, torch.zeros_like(pixel),
        k.width, k.height,
    )  # fmt: skip
    return rgb[0] + background * (1 - alpha[0]), alpha[0, ..., 0]


def compared(
    what: str, ours: NDArray[np.floating], other: Tensor, most: float, usual: float, share: float
) -> bool:
    """Prints how far two arrays are apart, and says whether that is within the tolerances."""
    off = np.abs(ours - other.detach().numpy())
    largest = float(off.max())
    within = float((off <= usual).mean())
    fine = largest <= most and within >= share
    print(
        f"| {what} | {float(np.median(off)):.1e} | {largest:.1e} | {within:.3%} | {'yes' if fine else 'NO'} |"
    )
    return fine


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gaussians", type=int, default=3000)
    parser.add_argument("--size", type=int, nargs=2, default=(160, 120))
    asked = parser.parse_args()
    width, height = asked.size
    k = Pinhole(np.eye(4)[:3], 0.9 * width, 0.9 * width, 0.51 * width, 0.48 * height, width, height)
    fine = True
    print("| | median | largest | within | agrees |\n|---|---|---|---|---|")
    for degree in (0, 3):
        g = some(asked.gaussians, degree)
        rng = np.random.default_rng(1)
        d_rgb = rng.normal(size=(height, width, 3)).astype(np.float32)
        d_alpha = rng.normal(size=(height, width)).astype(np.float32)
        rasteriser = Rasteriser()
        began = time.process_time()
        seen = rasteriser.draw(g, k, BEHIND)
        found = rasteriser.backward(d_rgb, d_alpha)
        took = time.process_time() - began
        leaves = [torch.from_numpy(getattr(g, name)).clone().requires_grad_() for name in PARAMETERS]
        began = time.process_time()
        rgb, alpha = drawn_by_gsplat(leaves, k, torch.tensor(BEHIND))
        ((rgb * torch.from_numpy(d_rgb)).sum() + (alpha * torch.from_numpy(d_alpha)).sum()).backward()
        other = time.process_time() - began
        fine &= compared(f"degree {degree}: rgb", seen.rgb, rgb, 1e-2, 1e-4, 0.999)
        fine &= compared(f"degree {degree}: alpha", seen.alpha, alpha, 1e-2, 1e-4, 0.999)
        for name, leaf in zip(PARAMETERS, leaves, strict=True):
            assert leaf.grad is not None
            scale = float(leaf.grad.abs().max())
            what = f"degree {degree}: gradient by {name}, of {scale:.2g}"
            fine &= compared(what, getattr(found, name), leaf.grad, 2e-2 * scale, 1e-3 * scale, 0.99)
        print(f"| degree {degree}: CPU s | {took:.3f} | gsplat's {other:.1f} | | |")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()

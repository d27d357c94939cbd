"""The rasteriser, its loss and its optimiser in torch, by the compiled modules' names; see ``splatting``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from nerfscene.ops import reference as ref
from nerfscene.ops import reference_splats as splats
from nerfscene.ops.torch_arrays import borrow, require


class Splatter:
    """Draws Gaussians and takes gradients back, by autograd. Each number of threads is as good as another."""

    def __init__(self, threads: int) -> None:
        self._leaves: list[torch.Tensor] = []
        self._flat: splats.Flat | None = None
        self._seen: splats.Blended | None = None

    def draw(
        self,
        centres: Any,
        log_scales: Any,
        turns: Any,
        opacities: Any,
        harmonics: Any,
        camera: Sequence[float],
        size: tuple[int, int],
        window: tuple[int, int, int, int],
        background: Sequence[float],
        near: float,
        back: bool,
        rgb: Any,
        alpha: Any,
        depth: Any,
    ) -> None:
        """See ``splatting.Rasteriser.draw``; writes rgb, alpha and depth. The last two may be empty.

        So many parameters because the kernels' modules have these.
        """
        require_gaussians(centres, log_scales, turns, opacities, harmonics)
        left, top, width, height = window
        inside = left >= 0 and top >= 0 and left + width <= size[0] and top + height <= size[1]
        require(inside and width >= 0 and height >= 0, "the window must lie in the picture")
        fit = all(x.shape == (height, width) or not x.size for x in (alpha, depth))
        require(rgb.shape == (height, width, 3) and fit, "wrong outputs")
        given = (centres, log_scales, turns, opacities, harmonics)
        self._leaves = [borrow(x).clone().requires_grad_() for x in given]
        self._leaves.append(torch.tensor(list(background), dtype=torch.float32, requires_grad=True))
        pose = torch.tensor(list(camera[:12]), dtype=torch.float32).reshape(3, 4)
        fx, fy, cx, cy = camera[12:16]
        lens = splats.Lens(fx, fy, cx, cy, *size)
        self._flat = splats.project(tuple(self._leaves[:5]), pose, lens, near)
        self._seen = splats.blend(self._flat, window, self._leaves[5])
        for to, made in zip(
            (rgb, alpha, depth), (self._seen.rgb, self._seen.alpha, self._seen.depth), strict=True
        ):
            if to.size:
                borrow(to).copy_(made.detach())
        self._window = window
        if not back:
            self._seen = self._flat = None

    def backward(
        self,
        centres: Any,
        log_scales: Any,
        turns: Any,
        opacities: Any,
        harmonics: Any,
        d_rgb: Any,
        d_alpha: Any,
        *out: Any,
    ) -> None:
        """See ``splatting.Rasteriser.backward``; writes ``splatting.Gradients``' arrays in their order."""
        require(self._seen is not None and self._flat is not None, "nothing was drawn yet")
        assert self._seen is not None and self._flat is not None
        d_alpha = d_alpha if d_alpha.size else np.zeros(self._seen.alpha.shape, np.float32)
        loss = (self._seen.rgb * borrow(d_rgb)).sum() + (self._seen.alpha * borrow(d_alpha)).sum()
        found = torch.autograd.grad(loss, self._leaves, allow_unused=True, retain_graph=True)
        for to, gradient, leaf in zip(out[:6], found, self._leaves, strict=True):
            borrow(to).copy_(torch.zeros_like(leaf) if gradient is None else gradient)
        pixels, pull, weight = borrow(out[6], np.int32), borrow(out[7]), borrow(out[8])
        for to in (pixels, pull, weight):
            to.zero_()
        weights, at = self._seen.weights.detach(), self._flat.index
        if len(at) and weights[0].numel():
            pixels[at] = (weights > 0).sum((1, 2)).to(pixels)
            weight[at] = weights.amax((1, 2))
            pull[at] = absolute_pull(
                self._flat, self._window, borrow(d_rgb), borrow(d_alpha), self._leaves[5]
            )


def absolute_pull(
    flat: splats.Flat,
    window: tuple[int, int, int, int],
    d_rgb: torch.Tensor,
    d_alpha: torch.Tensor,
    behind: torch.Tensor,
) -> torch.Tensor:
    """For each Gaussian (n,): √((Σ |∂/∂x|)² + (Σ |∂/∂y|)²) over the window's pixels, a pixel at a time."""
    left, top, width, height = window
    still = [part.detach() for part in vars(flat).values()]
    total = torch.zeros_like(still[1])
    for row in range(height):
        for column in range(width):
            mean = still[1].clone().requires_grad_()
            one = splats.blend(
                splats.Flat(still[0], mean, *still[2:]), (left + column, top + row, 1, 1), behind.detach()
            )
            loss = (one.rgb[0, 0] * d_rgb[row, column]).sum() + one.alpha[0, 0] * d_alpha[row, column]
            total += torch.autograd.grad(loss, mean)[0].abs()
    return total.norm(dim=1)


def photo_loss(
    rgb: Any,
    photo: Any,
    bytes_: Any,
    gains: Sequence[float],
    weights: Any,
    share: float,
    threads: int,
    d_rgb: Any,
    found: Any,
) -> None:
    """See ``splatting.photo_loss``; ``found`` (5,): the loss, the squared error and the gains' gradients.

    The photo is given as numbers or as bytes, and the other is empty, as are weights that are all 1.
    So many parameters because the kernels' modules have these.
    """
    photo = bytes_.astype(np.float32) * np.float32(1 / 255) if bytes_.size else photo
    weights = weights if weights.size else np.ones(rgb.shape[:2], np.float32)
    shape = (*np.shape(weights), 3)
    require(len(shape) == 3 and np.shape(rgb) == np.shape(photo) == np.shape(d_rgb) == shape, "sizes differ")
    shown = borrow(rgb).clone().requires_grad_()
    by = torch.tensor(list(gains), dtype=torch.float32, requires_grad=True)
    loss, squared = splats.photo_loss(shown, borrow(photo), by, borrow(weights), share)
    gradients = torch.autograd.grad(loss, [shown, by])
    borrow(d_rgb).copy_(gradients[0])
    borrow(found).copy_(torch.stack([loss.detach(), squared.detach(), *gradients[1]]))


def improve_splats(*arrays: Any) -> None:
    """See ``splatting.improve``. Arrays, gradients, pixels, moments, rates, β1, β2, ε and threads."""
    parameters, gradients, pixels, moments = arrays[:5], arrays[5:10], arrays[10], arrays[11:16]
    rates, beta1, beta2, epsilon, _ = arrays[16:]
    seen = borrow(pixels, np.int32) > 0
    size = borrow(parameters[1])[seen].amax(1, keepdim=True).exp()
    for i, (p, g, m) in enumerate(zip(parameters, gradients, moments, strict=True)):
        p, g, m = borrow(p), borrow(g), borrow(m)
        require(p.shape == g.shape and m.shape == (2, *p.shape), "arrays must have the Gaussians' sizes")
        rate: Any = size * rates[0] if i == 0 else torch.full(p.shape[1:], float(rates[i]))
        if i == 4:
            rate[1:] = rates[5]
        of = torch.nan_to_num(g[seen], 0.0, 0.0, 0.0)
        p[seen], m[0, seen], m[1, seen] = ref.adam(
            p[seen], of, m[0, seen], m[1, seen], rate, beta1, beta2, epsilon
        )


def require_gaussians(centres: Any, log_scales: Any, turns: Any, opacities: Any, harmonics: Any) -> None:
    """Raises ValueError unless the arrays are those of some Gaussians."""
    n = len(centres)
    fit = np.shape(centres) == np.shape(log_scales) == (n, 3) and np.shape(turns) == (n, 4)
    require(
        fit and np.shape(opacities) == (n,),
        "centres and log_scales must be (n, 3), turns (n, 4), opacities (n,)",
    )
    k = np.shape(harmonics)[1] if np.ndim(harmonics) == 3 else 0
    require(
        np.shape(harmonics) == (n, k, 3) and k in (1, 4, 9, 16), "harmonics must be (n, 1, 4, 9 or 16, 3)"
    )

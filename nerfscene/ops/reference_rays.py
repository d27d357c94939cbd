"""Space, marching, compositing and the losses in plain torch; see ``reference``.

Specified by ``march.h``, ``composite.h`` and ``occupancy.h`` in ``cuda_ext/include``, and by
``cuda_ext/cpu/trace.h`` for which samples are discarded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import nerfacc
import torch
from torch import Tensor

from nerfscene.ops.layout import Space

# --- space ----------------------------------------------------------------------------------------


def view_matrix(space: Space, like: Tensor) -> Tensor:
    """``view_from_scene`` (3, 4) of a space that is laid out along the view."""
    assert space.view is not None
    return torch.tensor(space.view, dtype=like.dtype).reshape(3, 4)


def depth_ahead(points: Tensor, space: Space) -> Tensor:
    """How far (n,) scene points (n, 3) are from the apex of such a space; 1 nearer than rays can begin."""
    row = view_matrix(space, points)[2]
    return (points @ row[:3] + row[3]).clamp(min=1)


def to_unit(points: Tensor, space: Space) -> Tensor:
    """Scene points (n, 3) → the grid's unit cube.

    A bounded scene fills [-1, 1]³. An unbounded one fills all of space, and what lies beyond [-1, 1]³ is
    contracted into the rest of [-2, 2]³ (Barron et al., mip-NeRF 360, 2022, with the largest coordinate
    as the norm). One that is laid out along the view has x / z and y / z, as seen from its apex, and
    disparity (NDC in Mildenhall et al., NeRF, 2020).
    """
    if space.view is not None:
        m = view_matrix(space, points)
        across, c = points @ m[:2, :3].T + m[:2, 3], depth_ahead(points, space)[:, None]
        return torch.cat([(across / c * 0.5 + 0.5).clamp(0, 1), (1 - 1 / c) * space.share], -1)
    if not space.unbounded:
        return points * 0.5 + 0.5
    far = points.abs().amax(-1, keepdim=True).clamp(min=1.0)
    return points * (2 - 1 / far) / far * 0.25 + 0.5


def from_unit(unit: Tensor, space: Space) -> Tensor:
    """The inverse of ``to_unit``; points at infinity, such as the cube's surface, end up very far away."""
    if space.view is not None:
        m = view_matrix(space, unit)
        c = 1 / (1 - unit[:, 2:] / space.share).clamp(min=1e-6)
        seen = torch.cat([(unit[:, :2] * 2 - 1) * c, c], -1)
        return (seen - m[:, 3]) @ torch.linalg.inv(m[:, :3]).T
    if not space.unbounded:
        return unit * 2 - 1
    c = unit * 4 - 2
    m = c.abs().amax(-1, keepdim=True)
    return torch.where(m <= 1, c, c / (m * (2 - m).clamp(min=1e-6)).clamp(min=1e-6))


def occupancy_cell(unit: Tensor, resolution: int) -> Tensor:
    """Indices (n,) of the occupancy cells of unit-cube points (n, 3), x fastest, clamped to the grid."""
    x, y, z = (unit * resolution).clamp(0, resolution - 0.5).long().unbind(-1)
    return x + (y + z * resolution) * resolution


def occupied(bits: Tensor, cell: Tensor) -> Tensor:
    """Whether the bits of cells (n,) are set: bits (cells / 32,) int32, bit i of word j is cell 32 j + i."""
    return (bits[cell >> 5] >> (cell & 31)) & 1 == 1


def reference_step(points: Tensor, space: Space) -> Tensor:
    """The length (n,), scene units, that density at scene points (n, 3) is multiplied by for occupancy."""
    if space.view is not None:
        return space.step * depth_ahead(points, space)
    return (space.cone * points.abs().amax(-1)).clamp(min=space.step)


# --- steps ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepLaw:
    """Steps along rays: constant from ``first``, growing by a factor exp(log_growth) from ``bend`` on.

    first, bend: distances (n,); step: the constant length; bend_index: index (n,) of the step that reaches
    ``bend``, which may be fractional.
    """

    first: Tensor
    step: float
    log_growth: float
    bend: Tensor
    bend_index: Tensor


def step_law(first: Tensor, step: float, cone: float) -> StepLaw:
    """``step`` long until ``cone · t`` is longer, then growing by 1 + cone; cone = 0: all ``step`` long."""
    if cone == 0:
        infinite = torch.full_like(first, math.inf)
        return StepLaw(first, step, 0.0, infinite, infinite)
    bend = first.clamp(min=step / cone)
    return StepLaw(first, step, math.log1p(cone), bend, (bend - first) / step)


def step_distance(law: StepLaw, k: Tensor) -> Tensor:
    """Distances (n, s) at step indices ``k`` (n, s), which may be fractional."""
    linear = law.first[:, None] + k * law.step
    if law.log_growth == 0:
        return linear
    beyond = k - law.bend_index[:, None]
    grown = law.bend[:, None] * torch.exp(beyond.clamp(min=0) * law.log_growth)
    return torch.where(beyond > 0, grown, linear)


def step_index(law: StepLaw, t: Tensor) -> Tensor:
    """The inverse of ``step_distance``: the step indices (n,), fractional, of distances (n,)."""
    linear = (t - law.first) / law.step
    if law.log_growth == 0:
        return linear
    grown = law.bend_index + torch.log((t / law.bend).clamp(min=1)) / law.log_growth
    return torch.where(t <= law.bend, linear, grown)


def intersect_box(rays_o: Tensor, rays_d: Tensor, space: Space) -> tuple[Tensor, Tensor]:
    """Distances (n,) at which rays enter and leave [-1, 1]³, within near and far; entry ≥ exit for a miss."""
    near = rays_o.new_full(rays_o.shape[:1], space.near)
    far = rays_o.new_full(rays_o.shape[:1], space.far)
    parallel = rays_d == 0
    inverse = 1 / torch.where(parallel, 1.0, rays_d)
    a, b = (-1 - rays_o) * inverse, (1 - rays_o) * inverse
    # A ray parallel to a pair of faces lies either entirely between them or entirely outside.
    outside = parallel & (rays_o.abs() > 1)
    low = torch.where(parallel, -math.inf, torch.minimum(a, b)).amax(-1)
    high = torch.where(parallel, math.inf, torch.maximum(a, b)).amin(-1)
    high = torch.where(outside.any(-1), -math.inf, high)
    return torch.maximum(near, low), torch.minimum(far, high)


def ray_steps(rays_o: Tensor, rays_d: Tensor, space: Space) -> tuple[StepLaw, Tensor, Tensor]:
    """The part of rays (n, 3) that is sampled: their steps, their ends (n,) and numbers of steps (n,).

    A ray that misses a bounded scene has 0 steps. A step's sample counts if it lies before the ray's end.
    """
    if space.unbounded:
        first = rays_o.new_full(rays_o.shape[:1], space.near)
        end = torch.full_like(first, space.far)
    else:
        first, end = intersect_box(rays_o, rays_d, space)
    hit = first < end
    law = step_law(torch.where(hit, first, 0.0), space.step, space.cone)
    steps = torch.where(hit, step_index(law, torch.where(hit, end, 0.0)).ceil(), 0.0)
    return law, end, steps.clamp(min=0).long()


# --- samples --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Samples:
    """Samples of ``n_rays`` rays, packed: ray r has values[offsets[r] : offsets[r] + counts[r]].

    offsets, counts (n_rays,) int64; ray (n,) int64, each sample's ray; t (n,) its distance and length (n,)
    that of its step, scene units; points (n, 3) scene units; unit (n, 3) in the unit cube.
    """

    offsets: Tensor
    counts: Tensor
    ray: Tensor
    t: Tensor
    length: Tensor
    points: Tensor
    unit: Tensor


def coarser(space: Space, coarseness: float) -> tuple[float, float]:
    """The shortest step and the cone if all steps are ``coarseness`` times as long."""
    return space.step * coarseness, space.cone * coarseness


def march(
    rays_o: Tensor,
    rays_d: Tensor,
    jitter: Tensor,
    occupancy: Tensor,
    space: Space,
    coarseness: float = 1.0,
) -> Samples:
    """All samples of rays that lie in occupied cells and before the rays' ends.

    rays_o, rays_d (n_rays, 3), with unit directions; jitter (n_rays,) in [0, 1), the position of a ray's
    samples within its steps; occupancy (cells / 32,) int32 bits. A sample's length is max(step, cone · t).
    Not differentiable. Memory: n_rays × the longest ray's steps.
    """
    step, cone = coarser(space, coarseness)
    stepped = replace(space, step=step, cone=cone)
    law, end, steps = ray_steps(rays_o, rays_d, stepped)
    most = int(steps.max()) if len(steps) else 0
    k = torch.arange(most, dtype=rays_o.dtype)[None, :]
    t = step_distance(law, k + jitter[:, None])
    ray, index = torch.nonzero((t < end[:, None]) & (k < steps[:, None]), as_tuple=True)
    t = t[ray, index]
    points = rays_o[ray] + rays_d[ray] * t[:, None]
    unit = to_unit(points, space)
    keep = occupied(occupancy, occupancy_cell(unit, space.occupancy_resolution))
    ray, t, points, unit = ray[keep], t[keep], points[keep], unit[keep]
    counts = torch.bincount(ray, minlength=len(rays_o))
    length = (cone * t).clamp(min=step)
    return Samples(counts.cumsum(0) - counts, counts, ray, t, length, points, unit)


def cropped(samples: Samples, box_from_scene: Tensor) -> Samples:
    """Only the samples that ``box_from_scene`` (3, 4) maps into [-1, 1]³."""
    s = samples
    in_box = s.points @ box_from_scene[:, :3].T.to(s.points) + box_from_scene[:, 3].to(s.points)
    return picked(samples, (in_box.abs() <= 1).all(-1))


def picked(samples: Samples, index: Tensor) -> Samples:
    """Only the samples that ``index``, a mask (n,) or ascending indices (k,), picks."""
    s = samples
    ray = s.ray[index]
    counts = torch.bincount(ray, minlength=len(s.counts))
    first = counts.cumsum(0) - counts
    return Samples(first, counts, ray, s.t[index], s.length[index], s.points[index], s.unit[index])


def dense(values: Tensor, samples: Samples, fill: float = 0.0) -> Tensor:
    """Packed values (n,) → (n_rays, most samples of any ray), padded with ``fill``."""
    most = int(samples.counts.max()) if len(samples.counts) else 0
    out = values.new_full((len(samples.counts), most), fill)
    index = torch.arange(len(values)) - samples.offsets[samples.ray]
    return out.index_put((samples.ray, index), values)


def packed(values: Tensor, samples: Samples) -> Tensor:
    """The inverse of ``dense``: (n_rays, most) → (n,)."""
    return values[samples.ray, torch.arange(len(samples.ray)) - samples.offsets[samples.ray]]


# --- compositing ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pixels:
    """What rays see.

    rgb (n_rays, 3); depth (n_rays,) mean distance of the samples by weight, 0 for a ray without any weight;
    accumulation (n_rays,) = 1 - transmittance; transmittance (n_rays,) at the end of the ray;
    weights (n,) of the samples, zero for those not kept.
    """

    rgb: Tensor
    depth: Tensor
    accumulation: Tensor
    transmittance: Tensor
    weights: Tensor


@torch.no_grad()
def survivors(
    samples: Samples, density: Tensor, min_weight: float, stop_transmittance: float
) -> tuple[Tensor, Tensor]:
    """Which samples come before their ray ends (alive), and which of those weigh enough (kept).

    Both (n,) bool. A ray ends behind the sample that takes its transmittance below
    ``stop_transmittance``. Samples that weigh at most ``min_weight`` still attenuate what is behind them,
    but get no colour and no gradient.
    """
    length = dense(samples.length, samples)
    weights, transmittance, _ = nerfacc.render_weight_from_density(
        torch.zeros_like(length), length, dense(density, samples)
    )
    transmittance[:, :1] = 1.0  # the first sample is always alive
    alive = packed(transmittance, samples) >= stop_transmittance
    return alive, alive & (packed(weights, samples) > min_weight)


def composite(
    samples: Samples,
    density: Tensor,
    rgb: Tensor,
    backgrounds: Tensor,
    alive: Tensor,
    kept: Tensor,
) -> Pixels:
    """Densities (n,) and colours (n, 3) of samples → what their rays see (NeRF's quadrature).

    Max, "Optical models for direct volume rendering", 1995. backgrounds (n_rays, 3); alive and kept
    from ``survivors``. The weights are nerfacc's batched ones on (n_rays, most) tensors, padded with
    empty samples. Differentiable with respect to backgrounds, and density and rgb of the kept samples.
    """
    sigma = torch.where(kept, density, density.detach())
    sigma = dense(torch.where(alive, sigma, torch.zeros_like(sigma)), samples)
    length = dense(samples.length, samples)
    all_weights, _, _ = nerfacc.render_weight_from_density(torch.zeros_like(length), length, sigma)
    weights = torch.where(kept, packed(all_weights, samples), 0.0)
    transmittance = torch.exp(-(sigma * length).sum(1))
    n_rays = len(samples.counts)
    per_ray = rgb.new_zeros(n_rays, 3).index_add(0, samples.ray, weights[:, None] * rgb)
    total = weights.new_zeros(n_rays).index_add(0, samples.ray, weights)
    distance = weights.new_zeros(n_rays).index_add(0, samples.ray, weights * samples.t)
    return Pixels(
        rgb=per_ray + transmittance[:, None] * backgrounds,
        depth=torch.where(total > 0, distance / torch.where(total > 0, total, 1.0), 0.0),
        accumulation=1 - transmittance,
        transmittance=transmittance,
        weights=weights,
    )


def exposed(rgb: Tensor, exposure: Tensor) -> Tensor:
    """Colours (n, 3) of the scene, without background, as photos with log-gains (n, 3) show them."""
    return rgb * exposure.exp()


# --- losses ---------------------------------------------------------------------------------------


def huber(error: Tensor, delta: float) -> Tensor:
    """½ error² up to ``delta``, growing linearly beyond (Huber 1964); any shape."""
    a = error.abs()
    return torch.where(a <= delta, 0.5 * a * a, delta * (a - 0.5 * delta))


def distortion_loss(weights: Tensor, t: Tensor, length: Tensor) -> Tensor:
    """The distortion loss (n_rays,), which penalises fog: mip-NeRF 360, eq. 15, over log distance.

    Σ_ij w_i w_j |m_i - m_j| + ⅓ Σ_i w_i² Δ_i with m = log(t + length / 2), Δ = log(1 + length / t).
    weights, t, length (n_rays, s); padding has weight 0 and any t > 0.
    """
    m, width = torch.log(t + 0.5 * length), torch.log(1 + length / t)
    pairs = weights[:, :, None] * weights[:, None, :] * (m[:, :, None] - m[:, None, :]).abs()
    return pairs.sum((1, 2)) + (weights * weights * width).sum(1) / 3


def distortion_of(samples: Samples, weights: Tensor, index: Tensor) -> Tensor:
    """``distortion_loss`` (n_rays,) of the packed samples that ``index`` (k,) picks, in linear time.

    Mid-points grow along a ray, so the sum over pairs is 2 Σ_i w_i (m_i Σ_{j<i} w_j - Σ_{j<i} w_j m_j).
    weights (n,) of all samples.
    """
    some = picked(samples, index)
    w = dense(weights[index], some)
    m = dense(torch.log(some.t + 0.5 * some.length), some)
    width = dense(torch.log(1 + some.length / some.t), some)
    before, moment_before = w.cumsum(1) - w, (w * m).cumsum(1) - w * m
    return (2 * w * (m * before - moment_before) + w * w * width / 3).sum(1)


def sky_pull(t: Tensor, distance: float) -> Tensor:
    """Loss per unit of weight for samples at t (n,) on rays that may see sky; 0 from ``distance`` on."""
    return torch.log(distance / t).clamp_min(0)


def near_gradient_scale(t: Tensor, full: float) -> Tensor:
    """The factor (n,) for gradients of samples at distances t (n,): (t / full)² up to ``full``, then 1.

    Philip & Deschaintre, "Floaters No More", 2023. With ``full`` = 0 the factor is always 1.
    """
    return torch.ones_like(t) if full == 0 else (t / full).clamp(max=1) ** 2


def scale_gradient(x: Tensor, scale: Tensor) -> Tensor:
    """Returns ``x`` itself, but its gradient is multiplied by ``scale``."""
    return x * scale + x.detach() * (1 - scale)


def depth_cost(t: Tensor, known: Tensor, slack: float, most: float) -> Tensor:
    """Loss per unit of weight for samples at t (n,) on rays that should end at distance ``known`` (n,).

    It is |log(t / known)| - slack, clamped to 0 … ``most``, and 0 where ``known`` is 0, which means unknown.
    The background's weight costs ``most``.
    """
    off = torch.log(t / known.clamp_min(1e-30)).abs() - slack
    return off.clamp(0, most) * (known > 0)

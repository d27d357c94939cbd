"""The training loss in torch: the samples on rays, what the rays see, and how much that costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerfscene.ops import reference as ref
from nerfscene.ops.torch_field import Field
from nerfscene.ops.torch_options import TrainOptions
from nerfscene.ops.torch_photos import Rays


@dataclass(frozen=True)
class MarchedSamples:
    """All samples on some rays, and which of them matter.

    density (n,): without gradient; alive, kept (n,): see ``reference.survivors``
    index (k,): the kept samples
    """

    samples: ref.Samples
    density: Tensor
    alive: Tensor
    kept: Tensor
    index: Tensor


def march_rays(field: Field, options: TrainOptions, rays: Rays) -> MarchedSamples:
    """The first pass: all samples on rays with their densities, without gradients."""
    o = options
    s = ref.march(rays.origins, rays.directions, rays.jitter, field.occupancy, field.space, o.coarseness)
    density = field.densities(s.unit)
    alive, kept = ref.survivors(s, density, o.min_weight, o.stop_transmittance)
    return MarchedSamples(s, density, alive, kept, torch.nonzero(kept)[:, 0])


def seen_pixels(
    field: Field,
    options: TrainOptions,
    rays: Rays,
    ray_vectors: Tensor,
    marched: MarchedSamples,
    parameters: list[Tensor],
) -> ref.Pixels:
    """The second pass: what rays see, from the kept samples alone, with gradients.

    ``parameters``: the field's, see ``Field.parameters``; the result is differentiable with respect to them.
    ``ray_vectors``: the rays' origins and directions (n, 6) again. If they require gradients, these flow
    through the samples' positions only: distances and the directions that colours depend on are constants.
    """
    s, index = marched.samples, marched.index
    ray, unit = s.ray[index], s.unit[index]
    if ray_vectors.requires_grad:
        points = ray_vectors[ray, :3] + ray_vectors[ray, 3:] * s.t[index, None]
        unit = ref.to_unit(points, field.space)
    density, rgb = field.at(unit, rays.directions[ray], parameters)
    scale = ref.near_gradient_scale(s.t[index], options.full_gradient_distance)
    density = ref.scale_gradient(density, scale)
    rgb = ref.scale_gradient(rgb, scale[:, None])
    return ref.composite(
        s,
        marched.density.index_put((index,), density),
        torch.zeros(len(s.t), 3).index_put((index,), rgb),
        rays.backgrounds,
        marched.alive,
        marched.kept,
    )


def ray_loss(
    options: TrainOptions,
    rays: Rays,
    marched: MarchedSamples,
    pixels: ref.Pixels,
    exposures: Tensor,
    with_depth: bool,
) -> tuple[Tensor, Tensor]:
    """The loss summed over rays, and the rays' colour errors (n, 3), shown minus target.

    exposures (photos, 3); ``with_depth``: whether known depths count.
    """
    o, s, index = options, marched.samples, marched.index
    background = pixels.transmittance[:, None] * rays.backgrounds
    exposure = exposures[rays.photos.clamp_min(0)] * (rays.photos >= 0)[:, None]
    error = ref.exposed(pixels.rgb - background, exposure) + background - rays.targets
    counts = torch.ones(len(error)) if rays.left_out is None else (~rays.left_out).to(error.dtype)
    by_ray = ref.huber(error, o.huber_delta).sum(1) + 0.5 * o.exposure_pull * (exposure**2).sum(1)
    loss = (counts * by_ray).sum()
    if o.distortion > 0:
        loss = loss + o.distortion * (counts * ref.distortion_of(s, pixels.weights, index)).sum()
    if o.sky_pull > 0:
        cost = (rays.sky * counts)[s.ray[index]] * ref.sky_pull(s.t[index], o.sky_distance)
        loss = loss + o.sky_pull * (pixels.weights[index] * cost).sum()
    if o.depth_pull > 0 and with_depth:
        middle = s.t[index] + 0.5 * s.length[index]
        known = rays.known * counts
        cost = ref.depth_cost(middle, known[s.ray[index]], o.depth_slack, o.depth_most)
        missed = (pixels.transmittance * (known > 0)).sum()
        loss = loss + o.depth_pull * ((pixels.weights[index] * cost).sum() + o.depth_most * missed)
    return loss, error.detach()

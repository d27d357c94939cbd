"""Training steps in torch: the native module's ``TrainOptions`` and ``Trainer``.

The same model, the same rays for the same seed, the same losses and updates, so that the two can be
compared step by step; dense where the kernels are clever. It has no limits on memory to drop rays by.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerfscene.ops import draws
from nerfscene.ops import reference as ref
from nerfscene.ops.torch_field import (
    RAYS_AT_ONCE,
    Field,
    borrow,
    require,
    rows_of_three,
    using_threads,
)

MAX_RAYS = 1 << 17
MIN_RAYS = 64
EXPECTED_SURVIVORS = 64.0  # a ray's, while none has been traced
DEPTH_CELL = 4  # pixels a side
PLAIN_REACH, PLAIN_RANGE = 4, 6  # pixels; levels of 255: what is as alike as that may be sky
PROBE_BLOCK = 128  # cells are probed in multiples of this

Ints = np.ndarray[Any, Any]


@dataclass
class TrainOptions:
    """What a step is told; may change from step to step."""

    table_rate: float = 0.0
    weight_rate: float = 0.0
    beta1: float = 0.0
    beta2: float = 0.0
    epsilon: float = 0.0
    table_pull: float = 0.0
    min_weight: float = 0.0
    stop_transmittance: float = 0.0
    coarseness: float = 0.0
    huber_delta: float = 0.0
    distortion: float = 0.0
    full_gradient_distance: float = 0.0
    target_samples: int = 0
    occupancy_decay: float = 0.0
    occupancy_threshold: float = 0.0
    occupancy_every: int = 0
    occupancy_cells: int = 0
    exposure_rate: float = 0.0
    exposure_pull: float = 0.0
    sky_pull: float = 0.0
    sky_distance: float = 0.0
    depth_pull: float = 0.0
    depth_slack: float = 0.0
    depth_most: float = 0.0
    camera_every: int = 0


@dataclass(frozen=True)
class Rays:
    """Rays with what they should see: all (n, 3) but jitter, photos, sky and known (n,); colours 0…1.

    photos: whose exposure each has, below 0 for none; sky: whether it may see sky; known: how far away what
    it sees is, scene units, 0 for not known; pixels (n, 2): where in their photos, if drawn.
    """

    origins: Tensor
    directions: Tensor
    jitter: Tensor
    targets: Tensor
    backgrounds: Tensor
    photos: Tensor
    sky: Tensor
    known: Tensor
    pixels: Tensor | None = None


@dataclass(frozen=True)
class Photos:
    """Training photos: cameras' numbers, and all pixels one after another.

    intrinsics (cameras, 9), lens (cameras,), pose (cameras, 12); width, first_pixel (cameras + 1,) in
    pixels; pixels (all, channels) uint8; background (3,), or None for a random one each ray;
    chosen: running numbers of the pixels to train on, or None for all; depths: how far away what is seen is,
    for each cell of DEPTH_CELL² pixels, photo after photo, 0 for not known; None: nowhere.
    """

    intrinsics: Tensor
    lens: Tensor
    pose: Tensor
    width: np.ndarray[Any, Any]
    first_pixel: np.ndarray[Any, Any]
    pixels: np.ndarray[Any, Any]
    background: Tensor | None
    chosen: np.ndarray[Any, Any] | None = None
    depths: np.ndarray[Any, Any] | None = None


RAY_ARRAYS = ("origins", "directions", "jitter", "targets", "backgrounds", "photos", "sky", "known")


def camera_tensors(cameras: Sequence[tuple[Any, ...]]) -> tuple[Tensor, Tensor, Tensor]:
    """Cameras as ``Photos`` has them: intrinsics (n, 9), lens (n,), pose (n, 12)."""
    return (
        torch.tensor([list(c[0]) for c in cameras]),
        torch.tensor([int(c[1]) for c in cameras]),
        torch.tensor([list(c[4]) for c in cameras]),
    )


def empty_report() -> dict[str, Any]:
    """What ``run`` and ``gradients`` return, before anything has happened."""
    whole = ("steps", "rays", "candidates", "survivors", "dropped")
    real = ("squared_error", "occupied_fraction", "seconds_trace", "seconds_table")
    return dict.fromkeys(whole, 0) | dict.fromkeys((*real, "seconds_occupancy"), 0.0)


def draw_rays(photos: Photos, first_ray: int, n: int, seed: int, find_sky: bool) -> Rays:
    """The next ``n`` rays: pixels in a random order that visits each once an epoch.

    Which of them may see sky is looked for where it is asked for; else none does.
    """
    total = int(photos.first_pixel[-1]) if photos.chosen is None else len(photos.chosen)
    drawn = np.uint64(first_ray) + np.arange(n, dtype=np.uint64)
    epoch, ids = (drawn // np.uint64(total)).astype(np.uint32), drawn.astype(np.uint32)
    order = draws.mix32(np.uint32(seed) + epoch)
    pixel = draws.permute(drawn % np.uint64(total), total, order).astype(np.int64)
    if photos.chosen is not None:
        pixel = photos.chosen[pixel].astype(np.int64)
    camera = np.searchsorted(photos.first_pixel, pixel, side="right") - 1
    inside = pixel - photos.first_pixel[camera]
    width = photos.width[camera]
    xy = torch.from_numpy(np.stack([inside % width, inside // width], -1)).float() + 0.5
    o, d = torch.empty(n, 3), torch.empty(n, 3)
    of = torch.from_numpy(camera)
    for lens in photos.lens.unique().tolist():
        rows = torch.nonzero(photos.lens[of] == lens)[:, 0]
        k, pose = photos.intrinsics[of[rows]], photos.pose[of[rows]]
        o[rows], d[rows] = ref.pixel_rays(xy[rows], k, lens, pose)
    if photos.background is None:
        b = torch.from_numpy(np.stack([draws.random_unit(seed, ids, 2 + c) for c in range(3)], 1))
    else:
        b = photos.background.expand(n, 3)
    texels = torch.from_numpy(photos.pixels[pixel]).float() / 255
    alpha = texels[:, 3:] if texels.shape[1] == 4 else torch.ones(n, 1)
    jitter = torch.from_numpy(draws.random_unit(seed, ids, 1))
    sky = torch.zeros(n, dtype=torch.bool)
    if find_sky:
        up = np.flatnonzero(d[:, 2].numpy() > 0)
        column, row = inside[up] % width[up], inside[up] // width[up]
        sky[torch.from_numpy(up)] = torch.from_numpy(is_plain(photos, camera[up], column, row))
    known = torch.zeros(n)
    if photos.depths is not None:
        known = torch.from_numpy(known_depths(photos, camera, inside % width, inside // width))
    return Rays(o, d, jitter, texels[:, :3] * alpha + (1 - alpha) * b, b, of, sky, known, xy)


def heights(photos: Photos) -> np.ndarray[Any, Any]:
    """Of all photos, in pixels."""
    return np.diff(photos.first_pixel) // photos.width


def depth_cells(photos: Photos) -> np.ndarray[Any, Any]:
    """How many cells each photo's known depths have."""
    return -(-photos.width // DEPTH_CELL) * -(-heights(photos) // DEPTH_CELL)


def known_depths(photos: Photos, camera: Ints, column: Ints, row: Ints) -> np.ndarray[Any, Any]:
    """How far away what these pixels (n,) show is; 0 where it is not known."""
    assert photos.depths is not None
    first = np.cumsum([0, *depth_cells(photos)[:-1]])
    across = -(-photos.width[camera] // DEPTH_CELL)
    return photos.depths[first[camera] + row // DEPTH_CELL * across + column // DEPTH_CELL]


def is_plain(photos: Photos, camera: Ints, column: Ints, row: Ints) -> np.ndarray[Any, Any]:
    """Whether photos look alike all round these pixels (n,): nothing tells there how far away things are."""
    width, first = photos.width[camera], photos.first_pixel[camera]
    height = heights(photos)[camera]
    here = photos.pixels[first + row * width + column, :3].astype(np.int64)
    plain = np.ones(len(camera), bool)
    for dy in (-PLAIN_REACH, 0, PLAIN_REACH):
        for dx in (-PLAIN_REACH, 0, PLAIN_REACH):
            u, v = column + dx, row + dy
            inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
            there = photos.pixels[np.where(inside, first + v * width + u, first), :3].astype(np.int64)
            plain &= ~inside | (np.abs(there - here).max(1) <= PLAIN_RANGE)
    return plain


class Trainer:
    """Trains a field in place, on numpy arrays that it borrows.

    table: (rows, features) float32, the master copy; table_moments (rows, 2, features);
    weight_moments (2 · weights,); occupancy_values (cells,); allowed: (cells / 32,) uint32 bits or
    None; cameras: (intrinsics (9), lens, width, height, pose (12)) each; pixels uint8.
    """

    def __init__(
        self,
        field: Field,
        table: Any,
        table_moments: Any,
        weight_moments: Any,
        occupancy_values: Any,
        allowed: Any,
        cameras: Sequence[tuple[Any, ...]],
        pixels: Any,
        channels: int,
        random_background: bool,
        background: Sequence[float],
        seed: int,
        threads: int,
        exposures: Any = None,
        exposure_moments: Any = None,
        chosen: Any = None,
        camera_gradients: Any = None,
        depths: Any = None,
    ) -> None:
        grid, cells = field.grid, field.space.occupancy_resolution**3
        shape = (grid.rows, grid.features)
        self.field = field
        self.table, self.table_moments = borrow(table), borrow(table_moments)
        entries = grid.rows * grid.features
        fits = self.table.numel() == entries and self.table_moments.numel() == 2 * entries
        require(fits, "table and its moments' sizes")
        self.table = self.table.reshape(shape)
        self.table_moments = self.table_moments.reshape(grid.rows, 2, grid.features)
        self.weight_moments = borrow(weight_moments)
        require(self.weight_moments.numel() == 2 * field.n_weights, "weight moments' size")
        self.weight_moments = self.weight_moments.reshape(2, -1)
        self.occupancy_values = borrow(occupancy_values).reshape(-1)
        require(self.occupancy_values.numel() == cells, "one occupancy value a cell")
        self.allowed = None if allowed is None else borrow(allowed, np.uint32, np.int32)
        require(self.allowed is None or self.allowed.numel() * 32 == cells, "one allowed bit a cell")
        require(channels in (3, 4), "photos have 3 or 4 channels")
        require(len(background) == 3, "background is three numbers")
        counts = [c[2] * c[3] for c in cameras]
        borrow(pixels, np.uint8)
        require(bool(cameras) and pixels.size == sum(counts) * channels, "photos' sizes and pixels")
        self.photos = Photos(
            *camera_tensors(cameras),
            np.array([c[2] for c in cameras]),
            np.cumsum([0, *counts]),
            pixels.reshape(-1, channels),
            None if random_background else torch.tensor(list(background)),
            chosen,
            depths,
        )
        if depths is not None:
            borrow(depths)
            require(depths.size == depth_cells(self.photos).sum(), "one depth for 4×4 pixels of each photo")
        self.camera_gradients: Tensor | None = None
        if camera_gradients is not None:
            self.camera_gradients = borrow(camera_gradients).reshape(-1, ref.CAMERA_GRADIENT)
            require(len(self.camera_gradients) == len(cameras), "cameras' gradients are (photos, 15)")
        if chosen is not None:
            borrow(chosen, np.uint32, np.int32)
            require(chosen.size > 0, "no pixel is left to train on")
            require(int(chosen.max()) < sum(counts), "chosen pixels must be among the photos'")
        self.exposures = torch.zeros(len(cameras), 3)
        self.exposure_moments = torch.zeros(len(cameras), 2, 3)
        if exposures is not None:
            e, m = borrow(exposures), borrow(exposure_moments)
            fits = e.numel() == 3 * len(cameras) and m.numel() == 6 * len(cameras)
            require(fits, "exposures are (photos, 3)")
            self.exposures, self.exposure_moments = e.reshape(-1, 3), m.reshape(-1, 2, 3)
        self.seed, self.threads = seed, threads
        self.step = 0
        self.rays_drawn = 0
        self.survivors_per_ray = 0.0  # smoothed; 0: not known yet
        self.occupancy_mean = 1e30
        self._cells_probed = 0
        self.refresh()

    def refresh(self) -> None:
        """Renews the weights' transposed copies."""
        turned = [w.T.reshape(-1) for w in self.field.layers()]
        self.field.weights_t.copy_(torch.cat(turned).reshape(self.field.weights_t.shape))

    def set_cameras(self, cameras: Sequence[tuple[Any, ...]]) -> None:
        """The same photos' cameras, refined."""
        require([c[2] for c in cameras] == self.photos.width.tolist(), "photos keep their sizes")
        intrinsics, lens, pose = camera_tensors(cameras)
        self.photos = replace(self.photos, intrinsics=intrinsics, lens=lens, pose=pose)

    def run(self, options: TrainOptions, steps: int, seconds: float) -> dict[str, Any]:
        """Up to ``steps`` steps, fewer when ``seconds`` have passed; returns what happened."""
        report = empty_report()
        start = time.perf_counter()
        with using_threads(self.threads):
            while report["steps"] < steps and time.perf_counter() - start < seconds:
                self._take_step(options, report)
        return report

    def gradients(
        self,
        options: TrainOptions,
        origins: Any,
        directions: Any,
        jitter: Any,
        targets: Any,
        backgrounds: Any,
        d_table: Any,
        d_weights: Any,
        photos: Any = None,
        d_exposures: Any = None,
        d_rays: Any = None,
        known: Any = None,
    ) -> dict[str, Any]:
        """Loss and gradients on given rays, with no parameter updated. Overwrites all outputs.

        photos: (n,) int32, whose exposure each ray has; d_exposures: (photos, 3), theirs;
        d_rays: (n, 6), by rays' origins and directions; known: (n,), how far away what they see is, or 0.
        """
        j = borrow(jitter)
        o, d, c, b = (rows_of_three(a, j.numel()) for a in (origins, directions, targets, backgrounds))
        to_table, to_weights = borrow(d_table), borrow(d_weights)
        fits = to_table.numel() == self.table.numel() and to_weights.numel() == self.field.n_weights
        require(fits, "gradients are like the table and the weights")
        report = empty_report()
        of = torch.full((j.numel(),), -1) if photos is None else borrow(photos, np.int32).long()
        require(of.numel() == j.numel(), "rays differ in number")
        require(bool((of < len(self.exposures)).all()), "rays belong to photos that there are")
        ends = torch.zeros(j.numel()) if known is None else borrow(known)
        require(ends.numel() == j.numel(), "rays differ in number")
        rays = Rays(o, d, j, c, b, of, d[:, 2] > 0, ends)
        table, weights, exposures, by_rays = self._gradients(options, rays, report, d_rays is not None)
        if d_rays is not None:
            to_rays = borrow(d_rays)
            require(to_rays.numel() == by_rays.numel(), "gradients of rays are (n, 6)")
            to_rays.copy_(by_rays.reshape(to_rays.shape))
        if photos is not None:
            to_exposures = borrow(d_exposures)
            require(to_exposures.numel() == exposures.numel(), "gradients of exposures are (photos, 3)")
            to_exposures.copy_(exposures.reshape(to_exposures.shape))
        to_table.copy_(table.reshape(to_table.shape))
        to_weights.copy_(weights.reshape(to_weights.shape))
        return report

    def _gradients(
        self, options: TrainOptions, rays: Rays, report: dict[str, Any], cameras: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients of the mean loss over rays: to the table (rows, features), the weights, the exposures.

        And with ``cameras``, to rays' origins and directions (n, 6).
        The halves are what is read; their gradient is taken for the master's (straight through).
        """
        field = self.field
        exposures = self.exposures.clone().requires_grad_()
        leaves = field.leaves()
        sums: list[Tensor] = []
        n = len(rays.jitter)
        by_rays = torch.zeros(n, 6)
        for i in range(0, n, RAYS_AT_ONCE):
            some = slice(i, i + RAYS_AT_ONCE)
            part = Rays(*(getattr(rays, name)[some] for name in RAY_ARRAYS))
            ends = torch.cat([part.origins, part.directions], 1).requires_grad_(cameras)
            loss = self._loss(options, part, ends, leaves, exposures, report)
            if loss.requires_grad:
                of = [*leaves, exposures, *([ends] if cameras else [])]
                parts = field.gradients(loss, n, of)
                if cameras:
                    by_rays[some] = parts.pop()
                sums = [a.add_(b) for a, b in zip(sums, parts, strict=True)] if sums else parts
        report["rays"] += n
        sums = sums or [torch.zeros_like(p, dtype=torch.float32) for p in (*leaves, exposures)]
        table, weights = field.arranged(sums[:-1])
        return table.to(self.table.device), weights.to(self.table.device), sums[-1], by_rays

    def _loss(
        self,
        options: TrainOptions,
        rays: Rays,
        ends: Tensor,
        parameters: list[Tensor],
        exposures: Tensor,
        report: dict[str, Any],
    ) -> Tensor:
        """The loss summed over rays, in two passes: densities to see what matters, then that alone.

        ``ends``: the rays' origins and directions (n, 6) once more, to take gradients of: through where
        samples lie, whose distances and whose colours' direction stay what they are.
        """
        f, o = self.field, options
        s = ref.march(rays.origins, rays.directions, rays.jitter, f.occupancy, f.space, o.coarseness)
        sigma = f.densities(s.unit)
        alive, kept = ref.survivors(s, sigma, o.min_weight, o.stop_transmittance)
        self._note_thickness(s.unit[alive], s.points[alive], sigma[alive])
        index = torch.nonzero(kept)[:, 0]
        of, unit = s.ray[index], s.unit[index]
        if ends.requires_grad:
            unit = ref.to_unit(ends[of, :3] + ends[of, 3:] * s.t[index, None], f.space.unbounded)
        density, rgb = f.at(unit, rays.directions[of], parameters)
        scale = ref.near_gradient_scale(s.t[index], o.full_gradient_distance)
        density = ref.scale_gradient(density, scale)
        rgb = ref.scale_gradient(rgb, scale[:, None])
        seen = ref.composite(
            s,
            sigma.index_put((index,), density),
            torch.zeros(len(s.t), 3).index_put((index,), rgb),
            rays.backgrounds,
            alive,
            kept,
        )
        through = seen.transmittance[:, None] * rays.backgrounds
        mine = exposures[rays.photos.clamp_min(0)] * (rays.photos >= 0)[:, None]
        error = ref.exposed(seen.rgb - through, mine) + through - rays.targets
        loss = ref.huber(error, o.huber_delta).sum() + 0.5 * o.exposure_pull * (mine**2).sum()
        if o.distortion > 0:
            loss = loss + o.distortion * ref.distortion_of(s, seen.weights, index).sum()
        if o.sky_pull > 0:
            pulled = rays.sky[s.ray[index]] * ref.sky_pull(s.t[index], o.sky_distance)
            loss = loss + o.sky_pull * (seen.weights[index] * pulled).sum()
        if o.depth_pull > 0 and not ends.requires_grad:  # cameras follow colours alone
            middle = s.t[index] + 0.5 * s.length[index]
            off = ref.depth_cost(middle, rays.known[s.ray[index]], o.depth_slack, o.depth_most)
            missed = (seen.transmittance * (rays.known > 0)).sum()
            loss = loss + o.depth_pull * ((seen.weights[index] * off).sum() + o.depth_most * missed)
        report["squared_error"] += float((error.detach().double() ** 2).sum())
        report["candidates"] += len(s.t)
        report["survivors"] += len(index)
        return loss

    @torch.no_grad()
    def _note_thickness(self, unit: Tensor, points: Tensor, density: Tensor) -> None:
        """Raises cells' values to the optical thickness met in them."""
        space = self.field.space
        cell = ref.occupancy_cell(unit, space.occupancy_resolution)
        thickness = density * ref.reference_step(points, space)
        self.occupancy_values.scatter_reduce_(0, cell, thickness, "amax")

    def _take_step(self, options: TrainOptions, report: dict[str, Any]) -> None:
        """Draw, trace, update, and from time to time look at what is empty."""
        begin = time.perf_counter()
        expected = self.survivors_per_ray or EXPECTED_SURVIVORS
        n = int(min(max(options.target_samples / expected, MIN_RAYS), MAX_RAYS))
        rays = draw_rays(self.photos, self.rays_drawn, n, self.seed, options.sky_pull > 0)
        self.rays_drawn += n
        before = report["survivors"]
        every = options.camera_every if self.camera_gradients is not None else 0
        cameras = every > 0 and self.step % every == 0
        d_table, d_weights, d_exposures, d_rays = self._gradients(options, rays, report, cameras)
        if cameras:
            self._add_camera_gradients(rays, d_rays)
        traced = time.perf_counter()
        self._update_table(options, d_table)
        self._update_weights(options, d_weights)
        self._update_exposures(options, d_exposures)
        updated = time.perf_counter()
        self.step += 1
        report["steps"] += 1
        if options.occupancy_every > 0 and self.step % options.occupancy_every == 0:
            report["occupied_fraction"] = self._update_occupancy(options)
        ratio = max((report["survivors"] - before) / n, 0.05)
        known = self.survivors_per_ray > 0
        self.survivors_per_ray = 0.8 * self.survivors_per_ray + 0.2 * ratio if known else ratio
        report["seconds_trace"] += traced - begin
        report["seconds_table"] += updated - traced
        report["seconds_occupancy"] += time.perf_counter() - updated

    def _add_camera_gradients(self, rays: Rays, d_rays: Tensor) -> None:
        """Rays' gradients (n, 6) → added to their cameras'."""
        assert self.camera_gradients is not None and rays.pixels is not None
        p = self.photos
        for lens in p.lens.unique().tolist():
            rows = torch.nonzero(p.lens[rays.photos] == lens)[:, 0]
            of = rays.photos[rows]
            by_camera = ref.camera_gradient(
                rays.pixels[rows], p.intrinsics[of], lens, p.pose[of], d_rays[rows]
            )
            self.camera_gradients.index_add_(0, of, by_camera)

    @torch.no_grad()
    def _update_table(self, o: TrainOptions, gradient: Tensor) -> None:
        """Adam on the rows that have any gradient; others keep even their moments."""
        rows = torch.nonzero((gradient != 0).any(1))[:, 0]
        m, v = self.table_moments[rows].unbind(1)
        new, m, v = ref.adam(
            self.table[rows], gradient[rows], m, v, o.table_rate, o.beta1, o.beta2, o.epsilon, o.table_pull
        )
        self.table[rows] = new
        self.table_moments[rows] = torch.stack([m, v], 1)
        self.field.table[rows] = ref.to_half(new)

    @torch.no_grad()
    def _update_weights(self, o: TrainOptions, gradient: Tensor) -> None:
        """Adam on all weights."""
        m, v = self.weight_moments
        flat = self.field.weights.reshape(-1)
        new, m, v = ref.adam(flat, gradient, m, v, o.weight_rate, o.beta1, o.beta2, o.epsilon)
        flat.copy_(new)
        self.weight_moments.copy_(torch.stack([m, v]))
        self.refresh()

    @torch.no_grad()
    def _update_exposures(self, o: TrainOptions, gradient: Tensor) -> None:
        """Adam on the photos that have any gradient; then the mean over all photos is 0 again."""
        if o.exposure_rate <= 0:
            return
        rows = torch.nonzero((gradient != 0).any(1))[:, 0]
        m, v = self.exposure_moments[rows].unbind(1)
        new, m, v = ref.adam(
            self.exposures[rows], gradient[rows], m, v, o.exposure_rate, o.beta1, o.beta2, o.epsilon
        )
        self.exposures[rows] = new
        self.exposure_moments[rows] = torch.stack([m, v], 1)
        self.exposures -= self.exposures.mean(0)

    @torch.no_grad()
    def _update_occupancy(self, o: TrainOptions) -> float:
        """Probes some cells at random, lets all values decay and renews the bits; the fraction set.

        Cells that were thought empty are probed in turn, or nothing could ever appear in them.
        """
        space, values = self.field.space, self.occupancy_values
        r, cells = space.occupancy_resolution, len(values)
        n = -(-o.occupancy_cells // PROBE_BLOCK) * PROBE_BLOCK
        drawn = np.uint64(self._cells_probed) + np.arange(n, dtype=np.uint64)
        self._cells_probed += n
        turn, ids = (drawn // np.uint64(cells)).astype(np.uint32), drawn.astype(np.uint32)
        cell = draws.permute(drawn % np.uint64(cells), cells, np.uint32(self.seed) + turn)
        cell = cell.astype(np.int64)
        corner = np.stack([cell % r, cell // r % r, cell // r // r], 1).astype(np.float32)
        offset = np.stack([draws.random_unit(self.seed, ids, 11 + a) for a in range(3)], 1)
        unit = torch.from_numpy((corner + offset) / np.float32(r))
        points = ref.from_unit(unit, space.unbounded)
        thickness = self.field.densities(unit) * ref.reference_step(points, space)
        values.scatter_reduce_(0, torch.from_numpy(cell), thickness, "amax")
        values *= o.occupancy_decay
        bits = np.packbits(values.cpu().numpy() > min(o.occupancy_threshold, self.occupancy_mean),
                           bitorder="little").view(np.int32)  # fmt: skip
        words = torch.from_numpy(bits)
        if self.allowed is not None:
            words = words & self.allowed
        self.field.occupancy.copy_(words)
        self.occupancy_mean = float(values.double().mean())
        return float(np.unpackbits(words.cpu().numpy().view(np.uint8)).mean())

"""Training steps in torch: the compiled modules' ``Trainer``.

The same model, losses and updates, and with the same seed the same rays, so that the two can be compared step
by step. It has no memory limit at which rays are dropped. The parts are in ``torch_photos`` (drawing rays),
``torch_loss`` and ``torch_updates``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerfscene.ops import reference as ref
from nerfscene.ops import torch_loss, torch_updates
from nerfscene.ops.torch_arrays import borrow, require, rows_of_three, using_threads
from nerfscene.ops.torch_field import RAYS_AT_ONCE, Field
from nerfscene.ops.torch_options import TrainOptions, empty_report
from nerfscene.ops.torch_photos import (
    Rays,
    borrow_photos,
    camera_tensors,
    draw_rays,
    part_of,
    trained_pixels,
    with_cells,
)

MAX_RAYS = 1 << 17
MIN_RAYS = 64
EXPECTED_SURVIVORS = 64.0  # samples per ray that get a gradient, assumed until rays have been traced


class Trainer:
    """Trains a field in place, on numpy arrays that it borrows.

    To save a training run and resume it, read and set ``step``, ``rays_drawn``, ``survivors_per_ray``
    (smoothed; 0 before the first step) and ``occupancy_mean``.
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
        photo_cells: Any = None,
        cell_side: int = 0,
    ) -> None:
        """Borrows the arrays, which are float32 unless another type is given.

        table: (rows, features), the float32 master copy; table_moments (rows, 2, features)
        weight_moments: (2 · weights,); occupancy_values: (cells,)
        allowed: (cells / 32,) uint32, bits of the cells that may be occupied; None: all
        cameras: one tuple per photo: intrinsics (9), lens, width, height, pose (12)
        pixels: uint8, channels per pixel; these, background, chosen, depths: see ``torch_photos.Photos``
        exposures: (photos, 3), log-gains; exposure_moments (photos, 2, 3); None: the trainer makes its own
        photo_cells, cell_side: see ``torch_photos.Photos.cells``
        camera_gradients: (photos, 15), added to, see ``reference.camera_gradient``; None: not computed
        Raises ValueError or TypeError if an array has the wrong size or type.
        So many parameters because the compiled modules' ``Trainer`` is called with the same ones.
        """
        cells = field.space.occupancy_resolution**3
        self.field = field
        self._borrow_parameters(table, table_moments, weight_moments)
        self.occupancy_values = borrow(occupancy_values).reshape(-1)
        require(self.occupancy_values.numel() == cells, "occupancy_values must have one number per cell")
        self.allowed = None if allowed is None else borrow(allowed, np.uint32, np.int32)
        fits = self.allowed is None or self.allowed.numel() * 32 == cells
        require(fits, "allowed must have one bit per cell")
        require(len(background) == 3, "background must be three numbers")
        plain = None if random_background else torch.tensor(list(background))
        self.photos = borrow_photos(cameras, pixels, channels, plain, chosen, depths)
        if photo_cells is not None:
            self.photos = with_cells(self.photos, photo_cells, cell_side)
        self._borrow_camera_arrays(len(cameras), exposures, exposure_moments, camera_gradients)
        self.seed, self.threads = seed, threads
        self.step = 0
        self.rays_drawn = 0
        self.survivors_per_ray = 0.0
        self.occupancy_mean = 1e30
        self._cells_probed = 0
        self._errors: list[Tensor] = []  # of the rays of this step, (n, 3) each
        self.refresh()

    def _borrow_parameters(self, table: Any, table_moments: Any, weight_moments: Any) -> None:
        grid = self.field.grid
        self.table, self.table_moments = borrow(table), borrow(table_moments)
        entries = grid.rows * grid.features
        fits = self.table.numel() == entries and self.table_moments.numel() == 2 * entries
        require(fits, "table must have the size of the field's table, and table_moments twice that")
        self.table = self.table.reshape(grid.rows, grid.features)
        self.table_moments = self.table_moments.reshape(grid.rows, 2, grid.features)
        self.weight_moments = borrow(weight_moments)
        fits = self.weight_moments.numel() == 2 * self.field.n_weights
        require(fits, "weight_moments must have twice as many numbers as the weights")
        self.weight_moments = self.weight_moments.reshape(2, -1)

    def _borrow_camera_arrays(
        self, photos: int, exposures: Any, exposure_moments: Any, camera_gradients: Any
    ) -> None:
        self.camera_gradients: Tensor | None = None
        if camera_gradients is not None:
            self.camera_gradients = borrow(camera_gradients).reshape(-1, ref.CAMERA_GRADIENT)
            require(len(self.camera_gradients) == photos, "camera_gradients must be (photos, 15)")
        self.exposures = torch.zeros(photos, 3)
        self.exposure_moments = torch.zeros(photos, 2, 3)
        if exposures is not None:
            e, m = borrow(exposures), borrow(exposure_moments)
            fits = e.numel() == 3 * photos and m.numel() == 6 * photos
            require(fits, "exposures must be (photos, 3), and their moments (photos, 2, 3)")
            self.exposures, self.exposure_moments = e.reshape(-1, 3), m.reshape(-1, 2, 3)

    def refresh(self) -> None:
        """Updates the field's transposed copy of the weights."""
        transposed = [w.T.reshape(-1) for w in self.field.layers()]
        self.field.weights_t.copy_(torch.cat(transposed).reshape(self.field.weights_t.shape))

    def fetch(self) -> None:
        """Does nothing: the given arrays are always up to date."""

    def set_cameras(self, cameras: Sequence[tuple[Any, ...]]) -> None:
        """Replaces the photos' cameras by refined ones. Raises ValueError if a photo's width differs."""
        same = [c[2] for c in cameras] == self.photos.width.tolist()
        require(same, "the photos' sizes must stay the same")
        intrinsics, lens, pose = camera_tensors(cameras)
        self.photos = replace(self.photos, intrinsics=intrinsics, lens=lens, pose=pose)

    def draw_from(self, parts: Any, size: int) -> None:
        """From now on draws only from these parts, of ``size`` pixels each; without any, from all pixels.

        parts: uint64, where each begins among the pixels to train on. Raises ValueError if one doesn't fit.
        """
        pixels = trained_pixels(self.photos)
        require(0 < size <= pixels, "parts must have one pixel or more, and fit into the photos")
        require(not len(parts) or int(parts.max()) <= pixels - size, "parts must lie in the photos")
        self.photos = replace(self.photos, parts=parts if len(parts) else None, part_size=size)

    def run(self, options: TrainOptions, steps: int, seconds: float) -> dict[str, Any]:
        """Takes up to ``steps`` steps, fewer once ``seconds`` have passed; returns one report of all."""
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
        """Gradients of the loss on given rays; updates no parameter. Returns the report.

        The rays, n of them, are as in ``torch_photos.Rays``; photos int32 (n,), known (n,).
        Overwrites d_table and d_weights (like the table and the weights), d_exposures (photos, 3) if
        ``photos`` is given, and d_rays (n, 6), with respect to rays' origins and directions, if given.
        Raises ValueError or TypeError if an array has the wrong size or type.
        So many parameters because the compiled modules' ``gradients`` is called with the same ones.
        """
        j = borrow(jitter)
        o, d, c, b = (rows_of_three(a, j.numel()) for a in (origins, directions, targets, backgrounds))
        to_table, to_weights = borrow(d_table), borrow(d_weights)
        fits = to_table.numel() == self.table.numel() and to_weights.numel() == self.field.n_weights
        require(fits, "d_table and d_weights must have the sizes of the table and the weights")
        report = empty_report()
        photo = torch.full((j.numel(),), -1) if photos is None else borrow(photos, np.int32).long()
        require(photo.numel() == j.numel(), "all arrays of rays must have the same number of rays")
        known_photos = bool((photo < len(self.exposures)).all())
        require(known_photos, "a ray's photo must be one of the trainer's photos")
        depth = torch.zeros(j.numel()) if known is None else borrow(known)
        require(depth.numel() == j.numel(), "all arrays of rays must have the same number of rays")
        rays = Rays(o, d, j, c, b, photo, d[:, 2] > 0, depth)
        g_table, g_weights, g_exposures, g_rays = self._gradients(options, rays, report, d_rays is not None)
        if d_rays is not None:
            to_rays = borrow(d_rays)
            require(to_rays.numel() == g_rays.numel(), "d_rays must be (n, 6)")
            to_rays.copy_(g_rays.reshape(to_rays.shape))
        if photos is not None:
            to_exposures = borrow(d_exposures)
            fits = to_exposures.numel() == g_exposures.numel()
            require(fits, "gradients of exposures must be (photos, 3)")
            to_exposures.copy_(g_exposures.reshape(to_exposures.shape))
        to_table.copy_(g_table.reshape(to_table.shape))
        to_weights.copy_(g_weights.reshape(to_weights.shape))
        return report

    def _gradients(
        self, options: TrainOptions, rays: Rays, report: dict[str, Any], cameras: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients of the mean loss over rays: of the table (rows, features), the weights, the exposures.

        And with ``cameras``, of rays' origins and directions (n, 6); otherwise these are zeros.
        The loss is computed with the binary16 table; its gradient is used for the float32 master copy
        (straight-through).
        """
        field = self.field
        exposures = self.exposures.clone().requires_grad_()
        leaves = field.leaves()
        sums: list[Tensor] = []
        n = len(rays.jitter)
        by_rays = torch.zeros(n, 6)
        for i in range(0, n, RAYS_AT_ONCE):
            some = slice(i, i + RAYS_AT_ONCE)
            part = part_of(rays, some)
            ray_vectors = torch.cat([part.origins, part.directions], 1).requires_grad_(cameras)
            loss = self._loss(options, part, ray_vectors, leaves, exposures, report)
            if loss.requires_grad:
                inputs = [*leaves, exposures, *([ray_vectors] if cameras else [])]
                parts = field.gradients(loss, n, inputs)
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
        ray_vectors: Tensor,
        parameters: list[Tensor],
        exposures: Tensor,
        report: dict[str, Any],
    ) -> Tensor:
        """The loss summed over rays. Also notes in the occupancy values and the report what it found.

        ``ray_vectors``: see ``torch_loss.seen_pixels``. Cameras learn from colours alone, so known depths
        don't count when ``ray_vectors`` requires gradients.
        """
        found = torch_loss.march_rays(self.field, options, rays)
        s, alive = found.samples, found.alive
        torch_updates.note_thickness(
            self.occupancy_values, self.field.space, s.unit[alive], s.points[alive], found.density[alive]
        )
        pixels = torch_loss.seen_pixels(self.field, options, rays, ray_vectors, found, parameters)
        with_depth = not ray_vectors.requires_grad
        loss, error = torch_loss.ray_loss(options, rays, found, pixels, exposures, with_depth)
        self._errors.append(error)
        counts = 1 if rays.left_out is None else (~rays.left_out)[:, None]
        report["squared_error"] += float((counts * error.double() ** 2).sum())
        report["candidates"] += len(s.t)
        report["survivors"] += len(found.index)
        return loss

    def _take_step(self, options: TrainOptions, report: dict[str, Any]) -> None:
        """One training step: draws rays, traces them, updates; at times updates the occupancy grid too."""
        begin = time.perf_counter()
        expected = self.survivors_per_ray or EXPECTED_SURVIVORS
        n = int(min(max(options.target_samples / expected, MIN_RAYS), MAX_RAYS))
        rays = draw_rays(self.photos, self.rays_drawn, n, self.seed, options.sky_pull > 0)
        self.rays_drawn += n
        before = report["survivors"]
        every = options.camera_every if self.camera_gradients is not None else 0
        cameras = every > 0 and self.step % every == 0
        self._errors.clear()
        d_table, d_weights, d_exposures, d_rays = self._gradients(options, rays, report, cameras)
        if rays.cell is not None and options.errors_every > 0:
            self._add_errors(rays.cell, torch.cat(self._errors), options.errors_every)
        if cameras:
            self._add_camera_gradients(rays, d_rays)
        traced = time.perf_counter()
        self._update_parameters(options, d_table, d_weights, d_exposures)
        updated = time.perf_counter()
        self.step += 1
        report["steps"] += 1
        if options.occupancy_every > 0 and self.step % options.occupancy_every == 0:
            report["occupied_fraction"] = self._update_occupancy(options)
        per_ray = max((report["survivors"] - before) / n, 0.05)
        first = self.survivors_per_ray == 0
        self.survivors_per_ray = per_ray if first else 0.8 * self.survivors_per_ray + 0.2 * per_ray
        report["seconds_trace"] += traced - begin
        report["seconds_table"] += updated - traced
        report["seconds_occupancy"] += time.perf_counter() - updated

    def _add_errors(self, cell: Tensor, error: Tensor, every: int) -> None:
        """Adds the errors (n, 3) of one ray in ``every`` to the cells (n,) that the rays go through."""
        assert self.photos.cells is not None
        added = torch.cat([error, torch.ones(len(error), 1)], 1)[::every]
        self.photos.cells[:, :-1].index_add_(0, cell[::every], added)

    def _add_camera_gradients(self, rays: Rays, d_rays: Tensor) -> None:
        """Adds rays' gradients (n, 6) to those of their cameras."""
        assert self.camera_gradients is not None and rays.pixels is not None
        p = self.photos
        for lens in p.lens.unique().tolist():
            rows = torch.nonzero(p.lens[rays.photos] == lens)[:, 0]
            photo = rays.photos[rows]
            by_camera = ref.camera_gradient(
                rays.pixels[rows], p.intrinsics[photo], lens, p.pose[photo], d_rays[rows]
            )
            self.camera_gradients.index_add_(0, photo, by_camera)

    @torch.no_grad()
    def _update_parameters(
        self, o: TrainOptions, d_table: Tensor, d_weights: Tensor, d_exposures: Tensor
    ) -> None:
        """Adam on the table, the weights and the exposures."""
        pull: Tensor | float = o.table_pull
        if o.pull_growth:
            pull = ref.level_pulls(self.field.grid, o.table_pull, o.pull_growth).to(self.table.device)
        rows, new = torch_updates.update_rows(self.table, self.table_moments, d_table, o.table_rate, o, pull)
        self.field.table[rows] = ref.to_half(new)
        weights = self.field.weights.reshape(-1)
        torch_updates.update_all(weights, self.weight_moments, d_weights, o.weight_rate, o)
        self.refresh()
        if o.exposure_rate > 0:
            torch_updates.update_rows(self.exposures, self.exposure_moments, d_exposures, o.exposure_rate, o)
            self.exposures -= self.exposures.mean(0)  # the mean exposure of all photos stays 0

    @torch.no_grad()
    def _update_occupancy(self, o: TrainOptions) -> float:
        """Probes some cells, lets all values decay and renews the bits; returns the occupied fraction."""
        values = self.occupancy_values
        n = o.occupancy_cells
        torch_updates.probe_cells(values, self.field, self.allowed, self._cells_probed, n, self.seed)
        self._cells_probed += n
        values *= o.occupancy_decay
        threshold = min(o.occupancy_threshold, self.occupancy_mean)
        words = torch_updates.occupied_bits(values, threshold, self.allowed)
        self.field.occupancy.copy_(words)
        self.occupancy_mean = float(values.double().mean())
        return float(np.unpackbits(words.cpu().numpy().view(np.uint8)).mean())

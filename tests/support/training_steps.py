"""Single training steps on small cases: trainers, their options, and the oracle's gradients of the loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import Case, assert_close, double, make_case, random_bits, random_rays

from nerfscene.field import hash_grid
from nerfscene.ops import reference as ref
from nerfscene.training import loop as training

RAYS = 48
CASES = {
    "bounded": make_case(20, gain=2.0),
    "bounded, one layer": make_case(21, color_layers=1, features=8, levels=3, gain=2.0),
    "bounded, network": make_case(22, color_layers=2, features=2, levels=8, gain=2.0),
    "unbounded": make_case(23, unbounded=True, near=0.2, step=0.02),
    "ahead": make_case(27, unbounded=True, near=0.2, step=0.02, ahead=True),
    "unbounded, network": make_case(24, unbounded=True, near=0.2, step=0.02, color_layers=2),
}


@dataclass(frozen=True)
class Settings:
    """Options of a step. By default there is no loss against fog, no threshold and no scaling."""

    min_weight: float = 0.0
    stop_transmittance: float = 0.0
    coarseness: float = 1.0
    huber_delta: float = 0.1
    distortion: float = 0.0
    full_gradient_distance: float = 0.0
    sky_pull: float = 0.0
    sky_distance: float = 0.0
    depth_pull: float = 0.0
    depth_slack: float = 0.1
    depth_most: float = 0.6
    occupied: float = 1.0


SETTINGS = {
    "plain": Settings(),
    "quadratic": Settings(huber_delta=10.0),
    "against fog": Settings(distortion=0.3),
    "far": Settings(full_gradient_distance=2.0),
    "sky": Settings(sky_pull=0.3, sky_distance=3.0),
    "known depths": Settings(depth_pull=0.3),
    "as in training": Settings(1e-4, 3e-3, 2.0, 0.1, 0.1, 1.0, 0.02, 3.0, 0.1, 0.05, 0.4, 0.6),
}


def options(module: Any, settings: Settings) -> Any:
    o = module.TrainOptions()
    o.table_rate, o.weight_rate, o.beta1, o.beta2, o.epsilon = 1e-2, 5e-3, 0.9, 0.99, 1e-15
    for name in (
        "min_weight",
        "stop_transmittance",
        "coarseness",
        "huber_delta",
        "distortion",
        "full_gradient_distance",
        "sky_pull",
        "sky_distance",
        "depth_pull",
        "depth_slack",
        "depth_most",
    ):
        setattr(o, name, getattr(settings, name))
    o.target_samples = 2048
    o.occupancy_decay, o.occupancy_threshold = 0.9, 0.01
    o.occupancy_every, o.occupancy_cells = 2, 256
    return o


# How far from true, relatively, a table's moments may be: a CPU keeps them in 16 bits.
MOMENTS = 2.0**-7


@dataclass(frozen=True)
class Start:
    """A trainer and the arrays that it changes, or on a GPU copies of them."""

    trainer: Any
    case: Case
    table: Any
    table_moments: Any
    weight_moments: Any
    occupancy_values: Any

    def run(self, o: Any, n: int, seconds: float = 60.0) -> Any:
        """Takes ``n`` steps and brings the arrays up to date; returns the report."""
        report = self.trainer.run(o, n, seconds)
        self.trainer.fetch()
        return report


def start(
    module: Any,
    case: Case,
    seed: int = 5,
    channels: int = 3,
    random_background: bool = True,
    allowed: Any = None,
    threads: int = 1,
    pixels: Any = None,
    sizes: Any = ((16, 12),) * 4,
    **more: Any,
) -> Start:
    """A trainer on copies of a case's arrays, with four small photos; noise unless ``pixels`` are given."""
    rng = np.random.default_rng(9)
    own = replace(case, **{n: getattr(case, n).copy() for n in ("table", "weights", "occupancy")})
    cameras = []
    for i, (width, height) in enumerate(sizes):
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        q *= np.sign(np.linalg.det(q))
        pose = np.concatenate([q, -2.0 * q[:, 2:]], 1).ravel().tolist()
        cameras.append(([18.0, 19.0, 8.0, 6.0, 0.05, 0.01, 0.0, 0.0, 0.0], i % 2, width, height, pose))
    noise = rng.integers(0, 256, sum(w * h for w, h in sizes) * channels, np.uint8)
    pixels = noise if pixels is None else pixels
    table = own.master.copy()
    arrays = (
        table,
        np.zeros((*table.shape[:1], 2, table.shape[1]), np.float32),
        np.zeros(2 * len(own.weights), np.float32),
        np.full(32**3, 0.04, np.float32),
    )
    trainer = module.Trainer(
        own.field(module), *arrays, allowed, cameras, pixels, channels, random_background,
        [0.1, 0.2, 0.3], seed, threads, **more,
    )  # fmt: skip
    return Start(trainer, own, *arrays)


def given(case: Case, occupied: float, n: int = RAYS) -> tuple[Case, Any, Any, Any]:
    """A case with some of its cells empty, rays, targets and backgrounds."""
    rng = np.random.default_rng(31)
    bits = random_bits(rng, 32, occupied)
    targets, behind = rng.random((2, n, 3), dtype=np.float32)
    return replace(case, occupancy=bits), random_rays(n, 30), targets, behind


def known_depths(n: int = RAYS) -> Any:
    """Known depths (n,) of what rays see; 0, unknown, for every third ray."""
    known = np.random.default_rng(32).uniform(0.5, 3.0, n).astype(np.float32)
    known[::3] = 0
    return known


@cache
def expected(name: str, kind: str) -> tuple[Any, Any, float, int]:
    """The oracle's gradients in float64: to the table and to the weights; squared error; survivors."""
    o = SETTINGS[kind]
    case, rays, targets, behind = given(CASES[name], o.occupied)
    origins, directions, jitter, target, b = double(*rays, targets, behind)
    table, weights = case.tensors()
    layers = ref.split_weights(weights, case.shapes)
    s = ref.march(origins, directions, jitter, case.bits(), case.space, o.coarseness)
    outputs = ref.network_outputs(ref.hash_encode(s.unit, table, case.grid), layers)
    sigma, rgb = ref.density_activation(outputs[:, 0]), ref.color(outputs, directions[s.ray], layers)
    scale = ref.near_gradient_scale(s.t, o.full_gradient_distance)
    sigma, rgb = ref.scale_gradient(sigma, scale), ref.scale_gradient(rgb, scale[:, None])
    alive, kept = ref.survivors(s, sigma, o.min_weight, o.stop_transmittance)
    seen = ref.composite(s, sigma, rgb, b, alive, kept)
    error = seen.rgb - target
    loss = ref.huber(error, o.huber_delta).sum()
    for ray in range(RAYS):
        own = s.ray == ray
        fog = ref.distortion_loss(seen.weights[None, own], s.t[None, own], s.length[None, own])
        loss = loss + o.distortion * fog.sum()
    if o.sky_pull:
        pulled = (directions[s.ray, 2] > 0) * ref.sky_pull(s.t, o.sky_distance)
        loss = loss + o.sky_pull * (seen.weights * pulled).sum()
    if o.depth_pull:
        for ray, known in enumerate(known_depths().tolist()):
            if known:
                own = s.ray == ray
                off = torch.log((s.t[own] + 0.5 * s.length[own]) / known).abs() - o.depth_slack
                cost = (seen.weights[own] * off.clamp(0, o.depth_most)).sum()
                loss = loss + o.depth_pull * (cost + o.depth_most * seen.transmittance[ray])
    (loss / RAYS).backward()
    assert table.grad is not None and weights.grad is not None
    squared = float((error.detach() ** 2).sum())
    return table.grad.numpy(), weights.grad.numpy(), squared, int(kept.sum())


def gradients(
    trained: Start, o: Any, rays: Any, targets: Any, behind: Any, **more: Any
) -> tuple[Any, Any, Any]:
    """``Trainer.gradients`` → to the table, to the weights (both overwritten), and the report."""
    d_table = np.full(trained.table.shape, np.nan, np.float32)
    d_weights = np.full(len(trained.case.weights), np.nan, np.float32)
    report = trained.trainer.gradients(o, *rays, targets, behind, d_table, d_weights, **more)
    return d_table, d_weights, report


def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on trainings take few samples a step, and cut-outs few samples a ray.

    For backends that are slow where tests run.
    """
    whole = training.options_at

    def small(done: float, unbounded: bool, module: Any) -> Any:
        o = whole(done, unbounded, module)
        o.target_samples, o.occupancy_cells = 4096, 512
        return o

    monkeypatch.setattr(training, "options_at", small)
    monkeypatch.setattr(hash_grid, "BOUNDED_STEPS", 128)


def check_pull(module: Any, growth: float) -> None:
    """A step's table_pull and pull_growth are the oracle's, on rows with a gradient and on no others."""
    free, pulled = (start(module, CASES["bounded"]) for _ in range(2))
    before = double(free.table)[0].clone()
    o = options(module, SETTINGS["plain"])
    free.run(o, 1, 1e9)
    o.table_pull, o.pull_growth = 0.3, growth
    pulled.run(o, 1, 1e9)
    plain, with_pull = (double(t.table_moments)[0].unbind(1)[0] for t in (free, pulled))
    rows = (plain != 0).any(1)
    assert rows.any() and not rows.all()
    pulls = ref.level_pulls(pulled.case.grid, o.table_pull, growth)[rows, None].double()
    assert (pulls.max() > 2 * pulls.min()) == (growth > 0)
    want = plain[rows] + (1 - o.beta1) * pulls * before[rows]
    assert_close(with_pull[rows].numpy(), want, 1e-6 * float(want.abs().max()), rtol=MOMENTS)
    assert not with_pull[~rows].any()
    assert np.array_equal(pulled.table[~rows.numpy()], before[~rows].float().numpy())

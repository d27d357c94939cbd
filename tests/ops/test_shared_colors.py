"""Samples of a ray that share a colour: the kernels' pictures against what the oracle says that means."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import SETS, Case, assert_close_but_for_flips, make_case, processor

from nerfscene.ops import reference as ref
from nerfscene.ops.reference_rays import step_index
from nerfscene.ops.reference_shared import leaders, shared_outputs

pytest_plugins = ["kernel_cases"]

CASES = {
    "bounded": make_case(31, gain=3.0, step=0.02),
    "bounded, networks": make_case(32, gain=3.0, step=0.02, color_layers=2),
    "unbounded": make_case(33, unbounded=True, near=0.05, step=0.005, cone=0.01, far=1e4),
    "unbounded, networks": make_case(34, unbounded=True, near=0.2, step=0.04, color_layers=1),
}


@pytest.fixture(params=SETS)
def cpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The processor's module with each of its instruction sets: a GPU's samples share nothing."""
    with processor(request.param) as module:
        yield module
        module.use_bfloat16(True)


CAMERA = ([15.0, 15.5, 8.0, 6.0, 0.05, 0, 0, 0, 0], 0, 16, 12)
POSE = [1.0, 0, 0, 0.1, 0, 1, 0, -0.1, 0, 0, 1, -2.2]
BEHIND = [0.2, 0.4, 0.6]


def picture(module: Any, case: Case, shared_steps: float) -> list[Any]:
    out = [np.full((12, 16, *n), np.nan, np.float32) for n in ((3,), (), ())]
    case.field(module).render(
        *CAMERA, POSE, BEHIND, 1e-3, 3e-3, 1, (0, 12, 0, 16), *out, shared_steps=shared_steps
    )
    return out


@functools.cache
def oracle_picture(name: str, shared_steps: float, bfloat: bool = False) -> Any:
    """The colours (192, 3) that the oracle gives; bfloat: what enters the first two layers is in bfloat16."""
    case = CASES[name]
    y, x = np.mgrid[0:12, 0:16]
    pixels = torch.from_numpy(np.stack([x, y], -1).reshape(-1, 2) + 0.5)
    lens, pose = torch.tensor(CAMERA[0]).double(), torch.tensor(POSE).double()
    origins, directions = ref.pixel_rays(pixels, lens, CAMERA[1], pose)
    table, weights = (x.detach() for x in case.tensors())
    layers = ref.split_weights(weights, case.shapes)
    s = ref.march(origins, directions, torch.full((192,), 0.5).double(), case.bits(), case.space)
    rounded = (lambda x: x.bfloat16().double()) if bfloat else (lambda x: x)
    hidden = torch.relu(rounded(ref.hash_encode(s.unit, table, case.grid)) @ rounded(layers[0]))
    outputs = hidden @ layers[1]
    sigma = ref.density_activation(outputs[:, 0])
    alive, kept = ref.survivors(s, sigma, 1e-3, 3e-3)
    behind = torch.tensor(BEHIND).double().expand(192, 3)
    plain = ref.composite(s, sigma, torch.zeros_like(s.points), behind, alive, kept)
    law, _, _ = ref.ray_steps(origins, directions, case.space)
    # The law of each sample's ray, to see which of its steps a sample is.
    own = type(law)(*(v[s.ray] if isinstance(v, torch.Tensor) and v.ndim else v for v in vars(law).values()))
    step = (step_index(own, s.t) - 0.5).round().long()
    lead = leaders(s.ray, step, kept, shared_steps)
    means = rounded(shared_outputs(hidden, plain.weights, lead)) @ rounded(layers[1])
    rgb = ref.color(means, directions[s.ray], layers)[lead]
    return ref.composite(s, sigma, rgb, behind, alive, kept).rgb


@pytest.mark.parametrize("name", CASES)
def test_shared_colors_are_the_oracles(cpu: Any, name: str) -> None:
    case = CASES[name]
    cpu.use_bfloat16(False)
    rgb, depth, accumulation = picture(cpu, case, 4.0)
    assert_close_but_for_flips(rgb.reshape(-1, 3), oracle_picture(name, 4.0), 3e-5, 0.02)
    alone = picture(cpu, case, 0.0)
    assert np.abs(rgb - alone[0]).max() > 1e-4  # sharing does something
    assert np.array_equal(depth, alone[1]) and np.array_equal(accumulation, alone[2])


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_is_the_oracles(cpu: Any, name: str) -> None:
    if not cpu.use_bfloat16(True):
        pytest.skip("this processor has no bfloat16, or this instruction set doesn't use it")
    rgb = picture(cpu, CASES[name], 4.0)[0].reshape(-1, 3)
    # Encodings that the kernels and the oracle round differently are a 256th apart.
    assert_close_but_for_flips(rgb, oracle_picture(name, 4.0, bfloat=True), 1e-3, 0.02)
    exact = oracle_picture(name, 4.0)
    assert 1e-5 < float((torch.from_numpy(rgb) - exact).abs().mean()) < 3e-3


@pytest.mark.parametrize("name", CASES)
def test_exact_pictures_use_no_bfloat16(cpu: Any, name: str) -> None:
    pictures = []
    for use in (False, True):
        cpu.use_bfloat16(use)
        pictures.append(picture(cpu, CASES[name], 0.0))
    for a, b in zip(*pictures, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", CASES)
def test_within_one_step_nothing_is_shared(cpu: Any, name: str) -> None:
    cpu.use_bfloat16(False)
    for a, b in zip(picture(cpu, CASES[name], 1.0), picture(cpu, CASES[name], 0.0), strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_a_ray_through_fog_gets_many_colors(cpu: Any) -> None:
    cpu.use_bfloat16(False)
    # Sharing goes on for some steps from the first sample, not from one to the next without end.
    fog = replace(CASES["bounded"], occupancy=np.full_like(CASES["bounded"].occupancy, 0xFFFFFFFF))
    near, far = (np.abs(picture(cpu, fog, n)[0] - picture(cpu, fog, 0.0)[0]).mean() for n in (3.0, 60.0))
    assert near < far / 3


def test_leaders() -> None:
    ray = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    step = torch.tensor([3, 4, 5, 7, 9, 4, 8])
    kept = torch.tensor([True, False, True, True, True, True, True])
    lead = leaders(ray, step, kept, 4.0)
    assert lead[kept].tolist() == [0, 0, 3, 3, 5, 6]
    weights = torch.tensor([1.0, 0, 3, 1, 1, 1, 1])
    means = shared_outputs(torch.arange(7.0)[:, None], weights, lead)
    assert means[0] == pytest.approx(1.5) and means[3] == pytest.approx(3.5) and means[1] == 0

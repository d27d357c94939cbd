"""Pictures of Gaussians: the kernels against the oracle in float64, forward and gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gaussian_cases as cases
import numpy as np
import pytest
import torch
from kernel_cases import SETS, assert_close_but_for_flips, processor

from nerfscene.ops import reference_splats as ref
from nerfscene.ops import splatting
from nerfscene.ops.splatting import PARAMETERS, Gaussians, Gradients, Rasteriser
from nerfscene.splatting.gaussians import basis

pytest_plugins = ["kernel_cases"]

FLIPS = 0.004  # of the pixels, in which a Gaussian's alpha is 1/255 to the rounding error


@pytest.fixture
def drawing(kernels: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the rasteriser use each module in turn."""
    monkeypatch.setattr(splatting, "_kernels", lambda name: kernels)
    return kernels


def draw(of: cases.Scene, threads: int = 1) -> tuple[Rasteriser, splatting.Drawn]:
    rasteriser = Rasteriser(threads=threads)
    return rasteriser, rasteriser.draw(of.gaussians, of.camera, cases.BEHIND, of.window)


def drawn_and_back(name: str, threads: int = 1) -> tuple[splatting.Drawn, Gradients]:
    rasteriser, drawn = draw(cases.scene(name), threads)
    return drawn, rasteriser.backward(*cases.slopes(cases.scene(name)))


@pytest.mark.parametrize("name", cases.SCENES)
def test_pictures_match_oracle(drawing: Any, name: str) -> None:
    _, seen = draw(cases.scene(name))
    of = cases.expected(name)
    assert_close_but_for_flips(seen.rgb, of.rgb, 3e-5, FLIPS)
    assert_close_but_for_flips(seen.alpha, of.alpha, 3e-5, FLIPS)
    assert_close_but_for_flips(seen.depth, of.depth, 3e-4, FLIPS)
    assert np.abs(seen.rgb - of.rgb).max() < 0.02


@pytest.mark.parametrize("name", cases.SCENES)
def test_gradients_match_oracle(drawing: Any, name: str) -> None:
    _, found = drawn_and_back(name)
    of = cases.expected(name)
    for key, expected in of.gradients.items():
        actual = getattr(found, key)
        assert np.isfinite(actual).all()
        if expected.size:
            off, most = np.abs(actual - expected), max(np.abs(expected).max(), 0.05)
            print(key, off.max(), most)
            # A pixel that a Gaussian has by a hair may be missing.
            assert (off <= 2e-4 * most + 2e-3 * np.abs(expected)).mean() > 0.98
            assert off.max() <= 0.03 * most
    assert (np.abs(found.pixels - of.pixels) <= 2).all()
    np.testing.assert_allclose(found.weight, of.weight, atol=0.005)
    unseen = (of.pixels == 0) & (found.pixels == 0)
    for key in PARAMETERS:
        assert not getattr(found, key)[unseen].any()


@pytest.mark.parametrize("size", ((1, 1), (15, 33), (16, 16), (50, 17), (64, 3)))
def test_pictures_of_any_size(drawing: Any, size: tuple[int, int]) -> None:
    k = cases.camera(*size)
    of = cases.Scene(cases.some(50, 0, size=-1.0), k, (0, 0, *size))
    _, seen = draw(of)
    given = cases.leaves(of.gaussians)
    _, expected = cases.drawn_by_oracle(given, of, torch.tensor(cases.BEHIND).double())
    assert_close_but_for_flips(seen.rgb, expected.rgb.detach(), 3e-5, 0.01)


def test_a_window_is_that_part_of_the_picture(drawing: Any) -> None:
    of = cases.scene("some, 1")
    _, whole = draw(of)
    for window in ((0, 0, 16, 16), (7, 5, 18, 11), (36, 28, 1, 1), (5, 3, 0, 4)):
        _, part = draw(replace(of, window=window))
        left, top, width, height = window
        rows, columns = slice(top, top + height), slice(left, left + width)
        for name in ("rgb", "alpha", "depth"):
            np.testing.assert_allclose(getattr(part, name), getattr(whole, name)[rows, columns], atol=2e-5)


def test_colours_alone_are_those_of_the_picture(drawing: Any) -> None:
    of = cases.scene("some, 2")
    rasteriser, whole = draw(of)
    back = rasteriser.backward(cases.slopes(of)[0])
    kept = {key: value.copy() for key, value in vars(back).items()}
    for again in (False, True):
        seen = rasteriser.colours(of.gaussians, of.camera, cases.BEHIND, back=again)
        np.testing.assert_allclose(seen, whole.rgb, atol=1e-6)
        if not again:
            with pytest.raises(ValueError, match="drawn"):
                rasteriser.backward(cases.slopes(of)[0])
    for key, value in vars(rasteriser.backward(cases.slopes(of)[0])).items():
        np.testing.assert_allclose(value, kept[key], atol=1e-6)


def test_more_than_a_part_of_gaussians_in_many_tiles(drawing: Any) -> None:
    """Several thousand: parts of the work on all threads, and tiles with long lists."""
    of = cases.scene("many")
    _, seen = draw(of, 2)
    assert_close_but_for_flips(seen.rgb, cases.drawn_many(), 1e-4, 0.03)


@pytest.mark.parametrize("name", ("some, 3", "larger than the view", "opaque stack"))
def test_any_number_of_threads_gives_the_same_bits(native: Any, name: str) -> None:
    alone, shared = drawn_and_back(name, 1), drawn_and_back(name, 3)
    for a, b in zip(alone, shared, strict=True):
        for x, y in zip(vars(a).values(), vars(b).values(), strict=True):
            assert np.array_equal(x, y)


def test_gradients_of_unseen_gaussians_are_nothing_again(drawing: Any) -> None:
    of = cases.scene("some, 1")
    rasteriser, _ = draw(of)
    d_rgb, d_alpha = cases.slopes(of)
    first = rasteriser.backward(d_rgb, d_alpha)
    assert (first.pixels > 0).sum() > 20
    away = replace(of.camera, camera_from_world=of.camera.camera_from_world * [[-1], [1], [-1]])
    rasteriser.draw(of.gaussians, away, cases.BEHIND)
    again = rasteriser.backward(d_rgb, d_alpha)
    fresh = Rasteriser(threads=1)
    fresh.draw(of.gaussians, away, cases.BEHIND)
    for key, value in vars(fresh.backward(d_rgb, d_alpha)).items():
        assert np.array_equal(getattr(again, key), value)
    assert (again.pixels > 0).sum() < 20


def test_pull_is_the_sum_of_absolute_gradients(drawing: Any) -> None:
    """All pixels of a Gaussian pull its centre outward: the gradients cancel, and the pull does not."""
    g = cases.like(
        cases.some(1, 0), centres=[[0, 0, 3]], log_scales=[[-1, -1, -1]], opacities=[1], turns=[[1, 0, 0, 0]]
    )
    k = splatting.Pinhole(np.eye(4)[:3], 9.0, 9.0, 5.0, 5.0, 10, 10)
    rasteriser = Rasteriser(threads=1)
    rasteriser.draw(g, k)
    d_rgb = np.ones((10, 10, 3), np.float32)
    even = rasteriser.backward(d_rgb)
    assert abs(even.centres[0, 0]) < 1e-3 and even.pull[0] > 1
    torch_module = splatting.backend.load("torch")
    twin = torch_module.Splatter(1)
    out = [np.zeros_like(x) for x in vars(even).values()]
    arrays = [getattr(g, name) for name in PARAMETERS]
    picture = [np.empty((10, 10, 3), np.float32), *np.empty((2, 10, 10), np.float32)]
    numbers = splatting._numbers(k)
    twin.draw(*arrays, numbers, (10, 10), (0, 0, 10, 10), [0, 0, 0], splatting.NEAR, True, *picture)
    twin.backward(*arrays, d_rgb, np.zeros((10, 10), np.float32), *out)
    np.testing.assert_allclose(even.pull, out[7], rtol=1e-3)
    np.testing.assert_allclose(even.weight, out[8], rtol=1e-4)


def test_wrong_arrays_are_refused(drawing: Any) -> None:
    of = cases.scene("some, 1")
    g = of.gaussians
    rasteriser = Rasteriser(threads=1)
    with pytest.raises(ValueError, match="drawn"):
        rasteriser.backward(*cases.slopes(of))
    for wrong in (
        replace(g, turns=g.turns[:, :3].copy()),
        replace(g, centres=g.centres[:-1]),
        replace(g, harmonics=g.harmonics[:, :3].copy()),
        replace(g, opacities=g.opacities.astype(np.float64)),
        replace(g, log_scales=g.log_scales[:, ::-1]),
    ):
        with pytest.raises((TypeError, ValueError)):
            rasteriser.draw(wrong, of.camera)
    for window in ((-1, 0, 5, 5), (0, 0, 38, 29), (30, 0, 8, 5), (0, 0, 5, -1)):
        with pytest.raises(ValueError):
            rasteriser.draw(g, of.camera, window=window)


# --- the oracle itself -------------------------------------------------------------------------------


def test_oracle_gradients_are_differences() -> None:
    of = replace(cases.scene("some, 3"), gaussians=cases.some(12, 3, 2))
    behind = torch.tensor(cases.BEHIND).double()
    given = cases.leaves(of.gaussians)
    d_rgb, d_alpha = (torch.from_numpy(d).double() for d in cases.slopes(of))

    def loss(parameters: list[torch.Tensor]) -> torch.Tensor:
        _, seen = cases.drawn_by_oracle(parameters, of, behind)
        return (seen.rgb * d_rgb).sum() + (seen.alpha * d_alpha).sum()

    gradients = torch.autograd.grad(loss(given), given)
    rng = np.random.default_rng(1)
    for i, leaf in enumerate(given):
        toward = torch.from_numpy(rng.normal(size=leaf.shape))
        ends = [loss([*given[:i], leaf.detach() + s * 1e-6 * toward, *given[i + 1 :]]) for s in (1, -1)]
        difference = float(ends[0] - ends[1]) / 2e-6
        assert difference == pytest.approx(float((gradients[i] * toward).sum()), rel=1e-4, abs=1e-4)


def test_oracle_shows_one_gaussian_as_a_formula_does() -> None:
    """Straight ahead, of one width: a bell of its width in the picture, with the filter's variance added."""
    k = splatting.Pinhole(np.eye(4)[:3], 40.0, 40.0, 16.5, 16.5, 33, 33)
    g = Gaussians(
        np.array([[0, 0, 2]], np.float32),
        np.full((1, 3), np.log(0.1), np.float32),
        np.array([[2, 0, 0, 0]], np.float32),
        np.zeros(1, np.float32),
        np.full((1, 1, 3), 1.0, np.float32),
    )
    _, seen = cases.drawn_by_oracle(
        cases.leaves(g), cases.Scene(g, k, (0, 0, 33, 33)), torch.zeros(3).double()
    )
    sharp = (40 * 0.1 / 2) ** 2
    wide = sharp + 0.3
    r2 = (np.arange(33) - 16) ** 2 + (np.arange(33)[:, None] - 16) ** 2
    bell = 0.5 * sharp / wide * np.exp(-r2 / (2 * wide))
    bell[bell < 1 / 255] = 0
    np.testing.assert_allclose(seen.alpha.detach(), bell, atol=1e-7)
    np.testing.assert_allclose(seen.rgb[16, 16].detach(), bell[16, 16] * (0.5 + 0.28209479), atol=1e-6)
    assert float(seen.depth[16, 16].detach()) == pytest.approx(2)


def test_harmonics_are_those_of_splat_files() -> None:
    d = np.random.default_rng(0).normal(size=(20, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    np.testing.assert_allclose(ref.basis(torch.from_numpy(d), 3), basis(d, 3), atol=1e-12)


@pytest.mark.skipif(len(SETS) < 2, reason="there is one instruction set")
def test_instruction_sets_agree() -> None:
    seen = []
    for name in SETS:
        with processor(name):
            _, drawn = draw(cases.scene("some, 3"))
            seen.append(drawn.rgb)
    for other in seen[1:]:
        assert_close_but_for_flips(other, seen[0], 1e-5, FLIPS)

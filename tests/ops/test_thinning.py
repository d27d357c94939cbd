"""Thinning samples out: most with small gradients are dropped, and the mean gradient stays the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from training_steps import CASES, SETTINGS, given, gradients, options, start

pytest_plugins = ["kernel_cases"]

DRAWS = 150


def thinned(native: Any, name: str, thinning: float, draws: int) -> tuple[Any, Any, float]:
    """Mean gradients of the table and of the weights over draws of other samples; mean samples kept."""
    case, rays, targets, behind = given(CASES[name], 1.0)
    o = options(native, SETTINGS["as in training"])
    o.thinning = thinning
    trained, tables, weights, kept = start(native, case), 0.0, 0.0, 0
    for i in range(draws):
        trained.trainer.rays_drawn = 1000 * i  # the random numbers follow from it
        table, weight, report = gradients(trained, o, rays, targets, behind)
        tables, weights, kept = tables + table / draws, weights + weight / draws, kept + report["survivors"]
    return tables, weights, kept / draws


@pytest.mark.parametrize("name", CASES)
def test_the_mean_gradient_stays_what_it_is(native: Any, name: str) -> None:
    whole, mean, one = (thinned(native, name, t, n) for t, n in ((0.0, 1), (1.0, DRAWS), (1.0, 1)))
    assert 0.1 * whole[2] < mean[2] < 0.8 * whole[2]
    for want, got, single in zip(whole[:2], mean[:2], one[:2], strict=True):
        off = np.linalg.norm(got - want) / np.linalg.norm(want)
        off_alone = np.linalg.norm(single - want) / np.linalg.norm(want)
        # Errors of single draws are independent, so those of the mean are √DRAWS times smaller.
        assert off < 2.5 * off_alone / np.sqrt(DRAWS)
        assert off_alone > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_samples_worth_their_way_are_all_kept(native: Any, name: str) -> None:
    whole, all_kept = thinned(native, name, 0.0, 1), thinned(native, name, 1e-9, 1)
    assert all_kept[2] == whole[2]
    for want, got in zip(whole[:2], all_kept[:2], strict=True):
        assert np.array_equal(got, want)


def test_rays_without_any_gradient_are_left_alone(native: Any) -> None:
    case, rays, _, behind = given(CASES["bounded"], 0.0)
    o = options(native, SETTINGS["plain"])
    o.thinning = 1.0
    table, weights, report = gradients(start(native, case), o, rays, behind, behind)
    assert report["survivors"] == 0
    assert not table.any() and not weights.any()

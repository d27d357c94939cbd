"""Fitting splats to pictures: small pictures of few splats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from splat_cases import cameras, some_splats

from nerfscene.ops.splatting import Pinhole, Rasteriser
from nerfscene.splatting import fitting
from nerfscene.splatting.exposures import unchanged
from nerfscene.splatting.fitting import (
    Target,
    begun,
    finished,
    gaussians_of,
    keep_shapes,
    splats_of,
    step,
)
from nerfscene.splatting.gaussians import Splats
from nerfscene.types import Camera

GREY = (0.5, 0.5, 0.5)
KERNELS = "cpu"


def pinhole(camera: Camera, width: int = 32, height: int = 24) -> Pinhole:
    k = camera.intrinsics
    s = width / k.width
    pose = np.linalg.inv(camera.world_from_cam)[:3]
    return Pinhole(pose, k.fx * s, k.fy * s, k.cx * s, k.cy * s, width, height)


def few(n: int = 40) -> Splats:
    """Round, large splats, which a small picture shows."""
    made = some_splats(0, n)
    return replace(made, scales=np.full_like(made.scales, 0.12), positions=0.6 * made.positions / 1.0)


def targets_of(splats: Splats) -> list[Target]:
    rasteriser = Rasteriser(KERNELS)
    out = []
    for camera in cameras():
        rgb = rasteriser.draw(gaussians_of(splats), pinhole(camera), GREY).rgb
        out.append(Target(pinhole(camera), np.round(255 * np.clip(rgb, 0, 1)).astype(np.uint8)))
    return out


def errors(splats: Splats, targets: list[Target]) -> float:
    rasteriser = Rasteriser(KERNELS)
    total = 0.0
    for t in targets:
        rgb = rasteriser.draw(gaussians_of(splats), t.camera, GREY).rgb
        total += float(np.mean((rgb - t.rgb / 255.0) ** 2))
    return total / len(targets)


def test_splats_survive_the_numbers_in_which_they_are_fitted() -> None:
    splats = some_splats(2)
    back = splats_of(gaussians_of(splats))
    for one, other in zip(vars(splats).values(), vars(back).values(), strict=True):
        assert one.dtype == other.dtype and np.allclose(one, other, atol=1e-4)


def test_a_fit_comes_nearer_to_its_pictures_and_is_repeatable() -> None:
    truth = few()
    targets = targets_of(truth)
    draws = np.random.default_rng(1)
    grey = replace(
        truth,
        sh=0 * truth.sh,
        positions=truth.positions + draws.normal(0, 0.02, truth.positions.shape).astype("f4"),
    )
    ended = []
    for _ in range(2):
        fit = begun(grey, 0, GREY, KERNELS, 1)
        for i in range(60):
            step(fit, targets[i % 2], i / 60)
        ended.append(finished(fit))
    assert ended[0] == ended[1]
    assert errors(ended[0], targets) < 0.5 * errors(grey, targets)


def test_masked_pixels_pull_at_nothing() -> None:
    splats = few(10)
    target = targets_of(splats)[0]
    wrong = replace(target, rgb=255 - target.rgb, used=np.zeros(target.rgb.shape[:2], bool))
    fit = begun(splats, 0, GREY, KERNELS, 1)
    before = splats_of(fit.rows.gaussians)
    step(fit, wrong, 0.0)
    after = splats_of(fit.rows.gaussians)
    assert np.allclose(before.positions, after.positions, atol=1e-6)
    assert np.allclose(before.sh, after.sh, atol=1e-6)


def test_exposure_is_the_photos_and_not_the_splats() -> None:
    splats = few()
    target = targets_of(splats)[0]
    darker = replace(target, rgb=(target.rgb * 0.5).astype(np.uint8), gains=(0.5, 0.5, 0.5))
    fit = begun(splats, 0, GREY, KERNELS, 1)
    assert step(fit, darker, 0.0) < 1e-4


def test_reviews_take_out_what_weighs_nothing_and_split_what_is_pulled_at() -> None:
    splats = few()
    hidden = 5
    opacities = splats.opacities.copy()
    opacities[:hidden] = 0.002
    splats = replace(splats, opacities=opacities)
    targets = targets_of(few(60))
    fit = begun(splats, 3, GREY, KERNELS, 1)
    for i in range(2):
        step(fit, targets[i], 0.0)
    gone, split = fitting.reviewed(fit, 45)
    assert hidden <= gone < 30 and 0 < split <= 45 - (40 - gone)
    assert len(fit.rows.gaussians) == 40 - gone + split
    assert fit.rows.stays.sum() == 3  # the shell
    assert fit.views == 0 and not fit.rows.pull.any()
    assert step(fit, targets[0], 0.5) > 0  # and it goes on
    made = finished(fit)
    assert np.isfinite(made.positions).all() and len(made) == len(fit.rows.stays)


def test_needles_are_shortened() -> None:
    logs = np.log(np.array([[1.0, 1e-3, 1e-6], [0.1, 0.11, 0.09]], np.float32))
    keep_shapes(logs)
    long, disc, thin = np.exp(np.sort(logs[0])[::-1])
    assert long <= 4.01 * 1e-3 and thin >= 7e-5 and disc == pytest.approx(1e-3, rel=1e-3)
    assert np.exp(logs[1]) == pytest.approx([0.1, 0.11, 0.09], rel=1e-5)


@pytest.mark.parametrize("brightness", [1.05, 0.95])
def test_a_photos_exposure_is_refined_and_the_scenes_brightness_stays(brightness: float) -> None:
    splats = few()
    target = targets_of(splats)[0]
    rgb = np.round(np.minimum(target.rgb * brightness, 255)).astype(np.uint8)
    fit = begun(splats, 0, GREY, KERNELS, 1)
    fit.exposures = unchanged(2)
    step(fit, replace(target, rgb=rgb, photo=0), 0.0)
    found = fit.exposures.changes
    assert (np.sign(found[0]) == np.sign(brightness - 1)).all() and (np.abs(found[0]) > 1e-3).all()
    assert np.allclose(found.sum(0), 0, atol=1e-12)
    assert fit.exposures.gains((2.0, 1.0, 1.0), -1) == (2.0, 1.0, 1.0)
    assert fit.exposures.gains((2.0, 1.0, 1.0), 0)[0] == pytest.approx(2 * np.exp(found[0, 0]))


def test_exposures_without_a_gradient_go_back_to_the_fields() -> None:
    exposures = unchanged(2)
    exposures.changes[:] = [[0.05] * 3, [-0.05] * 3]
    for _ in range(200):
        exposures.improve(0, np.full(3, np.nan), 0.003)
    assert np.abs(exposures.changes).max() < 0.02

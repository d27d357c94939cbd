"""Each photo's exposure: gradients against the oracle, on every backend; and pixels that are left out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import analytic
import numpy as np
import pytest
import training_steps as steps
from kernel_cases import assert_close, double
from PIL import Image

from nerfscene import api
from nerfscene.config import TrainConfig
from nerfscene.measuring.metrics import exposure_matched
from nerfscene.ops import reference as ref
from nerfscene.ops import torch_backend
from nerfscene.scene import folder as scenes
from nerfscene.training import exposures, schedule
from nerfscene.types import View

pytest_plugins = ["kernel_cases"]

PHOTOS = 4  # of steps.start
EXPOSURES = np.random.default_rng(40).normal(0, 0.4, (PHOTOS, 3)).astype(np.float32)
OF = np.random.default_rng(41).integers(-1, PHOTOS, steps.RAYS).astype(np.int32)
PULL = 0.2


def oracle(name: str) -> tuple[Any, Any, Any, float]:
    """Gradients in float64 to the table, the weights and the exposures; squared error."""
    case, rays, targets, behind = steps.given(steps.CASES[name], 1.0)
    origins, directions, jitter, target, b, e = double(*rays, targets, behind, EXPOSURES)
    table, weights = case.tensors()
    e.requires_grad_()
    layers = ref.split_weights(weights, case.shapes)
    s = ref.march(origins, directions, jitter, case.bits(), case.space, 1.0)
    outputs = ref.network_outputs(ref.hash_encode(s.unit, table, case.grid), layers)
    sigma, rgb = ref.density_activation(outputs[:, 0]), ref.color(outputs, directions[s.ray], layers)
    alive, kept = ref.survivors(s, sigma, 0.0, 0.0)
    seen = ref.composite(s, sigma, rgb, 0 * b, alive, kept)
    loss = 0.0
    squared = 0.0
    for ray in range(steps.RAYS):
        gain = e[OF[ray]].exp() if OF[ray] >= 0 else 1.0
        error = seen.rgb[ray] * gain + seen.transmittance[ray] * b[ray] - target[ray]
        loss = loss + ref.huber(error, 0.1).sum()
        if OF[ray] >= 0:
            loss = loss + 0.5 * PULL * (e[OF[ray]] ** 2).sum()
        squared += float((error.detach() ** 2).sum())
    (loss / steps.RAYS).backward()  # type: ignore[union-attr]
    assert table.grad is not None and weights.grad is not None and e.grad is not None
    return table.grad.numpy(), weights.grad.numpy(), e.grad.numpy(), squared


def with_exposures(module: Any, case: Any, **more: Any) -> tuple[steps.Start, Any]:
    exposures = EXPOSURES.copy()
    moments = np.zeros((PHOTOS, 2, 3), np.float32)
    return steps.start(module, case, exposures=exposures, exposure_moments=moments, **more), exposures


def check(module: Any, name: str, tolerance: float) -> None:
    case, rays, targets, behind = steps.given(steps.CASES[name], 1.0)
    trained, exposures = with_exposures(module, case)
    o = steps.options(module, steps.SETTINGS["plain"])
    o.target_samples, o.exposure_pull = 16384, PULL
    d_table = np.full(trained.table.shape, np.nan, np.float32)
    d_weights = np.full(len(trained.case.weights), np.nan, np.float32)
    d_exposures = np.full((PHOTOS, 3), np.nan, np.float32)
    report = trained.trainer.gradients(o, *rays, targets, behind, d_table, d_weights, OF, d_exposures)
    table, weights, of_exposures, squared = oracle(name)
    assert report["dropped"] == 0
    assert_close(report["squared_error"], squared, 0, rtol=max(1e-4, tolerance))
    assert_close(d_exposures, of_exposures, tolerance * np.abs(of_exposures).max())
    for got, want in ((d_table, table), (d_weights, weights)):
        assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 1 - 10 * tolerance
        assert np.linalg.norm(got) == pytest.approx(np.linalg.norm(want), rel=20 * tolerance)
    assert np.array_equal(np.asarray(exposures), EXPOSURES)


@pytest.mark.parametrize("name", ("bounded", "unbounded, network"))
def test_gradients_match_the_oracle(native: Any, name: str) -> None:
    check(native, name, 1e-4)


@pytest.mark.parametrize("name", ("bounded", "unbounded, network"))
def test_gradients_match_the_oracle_on_the_device(device: Any, name: str) -> None:
    check(device, name, 0.01)


@pytest.mark.parametrize("name", ("bounded", "unbounded, network"))
def test_gradients_match_the_oracle_in_torch(name: str) -> None:
    check(torch_backend, name, 1e-4)


def after_steps(module: Any, rate: float) -> tuple[Any, steps.Start]:
    case, *_ = steps.given(steps.CASES["bounded"], 0.6)
    trained, exposures = with_exposures(module, case)
    o = steps.options(module, steps.SETTINGS["as in training"])
    o.exposure_rate, o.exposure_pull = rate, 0.01
    trained.trainer.survivors_per_ray = 20.0
    trained.run(o, 3, 60.0)
    return np.array(exposures), trained


def test_every_backend_takes_the_same_steps(kernels: Any) -> None:
    want, _ = after_steps(torch_backend, 1e-2)
    got, _ = after_steps(kernels, 1e-2)
    assert np.abs(got.mean(0)).max() < 1e-6 and np.abs(want.mean(0)).max() < 1e-6
    moved = want - (EXPOSURES - EXPOSURES.mean(0))
    assert np.abs(moved).max() > 1e-3
    assert_close(got, want, 0.2 * np.abs(moved).max())  # Adam amplifies small differences
    assert np.corrcoef((got - want + moved).ravel(), moved.ravel())[0, 1] > 0.98


def test_without_a_rate_exposures_stay(kernels: Any) -> None:
    got, _ = after_steps(kernels, 0.0)
    assert np.array_equal(got, EXPOSURES)


@pytest.mark.parametrize("channels", (3, 4))
def test_pixels_that_are_not_chosen_change_nothing(kernels: Any, channels: int) -> None:
    case, *_ = steps.given(steps.CASES["bounded"], 0.6)
    rng = np.random.default_rng(42)
    total = PHOTOS * 16 * 12
    chosen = np.sort(rng.choice(total, total // 3, replace=False)).astype(np.uint32)
    pixels = rng.integers(0, 256, (total, channels), np.uint8)
    other = 255 - pixels
    other[chosen] = pixels[chosen]
    tables = []
    for photo, list_ in ((pixels, chosen), (other, chosen), (other, None)):
        trained = steps.start(kernels, case, channels=channels, pixels=photo.reshape(-1), chosen=list_)
        trained.trainer.survivors_per_ray = 20.0
        trained.run(steps.options(kernels, steps.SETTINGS["as in training"]), 3, 60.0)
        tables.append(np.array(trained.table))
    moved = np.abs(tables[0] - case.master).max()
    # A GPU adds up in any order, and Adam amplifies the smallest differences.
    assert np.corrcoef((tables[0] - case.master).ravel(), (tables[1] - case.master).ravel())[0, 1] > 0.999
    assert np.abs(tables[2] - tables[1]).max() > 0.3 * moved


@pytest.mark.parametrize("bad", (np.zeros(0, np.uint32), np.array([10**6], np.uint32)))
def test_pixels_that_are_not_there_are_refused(kernels: Any, bad: Any) -> None:
    case, *_ = steps.given(steps.CASES["bounded"], 0.6)
    for module in (kernels, torch_backend):
        with pytest.raises(ValueError, match="pixel"):
            steps.start(module, case, chosen=bad)


def test_wrong_exposures_are_refused(kernels: Any) -> None:
    case, rays, targets, behind = steps.given(steps.CASES["bounded"], 1.0)
    for module in (kernels, torch_backend):
        one, two = (np.zeros(s, np.float32) for s in ((3, 3), (PHOTOS, 2, 3)))
        with pytest.raises(ValueError, match="exposures"):
            steps.start(module, case, exposures=one, exposure_moments=two)
        trained, _ = with_exposures(module, case)
        o = steps.options(module, steps.SETTINGS["plain"])
        to = np.zeros(trained.table.shape, np.float32), np.zeros(len(trained.case.weights), np.float32)
        for photos, out, what in (
            (OF + PHOTOS, np.zeros((PHOTOS, 3), np.float32), "photos"),
            (OF[:-1].copy(), np.zeros((PHOTOS, 3), np.float32), "rays"),
            (OF, np.zeros((1, 3), np.float32), "exposures"),
        ):
            with pytest.raises(ValueError, match=what):
                trained.trainer.gradients(o, *rays, targets, behind, *to, photos, out)


def darker(room: Path, folder: Path, spread: float) -> tuple[Path, Any]:
    """A copy of the room whose exposure drifts from photo to photo; returns its folder and the log-gains."""
    shutil.copytree(room, folder)
    names = [f["file_path"] for f in json.loads((room / "transforms.json").read_text())["frames"]]
    rng = np.random.default_rng(43)
    gains = np.cumsum(rng.normal(0, 1, (len(names), 1)) + 0.2 * rng.normal(0, 1, (len(names), 3)), 0)
    gains = spread * (gains - gains.mean(0)) / gains.std() - 0.3
    for name, gain in zip(names, gains, strict=True):
        with Image.open(folder / name) as photo:
            pixels = np.asarray(photo.convert("RGB"), np.float32) * np.exp(gain)
        Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8)).save(folder / name)
    return folder, gains


def test_drifting_exposures_are_found(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture, gains = darker(room, tmp_path / "drifting", 0.25)
    config = TrainConfig(steps=300, threads=1)
    scene = api.train(capture, tmp_path / "scene", config, analytic.SMALL)
    found = np.array([v.exposure for v in scene.views if v.split == "train"])
    true = gains[[i for i, v in enumerate(scene.views) if v.split == "train"]]
    assert np.corrcoef(found.mean(1), true.mean(1))[0, 1] > 0.97
    # The scene has the exposure of the brightest photo, and the mean of them all would be as bright as this.
    beside_mean = found + np.log(scene.gain)
    assert np.abs(beside_mean - (true - true.mean(0))).max() < 0.12
    assert np.allclose(beside_mean.mean(0), 0, atol=1e-5) and scene.gain > 1
    again = scenes.load(tmp_path / "scene")
    assert [v.exposure for v in again.views] == [v.exposure for v in scene.views]
    monkeypatch.setattr(schedule, "EXPOSURE_RATE", 0.0)
    without = api.train(capture, tmp_path / "without", config, analytic.SMALL)
    for name in ("psnr", "psnr_matched"):
        assert getattr(scene.figures, name) > getattr(without.figures, name) + 0.5, name
    # Resuming keeps them.
    monkeypatch.undo()
    more = api.train(capture, tmp_path / "scene", replace(config, steps=340), analytic.SMALL, resume=True)
    later = np.array([v.exposure for v in more.views if v.split == "train"])
    assert np.abs(later - found).max() < 0.05 and more.gain == pytest.approx(scene.gain, rel=0.05)


@pytest.mark.long
def test_exposures_that_hardly_differ_are_left_to_the_field(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pictures this small show differences of 0.03 by chance.
    monkeypatch.setattr(exposures, "EXPOSURE_LEAST", 0.06)
    capture, _ = darker(room, tmp_path / "steady", 0.005)
    scene = api.train(capture, tmp_path / "scene", TrainConfig(steps=200, threads=1), analytic.SMALL)
    assert not any(any(v.exposure) for v in scene.views)


@pytest.mark.parametrize("follows", ("time", "place"))
def test_a_held_out_exposure_comes_from_neighbours_in_time_or_in_place(follows: str) -> None:
    k = analytic.intrinsics(64, 48)
    rng = np.random.default_rng(45)
    ring = analytic.ring(24)
    at = rng.permutation(24)  # photos taken criss-cross
    split = ["test" if i % 8 == 3 else "train" for i in range(24)]
    views = tuple(
        View(Path(f"{i}.png"), k, ring[a], s) for i, (a, s) in enumerate(zip(at, split, strict=True))
    )
    where = np.arange(24) if follows == "time" else 24 * np.cos(2 * np.pi * at / 24)
    gains = np.stack([0.02 * where, 0.01 * where, -0.01 * where], 1).astype(np.float32)
    train = [i for i, s in enumerate(split) if s == "train"]
    run = SimpleNamespace(exposures=gains[train])
    got = np.array([v.exposure for v in exposures.exposed_views(run, views, np.eye(4))])  # type: ignore[arg-type]
    assert_close(got[train], gains[train], 1e-6)
    test = [i for i, s in enumerate(split) if s == "test"]
    assert np.abs(got[test] - gains[test]).max() < 0.3 * np.abs(gains).max()
    assert np.corrcoef(got[test].ravel(), gains[test].ravel())[0, 1] > 0.9


def test_held_out_photos_listed_last_have_no_place_in_time() -> None:
    k = analytic.intrinsics(64, 48)
    ring = analytic.ring(24)
    order = [*range(0, 24, 2), 3, 11]
    split = ["train"] * 12 + ["test"] * 2
    views = tuple(
        View(Path(f"{i}.png"), k, ring[a], s) for a, s, i in zip(order, split, range(14), strict=True)
    )
    gains = np.repeat(np.linspace(-0.3, 0.3, 12, dtype=np.float32)[:, None], 3, 1)
    run = SimpleNamespace(exposures=gains)
    got = exposures.exposed_views(run, views, np.eye(4))  # type: ignore[arg-type]
    assert (gains[0] <= got[12].exposure).all() and (got[12].exposure <= gains[3]).all()
    assert (gains[4] <= got[13].exposure).all() and (got[13].exposure <= gains[7]).all()


@pytest.mark.parametrize(("differ", "kept"), ((0.031, True), (0.029, False)))
def test_exposures_are_given_up_below_three_percent(differ: float, kept: bool) -> None:
    pattern = np.tile([differ, -differ], 6).reshape(4, 3).astype(np.float32)
    moments = np.ones((4, 2, 3))
    run = SimpleNamespace(exposures=pattern.copy(), exposure_moments=moments, exposures_decided=False)
    assert exposures.exposures_matter(run, 0.1) and run.exposures.any()  # type: ignore[arg-type]
    assert exposures.exposures_matter(run, 0.2) == kept  # type: ignore[arg-type]
    assert exposures.exposures_matter(run, 0.9) == kept == bool(run.exposures.any())  # type: ignore[arg-type]


def test_matching_exposure_by_halves() -> None:
    rng = np.random.default_rng(44)
    render = rng.random((20, 30, 3), dtype=np.float32) * 0.6
    gain = np.array([1.3, 0.8, 1.1], np.float32)
    assert_close(exposure_matched(render, render * gain), render * gain, 1e-6)
    # The gains of one half of the picture come from the other half.
    odd = render.copy()
    odd[:, :15] *= 1.5
    matched = exposure_matched(render, odd)
    assert_close(matched[:, :15], render[:, :15], 1e-6)
    assert_close(matched[:, 15:], np.clip(1.5 * render[:, 15:], 0, 1), 1e-6)
    assert np.isfinite(exposure_matched(np.zeros_like(render), render)).all()


def test_what_a_mask_leaves_out_does_not_count_in_matching_exposure() -> None:
    rng = np.random.default_rng(45)
    render = rng.random((20, 30, 3), dtype=np.float32) * 0.6
    photo = render * np.array([1.3, 0.8, 1.1], np.float32)
    used = np.zeros((20, 30), bool)
    used[5:15, 10:20] = True
    beside = np.where(used[..., None], photo, 1.0).astype(np.float32)
    assert_close(exposure_matched(render, beside, used)[used], photo[used], 1e-6)
    # Nothing is known where the other half has no pixel that counts.
    left = used & (np.arange(30) < 15)
    matched = exposure_matched(render, beside, left)
    assert_close(matched[:, :15], render[:, :15], 1e-6)
    assert_close(matched[:, 15:], np.clip(render[:, 15:] * [1.3, 0.8, 1.1], 0, 1), 1e-6)


def test_the_views_of_a_panorama_share_an_exposure() -> None:
    lens = analytic.intrinsics(8, 8)
    whole = Path("a.jpg")
    views = [View(Path(str(i)), lens, np.eye(4), panorama=whole if i in (1, 3) else None) for i in range(4)]
    given = np.arange(12, dtype=np.float32).reshape(4, 3)
    run = SimpleNamespace(exposures=given.copy())
    exposures.one_for_each_panorama(run, views)  # type: ignore[arg-type]
    assert np.allclose(
        run.exposures, [given[0], (given[1] + given[3]) / 2, given[2], (given[1] + given[3]) / 2]
    )

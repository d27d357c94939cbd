"""A GPU's memory is apart from the host's: what is copied when.

The emulated GPU refuses kernels that are given addresses on the host, so its other tests check that too.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import training_steps as steps
from emulated_gpu import build as emulated
from kernel_cases import EMULATED, Case, assert_close_but_for_flips, make_case
from training_steps import small_steps

from nerfscene import api
from nerfscene.cameras.algebra import scaled
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import Renderer, render
from nerfscene.ops import backend
from nerfscene.scene import folder as scenes
from nerfscene.training import exposures, loop, moving_cameras, record
from nerfscene.training.progress import Control, Progress
from nerfscene.types import Camera

pytest_plugins = ["kernel_cases"]

ARRAYS = ("table", "table_moments", "weight_moments", "occupancy_values")
OF_THE_FIELD = ("table", "weights", "weights_t", "occupancy")
PHOTOS = 4
SMALL = FieldConfig(2, 4, log2_table=12, finest_resolution=32, occupancy_resolution=32)


def begun(device: Any, **more: Any) -> tuple[steps.Start, Any]:
    """A trainer, and options for its steps."""
    case, *_ = steps.given(steps.CASES["bounded"], 0.6)
    trained = steps.start(device, case, **more)
    trained.trainer.survivors_per_ray = 20.0
    return trained, steps.options(device, steps.SETTINGS["as in training"])


def copies(trained: steps.Start) -> list[Any]:
    """The arrays that training changes, as the host has them now."""
    ours = [getattr(trained, name) for name in ARRAYS]
    return [np.array(a) for a in [*ours, *(getattr(trained.case, name) for name in OF_THE_FIELD)]]


def seen(device: Any, case: Case, **more: Any) -> Any:
    """A picture (24, 32, 3) of a field that is made now."""
    out = np.empty((24, 32, 3), np.float32), np.empty((24, 32), np.float32), np.empty((24, 32), np.float32)
    pose = [1.0, 0.0, 0.0, 0.1, 0.0, 1.0, 0.0, 0.2, 0.0, 0.0, 1.0, -2.5]
    lens = [32.0, 32.0, 16.0, 12.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    field = device.Field(**case.arguments(), **more)
    field.render(lens, 0, 32, 24, pose, [0.2, 0.4, 0.6], 1e-3, 3e-3, 1, (0, 24, 0, 32), *out)
    return out[0]


def test_the_emulated_device_refuses_addresses_on_the_host(device: Any) -> None:
    if device.device_name() != EMULATED:
        pytest.skip("a card fails by itself")
    host = np.zeros(4, np.float32)
    there = emulated.on_device(device, host)
    for array, refused in ((host, True), (there, False), (there[3:], False)):
        argument = np.array([7, 0, array.ctypes.data, 1 << 40], np.uint64)
        assert emulated.refused(device, argument) == refused


def test_large_arrays_are_copied_back_when_they_are_fetched(device: Any) -> None:
    trained, o = begun(device)
    before = copies(trained)
    trained.trainer.run(o, 4, 60.0)
    assert all(map(np.array_equal, copies(trained), before))
    trained.trainer.fetch()
    after = copies(trained)
    assert not any(map(np.array_equal, after, before))
    assert np.array_equal(trained.case.table.view(np.float16), trained.table.astype(np.float16))
    trained.trainer.run(o, 1, 60.0)
    assert all(map(np.array_equal, copies(trained), after))


def test_small_arrays_are_copied_with_every_run(device: Any) -> None:
    exposures, moments = np.zeros((PHOTOS, 3), np.float32), np.zeros((PHOTOS, 2, 3), np.float32)
    gradients = np.zeros((PHOTOS, 15), np.float32)
    trained, o = begun(device, exposures=exposures, exposure_moments=moments, camera_gradients=gradients)
    o.exposure_rate, o.camera_every = 0.01, 1
    trained.trainer.run(o, 2, 60.0)
    assert exposures.any() and moments.any() and gradients.any(1).all()
    # What Python changes between runs counts in the next.
    exposures[:] = [[1.0], [-1.0], [2.0], [-2.0]]
    moments[:] = 0
    summed = gradients.copy()
    trained.trainer.run(o, 1, 60.0)
    assert np.abs(exposures[:, 0] - [1.0, -1.0, 2.0, -2.0]).max() < 0.05
    assert (gradients != summed).any()


def test_cleared_gradients_of_cameras_stay_cleared(device: Any) -> None:
    def summed(clear: bool) -> Any:
        gradients = np.zeros((PHOTOS, 15), np.float32)
        trained, o = begun(device, camera_gradients=gradients)
        o.table_rate = o.weight_rate = 0.0
        o.occupancy_every, o.camera_every = 0, 1
        total = np.zeros_like(gradients)
        for _ in range(2):
            trained.trainer.run(o, 1, 60.0)
            total += gradients
            if clear:
                gradients[:] = 0
        return total if clear else gradients

    whole = summed(False)
    assert whole.any(1).all()
    assert np.abs(summed(True) - whole).max() <= 1e-3 * np.abs(whole).max()


def test_changes_on_the_host_count_when_they_are_refreshed(device: Any) -> None:
    case, rays, targets, behind = steps.given(steps.CASES["bounded"], 0.6)
    trained = steps.start(device, case)
    o = steps.options(device, steps.SETTINGS["plain"])
    o.target_samples = 16384

    def error() -> float:
        return float(steps.gradients(trained, o, rays, targets, behind)[2]["squared_error"])

    first = error()
    trained.case.weights[:] *= 0.5
    trained.case.weights_t[:] *= 0.5
    assert error() == pytest.approx(first, rel=1e-4)
    trained.trainer.refresh()
    assert error() != pytest.approx(first, rel=1e-3)
    # What is fetched after a refresh is what was there.
    before = copies(trained)
    trained.trainer.fetch()
    assert all(map(np.array_equal, copies(trained), before))


def test_a_picture_while_training_shows_what_is_trained(device: Any) -> None:
    case = make_case(20, gain=3.0)
    own = replace(case, table=case.table.copy(), weights=case.weights.copy(), occupancy=case.occupancy.copy())
    live = own.field(device)
    master = own.master.copy()
    arrays = (master, np.zeros((len(master), 2, master.shape[1]), np.float32),
              np.zeros(2 * len(own.weights), np.float32), np.full(32**3, 0.04, np.float32))  # fmt: skip
    camera = ([18.0, 19.0, 8.0, 6.0, 0, 0, 0, 0, 0], 0, 16, 12, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, -2.0])
    trainer = device.Trainer(live, *arrays, None, [camera], np.full(16 * 12 * 3, 99, np.uint8), 3, True,
                             [0.0, 0.0, 0.0], 0)  # fmt: skip
    before = seen(device, own)
    assert np.array_equal(seen(device, own, of=live), before)
    trainer.run(steps.options(device, steps.SETTINGS["as in training"]), 6, 60.0)
    shown = seen(device, own, of=live)
    assert np.array_equal(seen(device, own), before) and np.abs(shown - before).max() > 0.01
    trainer.fetch()
    assert np.array_equal(seen(device, own), shown)
    other = make_case(21, log2_table=13, gain=3.0)
    with pytest.raises(ValueError, match="table must have"):
        device.Field(**other.arguments(), of=live)


def test_photos_are_copied_once(device: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, PHOTOS * 16 * 12 * 3, np.uint8)
    pixels.tofile(tmp_path / "pixels")
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r")
    tables = []
    for given, spoil in ((pixels.copy(), False), (pixels.copy(), True), (mapped, False)):
        trained, o = begun(device, pixels=given)
        o.target_samples, o.epsilon, o.table_rate = 16384, 1.0, 100.0  # so that a sum's order matters little
        if spoil:
            given[:] = 0
        trained.run(o, 2)
        tables.append(trained.table - trained.case.master)
        assert (trained.table != steps.CASES["bounded"].master).any()
    for table in tables[1:]:
        assert_close_but_for_flips(table, tables[0], 1e-3 * np.abs(tables[0]).max(), 0.01)


@pytest.fixture
def as_cuda(device: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The device as the backend that is called "cuda", with small steps."""
    import nerfscene.ops

    monkeypatch.setitem(sys.modules, "nerfscene.ops._cuda", device)
    monkeypatch.setattr(nerfscene.ops, "_cuda", device, raising=False)
    small_steps(monkeypatch)
    return device


def test_too_little_memory_is_told_before_anything_is_written(
    as_cuda: Any, small_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if as_cuda.device_name() != EMULATED:
        pytest.skip("a card's memory is what it is")
    monkeypatch.setenv("NERFSCENE_EMULATED_MEMORY", str(16 << 20))
    needed = "training needs at least .* of the GPU's memory, .* are free; use smaller photos .*--backend cpu"
    with pytest.raises(NerfsceneError, match=needed):
        api.train(small_room, tmp_path / "scene", TrainConfig(steps=4, backend="cuda"), SMALL)
    assert not scenes.is_scene(tmp_path / "scene")
    monkeypatch.setenv("NERFSCENE_EMULATED_MEMORY", "1")
    case = steps.CASES["bounded"]
    with pytest.raises(NerfsceneError, match=r"out of memory: .* more are needed"), backend.device_errors():
        case.field(as_cuda)
    monkeypatch.delenv("NERFSCENE_EMULATED_MEMORY")
    case.field(as_cuda)


@pytest.mark.long
def test_what_is_saved_and_shown_while_training_is_what_is_trained(
    as_cuda: Any, small_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exposures fitted and cameras refined; then the device resumes its own training."""
    monkeypatch.setattr(exposures, "EXPOSURE_LEAST", 0.0)  # neither is given up
    monkeypatch.setattr(moving_cameras, "REFINE_LEAST", 0.0)
    monkeypatch.setattr(loop, "slice_limits", lambda run, config: (6, math.inf))
    monkeypatch.setattr(record, "guessed", lambda renderer, views: None)  # it takes long
    folder, control = tmp_path / "scene", Control()
    shown: list[Any] = []
    live: list[tuple[Renderer, Camera]] = []

    def started(scene: Any) -> None:
        view = scene.views[0]
        live.append(
            (scene.photo_renderer("cuda"), Camera(scaled(view.intrinsics, 12, 9), view.world_from_cam))
        )

    def listener(progress: Progress) -> None:
        if progress.stage != "training":
            return
        shown.append(render(*live[0]).rgb)
        control.save = len(shown) == 1

    control.started = started
    config = TrainConfig(steps=24, holdout=0, backend="cuda")
    scene = api.train(small_room, folder, config, SMALL, listener=listener, control=control)
    assert len(shown) == 4 and all(np.abs(b - a).max() > 1e-3 for a, b in itertools.pairwise(shown))
    assert scene.field.live is None
    loaded = scenes.load(folder)
    for name in OF_THE_FIELD:
        assert np.array_equal(getattr(loaded.field, name), getattr(scene.field, name))
    for one in (scene, loaded):
        # Photos of several exposures: the finished scene is shown at the brightest good one's.
        plain = replace(one.photo_renderer("cuda"), gain=1.0)
        assert np.array_equal(render(plain, live[0][1]).rgb, shown[-1])
    assert any(any(v.exposure) for v in loaded.views)
    assert loaded.figures.cameras_moved is not None and loaded.figures.cameras_moved > 0
    more = api.train(small_room, folder, replace(config, steps=30), SMALL, resume=True)
    assert more.figures.steps == 30
    assert not np.array_equal(more.field.table, scene.field.table)

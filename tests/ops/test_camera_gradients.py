"""From the loss to the cameras: gradients of rays, poses and lenses against the oracle, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import training_steps as steps
from kernel_cases import assert_close, double
from scipy.spatial.transform import Rotation

from nerfscene.ops import reference as ref
from nerfscene.ops import torch_backend

pytest_plugins = ["kernel_cases"]

PHOTOS = 4  # of steps.start
NAMES = ("bounded", "bounded, network", "unbounded", "unbounded, network", "ahead")
LENSES = {
    "pinhole": ([300.0, 310, 160, 120, 0, 0, 0, 0, 0], 0),
    "distorted": ([300.0, 310, 150, 125, -0.12, 0.05, 2e-3, -3e-3, 0.01], 0),
    "fisheye": ([200.0, 190, 160, 120, 0.03, -0.01, 4e-3, -1e-3, 0], 1),
}


def oracle(name: str) -> Any:
    """Gradients (n, 6) in float64 by rays' origins and directions; samples keep their distances."""
    case, rays, targets, behind = steps.given(steps.CASES[name], 1.0)
    origins, directions, jitter, target, b = double(*rays, targets, behind)
    table, weights = case.tensors()
    ends = torch.cat([origins, directions], 1).requires_grad_()
    layers = ref.split_weights(weights, case.shapes)
    s = ref.march(origins, directions, jitter, case.bits(), case.space, 1.0)
    unit = ref.to_unit(ends[s.ray, :3] + s.t[:, None] * ends[s.ray, 3:], case.space)
    outputs = ref.network_outputs(ref.hash_encode(unit, table, case.grid), layers)
    sigma, rgb = ref.density_activation(outputs[:, 0]), ref.color(outputs, directions[s.ray], layers)
    alive, kept = ref.survivors(s, sigma, 0.0, 0.0)
    seen = ref.composite(s, sigma, rgb, b, alive, kept)
    (ref.huber(seen.rgb - target, 0.1).sum() / steps.RAYS).backward()
    assert ends.grad is not None
    return ends.grad.numpy()


def check_rays(module: Any, name: str, tolerance: float, again: float = 1e-6) -> None:
    """``again``: how far two computations of the table's gradient may differ, as a share of its largest."""
    case, rays, targets, behind = steps.given(steps.CASES[name], 1.0)
    trained = steps.start(module, case)
    o = steps.options(module, steps.SETTINGS["plain"])
    o.target_samples = 16384
    d_table = np.zeros(trained.table.shape, np.float32)
    d_weights = np.zeros(len(trained.case.weights), np.float32)
    d_rays = np.full((steps.RAYS, 6), np.nan, np.float32)
    report = trained.trainer.gradients(o, *rays, targets, behind, d_table, d_weights, None, None, d_rays)
    assert report["dropped"] == 0
    want = oracle(name)
    for part in (slice(0, 3), slice(3, 6)):
        off = np.linalg.norm(d_rays[:, part] - want[:, part], axis=1)
        # Rounding can move a sample across a cell's border, where the slope is another.
        assert np.quantile(off, 0.8) < tolerance * np.abs(want[:, part]).max()
        assert np.corrcoef(d_rays[:, part].ravel(), want[:, part].ravel())[0, 1] > 1 - 3 * tolerance
    d_same = np.zeros_like(d_table)
    trained.trainer.gradients(o, *rays, targets, behind, d_same, d_weights)
    assert_close(d_table, d_same, again * np.abs(d_same).max())


@pytest.mark.parametrize("name", NAMES)
def test_rays_match_the_oracle(native: Any, name: str) -> None:
    check_rays(native, name, 2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_rays_match_the_oracle_on_the_device(device: Any, name: str) -> None:
    emulated = device.device_name() == "emulated GPU"
    check_rays(device, name, 0.01, 1e-6 if emulated else 1e-5)  # a real GPU adds up in any order


@pytest.mark.parametrize("name", NAMES)
def test_rays_match_the_oracle_in_torch(name: str) -> None:
    check_rays(torch_backend, name, 2e-4)


@pytest.mark.parametrize("name", LENSES)
def test_cameras_match_autograd(native: Any, name: str) -> None:
    intrinsics, lens = LENSES[name]
    rng = np.random.default_rng(3)
    pose = np.concatenate([Rotation.random(random_state=4).as_matrix(), rng.normal(size=(3, 1))], 1)
    pixels = rng.uniform(1, [319, 239], (200, 2)).astype(np.float32)
    pixels[0] = intrinsics[2:4]  # straight ahead, where the formulas of a fisheye are singular
    d_rays = rng.normal(size=(200, 6)).astype(np.float32)
    out = np.full((200, 15), np.nan, np.float32)
    native.camera_gradient(intrinsics, lens, 320, 240, pose.ravel().tolist(), pixels, d_rays, out)
    p, g, k, m = double(pixels, d_rays, np.array(intrinsics), pose)
    want = ref.camera_gradient(p, k, lens, m.reshape(12), g).numpy()
    same = np.full_like(out, np.nan)
    torch_backend.camera_gradient(intrinsics, lens, 320, 240, pose.ravel().tolist(), pixels, d_rays, same)
    some = slice(1, None)
    for column in range(15):
        size = max(np.abs(want[some, column]).max(), 1e-12)
        assert_close(out[some, column], want[some, column], 2e-3 * size)
        assert_close(same[some, column], want[some, column], 2e-3 * size)
    assert_close(out[0, :10], want[0, :10], 1e-3 * np.abs(want[:, :10]).max())


def test_a_turned_camera_is_what_the_gradient_foresees() -> None:
    # Not against the oracle but against finite differences of the pixel's ray.
    intrinsics, lens = LENSES["distorted"]
    rng = np.random.default_rng(5)
    pixels, d_rays = double(rng.uniform(1, 200, (20, 2)), rng.normal(size=(20, 6)))
    k = torch.tensor(intrinsics, dtype=torch.float64)
    rotation, centre = Rotation.random(random_state=6), rng.normal(size=3)

    def loss(delta: Any) -> float:
        turned = (Rotation.from_rotvec(delta[:3]) * rotation).as_matrix()
        pose = torch.from_numpy(np.concatenate([turned, (centre + delta[3:6])[:, None]], 1))
        o, d = ref.pixel_rays(pixels, k + torch.from_numpy(delta[6:]), lens, pose.reshape(12))
        return float((torch.cat([o, d], 1) * d_rays).sum())

    steps_ = np.diag([1e-5] * 6 + [1e-3] * 4 + [1e-5] * 5)
    slopes = [(loss(e) - loss(-e)) / (2 * e.max()) for e in steps_]
    pose = torch.from_numpy(np.concatenate([rotation.as_matrix(), centre[:, None]], 1)).reshape(12)
    want = ref.camera_gradient(pixels, k, lens, pose, d_rays).sum(0).numpy()
    assert_close(want, np.array(slopes), 1e-6 * np.abs(want).max())


def summed(module: Any, name: str, every: int, threads: int = 1, turns: int = 4) -> Any:
    """The cameras' gradients after some steps with learning rates of zero."""
    case, *_ = steps.given(steps.CASES[name], 0.6)
    gradients = np.zeros((PHOTOS, 15), np.float32)
    trained = steps.start(module, case, camera_gradients=gradients, threads=threads)
    o = steps.options(module, steps.SETTINGS["plain"])
    o.table_rate = o.weight_rate = 0.0
    o.occupancy_every, o.camera_every = 0, every
    trained.trainer.survivors_per_ray = 60.0  # few enough rays that none is dropped
    report = trained.run(o, turns, 60.0)
    assert report["dropped"] == 0
    return np.array(gradients)


@pytest.mark.parametrize("name", ("bounded", "unbounded, network"))
def test_every_backend_sums_the_same(kernels: Any, name: str) -> None:
    want = summed(torch_backend, name, 2)
    got = summed(kernels, name, 2)
    size = np.abs(want).max(0)
    assert (size[:13] > 0).all()
    assert (np.abs(got - want) < 0.03 * size + 1e-12).all()


def test_threads_sum_the_same(native: Any) -> None:
    one, three = (summed(native, "unbounded", 1, threads) for threads in (1, 3))
    assert (np.abs(one - three) <= 1e-4 * np.abs(one).max(0) + 1e-12).all()


def test_camera_gradients_are_summed_only_in_the_steps_asked_for(native: Any) -> None:
    assert not summed(native, "bounded", 0).any()
    few, all_ = summed(native, "bounded", 4), summed(native, "bounded", 1)
    assert few.any() and np.abs(all_).sum() > 1.5 * np.abs(few).sum()


def test_cameras_can_be_replaced(kernels: Any) -> None:
    case, *_ = steps.given(steps.CASES["bounded"], 1.0)
    pixels = np.tile(np.array([[255, 0, 0]], np.uint8), (PHOTOS * 16 * 12, 1)).reshape(-1)
    trained = steps.start(kernels, case, pixels=pixels)
    o = steps.options(kernels, steps.SETTINGS["plain"])
    before = trained.run(o, 1, 60.0)
    away = ([18.0, 19.0, 8.0, 6.0, 0, 0, 0, 0, 0], 0, 16, 12, [1.0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 1, 9])
    trained.trainer.set_cameras([away] * PHOTOS)
    after = trained.run(o, 1, 60.0)
    assert before["candidates"] > 0 and after["candidates"] == 0  # all cameras look past the scene
    with pytest.raises((TypeError, ValueError)):
        trained.trainer.set_cameras([away] * (PHOTOS - 1))
    with pytest.raises((TypeError, ValueError)):
        trained.trainer.set_cameras([(away[0], 0, 12, 16, away[4])] * PHOTOS)

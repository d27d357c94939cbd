"""From pixels to rays: kernels against the oracle, the oracle against the lens's own equation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import assert_close, double, random_directions
from lens_cases import FISHEYE, LENSES, OF_FILMS, PERSPECTIVE, native_rays, random_pose, some_pixels

from nerfscene.ops import backend
from nerfscene.ops import reference as ref
from nerfscene.ops import reference_lens as lens

pytest_plugins = ["kernel_cases"]


@pytest.mark.parametrize(("k", "kind"), [*LENSES, *OF_FILMS])
def test_pixel_rays_match_oracle(kernels: Any, k: list[float], kind: int) -> None:
    pose, pixels = random_pose(2), some_pixels()
    o, d = native_rays(kernels, k, kind, pose, pixels)
    k64, pose64 = double(np.array(k, np.float32), np.array(pose, np.float32))
    expected_o, expected_d = ref.pixel_rays(double(pixels)[0], k64, kind, pose64)
    assert_close(o, expected_o, 0 if kind < 2 else 1e-6)
    # a thousandth of a pixel's angle
    assert_close(d, expected_d, 2e-6)
    assert_close(np.linalg.norm(d, axis=1), 1.0, 1e-6)


@pytest.mark.parametrize("k", PERSPECTIVE)
def test_undistorting_inverts_distorting(k: list[float]) -> None:
    ideal = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)).double() * 0.9 - 0.45
    bent = lens.distort(torch.tensor(k[4:]).double(), ideal)
    assert (lens.undistort(torch.tensor(k[4:]).double(), bent) - ideal).abs().max() < 1e-8


@pytest.mark.parametrize(("k", "kind"), LENSES)
def test_rays_project_back_to_their_pixels(k: list[float], kind: int) -> None:
    pixels = double(some_pixels())[0]
    k64 = torch.tensor(k).double()
    identity = torch.eye(4, dtype=torch.float64)[:3].reshape(12)
    _, d = ref.pixel_rays(pixels, k64, kind, identity)
    if kind == lens.PERSPECTIVE:
        image = lens.distort(k64[4:], d[:, :2] / d[:, 2:])
    else:
        r = d[:, :2].norm(dim=1)
        theta = torch.atan2(r, d[:, 2])
        t2 = theta**2
        bent = theta * (1 + t2 * (k[4] + t2 * (k[5] + t2 * (k[6] + t2 * k[7]))))
        image = d[:, :2] * torch.where(r > 0, bent / r.clamp(min=1e-12), 1.0)[:, None]
    assert_close((image * k64[:2] + k64[2:4]).numpy(), pixels, 1e-4)


def test_the_axes_are_opencvs(kernels: Any) -> None:
    identity = [1.0, 0, 0, 0.1, 0, 1, 0, 0.2, 0, 0, 1, 0.3]
    pixels = np.array([[320, 240], [920, 240], [320, 840]], np.float32)
    o, d = native_rays(kernels, PERSPECTIVE[0], 0, identity, pixels)
    s = 0.5**0.5
    assert_close(d, [[0, 0, 1], [s, 0, s], [0, s, s]], 1e-6)  # right is +x, down is +y
    assert_close(o, [[0.1, 0.2, 0.3]] * 3, 1e-7)
    quarter = np.array([[320 + 300 * np.pi / 2, 240]], np.float32)  # 90° off a fisheye's axis
    _, d = native_rays(kernels, FISHEYE[0], 1, identity, quarter)
    assert_close(d, [[1, 0, 0]], 1e-6)


def test_films_lenses_look_where_their_formulas_say(kernels: Any) -> None:
    identity, pixels = [1.0, 0, 0, 0.1, 0, 1, 0, 0.2, 0, 0, 1, 0.3], some_pixels()
    pixels[:, 1] *= 320 / 480  # the pictures of all round are 640×320
    x, y = pixels.astype(float).T
    (all_round, _), (flat, _), (two_eyes, _) = OF_FILMS

    def toward(longitude: Any, latitude: Any) -> Any:
        across = np.cos(latitude)
        return np.stack([across * np.sin(longitude), -np.sin(latitude), across * np.cos(longitude)], 1)

    o, d = native_rays(kernels, all_round, 2, identity, pixels)
    assert_close(d, toward((x / 640 - 0.5) * 2 * np.pi, (0.5 - y / 320) * np.pi), 2e-6)
    assert_close(o, np.tile([0.1, 0.2, 0.3], (len(o), 1)), 1e-7)
    o, d = native_rays(kernels, two_eyes, 4, identity, pixels)
    right = x >= 320
    assert_close(d, toward(((x - 320 * right) / 320 - 0.5) * np.pi, (0.5 - y / 320) * np.pi), 2e-6)
    assert_close(o[:, 0], np.where(right, 0.1 + 0.15, 0.1 - 0.15), 1e-6)
    o, d = native_rays(kernels, flat, 3, identity, pixels)
    assert_close(d, np.tile([0.0, 0.0, 1.0], (len(d), 1)), 0)
    assert_close(o, np.stack([0.1 + (x - 320) / 200, 0.2 + (y - 240) / 210, 0 * x + 0.3], 1), 1e-6)


def test_a_rotated_camera_rotates_its_rays(kernels: Any) -> None:
    identity, pose = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], random_pose(4)
    pixels = some_pixels(50)
    _, still = native_rays(kernels, PERSPECTIVE[1], 0, identity, pixels)
    o, turned = native_rays(kernels, PERSPECTIVE[1], 0, pose, pixels)
    m = np.array(pose).reshape(3, 4)
    assert_close(turned, still @ m[:, :3].T, 1e-6)
    assert_close(o, np.tile(m[:, 3], (50, 1)), 1e-6)


def test_oracle_gradients_are_differences() -> None:
    pixels = double(some_pixels(6))[0].requires_grad_()
    pose = torch.tensor(random_pose(5)).double().requires_grad_()
    for k, kind in (LENSES[1], LENSES[4]):
        k64 = torch.tensor(k).double().requires_grad_()
        assert torch.autograd.gradcheck(
            lambda p, a, b, kind=kind: ref.pixel_rays(p, a, kind, b)[1], (pixels, k64, pose)
        )


@pytest.mark.parametrize("n", (0, 1, 17))
def test_any_number_of_pixels(kernels: Any, n: int) -> None:
    o, d = native_rays(kernels, PERSPECTIVE[1], 0, random_pose(6), some_pixels()[:n])
    assert o.shape == d.shape == (n, 3) and np.isfinite(d).all()


def test_wrong_cameras_are_refused(kernels: Any) -> None:
    pixels, pose, k = some_pixels(3), random_pose(0), PERSPECTIVE[0]
    for wrong in (
        (k[:4], pose, pixels),
        (k, pose[:9], pixels),
        ([np.nan, *k[1:]], pose, pixels),
        (k, [*pose[:11], np.inf], pixels),
        (k, pose, pixels.astype(np.float64)),
        (k, pose, random_directions(3)),
    ):
        with pytest.raises((TypeError, ValueError)):
            native_rays(kernels, wrong[0], 0, wrong[1], wrong[2])


@pytest.mark.parametrize(
    ("k", "kind"),
    [
        ([1e-38, 1e-38, 320, 240, 0, 0, 0, 0, 0], 0),
        ([300, 300, 320, 240, 1e20, -1e20, 1e25, 1e30, 1e30], 0),
        ([300, 300, 320, 240, -1, -1, -1, -1, 0], 1),
        ([300, 300, 320, 240, 1e30, -1e30, 1e30, 1e30, 0], 1),
    ],
)
def test_rays_of_impossible_lenses_are_unit_vectors(k: list[float], kind: int) -> None:
    """A ray that isn't finite would march through cells that don't exist."""
    _, d = native_rays(backend.load("cpu"), k, kind, random_pose(2), some_pixels())
    assert_close(np.linalg.norm(d, axis=1), 1.0, 1e-5)

"""Gaussians, cameras and the oracle's pictures and gradients of them, for the tests of the rasteriser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from kernel_cases import Floats
from numpy.typing import NDArray
from torch import Tensor

from nerfscene.ops import reference_splats as ref
from nerfscene.ops.splatting import NEAR, PARAMETERS, Gaussians, Pinhole, Window

BEHIND = (0.2, 0.5, 0.7)


@dataclass(frozen=True)
class Scene:
    """What is drawn; window: the part of the picture, in its pixels."""

    gaussians: Gaussians
    camera: Pinhole
    window: Window


def turned(axis: int, angle: float) -> NDArray[np.float64]:
    """A quaternion (4,), w first."""
    q = np.zeros(4)
    q[0], q[1 + axis] = np.cos(angle / 2), np.sin(angle / 2)
    return q


def pose(seed: int = 0) -> NDArray[np.float64]:
    """camera_from_world (3, 4) of a camera that looks about along the world's z axis from near its origin."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(np.eye(3) + 0.15 * rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(q))
    q[2] *= np.linalg.det(q)
    return np.concatenate([q, rng.normal(size=(3, 1)) * 0.2], 1)


def camera(width: int = 37, height: int = 29, seed: int = 0) -> Pinhole:
    """A camera of about 60 degrees, whose principal point is not in the middle."""
    return Pinhole(pose(seed), 0.9 * width, 0.95 * width, 0.52 * width, 0.47 * height, width, height)


def some(n: int, degree: int = 1, seed: int = 0, size: float = -1.6, opacity: float = 0.0) -> Gaussians:
    """Gaussians of many shapes before the camera, and a few beside and behind it."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n, 3)) * [1.6, 1.3, 1.0] + [0, 0, 4]
    centres[::9, 2] -= 5
    return Gaussians(
        centres.astype(np.float32),
        (size + 0.6 * rng.normal(size=(n, 3))).astype(np.float32),
        (rng.normal(size=(n, 4)) * rng.uniform(0.3, 3, (n, 1))).astype(np.float32),
        (opacity + 1.5 * rng.normal(size=n)).astype(np.float32),
        (rng.normal(size=(n, (degree + 1) ** 2, 3)) * 0.4).astype(np.float32),
    )


def like(g: Gaussians, **changed: object) -> Gaussians:
    """The same with the first Gaussians' numbers replaced."""
    new = {name: getattr(g, name).copy() for name in PARAMETERS}
    for name, value in changed.items():
        value = np.asarray(value, np.float32)
        new[name][: len(value)] = value
    return Gaussians(**new)


def _needle() -> Gaussians:
    g = some(4, seed=3)
    thin = [[0.7, -7.0, -7.0], [1.4, -9.0, -9.0], [0.2, -6.5, -6.5], [-1, -1, -1]]
    return like(
        g,
        centres=[[0, 0, 3], [0.3, 0.1, 4], [-0.4, 0.3, 3], [0, 0, 5]],
        log_scales=thin,
        opacities=[3, 4, 3, 1],
    )


def _pancake() -> Gaussians:
    flat = [[-0.5, -0.5, -12.0]] * 3
    turns = [turned(0, 0.0), turned(0, 1.2), turned(1, np.pi / 2)]  # facing, slanted, edge-on
    return like(
        some(4, seed=4),
        centres=[[0, 0, 3], [0.5, 0, 4], [-0.5, 0, 3.5]],
        log_scales=flat,
        turns=turns,
        opacities=[1, 2, 4],
    )


def _not_numbers() -> Gaussians:
    g = some(30, degree=2, seed=5)
    for i, name in enumerate(PARAMETERS):
        for k, value in enumerate((np.nan, np.inf, -np.inf)):
            getattr(g, name)[3 * i + k].reshape(-1)[-1] = value
    g.turns[20] = 0
    g.log_scales[21] = 80.0
    g.log_scales[22] = -80.0
    return g


def _stack() -> Gaussians:
    g = some(40, seed=6)
    centres = np.stack([np.zeros(40), np.zeros(40), np.linspace(2, 5, 40)], 1)
    return like(g, centres=centres, log_scales=np.full((40, 3), 0.5), opacities=np.full(40, 12.0))


def _none() -> Gaussians:
    return Gaussians(*(getattr(some(1), name)[:0] for name in PARAMETERS))


# Each is a kind that a rasteriser may get wrong.
DEGENERATE: dict[str, Callable[[], Gaussians]] = {
    "needles": _needle,
    "pancakes": _pancake,
    "behind": lambda: like(
        some(5, seed=7), centres=[[0, 0, -3], [0.2, 0, -1], [0, 0, 0], [0, 0, -0.2], [1, 1, -9]]
    ),
    "larger than the view": lambda: like(
        some(4, seed=8),
        centres=[[0, 0, 3], [2, 0, 6], [0, 3, 4]],
        log_scales=[[3, 3, 3], [2, 1, 2.5], [4, 4, 0]],
    ),
    "at the near plane": lambda: like(
        some(6, seed=9),
        centres=[[0, 0, 0.35], [0.1, 0, 0.25], [0.3, 0.3, 0.3], [0, -0.2, 0.5]],
        log_scales=[[-1, -1, -1]] * 4,
    ),
    "opaque stack": _stack,
    "none": _none,
    "not numbers": _not_numbers,
    "faint": lambda: like(some(6, seed=10), opacities=[-5.6, -5.54, -5.5, -5.4, -20, 0]),
    "same depth": lambda: like(some(12, seed=11), centres=np.tile([[0, 0, 3]], (12, 1))),
}


@cache
def scene(name: str) -> Scene:
    """A degenerate one by its name; "some, DEGREE" ones; "window": a part of those of degree 1; or "many"."""
    if name in DEGENERATE:
        gaussians, k = DEGENERATE[name](), camera()
        if name == "at the near plane":
            k = replace(k, camera_from_world=np.eye(4)[:3])
        return Scene(gaussians, k, (0, 0, k.width, k.height))
    if name == "window":
        return Scene(some(60), camera(), (5, 3, 19, 23))
    if name == "many":
        return Scene(some(2500, 0, size=-2.5, opacity=-1.0), camera(50, 35), (0, 0, 50, 35))
    return Scene(some(60, int(name.removeprefix("some, "))), camera(), (0, 0, 37, 29))


SCENES = (*(f"some, {degree}" for degree in range(4)), "window", *DEGENERATE)


def leaves(g: Gaussians) -> list[Tensor]:
    """The parameters in float64, wanting gradients."""
    return [torch.from_numpy(getattr(g, name)).double().requires_grad_() for name in PARAMETERS]


def drawn_by_oracle(parameters: list[Tensor], of: Scene, background: Tensor) -> tuple[ref.Flat, ref.Blended]:
    """The picture in float64."""
    k = of.camera
    lens = ref.Lens(k.fx, k.fy, k.cx, k.cy, k.width, k.height)
    flat = ref.project(tuple(parameters), torch.from_numpy(np.asarray(k.camera_from_world)), lens, NEAR)
    return flat, ref.blend(flat, of.window, background)


@cache
def drawn_many() -> NDArray[np.float64]:
    """The oracle's picture (h, w, 3) of the scene "many"."""
    with torch.no_grad():
        of = scene("many")
        _, seen = drawn_by_oracle(leaves(of.gaussians), of, torch.tensor(BEHIND).double())
    return seen.rgb.numpy()


def slopes(of: Scene, seed: int = 0) -> tuple[Floats, Floats]:
    """Gradients by rgb (h, w, 3) and alpha (h, w), of any sign."""
    rng = np.random.default_rng(seed)
    _, _, width, height = of.window
    both = rng.normal(size=(height, width, 3)), rng.normal(size=(height, width))
    return both[0].astype(np.float32), both[1].astype(np.float32)


@dataclass(frozen=True)
class Expected:
    """The oracle's picture in float64, gradients by name, and each Gaussian's pixels and largest weight."""

    rgb: NDArray[np.float64]
    alpha: NDArray[np.float64]
    depth: NDArray[np.float64]
    gradients: dict[str, NDArray[np.float64]]
    pixels: NDArray[np.int64]
    weight: NDArray[np.float64]


@cache
def expected(name: str) -> Expected:
    """Of the scene of that name, with its ``slopes``."""
    of = scene(name)
    given, behind = leaves(of.gaussians), torch.tensor(BEHIND).double().requires_grad_()
    flat, seen = drawn_by_oracle(given, of, behind)
    d_rgb, d_alpha = (torch.from_numpy(d).double() for d in slopes(of))
    loss = (seen.rgb * d_rgb).sum() + (seen.alpha * d_alpha).sum()
    found = torch.autograd.grad(loss, [*given, behind], allow_unused=True)
    gradients = {
        key: (torch.zeros_like(leaf) if g is None else g).numpy()
        for key, g, leaf in zip((*PARAMETERS, "background"), found, [*given, behind], strict=True)
    }
    n = len(of.gaussians)
    pixels, weight = np.zeros(n, np.int64), np.zeros(n)
    weights = seen.weights.detach().flatten(1).numpy()
    pixels[flat.index] = (weights > 0).sum(1)
    weight[flat.index] = weights.max(1, initial=0)
    picture = [x.detach().numpy() for x in (seen.rgb, seen.alpha, seen.depth)]
    return Expected(picture[0], picture[1], picture[2], gradients, pixels, weight)

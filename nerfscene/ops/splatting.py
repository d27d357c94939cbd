"""Pictures of anisotropic 3D Gaussians, and the gradients by which they are fitted to photos.

``Rasteriser`` draws and takes gradients back; ``photo_loss`` compares a picture with a photo; ``improve``
takes one step of Adam. All of them compute with the compiled kernels (``cuda_ext/include/splat.h``), or with
plain torch on the backend "torch", which is only fast enough for a few hundred Gaussians.

Cameras follow OpenCV's axes, and the centre of a pixel lies at (column + 0.5, row + 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.ops import backend

Floats = NDArray[np.float32]
Window = tuple[int, int, int, int]

PARAMETERS = ("centres", "log_scales", "turns", "opacities", "harmonics")
NEAR = 0.01  # Gaussians whose centres are nearer than this to the camera's plane are not drawn
BETAS = (0.9, 0.99)
EPSILON = 1e-15


@dataclass(frozen=True)
class Gaussians:
    """Gaussians as they are fitted, in splat files' numbers (Kerbl et al. 2023). All float32, in C order.

    centres: (n, 3), world units
    log_scales: (n, 3), natural logarithms of the standard deviations along the Gaussian's axes, world units
    turns: (n, 4), quaternions w, x, y, z of any length but 0, which turn the Gaussian's axes to the world's
    opacities: (n,), logits: a Gaussian's opacity at its centre is their sigmoid
    harmonics: (n, k, 3) with k = 1, 4, 9 or 16, the coefficients of the real spherical harmonics to degree
        0 to 3 for red, green and blue, in the direction from the camera to the centre; the colour is 0.5 plus
        their sum, and not below 0
    """

    centres: Floats
    log_scales: Floats
    turns: Floats
    opacities: Floats
    harmonics: Floats

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def degree(self) -> int:
        """Of the spherical harmonics, 0 to 3."""
        return int(np.sqrt(self.harmonics.shape[1])) - 1


@dataclass(frozen=True)
class Pinhole:
    """A camera without distortion: lengths in pixels, and where it is.

    camera_from_world: (3, 4), a rotation and a shift in world units
    """

    camera_from_world: NDArray[np.floating[Any]]
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


@dataclass(frozen=True)
class Drawn:
    """A picture of Gaussians, or of a window of it.

    rgb: (h, w, 3), sRGB, over the background, 0 or more
    alpha: (h, w), 0 to 1
    depth: (h, w), the mean of the centres' distances along the optical axis by weight, world units; 0 where
        there is nothing
    """

    rgb: Floats
    alpha: Floats
    depth: Floats


@dataclass(frozen=True)
class Gradients:
    """The gradients of a loss by all parameters, and what a picture showed of each Gaussian.

    centres … harmonics: as in ``Gaussians``
    background: (3,)
    pixels: (n,), int32: in how many pixels of the window it has weight; 0: all its gradients are 0
    pull: (n,): the sum over these of the absolute gradient by the position of its centre in the picture (the
        length of the sums of |∂/∂x| and |∂/∂y|), loss per pixel; large where it should be split
    weight: (n,): its largest weight in any of these, 0 to 1
    """

    centres: Floats
    log_scales: Floats
    turns: Floats
    opacities: Floats
    harmonics: Floats
    background: Floats
    pixels: NDArray[np.int32]
    pull: Floats
    weight: Floats


@dataclass(frozen=True)
class Loss:
    """How far a picture is from a photo, and the gradients.

    value: (1 - λ) · mean |difference| + λ · (1 - mean SSIM)
    squared_error: the mean squared difference (of all channels, by weight)
    d_rgb: (h, w, 3), by the picture's colours
    d_gains: (3,), by the photo's gains
    """

    value: float
    squared_error: float
    d_rgb: Floats
    d_gains: Floats


@dataclass(frozen=True)
class Rates:
    """Adam's rates of learning: the length of a first step, in each parameter's own units.

    centres: as a share of each Gaussian's largest standard deviation, since Gaussians of one scene differ in
    size ten thousandfold
    """

    centres: float
    log_scales: float = 5e-3
    turns: float = 1e-3
    opacities: float = 5e-2
    constant: float = 2.5e-3  # harmonics of degree 0
    harmonics: float = 1.25e-4  # of higher degree


@dataclass(frozen=True)
class Moments:
    """Adam's moments of each parameter: arrays (2, n, …), the gradients' mean and their squares' mean."""

    centres: Floats
    log_scales: Floats
    turns: Floats
    opacities: Floats
    harmonics: Floats


class Rasteriser:
    """Draws Gaussians, and keeps what the way back needs.

    Its memory is used again for each picture. ``backward`` returns the same arrays each time, as long as the
    Gaussians' number stays: copy what must last, and don't change them.
    """

    def __init__(self, name: str = "auto", threads: int = 0) -> None:
        self._splatter = _kernels(name).Splatter(backend.thread_count(threads))
        self._shown: tuple[Gaussians, tuple[int, int]] | None = None
        self._gradients: Gradients | None = None

    def draw(
        self,
        gaussians: Gaussians,
        camera: Pinhole,
        background: Sequence[float] = (0.0, 0.0, 0.0),
        window: Window | None = None,
        near: float = NEAR,
    ) -> Drawn:
        """The picture that a camera takes, or of it only the window (x0, y0, width, height), in pixels.

        Gaussians with parameters that are no numbers are not drawn.
        Raises ValueError for arrays of other shapes or types, and for a window beyond the picture.
        """
        left, top, width, height = window or (0, 0, camera.width, camera.height)
        rgb = np.empty((height, width, 3), np.float32)
        alpha, depth = np.empty((2, height, width), np.float32)
        self._draw(gaussians, camera, background, (left, top, width, height), near, True, rgb, alpha, depth)
        return Drawn(rgb, alpha, depth)

    def colours(
        self,
        gaussians: Gaussians,
        camera: Pinhole,
        background: Sequence[float] = (0.0, 0.0, 0.0),
        back: bool = False,
    ) -> Floats:
        """Only the colours (h, w, 3) of the whole picture, as ``draw`` makes them, in less time.

        back: whether ``backward`` is wanted afterwards; without it there is nothing to go back from.
        Raises ValueError as ``draw`` does.
        """
        rgb, none = np.empty((camera.height, camera.width, 3), np.float32), np.empty(0, np.float32)
        window = 0, 0, camera.width, camera.height
        self._draw(gaussians, camera, background, window, NEAR, back, rgb, none, none)
        return rgb

    def _draw(
        self,
        gaussians: Gaussians,
        camera: Pinhole,
        background: Sequence[float],
        window: Window,
        near: float,
        back: bool,
        *out: Floats,
    ) -> None:
        """Draws into rgb, alpha and depth; the last two may be empty."""
        self._shown = None
        with backend.device_errors():
            self._splatter.draw(
                *(getattr(gaussians, name) for name in PARAMETERS),
                _numbers(camera),
                (camera.width, camera.height),
                window,
                [float(c) for c in background],
                near,
                back,
                *out,
            )
        self._shown = (gaussians, (window[3], window[2])) if back else None

    def backward(self, d_rgb: Floats, d_alpha: Floats | None = None) -> Gradients:
        """The gradients by the parameters of the Gaussians drawn last, which must not have changed since.

        d_rgb: (h, w, 3), the loss's gradient by the picture's colours; d_alpha: (h, w), by its alpha.
        Raises ValueError for other shapes, and if nothing was drawn.
        """
        if self._shown is None:
            raise ValueError("nothing was drawn yet")
        gaussians, size = self._shown
        if np.shape(d_rgb) != (*size, 3) or (d_alpha is not None and np.shape(d_alpha) != size):
            raise ValueError("d_rgb must be (h, w, 3), d_alpha (h, w), of the picture drawn last")
        out = self._room(gaussians)
        given = np.empty(0, np.float32) if d_alpha is None else d_alpha
        with backend.device_errors():
            self._splatter.backward(
                *(getattr(gaussians, name) for name in PARAMETERS),
                np.ascontiguousarray(d_rgb, np.float32),
                np.ascontiguousarray(given, np.float32),
                *vars(out).values(),
            )
        return out

    def _room(self, gaussians: Gaussians) -> Gradients:
        """Where gradients are written: the last one's arrays, if they fit."""
        if self._gradients is None or self._gradients.harmonics.shape != gaussians.harmonics.shape:
            n = len(gaussians)
            same = (np.zeros_like(getattr(gaussians, name)) for name in PARAMETERS)
            more = np.zeros(3, np.float32), np.zeros(n, np.int32), *np.zeros((2, n), np.float32)
            self._gradients = Gradients(*same, *more)
        return self._gradients


def photo_loss(
    rgb: Floats,
    photo: Floats | NDArray[np.uint8],
    gains: Sequence[float] = (1.0, 1.0, 1.0),
    weights: Floats | None = None,
    dissimilarity: float = 0.2,
    name: str = "auto",
    threads: int = 0,
) -> Loss:
    """How a picture (h, w, 3), times a photo's gains, differs from the photo (h, w, 3), 0 to 1 or uint8.

    The loss is that of Kerbl et al. (2023): absolute differences and, by the share ``dissimilarity`` (λ),
    1 - SSIM with a Gaussian window of 11 pixels (σ = 1.5), beyond the edges 0. weights (h, w), 0 or more:
    how much each pixel counts, by default all alike; pixels of weight 0 don't show in others' windows either.
    Raises ValueError for other shapes.
    """
    found = np.zeros(5, np.float32)  # the loss, the squared error, d_gains
    d_rgb = np.empty_like(rgb)
    if np.shape(photo) != rgb.shape or (weights is not None and np.shape(weights) != rgb.shape[:2]):
        raise ValueError("the picture and the photo must be (h, w, 3), weights (h, w)")
    none, nothing = np.empty(0, np.float32), np.empty(0, np.uint8)
    given = (none, photo) if photo.dtype == np.uint8 else (photo, nothing)
    _kernels(name).photo_loss(
        rgb,
        *given,
        [float(g) for g in gains],
        none if weights is None else weights,
        dissimilarity,
        backend.thread_count(threads),
        d_rgb,
        found,
    )
    return Loss(float(found[0]), float(found[1]), d_rgb, found[2:])


def no_moments(gaussians: Gaussians) -> Moments:
    """Adam's moments before the first step."""
    return Moments(*(np.zeros((2, *getattr(gaussians, p).shape), np.float32) for p in PARAMETERS))


def improve(
    gaussians: Gaussians,
    gradients: Gradients,
    moments: Moments,
    rates: Rates,
    name: str = "auto",
    threads: int = 0,
) -> None:
    """One step of Adam on those Gaussians that the gradients' picture showed; others and their moments stay.

    Changes the arrays of ``gaussians`` and ``moments`` in place. There is no correction of the moments' bias
    (see ``cuda_ext/include/adam.h``). Gradients that are no numbers count as 0.
    Raises ValueError for arrays of different sizes.
    """
    each = [rates.centres, rates.log_scales, rates.turns, rates.opacities, rates.constant, rates.harmonics]
    _kernels(name).improve_splats(
        *(getattr(gaussians, p) for p in PARAMETERS),
        *(getattr(gradients, p) for p in PARAMETERS),
        gradients.pixels,
        *(getattr(moments, p) for p in PARAMETERS),
        [float(r) for r in each],
        *BETAS,
        EPSILON,
        backend.thread_count(threads),
    )


def _numbers(camera: Pinhole) -> list[float]:
    """camera_from_world by rows, then fx, fy, cx, cy."""
    pose = np.asarray(camera.camera_from_world, np.float64)[:3, :4]
    return [*map(float, pose.ravel()), camera.fx, camera.fy, camera.cx, camera.cy]


def _kernels(name: str) -> Any:
    """The named backend's module, or the processor's where that has no rasteriser."""
    module = backend.load(name)
    return module if hasattr(module, "Splatter") else backend.load("cpu")

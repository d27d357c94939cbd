"""From pixels to rays in plain torch; see ``reference``. Specified in ``cuda_ext/include/camera.h``."""

from __future__ import annotations

import torch
from torch import Tensor

PERSPECTIVE, FISHEYE, EQUIRECTANGULAR, ORTHOGRAPHIC, STEREO180 = range(5)
UNDISTORT_STEPS = 20
FISHEYE_STEPS = 10
CAMERA_GRADIENT = 15  # numbers per camera, see camera_gradient


def distort(k: Tensor, xy: Tensor) -> Tensor:
    """Ideal image-plane coordinates (n, 2) → distorted ones, by OpenCV's k1 k2 p1 p2 k3 in k (n, 5)."""
    x, y = xy.unbind(-1)
    k1, k2, p1, p2, k3 = k.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return torch.stack([x * radial + dx, y * radial + dy], dim=-1)


def undistort(k: Tensor, xy: Tensor) -> Tensor:
    """The inverse of ``distort`` by fixed-point iteration, for lenses that don't fold the image over."""
    k1, k2, p1, p2, k3 = k.unbind(-1)
    ideal = xy
    for _ in range(UNDISTORT_STEPS):
        x, y = ideal.unbind(-1)
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        ideal = (xy - torch.stack([dx, dy], dim=-1)) / radial[:, None]
    return ideal


def fisheye_angle(k: Tensor, radius: Tensor) -> Tensor:
    """Angle θ (n,) from the optical axis, radians, at a distorted radius (n,), by Newton's method.

    radius = θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸): OpenCV's fisheye model (Kannala & Brandt 2006).
    """
    k1, k2, k3, k4, _ = k.unbind(-1)
    theta = radius
    for _ in range(FISHEYE_STEPS):
        t2 = theta * theta
        f = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))) - radius
        df = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
        theta = theta - f / df
    return theta


def pixel_rays(pixels: Tensor, intrinsics: Tensor, lens: int, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Rays through pixel coordinates: origins (n, 3), in the pose's units, and unit directions (n, 3).

    pixels (n, 2): x right, y down, a pixel's centre at + 0.5. intrinsics (9,) or (n, 9): fx fy cx cy
    and five distortion coefficients (perspective k1 k2 p1 p2 k3, fisheye k1 k2 k3 k4 and an unused
    one, stereo180 the distance between the eyes in the pose's units). lens: 0 perspective, 1 fisheye,
    2 equirectangular, 3 orthographic, 4 stereo180, see ``types.Intrinsics``; in an orthographic picture fx
    and fy are pixels per unit of the pose. pose (12,) or (n, 12): scene_from_cam, 3×4 row-major. Cameras
    look along +z (OpenCV).
    """
    focal, centre, k = intrinsics.split([2, 2, 5], dim=-1)
    start = torch.zeros_like(torch.cat([pixels, pixels[:, :1]], dim=1))
    if lens == STEREO180:
        middle = centre[..., 0]
        right = pixels[:, 0] >= 2 * middle
        start = torch.cat([((right.to(pixels) - 0.5) * k[..., 0])[:, None], start[:, 1:]], dim=1)
        pixels = torch.stack([pixels[:, 0] - 2 * middle * right, pixels[:, 1]], dim=1)
    image = (pixels - centre) / focal
    if lens == FISHEYE:
        radius = image.norm(dim=-1)
        theta = fisheye_angle(k, radius)
        scale = torch.where(radius > 1e-9, theta.sin() / radius.clamp(min=1e-9), 1.0)
        d = torch.cat([image * scale[:, None], theta.cos()[:, None]], dim=1)
    elif lens in (EQUIRECTANGULAR, STEREO180):
        along, down = image.unbind(-1)
        d = torch.stack([down.cos() * along.sin(), down.sin(), down.cos() * along.cos()], dim=1)
    elif lens == ORTHOGRAPHIC:
        start = torch.cat([image, torch.zeros_like(image[:, :1])], dim=1)
        d = torch.zeros_like(start) + torch.tensor([0.0, 0.0, 1.0])
    else:
        ideal = undistort(k, image)
        d = torch.cat([ideal, torch.ones_like(ideal[:, :1])], dim=1)
    d = d / d.norm(dim=-1, keepdim=True)
    m = pose.reshape(-1, 3, 4)
    o = m[:, :, 3].expand_as(d)
    if lens in (ORTHOGRAPHIC, STEREO180):
        o = o + (m[:, :, :3] * start[:, None, :]).sum(-1)
    return o, (m[:, :, :3] * d[:, None, :]).sum(-1)


def camera_gradient(pixels: Tensor, intrinsics: Tensor, lens: int, pose: Tensor, d_rays: Tensor) -> Tensor:
    """Gradients with respect to rays → with respect to each ray's camera (n, 15), by autograd.

    Arguments as in ``pixel_rays``, with intrinsics (n, 9) and pose (n, 12). d_rays (n, 6): gradients with
    respect to origins and directions. The result, per ray: a rotation about the camera's centre (3, radians,
    the pose's axes), the centre (3), intrinsics (9). Specified in ``cuda_ext/include/refine.h``.
    """
    n = len(pixels)
    turn = torch.zeros(n, 3, dtype=pose.dtype, requires_grad=True)
    shift = torch.zeros(n, 3, dtype=pose.dtype, requires_grad=True)
    k = intrinsics.detach().expand(n, 9).clone().requires_grad_()
    with torch.enable_grad():
        o, d = pixel_rays(pixels, k, lens, pose.detach())
        o, d = o + shift, d + torch.linalg.cross(turn, d)
        loss = (o * d_rays[:, :3]).sum() + (d * d_rays[:, 3:]).sum()
        return torch.cat(torch.autograd.grad(loss, [turn, shift, k]), 1)

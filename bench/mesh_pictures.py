"""Pictures of meshes by ray casting, without light: their own colours."""

from __future__ import annotations

import numpy as np
import trimesh
from numpy.typing import NDArray

from nerfscene.types import Array, Camera

BACKGROUND = 0.5


def rays(camera: Camera) -> tuple[Array, Array]:
    """Origin (3,) and unit directions (pixels, 3) through a pinhole's pixels."""
    k = camera.intrinsics
    x, y = np.meshgrid(np.arange(k.width) + 0.5, np.arange(k.height) + 0.5)
    d = np.stack([(x - k.cx) / k.fx, (y - k.cy) / k.fy, np.ones_like(x)], -1).reshape(-1, 3)
    d = d @ camera.world_from_cam[:3, :3].T
    return camera.world_from_cam[:3, 3], d / np.linalg.norm(d, axis=1, keepdims=True)


def picture(mesh: trimesh.Trimesh, camera: Camera, shaded: bool = False) -> NDArray[np.float32]:
    """(height, width, 3), 0…1: the mesh's texture or vertex colours, or its shape lit from the camera.

    Pixels that see no surface are grey.
    """
    origin, directions = rays(camera)
    at, ray, face = mesh.ray.intersects_location(
        np.broadcast_to(origin, directions.shape), directions, multiple_hits=False
    )
    out = np.full((len(directions), 3), BACKGROUND, np.float32)
    if shaded:
        cosine = -(mesh.face_normals[face] * directions[ray]).sum(1)
        out[ray] = np.where(
            cosine[:, None] > 0, cosine[:, None] * [1, 1, 1], -cosine[:, None] * [1, 0.2, 0.2]
        )
    elif len(face):
        out[ray] = colours(mesh, at, face)
    k = camera.intrinsics
    return out.reshape(k.height, k.width, 3)


def colours(mesh: trimesh.Trimesh, at: Array, face: NDArray[np.int64]) -> NDArray[np.float32]:
    """The mesh's own colours (n, 3) at points on faces."""
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[face], at)
    weights = np.clip(np.nan_to_num(weights, nan=1 / 3), 0, 1)
    corner = mesh.faces[face]
    if isinstance(mesh.visual, trimesh.visual.TextureVisuals):
        uv = (mesh.visual.uv[corner] * weights[..., None]).sum(1)
        material = mesh.visual.material
        image = getattr(material, "baseColorTexture", None) or material.image
        return bilinear((np.asarray(image.convert("RGB")) / 255).astype(np.float32), uv * [1, -1] + [0, 1])
    assert mesh.visual is not None
    shades = np.asarray(mesh.visual.vertex_colors)[:, :3].astype(np.float32) / 255
    mixed: NDArray[np.float32] = (shades[corner] * weights[..., None]).sum(1)
    return mixed


def bilinear(image: NDArray[np.float32], at: NDArray[np.floating]) -> NDArray[np.float32]:
    """Colours at (n, 2), column and row as shares of the picture from its upper left corner."""
    h, w = image.shape[:2]
    x, y = np.clip(at[:, 0] * w - 0.5, 0, w - 1), np.clip(at[:, 1] * h - 0.5, 0, h - 1)
    i, j = np.minimum(x.astype(int), w - 2), np.minimum(y.astype(int), h - 2)
    u, v = (x - i)[:, None], (y - j)[:, None]
    upper = image[j, i] * (1 - u) + image[j, i + 1] * u
    lower = image[j + 1, i] * (1 - u) + image[j + 1, i + 1] * u
    mixed: NDArray[np.float32] = (upper * (1 - v) + lower * v).astype(np.float32)
    return mixed

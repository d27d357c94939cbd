"""Meshes of the analytic scene, reopened, and what they should be like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import analytic
import numpy as np
import trimesh

from nerfscene.config import ExportConfig
from nerfscene.exporters.placement import placed
from nerfscene.films.export_world import Y_UP_FROM_Z_UP
from nerfscene.scene.scene import Scene
from nerfscene.types import Array

CAPTURE = ExportConfig(world="capture", faces=6000, texture=512, threads=1)
UPRIGHT = replace(CAPTURE, world="upright")


def opened(file: Path) -> trimesh.Trimesh:
    """A mesh as trimesh reads it."""
    mesh = trimesh.load(file, force="mesh", process=False)
    assert isinstance(mesh, trimesh.Trimesh)
    return mesh


def to_capture(scene: Scene, points: Array, y_up: bool) -> Array:
    """Points (n, 3) of an upright export of a scene that nobody turned, in the capture's coordinates."""
    world = points @ Y_UP_FROM_Z_UP[:3, :3] if y_up else points
    m = placed(scene).world_from_capture
    assert m is not None
    back = np.linalg.inv(m)
    return world @ back[:3, :3].T + back[:3, 3]


def off(points: Array) -> Array:
    """How far (n,) points are from the nearest sphere or the ground."""
    distances = [np.abs(np.linalg.norm(points - np.array(c), axis=1) - r) for c, r, *_ in analytic.SPHERES]
    return np.minimum.reduce([*distances, np.abs(points[:, 2] - analytic.GROUND)])


def on_first_sphere(points: Array) -> Array:
    """Which points (n,) lie on the upper side of the largest sphere, away from the others."""
    distance = np.linalg.norm(points, axis=1)
    return (np.abs(distance - 0.5) < 0.1) & (points[:, 2] > 0.1)


def true_colours(points: Array) -> Array:
    """The colours (n, 3) that points on the largest sphere have, looked at from outside; 0…1."""
    outward = points / np.linalg.norm(points, axis=1, keepdims=True)
    return analytic.trace(3 * outward, -outward, room=True)[0]


def texture_at(mesh: trimesh.Trimesh, faces: Array) -> Array:
    """The texture's colours (n, 3), 0…1, at the middles of faces."""
    material = mesh.visual.material
    picture = getattr(material, "baseColorTexture", None) or material.image
    pixels = np.asarray(picture.convert("RGB"), float) / 255
    uv = mesh.visual.uv[mesh.faces[faces]].mean(1)
    h, w = pixels.shape[:2]
    row = np.clip(((1 - uv[:, 1]) * h).astype(int), 0, h - 1)
    return pixels[row, np.clip((uv[:, 0] * w).astype(int), 0, w - 1)]

"""A scene's facts as plain values, and its identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.scene.scene import Scene


def scene_id(scene: Scene) -> str:
    """The scene's identity, 64 hexadecimal digits: a SHA-256 of its field, the same wherever it is moved to.

    It stays when a scene is copied, cropped, turned or given another background; training it further makes
    another scene of it.
    """
    f = scene.field
    digest = hashlib.sha256()
    for array in (f.table, f.weights, f.occupancy):
        digest.update(np.ascontiguousarray(array).data)
    digest.update(json.dumps([asdict(f.config), asdict(f.space)], default=np.ndarray.tolist).encode())
    return digest.hexdigest()


def summary(scene: Scene, folder: Path) -> dict[str, Any]:
    """What ``nerfscene.info`` returns for the scene in ``folder``."""
    f = scene.figures
    size = sum(p.stat().st_size for p in folder.iterdir() if p.is_file())
    k = scene.views[0].intrinsics
    return {
        "scene": str(folder),
        "scene_id": scene_id(scene),
        "photos": f.photos,
        "photos_posed": f.photos_posed,
        "poses_from": f.source,
        "reprojection_error": f.reprojection_error,
        "reprojection_size": None if f.reprojection_error is None else f.reprojection_side(k),
        "train_views": sum(v.split == "train" for v in scene.views),
        "test_views": sum(v.split == "test" for v in scene.views),
        "width": k.width,
        "height": k.height,
        "downscale": f.downscale,
        "unbounded": scene.field.space.unbounded,
        "along_the_view": scene.field.space.view is not None,
        "box_side_world": 2.0 / similarity_scale(scene.scene_from_world),
        "points": len(scene.points),
        "psnr": f.psnr,
        "ssim": f.ssim,
        "flip": f.flip,
        "psnr_matched": f.psnr_matched,
        "flip_matched": f.flip_matched,
        "cameras_moved": f.cameras_moved,
        "moved": f.moved,
        "views": f.views,
        "train_seconds": f.train_seconds,
        "steps": f.steps,
        "samples": f.samples,
        "finished": f.finished,
        "device": f.device,
        "splats": f.splats,
        "parameters": int(scene.field.table.size + scene.field.weights.size),
        "bytes": size,
        "field": asdict(scene.field.config),
    }

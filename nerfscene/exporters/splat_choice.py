"""A scene's fitted splats as an export wants them: in its world, within its crop, at most so many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nerfscene.scene.scene import Scene
from nerfscene.splatting.gaussians import Splats, moved, picked


def fitted_splats(scene: Scene, count: int | None = None, degree: int = 3) -> Splats | None:
    """The scene's fitted splats in its world, without those outside its crop; None if it has none.

    count: how many at most, of those that show most; None: all. degree: of their harmonics, at most.
    """
    if scene.splats is None:
        return None
    made = moved(scene.splats, np.linalg.inv(scene.scene_from_world).astype(np.float64))
    if scene.crop is not None:
        inverse = np.linalg.inv(scene.crop)
        box = made.positions @ inverse[:3, :3].T + inverse[:3, 3]
        made = picked(made, (np.abs(box) <= 1).all(1))
    if count is not None and len(made) > count:
        made = picked(made, np.arange(count))
    return replace(made, sh=np.ascontiguousarray(made.sh[:, : (degree + 1) ** 2]))

"""``transforms.json`` as nerfstudio, instant-ngp, Brush and gsplat's users have it.

Cameras look along -z with y up (OpenGL); poses are world_from_cam. Sources for what is read and how:
nerfstudio 1.1's ``nerfstudio_dataparser.py``, instant-ngp's ``nerf_loader.cu``, Brush's ``nerfstudio.rs``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from nerfscene.exporters.shots import Shot
from nerfscene.exporters.told import Told
from nerfscene.types import Intrinsics

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
NGP_SCALE = 0.33  # instant-ngp's cube is this much of a unit wide, times aabb_scale
NGP_LARGEST = 128  # of its aabb_scale


def transforms_of(
    shots: Sequence[Shot],
    files: Sequence[str],
    masks: Sequence[str] | None,
    points: str | None,
    told: Told,
    upright: bool = True,
    reach: float = 0.0,
) -> dict[str, Any]:
    """The contents of a transforms.json.

    files, masks: of each shot, as the file is to name them; no masks if None. points: the point cloud's name.
    upright: whether +z is up, so that a program need not guess it. reach: the largest coordinate, in world
    units, that instant-ngp should show. A lens that all photos have stands at the top, others in the frames:
    nerfstudio ignores a frame's own where the file has one.
    """
    lenses = [lens_values(shot.lens) for shot in shots]
    shared = lenses[0] if all(lens == lenses[0] for lens in lenses) else {}
    models = Counter(lens["camera_model"] for lens in lenses)
    _tell_what_is_not_read(shots, models, told)
    top: dict[str, Any] = shared or {"camera_model": models.most_common(1)[0][0]}
    data = dict(top)
    if upright:
        data["orientation_override"] = "none"
    data["aabb_scale"] = _aabb_scale(reach)
    if points is not None:
        data["ply_file_path"] = points
    frames = []
    for i, (shot, file) in enumerate(zip(shots, files, strict=True)):
        frame: dict[str, Any] = {"file_path": file}
        if masks is not None:
            frame["mask_path"] = masks[i]
        frame["transform_matrix"] = (shot.world_from_cam @ OPENCV_FROM_OPENGL).tolist()
        frame |= {} if shared else {k: v for k, v in lenses[i].items() if top.get(k) != v}
        frames.append(frame)
    held_out = [file for shot, file in zip(shots, files, strict=True) if shot.view.split == "test"]
    if held_out and len(held_out) < len(shots):
        data["train_filenames"] = [file for file in files if file not in set(held_out)]
        data["val_filenames"] = data["test_filenames"] = held_out  # nerfstudio asks for all three or none
    return {**data, "frames": frames}


def lens_values(lens: Intrinsics) -> dict[str, Any]:
    """A lens as nerfstudio's keys. (Brush refuses the model PINHOLE, so that a pinhole is an OPENCV lens.)

    p1 and p2 of a fisheye are left out: instant-ngp keeps them where its k3 and k4 are.
    """
    k = lens.distortion
    fisheye = lens.lens == "fisheye"
    values: dict[str, Any] = {"camera_model": "OPENCV_FISHEYE" if fisheye else "OPENCV"}
    values |= {"w": lens.width, "h": lens.height, "fl_x": lens.fx, "fl_y": lens.fy}
    values |= {"cx": lens.cx, "cy": lens.cy}
    if fisheye:
        return values | {"is_fisheye": True, "k1": k[0], "k2": k[1], "k3": k[2], "k4": k[3]}
    values |= {"k1": k[0], "k2": k[1], "p1": k[2], "p2": k[3]}
    return values | ({"k3": k[4]} if k[4] else {})


def _tell_what_is_not_read(shots: Sequence[Shot], models: Counter[str], told: Told) -> None:
    if len(models) > 1:
        told.warn(
            "some photos are by a fisheye lens and some are not, and nerfstudio takes all lenses of a "
            "transforms.json to be of one kind: add --photos to write them without distortion"
        )
    if any(shot.lens.lens == "perspective" and shot.lens.distortion[4] for shot in shots):
        told.warn(
            "the lens has a third radial term (k3), which Brush, gsplat and instant-ngp leave out: add "
            "--photos to write the photos without distortion"
        )


def _aabb_scale(reach: float) -> int:
    """instant-ngp's aabb_scale: the power of two whose cube holds coordinates up to ``reach``."""
    needed = 2 * NGP_SCALE * reach
    return int(min(2 ** max(np.ceil(np.log2(max(needed, 1.0))), 0), NGP_LARGEST))

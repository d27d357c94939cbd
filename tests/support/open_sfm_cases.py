"""What OpenSfM and OpenMVG export, written by their definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from app_cases import CAMERAS, COUNT, FOCAL, HEIGHT, POINTS, WIDTH
from scipy.spatial.transform import Rotation


def opensfm(camera_: dict[str, Any], count: int = COUNT) -> dict[str, Any]:
    shots = {}
    for index, (rotation, centre) in enumerate(CAMERAS[:count]):
        shots[f"IMG_{index}.jpg"] = {
            "rotation": Rotation.from_matrix(rotation).as_rotvec().tolist(),
            "translation": (-rotation @ centre).tolist(),
            "camera": "v2 phone",
            "orientation": 1,
        }
    points = {str(i): {"coordinates": p.tolist(), "color": [10.0, 20, 30 + i]} for i, p in enumerate(POINTS)}
    sized = {"width": WIDTH, "height": HEIGHT} | camera_
    return {"cameras": {"v2 phone": sized}, "shots": shots, "points": points}


def opensfm_pixels(shares: np.ndarray) -> np.ndarray:
    """Pixels by OpenSfM's documentation, where 0 is the first pixel's centre; for us it is its corner."""
    return shares * max(WIDTH, HEIGHT) + [(WIDTH - 1) / 2, (HEIGHT - 1) / 2] + 0.5


def opensfm_project(cam: np.ndarray, c: dict[str, Any]) -> np.ndarray:
    x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    k1, k2, k3, k4, p1, p2 = (c.get(k, 0.0) for k in ("k1", "k2", "k3", "k4", "p1", "p2"))
    focal = [c.get("focal_x", c.get("focal")), c.get("focal_y", c.get("focal"))]
    if c["projection_type"] in ("fisheye62", "dual"):
        r = np.hypot(x, y)
        t = np.arctan(r)
        share = c.get("transition", 0.0)
        x, y = ((share * r + (1 - share) * t) / r * value for value in (x, y))
        r2 = x**2 + y**2
        d = 1 + sum(c.get(f"k{i}", 0.0) * r2**i for i in range(1, 7))
        u = d * x + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
        uv = np.stack([u, d * y + 2 * p2 * x * y + p1 * (r2 + 2 * y**2)], axis=1)
    elif "fisheye" in c["projection_type"]:
        r = np.hypot(x, y)
        t = np.arctan(r)
        d = t / r * (1 + k1 * t**2 + k2 * t**4 + k3 * t**6 + k4 * t**8)
        uv = np.stack([d * x, d * y], axis=1)
    else:
        r2 = x**2 + y**2
        d = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        u = d * x + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
        uv = np.stack([u, d * y + 2 * p2 * x * y + p1 * (r2 + 2 * y**2)], axis=1)
    return opensfm_pixels(uv * focal + [c.get("c_x", 0.0), c.get("c_y", 0.0)])


TWO = {"focal_x": 0.95, "focal_y": 0.96, "c_x": 0.01, "c_y": -0.02}
OPENSFM_LENSES: list[dict[str, Any]] = [
    {"projection_type": "perspective", "focal": 0.95, "k1": -0.1, "k2": 0.03},
    {"projection_type": "simple_radial", **TWO, "k1": -0.1},
    {"projection_type": "radial", **TWO, "k1": -0.1, "k2": 0.03},
    {"projection_type": "brown", **TWO, "k1": -0.1, "k2": 0.03, "k3": 0.01, "p1": 0.002, "p2": -0.003},
    {"projection_type": "fisheye", "focal": 0.8, "k1": -0.05, "k2": 0.01},
    {"projection_type": "fisheye_opencv", **TWO, "k1": -0.05, "k2": 0.01, "k3": 0.002, "k4": -0.001},
]
# Lenses that ours only come near to.
NEAR_LENSES: list[dict[str, Any]] = [
    {"projection_type": "dual", "focal": 0.9, "k1": -0.03, "k2": 0.01, "transition": 0.7},
    {"projection_type": "dual", "focal": 0.9, "k1": -0.03, "k2": 0.01, "transition": 0.2},
    {"projection_type": "fisheye62", **TWO, "k1": -0.05, "k2": 0.01, "k5": 0.002, "p1": 2e-4, "p2": -3e-4},
]


def rigged(reconstruction: dict[str, Any], bare: bool) -> dict[str, Any]:
    """The reconstruction with all its cameras in a rig; bare: whether shots have no poses of their own."""
    turn, shift = Rotation.from_rotvec([0.2, -0.4, 0.7]), np.array([1.0, 2.0, -3.0])  # rig from world
    cameras, ids = {}, {}
    for index, (name, shot) in enumerate(reconstruction["shots"].items()):
        own = Rotation.from_rotvec(shot["rotation"])
        within = own * turn.inv()  # camera from rig
        moved = np.array(shot["translation"]) - within.apply(shift)
        cameras[f"lens {index}"] = {"rotation": within.as_rotvec().tolist(), "translation": moved.tolist()}
        ids[name] = f"lens {index}"
        if bare:
            del shot["rotation"], shot["translation"]
    instance = {"rotation": turn.as_rotvec().tolist(), "translation": shift.tolist(), "rig_camera_ids": ids}
    return reconstruction | {"rig_cameras": cameras, "rig_instances": {"0": instance}}


def write_openmvg(root: Path, values: dict[str, Any] | None = None) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "sfm_data.json").write_text(json.dumps(values or openmvg("pinhole", "", [], False)))
    return root / "sfm_data.json"


def openmvg(kind: str, key: str, terms: list[float], nested: bool) -> dict[str, Any]:
    base = {"width": WIDTH, "height": HEIGHT, "focal_length": FOCAL, "principal_point": [203.0, 148.0]}
    disto = {key: terms} if key else {}
    data: dict[str, Any] = {"value0": base, **disto} if nested else {**base, **disto}
    lenses = [
        {
            "key": 0,
            "value": {
                "polymorphic_id": (1 << 31) + 1,
                "polymorphic_name": kind,
                "ptr_wrapper": {"data": data},
            },
        },
        {"key": 1, "value": {"polymorphic_id": 1, "ptr_wrapper": {"data": data}}},
    ]
    views, poses = [], []
    for index, (rotation, centre) in enumerate(CAMERAS):
        view = {"filename": f"IMG_{index}.jpg", "local_path": "", "width": WIDTH, "height": HEIGHT}
        view |= {"id_view": index, "id_intrinsic": index % 2, "id_pose": index}  # type: ignore[dict-item]
        views.append({"key": index, "value": {"polymorphic_id": 1 << 30, "ptr_wrapper": {"data": view}}})
        poses.append({"key": index, "value": {"rotation": rotation.tolist(), "center": centre.tolist()}})
    lost = {"filename": "IMG_9.jpg", "id_view": 9, "id_intrinsic": 0, "id_pose": 9}
    views.append({"key": 9, "value": {"polymorphic_id": 1 << 30, "ptr_wrapper": {"data": lost}}})
    points = [{"key": i, "value": {"X": p.tolist(), "observations": []}} for i, p in enumerate(POINTS)]
    named = {"sfm_data_version": "0.3", "root_path": "/elsewhere", "views": views, "intrinsics": lenses}
    return {**named, "extrinsics": poses, "structure": points, "control_points": []}


def openmvg_project(cam: np.ndarray, kind: str, terms: list[float]) -> np.ndarray:
    x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    r2 = x**2 + y**2
    k = [*terms, 0.0, 0.0, 0.0, 0.0, 0.0]
    if kind == "fisheye":
        t = np.arctan(np.sqrt(r2))
        d = (t + k[0] * t**3 + k[1] * t**5 + k[2] * t**7 + k[3] * t**9) / np.sqrt(r2)
        tx = ty = 0 * x
    else:
        d = 1 + k[0] * r2 + k[1] * r2**2 + k[2] * r2**3
        tx = k[4] * (r2 + 2 * x**2) + 2 * k[3] * x * y
        ty = k[3] * (r2 + 2 * y**2) + 2 * k[4] * x * y
    return FOCAL * np.stack([x * d + tx, y * d + ty], axis=1) + [203.0, 148.0]

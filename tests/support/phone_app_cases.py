"""What Polycam and Record3D export, written by their definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app_cases import CAMERAS, COUNT, FOCAL, HEIGHT, OPENGL, WIDTH, write_photos
from scipy.spatial.transform import Rotation


def polycam_camera(index: int) -> dict[str, Any]:
    rotation, centre = CAMERAS[index]
    values: dict[str, Any] = {
        "fx": FOCAL,
        "fy": 385.0,
        "cx": 203,
        "cy": 148,
        "width": WIDTH,
        "height": HEIGHT,
    }
    values |= {"blur_score": 120.5, "manual_keyframe": False, "timestamp": 1000 + index}
    # ARKit: columns are the camera's right, up and backward axes, and its place, in the world.
    right, down, forward = rotation
    for column, vector in enumerate((right, -down, -forward, centre)):
        values |= {f"t_{row}{column}": float(vector[row]) for row in range(3)}
    return values


def write_polycam(base: Path, kind: str = "", size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    (base / f"{kind}cameras").mkdir(parents=True)
    write_photos(base / f"{kind}images", [f"{1000 + i}.jpg" for i in range(COUNT)], size)
    for index in range(COUNT):
        (base / f"{kind}cameras/{1000 + index}.json").write_text(json.dumps(polycam_camera(index)))


def record3d(count: int = COUNT) -> dict[str, Any]:
    poses = []
    for index in range(count):
        rotation, centre = CAMERAS[index % COUNT]
        q = Rotation.from_matrix(rotation.T @ OPENGL).as_quat()  # x y z w
        poses.append([*q.tolist(), *(centre + 0.001 * (index // COUNT)).tolist()])
    k = [FOCAL, 0, 0, 0, 385.0, 0, 203, 148, 1]  # by columns
    return {"K": k, "poses": poses, "w": WIDTH, "h": HEIGHT, "dw": 192, "dh": 256, "fps": 60}


def write_record3d(root: Path, values: dict[str, Any], suffix: str = ".jpg") -> None:
    write_photos(root / "rgb", [f"{i}{suffix}" for i in range(len(values["poses"]))])
    (root / "metadata.json").write_text(json.dumps(values))

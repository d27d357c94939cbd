"""Captures with transforms.json, and in NeRF-synthetic's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from scipy.spatial.transform import Rotation

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def some_pose(seed: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    matrix[:3, 3] = np.random.default_rng(seed).normal(size=3)
    return matrix


def write_photo(
    path: Path, width: int = 40, height: int = 30, alpha: int | None = None, orientation: int = 1
) -> None:
    """A grey photo of ``width`` × ``height`` pixels as stored, turned by EXIF as ``orientation`` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3 if alpha is None else 4), 100, np.uint8)
    if alpha is not None:
        pixels[..., 3] = alpha
    exif = Image.Exif()
    if orientation != 1:
        exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


def transforms(count: int = 4, **extra: Any) -> dict[str, Any]:
    """What a transforms.json of a 40×30 capture holds; poses in OpenGL axes."""
    frames = [
        {"file_path": f"images/{i}.png", "transform_matrix": some_pose(i).tolist()} for i in range(count)
    ]
    return {"fl_x": 50.0, "fl_y": 51.0, "cx": 19.0, "cy": 16.0, "w": 40, "h": 30} | {
        "frames": frames,
        **extra,
    }


def write_transforms(root: Path, values: dict[str, Any], present: int | None = None) -> Path:
    frames = values.get("frames", [])
    for frame in frames[:present]:
        write_photo(root / frame["file_path"])
    path = root / "transforms.json"
    root.mkdir(exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def write_synthetic(root: Path, alpha: int) -> None:
    for split in ("train", "val", "test"):
        values: dict[str, Any] = {"camera_angle_x": 0.69, "frames": []}
        for index in range(3):
            name = f"./{split}/r_{index}"
            pose = some_pose(index + len(split)).tolist()
            values["frames"].append({"file_path": name, "transform_matrix": pose})
            write_photo(root / f"{name}.png", 32, 32, alpha)
        (root / f"transforms_{split}.json").write_text(json.dumps(values))

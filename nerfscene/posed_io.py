"""PosedCapture ↔ disk: a JSON file, and its points in a safetensors file beside it.

Both keep float64 to the last bit. The JSON names the digest of its points, so that a pair that an
interruption left half-new is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from nerfscene.errors import NerfsceneError
from nerfscene.types import Intrinsics, PosedCapture, View

VERSION = 1


def save_posed(posed: PosedCapture, path: Path) -> None:
    """Writes ``path`` (JSON) and ``<stem>.points.safetensors``, each complete or not at all."""
    arrays: dict[str, NDArray[Any]] = {"points": posed.points, "point_colors": posed.point_colors}
    points = save(arrays | {f"seen_{i}": view.seen for i, view in enumerate(posed.views)})
    root = posed.root.resolve()
    content = {
        "version": VERSION,
        "root": str(root),
        "source": posed.source,
        "photos_given": posed.photos_given,
        "has_alpha": posed.has_alpha,
        "given_split": posed.given_split,
        "reprojection_error": posed.reprojection_error,
        "warnings": posed.warnings,
        "points_sha256": hashlib.sha256(points).hexdigest(),
        "views": [_view_to_json(view, root) for view in posed.views],
    }
    _replace(_points_path(path), points)
    _replace(path, json.dumps(content, indent=1).encode())


def load_posed(path: Path) -> PosedCapture:
    """What save_posed wrote, equal in every bit.

    Raises NerfsceneError when it is missing, damaged or from a newer version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        points = _points_path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise NerfsceneError(f"{path} cannot be read ({error}): pose the photos again.") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise NerfsceneError(f"{path} was not written by this version of nerfscene: pose the photos again.")
    if hashlib.sha256(points).hexdigest() != content.get("points_sha256"):
        raise NerfsceneError(
            f"{path} and {_points_path(path).name} don't belong together (writing was "
            "interrupted): pose the photos again."
        )
    arrays = load(points)
    root = Path(content["root"])
    return PosedCapture(
        root=root,
        source=content["source"],
        views=tuple(
            replace(_view_from_json(view, root), seen=arrays.get(f"seen_{i}", np.zeros(0, np.int64)))
            for i, view in enumerate(content["views"])
        ),
        photos_given=content["photos_given"],
        points=arrays["points"],
        point_colors=arrays["point_colors"],
        has_alpha=content["has_alpha"],
        given_split=content["given_split"],
        reprojection_error=content["reprojection_error"],
        warnings=tuple(content["warnings"]),
    )


def _view_to_json(view: View, root: Path) -> dict[str, Any]:

    def place(path: Path) -> str:
        path = path.resolve()
        return str(path.relative_to(root) if path.is_relative_to(root) else path)

    return {
        "path": place(view.path),
        "mask": None if view.mask is None else place(view.mask),
        "split": view.split,
        "intrinsics": asdict(view.intrinsics),
        "world_from_cam": view.world_from_cam.tolist(),
    }


def _view_from_json(content: dict[str, Any], root: Path) -> View:
    lens = content["intrinsics"]
    return View(
        path=root / content["path"],
        intrinsics=Intrinsics(**(lens | {"distortion": tuple(lens["distortion"])})),
        world_from_cam=np.array(content["world_from_cam"], np.float64),
        split=content["split"],
        mask=root / content["mask"] if content.get("mask") else None,
    )


def _points_path(path: Path) -> Path:
    return path.with_name(path.stem + ".points.safetensors")


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(content)
    os.replace(temporary, path)

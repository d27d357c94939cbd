"""nerfscene: snapshots in, an explorable 3D scene out.

    import nerfscene as ns

    scene = ns.train("photos", "my-scene", ns.TrainConfig(time=120))
    print(scene.figures.psnr, scene.figures.ssim)
    ns.film(scene, "film.mp4", ns.RenderConfig(path="orbit", seconds=6))

The stages are modules of the same names: capture → poses → field → scene → render → film.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from nerfscene.api import film, info, open_capture, posed_capture, report, train
    from nerfscene.config import FieldConfig, FootageConfig, PoseConfig, RenderConfig, TrainConfig
    from nerfscene.errors import NerfsceneError
    from nerfscene.field.rendering import render
    from nerfscene.film.camera_path_file import write_camera_path
    from nerfscene.film.paths import CameraPath, look_at
    from nerfscene.measure.evaluate import measure
    from nerfscene.scene.folder import Scene, load
    from nerfscene.training.progress import Control, Progress
    from nerfscene.types import Camera, Capture, Frame, Intrinsics, PosedCapture, View
    from nerfscene.viewer.server import view

# Where each name lives. Imported on first use: `import nerfscene` must work, and fast, on a machine where
# a compiled part is missing, so that doctor can say which.
_HOMES = {
    "film": "api",
    "info": "api",
    "open_capture": "api",
    "posed_capture": "api",
    "report": "api",
    "train": "api",
    "FieldConfig": "config",
    "FootageConfig": "config",
    "PoseConfig": "config",
    "RenderConfig": "config",
    "TrainConfig": "config",
    "NerfsceneError": "errors",
    "measure": "measure.evaluate",
    "render": "field.rendering",
    "load": "scene.folder",
    "look_at": "film.paths",
    "write_camera_path": "film.camera_path_file",
    "view": "viewer.server",
    "Camera": "types",
    "Capture": "types",
    "Frame": "types",
    "Intrinsics": "types",
    "PosedCapture": "types",
    "View": "types",
    "CameraPath": "film.paths",
    "Control": "training.progress",
    "Progress": "training.progress",
    "Scene": "scene.folder",
}

__all__ = [  # noqa: RUF022 - in the order of the pipeline
    "open_capture",
    "posed_capture",
    "train",
    "load",
    "render",
    "look_at",
    "write_camera_path",
    "film",
    "view",
    "measure",
    "report",
    "info",
    "FootageConfig",
    "PoseConfig",
    "FieldConfig",
    "TrainConfig",
    "RenderConfig",
    "NerfsceneError",
    "Camera",
    "Capture",
    "Frame",
    "Intrinsics",
    "PosedCapture",
    "View",
    "Scene",
    "CameraPath",
    "Progress",
    "Control",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nerfscene' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nerfscene.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Keeps ``ns.film`` and ``ns.measure`` the functions: importing the folders of the same names, as the
    functions themselves do, would put the folders in their place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

"""nerfscene: photos in, an explorable 3D scene out.

    import nerfscene as ns

    scene = ns.train("photos", "my-scene", ns.TrainConfig(time=120))
    print(scene.figures)
    ns.film(scene, "film.mp4", ns.RenderConfig(path="orbit", seconds=6))
    viewer = ns.view(scene)  # then open viewer.url in a browser

What each function does (``help(ns.train)`` and so on tell more):

    train           photos, a video or a posed capture → a trained scene in a folder
    load            the scene in a folder
    render          a scene's renderer and a camera → one picture, with depth
    film            a scene and a camera path → a video
    view            a scene → a web page to walk through it
    fit_splats      the scene in a folder → the same with Gaussian splats that look like its photos
    export          a scene → a mesh, points, cameras or splats for other programs
    share           a scene → a page to send, which needs no program
    measure         PSNR, SSIM and FLIP against the photos that training never saw
    report          measures a scene and rewrites its report.html
    info            facts about the scene in a folder, as a dictionary
    open_capture    the first step of train: finds the photos in a folder
    posed_capture   the second step: photos with their cameras

Settings are frozen dataclasses: FootageConfig, PoseConfig, FieldConfig, TrainConfig, RenderConfig,
ExportConfig, PageConfig and CredentialsConfig.
Errors that a user can fix are raised as NerfsceneError, whose message is one sentence; an argument of the
wrong type is a TypeError that names it. What to know about the photos comes as NerfsceneWarning, and
``progress=True`` prints how far the work is. The command ``nerfscene`` does the same from a shell.

Inside the package, each step has a folder, and data flows from one to the next: capture (photos) → posing
or formats (cameras) → field and training (a radiance field) → scene → films, exporters, viewer, measuring.
"""

from __future__ import annotations

import os
import sys


def _is_command() -> bool:
    """Whether this process is the command ``nerfscene``, which Ctrl-C may end at any time while it starts."""
    words = sys.orig_argv[1:3]
    as_module = words[:1] == ["-m"] and words[1:] in (["nerfscene"], ["nerfscene.cli"])
    return as_module or os.path.basename(sys.argv[0] if sys.argv else "") == "nerfscene"


def _leave(number: int, frame: object) -> None:
    """Ends the process, as ``loading.leaving_at_once`` does."""
    os.write(2, b"nerfscene: interrupted\n")
    os._exit(130)


if _is_command():
    # Until ``cli.main`` takes over. Python has this half of ``signal`` already; the other takes a while.
    import _signal

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _leave)

import importlib  # noqa: E402
import warnings  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from nerfscene.loading import leaving_at_once, loading  # noqa: E402

__version__ = "0.11.0"


def _load_pillow_first() -> None:
    """Loads Pillow's core, which takes milliseconds; warns if pycolmap was loaded before it.

    In one process, pycolmap 4.2's wheel and Pillow get into each other's way if pycolmap is the first: saving
    a picture can then end the process. Python runs this file before any module of the package, so Pillow is
    the first on every way into it.
    """
    loaded = [name for name in sys.modules if name in ("PIL._imaging", "pycolmap")]  # in order of loading
    if loaded[:1] == ["pycolmap"]:
        warnings.warn(
            "pycolmap was imported before Pillow, with which saving a picture can end the process: "
            "import nerfscene or PIL.Image before pycolmap",
            stacklevel=3,
        )
    try:
        importlib.import_module("PIL._imaging")
    except ImportError:  # `nerfscene doctor` reports it
        return


with leaving_at_once() if _is_command() else loading():
    _load_pillow_first()

if TYPE_CHECKING:
    from nerfscene.api import info, open_capture, posed_capture, report, train
    from nerfscene.config import (
        CredentialsConfig,
        ExportConfig,
        FieldConfig,
        FootageConfig,
        PageConfig,
        PoseConfig,
        RenderConfig,
        TrainConfig,
    )
    from nerfscene.credentials.own_files import mark
    from nerfscene.errors import NerfsceneError, NerfsceneWarning
    from nerfscene.exporting import export, film, fit_splats, share
    from nerfscene.field.rendering import render
    from nerfscene.films.path_writing import write_camera_path
    from nerfscene.films.paths import CameraPath, look_at
    from nerfscene.films.tracks import Key, Tracks
    from nerfscene.measuring.evaluate import measure
    from nerfscene.scene.folder import Scene, load
    from nerfscene.training.progress import Control, Progress
    from nerfscene.types import Camera, Capture, Frame, Intrinsics, PosedCapture, View
    from nerfscene.viewer.server import view

# The module of each public name. Modules are imported when a name is first used, so that `import nerfscene`
# is fast and works even if a compiled part is missing, which `nerfscene doctor` then reports.
_HOMES = {
    "film": "exporting",
    "fit_splats": "exporting",
    "info": "api",
    "open_capture": "api",
    "posed_capture": "api",
    "report": "api",
    "train": "api",
    "CredentialsConfig": "config",
    "FieldConfig": "config",
    "FootageConfig": "config",
    "PoseConfig": "config",
    "RenderConfig": "config",
    "TrainConfig": "config",
    "ExportConfig": "config",
    "PageConfig": "config",
    "NerfsceneError": "errors",
    "NerfsceneWarning": "errors",
    "mark": "credentials.own_files",
    "measure": "measuring.evaluate",
    "render": "field.rendering",
    "load": "scene.folder",
    "look_at": "films.paths",
    "write_camera_path": "films.path_writing",
    "view": "viewer.server",
    "export": "exporting",
    "share": "exporting",
    "Camera": "types",
    "Capture": "types",
    "Frame": "types",
    "Intrinsics": "types",
    "PosedCapture": "types",
    "View": "types",
    "CameraPath": "films.paths",
    "Tracks": "films.tracks",
    "Key": "films.tracks",
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
    "mark",
    "view",
    "fit_splats",
    "export",
    "share",
    "measure",
    "report",
    "info",
    "FootageConfig",
    "PoseConfig",
    "FieldConfig",
    "TrainConfig",
    "RenderConfig",
    "ExportConfig",
    "PageConfig",
    "CredentialsConfig",
    "NerfsceneError",
    "NerfsceneWarning",
    "Camera",
    "Capture",
    "Frame",
    "Intrinsics",
    "PosedCapture",
    "View",
    "Scene",
    "CameraPath",
    "Tracks",
    "Key",
    "Progress",
    "Control",
]


def __dir__() -> list[str]:
    """The public names alone: what this file imports for itself is no part of the API."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nerfscene' has no attribute {name!r}")
    with loading():
        value = getattr(importlib.import_module(f"nerfscene.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

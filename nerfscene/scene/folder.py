"""Saves a scene to a folder and loads it again.

    SCENE/
      scene.json            version, cameras, placement, settings, figures
      field.safetensors     what rendering needs: table (binary16), weights, occupancy bits
      splats.safetensors    Gaussian splats fitted to the scene, if there are any
      training.safetensors  what resuming the training needs; may be deleted
      source.json           names and sizes of the photos, to notice when other photos are given
      camera_path.json      the camera path saved in the viewer, if there is one
      path_draft.json       the camera path as it was last edited there, saved or not
      report.html           the results, as a web page; may be deleted
      poses/                how the photos were posed (COLMAP's files and their outcome)

These are plain JSON and safetensors: loading executes nothing. A scene's files are all written under
temporary names before the first is renamed, ``scene.json`` last. A process killed between two renames leaves
a field or training a little newer than scene.json, which loads too. Splats belong to the field that they were
fitted to: training further removes them, and those that are not scene.json's are not taken.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from nerfscene.capture.json_text import parsed
from nerfscene.errors import NerfsceneError
from nerfscene.given import path_given
from nerfscene.scene.arrays import (
    SPLATS_FILE,
    backdrop_of,
    check_sizes,
    field_arrays,
    field_of,
    points_of,
    saved_splats,
    splats_entry,
    write_splats,
)
from nerfscene.scene.atomic import telling, write_json, writing
from nerfscene.scene.checks import check_manifest
from nerfscene.scene.scene import Figures, Scene, with_figures
from nerfscene.splatting import stored
from nerfscene.types import Array, Intrinsics, View

__all__ = [
    "FIELD_FILE",
    "REPORT_FILE",
    "SCENE_JSON",
    "SOURCE",
    "TRAINING_FILE",
    "VERSION",
    "Figures",
    "Scene",
    "described",
    "is_scene",
    "load",
    "load_training",
    "optional_array",
    "read_figures",
    "read_manifest",
    "read_notes",
    "read_split",
    "save",
    "save_crop",
    "training_arrays",
    "with_figures",
]

VERSION = 1
SCENE_JSON, FIELD_FILE, TRAINING_FILE = "scene.json", "field.safetensors", "training.safetensors"
REPORT_FILE = "report.html"
SOURCE = "source.json"  # names and sizes of the photos, to notice when other photos are given
PROGRESS = ("train_seconds", "steps", "rays", "samples", "history")  # the figures that resuming goes on from


# --- saving ---------------------------------------------------------------------------------------


def save(
    scene: Scene,
    folder: Path,
    training: dict[str, NDArray[Any]] | None = None,
    notes: Mapping[str, str] | None = None,
    anew: bool = False,
) -> None:
    """Saves a scene; the one in ``folder`` stays whole unless all of this one could be written.

    training: the arrays needed to resume training; None: don't save any. notes: texts to save with them, see
    ``read_notes``. anew: the scene in ``folder`` is another one, of which nothing stays.
    Raises NerfsceneError if the folder can't be written or the disk is full.
    """
    data = {
        "format": "nerfscene",
        "version": VERSION,
        "space": asdict(scene.field.space),
        "field": asdict(scene.field.config),
        "background": list(scene.background),
        "has_alpha": scene.has_alpha,
        "gain": scene.gain,
        **described(scene, folder),
        "figures": asdict(scene.figures),
    }
    splats = None if scene.splats is None else stored.arrays_of(scene.splats)
    if splats is not None:
        data["splats"] = splats_entry(splats)
    steps = {"steps": str(scene.figures.steps)}
    with contextlib.ExitStack() as stack:  # leaving it renames the files, scene.json last
        manifest = stack.enter_context(writing(folder / SCENE_JSON))
        field = stack.enter_context(writing(folder / FIELD_FILE))
        if training is not None:
            progress = {"progress": json.dumps({name: getattr(scene.figures, name) for name in PROGRESS})}
            state = stack.enter_context(writing(folder / TRAINING_FILE))
            with telling(folder / TRAINING_FILE):
                save_file(training, state, metadata={**steps, **progress, **(notes or {})})
        with telling(folder / FIELD_FILE):
            save_file(field_arrays(scene), field, metadata=steps)
        if splats is not None:
            write_splats(splats, stack.enter_context(writing(folder / SPLATS_FILE)))
        with telling(folder / SCENE_JSON):
            manifest.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
            if anew:  # or a kill before the last renaming would leave a scene of two halves
                for name in (SCENE_JSON, REPORT_FILE, SOURCE):
                    (folder / name).unlink(missing_ok=True)
    if splats is None:
        with contextlib.suppress(OSError):  # an earlier field's, which scene.json no longer names
            (folder / SPLATS_FILE).unlink(missing_ok=True)


def described(scene: Scene, folder: Path) -> dict[str, Any]:
    """The entries of a folder's scene.json that depend on the world's coordinates."""
    optional = {name: getattr(scene, name) for name in ("crop", "world_from_capture", "up")}
    return {
        "scene_from_world": scene.scene_from_world.tolist(),
        **{name: None if array is None else array.tolist() for name, array in optional.items()},
        "views": [
            {
                "photo": _saved_path(v.path, folder),
                "mask": None if v.mask is None else _saved_path(v.mask, folder),
                "mask_turns": v.mask_turns,
                "split": v.split,
                "intrinsics": asdict(v.intrinsics),
                "world_from_cam": v.world_from_cam.tolist(),
                "exposure": list(v.exposure),
                **(
                    {}
                    if v.panorama is None
                    else {"panorama": _saved_path(v.panorama, folder), "face": v.face}
                ),
            }
            for v in scene.views
        ],
    }


def _saved_path(photo: Path, folder: Path) -> str:
    """A photo's path as saved: absolute, or relative if it is in the scene's folder, which may be moved."""
    path, home = os.path.abspath(photo), os.path.abspath(folder)
    return os.path.relpath(path, home) if path.startswith(home + os.sep) else path


def save_crop(folder: Path, crop: Array | None) -> None:
    """Saves the crop (4, 4) or None, nothing else. Raises NerfsceneError as ``save`` and ``load`` do."""
    data = read_manifest(folder)
    data["crop"] = None if crop is None else crop.tolist()
    write_json(data, folder / SCENE_JSON)


# --- loading --------------------------------------------------------------------------------------


def optional_array(data: dict[str, Any], name: str) -> Array | None:
    """scene.json's "crop", "world_from_capture" (4, 4) or "up" (3,), None if it isn't set.

    Raises ValueError for a matrix that can't be inverted or a vector of length 0.
    """
    if data.get(name) is None:
        return None
    array = np.array(data[name], np.float64)
    usable = array.shape == ((3,) if name == "up" else (4, 4)) and bool(np.isfinite(array).all())
    if not usable or not (np.linalg.norm(array) if name == "up" else abs(np.linalg.det(array))) > 1e-30:
        expected = "a direction" if name == "up" else "an invertible 4×4 matrix"
        raise ValueError(f"its {name} is not {expected}")
    return array


def is_scene(folder: Path) -> bool:
    """Whether a folder holds a scene."""
    return (folder / SCENE_JSON).is_file()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The contents of scene.json, all checked (``checks``).

    Raises NerfsceneError if there is none, it is damaged, or it is of another format or version.
    """
    if not folder.exists():
        raise NerfsceneError(
            f"{folder} doesn't exist; make a scene first: nerfscene train PHOTOS -o {folder}"
        )
    if not is_scene(folder):
        raise NerfsceneError(
            f"{folder} is not a scene (it has no {SCENE_JSON}); give the folder that `nerfscene train` made"
        )
    try:
        data = parsed((folder / SCENE_JSON).read_bytes())
    except OSError as error:
        raise NerfsceneError(
            f"{folder / SCENE_JSON} can't be read ({error.strerror}); change its permissions, or train the "
            "scene again"
        ) from error
    except ValueError as error:
        raise NerfsceneError(
            f"{folder / SCENE_JSON} is not valid JSON ({error}); train the scene again with --overwrite"
        ) from error
    if not isinstance(data, dict) or data.get("format") != "nerfscene":
        raise NerfsceneError(
            f"{folder / SCENE_JSON} is not a nerfscene scene; give the folder that `nerfscene train` made"
        )
    if data.get("version") != VERSION:
        raise NerfsceneError(
            f"{folder} was written by another version of nerfscene (scene version "
            f"{data.get('version')!r:.40}, this nerfscene reads {VERSION}); use the version that wrote it, "
            "or train again with --overwrite"
        )
    try:
        check_manifest(data)
    except ValueError as error:
        raise _damaged(folder, error) from error
    return data


def _figures(data: dict[str, Any]) -> Figures:
    known = {f.name for f in fields(Figures)}
    d = {k: v for k, v in data.items() if k in known}
    for name in ("per_view", "history", "taken_in", "left_out", "warnings"):
        d[name] = tuple(d.get(name, ()))
    return Figures(**d)


def read_figures(folder: Path) -> Figures:
    """A scene's figures alone, without loading its arrays. Raises NerfsceneError as ``load`` does."""
    data = read_manifest(folder)
    try:
        return _figures(data["figures"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, error) from error


def read_split(folder: Path) -> list[str]:
    """Each view's split, "train" or "test", in their order. Raises NerfsceneError as ``load`` does."""
    data = read_manifest(folder)
    try:
        return [str(v["split"]) for v in data["views"]]
    except (KeyError, TypeError) as error:
        raise _damaged(folder, error) from error


def load(folder: Path | str) -> Scene:
    """Loads the scene in a folder.

    Raises NerfsceneError if it is missing, damaged or written by another version of nerfscene.
    """
    folder = path_given(folder, "folder")
    data = read_manifest(folder)
    try:
        arrays = load_file(folder / FIELD_FILE)
        field = field_of(data, arrays)
        views = _views(data, Path(os.path.abspath(folder)))
        b = data["background"]
        scene_from_world = np.array(data["scene_from_world"], np.float64)
        check_sizes(arrays, field)
        splats, figures = saved_splats(data, folder), _figures(data["figures"])
        return Scene(
            field=field,
            views=views,
            scene_from_world=scene_from_world,
            background=(float(b[0]), float(b[1]), float(b[2])),
            has_alpha=bool(data["has_alpha"]),
            figures=figures if splats is not None else replace(figures, splats=None),
            points=points_of(arrays.get("points")),
            crop=optional_array(data, "crop"),
            world_from_capture=optional_array(data, "world_from_capture"),
            up=optional_array(data, "up"),
            backdrop=backdrop_of(arrays.get("backdrop")),
            splats=splats,
            gain=float(data.get("gain", 1.0)),
        )
    except (
        OSError,
        SafetensorError,
        NerfsceneError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise _damaged(folder, error) from error


def _views(data: dict[str, Any], home: Path) -> tuple[View, ...]:
    """The views, with photos given relative to ``home``, the scene's folder, or absolute."""
    return tuple(
        View(
            path=home / v["photo"],
            intrinsics=Intrinsics(**{**v["intrinsics"], "distortion": tuple(v["intrinsics"]["distortion"])}),
            world_from_cam=np.array(v["world_from_cam"], np.float64),
            split=v["split"],
            exposure=tuple(v.get("exposure", (0.0, 0.0, 0.0))),
            mask=home / v["mask"] if v.get("mask") else None,
            mask_turns=int(v.get("mask_turns", 0)),
            panorama=home / v["panorama"] if v.get("panorama") else None,
            face=str(v.get("face", "")),
        )
        for v in data["views"]
    )


def _damaged(folder: Path, error: Exception) -> NerfsceneError:
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return NerfsceneError(f"{folder} is damaged or incomplete ({reason}); train it again with --overwrite")


def load_training(folder: Path, steps: int) -> dict[str, NDArray[Any]]:
    """The arrays needed to resume the training of a scene with this many steps.

    Raises NerfsceneError if they are missing, damaged or older than the scene.
    """
    path = folder / TRAINING_FILE
    try:
        with safe_open(path, framework="np") as handle:
            saved = int((handle.metadata() or {}).get("steps", -1))
        arrays = load_file(path)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise NerfsceneError(
            f"{path} is missing or damaged, so training can't be resumed; start again with --overwrite"
        ) from error
    if saved < steps:
        raise NerfsceneError(f"{path} is older than the scene in this folder; start again with --overwrite")
    return arrays


def training_arrays(folder: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """Some of the arrays needed to resume the training. Raises OSError or SafetensorError."""
    with safe_open(folder / TRAINING_FILE, framework="np") as handle:
        return [handle.get_tensor(name) for name in names]


def read_notes(folder: Path) -> dict[str, str]:
    """The texts saved with what resuming needs: "steps", "progress" (JSON), and those given to ``save``.

    {} if there is nothing to resume or it can't be read.
    """
    try:
        with safe_open(folder / TRAINING_FILE, framework="np") as handle:
            return dict(handle.metadata() or {})
    except (OSError, SafetensorError):
        return {}
